"""glance: a state store of any name, and a look that a beginning or ending run disturbs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from test_store_kit import load_rows, opened, row

from syncengine.errors import StoreError
from syncengine.store import glance as module
from syncengine.store.driver import Connection, check_kind
from syncengine.store.glance import glance
from syncengine.store.lock import RunLock


def stored(path: Path) -> Path:
    with opened(path) as store:
        load_rows(store, [row("A")])
    return path


@pytest.mark.parametrize("name", ["state", "state.db", "my.state.db", ".state", "state."])
def test_a_left_journal_is_known_by_its_name_whatever_the_store_is_called(tmp_path: Path, name: str) -> None:
    path = stored(tmp_path / name)
    journal = tmp_path / f"{name}-journal"
    journal.write_bytes(b"hot")
    with pytest.raises(StoreError, match="a killed run left its journal"):
        glance(path)
    assert journal.read_bytes() == b"hot"
    journal.write_bytes(b"")  # as the truncate journal leaves it
    found = glance(path)
    assert found is not None
    assert found.contacts == 1


def disturb(monkeypatch: pytest.MonkeyPatch, *acts: Callable[[], object]) -> list[int]:
    """Do an act just before each look at the file, as another process might; return the looks so far."""
    looks: list[int] = []

    def look(connection: Connection, path: Path) -> None:
        looks.append(len(looks))
        if len(looks) <= len(acts):
            acts[len(looks) - 1]()
        check_kind(connection, path)

    monkeypatch.setattr(module, "check_kind", look)
    return looks


def test_a_run_that_begins_under_a_look_does_not_make_the_file_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = stored(tmp_path / "state.db")
    whole, lock = path.read_bytes(), RunLock(path)

    def begin() -> None:
        lock.__enter__()
        path.write_bytes(b"half written" * 1000)

    looks = disturb(monkeypatch, begin, lambda: path.write_bytes(whole))
    found = glance(path)
    lock.__exit__(None, None, None)
    assert found is not None
    assert (found.contacts, len(looks)) == (1, 2)


def test_a_run_that_begins_and_ends_under_a_look_does_not_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = stored(tmp_path / "state.db")
    whole = path.read_bytes()
    looks = disturb(
        monkeypatch, lambda: path.write_bytes(b"half written" * 1000), lambda: path.write_bytes(whole)
    )
    found = glance(path)
    assert found is not None
    assert found.contacts == 1
    assert len(looks) == 3  # the second saw it change too


def test_a_run_that_is_killed_under_a_look_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = stored(tmp_path / "state.db")
    lock = RunLock(path)
    lock.__enter__()

    def die() -> None:
        path.write_bytes(b"half written" * 1000)
        (tmp_path / "state.db-journal").write_bytes(b"hot")
        lock.__exit__(None, None, None)

    disturb(monkeypatch, die)
    with pytest.raises(StoreError, match="a killed run left its journal"):
        glance(path)


def test_a_damaged_file_is_told_after_one_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = stored(tmp_path / "state.db")
    path.write_bytes(b"no database" * 1000)
    looks = disturb(monkeypatch)
    with pytest.raises(StoreError, match="is damaged"):
        glance(path)
    assert len(looks) == 1
