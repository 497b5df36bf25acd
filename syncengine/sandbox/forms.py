"""The forms of a space: which questions there are, which options they have, and what an answer names.

Sources: Qomon guides, "Forms" and "Create and update contacts". There are six types of forms, each written
under a key of its own in an upsert (`KINDS`), and six widgets. An answer names its form by id, or by label
when the label is the only one of its kind; a choice takes the value *or* the label of an option (observed in
live spaces). Whatever cannot be resolved drops the whole contact, so `resolve` returns the cause instead of
raising. Answers already given are not kept here.
"""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from syncengine.sandbox.dates import span
from syncengine.sandbox.form import KINDS, LARGEST_ID, TYPES, Form, FormsError, Option, numbered, read_tables

__all__ = ["KINDS", "LARGEST_ID", "TYPES", "Form", "Forms", "FormsError", "Option", "Resolved"]

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
_DATE = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d))?", re.ASCII)
_SAMPLE: tuple[tuple[str, str, str, dict[str, str]], ...] = (
    ("custom_fields", "Job", "text", {}),
    ("custom_fields", "Languages", "checkbox", {"French": "fr", "English": "en", "German": "de"}),
    ("custom_fields", "Size", "radio", {"S": "S", "M": "M", "L": "L"}),
    ("custom_fields", "Joined", "date", {}),
    ("custom_fields", "Shares", "numeric", {}),
    ("custom_fields", "Committee", "text", {}),
    ("custom_fields", "Committee", "text", {}),
    ("consent", "Newsletter", "radio", {"By e-mail": "consent_email", "Refusal": "refus"}),
    ("level_of_support", "Level of support", "radio", {"supporter": "1", "member": "2", "opponent": "3"}),
    ("survey", "Survey 2026", "checkbox", {"Would volunteer": "volunteer", "Would donate": "donate"}),
    ("tasks", "Call back", "radio", {"To do": "todo", "Done": "done"}),
    ("presence_status", "Assembly", "radio", {"Present": "present", "Absent": "absent"}),
)
"""A space without a file: type, label, widget, options. Both "Committee" have one label, as happens."""


class Resolved(NamedTuple):
    """What an answer names: the form, the option (of a free form its only one) and the text to store.

    `date` is the answer's when the time at which it is applied is not.
    """

    form: Form
    option: Option
    data: str
    date: str | None = None


class Forms:
    """All forms of one space, in order; staff may change their options while it runs."""

    def __init__(self, tables: Sequence[object], where: str) -> None:
        self._tables = tables
        self._where = where
        self.restart()

    @classmethod
    def read(cls, path: Path) -> "Forms":
        """Return the forms of a file, see `sandbox.form` for its format. Raises FormsError."""
        return cls(read_tables(path), str(path))

    @classmethod
    def sample(cls) -> "Forms":
        """Return the small set of a space without a forms file."""
        tables = [
            {
                "type": type_,
                "label": label,
                "widget": widget,
                "options": [{"label": name, "value": value} for name, value in options.items()],
            }
            for type_, label, widget, options in _SAMPLE
        ]
        return cls(tables, "the sample forms")

    def __iter__(self) -> Iterator[Form]:
        return iter(self._by_id.values())

    def restart(self) -> None:
        """Be as in the beginning: what staff changed is undone, answers are numbered from 1."""
        self._answers = itertools.count(1)
        self._by_id = numbered(self._tables, self._where)
        self._by_label: dict[tuple[str, str], list[Form]] = {}
        for form in self:
            self._by_label.setdefault((form.type, form.label), []).append(form)

    @property
    def digest(self) -> str:
        """A text that changes when anything of any form does."""
        content = [(form.type, form.as_json()) for form in self]
        return blake2b(orjson.dumps(content), digest_size=16).hexdigest()

    def of_type(self, form_type: str) -> list[Form]:
        """Return the forms of one of the six types."""
        return [form for form in self if form.type == form_type]

    def by_id(self, number: int) -> Form | None:
        """Return the form of this id."""
        return self._by_id.get(number)

    def next_answer(self) -> int:
        """Return the id of the next answer: unique in the space, never given again."""
        return next(self._answers)

    def resolve(self, kind: str, entry: Mapping[str, Any]) -> Resolved | str:
        """Return what an entry `{id|label, value}` under an upsert's key names, or the cause of the drop.

        The id decides when both are there, and 0 counts as none. Our choices, where Qomon says nothing:
        labels are compared exactly; a number or date that cannot be read is as wrong as an unknown option.
        """
        number, label = entry.get("id"), entry.get("label")
        if number:
            form = self._by_id.get(number)
            if form is None:
                return f"unknown form {number} in {kind}"
            if form.type != KINDS[kind]:
                return f"form {number} is of type {form.type}: it does not belong in {kind}"
        elif label:
            found = self._by_label.get((KINDS[kind], label), ())
            if len(found) != 1:
                return f"{'ambiguous' if found else 'unknown'} form {label!r} in {kind}"
            form = found[0]
        else:
            return f"an entry of {kind} names no form"
        return self._read(form, entry["value"])

    def resolve_reference(self, number: int, option: int | None, data: str | None) -> Resolved | str:
        """Return what `{form_id, form_ref_id, data}` of the synchronous endpoints names, or what is wrong.

        A choice is named by `form_ref_id`, without it by `data`; a free form takes `data`.
        """
        form = self._by_id.get(number)
        if form is None:
            return f"unknown form {number}"
        if option is None:
            return self._read(form, data or "")
        found = next((each for each in form.options if each.id == option), None)
        if found is None:
            return f"form {number} has no option {option}"
        return Resolved(form, found, found.value) if form.is_choice else self._read(form, data or "")

    def rename_option(
        self, number: int, option: int, *, label: str | None = None, value: str | None = None
    ) -> Option | None:
        """Rename an option as staff would and return it, None when there is no such form or option.

        Answers that name it keep their id and text.
        """
        found = self._option(number, option)
        if found is not None:
            found.label = found.label if label is None else label
            found.value = found.value if value is None else value
        return found

    def remove_option(self, number: int, option: int) -> Option | None:
        """Remove an option as staff would and return it, None when there is none; answers stay."""
        found = self._option(number, option)
        if found is not None:
            self._by_id[number].options.remove(found)
        return found

    def _option(self, number: int, option: int) -> Option | None:
        form = self._by_id.get(number)
        if form is None or not form.is_choice:
            return None
        return next((each for each in form.options if each.id == option), None)

    @staticmethod
    def _read(form: Form, text: str) -> Resolved | str:
        if form.is_choice:
            option = form.option(text) if text else None
            if option is None:
                return f"form {form.id} has no option {text!r}"
            return Resolved(form, option, option.value)
        data: str | None = text
        if form.widget == "numeric" and not _NUMBER.fullmatch(text):
            data = None
        elif form.widget == "date":
            data = _moment(text)
        if data is None:
            return f"form {form.id} takes no {form.widget} such as {text!r}"
        return Resolved(form, form.options[0], data)


def _moment(text: str) -> str | None:
    """Return a date or an RFC 3339 time as Qomon stores a date: UTC with milliseconds; None if neither."""
    found = span(text, 0.0) if _DATE.fullmatch(text) else None
    if found is None:
        return None
    moment = datetime.fromtimestamp(found.first, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
