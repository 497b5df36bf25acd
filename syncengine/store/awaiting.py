"""Who waits for a read: accepted and not settled, or found to be dropped and looked for once more. Pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import orjson

from syncengine.seen import Wanted
from syncengine.store.schema import AWAITING, OPEN_PROBLEM
from syncengine.store.store import Store


@dataclass(frozen=True, slots=True)
class Leftover:
    """A contact that waits for a read: who it is for a look-up, and when it was accepted."""

    n: int
    wanted: Wanted
    date: float


class Awaiting(NamedTuple):
    """How many contacts wait for a read, and between when they were accepted: all but the oldest few.

    `seen`: the latest acceptance of whoever a read ever showed; 0 before.
    """

    total: int
    first: float
    last: float
    seen: float


OLDEST = 20
"""One in so many is left aside when a window is chosen: contacts that wait for weeks."""


def awaiting(store: Store) -> Awaiting:
    """Return who waits for a read."""
    with store.reading() as connection:
        count, last = connection.execute(
            f"SELECT count(*), max(accepted_date) FROM contacts WHERE {AWAITING}"
        ).fetchone()
        first = connection.execute(
            f"SELECT accepted_date FROM contacts WHERE {AWAITING} ORDER BY accepted_date, n LIMIT 1 OFFSET ?",
            (count // OLDEST,),
        ).fetchone()
        seen = connection.execute("SELECT coalesce(seen_date, 0) FROM space").fetchone()[0]
    return Awaiting(count, first[0] if first else 0.0, last or 0.0, seen)


def leftovers(
    store: Store, *, until: float, after: tuple[float, int] = (0.0, 0), limit: int
) -> list[Leftover]:
    """Return up to `limit` contacts accepted by `until` that wait for a read, in order of acceptance."""
    with store.reading() as connection:
        rows = connection.execute(
            f"SELECT n, remote_id, coalesce(accepted, content), accepted_date FROM contacts WHERE {AWAITING} "
            "AND accepted_date <= ? AND (accepted_date, n) > (?, ?) ORDER BY accepted_date, n LIMIT ?",
            (until, *after, limit),
        ).fetchall()
    return [Leftover(n, Wanted(id_, orjson.loads(content)), date) for n, id_, content, date in rows]


def confirmed_ids(store: Store, *, after: int, limit: int) -> list[tuple[int, int]]:
    """Return numbers and ids of contacts with an id that wait for nothing, in order of their numbers."""
    with store.reading() as connection:
        rows: list[tuple[int, int]] = connection.execute(
            "SELECT n, remote_id FROM contacts WHERE remote_id IS NOT NULL AND awaiting = 0 AND in_doubt = 0 "
            "AND accepted_hash = content_hash "
            "AND (problem_hash IS NOT content_hash OR problem = 'differs') AND n > ? ORDER BY n LIMIT ?",
            (after, limit),
        ).fetchall()
    return rows


def dropped_before(store: Store, *, after: int, limit: int) -> list[Leftover]:
    """Return contacts that an earlier run found dropped and that are to be looked for once more."""
    with store.reading() as connection:
        rows = connection.execute(
            "SELECT n, remote_id, content, accepted_date FROM contacts "
            f"WHERE look_again = 1 AND {OPEN_PROBLEM} AND n > ? ORDER BY n LIMIT ?",
            (after, limit),
        ).fetchall()
    return [Leftover(n, Wanted(id_, orjson.loads(content)), date or 0.0) for n, id_, content, date in rows]


def looked_again(store: Store, contacts: Iterable[int]) -> None:
    """Take note that dropped contacts were looked for once more."""
    with store.writing() as connection:
        connection.executemany("UPDATE contacts SET look_again = 0 WHERE n = ?", [(n,) for n in contacts])


def wanted_of(store: Store, contacts: Sequence[int]) -> list[Leftover]:
    """Return these contacts as they would be looked up now."""
    with store.reading() as connection:
        rows = connection.execute(
            "SELECT c.n, c.remote_id, c.content, c.accepted_date FROM json_each(?) j "
            "CROSS JOIN contacts c ON c.n = j.value",
            (orjson.dumps(list(contacts)).decode(),),
        ).fetchall()
    return [Leftover(n, Wanted(id_, orjson.loads(content)), date or 0.0) for n, id_, content, date in rows]
