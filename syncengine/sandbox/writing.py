"""What a synchronous write sends, `{"data": {"contact": {...}}}`: checked, and spelled as the book keeps it.

Sources: Qomon API reference, "Create a contact" and "Update contact by id". Otherwise than in the upsert the
contact lies one deeper, `birth_city` and its like have an underscore, a note's text is `data`, answers are
`{form_id, form_ref_id, data}` under `custom_fields` and `formdatas`, a birthdate is a date-time, and an
address has neither `id` nor `citycode` nor coordinates. Our choices: null is as left out; unknown members and
forms are refused with 422; what only reads have of tags, notes and answers may be sent back and does nothing
but as unknowns `dates` and `note_ids` say, so that an answer sent back with its `deleted_at` lives again.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from syncengine.sandbox.contact import ADDRESS_PARTS, LARGEST_ID, UNLISTED, Complaint, complaints
from syncengine.sandbox.forms import Forms, Resolved
from syncengine.sandbox.parts import addressed, e164, renoted, tagged
from syncengine.sandbox.shapes import RESPELLED
from syncengine.sandbox.unknowns import Unknowns

_ANSWERS = ("custom_fields", "formdatas")
_PLAIN = {
    name: RESPELLED.get(name, name)
    for name in (
        "firstname", "surname", "married_name", "mail", "phone", "mobile", "nationality", "age_category",
        "black_list", *RESPELLED,
    )
}  # fmt: skip
_PARTS = ADDRESS_PARTS - {"citycode", "latitude", "longitude"}
_ANSWER: dict[str, type] = {
    "form_id": int, "form_ref_id": int, "data": str, "date": str, "survey_id": int,
    "id": int, "created_at": str, "updated_at": str, "deleted_at": str,
}  # fmt: skip
_OBJECTS: dict[str, tuple[str, dict[str, type]]] = {
    "tags": ("name", {"name": str, "color": str, "appearance_count": int}),
    "notes": (
        "data",
        {
            "data": str,
            "pinned": bool,
            "only_super_admin": bool,
            "id": int,
            "contact_id": int,
            "group_id": int,
            "created_at": str,
            "updated_at": str,
            "user": dict,
        },
    ),
    "custom_fields": ("form_id", _ANSWER),
    "formdatas": ("form_id", _ANSWER),
}
"""The arrays of objects: the member each needs, and all it may have."""
_WORDS = {str: "string", int: "integer", bool: "boolean", dict: "object"}
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)


class Writing:
    """A write that was read; with `complaints` there is nothing to store."""

    def __init__(self, document: object, forms: Forms, unknowns: Unknowns) -> None:
        self._forms = forms
        self._unknowns = unknowns
        self._sent, self.complaints = _unwrapped(document)
        for name, value in self._sent.items():
            self.complaints += self._wrong(name, value, f"body.data.contact.{name}")
        self.answers: list[Resolved] = [] if self.complaints else self._resolved()

    def fields(self, notes: Sequence[dict[str, Any]], now: float) -> dict[str, Any]:
        """Return the contact without its answers, in the book's spelling; `notes` are those it had."""
        fields: dict[str, Any] = {}
        for name, value in self._sent.items():
            if name == "address":
                fields[name] = addressed({}, value, self._unknowns)
            elif name == "tags":
                fields[name] = tagged((), value, "replace")
            elif name == "notes":
                fields[name] = renoted(notes, value, self._unknowns.note_ids, now)
            elif name in ("phone", "mobile") and self._unknowns.phones == "e164":
                fields[name] = e164(value)
            elif name not in _ANSWERS and (name not in UNLISTED or self._unknowns.unlisted == "store"):
                fields[_PLAIN.get(name, name)] = value
        return fields

    def _wrong(self, name: str, value: Any, where: str) -> Iterator[Complaint]:
        if name in _PLAIN:
            for complaint in complaints({_PLAIN[name]: value}):
                yield complaint._replace(location=where)
        elif name in _OBJECTS:
            yield from _wrong_objects(value, where, *_OBJECTS[name])
        elif name in _RULES:
            yield from _RULES[name](value, where)
        elif name in UNLISTED and self._unknowns.unlisted != "drop":
            yield from _wrong_kind(value, where, str)
        else:
            yield Complaint(where, "unexpected property", value)

    def _resolved(self) -> list[Resolved]:
        """Return what the answers name, and complain of those that name nothing."""
        found: list[Resolved] = []
        for name in _ANSWERS:
            for number, entry in enumerate(self._sent.get(name, ())):
                where = f"body.data.contact.{name}[{number}]"
                answer = self._forms.resolve_reference(
                    entry["form_id"], entry.get("form_ref_id"), entry.get("data")
                )
                if isinstance(answer, str):
                    self.complaints.append(Complaint(where, answer, entry))
                elif name == "custom_fields" and answer.form.type != "custom_fields":
                    self.complaints.append(Complaint(where, "the form is no custom field", entry))
                else:
                    date = entry.get("date") if self._unknowns.dates == "kept" else None
                    found.append(answer._replace(date=date))
                    self.complaints += _wrong_date_time(entry.get("date"), f"{where}.date")
        return found


def _unwrapped(document: object) -> tuple[dict[str, Any], list[Complaint]]:
    """Return the members of the contact that are not null, or none and what is wrong around it."""
    where, content = "body", document
    for name in ("data", "contact"):
        if not isinstance(content, dict):
            return {}, [Complaint(where, "expected object", content)]
        if list(content) != [name]:
            return {}, [Complaint(where, f"expected {name} and no other property", content)]
        where, content = f"{where}.{name}", content[name]
    if not isinstance(content, dict):
        return {}, [Complaint(where, "expected object", content)]
    return {name: value for name, value in content.items() if value is not None}, []


def _wrong_objects(value: Any, where: str, required: str, kinds: Mapping[str, type]) -> Iterator[Complaint]:
    if not isinstance(value, list):
        yield Complaint(where, "expected array", value)
        return
    for number, entry in enumerate(value):
        at = f"{where}[{number}]"
        if not isinstance(entry, dict):
            yield Complaint(at, "expected object", entry)
            continue
        if entry.get(required) is None:
            yield Complaint(at, f"expected required property {required} to be present", entry)
        for name, member in entry.items():
            if name not in kinds:
                yield Complaint(f"{at}.{name}", "unexpected property", member)
            elif member is not None:
                yield from _wrong_kind(member, f"{at}.{name}", kinds[name])


def _wrong_kind(value: Any, where: str, kind: type) -> Iterator[Complaint]:
    if type(value) is not kind or (type(value) is int and not 0 <= value <= LARGEST_ID):
        yield Complaint(where, f"expected {_WORDS[kind]}", value)


def _wrong_flag(value: Any, where: str) -> Iterator[Complaint]:
    return _wrong_kind(value, where, bool)


def _wrong_id(value: Any, where: str) -> Iterator[Complaint]:
    return _wrong_kind(value, where, int)


def _wrong_ids(value: Any, where: str) -> Iterator[Complaint]:
    if not isinstance(value, list):
        yield Complaint(where, "expected array", value)
        return
    for number, entry in enumerate(value):
        yield from _wrong_id(entry, f"{where}[{number}]")


def _wrong_date_time(value: Any, where: str) -> Iterator[Complaint]:
    if value is None:
        return
    try:
        is_right = isinstance(value, str) and _DATE_TIME.fullmatch(value) and datetime.fromisoformat(value)
    except ValueError:
        is_right = False
    if not is_right:
        yield Complaint(where, "expected string to be RFC 3339 date-time", value)


def _wrong_address(value: Any, where: str) -> Iterator[Complaint]:
    if not isinstance(value, dict):
        yield Complaint(where, "expected object", value)
        return
    for part, text in value.items():
        if part not in _PARTS:
            yield Complaint(f"{where}.{part}", "unexpected property", text)
        elif text is not None:
            yield from _wrong_kind(text, f"{where}.{part}", str)


_RULES: dict[str, Callable[[Any, str], Iterator[Complaint]]] = {
    "birthdate": _wrong_date_time,
    "address": _wrong_address,
    "action_ids": _wrong_ids,
    "user_contact_id": _wrong_id,
    "phone_invalid": _wrong_flag,
    "mobile_invalid": _wrong_flag,
}


def unwritten(stored: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a contact holds that no synchronous write can say, to be kept beside the new `fields`."""
    kept = {
        name: stored[name] for name in (*UNLISTED, "nationbuilderid") if name in stored and name not in fields
    }
    if fields.get("address"):
        had = stored.get("address") or {}
        lacking = {part: had[part] for part in sorted(ADDRESS_PARTS - _PARTS) if part in had}
        kept["address"] = lacking | fields["address"]
    return kept
