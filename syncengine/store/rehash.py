"""A new hash version: what is stored gets new hashes, and what is due stays exactly as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from syncengine.hashing import HASH_VERSION, canonical, content_hash
from syncengine.store.notes import note_digests

if TYPE_CHECKING:
    from syncengine.store.store import Store

PAGE_ROWS = 2000

_COLUMNS = (
    "content, accepted, applied, content_hash, accepted_hash, applied_hash, confirmed_hash, problem_hash, "
    "released_hash"
)


def rehash(store: Store) -> None:
    """Bring canonical forms and hashes to this program's version. Goes on where a kill stopped it."""
    with store.reading() as connection:
        stored = connection.execute("SELECT hash_version FROM space").fetchone()[0]
    if stored == HASH_VERSION:
        return
    after = 0
    while True:
        with store.writing() as connection:
            rows = connection.execute(
                f"SELECT n, in_doubt, {_COLUMNS} FROM contacts "
                "WHERE n > ? AND hash_version <> ? ORDER BY n LIMIT ?",
                (after, HASH_VERSION, PAGE_ROWS),
            ).fetchall()
            again = [_Rehashed(*row) for row in rows]
            connection.executemany(
                f"UPDATE contacts SET ({_COLUMNS}) = (?, ?, ?, ?, ?, ?, ?, ?, ?), hash_version = ? "
                "WHERE n = ?",
                [contact.row() for contact in again],
            )
            connection.executemany(
                "UPDATE intents SET unknown_hash = ? WHERE n = ? AND unknown_hash = ?",
                [(new, contact.n, old) for contact in again for old, new in contact.renewed.items()],
            )
            connection.executemany(
                "INSERT OR IGNORE INTO notes_sent VALUES (?, ?)",
                [(contact.n, note) for contact in again for note in contact.sent_notes],
            )
        if not rows:
            break
        after = rows[-1][0]
    _rehash_staged(store)
    with store.writing() as connection:
        connection.execute("UPDATE space SET hash_version = ?", (HASH_VERSION,))


class _Rehashed:
    """One contact's payloads in their new form, and which old hash became which new one.

    `sent_notes`: the notes of what was accepted, or may have been; digests are hashes too.
    """

    def __init__(
        self,
        n: int,
        in_doubt: int,
        content: bytes,
        accepted: bytes | None,
        applied: bytes | None,
        *hashes: bytes | None,
    ) -> None:
        self.n = n
        self._hashes = hashes
        content_was, accepted_was, applied_was = hashes[:3]
        self._content = _renew(content)
        self._accepted = None if accepted is None else _renew(accepted)
        self._applied = None if applied is None else _renew(applied)
        self.renewed: dict[bytes, bytes] = {}
        for old, payload in (
            (applied_was, self._applied),
            (accepted_was, self._accepted),
            (content_was, self._content),
        ):
            if old is not None and payload is not None:
                self.renewed[old] = content_hash(payload)
        sent = self._content if in_doubt or accepted_was == content_was else self._accepted
        self.sent_notes = note_digests(sent or b"")

    def row(self) -> tuple[Any, ...]:
        new = [None if old is None else self.renewed.get(old) for old in self._hashes]
        return (
            self._content,
            None if new[1] == new[0] else self._accepted,
            None if new[2] == new[0] else self._applied,
            *new,
            HASH_VERSION,
            self.n,
        )


def _renew(payload: bytes) -> bytes:
    return canonical(orjson.loads(payload))


def _rehash_staged(store: Store) -> None:
    """Do the same for rows of a load that was cut short while it took effect."""
    after = 0
    while True:
        with store.writing() as connection:
            rows = connection.execute(
                "SELECT n, content FROM staged WHERE n > ? ORDER BY n LIMIT ?", (after, PAGE_ROWS)
            ).fetchall()
            renewed = [(n, _renew(content)) for n, content in rows]
            connection.executemany(
                "UPDATE staged SET content = ?, content_hash = ? WHERE n = ?",
                [(content, content_hash(content), n) for n, content in renewed],
            )
        if not rows:
            return
        after = rows[-1][0]
