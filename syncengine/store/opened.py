"""An existing state store, opened for a person's command: lock, recovery, close."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from syncengine.errors import StoreError
from syncengine.store.lock import RunLock
from syncengine.store.store import Store


@contextmanager
def open_store(path: Path, *, now: Callable[[], float] = time.time) -> Iterator[Store]:
    """Take the lock of an existing state store and open it for writing, from this thread.

    Raises StoreError when there is none, LockHeldError when another process has it.
    """
    if not path.exists():
        raise StoreError(f"{path}: there is no state store yet; run syncengine load or sync first")
    with RunLock(path) as lock:
        store = Store(path, lock=lock, now=now)
        try:
            yield store
        finally:
            store.close()
