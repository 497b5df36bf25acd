"""A contact -> the body of an upsert; and what a field to be written may hold, at any endpoint. Pure.

Sources: Qomon API reference, "Upsert a contact" (names and types), and guide, "Create and update contacts"
(answers). A field, form or option Qomon does not know drops the whole contact silently after a 202, so what
is not certain to be known is refused here, by a ValueError that names the field and never the value. Whether
a form and an option exist is for `Forms.check`: only the space can tell.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar

from syncengine.qomon.contact import Answer, Contact, Note
from syncengine.qomon.fields import (
    ADDRESS,
    ADDRESS_PARTS,
    DATE,
    FLAGS,
    IDS,
    MAIL,
    NOTES,
    NUMBERS,
    PLAIN_TEXT,
    TAGS,
    UNPROVEN,
    find_field,
)
from syncengine.qomon.forms import check_kind, form_named
from syncengine.qomon.values import LARGEST, clean, reader

Entry = TypeVar("Entry")

UNLISTED = ("gender", "external_id")
"""Fields that reads show and clients send, though no published write schema has them."""

_read_mail = reader("mail")
_read_day = reader("date")


def upsert_document(contact: Contact, *, proven: Collection[str] = ()) -> dict[str, Any]:
    """Return the body of `POST /contacts/upsert`: `{"kind": "contact", "data": {…}}`, only what is set.

    Costs 1 token (observed), async: 202 means queued. Texts are trimmed and composed (NFC), a mail is in
    lower case, a birthdate is `1987-03-05T00:00:00Z`; answers go as they are, since `Forms.check` compares
    them so. An empty text or address part is sent: what it does to a stored value is not documented.

    Send the id and what is to change, not a contact that was read: its `gender` is refused, and so are its
    notes, which would be written twice. `proven`: those of `gender` and `external_id` that this space has
    been shown to keep, or is to be asked about; they are in no write schema.

    Raises ValueError: a value of another type than the field's, or that JSON cannot hold; a malformed mail or
    date; `gender` and `external_id` unless proven; an answer without kind, form or text.
    """
    fields = write_unlisted(contact, proven)
    for name, write in WRITERS.items():
        value = getattr(contact, name)
        if value is not None and not (name in IDS and value == 0):
            fields[name] = write_field(name, write, value)
    if contact.address:
        fields[ADDRESS] = _write_address(contact.address)
    if contact.tags:
        names = [write_field(TAGS, write_some_text, tag) for tag in entries_of(TAGS, contact.tags)]
        fields[TAGS] = [{"name": name} for name in dict.fromkeys(names)]
    if contact.notes:
        fields[NOTES] = [write_field(NOTES, _write_note, note) for note in entries_of(NOTES, contact.notes)]
    for answer in entries_of("answers", contact.answers):
        kind, entry = _write_answer(answer)
        answers = fields.setdefault(kind, [])
        if entry not in answers:
            answers.append(entry)
    return {"kind": "contact", "data": fields}


# --- what a contact to be written may hold


def write_unlisted(contact: Contact, proven: Collection[str]) -> dict[str, Any]:
    """Return what a contact has of the fields that are in no write schema; ValueError unless proven."""
    fields: dict[str, Any] = {}
    for name in UNLISTED:
        value = getattr(contact, name)
        if value is None:
            continue
        if name not in proven:
            raise ValueError(f"{name} cannot be sent: {UNPROVEN[name]}")
        fields[name] = write_field(name, write_text, value)
    return fields


def write_field(name: str, write: Callable[[Any], Any], value: object) -> Any:
    """Return what `write` makes of a value; its ValueError gets the name of the field."""
    try:
        return write(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def write_text(value: object) -> str:
    """Return a text in its one form. Raises ValueError: no text, or one that JSON cannot hold."""
    if isinstance(value, str):
        return clean(value)
    raise ValueError("not a text")


def write_some_text(value: object) -> str:
    """Return a text in its one form. Raises ValueError as `write_text`, and for a blank."""
    text = write_text(value)
    if not text:
        raise ValueError("empty")
    return text


def _write_exact(value: str) -> str:
    """Return a label or an option as it is: Qomon may hold it with a blank at its end, or not composed."""
    write_some_text(value)
    return value


def _write_mail(value: object) -> object:
    return _read_mail(write_text(value))


def _write_day(value: object) -> object:
    return _read_day(write_text(value))


def write_whole(value: object) -> int:
    """Return a whole number from 0 on. Raises ValueError for anything else."""
    if type(value) is int and 0 <= value <= LARGEST:
        return value
    raise ValueError("not a whole number from 0 on")


def write_flag(value: object) -> bool:
    """Return True or False. Raises ValueError for anything else."""
    if isinstance(value, bool):
        return value
    raise ValueError("neither True nor False")


WRITERS: Mapping[str, Callable[[Any], Any]] = {
    **dict.fromkeys(IDS, write_whole),
    **dict.fromkeys(PLAIN_TEXT, write_text),
    MAIL: _write_mail,
    DATE: _write_day,
    **dict.fromkeys(NUMBERS, write_whole),
    **dict.fromkeys(FLAGS, write_flag),
}
"""A field that holds one value -> what it may hold, in its one form."""


def _write_address(address: Mapping[str, str]) -> dict[str, str]:
    for part in address:
        if part not in ADDRESS_PARTS:
            try:
                find_field(f"{ADDRESS}.{part}")
            except ValueError as error:
                raise ValueError(f"{ADDRESS} {part!r} {error}") from None
    return {part: write_field(f"{ADDRESS}.{part}", write_text, text) for part, text in address.items()}


def _write_note(note: Note) -> dict[str, Any]:
    if note.id is not None:
        raise ValueError("one has an id, so Qomon has it already; an upsert would add it once more")
    content = write_some_text(note.content)
    return {"content": content, "pinned": True} if write_flag(note.pinned) else {"content": content}


def _write_answer(answer: Answer) -> tuple[str, dict[str, Any]]:
    if not answer.kind:
        raise ValueError("answers: one has no kind; an answer that was read gets its kind from forms.decode")
    check_kind(answer.kind)
    form = write_field(answer.kind, form_named, answer.form)
    place = f"{answer.kind} {f'#{form}' if isinstance(form, int) else repr(form)}"
    if isinstance(form, str):
        write_field(place, _write_exact, form)
    return answer.kind, {**_named(form), "value": write_field(place, _write_exact, answer.value)}


def _named(form: int | str) -> dict[str, Any]:
    return {"id": form} if isinstance(form, int) else {"label": form}


def entries_of(name: str, value: Iterable[Entry]) -> Iterable[Entry]:
    """Return the entries of a tuple. Raises ValueError for a text and whatever else is iterable."""
    if isinstance(value, tuple | list):
        return value
    raise ValueError(f"{name}: not a tuple")
