"""Which notes a contact holds. A note is sent once per contact and text, so the store remembers digests."""

from __future__ import annotations

import orjson

from syncengine.hashing import HASH_BYTES, content_hash


def note_digests(content: bytes) -> list[bytes]:
    """Return the digests of the notes in canonical JSON."""
    if b'"notes":' not in content:
        return []
    return [content_hash(note["content"].encode()) for note in orjson.loads(content).get("notes", ())]


def split_digests(joined: bytes) -> list[bytes]:
    """Return the digests that an intent keeps end to end."""
    return [joined[start : start + HASH_BYTES] for start in range(0, len(joined), HASH_BYTES)]
