"""Loads: what counts as what, what is refused, and that a load is all or nothing in effect."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest
from test_store_kit import (
    child,
    contents,
    counts_of,
    due_keys,
    load_rows,
    opened,
    row,
    send_due,
    settings_for,
    write_csv,
)

from syncengine import load as load_module
from syncengine.errors import ConfigError, SourceError, StoreError
from syncengine.load import LoadStopped, load, open_mapped
from syncengine.problems import NO_LONGER
from syncengine.store import acts, counting, holding, loading, sending, staging
from syncengine.store.store import Store

KEPT = "n, content_hash, changed_at, content, missing, problem, problem_hash"


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a few rows already be several batches, transactions and pages."""
    monkeypatch.setattr(load_module, "BATCH_ROWS", 3)
    monkeypatch.setattr(load_module, "BATCHES_TOGETHER", 2)
    monkeypatch.setattr(loading, "APPLY_ROWS", 4)
    monkeypatch.setattr(load_module, "APPLY_ROWS", 4)
    monkeypatch.setattr(staging, "PAGE_ROWS", 5)


def test_new_changed_and_unchanged_compare_with_the_stored_row(tmp_path: Path) -> None:
    with opened(tmp_path / "state.db") as store:
        assert counts_of(load_rows(store, [row("A"), row("B")])) == {"read": 2, "new": 2}
        again = load_rows(store, [row("A"), row("B", phone="1"), row("C")])
        assert counts_of(again) == {"read": 3, "new": 1, "changed": 1, "unchanged": 1}


def test_an_unchanged_file_writes_no_contact_and_grows_no_journal(tmp_path: Path) -> None:
    rows = [row(f"K{number:05d}") for number in range(4000)]
    random.Random(1).shuffle(rows)
    with opened(tmp_path / "state.db") as store:
        load_rows(store, rows)
        before = contents(store)
        wal = store.path.with_name("state.db-wal")
        store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        writes: list[str] = []
        store.connection.set_trace_callback(writes.append)
        assert counts_of(load_rows(store, rows)) == {"read": 4000, "unchanged": 4000}
        store.connection.set_trace_callback(None)
        assert contents(store) == before
        assert wal.stat().st_size < 100_000  # the load's own record, and nothing that grows with the file
        assert not [sql for sql in writes if sql.startswith("UPDATE contacts SET key")]


def test_an_unchanged_file_leaves_nothing_due(tmp_path: Path) -> None:
    rows = [row(f"K{number}") for number in range(50)]
    with opened(tmp_path / "state.db") as store:
        load_rows(store, rows)
        send_due(store)
        load_rows(store, rows)
        assert counting.count_due(store) == counting.DueCounts(0, 0)


def test_identical_repeats_count_as_unchanged(tmp_path: Path) -> None:
    with opened(tmp_path / "state.db") as store:
        assert counts_of(load_rows(store, [row("A"), row("A"), row("B"), row("A")])) == {
            "read": 4,
            "new": 2,
            "unchanged": 2,
        }
        again = load_rows(store, [row("A", phone="1"), row("B"), row("B"), row("A", phone="1")])
        assert counts_of(again) == {"read": 4, "changed": 1, "unchanged": 3}


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("gap", [0, 1, 2, 3, 5, 6, 7, 12])
@pytest.mark.parametrize("is_known", [False, True])
def test_a_key_with_contradicting_rows_is_refused_on_every_line(
    tmp_path: Path, gap: int, is_known: bool
) -> None:
    between = [row(f"B{number}") for number in range(gap)]
    with opened(tmp_path / "state.db") as store:
        if is_known:
            load_rows(store, [row("A")])
            send_due(store)
        before = contents(store, KEPT).get("A")
        report = load_rows(store, [row("A"), *between, row("A", phone="1"), row("A")], snapshot=True)
        assert counts_of(report) == {"read": gap + 3, "refused": 3} | ({"new": gap} if gap else {})
        lines = [2, gap + 3, gap + 4]
        assert [error["line"] for error in report.errors] == lines
        assert all(f"lines {lines[0]}, {lines[1]}, {lines[2]}" in e["reason"] for e in report.errors)
        assert contents(store, KEPT).get("A") == before
        assert ("A" in due_keys(store)) is False


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("stored", ["same", "other", "none"])
@pytest.mark.parametrize("order", ["refused first", "refused last", "refused between"])
def test_a_key_is_refused_altogether_when_one_of_its_rows_is(tmp_path: Path, stored: str, order: str) -> None:
    good, bad = row("A", phone="1"), row("A", born="no date")
    rows = {
        "refused first": [bad, row("B"), row("C"), row("D"), good],
        "refused last": [good, row("B"), row("C"), row("D"), bad],
        "refused between": [good, row("B"), bad, row("C"), good],
    }[order]
    with opened(tmp_path / "state.db") as store:
        if stored != "none":
            load_rows(store, [good if stored == "same" else row("A", phone="9")])
        before = contents(store, KEPT).get("A")
        report = load_rows(store, rows, snapshot=True)
        mine = sum(one["id"] == "A" for one in rows)
        assert counts_of(report) == {"read": 5, "new": 5 - mine, "refused": mine}
        assert len({error["line"] for error in report.errors}) == mine
        assert contents(store, KEPT).get("A") == before


def test_the_contact_of_a_refused_row_stays_and_is_not_missing(tmp_path: Path) -> None:
    with opened(tmp_path / "state.db") as store:
        load_rows(store, [row("A"), row("B")])
        before = contents(store)
        report = load_rows(store, [row("A", born="31/02/2000"), row("B")], snapshot=True)
        assert counts_of(report) == {"read": 2, "unchanged": 1, "refused": 1}
        assert contents(store) == before
        assert report.errors[0]["line"] == 2
        assert report.errors[0]["column"] == "born"


def test_a_refused_row_is_a_problem_until_a_load_accepts_it(tmp_path: Path) -> None:
    with opened(tmp_path / "state.db") as store:
        load_rows(store, [row("A", born="never"), row("B")])
        assert store.connection.execute("SELECT key, line FROM refused").fetchall() == [("A", 2)]
        load_rows(store, [row("B"), row("A")])
        assert store.connection.execute("SELECT count(*) FROM refused").fetchone()[0] == 0


def test_forgotten_keys_are_skipped_also_when_refused_repeated_or_put(tmp_path: Path) -> None:
    with opened(tmp_path / "state.db") as store:
        load_rows(store, [row("A"), row("B")])
        acts.forget(store, ["A"])
        report = load_rows(store, [row("A"), row("B"), row("A", phone="1"), row("A", born="?"), row("A")])
        assert counts_of(report) == {"read": 5, "unchanged": 1, "forgotten": 4}
        sending.put(store, [("A", {"mail": "a@example.org", "surname": "X"})])
        assert list(contents(store)) == ["B"]


@pytest.mark.usefixtures("small_batches")
def test_whoever_a_snapshot_lacks_is_held_when_due_and_due_again_when_the_key_returns(tmp_path: Path) -> None:
    everybody = [row(f"K{number:02d}") for number in range(20)]
    with opened(tmp_path / "state.db") as store:
        load_rows(store, everybody[:15], snapshot=True)
        send_due(store)
        load_rows(store, everybody, snapshot=True)
        report = load_rows(store, everybody[5:18], snapshot=True)
        assert counts_of(report) == {"read": 13, "unchanged": 13, "missing": 7}
        assert due_keys(store) == ["K15", "K16", "K17"]
        held = contents(store, "problem, problem_reason")
        assert held["K18"] == held["K19"] == ("held", NO_LONGER)
        assert held["K00"] == (None, None)
        assert load_rows(store, everybody[5:18], snapshot=True).missing == 7
        report = load_rows(store, [everybody[19]])  # no snapshot: says nothing of the others
        assert report.missing == 6
        assert due_keys(store) == ["K15", "K16", "K17", "K19"]


def test_a_released_contact_is_sent_although_it_left_the_source(tmp_path: Path) -> None:
    with opened(tmp_path / "state.db") as store:
        load_rows(store, [row("A"), row("B")], snapshot=True)
        load_rows(store, [row("B")], snapshot=True)
        assert acts.release(store, ["A"])[0].released
        load_rows(store, [row("B")], snapshot=True)
        holding.hold_without_identity(store, {}, run=1)
        assert due_keys(store) == ["A", "B"]


def test_a_put_brings_a_missing_contact_back(tmp_path: Path) -> None:
    with opened(tmp_path / "state.db") as store:
        load_rows(store, [row("A"), row("B")], snapshot=True)
        load_rows(store, [row("B")], snapshot=True)
        content = {"firstname": "Ada", "surname": "LastA", "mail": "a@example.org"}
        sending.put(store, [("A", content)])
        assert due_keys(store) == ["A", "B"]


def test_a_snapshot_of_less_than_half_is_refused_unless_allowed(tmp_path: Path) -> None:
    rows = [row(f"K{number}") for number in range(10)]
    with opened(tmp_path / "state.db") as store:
        load_rows(store, rows, snapshot=True)
        before = contents(store)
        with pytest.raises(SourceError, match="4 rows where the last load had 10"):
            load_rows(store, rows[:4], snapshot=True)
        assert contents(store) == before
        assert load_rows(store, rows[:5], snapshot=True).missing == 5
        assert load_rows(store, rows[:1], snapshot=True, allow_shrink=True).missing == 9
        assert load_rows(store, rows[:1]).missing == 9


@pytest.mark.parametrize(
    ("read", "refused", "is_refused"), [(49, 40, False), (50, 10, False), (50, 11, True)]
)
def test_a_file_is_refused_from_a_fifth_of_fifty_rows_on(
    tmp_path: Path, read: int, refused: int, is_refused: bool
) -> None:
    rows = [row(f"K{number}", born="?" if number < refused else "") for number in range(read)]
    with opened(tmp_path / "state.db") as store:
        load_rows(store, [row("K0"), row("K45")])
        before = contents(store)
        if not is_refused:
            assert load_rows(store, rows).refused == refused
            return
        with pytest.raises(SourceError, match="11 of 50 rows are refused"):
            load_rows(store, rows)
        assert contents(store) == before
        for table in ("staged", "repeats", "presence", "refusals", "refused"):
            assert store.connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == 0
        assert store.connection.execute("SELECT state FROM loads").fetchall() == [("done",), ("refused",)]


def test_a_stopped_load_leaves_everything_as_it_was(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "people.csv", [row(f"K{number}") for number in range(5000)])
    with opened(tmp_path / "state.db") as store:
        asked = iter([False, False, True])
        settings = settings_for(store.path, source)
        with pytest.raises(LoadStopped):
            load(store, open_mapped(settings), should_stop=lambda: next(asked))
        assert contents(store) == {}
        assert store.connection.execute("SELECT state FROM loads").fetchone()[0] == "interrupted"


@pytest.mark.parametrize(("record", "error"), [('{"id": "A"}', ConfigError), ('{"x": 1}', SourceError)])
def test_json_records_that_never_have_a_configured_name_are_refused(
    tmp_path: Path, record: str, error: type[Exception]
) -> None:
    source = tmp_path / "people.jsonl"
    source.write_text(record + "\n", encoding="utf-8")
    with opened(tmp_path / "state.db") as store:
        with pytest.raises(error):
            load(store, open_mapped(settings_for(store.path, source)))
        assert contents(store) == {}


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("point", range(1, 12))
@pytest.mark.parametrize("then", ["put", "load"])
def test_a_load_that_an_error_cuts_short_is_carried_through_or_dropped_by_the_next_call(
    tmp_path: Path, point: int, then: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Library use: the process lives on, so no opening recovers; neither a load nor a put may lose rows."""
    rows = [row(f"K{number:02d}") for number in range(11)]
    with opened(tmp_path / "state.db") as store:
        before = [row("K00", phone="1"), row("Z")]
        load_rows(store, before)
        commits = 0
        check = Store._check_file

        def fail(self: Store) -> None:
            nonlocal commits
            commits += 1
            if commits == point:
                raise StoreError("no room", reason="disk")
            check(self)

        monkeypatch.setattr(Store, "_check_file", fail)
        try:
            load_rows(store, rows)
        except StoreError:
            took_effect = store.connection.execute(
                "SELECT state = 'applying' FROM loads ORDER BY id DESC"
            ).fetchone()[0]
        else:
            took_effect = True
        monkeypatch.setattr(Store, "_check_file", check)
        if then == "put":
            sending.put(store, [("P", {"mail": "p@example.org", "surname": "P"})])
        else:
            load_rows(store, [row("P")])
        keys = set(contents(store))
        assert keys == {"P", "Z"} | ({one["id"] for one in rows} if took_effect else {"K00"})
        assert counts_of(load_rows(store, rows)) == (
            {"read": 11, "unchanged": 11} if took_effect else {"read": 11, "new": 10, "changed": 1}
        )


# --- killed loads: real processes, real kills

LOADS = """
import sys
from pathlib import Path
from test_store_kit import opened, settings_for
from syncengine import load as load_module
from syncengine.load import load, open_mapped
from syncengine.store import loading, store as store_module
state, source, kill_at = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
load_module.BATCH_ROWS = 500
commits = 0
class Dying:
    def __init__(self, connection): self.connection = connection
    def __getattr__(self, name): return getattr(self.connection, name)
    def execute(self, sql, *parameters):
        global commits
        if sql == "COMMIT":
            commits += 1
            if commits == kill_at:
                import os
                os.kill(os.getpid(), 9)
        return self.connection.execute(sql, *parameters)
with opened(state) as store:
    if kill_at > 0:
        store.connection = Dying(store.connection)
    print("ready", flush=True)
    load(store, open_mapped(settings_for(state, source, snapshot=True)))
print("done", flush=True)
"""

PEOPLE = 11_000  # more than two transactions of taking effect


def _versions(tmp_path: Path) -> tuple[Path, Path]:
    first = [row(f"K{number:05d}") for number in range(PEOPLE)]
    second = [row(f"K{number:05d}", phone="1" if number % 10 else "") for number in range(100, PEOPLE + 1000)]
    return write_csv(tmp_path / "one.csv", first), write_csv(tmp_path / "two.csv", second)


def _keep(store: Store) -> dict[str, tuple[object, ...]]:
    return contents(store, "content, missing, problem_reason, accepted_hash")


def test_a_killed_load_leaves_the_contacts_as_before_or_as_after(tmp_path: Path) -> None:
    one, two = _versions(tmp_path)
    state = tmp_path / "state.db"
    with opened(state) as store:
        load(store, open_mapped(settings_for(state, one, snapshot=True)))
        before = _keep(store)
    saved = state.read_bytes()
    with opened(state) as store:
        load(store, open_mapped(settings_for(state, two, snapshot=True)))
        after = _keep(store)
    chosen = random.Random(5)
    moments = [1, 4, 8, 9, 10, 11, 12, 13, 14, 0, 0]  # the commit of "applying" is the ninth
    seen = set()
    for moment in moments:
        for suffix in ("-wal", "-shm", "-journal"):
            state.with_name(state.name + suffix).unlink(missing_ok=True)
        state.write_bytes(saved)
        process = child(LOADS, state, two, moment)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.communicate()[1]
        if moment == 0:
            time.sleep(chosen.uniform(0.0, 0.6))
            process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode in {-9, 0}
        with opened(state) as store:
            found = _keep(store)
            assert store.connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
            assert store.connection.execute("SELECT count(*) FROM staged").fetchone()[0] == 0
        assert found in (before, after)
        seen.add(found == after)
    assert seen == {False, True}
