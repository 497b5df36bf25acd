"""The state store's file: made whole or not at all, private from its first byte, replaced in one step.

Nothing here opens a live file, its -wal or its -shm: closing any descriptor of them drops the process's locks
(sqlite.org/howtocorrupt.html 2.2). What is opened is a draft that SQLite does not know yet, or no longer.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from syncengine.errors import StoreError

SUFFIXES = ("", "-wal", "-shm", "-journal")


def real_path(path: Path) -> Path:
    """Return the file a link leads to: two names of one store must not mean two locks."""
    return path.resolve() if path.is_symlink() else path


def create(path: Path) -> None:
    """Make an empty file of mode 0600 for SQLite to fill. `path` must not exist (no link is followed)."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600))
    except FileNotFoundError:
        raise StoreError(f"{path}: its folder does not exist; make it first", reason="disk") from None
    except OSError as error:
        raise StoreError(f"{path}: cannot be created: {error.strerror}", reason="disk") from None


def make_private(path: Path) -> None:
    """Take group and world rights from the state store's files (by name: nothing is opened)."""
    for suffix in SUFFIXES:
        file = path.with_name(path.name + suffix)
        try:
            mode = file.stat().st_mode
            if stat.S_IMODE(mode) & 0o077:
                file.chmod(0o600)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StoreError(
                f"{file}: is readable by others and its mode cannot be changed: {error.strerror}",
                reason="disk",
            ) from None


def side_files(path: Path) -> list[Path]:
    """Return the names of the journals that SQLite may leave beside a database."""
    return [path.with_name(path.name + suffix) for suffix in ("-wal", "-journal")]


def draft_path(path: Path) -> Path:
    """Return where a new file for `path` is made before it takes its place."""
    return path.with_name(path.name + ".new")


def discard_draft(path: Path) -> None:
    """Remove what a killed process left of a draft."""
    draft = draft_path(path)
    for suffix in SUFFIXES:
        try:
            draft.with_name(draft.name + suffix).unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"{draft}: cannot be removed: {error.strerror}", reason="disk") from None


def put_in_place(path: Path) -> None:
    """Let the draft, which is closed, take the place of `path`, durably."""
    draft = draft_path(path)
    try:
        _sync(draft)
        draft.rename(path)
        _sync(path.parent)
    except OSError as error:
        raise StoreError(f"{path}: cannot be put in place: {error.strerror}", reason="disk") from None


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
