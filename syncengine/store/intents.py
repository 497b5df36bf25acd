"""Closing intents of which nothing left us: as before, but for the doubt of earlier attempts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from syncengine.store.driver import Connection
from syncengine.store.notes import split_digests


def withdraw(connection: Connection, intents: Sequence[tuple[int, bytes]]) -> None:
    """Close open intents that nobody acted upon: contacts, and the digests of the notes they reserved."""
    connection.executemany(
        "DELETE FROM notes_sent WHERE n = ? AND note = ?",
        [(n, note) for n, notes in intents for note in split_digests(notes)],
    )
    close_intents(connection, [n for n, _ in intents])


def close_intents(connection: Connection, contacts: Iterable[int]) -> None:
    """Close intents of which nothing is on its way; an earlier attempt's doubt stays."""
    numbers = [(n,) for n in contacts]
    connection.executemany("DELETE FROM intents WHERE n = ? AND unknown_hash IS NULL", numbers)
    connection.executemany("UPDATE intents SET open = 0 WHERE n = ?", numbers)
