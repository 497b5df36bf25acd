"""A change -> the body that creates its contact, and what of the content that body cannot hold. Pure.

Contents are contacts in the upsert's shape, as the mapping makes them. `documents` knows what the endpoint
writes; what it does not is left to an upsert by the id that the creation tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import orjson

from syncengine.hashing import canonical, content_hash
from syncengine.model import Change
from syncengine.qomon.contact import Answer, Contact, Note
from syncengine.qomon.documents import GEOCODED, create_document
from syncengine.qomon.fields import ADDRESS, ADVANCED, IDS, NOTES, PROBED, TAGS
from syncengine.qomon.forms import Forms


class Creation(NamedTuple):
    """The body of `POST /contacts`; `taken`: canonical JSON of what it holds when that is not all."""

    document: dict[str, Any]
    taken: bytes | None


def contact_of(content: Mapping[str, Any]) -> Contact:
    """Return the contact that a content describes: `upsert_document` of it gives the content again."""
    fields = {name: value for name, value in content.items() if name not in _SEVERAL}
    return Contact(
        **fields,
        tags=tuple(tag["name"] for tag in content.get(TAGS, ())),
        notes=tuple(Note(note["content"], note.get("pinned", False)) for note in content.get(NOTES, ())),
        answers=tuple(
            Answer(kind, entry["id"] if "id" in entry else entry["label"], entry["value"])
            for kind in ADVANCED
            for entry in content.get(kind, ())
        ),
    )


_SEVERAL = frozenset({TAGS, NOTES, *ADVANCED})


def creation_of(change: Change, forms: Forms) -> Creation:
    """Return what creates a change's contact. `forms`: those its answers are to.

    An id that the source claims is not created: it is a claim. City code and coordinates are left for later,
    like the fields that only upserts were shown to keep, and so are all answers when one cannot be written,
    as one to a form of text without reference. Notes go only with the change that reserved them. Raises
    ValueError for what no creation takes.
    """
    content = orjson.loads(change.content)
    taken = _without(content, [part for part in GEOCODED if content.get(ADDRESS, {}).get(part)])
    taken = {name: value for name, value in taken.items() if name not in PROBED}
    try:
        document = _document(taken, change, forms)
    except ValueError:
        taken = {name: value for name, value in taken.items() if name not in ADVANCED}
        document = _document(taken, change, forms)
    return Creation(document, None if taken == content else canonical(taken))


def _document(content: Mapping[str, Any], change: Change, forms: Forms) -> dict[str, Any]:
    contact = contact_of({name: value for name, value in content.items() if name not in IDS})
    fresh = tuple(note for note in contact.notes if content_hash(note.content.encode()) in change.notes)
    return create_document(replace(contact, notes=fresh), forms)


def _without(content: Mapping[str, Any], parts: list[str]) -> dict[str, Any]:
    """Return a content without these parts of its address."""
    if not parts:
        return dict(content)
    address = {part: text for part, text in content[ADDRESS].items() if part not in parts}
    left = {name: value for name, value in content.items() if name != ADDRESS}
    return left | ({ADDRESS: address} if address else {})
