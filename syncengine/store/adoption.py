"""What an adoption writes down: how far the space was read, who is whom, and what is right already.

Functions of an open `Store`; each is one transaction, so that an adoption may be killed and goes on. Only
contacts are matched of which nothing was ever accepted: whoever was sent before is a matter of the read-back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from syncengine.hashing import content_hash
from syncengine.identity import IdentityClass
from syncengine.problems import AMBIGUOUS
from syncengine.seen import Seen, Space, Wanted
from syncengine.store.driver import Connection
from syncengine.store.holding import close_problems, set_problem
from syncengine.store.matches import SINGLE, Matches, keep_the_surest, match_digest
from syncengine.store.notes import note_digests
from syncengine.store.schema import DUE, UNKNOWN_TO_QOMON
from syncengine.store.store import Store
from syncengine.store.unsettled import owned_ids

PAGE_ROWS = 500
STALE_SECONDS = 86_400.0
"""An adoption begun so long ago is begun anew: whom it met may have been merged or deleted since."""

LISTED = 20
"""Keys or ids that are listed of an ambiguous contact."""

UNPROVEN = IdentityClass.UNPROVEN.value
_GATHERED = ("matches", "strangers", "adoption")
_PEOPLE = (
    "SELECT n, mail, name, content, content_hash FROM contacts "
    f"WHERE {UNKNOWN_TO_QOMON} AND identity <> {UNPROVEN}"
)
_CLAIMS = "SELECT id, n FROM claims"


class Begun(NamedTuple):
    """An adoption to go on with. `read_up_to`: Unix seconds of the server's clock, None at the beginning.

    `since`: when it was begun; None for a new one.
    """

    read_up_to: float | None
    since: float | None


def begin(store: Store) -> Begun:
    """Begin an adoption, or go on with one that was cut short within a day."""
    with store.writing() as connection:
        _gather_claims(connection)
        row = connection.execute(
            "SELECT read_up_to, since FROM adoption WHERE since > ?", (store.now() - STALE_SECONDS,)
        ).fetchone()
        if row is not None:
            return Begun(*row)
        for table in _GATHERED:
            connection.execute(f"DELETE FROM {table}")
        connection.execute("INSERT INTO adoption (only, since) VALUES (1, ?)", (store.now(),))
        return Begun(None, None)


def _gather_claims(connection: Connection) -> None:
    """Gather the ids that the source claims, by id, for as long as the connection lives."""
    connection.execute("DROP TABLE IF EXISTS temp.claims")
    connection.execute("CREATE TEMP TABLE claims (id INTEGER, n INTEGER PRIMARY KEY)")
    connection.execute(
        "INSERT INTO claims SELECT json_extract(CAST(content AS TEXT), '$.id') AS id, n FROM contacts "
        f"WHERE {UNKNOWN_TO_QOMON} AND identity = {UNPROVEN} AND id IS NOT NULL"
    )
    connection.execute("CREATE INDEX temp.claims_id ON claims (id)")


def matches_of(store: Store, space: Space, *, claims: bool) -> Matches:
    """Return what pairs sights with the contacts of the store; `claims`: with claimed ids too, once begun."""
    return Matches(
        store.connection, space, people=_PEOPLE, claims=_CLAIMS if claims else "", secret=store.secret()
    )


def note_page(store: Store, matches: Matches, seen: Sequence[Seen], *, read_up_to: float | None) -> int:
    """Note who of those seen may be whom; return how many of them were ours before.

    `read_up_to`: up to which update everybody has been noted now, None when that is not known better.
    """
    with store.writing() as connection:
        owned = owned_ids(connection, [one.id for one in seen])
        matches.note([one for one in seen if one.id not in owned])
        if read_up_to is not None:
            connection.execute("UPDATE adoption SET read_up_to = ?", (read_up_to,))
    return len(owned)


def changed_since(store: Store, since: float, *, after: int, limit: int) -> list[tuple[int, Wanted]]:
    """Return contacts loaded since an adoption was begun: what was read before was not compared with them."""
    with store.reading() as connection:
        rows = connection.execute(
            f"SELECT n, content FROM contacts WHERE {UNKNOWN_TO_QOMON} AND changed_at >= ? AND n > ? "
            "ORDER BY n LIMIT ?",
            (since, after, limit),
        ).fetchall()
    return [(n, Wanted(None, orjson.loads(content))) for n, content in rows]


def choose(store: Store) -> None:
    """Keep, of each contact's pairs, the surest, once everybody was read.

    Pairs of what was edited meanwhile, or belongs to a key by now, are forgotten.
    """
    with store.writing() as connection:
        connection.execute(
            f"DELETE FROM matches WHERE n NOT IN (SELECT n FROM contacts WHERE {UNKNOWN_TO_QOMON}) "
            "OR content_hash NOT IN (x'', (SELECT c.content_hash FROM contacts c WHERE c.n = matches.n)) "
            "OR id IN (SELECT remote_id FROM contacts WHERE remote_id IS NOT NULL)"
        )
        keep_the_surest(connection)


@dataclass(slots=True)
class Found:
    """What an adoption found. Counts contacts of the source, but for `strangers`: those of the space.

    `unproven`: whose claimed id is nobody of that mail or surname; `fields`: how many of the differing
    contacts differ in each.
    """

    equal: int = 0
    different: int = 0
    ambiguous: int = 0
    absent: int = 0
    unproven: int = 0
    strangers: int = 0
    fields: Counter[str] = field(default_factory=Counter)


class Pair(NamedTuple):
    """A contact and its only sight. `theirs`: the fields seen with other values, with `sent` and `seen`."""

    n: int
    key: str
    id: int
    applied: bytes
    theirs: list[dict[str, Any]]


class Ambiguous(NamedTuple):
    """A contact that may be several in Qomon (`ids`), or one in Qomon that may be several keys (`keys`)."""

    n: int
    key: str
    ids: list[int]
    keys: list[str]

    def facts(self) -> dict[str, Any]:
        """Return what the store keeps of it."""
        return {"ids": self.ids} | ({"keys": self.keys} if self.keys else {})


def pair_page(connection: Connection, after: int) -> list[Pair]:
    """Return contacts with numbers above `after` that were found for certain."""
    rows = connection.execute(
        "SELECT m.n, c.key, m.id, m.applied, m.theirs FROM matches m CROSS JOIN contacts c ON c.n = m.n "
        f"WHERE {SINGLE} AND m.n > ? ORDER BY m.n LIMIT ?",
        (after, PAGE_ROWS),
    ).fetchall()
    return [
        Pair(n, key, id_, applied, orjson.loads(theirs) if theirs else [])
        for n, key, id_, applied, theirs in rows
    ]


def ambiguous_page(connection: Connection, after: int) -> list[Ambiguous]:
    """Return contacts with numbers above `after` that nothing tells apart, each with all that it may be."""
    rows = connection.execute(
        "SELECT DISTINCT m.n, c.key FROM matches m CROSS JOIN contacts c ON c.n = m.n "
        f"WHERE NOT ({SINGLE}) AND m.n > ? ORDER BY m.n LIMIT ?",
        (after, PAGE_ROWS),
    ).fetchall()
    return [Ambiguous(n, key, *_alternatives(connection, n, key)) for n, key in rows]


def stranger_page(connection: Connection, after: int) -> list[int]:
    """Return ids above `after` of whoever is in Qomon and nobody in the source."""
    rows = connection.execute(
        "SELECT s.id FROM strangers s WHERE NOT EXISTS (SELECT 1 FROM matches m WHERE m.id = s.id) "
        "AND s.id > ? ORDER BY s.id LIMIT ?",
        (after, PAGE_ROWS),
    ).fetchall()
    return [id_ for (id_,) in rows]


def absent_page(connection: Connection, after: str) -> list[str]:
    """Return keys above `after` of contacts that nobody in Qomon may be."""
    rows = connection.execute(
        f"SELECT key FROM contacts WHERE {UNKNOWN_TO_QOMON} AND n NOT IN (SELECT n FROM matches) "
        f"AND identity <> {UNPROVEN} AND key > ? ORDER BY key LIMIT ?",
        (after, PAGE_ROWS),
    ).fetchall()
    return [key for (key,) in rows]


def _alternatives(
    connection: Connection, n: int, key: str, *, table: str = "matches"
) -> tuple[list[int], list[str]]:
    ids = connection.execute(
        f"SELECT id FROM {table} WHERE n = ? ORDER BY id LIMIT ?", (n, LISTED)
    ).fetchall()
    keys = connection.execute(
        f"SELECT DISTINCT c.key FROM {table} m CROSS JOIN {table} o ON o.id = m.id "
        "CROSS JOIN contacts c ON c.n = o.n WHERE m.n = ? AND c.key <> ? ORDER BY c.key LIMIT ?",
        (n, key, LISTED),
    ).fetchall()
    return [id_ for (id_,) in ids], [other for (other,) in keys]


def count(store: Store) -> Found:
    """Count what was found, before any of it takes effect."""
    found = Found()
    with store.reading() as connection:
        after = 0
        while page := pair_page(connection, after):
            after = page[-1].n
            for pair in page:
                found.different += bool(pair.theirs)
                found.equal += not pair.theirs
                found.fields.update(one["field"] for one in pair.theirs)
        matched = connection.execute("SELECT count(DISTINCT n) FROM matches").fetchone()[0]
        found.ambiguous = matched - found.equal - found.different
        found.unproven, found.absent = connection.execute(
            f"SELECT count(*) FILTER (WHERE identity = {UNPROVEN}), "
            f"count(*) FILTER (WHERE identity <> {UNPROVEN}) FROM contacts "
            f"WHERE {UNKNOWN_TO_QOMON} AND n NOT IN (SELECT n FROM matches)"
        ).fetchone()
        found.strangers = connection.execute(
            "SELECT count(*) FROM strangers s WHERE NOT EXISTS (SELECT 1 FROM matches m WHERE m.id = s.id)"
        ).fetchone()[0]
    return found


def take_effect(store: Store, *, run: int, date: float, is_whole: bool) -> None:
    """Learn the ids of those found for certain, mark what is right already, hold whom nothing tells apart.

    `date`: when the space was read, Unix seconds of the server's clock. `is_whole`: all of it was, so that
    whoever is not ambiguous any more is due again. Killed in between, the next adoption goes on.
    """
    while True:
        with store.writing() as connection:
            page = pair_page(connection, 0)
            for pair in page:
                _learn(connection, pair, run=run, now=store.now(), date=date)
                connection.execute("DELETE FROM matches WHERE n = ?", (pair.n,))
                connection.execute("DELETE FROM strangers WHERE id = ?", (pair.id,))
        if not page:
            break
    after = 0
    while True:
        with store.writing() as connection:
            doubtful = ambiguous_page(connection, after)
            for one in doubtful:
                connection.execute("DELETE FROM ambiguous WHERE n = ?", (one.n,))
                connection.execute("INSERT INTO ambiguous SELECT n, id FROM matches WHERE n = ?", (one.n,))
        if not doubtful:
            break
        after = doubtful[-1].n
    hold_ambiguous(store, run=run)
    with store.writing() as connection:
        if is_whole:
            connection.execute("DELETE FROM ambiguous WHERE n NOT IN (SELECT n FROM matches)")
            close_problems(
                connection, "problem_reason = ? AND n NOT IN (SELECT n FROM ambiguous)", (AMBIGUOUS,)
            )
            connection.execute("DELETE FROM adoption")
            connection.execute("UPDATE space SET adopted_at = ?", (store.now(),))
        connection.execute("DELETE FROM matches")


def _learn(connection: Connection, pair: Pair, *, run: int, now: float, date: float) -> None:
    """Take note of a contact's id, and of what is seen of it; equal in everything, it is confirmed."""
    digest = content_hash(pair.applied)
    connection.execute(
        f"""UPDATE contacts SET remote_id = ?1, identity = {IdentityClass.CONFIRMED.value},
            applied_hash = ?2, applied = CASE WHEN content_hash = ?2 THEN NULL ELSE ?3 END,
            accepted_hash = ?2, accepted = CASE WHEN content_hash = ?2 THEN NULL ELSE ?3 END,
            accepted_at = ?4, accepted_date = ?5, accepted_run = ?6, theirs = ?7,
            confirmed_hash = CASE WHEN content_hash = ?2 THEN content_hash END,
            confirmed_at = CASE WHEN content_hash = ?2 THEN ?4 END WHERE n = ?8""",
        (
            pair.id,
            digest,
            pair.applied,
            now,
            date,
            run,
            orjson.dumps(pair.theirs).decode() if pair.theirs else None,
            pair.n,
        ),
    )
    close_problems(connection, "n = ? AND problem <> 'rejected'", (pair.n,))
    connection.executemany(
        "INSERT OR IGNORE INTO notes_sent VALUES (?, ?)",
        [(pair.n, note) for note in note_digests(pair.applied)],
    )
    connection.execute(
        "INSERT INTO receipts (n, run, at, content_hash, result, detail) "
        "SELECT n, ?, ?, content_hash, 'adopted', ? FROM contacts WHERE n = ?",
        (run, now, f"found in Qomon, {'equal' if not pair.theirs else 'with other values'}", pair.n),
    )


def hold_ambiguous(store: Store, *, run: int) -> int:
    """Hold due contacts that may be somebody in Qomon, but for the released ones; return how many.

    Whatever their content has become: they were found by the content of then, and only another adoption shows
    more.
    """
    with store.writing() as connection:
        rows = connection.execute(
            f"SELECT n, key FROM contacts WHERE n IN (SELECT n FROM ambiguous) AND {DUE} "
            "AND remote_id IS NULL AND released_hash IS NOT content_hash"
        ).fetchall()
        for n, key in rows:
            facts = Ambiguous(n, key, *_alternatives(connection, n, key, table="ambiguous")).facts()
            set_problem(connection, [n], "held", AMBIGUOUS, run=run, now=store.now(), facts=facts)
    return len(rows)


class Newcomer(NamedTuple):
    """A contact never sent, of which somebody in the adopted space has the mail or the names."""

    n: int
    key: str
    wanted: Wanted


def newcomers(store: Store, after: str, limit: int) -> list[Newcomer]:
    """Return up to `limit` due newcomers with keys above `after`, in key order; none while adopting."""
    secret = store.secret()
    found: list[Newcomer] = []
    with store.reading() as connection:
        is_adopted = connection.execute(
            "SELECT adopted_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM adoption) "
            "AND EXISTS (SELECT 1 FROM strangers) FROM space"
        ).fetchone()[0]
        while is_adopted and len(found) < limit:
            rows = connection.execute(
                f"SELECT key, n, mail, name, content FROM contacts WHERE {DUE} AND {UNKNOWN_TO_QOMON} "
                f"AND identity <> {UNPROVEN} AND key > ? ORDER BY key LIMIT ?",
                (after, limit),
            ).fetchall()
            if not rows:
                break
            for key, n, mail, name, content in rows:
                digests = match_digest(secret, mail), match_digest(secret, name)
                if _is_strange(connection, *digests):
                    found.append(Newcomer(n, key, Wanted(None, orjson.loads(content))))
            after = rows[-1][0]
    return found


def _is_strange(connection: Connection, mail: int, name: int) -> bool:
    """Say whether somebody who is nobody's has this mail or these names, by their digests."""
    row = connection.execute(
        "SELECT EXISTS (SELECT 1 FROM strangers WHERE mail = ?1 AND mail <> 0) "
        "OR EXISTS (SELECT 1 FROM strangers WHERE name = ?2 AND name <> 0)",
        (mail, name),
    ).fetchone()
    return bool(row[0])


def drop(store: Store) -> None:
    """Forget what an adoption has gathered: the contacts are as before."""
    with store.writing() as connection:
        for table in _GATHERED:
            connection.execute(f"DELETE FROM {table}")
