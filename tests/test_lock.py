"""The run lock: exactly one process has it, and it dies with that process."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import time
from pathlib import Path

import pytest
from test_store_kit import child

from syncengine.errors import LockHeldError, StoreError
from syncengine.store.lock import RunLock, is_locked, lock_path

HOLD = """
import sys, pathlib, time
from syncengine.errors import LockHeldError
from syncengine.store.lock import RunLock
began = time.monotonic()
try:
    with RunLock(pathlib.Path(sys.argv[1])):
        print("held", flush=True)
        time.sleep(float(sys.argv[2]))
except LockHeldError as error:
    print("refused", error.pid, error.started, round(time.monotonic() - began, 3), flush=True)
"""


def _first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_exactly_one_of_many_processes_gets_the_lock_and_the_others_name_it(tmp_path: Path) -> None:
    store = tmp_path / "state.db"
    processes = [child(HOLD, store, 30) for _ in range(8)]
    answers = {process.pid: _first_line(process) for process in processes}
    holders = [pid for pid, answer in answers.items() if answer == "held"]
    try:
        assert len(holders) == 1
        for pid, answer in answers.items():
            if pid != holders[0]:
                word, holder, started, seconds = answer.split()
                assert (word, int(holder)) == ("refused", holders[0])
                assert started.startswith("20")
                assert float(seconds) < 1
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_the_lock_is_free_at_once_when_its_holder_is_killed(tmp_path: Path) -> None:
    store = tmp_path / "state.db"
    process = child(HOLD, store, 60)
    assert _first_line(process) == "held"
    assert is_locked(store)
    with pytest.raises(LockHeldError) as caught, RunLock(store):
        pass
    assert caught.value.pid == process.pid
    assert str(process.pid) in str(caught.value)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    began = time.monotonic()
    assert not is_locked(store)
    with RunLock(store) as lock:
        assert time.monotonic() - began < 0.1
        assert lock.is_held()


def test_a_stale_lock_file_locks_nobody_out(tmp_path: Path) -> None:
    store = tmp_path / "state.db"
    lock_path(store).write_text('{"pid": 1, "started": "2020-01-01T00:00:00+00:00"}', encoding="utf-8")
    assert not is_locked(store)
    with RunLock(store):
        assert str(os.getpid()) in lock_path(store).read_text(encoding="utf-8")


def test_an_unreadable_lock_file_still_locks(tmp_path: Path) -> None:
    store = tmp_path / "state.db"
    with RunLock(store):
        lock_path(store).write_text("not JSON", encoding="utf-8")
        with pytest.raises(LockHeldError, match="another process") as caught, RunLock(store):
            pass
        assert caught.value.pid is None


@pytest.mark.parametrize("replace", [False, True])
def test_a_deleted_or_replaced_lock_file_is_noticed(tmp_path: Path, replace: bool) -> None:
    store = tmp_path / "state.db"
    with RunLock(store) as lock:
        lock_path(store).unlink()
        if replace:
            lock_path(store).touch()
        assert not lock.is_held()


def test_asking_whether_it_is_locked_keeps_nobody_out(tmp_path: Path) -> None:
    """`status` asks every second, somewhere; the nightly sync must not meet that question and give up."""
    store = tmp_path / "state.db"
    with RunLock(store):
        pass
    code = (
        "import sys, pathlib, time\n"
        "from syncengine.store.lock import is_locked\n"
        "print('asking', flush=True)\n"
        "while True: is_locked(pathlib.Path(sys.argv[1]))\n"
    )
    process = child(code, store)
    try:
        assert _first_line(process) == "asking"
        for _ in range(200):
            with RunLock(store):
                pass
    finally:
        process.kill()
        process.communicate()


def test_the_lock_file_is_private_and_no_link_is_followed(tmp_path: Path) -> None:
    store = tmp_path / "state.db"
    before = os.umask(0)
    try:
        with RunLock(store):
            assert stat.S_IMODE(lock_path(store).stat().st_mode) == 0o600
    finally:
        os.umask(before)
    lock_path(store).unlink()
    lock_path(store).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="cannot be opened"), RunLock(store):
        pass
    assert not (tmp_path / "elsewhere").exists()
