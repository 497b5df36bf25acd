"""Which kinds of sends have passed their canary, by the mapping that made them. Functions of a `Store`."""

from __future__ import annotations

from collections.abc import Iterable

from syncengine.store.store import Store


def passed(store: Store) -> tuple[str, set[str]]:
    """Return the digest of the last load's mapping, and the kinds that passed with it."""
    with store.reading() as connection:
        row = connection.execute(
            "SELECT mapping FROM loads WHERE state IN ('applying', 'done') ORDER BY id DESC LIMIT 1"
        ).fetchone()
        mapping = row[0] if row else ""
        rows = connection.execute("SELECT kind FROM canaries WHERE mapping = ?", (mapping,)).fetchall()
    return mapping, {kind for (kind,) in rows}


def note_passed(store: Store, mapping: str, kinds: Iterable[str]) -> None:
    """Take note that kinds have passed with a mapping."""
    with store.writing() as connection:
        connection.executemany(
            "INSERT OR IGNORE INTO canaries (mapping, kind, at) VALUES (?, ?, ?)",
            [(mapping, kind, store.now()) for kind in kinds],
        )
