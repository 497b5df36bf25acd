"""Opening the state store: what is refused and left as it is, privacy, both journals, a full disk."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import sqlite_utils.db
from test_store_kit import (
    SUFFIXES,
    child,
    contents,
    counts_of,
    crash,
    due_keys,
    load_rows,
    opened,
    person,
    row,
    send_due,
)

from syncengine.errors import ConfigError, StoreError
from syncengine.model import Result
from syncengine.problems import DEAD_ID, DROPPED
from syncengine.store import acts, driver, holding, sending, views
from syncengine.store.driver import has_wal_fix, open_for_reading, sqlite3
from syncengine.store.lock import RunLock, lock_path
from syncengine.store.schema import migrations
from syncengine.store.scratch import scratch
from syncengine.store.store import Store


@pytest.fixture(params=["wal", "truncate"])
def journal(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    mode: str = request.param
    monkeypatch.setattr(driver, "journal_mode", lambda: mode)
    return mode


# --- the core of it, in both journal modes


def test_a_night_works_in_either_journal_mode(tmp_path: Path, journal: str) -> None:
    path = tmp_path / "state.db"
    with opened(path) as store:
        assert store.connection.execute("PRAGMA journal_mode").fetchone()[0] == journal
        assert store.connection.execute("PRAGMA synchronous").fetchone()[0] == 2
        load_rows(store, [row(f"K{number}") for number in range(100)])
        assert send_due(store) == 100
        load_rows(store, [row(f"K{number}", phone="1" if number < 10 else "") for number in range(100)])
        assert send_due(store, Result.UNKNOWN) == 10
        load_rows(store, [row(f"K{number}") for number in range(100)])
        assert len(due_keys(store)) == 10
        acts.forget(store, ["K1"])
        assert views.status(path)["store"]["journal_mode"] == journal
        assert views.status(path)["contacts"] == {"changed": 9, "accepted": 90}
    with opened(path) as store:
        assert store.connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        assert store.connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert send_due(store) == 9


def test_a_store_moves_from_one_journal_mode_to_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.db"
    for mode in ("wal", "truncate", "wal"):
        monkeypatch.setattr(driver, "journal_mode", lambda mode=mode: mode)
        with opened(path) as store:
            sending.put(store, [(mode, person(mode))])
            assert store.connection.execute("PRAGMA journal_mode").fetchone()[0] == mode
    with opened(path) as store:
        assert sorted(contents(store)) == ["truncate", "wal"]


@pytest.mark.parametrize(
    ("version", "is_fixed"),
    [
        ((3, 7, 0), False),
        ((3, 40, 1), False),
        ((3, 44, 5), False),
        ((3, 44, 6), True),
        ((3, 45, 0), False),
        ((3, 50, 6), False),
        ((3, 50, 7), True),
        ((3, 51, 2), False),
        ((3, 51, 3), True),
        ((3, 52, 0), False),
        ((3, 53, 0), True),
        ((3, 60, 0), True),
        ((4, 0, 0), True),
    ],
)
def test_only_libraries_with_the_wal_reset_fix_get_a_wal(
    version: tuple[int, int, int], is_fixed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert has_wal_fix(version) is is_fixed
    monkeypatch.setattr(driver.sqlite3, "sqlite_version_info", version)
    assert driver.journal_mode() == ("wal" if is_fixed else "truncate")


def test_only_one_sqlite_library_touches_the_store(tmp_path: Path) -> None:
    """Which it is, sqlite-utils decides; that nothing else imports one is tested in test_structure.py."""
    with opened(tmp_path / "state.db") as store:
        assert isinstance(store.connection, vars(sqlite_utils.db)["sqlite3"].Connection)
        with views.reading(store.path) as connection:
            assert type(connection) is type(store.connection)


# --- what is not ours is refused, and left as it is


def _foreign(path: Path) -> None:
    connection = sqlite3.connect(str(path), isolation_level=None)
    connection.execute("CREATE TABLE accounts (name TEXT)")
    connection.execute("INSERT INTO accounts VALUES ('theirs')")
    connection.close()


def _ours(path: Path) -> None:
    with opened(path) as store:
        load_rows(store, [row(f"K{number}") for number in range(200)])


def _newer(path: Path) -> None:
    _ours(path)
    connection = sqlite3.connect(str(path), isolation_level=None)
    connection.execute(
        "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('syncengine', 'm999', '')"
    )
    connection.close()


def _truncated(path: Path) -> None:
    _ours(path)
    os.truncate(path, path.stat().st_size - 8192)


def _garbage(path: Path) -> None:
    path.write_bytes(b"This is no database at all. " * 400)


def _empty(path: Path) -> None:
    path.touch()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_foreign, "database of another program"),
        (_newer, "written by a newer syncengine"),
        (_truncated, "damaged or is no state store"),
        (_garbage, "damaged or is no state store"),
        (_empty, "is empty"),
    ],
)
def test_a_file_that_is_no_sound_state_store_is_refused_and_left_as_it_is(
    tmp_path: Path, journal: str, make: Callable[[Path], None], message: str
) -> None:
    path = tmp_path / "state.db"
    make(path)
    path.chmod(0o644)
    before, mode = path.read_bytes(), path.stat().st_mode
    for _ in range(2):
        with pytest.raises(StoreError, match=message), opened(path):
            pass
        if make is not _newer:
            with pytest.raises(StoreError, match=message), views.reading(path) as connection:
                views.count_states(connection, None)
    assert path.read_bytes() == before
    assert path.stat().st_mode == mode
    wal = path.with_name("state.db-wal")
    assert not wal.exists() or wal.stat().st_size == 0


def test_a_store_of_before_dead_ids_were_kept_is_brought_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.db"
    with monkeypatch.context() as patched:
        old = partial(type(migrations).apply, migrations, stop_before="m004_unseen")
        patched.setattr(migrations, "apply", old)
        with opened(path) as store:
            sending.put(store, [(key, person(key)) for key in "ABCD"])
            with store.writing() as connection:
                connection.execute(
                    "UPDATE contacts SET accepted_hash = content_hash, accepted_at = 1, accepted_date = 1"
                )
                connection.execute(
                    "UPDATE contacts SET remote_id = n, identity = 5, applied_hash = content_hash, "
                    "problem = 'dropped', problem_hash = content_hash, problem_reason = CASE key "
                    "WHEN 'A' THEN ? ELSE ? END WHERE key IN ('A', 'B')",
                    (DEAD_ID, DROPPED),
                )
                connection.execute("UPDATE contacts SET awaiting = 1 WHERE key = 'C'")
            with pytest.raises(sqlite3.OperationalError, match="no such column"):
                store.connection.execute("SELECT dead_id FROM contacts")
    with (
        pytest.raises(StoreError, match=r"state\.db: was written by an older.* run syncengine load"),
        scratch(path),
    ):
        pass
    with opened(path) as store:
        sending.put(store, [(key, person(key, phone="1")) for key in "ABC"])
        assert holding.hold_dead_ids(store, run=1) == 1
        assert contents(store, "dead_id, unseen, problem_reason") == {
            "A": (1, None, DEAD_ID),
            "B": (0, None, None),
            "C": (0, None, None),
            "D": (0, None, None),
        }
        assert send_due(store) == 2
        assert counts_of(load_rows(store, [row("D")])) == {"read": 1, "unchanged": 1}
        assert acts.rematch(store, ["A"])[0].rematched
        assert due_keys(store) == ["A"]


def test_a_missing_folder_and_a_missing_store_are_said_plainly(tmp_path: Path) -> None:
    with (
        pytest.raises(StoreError, match="its folder does not exist") as caught,
        opened(tmp_path / "no" / "s.db"),
    ):
        pass
    assert caught.value.reason == "disk"
    with pytest.raises(StoreError, match="there is no state store yet"):
        views.status(tmp_path / "state.db")


def test_a_killed_first_creation_leaves_nothing_half_made(tmp_path: Path) -> None:
    code = (
        "import sys, os, pathlib\n"
        "from test_store_kit import opened\n"
        "from syncengine.store import store\n"
        "def kill(*a): os.kill(os.getpid(), 9)\n"
        "os.umask(0)\n"
        "if sys.argv[2] == 'schema': store.migrations.apply = kill\n"
        "if sys.argv[2] == 'place': store.put_in_place = kill\n"
        "if sys.argv[2] == 'secret': store.secrets.token_bytes = kill\n"
        "with opened(pathlib.Path(sys.argv[1])): pass\n"
    )
    path = tmp_path / "state.db"
    for moment in ("schema", "secret", "place"):
        process = child(code, path, moment)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert not path.exists()
        assert stat.S_IMODE(path.with_name("state.db.new").stat().st_mode) == 0o600
    with opened(path) as store:
        assert contents(store) == {}
    assert sorted(file.name for file in tmp_path.iterdir()) == ["state.db", "state.db.lock"]


@pytest.mark.parametrize("what", ["deleted", "moved", "replaced", "lock deleted", "lock replaced"])
def test_a_file_that_goes_away_during_use_stops_the_next_commit(tmp_path: Path, what: str) -> None:
    path = tmp_path / "state.db"
    with opened(path) as store:
        load_rows(store, [row("A")])
        if what == "deleted":
            path.unlink()
        elif what == "moved":
            path.rename(tmp_path / "elsewhere.db")
        elif what == "replaced":
            shutil.copy(path, tmp_path / "copy.db")
            (tmp_path / "copy.db").rename(path)
        else:
            lock_path(path).unlink()
            if what == "lock replaced":
                lock_path(path).touch()
        with pytest.raises(StoreError, match="lock file was deleted" if "lock" in what else "was moved"):
            sending.put(store, [("B", person("B"))])
        assert not store.connection.in_transaction


# --- privacy


def test_every_file_is_private_even_without_an_umask(tmp_path: Path, journal: str) -> None:
    before = os.umask(0)
    try:
        with opened(tmp_path / "state.db") as store:
            load_rows(store, [row("A")])
            acts.note_export(store.path, tmp_path / "people.csv")
            with store.writing() as connection:
                connection.execute("UPDATE space SET paused_until = 1")
                found = _modes(tmp_path)
            acts.forget(store, ["A"])
            found |= _modes(tmp_path)
    finally:
        os.umask(before)
    wanted = {"state.db", "state.db.lock", "state.db.exports"}
    wanted |= {"state.db-wal", "state.db-shm"} if journal == "wal" else {"state.db-journal"}
    assert wanted <= set(found)
    assert {name: oct(mode) for name, mode in found.items() if mode & 0o077} == {}


def _modes(folder: Path) -> dict[str, int]:
    return {
        file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir() if file.name != "people.csv"
    }


def test_a_store_that_others_could_read_is_made_private(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    _ours(path)
    path.chmod(0o644)
    with opened(path):
        assert {mode for name, mode in _modes(tmp_path).items() if name != "state.db.lock"} == {0o600}


def test_a_link_to_a_store_is_the_same_store_under_the_same_lock(tmp_path: Path) -> None:
    path, link = tmp_path / "state.db", tmp_path / "link.db"
    _ours(path)
    link.symlink_to(path)
    with opened(link) as store:
        with pytest.raises(StoreError, match="is in use"), RunLock(path):
            pass
        acts.forget(store, ["K1"])
    assert link.is_symlink()
    with opened(path) as store:
        assert "K1" not in contents(store)


def test_sql_in_keys_and_values_is_only_data(tmp_path: Path) -> None:
    evil = "x'); DROP TABLE contacts; --"
    evils = [
        evil,
        '"; DELETE FROM runs; --',
        "%_",
        "\\",
        "' OR 1=1 --",
        "a\nb".replace("\n", " "),
        "[1]",
        "{}",
    ]
    with opened(tmp_path / "state.db") as store:
        schema = store.connection.execute(
            "SELECT type, name, sql FROM sqlite_master ORDER BY name"
        ).fetchall()
        sending.put(store, [(key, person("E", phone=key)) for key in evils])
        assert sorted(contents(store)) == sorted(evils)
        assert send_due(store, Result.REJECTED) == len(evils)
        assert acts.retry(store, [evil]) == 1
        assert acts.retry(store, reason=evil) == 0
        assert acts.release(store, evils)[0].released is False
        assert acts.forget(store, evils)[0].was_known
        assert contents(store) == {}
        assert (
            store.connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name").fetchall()
            == schema
        )


# --- a full disk


def test_a_full_disk_is_a_store_error_and_the_store_goes_on_when_there_is_room(
    tmp_path: Path, journal: str
) -> None:
    path = tmp_path / "state.db"
    with opened(path) as store:
        load_rows(store, [row(f"K{number}") for number in range(300)])
        run = store.begin_run("sync")
        before = contents(store)
        used = store.connection.execute("PRAGMA page_count").fetchone()[0]
        for room in (0, 1, 5, 20):
            store.connection.execute(f"PRAGMA max_page_count = {used + room}")
            with pytest.raises(StoreError, match="free some space") as caught:
                load_rows(store, [row(f"K{number}", phone="7" * 200) for number in range(2000)])
            assert caught.value.reason == "disk"
            assert not store.connection.in_transaction
            assert contents(store) == before
        store.connection.execute("PRAGMA max_page_count = 1000000")
        assert store.connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        report = load_rows(store, [row(f"K{number}", phone="7") for number in range(2000)])
        assert counts_of(report) == {"read": 2000, "new": 1700, "changed": 300}
        assert len(sending.claim(store, sending.due_page(store, "", 10), run=run).changes) == 10


# --- readers


def test_readers_only_read_and_never_block_the_writer(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with opened(path) as store:
        load_rows(store, [row("A")])
        reader = open_for_reading(path)
        try:
            reader.execute("BEGIN")
            assert reader.execute("SELECT count(*) FROM contacts").fetchone()[0] == 1
            with pytest.raises(sqlite3.OperationalError):
                reader.execute("DELETE FROM contacts")
            started = time.monotonic()
            sending.put(store, [("B", person("B"))])
            assert time.monotonic() - started < 1
        finally:
            reader.close()


def test_a_status_reads_what_a_killed_writer_left(tmp_path: Path, journal: str) -> None:
    """In TRUNCATE mode that is a rollback journal, which a reader without the right to write cannot undo."""
    path = tmp_path / "state.db"
    _ours(path)
    code = (
        "import sys, os, pathlib\n"
        "from syncengine.store import driver\n"
        "driver.journal_mode = lambda: sys.argv[2]\n"
        "from test_store_kit import opened\n"
        "with opened(pathlib.Path(sys.argv[1])) as store:\n"
        "    store.connection.execute('PRAGMA cache_size = 5')\n"
        "    run = store.begin_run('sync')\n"
        "    with store.writing() as c:\n"
        "        c.execute(\"UPDATE contacts SET mail = mail || 'changed and longer than before'\")\n"
        "        os.kill(os.getpid(), 9)\n"
    )
    process = child(code, path, journal)
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors
    found = views.status(path)
    assert found["contacts"] == {"changed": 200}
    assert found["running"] is None
    assert (found["runs"][0]["outcome"], found["runs"][0]["reason"]) == ("interrupted", "killed")
    with opened(path) as store:
        assert not [mail for (mail,) in contents(store, "mail").values() if "changed" in mail]


# --- the space


def test_another_url_is_refused_and_another_key_until_same_space_is_said(
    tmp_path: Path,
) -> None:
    with opened(tmp_path / "state.db") as store:
        store.bind("https://a.example", "key-one")
        store.bind("https://a.example", "key-one")
        with pytest.raises(ConfigError, match=r"belongs to the space at https://a\.example"):
            store.bind("https://b.example", "key-one", same_space=True)
        with pytest.raises(ConfigError, match="--same-space"):
            store.bind("https://a.example", "key-two")
        store.bind("https://a.example", "key-two", same_space=True)
        store.bind("https://a.example", "key-two")
        crash(store)
    for suffix in SUFFIXES:
        file = tmp_path / f"state.db{suffix}"
        assert not file.exists() or b"key-" not in file.read_bytes()


def test_once_a_group_is_known_another_key_needs_the_proof_of_a_read(tmp_path: Path) -> None:
    with opened(tmp_path / "state.db") as store:
        assert store.bind("https://a.example", "key-one") == (None, False)
        store.bind_group("key-one", 1001)
        assert store.bind("https://a.example", "key-one") == (1001, False)

        assert store.bind("https://a.example", "key-two") == (1001, True)
        assert store.bind("https://a.example", "key-two", same_space=True) == (1001, True)
        with pytest.raises(ConfigError, match="group_id 1001, but this API key opens 1002; nothing was sent"):
            store.bind_group("key-two", 1002, same_space=True)
        with pytest.raises(ConfigError, match="shows no contact that could prove it"):
            store.bind_group("key-two", None)
        assert store.bind("https://a.example", "key-two") == (1001, True)  # and nothing let it in

        store.bind_group("key-two", 1001)
        assert store.bind("https://a.example", "key-two") == (1001, False)
        assert store.bind("https://a.example", "key-one") == (1001, True)
        store.bind_group("key-one", None, same_space=True)
        assert store.bind("https://a.example", "key-one") == (1001, False)


def test_a_second_store_object_in_one_process_needs_the_lock_too(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with opened(path), pytest.raises(StoreError, match="is in use by process"), opened(path):
        pass


def _delete_and_fail(store: Store) -> None:
    with store.writing() as connection:
        connection.execute("DELETE FROM space")
        connection.execute("DELETE FROM nowhere")


def test_no_transaction_is_left_open_by_any_call(tmp_path: Path) -> None:
    with opened(tmp_path / "state.db") as store:
        with pytest.raises(StoreError, match="no such table"):
            _delete_and_fail(store)
        assert store.secret()
        assert isinstance(store, Store)
        assert not store.connection.in_transaction
