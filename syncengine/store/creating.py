"""Who may be created because a search shows nobody: the contacts, and who else a sight may be.

Functions of an open `Store`. What a sight means for them is decided by whoever asks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from syncengine.collisions import Traits, traits_of
from syncengine.identity import IdentityClass
from syncengine.store.driver import Connection
from syncengine.store.schema import DUE
from syncengine.store.store import Store

CROWD = 1000
"""Contacts of one mail, or of the same names, above which nobody is told apart from the others."""


@dataclass(frozen=True, slots=True)
class Creatable:
    """A due contact without an id. `is_awaiting`: accepted before, and no read has settled it."""

    n: int
    key: str = field(repr=False)
    content_hash: bytes
    content: Mapping[str, Any] = field(repr=False)
    mail: str = field(repr=False)
    name: str = field(repr=False)
    traits: Traits = field(repr=False)
    is_awaiting: bool
    in_doubt: bool


@dataclass(frozen=True, slots=True)
class Rival:
    """Another contact whose id is not known. `was_accepted`: accepted before, or in doubt."""

    n: int
    key: str = field(repr=False)
    traits: Traits = field(repr=False)
    was_accepted: bool


def creatable(store: Store, contacts: Sequence[int]) -> list[Creatable]:
    """Return those of these contacts that are due and have no id, in the order given."""
    with store.reading() as connection:
        rows = connection.execute(
            "SELECT c.n, c.key, c.content_hash, c.content, c.mail, c.name, c.awaiting, c.in_doubt "
            "FROM json_each(?) j CROSS JOIN contacts c ON c.n = j.value "
            f"WHERE c.remote_id IS NULL AND c.n IN (SELECT n FROM contacts WHERE {DUE}) ORDER BY j.key",
            (_json(contacts),),
        ).fetchall()
    found = []
    for n, key, digest, stored, mail, name, awaiting, in_doubt in rows:
        content = orjson.loads(stored)
        traits = traits_of(content)
        found.append(Creatable(n, key, digest, content, mail, name, traits, bool(awaiting), bool(in_doubt)))
    return found


def without_identity(store: Store) -> list[int]:
    """Return due contacts with neither mail nor surname, in key order, but for the released ones."""
    with store.reading() as connection:
        rows = connection.execute(
            f"SELECT n FROM contacts WHERE {DUE} AND identity = {IdentityClass.NONE.value} AND missing = 0 "
            "AND remote_id IS NULL AND released_hash IS NOT content_hash "
            "AND n NOT IN (SELECT n FROM intents WHERE open = 1) ORDER BY key"
        ).fetchall()
    return [n for (n,) in rows]


def owners(connection: Connection, ids: Sequence[int]) -> dict[int, str]:
    """Return the keys that have these ids, by id."""
    return dict(
        connection.execute(
            "SELECT c.remote_id, c.key FROM json_each(?) j CROSS JOIN contacts c "
            "ON c.remote_id = j.value AND c.remote_id IS NOT NULL",
            (_json(ids),),
        ).fetchall()
    )


def rivals(connection: Connection, mail: str, name: str) -> list[Rival] | None:
    """Return contacts without an id that have this mail or these names; None when they are a crowd."""
    found: dict[int, Rival] = {}
    for column, value in (("mail", mail), ("name", name)):
        rows = connection.execute(
            "SELECT n, key, content, accepted_at IS NOT NULL OR in_doubt = 1 FROM contacts "
            f"WHERE {column} = ? AND {column} <> '' AND remote_id IS NULL AND (missing = 0 "
            f"OR accepted_at IS NOT NULL OR in_doubt = 1) ORDER BY key LIMIT {CROWD + 1}",
            (value,),
        ).fetchall()
        if len(rows) > CROWD:
            return None
        for n, key, content, was_accepted in rows:
            found[n] = Rival(n, key, traits_of(orjson.loads(content)), bool(was_accepted))
    return list(found.values())


def still_these(store: Store, contacts: Mapping[int, bytes]) -> dict[int, bytes]:
    """Return those of these contacts whose content is still the one given."""
    with store.reading() as connection:
        rows = connection.execute(
            "SELECT c.n, c.content_hash FROM json_each(?) j CROSS JOIN contacts c ON c.n = j.value",
            (_json(list(contacts)),),
        ).fetchall()
    return {n: digest for n, digest in rows if contacts[n] == digest}


def _json(values: Sequence[int]) -> str:
    return orjson.dumps(list(values)).decode()
