"""A contact -> the body of an upsert, and the form in which what was sent and what is seen compare. Pure.

Sources: Qomon API reference, "Upsert a contact" (names and types), and guide, "Create and update contacts"
(answers). A field, form or option Qomon does not know drops the whole contact silently after a 202, so what
is not certain to be known is refused here, by a ValueError that names the field and never the value. Whether
a form and an option exist is for `Forms.check`: only the space can tell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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
from syncengine.qomon.forms import Forms, check_kind, decode, form_named
from syncengine.qomon.values import LARGEST, clean, reader

Entry = TypeVar("Entry")

_read_mail = reader("mail")
_read_day = reader("date")


def upsert_document(contact: Contact) -> dict[str, Any]:
    """Return the body of `POST /contacts/upsert`: `{"kind": "contact", "data": {…}}`, only what is set.

    Costs 1 token (observed), async: 202 means queued. Texts are trimmed and composed (NFC), a mail is in
    lower case, a birthdate is `1987-03-05T00:00:00Z`; answers go as they are, since `Forms.check` compares
    them so. An empty text or address part is sent: what it does to a stored value is not documented.

    Send the id and what is to change, not a contact that was read: its `gender` is refused, and so are its
    notes, which would be written twice.

    Raises ValueError: a value of another type than the field's, or that JSON cannot hold; a malformed mail or
    date; `gender` and `external_id`; an answer without kind, form or text.
    """
    for name in ("gender", "external_id"):
        if getattr(contact, name) is not None:
            raise ValueError(f"{name} cannot be sent: {UNPROVEN[name]}")
    fields: dict[str, Any] = {}
    for name, write in _WRITERS.items():
        value = getattr(contact, name)
        if value is not None and not (name in IDS and value == 0):
            fields[name] = _write(name, write, value)
    if contact.address:
        fields[ADDRESS] = _write_address(contact.address)
    if contact.tags:
        names = [_write(TAGS, _write_some_text, tag) for tag in _entries(TAGS, contact.tags)]
        fields[TAGS] = [{"name": name} for name in dict.fromkeys(names)]
    if contact.notes:
        fields[NOTES] = [_write(NOTES, _write_note, note) for note in _entries(NOTES, contact.notes)]
    for answer in _entries("answers", contact.answers):
        kind, entry = _write_answer(answer)
        answers = fields.setdefault(kind, [])
        if entry not in answers:
            answers.append(entry)
    return {"kind": "contact", "data": fields}


def fields_seen(contact: Contact, forms: Forms) -> dict[str, Any]:
    """Return a contact as the upsert would spell it, in one form: contacts that are the same are equal.

    For a contact to be sent and for one that was read alike. Blanks are left out, and so is what no upsert
    can write; texts are trimmed and composed, mails in lower case, days as `1987-03-05T00:00:00Z`, those of
    date forms too; tags, notes and answers are sorted and without repeats. Answers are decoded, by kind, as
    `{label, id, value}`; one to a form that is not among `forms` is as it was given, or left out when its
    kind is not known. Nothing is refused: what Qomon holds is what it holds.
    """
    seen: dict[str, Any] = {}
    for name in _WRITERS:
        value = getattr(contact, name)
        if isinstance(value, str):
            value = _plain(value, _READERS.get(name, str)) or None
        if value is not None and not (name in IDS and value == 0):
            seen[name] = value
    address = {part: text for part, given in contact.address.items() if (text := _plain(given))}
    if address:
        seen[ADDRESS] = address
    tags = {name for tag in contact.tags if (name := _plain(tag))}
    if tags:
        seen[TAGS] = [{"name": name} for name in sorted(tags)]
    notes = {(content, note.pinned) for note in contact.notes if (content := _plain(note.content))}
    if notes:
        seen[NOTES] = [_note(content, is_pinned=is_pinned) for content, is_pinned in sorted(notes)]
    return seen | _answers_seen(contact.answers, forms)


def _answers_seen(answers: Iterable[Answer], forms: Forms) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, dict[tuple[str, str], dict[str, Any]]] = {}
    for answer in decode(answers, forms):
        form = forms.of(answer)
        value = _plain(answer.value, _read_day if form is not None and form.widget == "date" else str)
        if not answer.kind or not value:
            continue
        entry = {"label": form.label, "id": form.id} if form is not None else _named(answer.form)
        found.setdefault(answer.kind, {})[str(answer.form), value] = {**entry, "value": value}
    return {kind: [entries[place] for place in sorted(entries)] for kind, entries in found.items()}


def _plain(text: str, read: Callable[[str], object] = str) -> str:
    """Return a text in its one form, as far as it has one."""
    try:
        text = clean(text)
        return str(read(text))
    except ValueError:
        return text


# --- what an upsert may hold


def _write(name: str, write: Callable[[Any], Any], value: object) -> Any:
    try:
        return write(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _write_text(value: object) -> str:
    if isinstance(value, str):
        return clean(value)
    raise ValueError("not a text")


def _write_some_text(value: object) -> str:
    text = _write_text(value)
    if not text:
        raise ValueError("empty")
    return text


def _write_exact(value: str) -> str:
    """Return a label or an option as it is: Qomon may hold it with a blank at its end, or not composed."""
    _write_some_text(value)
    return value


def _write_mail(value: object) -> object:
    return _read_mail(_write_text(value))


def _write_day(value: object) -> object:
    return _read_day(_write_text(value))


def _write_whole(value: object) -> int:
    if type(value) is int and 0 <= value <= LARGEST:
        return value
    raise ValueError("not a whole number from 0 on")


def _write_flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError("neither True nor False")


_WRITERS: Mapping[str, Callable[[Any], Any]] = {
    **dict.fromkeys(IDS, _write_whole),
    **dict.fromkeys(PLAIN_TEXT, _write_text),
    MAIL: _write_mail,
    DATE: _write_day,
    **dict.fromkeys(NUMBERS, _write_whole),
    **dict.fromkeys(FLAGS, _write_flag),
}
_READERS: Mapping[str, Callable[[str], object]] = {MAIL: _read_mail, DATE: _read_day}


def _write_address(address: Mapping[str, str]) -> dict[str, str]:
    for part in address:
        if part not in ADDRESS_PARTS:
            try:
                find_field(f"{ADDRESS}.{part}")
            except ValueError as error:
                raise ValueError(f"{ADDRESS} {part!r} {error}") from None
    return {part: _write(f"{ADDRESS}.{part}", _write_text, text) for part, text in address.items()}


def _write_note(note: Note) -> dict[str, Any]:
    if note.id is not None:
        raise ValueError("one has an id, so Qomon has it already; an upsert would add it once more")
    return _note(_write_some_text(note.content), is_pinned=_write_flag(note.pinned))


def _note(content: str, *, is_pinned: bool) -> dict[str, Any]:
    return {"content": content, "pinned": True} if is_pinned else {"content": content}


def _write_answer(answer: Answer) -> tuple[str, dict[str, Any]]:
    if not answer.kind:
        raise ValueError("answers: one has no kind; an answer that was read gets its kind from forms.decode")
    check_kind(answer.kind)
    form = _write(answer.kind, form_named, answer.form)
    place = f"{answer.kind} {f'#{form}' if isinstance(form, int) else repr(form)}"
    if isinstance(form, str):
        _write(place, _write_exact, form)
    return answer.kind, {**_named(form), "value": _write(place, _write_exact, answer.value)}


def _named(form: int | str) -> dict[str, Any]:
    return {"id": form} if isinstance(form, int) else {"label": form}


def _entries(name: str, value: Iterable[Entry]) -> Iterable[Entry]:
    if isinstance(value, tuple | list):
        return value
    raise ValueError(f"{name}: not a tuple")
