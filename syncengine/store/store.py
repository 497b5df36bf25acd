"""The state store: one file, one space, one writer.

Owns opening, recovery, transactions, the space's binding and the record of runs. What a load, the pump or a
person writes is in the modules beside it. Every method is synchronous and runs in one thread (see
`StoreThread`); between two calls no transaction is open.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from sqlite_utils import Database

from syncengine.errors import ConfigError, StoreError
from syncengine.hashing import HASH_VERSION
from syncengine.problems import CRASHES
from syncengine.store.driver import (
    APPLICATION_ID,
    Connection,
    check_kind,
    database_of,
    journal_mode,
    leave_journal,
    open_for_writing,
    set_journal,
    sqlite3,
    translating,
)
from syncengine.store.file import (
    create,
    discard_draft,
    draft_path,
    make_private,
    put_in_place,
    real_path,
    side_files,
)
from syncengine.store.glance import fingerprint
from syncengine.store.intents import withdraw
from syncengine.store.loading import finish_load
from syncengine.store.lock import RunLock
from syncengine.store.rehash import rehash
from syncengine.store.schema import CRASHES_ALONE, NEVER_SENT, UNKNOWN, WEAKEST, migrations

ANOTHER_KEY = (
    "nothing was sent. If the new key opens the same space, run syncengine sync --same-space once; "
    "if not, use another [state] path"
)


class Bound(NamedTuple):
    """What the file knows of its space. `needs_proof`: the key is new, a read must show the same group."""

    group_id: int | None
    needs_proof: bool


class Store:
    """The writing side of a state store. Open it while holding its `RunLock`.

    `now` is the wall clock (Unix seconds). Raises StoreError when the file is not a state store, is
    damaged, or was written by a newer syncengine; the file is then left as it is.
    """

    def __init__(self, path: Path, *, lock: RunLock, now: Callable[[], float] = time.time) -> None:
        self.path = real_path(path)
        self.now = now
        self._lock = lock
        discard_draft(self.path)
        if not self.path.exists():
            _build(self.path)
        self._open()
        try:
            self._recover()
        except BaseException:
            self.connection.close()
            raise

    def close(self) -> None:
        """Close the connection; SQLite folds the journal back into the file."""
        with translating(self.path):
            self.connection.close()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Run one transaction (BEGIN IMMEDIATE), committed durably when the block ends without an error.

        Raises StoreError, with reason `disk` when there is no room or no right. Nothing of the block is
        kept then. Also raises it when the file or its lock was moved or deleted meanwhile.
        """
        connection = self.connection
        with translating(self.path):
            assert not connection.in_transaction, "a transaction was left open"
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                self._check_file()
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # after SQLITE_FULL SQLite has rolled back by itself
                    with suppress(sqlite3.Error):
                        connection.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give the connection for reads; every result must be fetched before the block ends."""
        with translating(self.path):
            yield self.connection

    def rewrite(self) -> None:
        """Write the file anew, so that no trace of what was deleted stays in it.

        SQLite's secure_delete overwrites a deleted row where it stands, but not the copies that an earlier
        page split left in the unused part of a page (measured: 5 of 200 erased people were still to be
        read). Needs room for a second file; raises StoreError when there is none, or when somebody keeps
        reading.
        """
        draft = draft_path(self.path)
        with translating(self.path):
            leave_journal(self.connection)
            try:
                self._check_file()
                create(draft)
                self.connection.execute("VACUUM INTO ?", (str(draft),))
            except BaseException:
                discard_draft(self.path)
                set_journal(self.connection, self.path)
                raise
            self.connection.close()
        put_in_place(self.path)
        self._open()

    # --- the space ---------------------------------------------------------------------------------------

    def secret(self) -> bytes:
        """Return the random secret that keys this file's fingerprint and tombstones."""
        with self.reading() as connection:
            return bytes(connection.execute("SELECT secret FROM space").fetchone()[0])

    def bind(self, base_url: str, api_key: str, *, same_space: bool = False) -> Bound:
        """Bind the file to a space, or check that it is still the same one.

        Another key on the same URL needs `same_space`, or the proof of a read: then the result asks for one,
        and only `bind_group` lets the key in. Raises ConfigError for another base URL, and for another key
        that no read can prove because no group is known yet.
        """
        key_fingerprint = fingerprint(self.secret(), api_key)
        with self.writing() as connection:
            bound_url, bound_key, group_id = connection.execute(
                "SELECT base_url, key_fingerprint, group_id FROM space"
            ).fetchone()
            if bound_url is not None and bound_url != base_url:
                raise ConfigError(
                    f"{self.path}: belongs to the space at {bound_url}, not {base_url}; "
                    "nothing was sent. Remedy: another [state] path for another space"
                )
            is_new = bound_key is not None and bytes(bound_key) != key_fingerprint
            if is_new and group_id is None and not same_space:
                raise ConfigError(f"{self.path}: was last used with another API key; {ANOTHER_KEY}")
            if is_new and group_id is not None:
                return Bound(group_id, needs_proof=True)
            connection.execute(
                "UPDATE space SET base_url = ?, key_fingerprint = ?", (base_url, key_fingerprint)
            )
        return Bound(group_id, needs_proof=False)

    def bind_group(self, api_key: str, group_id: int | None, *, same_space: bool = False) -> None:
        """Take note of the group that a read with this key has shown (None: it showed nobody).

        Raises ConfigError when it is not the file's, or when it proves nothing and `same_space` is not said.
        """
        with self.writing() as connection:
            (bound,) = connection.execute("SELECT group_id FROM space").fetchone()
            if bound is not None and group_id is not None and bound != group_id:
                raise ConfigError(
                    f"{self.path}: belongs to the space with group_id {bound}, but this API key opens "
                    f"{group_id}; nothing was sent. Remedy: another [state] path for another space, or the "
                    "right key"
                )
            if bound is not None and group_id is None and not same_space:
                raise ConfigError(
                    f"{self.path}: was last used with another API key, and the space shows no contact that "
                    f"could prove it to be the same; {ANOTHER_KEY}"
                )
            connection.execute(
                "UPDATE space SET key_fingerprint = ?, group_id = coalesce(?, group_id)",
                (fingerprint(self.secret(), api_key), group_id),
            )

    def paused_until(self) -> float | None:
        """Return until when (Unix time) the server asked us to pause, None when it did not."""
        with self.reading() as connection:
            value: float | None = connection.execute("SELECT paused_until FROM space").fetchone()[0]
            return value

    # --- runs --------------------------------------------------------------------------------------------

    def begin_run(self, kind: str, *, in_flight: int | None = None) -> int:
        """Record a run that starts now and return its number. `in_flight`: requests open at once at most."""
        with self.writing() as connection:
            row = connection.execute(
                "INSERT INTO runs (kind, pid, in_flight, started) VALUES (?, ?, ?, ?)",
                (kind, os.getpid(), in_flight, self.now()),
            )
            return int(row.lastrowid)

    def end_run(
        self, run: int, *, outcome: str, reason: str | None, code: int, report: dict[str, Any]
    ) -> None:
        """Close a run's record with its outcome, exit code and report."""
        with self.writing() as connection:
            connection.execute(
                "UPDATE runs SET ended = ?, outcome = ?, reason = ?, exit = ?, report = ?, progress = NULL "
                "WHERE id = ?",
                (self.now(), outcome, reason, code, orjson.dumps(report).decode(), run),
            )

    def fruitless_crashes(self) -> int:
        """Return how many of the last syncs, in a row, were killed without one accepted contact."""
        with self.reading() as connection:
            rows = connection.execute(
                "SELECT reason = 'killed' AND accepted = 0 FROM runs "
                "WHERE ended IS NOT NULL AND kind = 'sync' ORDER BY id DESC LIMIT 10"
            ).fetchall()
        return next((count for count, (is_fruitless,) in enumerate(rows) if not is_fruitless), len(rows))

    # --- inside ------------------------------------------------------------------------------------------

    def _check_file(self) -> None:
        try:
            status = self.path.stat()
        except OSError:
            status = None
        if status is None or (status.st_dev, status.st_ino) != self._file:
            raise StoreError(
                f"{self.path}: was moved, deleted or replaced while in use; put it back and run again"
            )
        if not self._lock.is_held():
            raise StoreError(
                f"{self.path}: its lock file was deleted while in use; make sure that no other run is active"
            )

    def _open(self) -> None:
        """Open the connection. Nothing is written before the file is known to be ours."""
        path = self.path
        self.connection: Connection = open_for_writing(path)
        try:
            with translating(path):
                check_kind(self.connection, path)
                database = database_of(self.connection)
                self._check_schema(database)
                make_private(path)
                set_journal(self.connection, path)
                status = path.stat()
                self._file = (status.st_dev, status.st_ino)
                if migrations.pending(database):
                    with self.writing():
                        migrations.apply(database)
        except BaseException:
            self.connection.close()
            raise

    def _check_schema(self, database: Database) -> None:
        ours = {migration.name for migration in migrations._migrations}  # noqa: SLF001 - no public list
        if any(migration.name not in ours for migration in migrations.applied(database)):
            raise StoreError(
                f"{self.path}: was written by a newer syncengine; upgrade this one, or restore a backup"
            )

    def _recover(self) -> None:
        """Bring the file to where a run may start, whatever ended the last one. Idempotent."""
        with self.writing() as connection:
            self._settle_crash(connection)
            connection.execute(
                "UPDATE runs SET ended = ?, outcome = 'interrupted', reason = 'killed' WHERE ended IS NULL",
                (self.now(),),
            )
        rehash(self)
        finish_load(self)

    def _settle_crash(self, connection: Connection) -> None:
        """Put what a killed run may have sent in doubt; hold what was alone in flight again and again.

        When it was sent, and until when, nobody knows: it has to settle from now on.
        """
        withdraw(connection, connection.execute(NEVER_SENT).fetchall())
        connection.execute(
            "UPDATE contacts SET in_doubt = 1, released_hash = NULL "
            "WHERE n IN (SELECT n FROM intents WHERE open = 1)"
        )
        connection.execute(
            "UPDATE intents SET crashes = crashes + 1 "
            "WHERE open = 1 AND (SELECT count(*) FROM intents WHERE open = 1) = 1"
        )
        connection.execute(
            "UPDATE contacts SET problem = 'held', problem_hash = content_hash, problem_reason = ?, "
            "problem_detail = NULL, problem_facts = NULL, problem_since = ?, problem_run = NULL "
            "WHERE n IN (SELECT n FROM intents WHERE open = 1 AND crashes >= ?)",
            (CRASHES, self.now(), CRASHES_ALONE),
        )
        connection.execute(
            "INSERT INTO receipts (n, run, at, content_hash, result, detail) "
            "SELECT n, run, ?, content_hash, 'unknown', 'the program was killed' FROM intents WHERE open = 1",
            (self.now(),),
        )
        connection.execute(
            f"UPDATE intents SET open = 0, unknown_hash = {UNKNOWN}, unknown_at = ?, "
            f"unknown_identity = {WEAKEST} WHERE open = 1",
            (self.now(),),
        )


def journal_in_use(connection: Connection | None = None) -> dict[str, str]:
    """Return which SQLite, which driver and which journal mode are in use, for `status`.

    Without a connection: those a state store would be opened with. Only WAL is written down in the file; the
    other modes belong to a connection, and ours truncates.
    """
    found = connection.execute("PRAGMA journal_mode").fetchone()[0] if connection else journal_mode()
    return {
        "sqlite": sqlite3.sqlite_version,
        "driver": sqlite3.__name__,
        "journal_mode": "wal" if found == "wal" else "truncate",
    }


def _build(path: Path) -> None:
    """Make a new state store beside `path` and put it there whole, so that no half-made file is ever met."""
    for file in side_files(path):
        if file.exists() and file.stat().st_size:  # TRUNCATE leaves an empty journal behind
            raise StoreError(
                f"{path}: is gone, but {file.name} beside it is still there and may hold what was last "
                "written. Put the state store back, or remove both"
            )
    draft = draft_path(path)
    create(draft)
    connection = open_for_writing(draft)
    try:
        with translating(draft):
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute("BEGIN IMMEDIATE")
            migrations.apply(database_of(connection))
            connection.execute(
                "INSERT INTO space (only, secret, hash_version) VALUES (1, ?, ?)",
                (secrets.token_bytes(32), HASH_VERSION),
            )
            connection.execute("COMMIT")
    finally:
        connection.close()
    put_in_place(path)
