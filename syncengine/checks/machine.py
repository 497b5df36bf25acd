"""Checks of this machine: SQLite, the state file, who may read what, room on the disk, a run in progress."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import stat
from pathlib import Path

from syncengine.checks import Check, fault
from syncengine.errors import StoreError
from syncengine.store.driver import has_wal_fix, sqlite3
from syncengine.store.file import SUFFIXES, real_path
from syncengine.store.glance import Glance, glance
from syncengine.store.lock import is_locked
from syncengine.store.store import journal_in_use

ROOM_BYTES = 100_000_000
ROOM_TIMES = 3
"""A load gathers beside what is stored, the journal holds it once more, and `forget` writes the file anew."""


def check_sqlite() -> Check:
    """Say which SQLite is in use, and with which journal."""
    found = journal_in_use()
    told = f"SQLite {found['sqlite']} ({found['driver']}), journal {found['journal_mode']}"
    told += f"; Python {platform.python_version()} on {platform.system()}"
    if has_wal_fix(sqlite3.sqlite_version_info):
        return Check("sqlite", True, told)
    # Safe all the same: the rollback journal does not have the bug.
    return Check(
        "sqlite",
        True,
        f"{told}; it lacks the fix of the WAL-reset bug, hence the slower journal, which is safe",
    )


def check_state(path: Path) -> tuple[Check, Glance | None]:
    """Look at the state file without touching it."""
    try:
        found = glance(path)
    except StoreError as error:
        return fault("state", error), None
    if found is not None:
        told = f"{path}: {found.contacts:,} contacts, {found.due:,} of them due"
        return Check("state", True, told), found
    folder = path.parent
    if not folder.is_dir():
        remedy = f"mkdir -p {shlex.quote(str(folder))}"
        return Check("state", False, f"{path}: its folder does not exist", remedy), None
    return Check("state", True, f"{path} does not exist yet: the first load makes it"), None


def check_lock(path: Path) -> Check:
    """Say whether a run is in progress."""
    if is_locked(path):
        return Check("lock", True, "a run is in progress, which is no problem: syncengine status shows it")
    return Check("lock", True, "no run is in progress")


def check_permissions(state: Path, key_file: Path | None) -> Check:
    """Check that only their owner reads state and key, and that we may write where the state lies."""
    path = real_path(state)
    ours = [path.with_name(path.name + suffix) for suffix in SUFFIXES]
    open_files = [file for file in (*ours, key_file) if file is not None and _mode(file) & 0o077]
    folder = path.parent
    faults, remedies = [], []
    if open_files:
        names = " ".join(shlex.quote(str(file)) for file in open_files)
        faults.append(f"others may read {', '.join(str(file) for file in open_files)}")
        remedies.append(f"chmod 600 {names}")
    mode = _mode(folder)
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        faults.append(f"everybody may replace the files of {folder.absolute()}")
        remedies.append(f"chmod o-w {shlex.quote(str(folder.absolute()))}")
    barred = [file for file in (folder, path) if file.exists() and not os.access(file, os.R_OK | os.W_OK)]
    if barred:
        faults.append(f"we may not read and write {', '.join(str(file.absolute()) for file in barred)}")
        remedies.append(
            f"chown it to the user that runs syncengine, or chmod u+rw {shlex.quote(str(barred[0]))}"
        )
    if faults:
        return Check("permissions", False, "; ".join(faults), "; ".join(remedies))
    return Check("permissions", True, "state and key are for their owner alone")


def check_disk(state: Path, source: Path | None) -> Check:
    """Check that there is room beside the state file for what a load and a sync write, in bytes."""
    path = real_path(state)
    folder = next((one for one in path.absolute().parents if one.is_dir()), Path("/"))
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Check("disk", None, f"not checked: {folder}: {error.strerror}")
    need = max(ROOM_BYTES, ROOM_TIMES * (_size(path) + (_size(source) if source else 0)))
    if free < need:
        told = f"{_megabytes(free)} are free where {state} lies, {_megabytes(need)} are needed"
        return Check(
            "disk", False, told, "free some space, or name another [state] path before the first load"
        )
    return Check("disk", True, f"{_megabytes(free)} are free where {state} lies")


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except OSError:
        return 0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.0f} MB" if count < 10e9 else f"{count / 1e9:,.0f} GB"
