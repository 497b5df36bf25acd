"""One form of a space, and how a forms file spells it.

    {"forms": [
        {"type": "custom_fields", "id": 12, "label": "Size", "widget": "radio",
         "options": [{"id": 1, "label": "Small", "value": "S"}, {"label": "Large"}]},
        {"type": "custom_fields", "label": "Job", "widget": "text"}
    ]}

Ids may be left out; so may the value of an option, which is then its label, and the options of a free form.
Sources: Qomon guide, "Forms", for the types and members of a form; the widgets are those that clients know.
"""

import difflib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

KINDS = {
    "consents": "consent",
    "status": "level_of_support",
    "forms": "survey",
    "custom_fields": "custom_fields",
    "actions": "tasks",
    "name_presences": "presence_status",
}
"""The upsert's key for each type of form."""
TYPES = tuple(KINDS.values())
FREE = ("text", "numeric", "date")
CHOICES = ("radio", "select", "checkbox")
WIDGETS = FREE + CHOICES
LARGEST_ID = 2**63 - 1

_FIRST_OPTION = 1001  # options are numbered apart from forms, so that one id taken for the other is unknown


class FormsError(ValueError):
    """The forms file cannot be used; one line names file, form number, key and what was meant."""


@dataclass(slots=True)
class Option:
    """One answer a form offers: a "refvalue" in Qomon's words. A free form has one, for its id's sake."""

    id: int
    label: str
    value: str


@dataclass(slots=True)
class Form:
    """One form: `type` is one of `TYPES`, `widget` one of `WIDGETS`."""

    id: int
    label: str
    type: str
    widget: str
    options: list[Option]

    @property
    def is_choice(self) -> bool:
        """Say whether an answer must be one of the options."""
        return self.widget in CHOICES

    def option(self, text: str) -> Option | None:
        """Return the option of this value, else of this label."""
        for option in self.options:
            if option.value == text:
                return option
        return next((option for option in self.options if option.label == text), None)

    def as_json(self) -> dict[str, Any]:
        """Return the form as Qomon serves it: its `type` is the widget (observed: "radio" for presence)."""
        return {
            "id": self.id,
            "label": self.label,
            "type": self.widget,
            "refvalues": [
                {"id": option.id, "form_id": self.id, "label": option.label, "value": option.value}
                for option in self.options
            ],
        }


def read_tables(path: Path) -> list[object]:
    """Return the tables of a forms file, not yet checked. Raises FormsError."""
    try:
        document = orjson.loads(path.read_bytes())
    except OSError as error:
        raise FormsError(f"{path}: cannot be read: {error.strerror}") from None
    except orjson.JSONDecodeError as error:
        raise FormsError(f"{path}: not JSON: {error}") from None
    if not isinstance(document, dict) or not isinstance(document.get("forms"), list):
        raise FormsError(f'{path}: it must be {{"forms": [...]}}')
    _check_keys(str(path), document, ("forms",))
    return list(document["forms"])


def numbered(tables: Sequence[object], where: str) -> dict[int, Form]:
    """Return the forms by id, those without one numbered in order. Raises FormsError."""
    taken = _given_ids(tables)
    numbers = (number for number in itertools.count(1) if number not in taken)
    options = (number for number in itertools.count(_FIRST_OPTION) if number not in taken)
    forms: dict[int, Form] = {}
    seen: set[int] = set()
    for count, table in enumerate(tables, start=1):
        form = _form(f"{where}: form {count}", table, numbers, options)
        ids = [option.id for option in form.options]
        if form.id in forms or seen & set(ids) or len(set(ids)) < len(ids):
            raise FormsError(f"{where}: form {count}: id is taken by another: give each its own, or none")
        forms[form.id] = form
        seen |= set(ids)
    return forms


def _given_ids(tables: Sequence[object]) -> set[int]:
    """Return the ids a file names itself, of forms and options, so that no other gets them."""
    found: set[int] = set()
    for table in tables:
        if isinstance(table, dict):
            options = table.get("options")
            entries = [table, *(options if isinstance(options, list) else ())]
            found |= {entry["id"] for entry in entries if isinstance(entry, dict) and _is_id(entry.get("id"))}
    return found


def _form(where: str, table: object, numbers: Iterator[int], options: Iterator[int]) -> Form:
    if not isinstance(table, dict):
        raise FormsError(f'{where}: it must be an object such as {{"type": …, "label": …, "widget": …}}')
    _check_keys(where, table, ("type", "id", "label", "widget", "options"))
    for name, known in (("type", TYPES), ("widget", WIDGETS)):
        if table.get(name) not in known:
            raise FormsError(f"{where}: {name} is {table.get(name)!r}: it must be one of {', '.join(known)}")
    label = _text(where, table, "label")
    number = _id(where, table, numbers)
    given = table.get("options", [])
    is_choice = table["widget"] in CHOICES
    if not isinstance(given, list) or (is_choice and not given) or (not is_choice and len(given) > 1):
        wanted = "a list of one or more" if is_choice else "left out, or a list of one"
        raise FormsError(f"{where}: options of a {table['widget']} form must be {wanted}")
    if not is_choice and not given:
        given = [{"label": label, "value": ""}]
    found = [_option(f"{where}: option {count}", entry, options) for count, entry in enumerate(given, 1)]
    if len({option.value for option in found}) < len(found):
        raise FormsError(f"{where}: two options have one value: give each its own")
    return Form(number, label, table["type"], table["widget"], found)


def _option(where: str, entry: object, options: Iterator[int]) -> Option:
    if not isinstance(entry, dict):
        raise FormsError(f'{where}: it must be an object such as {{"label": …, "value": …}}')
    _check_keys(where, entry, ("id", "label", "value"))
    label = _text(where, entry, "label")
    value = entry.get("value", label)
    if not isinstance(value, str):
        raise FormsError(f"{where}: value is {value!r}: it must be a text, or left out to be the label")
    return Option(_id(where, entry, options), label, value)


def _text(where: str, table: Mapping[str, Any], name: str) -> str:
    text = table.get(name)
    if not isinstance(text, str) or not text:
        raise FormsError(f"{where}: {name} is {text!r}: it must be a text that is not empty")
    return text


def _id(where: str, table: Mapping[str, Any], numbers: Iterator[int]) -> int:
    number = table.get("id")
    if number is None:
        return next(numbers)
    if not _is_id(number):
        raise FormsError(f"{where}: id is {number!r}: it must be a whole number from 1 on, or left out")
    return int(number)


def _is_id(number: object) -> bool:
    return type(number) is int and 0 < number <= LARGEST_ID


def _check_keys(where: str, table: Mapping[str, Any], names: Sequence[str]) -> None:
    for name in table:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            remedy = f"did you mean {near[0]}?" if near else f"known are {', '.join(names)}"
            raise FormsError(f"{where}: unknown key {name}, {remedy}")
