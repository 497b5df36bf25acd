"""Intents, receipts, crashes, notes, and a new hash version."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any

import pytest
from test_store_kit import (
    Wall,
    claim_due,
    contents,
    crash,
    due_keys,
    load_rows,
    opened,
    person,
    row,
    send_due,
    settle_all,
)

from syncengine.hashing import content_hash
from syncengine.model import Receipt, Result
from syncengine.outcome import NOT_FOUND_AGAIN
from syncengine.problems import CRASHES, NO_LONGER
from syncengine.store import acts, counting, holding, sending
from syncengine.store.store import Store
from syncengine.store.thread import StoreThread


def test_an_edit_reverted_after_an_unknown_result_is_sent_again(tmp_path: Path) -> None:
    """I5: the intent stays until a definite answer, whatever the content becomes."""
    with opened(tmp_path / "state.db") as store:
        sending.put(store, [("A", person("A"))])
        send_due(store)
        sending.put(store, [("A", person("A", phone="2"))])
        send_due(store, Result.UNKNOWN)
        sending.put(store, [("A", person("A"))])
        assert due_keys(store) == ["A"]
    with opened(tmp_path / "state.db") as store:
        run = store.begin_run("sync")
        (change,) = claim_due(store, run)
        assert not change.is_repeat
        settle_all(store, run, [change])
        assert due_keys(store) == []


def test_an_edit_and_its_reversal_between_runs_send_nothing(tmp_path: Path) -> None:
    with opened(tmp_path / "state.db") as store:
        sending.put(store, [("A", person("A"))])
        send_due(store)
        sending.put(store, [("A", person("A", phone="2"))])
        assert due_keys(store) == ["A"]
        sending.put(store, [("A", person("A"))])
        assert due_keys(store) == []
        assert contents(store, "accepted, accepted_hash = content_hash")["A"] == (None, 1)


def test_an_edit_in_flight_stays_due_and_a_rejection_of_the_old_content_does_not_stop_it(
    tmp_path: Path,
) -> None:
    for result in (Result.ACCEPTED, Result.REJECTED):
        with opened(tmp_path / f"{result}.db") as store:
            sending.put(store, [("A", person("A"))])
            run = store.begin_run("sync")
            changes = claim_due(store, run)
            sending.put(store, [("A", person("A", phone="2"))])
            settle_all(store, run, changes, result)
            assert due_keys(store) == ["A"]


def test_a_rejection_of_an_older_content_leaves_the_hold_of_the_present_one(tmp_path: Path) -> None:
    """Found by the stateful test: a load during a run, library use."""
    with opened(tmp_path / "state.db") as store:
        sending.put(store, [("A", person("A")), ("B", person("B"))])
        run = store.begin_run("sync")
        changes = claim_due(store, run, 1)
        sending.put(store, [("A", person("A", phone="2"))])
        load_rows(store, [row("B")], snapshot=True)
        settle_all(store, run, changes, Result.REJECTED)
        assert contents(store, "problem, problem_reason")["A"] == ("held", NO_LONGER)
        assert due_keys(store) == ["B"]


@pytest.mark.parametrize("times", [1, 2])
def test_recovery_is_idempotent_and_puts_what_was_open_in_doubt(tmp_path: Path, times: int) -> None:
    wall = Wall()
    path = tmp_path / "state.db"
    with opened(path, wall) as store:
        sending.put(store, [(key, person(key)) for key in "ABC"])
        run = store.begin_run("sync")
        claim_due(store, run, 2)
        crash(store)
    for _ in range(times):
        wall.at += 100
        with opened(path, wall) as store:
            intents = store.connection.execute(
                "SELECT open, unknown_hash = content_hash, unknown_at, crashes FROM intents"
            ).fetchall()
            assert intents == [(0, 1, 1_700_000_100.0, 0)] * 2
            doubts = sending.recent_doubts(store, since=1_700_000_099.0)
            assert [(candidate.key, at) for candidate, at in doubts] == [
                ("A", 1_700_000_100.0),
                ("B", 1_700_000_100.0),
            ]
            assert [one.key for one in sending.doubtful_page(store, 10)] == ["A", "B"]
            assert due_keys(store) == ["A", "B", "C"]
            found = store.connection.execute("SELECT outcome, reason, ended FROM runs").fetchone()
            assert found == ("interrupted", "killed", 1_700_000_100.0)


def test_three_crashes_alone_in_flight_hold_a_contact_and_company_does_not(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    for crashes in range(1, 4):
        with opened(path) as store:
            sending.put(store, [(key, person(key)) for key in "ABC"])
            run = store.begin_run("sync")
            candidates = sending.due_page(store, "", 3)
            sending.claim(store, candidates[:1], run=run)
            crash(store)
        with opened(path) as store:
            run = store.begin_run("sync")
            sending.claim(store, sending.due_page(store, "A", 2), run=run)
            crash(store)
        with opened(path) as store:
            assert store.fruitless_crashes() == 2 * crashes
            held = contents(store, "problem, problem_reason")
            assert held["A"] == (("held", CRASHES) if crashes == 3 else (None, None))
            assert held["B"] == held["C"] == (None, None)
    with opened(path) as store:
        assert acts.release(store, ["A"])[0].released
        assert due_keys(store) == ["A", "B", "C"]


def test_fruitless_crashes_count_only_syncs_killed_in_a_row_without_an_acceptance(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with opened(path) as store:
        assert store.fruitless_crashes() == 0
        sending.put(store, [(key, person(key)) for key in "ABC"])
    for kind, accepts, expected in [
        ("sync", 0, 1),
        ("load", 0, 1),
        ("sync", 0, 2),
        ("sync", 1, 0),
        ("sync", 0, 1),
    ]:
        with opened(path) as store:
            run = store.begin_run(kind)
            settle_all(store, run, claim_due(store, run, accepts))
            crash(store)
        with opened(path) as store:
            assert store.fruitless_crashes() == expected
    with opened(path) as store:
        send_due(store)
        assert store.fruitless_crashes() == 0


def test_a_contact_that_nothing_finds_again_is_held_when_in_doubt(tmp_path: Path) -> None:
    with opened(tmp_path / "state.db") as store:
        sending.put(store, [("A", {"surname": "Only"}), ("B", person("B"))])
        send_due(store, Result.UNKNOWN)
        assert holding.hold_doubtful(store, NOT_FOUND_AGAIN, run=9) == 1
        assert due_keys(store) == ["B"]
        assert acts.release(store, ["A"])[0].released
        assert holding.hold_doubtful(store, NOT_FOUND_AGAIN, run=9) == 0
        assert due_keys(store) == ["A", "B"]


def test_the_breaker_puts_back_only_this_runs_rejections(tmp_path: Path) -> None:
    with opened(tmp_path / "state.db") as store:
        sending.put(store, [(key, person(key)) for key in "ABC"])
        runs = []
        for _ in range(2):
            runs.append(store.begin_run("sync"))
            settle_all(store, runs[-1], claim_due(store, runs[-1], 1), Result.REJECTED)
        counts = counting.run_counts(store, run=runs[1])
        assert counts == counting.RunCounts(
            due=1, held=0, rejected=1, problems_open=2, problems_new=1, awaiting=0
        )
        assert len(counting.unsettled_contacts(store, run=runs[1])) == 2
        assert sending.put_back_rejections(store, run=runs[1]) == 1
        assert due_keys(store) == ["B", "C"]


# --- notes: once per contact and text


def _with_note(*texts: str) -> dict[str, Any]:
    return person("A", notes=[{"content": text} for text in texts])


@pytest.mark.parametrize(
    ("ending", "goes_again"),
    [
        ("accepted", False),
        ("unknown", False),
        ("killed", False),
        ("rejected", True),
        ("rejected after an unknown attempt", False),
        ("withdrawn", True),
        ("never taken up", True),
    ],
)
def test_a_note_is_sent_once_unless_it_surely_never_arrived(
    tmp_path: Path, ending: str, goes_again: bool
) -> None:
    path = tmp_path / "state.db"
    with opened(path) as store:
        sending.put(store, [("A", _with_note("hello"))])
        run = store.begin_run("sync")
        (change,) = claim_due(store, run)
        assert len(change.notes) == 1
        if ending == "killed":
            crash(store)
        elif ending == "never taken up":
            sending.withdraw_open(store, run=run)
        else:
            result = Result(ending.partition(" ")[0])
            receipt = Receipt(change, result, reason="r", repeats=int("after" in ending))
            sending.settle(store, sending.Batch(receipts=[receipt]), run=run)
    with opened(path) as store:
        sending.put(store, [("A", _with_note("hello", "more"))])
        (change,) = claim_due(store, store.begin_run("sync"))
        assert len(change.notes) == (2 if goes_again else 1)


# --- a new hash version


def _old_hash(content: bytes) -> bytes:
    return sha256(content).digest()[:16]


def _make_old(store: Store) -> None:
    """Rewrite every hash as another version would have it: another function, and spaces in the JSON."""

    def old(payload: bytes | None) -> bytes | None:
        return None if payload is None else payload.replace(b'":', b'": ')

    with store.writing() as connection:
        known = connection.execute("SELECT content_hash, content FROM contacts").fetchall()
        for _, accepted, applied in connection.execute(
            "SELECT n, accepted, applied FROM contacts"
        ).fetchall():
            known += [(content_hash(payload), payload) for payload in (accepted, applied) if payload]
        hashes = {new: _old_hash(old(payload) or b"") for new, payload in known}
        for table, columns in (
            (
                "contacts",
                ("content_hash", "accepted_hash", "confirmed_hash", "problem_hash", "released_hash"),
            ),
            ("intents", ("content_hash", "unknown_hash")),
        ):
            for column in columns:
                for new, before in hashes.items():
                    connection.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (before, new))
        for n, *payloads in connection.execute(
            "SELECT n, content, accepted, applied FROM contacts"
        ).fetchall():
            connection.execute(
                "UPDATE contacts SET content = ?, accepted = ?, applied = ?, hash_version = 0 WHERE n = ?",
                (*map(old, payloads), n),
            )
        connection.execute("UPDATE notes_sent SET note = zeroblob(16)")
        connection.execute("UPDATE space SET hash_version = 0")


def test_a_new_hash_version_makes_nothing_due_and_undoes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    kept = (
        "content, content_hash, accepted_hash, accepted, problem, problem_hash, released_hash, "
        "in_doubt, hash_version, changed_at"
    )
    rows = [row(f"K{number}") for number in range(30)]
    with opened(path) as store:
        load_rows(store, rows)
        sending.put(store, [("NOTE", _with_note("hello"))])
        send_due(store)
        edited = [row(f"K{number}", phone="1" if number < 20 else "") for number in range(30)]
        load_rows(store, edited)
        run = store.begin_run("sync")
        results = [Result.UNKNOWN, Result.REJECTED, Result.IN_DOUBT, Result.ACCEPTED, Result.WITHDRAWN]
        receipts = [
            Receipt(change, results[number % 5], reason="r")
            for number, change in enumerate(claim_due(store, run))
        ]
        sending.settle(store, sending.Batch(receipts=receipts), run=run)
        acts.release(store, [change.change.key for change in receipts[2:8:5]])
        load_rows(store, [row(f"K{number}", phone="1" if number < 18 else "") for number in range(30)])
        store.end_run(run, outcome="done", reason=None, code=0, report={})
        due, before = due_keys(store), contents(store, kept)
        repeats = {change.key: change.is_repeat for change in claim_due(store, run)}
        sending.withdraw_open(store, run=run)
        assert any(repeats.values())
        _make_old(store)
        assert due_keys(store) == due
    for _ in range(2):
        with opened(path) as store:
            assert contents(store, kept) == before
            assert due_keys(store) == due
            changes = claim_due(store, run)
            assert {change.key: change.is_repeat for change in changes} == repeats
            sending.withdraw_open(store, run=run)
    with opened(path) as store:
        sending.put(store, [("NOTE", {**_with_note("hello"), "phone": "5"})])
        note = next(change for change in claim_due(store, run) if change.key == "NOTE")
        assert note.notes == ()


def test_a_killed_rehash_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.db"
    monkeypatch.setattr("syncengine.store.rehash.PAGE_ROWS", 3)
    with opened(path) as store:
        load_rows(store, [row(f"K{number}") for number in range(10)])
        send_due(store)
        _make_old(store)
    commits = 0
    check: Callable[[Store], None] = Store._check_file

    def die(self: Store) -> None:
        nonlocal commits
        commits += 1
        if commits == 3:
            raise KeyboardInterrupt
        check(self)

    monkeypatch.setattr(Store, "_check_file", die)
    with pytest.raises(KeyboardInterrupt), opened(path):
        pass
    monkeypatch.setattr(Store, "_check_file", check)
    with opened(path) as store:
        assert due_keys(store) == []
        assert store.connection.execute(
            "SELECT min(hash_version), max(hash_version) FROM contacts"
        ).fetchone() == (1, 1)


def test_a_load_cut_short_under_an_older_hash_version_is_carried_through(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with opened(path) as store:
        load_rows(store, [row("A"), row("B")])
        send_due(store)
        content = contents(store, "content")["A"][0]
        with store.writing() as connection:
            connection.execute(
                "INSERT INTO loads (path, started, state, snapshot, mapping, counts) "
                "VALUES ('p', 0, 'applying', 0, '', '{\"read\": 2}')"
            )
            for key in "AB":
                old = content.replace(b"LastA", f"Last{key}".encode()).replace(
                    b"a@", f"{key.lower()}@".encode()
                )
                connection.execute(
                    "INSERT INTO staged (line, key, content_hash, identity, mail, name, content) "
                    "VALUES (1, ?, ?, 4, '', '', ?)",
                    (key, blake2b(old, digest_size=9).digest(), old),
                )
        _make_old(store)
    with opened(path) as store:
        assert due_keys(store) == []
        assert store.connection.execute("SELECT state FROM loads ORDER BY id DESC").fetchone()[0] == "done"


# --- the store's thread


async def test_a_cancelled_call_is_waited_for_however_often_it_is_cancelled() -> None:
    loop, entered, leave = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def slow() -> str:
        loop.call_soon_threadsafe(entered.set)
        assert leave.wait(10)
        return "written"

    with ThreadPoolExecutor(1) as executor:
        task = asyncio.create_task(StoreThread(executor)(slow))
        await entered.wait()
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0.01)
            assert not task.done()
        leave.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await StoreThread(executor)(lambda: "next") == "next"
