"""The fields of Qomon's upsert: their names, and what a rule may do with each.

Source: Qomon API reference, "Upsert a contact" (16 June 2026), and its guide "Create and update contacts".
An unknown field drops the whole contact silently after a 202, so a name that is not here is never sent.
Messages name fields and reasons, never a value of a person.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple, Protocol

from syncengine.qomon.guesses import guess_field
from syncengine.qomon.values import Kind, check_format, clean, reader

NAMES = ("firstname", "surname", "married_name")

PLAIN_TEXT = (
    *NAMES,
    "phone",
    "mobile",
    "birthcity",
    "birthcountry",
    "birthdept",
    "nationality",
)
"""Free text: the only top-level fields (with the address parts) that `blank = "clear"` may empty."""

MAIL = "mail"
DATE = "birthdate"
NUMBERS = ("age_category",)
FLAGS = ("black_list",)
IDS = ("id", "nationbuilderid")
"""Claims of identity: never taken from a column because of its name, only by an explicit mapping."""

ADDRESS = "address"
ADDRESS_PARTS = (
    "housenumber",
    "street",
    "addition",
    "building",
    "floor",
    "door",
    "infos",
    "postalcode",
    "city",
    "citycode",
    "county",
    "state",
    "country",
    "pollingstation",
    "latitude",
    "longitude",
)
"""Always strings (Qomon API reference; older examples showed numbers)."""

TAGS = "tags"
NOTES = "notes"

ADVANCED = ("consents", "status", "forms", "custom_fields", "actions", "name_presences")
"""Answers to forms: always arrays of `{id | label, value}`, the value always a string."""

TOP_LEVEL = (*PLAIN_TEXT, MAIL, DATE, *NUMBERS, *FLAGS, *IDS, TAGS, NOTES)

UNPROVEN = {
    "gender": "no published write schema of Qomon has it, and an unknown field drops the whole contact",
    "external_id": "no published write schema of Qomon has it, and an unknown field drops the whole contact",
    "presence_status": "Qomon answers 202 and then drops the contact; use name_presences",
}
"""Fields that look right and are not: name -> why."""

PROBED = ("gender", "external_id")
"""Those of them that a probe may show to be kept."""


class Field(NamedTuple):
    """A Qomon field a value can be put into.

    `name`: its top-level name in the upsert. `part`: of an address. `form`: an advanced field's form, by
    label or by id.
    """

    kind: Kind
    name: str
    part: str = ""
    form: str | int = ""


class Rule(Protocol):
    """What is read of `config.FieldRule`."""

    @property
    def column(self) -> str | None: ...  # noqa: D102 - see FieldRule
    @property
    def constant(self) -> str | None: ...  # noqa: D102
    @property
    def format(self) -> str | None: ...  # noqa: D102
    @property
    def split(self) -> str | None: ...  # noqa: D102
    @property
    def values(self) -> Mapping[str, str] | None: ...  # noqa: D102
    @property
    def blank(self) -> str: ...  # noqa: D102


_KINDS: dict[str, Kind] = {
    **dict.fromkeys(PLAIN_TEXT, "text"),
    MAIL: "mail",
    DATE: "date",
    **dict.fromkeys(NUMBERS, "number"),
    **dict.fromkeys(FLAGS, "flag"),
    **dict.fromkeys(IDS, "id"),
    TAGS: "tags",
    NOTES: "notes",
}


def known_field(name: str) -> Field | None:
    """Return the field of this name, such as `mail`, `address.city`, `consents.Newsletter`, `forms.#12`."""
    kind = _KINDS.get(name)
    if kind is not None:
        return Field(kind, name)
    first, _, rest = name.partition(".")
    if first == ADDRESS and rest in ADDRESS_PARTS:
        return Field("part", ADDRESS, part=rest)
    if first in ADVANCED:
        form = _read_form(rest)
        return Field("advanced", first, form=form) if form else None
    return None


def find_field(name: str) -> Field:
    """Return the field of this name, one of `PROBED` whether or not the space keeps it.

    Raises ValueError with the reason and the nearest right name.
    """
    field = known_field(name)
    if field is not None:
        return field
    if name in PROBED:
        return Field("text", name)
    first, dot, rest = name.partition(".")
    if first in ADVANCED:
        if rest.strip():
            raise ValueError(f"has no usable form id; write {first}.#12, or {first}.<label>")
        raise ValueError(f"needs a form: {first}.<label> or {first}.#<id>")
    if name == ADDRESS:
        raise ValueError("needs a part, such as address.city")
    if name == f"{ADDRESS}.id":
        raise ValueError("is Qomon's own number for the address and cannot be set")
    if name in UNPROVEN:
        raise ValueError(f"cannot be mapped: {UNPROVEN[name]}")
    if dot and first == ADDRESS:
        raise ValueError(f"is no part of an address{_hint(name) or '; they are ' + ', '.join(ADDRESS_PARTS)}")
    raise ValueError(f"is no field of Qomon{_hint(name)}")


def _check_proven(name: str, proven: Collection[str]) -> None:
    """Raise ValueError for one of `PROBED` that is not proven."""
    if name in PROBED and name not in proven:
        raise ValueError(
            f"cannot be mapped: {UNPROVEN[name]}. Whether this space keeps it is found out by syncengine "
            "probe, in a space made for testing"
        )


def check_compared(name: str) -> None:
    """Raise ValueError unless a read-back compares this: a field, `address`, or a kind of answers."""
    if name not in {ADDRESS, *ADVANCED}:
        find_field(name)


def _read_form(label: str) -> str | int | None:
    """Return a form's label, or its id from `#12`; None when it is neither."""
    try:
        label = clean(label)
    except ValueError:
        return None
    if not label.startswith("#"):
        return label or None
    return int(label[1:]) if re.fullmatch(r"#[0-9]{1,18}", label) and int(label[1:]) else None


def _hint(name: str) -> str:
    """Return `; did you mean 'surname'?` when a field is near, or an empty string."""
    first, dot, rest = name.partition(".")
    if dot and (kind := difflib.get_close_matches(first.lower(), ADVANCED, n=1, cutoff=0.75)):
        return f"; did you mean {f'{kind[0]}.{rest}'!r}?"
    known = [*TOP_LEVEL, *(f"{ADDRESS}.{part}" for part in ADDRESS_PARTS)]
    match = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.7)
    near = (
        guess_field(name)
        or (guess_field(rest) if first == ADDRESS else None)
        or (match[0] if match else None)
    )
    return f"; did you mean {near!r}?" if near else ""


def suggest_field(column: str) -> str | None:
    """Guess the Qomon field a column of this name is meant for, None without a good guess; never an id."""
    field = known_field(column.strip())
    if field is None:
        return guess_field(column)
    return None if field.kind == "id" else column.strip()


def check_rule(name: str, rule: Rule, proven: Collection[str] = PROBED) -> Field:
    """Return the field a rule fills. Raises ValueError with what is wrong with its name or options.

    `proven`: those of `PROBED` that the space was shown to keep; all, where no space is known yet.
    """
    field = find_field(name)
    _check_proven(name, proven)
    if rule.blank == "clear" and (field.kind not in {"text", "part"} or name in PROBED):
        raise ValueError('blank = "clear" is only for plain text fields and address parts')
    if rule.split is not None and field.kind not in {"tags", "advanced"}:
        raise ValueError("split is only for tags and advanced fields")
    if rule.format is not None:
        if field.kind != "date":
            raise ValueError("format is only for birthdate")
        check_format(rule.format)
    if rule.constant is not None:
        if field.kind == "id":
            raise ValueError("cannot be a constant: it would be the id of everybody")
        _check_value("constant", rule.constant, reader(field.kind))
    for key, value in (rule.values or {}).items():
        _check_value(f"values {key!r}", value, reader(field.kind))
    read_values(rule.values or {}, field.kind)
    return field


def read_values(values: Mapping[str, str], kind: Kind) -> dict[str, str | int | bool]:
    """Return the `values` of a rule by clean source text, read as this kind. Raises ValueError."""
    read = reader(kind)
    table: dict[str, str | int | bool] = {}
    for key, value in values.items():
        result = read(clean(value))
        if table.setdefault(clean(key), result) != result:
            raise ValueError(f"values gives {key.strip()!r} twice")
    return table


def _check_value(place: str, text: str, read: Callable[[str], object]) -> None:
    try:
        text = clean(text)
        if text:
            read(text)
    except ValueError as error:
        raise ValueError(f"{place} is unusable: {error}") from None
    if not text:
        raise ValueError(f'{place} is empty; leave it out, with other = "skip" for values that mean nothing')
