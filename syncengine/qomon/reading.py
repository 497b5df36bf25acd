"""What Qomon's reading endpoints answer -> contacts, forms, counts. Pure: documents in, values out.

One function per endpoint, each with its own spellings; no other file knows them. Sources: Qomon API
reference, "Create a contact" (the shape of reads) and "Find a contact by ID" (the flat preview); guides
"Search overview" and "Forms overview"; and client code of integrators for what the pages contradict: the
birth fields, the names of answers and actions, notes as object or array.

An answer that is not of its shape raises ShapeError, a ValueError of one line that names the place and never
a value. Of a contact only its shape, `id` and `UpdatedAt` are strict: who it is, and where a sweep stands. A
member that is unknown or unreadable is no fault: it goes to `Contact.more`, so that one person's odd value
does not make a whole space unreadable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

from syncengine.qomon.contact import Answer, Contact, Note
from syncengine.qomon.fields import ADDRESS, ADDRESS_PARTS, MAIL, PLAIN_TEXT
from syncengine.qomon.forms import KINDS, Form, Option
from syncengine.qomon.members import (
    ShapeError,
    array_inside,
    inside,
    is_zero_time,
    read_array,
    read_birthdate,
    read_flag,
    read_id,
    read_objects,
    read_text,
    read_time,
    read_whole,
    shape_error,
)

Read: TypeAlias = Callable[[Any], Any]
"""A member's value, not null -> ours, None for nothing there. Raises ShapeError."""

STRICT = frozenset({"id", "updated_at"})
"""Our names of what a contact cannot be read without: a sweep goes by both."""

_OF_NOTES = frozenset({"id", "content", "data", "pinned", "CreatedAt", "created_at"})
"""What is read of a note; the rest stays as it is."""


class Spelling(NamedTuple):
    """How an endpoint spells a contact: member -> our name and how it is read; likewise the address."""

    members: Mapping[str, tuple[str, Read]]
    parts: Mapping[str, str]


def contacts_from_search(document: object) -> list[Contact]:
    """Read the answer of `POST /search`: `{status, data: {contacts: [...]}}`, null for none; no total.

    1 token, even for a page of 1,000 (observed). Raises ShapeError when one contact is none, or has no id or
    an unreadable `UpdatedAt`: a page that lacks somebody must not pass for a whole one.
    """
    rows = array_inside(document, "contacts")
    contacts: list[Contact] = []
    try:
        for row in rows:
            contacts.append(contact_from_search(row))  # noqa: PERF401 - their number is the place of a fault
    except ShapeError as error:
        raise ShapeError(f"contact {len(contacts) + 1} of the page: {error}") from None
    return contacts


def contact_from_search(row: object) -> Contact:
    """Read one contact of a search. Its answers are inline; `forms.decode` says what they mean."""
    return _contact(row, _SEARCH)


def contact_from_get(document: object) -> Contact:
    """Read the answer of `GET /contacts/{contactId}`: `{status, data: {contact: {...}}}`.

    1 token (observed). The flat contact of the previewed `GET /v1/contacts/{id}` is read as well.
    """
    if isinstance(document, dict) and "id" in document:
        return _contact(document, _GET)
    return _contact(inside(document, "contact"), _GET)


def total_from_kpi(document: object) -> int:
    """Read the answer of `POST /kpi`: `{status, data: {total: n}}`."""
    given = inside(document, "total")
    try:
        total = read_whole(given)
    except ShapeError as error:
        raise ShapeError(f"total: {error}") from None
    if total is None:
        raise ShapeError("total: expected a whole number, found a blank")
    return total


def forms_from_list(document: object, form_type: str) -> list[Form]:
    """Read the answer of `GET /v1/forms/type/{form_type}`: `{status, data: {forms: [...]}}`, null for none.

    1 token (observed). A form without an id, which no answer could be compared with, is left out.
    """
    if form_type not in KINDS:
        raise ValueError(f"no type of forms; they are {', '.join(KINDS)}")
    entries = array_inside(document, "forms")
    return [form for entry in entries if (form := _form(entry, form_type))]


def form_from_get(document: object, form_type: str = "") -> Form:
    """Read the answer of `GET /forms/{id}`: `{status, data: {form: {...}}}`.

    It may not tell the form's type; `form_type` does when the caller knows it.
    """
    form = _form(inside(document, "form"), form_type)
    if form is None:
        raise ShapeError("form: expected an object with an id")
    return form


# --- a contact


def _contact(row: object, spelling: Spelling) -> Contact:
    if not isinstance(row, dict):
        raise shape_error("a contact", row)
    found: dict[str, Any] = {}
    more: dict[str, object] = {}
    answers: list[Answer] = []
    for name, value in row.items():
        if value is None:
            continue
        member = spelling.members.get(name)
        if member is None:
            if name == ADDRESS and isinstance(value, dict):
                found |= _address(value, spelling.parts, more)
            else:
                more[name] = value
            continue
        try:
            if member[1] is _answers:
                read, unread = _answers(value)
                answers += read
                if unread:
                    more[name] = unread
            elif member[0] not in found and (ours := member[1](value)) is not None:
                found[member[0]] = ours
        except ShapeError as error:
            if member[0] in STRICT:
                raise ShapeError(f"{name}: {error}") from None
            more[name] = value
    if "id" not in found:
        raise ShapeError("id: expected, not found")
    return Contact(**found, answers=_once(answers), more=more)


def _address(value: dict[str, object], parts: Mapping[str, str], more: dict[str, object]) -> dict[str, Any]:
    """Return `address` and `address_id`; what else an address has goes to `more`, as `address.score`."""
    address: dict[str, str] = {}
    number = None
    for name, member in value.items():
        if member is None:
            continue
        part = parts.get(name)
        try:
            if part is not None:
                text = read_text(member)
                if text is not None:
                    address.setdefault(part, text)
            elif name == "id":
                number = read_id(member)
            else:
                more[f"{ADDRESS}.{name}"] = member
        except ShapeError:
            more[f"{ADDRESS}.{name}"] = member
    return {ADDRESS: address, "address_id": number}


def _tags(value: object) -> tuple[str, ...]:
    """Read tags, as texts or as `{name}`; each name once."""
    tags = (tag.get("name") if isinstance(tag, dict) else tag for tag in read_array(value))
    return tuple(dict.fromkeys(name for tag in tags if (name := read_text(tag)) is not None))


def _notes(value: object) -> tuple[Note, ...]:
    """Read notes: an array, or one note as an object; their text is `content` or `data`."""
    if isinstance(value, dict):
        value = [value] if value else []
    return tuple(_note(note) for note in read_objects(value))


def _note(note: dict[str, object]) -> Note:
    return Note(
        content=read_text(_first(note, "content", "data")) or "",
        pinned=read_flag(note.get("pinned")) or False,
        id=read_id(note.get("id")),
        created_at=read_time(_first(note, "CreatedAt", "created_at")),
        more={name: value for name, value in note.items() if name not in _OF_NOTES and value is not None},
    )


def _answers(value: object) -> tuple[list[Answer], list[object]]:
    """Read answers to forms, but for those that were taken back (`deleted_at` is set).

    Return the answers, and the entries that are none: one of them does not hide the others.
    """
    answers: list[Answer] = []
    unread: list[object] = []
    for entry in read_array(value):
        try:
            if not _is_deleted(entry):
                answers.append(_answer(entry))
        except ShapeError:
            unread.append(entry)
    return answers, unread


def _answer(entry: object) -> Answer:
    if not isinstance(entry, dict):
        raise shape_error("an object", entry)
    get = entry.get
    data = get("data")
    stored = data if type(data) is str and data else _stored(_first(entry, "data", "value"))
    return Answer(
        form=read_id(get("form_id")) or 0,
        value=stored,
        ref_id=read_id(get("form_ref_id")),
        stored=stored,
        id=read_id(get("id")),
        answered_at=read_time(get("date")) or read_time(_first(entry, "created_at", "CreatedAt")),
        survey_id=read_id(get("survey_id")),
    )


def _is_deleted(entry: object) -> bool:
    at = entry.get("deleted_at") if isinstance(entry, dict) else None
    return bool(at) and not (isinstance(at, str) and is_zero_time(at))


def _stored(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return read_text(value) or ""


def _once(answers: Iterable[Answer]) -> tuple[Answer, ...]:
    """Leave out repeats: one answer may stand under several names. Ids alone could be of two tables."""
    once: dict[tuple[object, ...], Answer] = {}
    for answer in answers:
        once.setdefault((answer.id, answer.form, answer.ref_id, answer.stored), answer)
    return tuple(once.values())


def _action_ids(value: object) -> tuple[int, ...]:
    return tuple(number for entry in read_array(value) if (number := read_id(entry)) is not None)


def _first(entry: Mapping[str, object], *names: str) -> object:
    """Return the first of these members that says anything, else None."""
    for name in names:
        value = entry.get(name)
        if value is not None and value != "":
            return value
    return None


# --- the spellings


_READS: dict[str, tuple[str, Read]] = {
    **{name: (name, read_text) for name in (*PLAIN_TEXT, MAIL, "gender", "external_id")},
    **{f"birth_{place}": (f"birth{place}", read_text) for place in ("city", "country", "dept")},
    "id": ("id", read_id),
    "group_id": ("group_id", read_id),
    "CreatedAt": ("created_at", read_time),
    "UpdatedAt": ("updated_at", read_time),
    "lastchange": ("last_change", read_time),
    "birthdate": ("birthdate", read_birthdate),
    "nationbuilderid": ("nationbuilderid", read_id),
    "age_category": ("age_category", read_whole),
    "black_list": ("black_list", read_flag),
    "tags": ("tags", _tags),
    "notes": ("notes", _notes),
    "custom_fields": ("answers", _answers),
    "customfields": ("answers", _answers),
    "formdatas": ("answers", _answers),
    "action_ids": ("action_ids", _action_ids),
    "actions_ids": ("action_ids", _action_ids),
}
"""What pages of every age show; where they contradict one another both spellings are read."""

_PARTS = {part: part for part in ADDRESS_PARTS}

_SEARCH = Spelling(_READS, _PARTS)
_GET = Spelling(
    _READS | {"created_at": ("created_at", read_time), "updated_at": ("updated_at", read_time)},
    _PARTS | {"house_number": "housenumber", "postal_code": "postalcode"},
)


# --- a form


def _form(entry: object, form_type: str) -> Form | None:
    """Read `{id, label, type, refvalues}`; its `type` is the widget (observed), or else the form's type."""
    if not isinstance(entry, dict) or not _number(entry):
        return None
    said = _label(entry, "type").lower()
    refvalues = entry.get("refvalues")
    options = (
        (option for option in refvalues if isinstance(option, dict)) if isinstance(refvalues, list) else ()
    )
    return Form(
        id=_number(entry),
        label=_label(entry, "label"),
        type=form_type or (said if said in KINDS else ""),
        widget="" if said in KINDS else said,
        options=tuple(
            Option(_number(option), _label(option, "label"), _label(option, "value")) for option in options
        ),
    )


def _number(entry: Mapping[str, object]) -> int:
    """Return the id of a form or option, 0 without a usable one."""
    try:
        return read_id(entry.get("id")) or 0
    except ShapeError:
        return 0


def _label(entry: Mapping[str, object], name: str) -> str:
    """Return a text of a form or option, empty when there is none that a text could be compared with."""
    try:
        return read_text(entry.get(name)) or ""
    except ShapeError:
        return ""
