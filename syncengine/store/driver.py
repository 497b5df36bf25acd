"""Opening the state store: the SQLite driver, the journal, and errors in our words.

The only place that imports a driver: two SQLite libraries on one file break each other's locks
(sqlite.org/howtocorrupt.html 2.2.1), and sqlite-utils takes pysqlite3 whenever it is importable.
The database file and its -wal and -shm are never opened by anything but SQLite: closing any descriptor of
them drops the process's locks (howtocorrupt.html 2.2).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlite_utils.utils
from sqlite_utils import Database

from syncengine.errors import StoreError

sqlite3: Any = vars(sqlite_utils.utils)["sqlite3"]
"""The driver: pysqlite3 when it is installed, else the standard library's."""

Connection = Any
"""A connection of whichever driver sqlite-utils uses (pysqlite3 has no type stubs)."""

APPLICATION_ID = 0x51_53_59_4E  # "QSYN": tells our file from any other SQLite file
BUSY_SECONDS = 5.0
WAL_LIMIT_BYTES = 64 * 1024 * 1024
DISK_ERRORS = frozenset({"SQLITE_FULL", "SQLITE_IOERR", "SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM"})
BROKEN_ERRORS = frozenset({"SQLITE_CORRUPT", "SQLITE_NOTADB"})


def has_wal_fix(version: tuple[int, int, int]) -> bool:
    """Say whether an SQLite version has the WAL-reset fix (sqlite.org/wal.html, "walresetbug").

    Fixed in 3.51.3 and 3.53.0, and in the branches 3.50.7 and 3.44.6; 3.52.0 was withdrawn.
    """
    if version[:2] == (3, 44):
        return version >= (3, 44, 6)
    if version[:2] == (3, 50):
        return version >= (3, 50, 7)
    if version[:2] == (3, 52):
        return False
    return version >= (3, 51, 3)


def journal_mode() -> str:
    """Return `wal` on a library that has the WAL-reset fix, else `truncate`."""
    return "wal" if has_wal_fix(sqlite3.sqlite_version_info) else "truncate"


@contextmanager
def translating(path: Path) -> Iterator[None]:
    """Turn the driver's errors into StoreError, naming the file and what to do."""
    try:
        yield
    except sqlite3.Error as error:
        name = str(getattr(error, "sqlite_errorname", ""))
        primary = "_".join(name.split("_")[:2])
        if primary in DISK_ERRORS:
            raise StoreError(
                f"{path}: cannot be written ({name}); free some space or mend the permissions, "
                "then run the same command again: it goes on where it stopped",
                reason="disk",
            ) from None
        if primary in BROKEN_ERRORS:
            raise StoreError(
                f"{path}: is damaged or is no state store ({name}); restore it from a backup. "
                "Nothing was sent and the file was left as it is"
            ) from None
        if primary in {"SQLITE_BUSY", "SQLITE_LOCKED"}:
            raise StoreError(
                f"{path}: another program keeps the file locked; close it and run the command again"
            ) from None
        raise StoreError(f"{path}: {type(error).__name__} {name}: {error}") from None


def open_for_writing(path: Path) -> Connection:
    """Open the one writing connection: durable marks (FULL), no implicit transactions. Writes nothing yet."""
    with translating(path):
        connection = _connect(path, "rw")
        try:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA secure_delete = FAST").fetchone()
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT_BYTES}").fetchone()
            connection.execute("PRAGMA cache_size = -16000")
        except BaseException:
            connection.close()
            raise
    return connection


def set_journal(connection: Connection, path: Path) -> None:
    """Bring the file to the journal mode of this library. Only for a file that is known to be ours."""
    wanted = journal_mode()
    found = connection.execute(f"PRAGMA journal_mode = {wanted}").fetchone()[0]
    if found != wanted:
        raise StoreError(
            f"{path}: its file system does not take SQLite's {wanted} journal (SQLite says {found!r}); "
            "keep the state store on a local disk"
        )


def leave_journal(connection: Connection) -> None:
    """Fold the journal into the file and let go of it, for which no other connection may be open."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = DELETE").fetchone()
        except sqlite3.OperationalError:  # busy: SQLite itself does not wait here
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def open_for_reading(path: Path) -> Connection:
    """Open a short-lived reader (`mode=ro`) that waits for, and never blocks, the writer.

    Raises StoreError when there is no state store, or the file is none.
    """
    if not path.exists():
        raise StoreError(f"{path}: there is no state store yet; run syncengine load or sync first")
    with translating(path):
        connection = _connect(path, "ro")
        try:
            try:
                check_kind(connection, path)
            except sqlite3.OperationalError as error:
                if "READONLY" not in str(getattr(error, "sqlite_errorname", "")):
                    raise
                # A killed writer left a rollback journal. SQLite rolls it back, given the right to write.
                connection.close()
                connection = _connect(path, "rw")
                check_kind(connection, path)
            connection.execute("PRAGMA query_only = ON")
        except BaseException:
            connection.close()
            raise
    return connection


def check_kind(connection: Connection, path: Path) -> None:
    """Raise StoreError unless the file is a state store. Only reads."""
    if path.stat().st_size == 0:
        raise StoreError(f"{path}: is empty, so it is no state store; move it away or restore a backup")
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise StoreError(f"{path}: is a database of another program; name another [state] path")


def _connect(path: Path, mode: str) -> Connection:
    connection = sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=BUSY_SECONDS,
    )
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


def database_of(connection: Connection) -> Database:
    """Return a connection as what migrations are applied to."""
    return Database(connection, execute_plugins=False, recursive_triggers=False)
