"""A load inside the store: gather, then take effect.

`Staging` gathers what differs from the stored contacts; until its end the contacts are as before. Taking
effect begins with one commit (`state = 'applying'`): from then on the load counts as done, and whoever opens
the store next carries it through. So a load is all or nothing in effect, while no transaction, and hence no
journal, grows with the file.

Staging reads `contacts` and writes `staged`, `repeats`, `presence` and `refusals` by unqualified names:
`plan` runs the same code on a scratch database with the state store attached read-only.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from syncengine.hashing import HASH_VERSION
from syncengine.identity import IdentityClass, identify
from syncengine.problems import NO_LONGER
from syncengine.store.driver import Connection
from syncengine.store.schema import DUE

if TYPE_CHECKING:
    from syncengine.store.store import Store

APPLY_ROWS = 5000
"""Rows per transaction while a load takes effect (a WAL cannot be reset inside a transaction)."""


class Loaded(NamedTuple):
    """One row that became a contact: its line, key, shape, canonical content and content hash."""

    line: int
    key: str
    contact: Mapping[str, Any]
    content: bytes
    content_hash: bytes


class Conflict(NamedTuple):
    """A key that stands on several rows with different content: every line of it."""

    key: str
    lines: list[int]


def key_digest(secret: bytes, key: str) -> bytes:
    """Return the keyed digest under which a forgotten key is remembered."""
    return blake2b(key.encode(), digest_size=16, key=secret).digest()


class Staging:
    """Gathers the rows of one load, in bounded memory: 4 bytes per stored contact, the rest on disk."""

    def __init__(self, connection: Connection, *, secret: bytes, tombstones: frozenset[bytes]) -> None:
        self._connection = connection
        self._secret = secret
        self._tombstones = tombstones
        top = connection.execute("SELECT coalesce(max(n), 0) FROM contacts").fetchone()[0]
        self._lines = array("I", bytes(4 * (top + 1)))
        self.forgotten = 0
        self.unchanged = 0
        self.new = 0
        self.changed = 0

    def add(self, rows: list[Loaded]) -> None:
        """Gather a batch."""
        known = self._known([row.key for row in rows])
        lines = self._lines
        staged: dict[str, Loaded] = {}
        contact_of: dict[str, int | None] = {}
        repeats: list[tuple[str, int, bytes]] = []
        strangers: list[Loaded] = []
        for row in rows:
            found = known.get(row.key)
            if found is None:
                strangers.append(row)
                continue
            n, stored_hash = found
            if lines[n]:
                repeats.append((row.key, row.line, row.content_hash))
                continue
            lines[n] = row.line
            if stored_hash == row.content_hash:
                self.unchanged += 1
            else:
                staged[row.key] = row
                contact_of[row.key] = n
                self.changed += 1
        if strangers:
            self._add_strangers(strangers, staged, contact_of, repeats)
        self.unchanged += len(repeats)
        if staged:
            self._connection.executemany(
                "INSERT INTO staged (line, key, contact, content_hash, identity, mail, name, content) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        row.line,
                        row.key,
                        contact_of[row.key],
                        row.content_hash,
                        *identify(row.contact),
                        row.content,
                    )
                    for row in staged.values()
                ],
            )
        if repeats:
            self._connection.executemany("INSERT INTO repeats VALUES (?, ?, ?)", repeats)

    def saw(self, key: str, line: int) -> None:
        """Note that a refused row stands for `key`, so that its stored contact is not called missing."""
        found = self._known([key]).get(key)
        if found is not None and not self._lines[found[0]]:
            self._lines[found[0]] = line

    def conflicts(self) -> list[Conflict]:
        """Take out keys that stand on several rows with different content, and return them with all lines."""
        keys = self._connection.execute(
            "SELECT DISTINCT r.key FROM repeats r LEFT JOIN staged s ON s.key = r.key "
            "LEFT JOIN contacts c ON c.key = r.key "
            "WHERE r.content_hash IS NOT coalesce(s.content_hash, c.content_hash) ORDER BY r.key"
        ).fetchall()
        return [self._take_out(key) for (key,) in keys]

    def forgets(self, key: str | None) -> bool:
        """Say whether `key` was forgotten for good, and count its row if so."""
        forgotten = bool(
            self._tombstones and key is not None and key_digest(self._secret, key) in self._tombstones
        )
        self.forgotten += forgotten
        return forgotten

    def refuse(self, refusals: Iterable[tuple[int, str | None, str | None, str]]) -> None:
        """Gather refused rows: line, key if it is known, column, reason."""
        self._connection.executemany("INSERT INTO refusals VALUES (?, ?, ?, ?)", refusals)

    def settle_presence(self, *, snapshot: bool) -> int:
        """Write down whose presence in the source changes; return how many contacts will be missing."""
        lines = self._lines
        execute = self._connection.execute
        missing = {n for (n,) in execute("SELECT n FROM contacts WHERE missing = 1").fetchall()}
        back = {n for n in missing if lines[n]}
        self._connection.executemany("INSERT INTO presence VALUES (?, 0)", [(n,) for n in back])
        missing -= back
        total = execute("SELECT count(*) FROM contacts").fetchone()[0]
        unseen = lines.count(0) - 1 - (len(lines) - 1 - total)  # neither slot 0 nor forgotten contacts
        if not snapshot or not unseen:
            return len(missing)
        after = 0
        while page := execute(
            "SELECT n FROM contacts WHERE n > ? ORDER BY n LIMIT 50000", (after,)
        ).fetchall():
            after = page[-1][0]
            gone = [(n,) for (n,) in page if not lines[n] and n not in missing]
            self._connection.executemany("INSERT INTO presence VALUES (?, 1)", gone)
        return int(unseen)

    def _known(self, keys: list[str]) -> dict[str, tuple[int, bytes]]:
        rows = self._connection.execute(
            "SELECT c.key, c.n, c.content_hash FROM json_each(?) j CROSS JOIN contacts c ON c.key = j.value",
            (orjson.dumps(keys).decode(),),
        ).fetchall()
        return {key: (n, stored) for key, n, stored in rows}

    def _add_strangers(
        self,
        rows: list[Loaded],
        staged: dict[str, Loaded],
        contact_of: dict[str, int | None],
        repeats: list[tuple[str, int, bytes]],
    ) -> None:
        """Gather rows whose key no contact has: new, forgotten, or repeats of a new one."""
        before = {
            key
            for (key,) in self._connection.execute(
                "SELECT s.key FROM json_each(?) j CROSS JOIN staged s ON s.key = j.value",
                (orjson.dumps([row.key for row in rows]).decode(),),
            ).fetchall()
        }
        for row in rows:
            if self.forgets(row.key):
                continue
            if row.key in staged or row.key in before:
                repeats.append((row.key, row.line, row.content_hash))
            else:
                staged[row.key] = row
                contact_of[row.key] = None
                self.new += 1

    def _take_out(self, key: str) -> Conflict:
        execute = self._connection.execute
        lines = [line for (line,) in execute("SELECT line FROM repeats WHERE key = ?", (key,)).fetchall()]
        self.unchanged -= len(lines)
        first = execute("SELECT line, contact FROM staged WHERE key = ?", (key,)).fetchone()
        if first is None:
            n = execute("SELECT n FROM contacts WHERE key = ?", (key,)).fetchone()[0]
            lines.append(self._lines[n])
            self.unchanged -= 1
        else:
            lines.append(first[0])
            execute("DELETE FROM staged WHERE key = ?", (key,))
            if first[1] is None:
                self.new -= 1
            else:
                self.changed -= 1
        return Conflict(key, sorted(lines))


def clear_staging(connection: Connection) -> None:
    """Empty the staging tables."""
    for table in ("staged", "repeats", "presence", "refusals"):
        connection.execute(f"DELETE FROM {table}")


def apply_staged(connection: Connection, *, now: float, limit: int = APPLY_ROWS) -> int:
    """Move up to `limit` staged rows into the contacts and return how many were moved.

    A changed content closes its problem; the accepted and the applied payload are kept only where they
    differ from the content.
    """
    last = connection.execute(
        "SELECT max(n) FROM (SELECT n FROM staged ORDER BY n LIMIT ?)", (limit,)
    ).fetchone()[0]
    if last is None:
        return 0
    connection.execute(
        f"""INSERT INTO contacts (key, content_hash, hash_version, identity, mail, name,
                loaded_at, changed_at, content)
            SELECT key, content_hash, {HASH_VERSION}, identity, mail, name, :now, :now, content
            FROM staged WHERE n <= :last ORDER BY n
            ON CONFLICT (key) DO UPDATE SET
                accepted = CASE WHEN accepted_hash IS excluded.content_hash THEN NULL
                                WHEN accepted_hash IS contacts.content_hash THEN contacts.content
                                ELSE accepted END,
                applied = CASE WHEN confirmed_hash IS excluded.content_hash THEN NULL
                               WHEN confirmed_hash IS contacts.content_hash THEN contacts.content
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
                problem_since = NULL, problem_run = NULL, released_hash = NULL
            WHERE contacts.content_hash IS NOT excluded.content_hash""",
        {"now": now, "last": last},
    )
    return int(connection.execute("DELETE FROM staged WHERE n <= ?", (last,)).rowcount)


def apply_presence(connection: Connection, *, run: int | None, now: float) -> None:
    """Set who is missing from the last complete snapshot.

    Whoever came back is due again if it was; whoever is missing and due is held.
    """
    connection.execute("UPDATE contacts SET missing = p.missing FROM presence p WHERE p.n = contacts.n")
    close_problems(connection, "problem_reason = ? AND missing = 0", (NO_LONGER,))
    hold_missing(connection, run=run, now=now)


def apply_refusals(connection: Connection, *, now: float) -> None:
    """Make the refused rows of this load the open ones; a row refused before keeps its date."""
    connection.execute(
        "CREATE TEMP TABLE earlier AS SELECT key, reason, min(since) AS since FROM refused "
        "WHERE key IS NOT NULL GROUP BY key, reason"
    )
    connection.execute("DELETE FROM refused")
    connection.execute(
        "INSERT INTO refused (line, key, column_name, reason, since) "
        "SELECT r.line, r.key, r.column_name, r.reason, coalesce(e.since, ?) FROM refusals r "
        "LEFT JOIN earlier e ON e.key = r.key AND e.reason = r.reason ORDER BY r.line",
        (now,),
    )
    connection.execute("DROP TABLE earlier")


def hold_missing(connection: Connection, *, run: int | None, now: float) -> int:
    """Hold every due contact that the last snapshot lacks; return how many."""
    return int(
        connection.execute(
            "UPDATE contacts SET problem = 'held', problem_hash = content_hash, problem_reason = ?, "
            f"problem_detail = NULL, problem_since = ?, problem_run = ? WHERE missing = 1 AND {DUE}",
            (NO_LONGER, now, run),
        ).rowcount
    )


def close_problems(connection: Connection, condition: str, parameters: Iterable[object]) -> int:
    """Forget the open problems that meet an SQL condition of ours; return how many there were."""
    return int(
        connection.execute(
            "UPDATE contacts SET problem = NULL, problem_hash = NULL, problem_reason = NULL, "
            "problem_detail = NULL, problem_since = NULL, problem_run = NULL "
            f"WHERE problem_hash = content_hash AND {condition}",
            tuple(parameters),
        ).rowcount
    )


def take_effect(connection: Connection, number: int, *, run: int | None, now: float) -> None:
    """Bring the rest of a load into the contacts and close its record, within one transaction."""
    apply_staged(connection, now=now)
    apply_presence(connection, run=run, now=now)
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
        moved = APPLY_ROWS if state == "applying" else 0
        while moved == APPLY_ROWS:
            with store.writing() as connection:
                moved = apply_staged(connection, now=store.now())
        with store.writing() as connection:
            if state == "applying":
                take_effect(connection, number, run=run, now=store.now())
            else:
                clear_staging(connection)
                connection.execute(
                    "UPDATE loads SET state = 'interrupted', ended = ? WHERE id = ?", (store.now(), number)
                )


def rows_of_last_load(connection: Connection) -> int:
    """Return how many rows the last complete load read, 0 before the first."""
    row = connection.execute(
        "SELECT counts FROM loads WHERE state IN ('applying', 'done') ORDER BY id DESC LIMIT 1"
    ).fetchone()
    return int(orjson.loads(row[0])["read"]) if row else 0
