"""A look at a state store that leaves no trace: nothing is written, no file is made.

A reader of a WAL database makes its -shm and -wal beside it. So while nobody writes and the journal is empty,
the file is opened as one that cannot change (`immutable`, sqlite.org/uri.html); otherwise they exist.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from urllib.parse import quote

from syncengine.errors import StoreError
from syncengine.store.driver import Connection, check_kind, sqlite3, translating
from syncengine.store.file import real_path, side_files
from syncengine.store.lock import is_locked
from syncengine.store.probes import kept
from syncengine.store.schema import DUE

FINGERPRINT_BYTES = 16

ATTEMPTS = 3
"""Looks at a file that changes meanwhile: a run that begins spoils one, one that ends spoils another."""


@dataclass(frozen=True, slots=True)
class Glance:
    """What a state store knows: how many contacts, how many of them due, and its space.

    `kept`: see `probes.kept`.
    """

    contacts: int
    due: int
    base_url: str | None
    group_id: int | None
    key_fingerprint: bytes | None = field(repr=False)
    secret: bytes = field(repr=False)
    kept: frozenset[str] = frozenset()

    def is_other_key(self, api_key: str) -> bool:
        """Say whether the file was last used with another key."""
        if self.key_fingerprint is None:
            return False
        return self.key_fingerprint != fingerprint(self.secret, api_key)


def fingerprint(secret: bytes, api_key: str) -> bytes:
    """Return what a state store keeps of an API key, keyed with its own secret."""
    return blake2b(api_key.encode(), digest_size=FINGERPRINT_BYTES, key=secret).digest()


def glance(path: Path) -> Glance | None:
    """Look at a state store; None when there is none yet.

    Raises StoreError when it is damaged, another program's, or waits for a killed run to be cleared up.
    """
    path = real_path(path)
    if not path.exists():
        return None
    for _ in range(ATTEMPTS - 1):
        is_quiet, before = not is_locked(path), _stamp(path)
        # What a run that began or ended meanwhile let us see is neither a finding nor a fault: look again.
        try:
            found = _read(path, is_quiet=is_quiet)
        except StoreError:
            if _is_as_before(path, is_quiet=is_quiet, before=before):
                raise
        else:
            if not is_quiet or _is_as_before(path, is_quiet=True, before=before):
                return found
    return _read(path, is_quiet=not is_locked(path))


def _is_as_before(path: Path, *, is_quiet: bool, before: tuple[int, ...]) -> bool:
    if is_locked(path) is is_quiet:
        return False
    return not is_quiet or _stamp(path) == before


def _stamp(path: Path) -> tuple[int, ...]:
    """Return what changes when a run writes to the file. By name: nothing is opened."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _size(file: Path) -> int:
    """Return the bytes in a side file, 0 when there is none (any more)."""
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _read(path: Path, *, is_quiet: bool) -> Glance:
    with _opened(path, is_quiet=is_quiet) as connection:
        secret, base_url, key_fingerprint, group_id = connection.execute(
            "SELECT secret, base_url, key_fingerprint, group_id FROM space"
        ).fetchone()
        contacts = connection.execute("SELECT count(*) FROM contacts").fetchone()[0]
        due = connection.execute(f"SELECT count(*) FROM contacts WHERE {DUE}").fetchone()[0]
        proven = kept(connection)
    return Glance(contacts, due, base_url, group_id, key_fingerprint, secret, proven)


@contextmanager
def _opened(path: Path, *, is_quiet: bool) -> Iterator[Connection]:
    wal, journal = map(_size, side_files(path))
    if is_quiet and journal:
        raise StoreError(f"{path}: a killed run left its journal; the next syncengine sync clears it up")
    mode = "ro" if wal or journal or not is_quiet else "ro&immutable=1"
    with translating(path):
        connection = sqlite3.connect(
            f"file:{quote(str(path.absolute()))}?mode={mode}", uri=True, isolation_level=None, timeout=2.0
        )
        try:
            check_kind(connection, path)
            yield connection
        finally:
            connection.close()
