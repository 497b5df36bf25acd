"""Qomon ids that the source claims, and ids learned: who may be sent by id. Functions of an open `Store`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import orjson

from syncengine.identity import IdentityClass
from syncengine.seen import Seen, Wanted
from syncengine.store.driver import Connection
from syncengine.store.schema import DUE
from syncengine.store.store import Store


@dataclass(frozen=True, slots=True)
class IdClaim:
    """A due contact whose source row names an id that no read has shown to be its own."""

    n: int
    key: str = field(repr=False)
    wanted: Wanted
    mail: str = field(repr=False)
    name: str = field(repr=False)

    def agrees(self, seen: Seen) -> bool:
        """Say whether the contact of that id has this mail, or this surname."""
        if self.mail and self.mail == seen.mail:
            return True
        surname = self.name.partition("\x1f")[0]
        return bool(surname) and surname == seen.name.partition("\x1f")[0]


def claimed_ids(store: Store, after: str, limit: int) -> list[IdClaim]:
    """Return up to `limit` due contacts with a claimed id and keys above `after`, in key order."""
    with store.reading() as connection:
        rows = connection.execute(
            f"SELECT n, key, content, mail, name FROM contacts WHERE {DUE} "
            f"AND identity = {IdentityClass.UNPROVEN.value} AND key > ? ORDER BY key LIMIT ?",
            (after, limit),
        ).fetchall()
    claims = []
    for n, key, content, mail, name in rows:
        contact = orjson.loads(content)
        if "id" in contact:
            claims.append(IdClaim(n, key, Wanted(contact["id"], contact), mail, name))
    return claims


def learn_ids(store: Store, found: Sequence[tuple[int, int]]) -> set[int]:
    """Take note of ids that a read has shown, unless another key has them; return whose were taken."""
    with store.writing() as connection:
        return take_ids(connection, found)


def take_ids(connection: Connection, found: Iterable[tuple[int, int]]) -> set[int]:
    """Do so in an open transaction."""
    return {
        n
        for n, id_ in found
        if connection.execute(
            f"UPDATE contacts SET remote_id = ?1, identity = {IdentityClass.CONFIRMED.value} "
            "WHERE n = ?2 AND remote_id IS NULL AND NOT EXISTS "
            "(SELECT 1 FROM contacts o WHERE o.remote_id = ?1 AND o.remote_id IS NOT NULL)",
            (id_, n),
        ).rowcount
    }
