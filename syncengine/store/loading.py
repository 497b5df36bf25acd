"""A load takes effect: what was gathered is brought into the contacts.

`Staging` gathers what differs from the stored contacts; until its end the contacts are as before. Taking
effect begins with one commit (`state = 'applying'`): from then on the load counts as done, and whoever opens
the store next carries it through. So a load is all or nothing in effect, while no transaction, and hence no
journal, grows with the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from syncengine.hashing import HASH_VERSION
from syncengine.identity import IdentityClass
from syncengine.store.driver import Connection
from syncengine.store.holding import close_returned, hold_missing

if TYPE_CHECKING:
    from syncengine.store.store import Store

APPLY_ROWS = 5000
"""Rows per transaction while a load takes effect (a WAL cannot be reset inside a transaction)."""


def clear_staging(connection: Connection) -> None:
    """Empty the staging tables."""
    for table in ("staged", "repeats", "presence", "refusals"):
        connection.execute(f"DELETE FROM {table}")


def apply_staged(
    connection: Connection, *, now: float, after: str = "", limit: int = APPLY_ROWS
) -> str | None:
    """Bring up to `limit` staged rows with keys above `after` into the contacts.

    Returns the last key, None when there was no such row. In the order of keys, so that their indexes grow at
    one end. What has been brought in already is not written again. A changed content closes its problem; the
    accepted and the applied payload are kept only where they differ from the content.
    """
    last: str | None = connection.execute(
        "SELECT max(key) FROM (SELECT key FROM staged WHERE key > ? ORDER BY key LIMIT ?)", (after, limit)
    ).fetchone()[0]
    if last is None:
        return None
    connection.execute(
        f"""INSERT INTO contacts (key, content_hash, hash_version, identity, mail, name,
                loaded_at, changed_at, content)
            SELECT key, content_hash, {HASH_VERSION}, identity, mail, name, :now, :now, content
            FROM staged WHERE key > :after AND key <= :last ORDER BY key
            ON CONFLICT (key) DO UPDATE SET
                accepted = CASE WHEN accepted_hash IS excluded.content_hash THEN NULL
                                WHEN accepted_hash IS contacts.content_hash THEN contacts.content
                                ELSE accepted END,
                applied = CASE WHEN applied_hash IS excluded.content_hash THEN NULL
                               WHEN applied_hash IS contacts.content_hash THEN contacts.content
                               ELSE applied END,
                content = excluded.content,
                content_hash = excluded.content_hash,
                identity = CASE WHEN remote_id IS NULL THEN excluded.identity
                                ELSE {IdentityClass.CONFIRMED.value} END,
                mail = excluded.mail,
                name = excluded.name,
                changed_at = excluded.changed_at,
                missing = 0,
                problem = NULL, problem_hash = NULL, problem_reason = NULL, problem_detail = NULL,
                problem_facts = NULL, problem_since = NULL, problem_run = NULL, look_again = 0,
                released_hash = NULL
            WHERE contacts.content_hash IS NOT excluded.content_hash""",
        {"now": now, "after": after, "last": last},
    )
    return last


def apply_presence(connection: Connection, *, limit: int = APPLY_ROWS) -> int:
    """Set up to `limit` contacts missing, or back again, as gathered; return how many."""
    last = connection.execute(
        "SELECT max(n) FROM (SELECT n FROM presence ORDER BY n LIMIT ?)", (limit,)
    ).fetchone()[0]
    if last is None:
        return 0
    connection.execute(
        "UPDATE contacts SET missing = (SELECT p.missing FROM presence p WHERE p.n = contacts.n) "
        "WHERE n IN (SELECT n FROM presence WHERE n <= ?)",
        (last,),
    )
    return int(connection.execute("DELETE FROM presence WHERE n <= ?", (last,)).rowcount)


def apply_refusals(connection: Connection, *, now: float) -> None:
    """Make the refused rows of this load the open ones; a row refused before keeps its date."""
    connection.execute(
        "CREATE TEMP TABLE earlier AS SELECT coalesce(key, line) AS place, reason, min(since) AS since "
        "FROM refused GROUP BY place, reason"
    )
    connection.execute("DELETE FROM refused")
    connection.execute(
        "INSERT INTO refused (line, key, column_name, reason, since) "
        "SELECT r.line, r.key, r.column_name, r.reason, coalesce(e.since, ?) FROM refusals r "
        "LEFT JOIN earlier e ON e.place = coalesce(r.key, r.line) AND e.reason = r.reason ORDER BY r.line",
        (now,),
    )
    connection.execute("DROP TABLE earlier")


def take_effect(connection: Connection, number: int, *, run: int | None, now: float) -> None:
    """Bring a load of at most `APPLY_ROWS` changes into the contacts and close its record."""
    apply_staged(connection, now=now)
    apply_presence(connection)
    _conclude(connection, number, run=run, now=now)


def _conclude(connection: Connection, number: int, *, run: int | None, now: float) -> None:
    """Close the record of a load of which every row is brought in."""
    close_returned(connection)
    hold_missing(connection, run=run, now=now)
    apply_refusals(connection, now=now)
    clear_staging(connection)
    connection.execute("UPDATE loads SET state = 'done', ended = ? WHERE id = ?", (now, number))


def finish_load(store: Store, *, run: int | None = None) -> None:
    """Carry through a load that took effect but was cut short; drop one that never did. Idempotent."""
    with store.reading() as connection:
        rows = connection.execute(
            "SELECT id, state FROM loads WHERE state IN ('staging', 'applying') ORDER BY id"
        ).fetchall()
    for number, state in rows:
        if state == "staging":
            drop_load(store, number, "interrupted")
            continue
        after: str | None = ""
        while after is not None:
            with store.writing() as connection:
                after = apply_staged(connection, now=store.now(), after=after)
        moved = 1
        while moved:
            with store.writing() as connection:
                moved = apply_presence(connection)
        with store.writing() as connection:
            _conclude(connection, number, run=run, now=store.now())


def drop_load(store: Store, number: int, state: str) -> None:
    """Close the record of a load that never took effect; the contacts are as before."""
    with store.writing() as connection:
        clear_staging(connection)
        connection.execute("UPDATE loads SET state = ?, ended = ? WHERE id = ?", (state, store.now(), number))


def rows_of_last_load(connection: Connection) -> int:
    """Return how many rows the last complete load read, 0 before the first."""
    row = connection.execute(
        "SELECT counts FROM loads WHERE state IN ('applying', 'done') ORDER BY id DESC LIMIT 1"
    ).fetchone()
    return int(orjson.loads(row[0])["read"]) if row else 0
