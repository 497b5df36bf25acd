"""The body of an upsert, from a change's stored canonical JSON. Pure.

Source: Qomon API reference, "Upsert a contact": `{"kind": "contact", "data": {…}}`.
"""

from __future__ import annotations

from typing import Any

import orjson

from syncengine.hashing import content_hash
from syncengine.model import Change
from syncengine.qomon.fields import IDS, NAMES

_APART = (b'"notes":', b'"id":', b'"nationbuilderid":', b'name":""')
"""Where the stored JSON may hold something that does not go out as it stands."""


def upsert_body(change: Change) -> bytes:
    """Return the body of a change: of the whole contact, or of what its partial send carries.

    The stored JSON goes out as it is, but for: an id, sent only when a read has confirmed it; a name to be
    cleared, sent only with that id (an empty name would take a filter out of the matching); notes that were
    sent before. A partial send goes by its id; notes never sent go with it.
    """
    data: Any = orjson.Fragment(change.content)
    if change.partial is not None:
        data = _edited(_carried(change.partial, change), change)
    elif change.remote_id is not None or any(part in change.content for part in _APART):
        data = _edited(orjson.loads(change.content), change)
    return orjson.dumps({"kind": "contact", "data": data})


def _carried(partial: bytes, change: Change) -> dict[str, Any]:
    """Return what a partial send carries, with the notes of the whole content: they are in no partial one."""
    assert change.remote_id is not None, "without its id a part of a contact would match anybody, or nobody"
    contact: dict[str, Any] = orjson.loads(partial)
    if change.notes:
        contact["notes"] = orjson.loads(change.content).get("notes", [])
    return contact


def _edited(contact: dict[str, Any], change: Change) -> dict[str, Any]:
    for name in IDS:
        contact.pop(name, None)
    if change.remote_id is not None:
        contact["id"] = change.remote_id
    else:
        for name in NAMES:
            if contact.get(name) == "":
                del contact[name]
    if "notes" in contact:
        fresh = [note for note in contact["notes"] if content_hash(note["content"].encode()) in change.notes]
        if fresh:
            contact["notes"] = fresh
        else:
            del contact["notes"]
    return contact
