"""A contact in the shape of Qomon's upsert: its fields, what is refused or dropped, how an update merges.

Sources: Qomon API reference, "Upsert a contact", and guide, "Create and update contacts". Wrong types are
refused at once (`complaints`), names that mean nothing drop the whole contact later (`cause_of_drop`). Where
both are silent `unknowns` answers. Kept apart from what is sent: `answers` holds the answers to all forms,
whatever their type, see `sandbox.answering`.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from syncengine.sandbox.answering import answered, withdrawn
from syncengine.sandbox.dates import span
from syncengine.sandbox.forms import KINDS, Forms, Resolved
from syncengine.sandbox.parts import addressed, e164, noted, tagged
from syncengine.sandbox.unknowns import Unknowns

TEXTS = frozenset(
    (
        "firstname", "surname", "married_name", "mail", "phone", "mobile",
        "birthdate", "birthcity", "birthcountry", "birthdept", "nationality",
    )
)  # fmt: skip
ADDRESS_PARTS = frozenset(
    (
        "housenumber", "street", "addition", "building", "floor", "door", "infos", "postalcode", "city",
        "citycode", "county", "state", "country", "pollingstation", "latitude", "longitude",
    )
)  # fmt: skip
ADVANCED = tuple(KINDS)
UNLISTED = ("gender", "external_id")
"""Fields that clients send, though no write schema has them."""
LARGEST_ID = 2**63 - 1

_IN_PARTS = frozenset(("address", "tags", "notes", "phone", "mobile"))
_MAIL = re.compile(r"[^@\s]+@[^@\s]+")
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)


class Complaint(NamedTuple):
    """One entry of a problem's `errors`: where in the request, what is wrong, and the value found there."""

    location: str
    message: str
    value: object


def complaints(fields: Mapping[str, Any], where: str = "body.data") -> list[Complaint]:
    """Return what is wrong with the types and spellings of `fields`, which lie at `where` in the request.

    Unknown fields are no complaint: Qomon accepts them and drops the record later. `null` counts as left out.
    """
    found: list[Complaint] = []
    for name, value in fields.items():
        if value is None or (type(value) is str and name in TEXTS and name != "mail"):
            continue
        rule = _RULES.get(name)
        if rule is not None:
            found += rule(f"{where}.{name}", value)
    return found


def unknown_field(fields: Mapping[str, Any], unlisted: str = "drop") -> str | None:
    """Return the first field Qomon does not know, `address.…` included, else None.

    `unlisted` is the answer to the unknown of this name; a value that is no text is unknown in any case.
    """
    if not fields.keys() <= _RULES.keys():
        for name, value in fields.items():
            is_known = name in _RULES or (
                name in UNLISTED and unlisted != "drop" and isinstance(value, str | None)
            )
            if not is_known:
                return name
    for part in fields.get("address") or ():
        if part not in ADDRESS_PARTS and part != "id":
            return f"address.{part}"
    return None


def answers_in(sent: Mapping[str, Any], forms: Forms) -> list[Resolved | str]:
    """Return what each answer in a contact without complaints names, or why it names nothing."""
    return [
        forms.resolve(name, entry)
        for name, entries in sent.items()
        if name in KINDS
        for entry in entries or ()
    ]


def cause_of_drop(
    sent: Mapping[str, Any], forms: Forms, unknowns: Unknowns, answers: list[Resolved | str] | None = None
) -> str | None:
    """Return why Qomon drops a contact after its 202, whole and without a word, else None.

    `sent` is without complaints; `answers` are those in it, for who has them already. A dead id is another
    cause, see `sandbox.pending`.
    """
    unknown = unknown_field(sent, unknowns.unlisted)
    if unknown is not None:
        return f"unknown field {unknown}"
    birthdate = sent.get("birthdate")
    if birthdate and unknowns.birthdates == "rfc3339" and not _is_date_time(birthdate):
        return "the birthdate is no date-time of RFC 3339"
    found = answers_in(sent, forms) if answers is None else answers
    return next((cause for cause in found if isinstance(cause, str)), None)


def merge(
    stored: Mapping[str, Any],
    sent: Mapping[str, Any],
    forms: Forms,
    unknowns: Unknowns,
    now: float,
    *,
    answers: list[Resolved | str] | None = None,
) -> dict[str, Any]:
    """Return the contact that an upsert makes of `stored` ({}: of nobody); neither is changed.

    `sent` is without complaints, and what `cause_of_drop` finds is left out; `answers` are those in it, for
    who has them already. Fields left out are kept (observed in live spaces). An address' `id` is Qomon's own
    and left out.
    """
    merged = dict(stored)
    for name, value in sent.items():
        if name == "id" or (name in UNLISTED and unknowns.unlisted != "store"):
            continue
        if (value is None and unknowns.null == "clear") or (value == [] and unknowns.empty_list == "clear"):
            _clear(merged, name, forms, now)
        elif value and name not in KINDS:
            is_plain = name not in _IN_PARTS
            merged[name] = value if is_plain else _written(name, merged.get(name), value, unknowns, now)
        elif value in (0, "") and (value != "" or unknowns.empty == "store"):  # False is 0
            merged[name] = value
    found = answers_in(sent, forms) if answers is None else answers
    resolved = [answer for answer in found if isinstance(answer, Resolved)]
    if resolved:
        merged["answers"] = answered(merged.get("answers", ()), resolved, forms, unknowns, now)
    return merged


def _written(name: str, stored: Any, sent: Any, unknowns: Unknowns, now: float) -> Any:
    """Return what becomes of one field of `_IN_PARTS`."""
    if name == "address":
        return addressed(stored or {}, sent, unknowns)
    if name == "tags":
        return tagged(stored or (), sent, unknowns.tags)
    if name == "notes":
        return noted(stored or (), sent, unknowns.notes, now)
    return e164(sent) if unknowns.phones == "e164" else sent


def _clear(merged: dict[str, Any], name: str, forms: Forms, now: float) -> None:
    if name not in KINDS:
        merged.pop(name, None)
    elif "answers" in merged:
        merged["answers"] = withdrawn(merged["answers"], KINDS[name], forms, now)


def _is_date_time(text: str) -> bool:
    return _DATE_TIME.fullmatch(text) is not None and span(text, 0.0) is not None


def _text(where: str, value: object) -> Iterator[Complaint]:
    if not isinstance(value, str):
        yield Complaint(where, "expected string", value)


def _mail(where: str, value: object) -> Iterator[Complaint]:
    if not isinstance(value, str):
        yield Complaint(where, "expected string", value)
    elif not _MAIL.fullmatch(value.strip()):
        yield Complaint(where, "expected string to be RFC 5322 email", value)


def _id(where: str, value: object) -> Iterator[Complaint]:
    if type(value) is not int:
        yield Complaint(where, "expected integer", value)
    elif not 0 <= value <= LARGEST_ID:
        yield Complaint(where, f"expected number >= 0 and <= {LARGEST_ID}", value)


def _number(where: str, value: object) -> Iterator[Complaint]:
    if type(value) is not int and type(value) is not float:
        yield Complaint(where, "expected number", value)


def _flag(where: str, value: object) -> Iterator[Complaint]:
    if not isinstance(value, bool):
        yield Complaint(where, "expected boolean", value)


def _anything(_where: str, _value: object) -> Iterable[Complaint]:
    """Accept what Qomon accepts and does not use: the date asked for an answer (observed)."""
    return ()


def _address(where: str, value: object) -> Iterable[Complaint]:
    if not isinstance(value, dict):
        yield Complaint(where, "expected object", value)
        return
    for part, text in value.items():
        if part == "id":
            if text is not None:
                yield from _id(f"{where}.id", text)
        elif text is not None and type(text) is not str:
            yield Complaint(f"{where}.{part}", "expected string", text)


def _list_of(required: tuple[str, ...], rules: Mapping[str, "Rule"]) -> "Rule":
    """Return the rule for an array of objects whose members follow `rules`, with `required` present."""

    def check(where: str, value: object) -> Iterator[Complaint]:
        if not isinstance(value, list):
            yield Complaint(where, "expected array", value)
            return
        for number, entry in enumerate(value):
            at = f"{where}[{number}]"
            if not isinstance(entry, dict):
                yield Complaint(at, "expected object", entry)
                continue
            for name in required:
                if entry.get(name) is None:
                    yield Complaint(at, f"expected required property {name} to be present", entry)
            for name, member in entry.items():
                if name not in rules:
                    yield Complaint(f"{at}.{name}", "unexpected property", member)
                elif member is not None:
                    yield from rules[name](f"{at}.{name}", member)

    return check


Rule = Callable[[str, object], Iterable[Complaint]]

_RULES: dict[str, Rule] = dict.fromkeys(TEXTS, _text) | {
    "id": _id,
    "nationbuilderid": _number,
    "mail": _mail,
    "age_category": _number,
    "black_list": _flag,
    "address": _address,
    "tags": _list_of(("name",), {"name": _text}),
    "notes": _list_of((), {"content": _text, "id": _id, "pinned": _flag}),
}
_RULES |= dict.fromkeys(
    ADVANCED,
    _list_of(
        ("value",), {"id": _id, "label": _text, "value": _text, "date": _anything, "donedate": _anything}
    ),
)
