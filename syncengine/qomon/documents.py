"""A contact -> the bodies of the synchronous endpoints, `{"data": {"contact": {…}}}`. Pure.

Sources: Qomon API reference, "Create a contact" and "Update contact by id" (names, types, what happens to
answers); what integrators strip of a contact that was read before they write it back (hotglue/target-qomon).

Otherwise than in the upsert the birth fields have an underscore, a note's text is `data`, a birthdate is a
date-time, an address has no id, city code or coordinates, and an answer names a reference of its form: the
option chosen with its value, or the only one of a form of free text with the text. Answers to custom fields
stand in `custom_fields`, all others in `formdatas`. Blanks are left out: there is nothing to clear in a new
contact, and in a replaced one whatever is not sent is cleared.

Which is why a contact that holds something these endpoints cannot write is refused, by a ValueError that
names the field and never the value: `dataclasses.replace` without it says that it may go.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from syncengine.qomon.contact import Answer, Contact, Note
from syncengine.qomon.fields import ADDRESS, ADDRESS_PARTS, IDS, NOTES, PLAIN_TEXT, TAGS, find_field
from syncengine.qomon.forms import Form, Forms, decode
from syncengine.qomon.members import read_flag, read_id
from syncengine.qomon.writing import (
    WRITERS,
    entries_of,
    write_field,
    write_flag,
    write_some_text,
    write_text,
    write_unlisted,
    write_whole,
)

SPELLED = {f"birth{place}": f"birth_{place}" for place in ("city", "country", "dept")}
"""Our names of what these endpoints spell otherwise."""

GEOCODED = ("citycode", "latitude", "longitude")
"""Parts of an address that only the upsert writes. Where a read shows coordinates, Qomon found all three."""

WRITTEN_BACK = {"phone_invalid": read_flag, "mobile_invalid": read_flag, "user_contact_id": read_id}
"""What only reads show, in `Contact.more`, and these endpoints write."""

OWN = frozenset({"lastchangeuserid", "user_id", "interactions", "address.score", "address.location"})
"""What only reads show and Qomon keeps by itself: never written, and no loss."""

OF_NOTES = ("contact_id", "group_id", "only_super_admin", "updated_at", "user")
"""What only reads show of a note and these endpoints write: who wrote it, and who may see it."""

CANNOT = (
    "cannot be written by a synchronous endpoint and could be lost; leave it out of the contact if that is "
    "meant"
)

ContactChange = Callable[[Contact], Contact]


def create_document(contact: Contact, forms: Forms, *, proven: Collection[str] = ()) -> dict[str, Any]:
    """Return the body of `POST /contacts`. 5 tokens (documented).

    Texts are trimmed and composed (NFC), a mail is in lower case; options go by value or by label, a date as
    `2026-07-16T00:00:00.000Z`. `forms`: those the answers are to. `proven`: those of `gender` and
    `external_id` that the space has been shown to keep.

    Raises ValueError: an `id` or `nationbuilderid`; city code or coordinates; a field that is not proven, or
    of `Contact.more` what cannot be written; a value that is not of its field; an answer to a form, or with
    an option, that is not among the forms; a note that has an id.
    """
    if contact.id:
        raise ValueError("id: a contact that is created gets its own; replace the one that has this id")
    if any(note.id is not None for note in entries_of(NOTES, contact.notes)):
        raise ValueError("notes: one has an id, so that it belongs to another contact")
    return _document(contact, Contact(), forms, proven)


def replace_document(
    held: Contact, wanted: Contact, forms: Forms, *, proven: Collection[str] = ()
) -> dict[str, Any]:
    """Return the body of `PATCH /contacts/{id}` that makes `wanted` of the contact `held`. 5 tokens.

    `held`: what a read showed. What is the same in both goes back to the letter; what is not, as in
    `create_document`. Answers keep their date, survey and option, notes their id, author, time and
    readership; tags lose nothing, their colours are the space's. City code and coordinates are found anew.
    What no read shows, as a NationBuilder id by the documentation, cannot be kept.

    Raises ValueError as `create_document`, and for a contact that is not `held` with changes.
    """
    if wanted.id != held.id:
        raise ValueError(
            "id: not the contact that was read; change that one (dataclasses.replace), as whatever a contact "
            "made anew does not have is cleared"
        )
    return _document(wanted, held, forms, proven)


def changed_document(
    read: Contact, change: ContactChange, forms: Forms, *, proven: Collection[str] = ()
) -> dict[str, Any] | None:
    """Return the body that writes what `change` makes of a contact, None when there is nothing to write.

    `change` gets the contact with its answers decoded. Raises ValueError as `replace_document`, and when
    `change` makes something else of what it has changed already: it could not be repeated.
    """
    held = replace(read, answers=decode(read.answers, forms))
    wanted = change(held)
    if wanted == held:
        return None
    document = replace_document(held, wanted, forms, proven=proven)
    if replace_document(held, change(wanted), forms, proven=proven) != document:
        raise ValueError("the change is another one when it is made twice, so that it could not be repeated")
    try:
        return None if document == replace_document(held, held, forms, proven=proven) else document
    except ValueError:
        return document  # what could not be written back is what the change took away


def _document(
    contact: Contact, held: Contact, forms: Forms, proven: Collection[str]
) -> dict[str, dict[str, Any]]:
    _check_more(contact)
    fields = write_unlisted(contact, proven)
    for name, write in WRITERS.items():
        value = getattr(contact, name)
        if value is None or value == "":
            continue
        if name in IDS:
            if value and name != "id":
                raise ValueError(f"{name}: {CANNOT}")
            continue
        if name not in _EXACT or value != getattr(held, name):
            value = write_field(name, write, value)
        if value != "":
            fields[SPELLED.get(name, name)] = value
    for name, read in WRITTEN_BACK.items():
        value = write_field(name, read, contact.more.get(name))
        if value is not None:
            fields[name] = value
    written = {
        ADDRESS: _address(contact.address, held.address),
        TAGS: [{"name": name} for name in _tags(contact, held)],
        NOTES: [write_field(NOTES, _note, note) for note in entries_of(NOTES, contact.notes)],
        "action_ids": [
            write_field("action_ids", write_whole, number)
            for number in entries_of("action_ids", contact.action_ids)
        ],
        **_answers(contact, forms),
    }
    return {"data": {"contact": fields | {name: value for name, value in written.items() if value}}}


_EXACT = frozenset({*PLAIN_TEXT, "mail"})
"""What goes back as it was read, whatever it looks like: nobody asked to change it."""


def _check_more(contact: Contact) -> None:
    for name, value in contact.more.items():
        if value not in ("", 0, [], {}) and name not in OWN and name not in WRITTEN_BACK:
            raise ValueError(f"{name}: {CANNOT} (it is in Contact.more)")


def _address(address: Mapping[str, str], held: Mapping[str, str]) -> dict[str, str]:
    parts: dict[str, str] = {}
    is_placed = bool(address.get("latitude") and address.get("longitude"))
    for part, text in address.items():
        place = f"{ADDRESS}.{part}"
        if part not in ADDRESS_PARTS:
            find_field(place)
        is_held = text == held.get(part)
        if part not in GEOCODED:
            parts[part] = text if is_held else write_field(place, write_text, text)
        elif text != "" and not (is_held and is_placed):
            raise ValueError(f"{place}: {CANNOT}")
    return {part: text for part, text in parts.items() if text != ""}


def _tags(contact: Contact, held: Contact) -> Iterator[str]:
    names = (
        tag if tag in held.tags else write_field(TAGS, write_some_text, tag)
        for tag in entries_of(TAGS, contact.tags)
    )
    return iter(dict.fromkeys(names))


def _note(note: Note) -> dict[str, Any]:
    if note.id is None:
        entry: dict[str, Any] = {"data": write_some_text(note.content)}
    else:
        kept = {name: note.more[name] for name in OF_NOTES if name in note.more}
        entry = {"id": note.id, "data": write_text(note.content)} | kept
        if note.created_at is not None:
            entry["created_at"] = note.created_at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return entry | ({"pinned": True} if write_flag(note.pinned) else {})


# --- answers


def _answers(contact: Contact, forms: Forms) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {"custom_fields": [], "formdatas": []}
    for answer in entries_of("answers", contact.answers):
        form = forms.of(answer)
        if form is None or not form.kind:
            raise _unknown_form(answer, forms)
        entries = found["custom_fields" if form.kind == "custom_fields" else "formdatas"]
        entry = _answer(answer, form, forms)
        if entry not in entries:
            entries.append(entry)
    return found


def _unknown_form(answer: Answer, forms: Forms) -> ValueError:
    if answer.kind:
        try:
            forms.find(answer.kind, answer.form)
        except ValueError as error:
            return error
    return ValueError(f"answers: form #{answer.form} is not among the forms of this space")


def _answer(answer: Answer, form: Form, forms: Forms) -> dict[str, Any]:
    """Return an entry of `custom_fields` or `formdatas`; one that was read is written back as it was."""
    if form.has_options:
        option, text = _chosen(answer, form, forms)
        is_held = answer.ref_id == option
    else:
        is_held = answer.stored is not None and answer.value == answer.stored
        option = answer.ref_id or next((each.id for each in form.options), 0)
        text = _free_text(answer, form, forms, is_held=is_held)
    if not option:
        raise ValueError(f"{form.kind} {form.label!r} (#{form.id}) has nothing that an answer could refer to")
    entry: dict[str, Any] = {"form_id": form.id, "form_ref_id": option, "data": text}
    if is_held and answer.answered_at is not None:
        entry["date"] = _moment(answer.answered_at)
    if answer.survey_id is not None and form.kind != "custom_fields":
        entry["survey_id"] = answer.survey_id
    return entry


def _chosen(answer: Answer, form: Form, forms: Forms) -> tuple[int, str]:
    """Return id and value of the option an answer chooses.

    By its reference as long as the answer still says what that option is called, else by what it says: it
    may have been read with one option and changed to another since.
    """
    held = forms.chosen(form, answer) if answer.ref_id else None
    if held is not None and held.id == answer.ref_id:
        said = {held.value, held.label, answer.stored, forms.text(form, answer)}
        if answer.value in said:
            return held.id, held.value or held.label
    option = form.option(answer.value)
    if option is None:
        reason = forms.reason(form.kind, form.id, answer.value)
        raise ValueError(reason or f"{form.kind} {form.label!r} (#{form.id}) has no such option")
    return option.id, option.value or option.label


def _free_text(answer: Answer, form: Form, forms: Forms, *, is_held: bool) -> str:
    if not is_held and (reason := forms.reason(form.kind, form.id, answer.value)) is not None:
        raise ValueError(reason)
    if form.widget != "date":
        return answer.value
    try:
        return _moment(datetime.fromisoformat(answer.value))
    except ValueError:
        if is_held:
            return answer.value
        raise ValueError(f"{form.kind} {form.label!r} (#{form.id}) takes only a date that there is") from None


def _moment(time: datetime) -> str:
    """Return a time as the endpoints take it: `YYYY-MM-DDTHH:mm:ss.SSSZ` (documented)."""
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
