"""Gathering a load: what differs from the stored contacts, until the whole file has been read.

Reads `contacts` and writes `staged`, `repeats`, `presence` and `refusals` by unqualified names: `plan` runs
the same code on a scratch database with the state store attached read-only.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson

from syncengine.identity import identify
from syncengine.store.driver import Connection

PAGE_ROWS = 50_000
"""Contacts looked at together for being missing."""


class Loaded(NamedTuple):
    """One row that became a contact: its line, key, shape, canonical content and content hash."""

    line: int
    key: str
    contact: Mapping[str, Any]
    content: bytes
    content_hash: bytes


class Conflict(NamedTuple):
    """A key that stands on several rows that do not agree: every line of it, and those not yet refused.

    Nothing is known of a refused row but its key, so it agrees with no other.
    """

    key: str
    lines: list[int]
    unrefused: list[int]


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
        self.moved = 0
        """How many contacts leave or come back; known after `settle_presence`."""

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

    def conflicts(self) -> list[Conflict]:
        """Take out keys that stand on several rows that do not agree, and return them. Once, at the end."""
        keys = self._connection.execute(
            "SELECT DISTINCT r.key FROM repeats r LEFT JOIN staged s ON s.key = r.key "
            "LEFT JOIN contacts c ON c.key = r.key "
            "WHERE r.content_hash IS NOT coalesce(s.content_hash, c.content_hash) ORDER BY r.key"
        ).fetchall()
        found = [self._take_out(key) for (key,) in keys]
        return [conflict for conflict in found if conflict.unrefused]

    def forgets(self, key: str | None) -> bool:
        """Say whether `key` was forgotten for good, and count its row if so."""
        forgotten = bool(
            self._tombstones and key is not None and key_digest(self._secret, key) in self._tombstones
        )
        self.forgotten += forgotten
        return forgotten

    def refuse(self, refusals: Iterable[tuple[int, str | None, str | None, str]]) -> None:
        """Gather refused rows: line, key if it is known, column, reason."""
        refusals = list(refusals)
        self._connection.executemany("INSERT INTO refusals VALUES (?, ?, ?, ?)", refusals)
        self._connection.executemany(
            "INSERT INTO repeats VALUES (?, ?, NULL)",
            [(key, line) for line, key, _, _ in refusals if key is not None],
        )

    def settle_presence(self, *, snapshot: bool) -> int:
        """Write down whose presence in the source changes; return how many contacts will be missing."""
        self._see_refused()
        execute = self._connection.execute
        missing = int(execute("SELECT count(*) FROM contacts WHERE missing = 1").fetchone()[0])
        back = self._write_back()
        gone = self._write_gone() if snapshot else 0
        self.moved = back + gone
        return missing - back + gone

    def _see_refused(self) -> None:
        """Call no contact missing whose row is refused."""
        rows = self._connection.execute(
            "SELECT c.n, r.line FROM repeats r CROSS JOIN contacts c ON c.key = r.key "
            "WHERE r.content_hash IS NULL"
        ).fetchall()
        self._make_room(rows)
        for n, line in rows:
            self._lines[n] = self._lines[n] or line

    def _write_back(self) -> int:
        back, after = 0, 0
        while page := self._connection.execute(
            "SELECT n FROM contacts WHERE missing = 1 AND n > ? ORDER BY n LIMIT ?", (after, PAGE_ROWS)
        ).fetchall():
            after = page[-1][0]
            self._make_room(page)
            present = [row for row in page if self._lines[row[0]]]
            self._connection.executemany("INSERT INTO presence VALUES (?, 0)", present)
            back += len(present)
        return back

    def _write_gone(self) -> int:
        lines, gone = self._lines, 0
        for start in range(1, len(lines), PAGE_ROWS):
            unseen = [n for n, line in enumerate(lines[start : start + PAGE_ROWS], start) if not line]
            if unseen:
                gone += self._connection.execute(
                    "INSERT INTO presence SELECT c.n, 1 FROM json_each(?) j CROSS JOIN contacts c "
                    "ON c.n = j.value WHERE c.missing = 0",
                    (orjson.dumps(unseen).decode(),),
                ).rowcount
        return gone

    def _make_room(self, rows: list[tuple[Any, ...]]) -> None:
        """Make room for contacts (`n` first) that came while this load was gathered: `plan` has no lock."""
        if rows:
            lack = max(row[0] for row in rows) + 1 - len(self._lines)
            if lack > 0:
                self._lines.extend(array("I", bytes(4 * lack)))

    def _known(self, keys: list[str]) -> dict[str, tuple[int, bytes]]:
        rows = self._connection.execute(
            "SELECT c.n, c.key, c.content_hash FROM json_each(?) j CROSS JOIN contacts c ON c.key = j.value",
            (orjson.dumps(keys).decode(),),
        ).fetchall()
        self._make_room(rows)
        return {key: (n, stored) for n, key, stored in rows}

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
        repeats = execute("SELECT line, content_hash FROM repeats WHERE key = ?", (key,)).fetchall()
        unrefused = [line for line, content_hash in repeats if content_hash is not None]
        self.unchanged -= len(unrefused)
        first = execute("SELECT line, contact FROM staged WHERE key = ?", (key,)).fetchone()
        if first is not None:
            unrefused.append(first[0])
            execute("DELETE FROM staged WHERE key = ?", (key,))
            if first[1] is None:
                self.new -= 1
            else:
                self.changed -= 1
        elif line := self._line_of(key):
            unrefused.append(line)
            self.unchanged -= 1
        refused = [line for line, content_hash in repeats if content_hash is None]
        return Conflict(key, sorted(unrefused + refused), sorted(unrefused))

    def _line_of(self, key: str) -> int:
        """Return the line of the first row of a stored contact, 0 without one."""
        found = self._known([key]).get(key)
        return 0 if found is None else self._lines[found[0]]
