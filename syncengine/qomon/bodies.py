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
    """Return the whole-contact body of a change.

    The stored JSON goes out as it is, but for: an id, sent only when a read has confirmed it; a name to be
    cleared, sent only with that id (an empty name would take a filter out of the matching); notes that were
    sent before.
    """
    data: Any = orjson.Fragment(change.content)
    if change.remote_id is not None or any(part in change.content for part in _APART):
        data = _edited(orjson.loads(change.content), change)
    return orjson.dumps({"kind": "contact", "data": data})


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
