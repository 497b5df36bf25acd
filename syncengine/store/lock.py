"""The run lock: one writer per state store.

`flock` on a file of its own: it dies with the process, however that ends, and no other descriptor of the
database is touched. The file says who holds it; only the lock itself counts.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import orjson

from syncengine.errors import LockHeldError, StoreError
from syncengine.store.file import real_path

PATIENCE = 0.2
"""Seconds before a held lock is believed: `is_locked` takes it too, for an instant."""


def lock_path(store: Path) -> Path:
    """Return the path of a state store's lock file."""
    store = real_path(store)
    return store.with_name(store.name + ".lock")


class RunLock:
    """The right to write a state store and to send from it, held while the context is open.

    Raises LockHeldError, naming the holder, when another process has it.
    """

    def __init__(self, store: Path) -> None:
        self.store = store
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        path = lock_path(self.store)
        deadline = time.monotonic() + PATIENCE
        while True:
            descriptor = _open(path)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_same_file(descriptor, path):
                    _write_holder(descriptor)
                    break
                os.close(descriptor)  # somebody deleted the file between open and lock: lock the new one
            except OSError as error:
                holder = _read(descriptor)
                os.close(descriptor)
                if error.errno not in {errno.EWOULDBLOCK, errno.EACCES}:
                    raise StoreError(f"{path}: cannot be locked: {error.strerror}", reason="disk") from None
                if time.monotonic() > deadline:
                    raise _held(self.store, holder) from None
                time.sleep(PATIENCE / 10)
        self._descriptor = descriptor
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def is_held(self) -> bool:
        """Say whether the lock is still ours: its file was neither deleted nor replaced."""
        return self._descriptor is not None and _is_same_file(self._descriptor, lock_path(self.store))


@contextmanager
def _descriptor_of(path: Path) -> Iterator[int | None]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def is_locked(store: Path) -> bool:
    """Say whether some process holds the lock now. Never blocks."""
    with _descriptor_of(lock_path(store)) as descriptor:
        if descriptor is None:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        return False


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileNotFoundError:
        raise StoreError(f"{path}: its folder does not exist; make it first", reason="disk") from None
    except OSError as error:
        raise StoreError(f"{path}: cannot be opened: {error.strerror}", reason="disk") from None


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        there = path.stat()
    except OSError:
        return False
    here = os.fstat(descriptor)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


def _write_holder(descriptor: int) -> None:
    os.ftruncate(descriptor, 0)
    started = datetime.now().astimezone().isoformat(timespec="seconds")
    os.pwrite(descriptor, orjson.dumps({"pid": os.getpid(), "started": started}), 0)


def _read(descriptor: int) -> dict[str, object]:
    try:
        holder = orjson.loads(os.pread(descriptor, 1024, 0))
    except (OSError, ValueError):
        return {}
    return holder if isinstance(holder, dict) else {}


def _held(store: Path, holder: dict[str, object]) -> LockHeldError:
    pid, started = holder.get("pid"), holder.get("started")
    who = f"process {pid}, running since {started}" if pid else "another process"
    return LockHeldError(
        f"{store}: is in use by {who}; wait until it ends, or stop it first",
        pid=pid if isinstance(pid, int) else None,
        started=started if isinstance(started, str) else None,
    )
