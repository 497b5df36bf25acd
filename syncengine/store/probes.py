"""What `probe` has found out about the space: one answer to a question."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from syncengine.store.driver import Connection

if TYPE_CHECKING:
    from syncengine.store.store import Store

KEPT = "kept"
"""The answer to a question that has the name of a field."""


def note(store: Store, answers: Mapping[str, str]) -> None:
    """Keep the answers that were found, by question; those to other questions stay as they are."""
    with store.writing() as connection:
        connection.executemany(
            "INSERT INTO probes (question, answer, at) VALUES (?, ?, ?) "
            "ON CONFLICT (question) DO UPDATE SET answer = excluded.answer, at = excluded.at",
            [(question, answer, store.now()) for question, answer in answers.items()],
        )


def read(connection: Connection) -> dict[str, str]:
    """Return the answers as last found, by question; none in a file of before there were probes."""
    (columns,) = connection.execute("SELECT count(*) FROM pragma_table_info('probes')").fetchone()
    return dict(connection.execute("SELECT question, answer FROM probes")) if columns else {}


def kept(connection: Connection) -> frozenset[str]:
    """Return the fields that the space was shown to keep, though no write schema has them."""
    return frozenset(question for question, answer in read(connection).items() if answer == KEPT)


def kept_by(store: Store) -> frozenset[str]:
    """Return what `kept` does, of an open store."""
    with store.reading() as connection:
        return kept(connection)
