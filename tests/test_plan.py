"""plan: the same as what a sync would then do, and nothing changes."""

from __future__ import annotations

import signal
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from test_store_kit import (
    child,
    claim_due,
    contents,
    crash,
    load_rows,
    opened,
    person,
    row,
    send_due,
    settings_for,
    write_csv,
)

from syncengine.config import Settings
from syncengine.errors import ConfigError, SourceError, StoreError
from syncengine.hashing import canonical, content_hash
from syncengine.load import load, open_mapped
from syncengine.model import Receipt, Result
from syncengine.outcome import NOT_FOUND_AGAIN
from syncengine.plan import _scratch, make_plan
from syncengine.preflight import held_classes, is_mass_change
from syncengine.store import acts, sending, views
from syncengine.store.lock import RunLock
from syncengine.store.staging import Loaded, Staging

NOW = 1_700_000_000.0

KEYS = [f"K{number}" for number in range(8)]
PEOPLE = {
    "mail": {},
    "mail only": {"first": "", "last": ""},
    "names": {"mail": ""},
    "none": {"first": "", "last": "", "mail": ""},
    "refused": {"born": "no date"},
}
cells = st.tuples(
    st.sampled_from(KEYS), st.sampled_from(["mail", "mail", "mail", *PEOPLE]), st.sampled_from(["", "1"])
)
files = st.lists(cells, min_size=1, max_size=12)


def _rows(file: list[tuple[str, str, str]]) -> list[dict[str, str]]:
    return [row(key, phone=version, **PEOPLE[kind]) for key, kind, version in file]


steps = st.lists(
    st.one_of(
        st.tuples(st.just("load"), files, st.booleans()),
        st.tuples(st.just("send"), st.lists(st.sampled_from(list(Result)), min_size=1, max_size=4)),
        st.tuples(st.just("release"), st.sampled_from(KEYS)),
        st.tuples(st.just("retry"), st.sampled_from(KEYS)),
        st.tuples(st.just("forget"), st.sampled_from(KEYS[:2])),
        st.tuples(st.just("killed"), st.integers(0, 3)),
    ),
    max_size=6,
)


def _take(path: Path, step: tuple[Any, ...]) -> None:
    with opened(path) as store:
        match step:
            case ("load", file, snapshot):
                load_rows(store, _rows(file), snapshot=snapshot, allow_shrink=True)
            case ("send", results):
                run = store.begin_run("sync")
                _preflight(store, settings_for(path, None), run)
                receipts = [
                    Receipt(change, results[number % len(results)], reason="because")
                    for number, change in enumerate(claim_due(store, run))
                ]
                sending.settle(store, sending.Batch(receipts=receipts), run=run)
                store.end_run(run, outcome="done", reason=None, code=0, report={})
            case ("release", key):
                acts.release(store, [key])
            case ("retry", key):
                acts.retry(store, [key])
            case ("forget", key):
                acts.forget(store, [key])
            case ("killed", limit):
                claim_due(store, store.begin_run("sync"), limit)
                crash(store)


def _preflight(store: Any, settings: Settings, run: int) -> None:
    sending.hold_doubtful(store, NOT_FOUND_AGAIN, run=run)
    sending.hold_without_identity(store, held_classes(settings.identity), run=run)


def _really(path: Path, settings: Settings) -> dict[str, Any]:
    """Do what a sync does before it sends, and count."""
    with opened(path) as store:
        run = store.begin_run("sync")
        report = load(store, open_mapped(settings), run=run)
        _preflight(store, settings, run)
        due = sending.count_due(store)
        holds = dict(
            store.connection.execute(
                "SELECT problem_reason, count(*) FROM contacts WHERE problem_hash = content_hash "
                "AND problem_run = ? GROUP BY problem_reason",
                (run,),
            ).fetchall()
        )
        share = settings.run.max_changed_share
        stops = is_mass_change(
            again=due.accepted_before, accepted=sending.count_accepted(store), max_share=share
        )
        return {
            "selected": due.due + sum(holds.values()),
            "creates": due.due - due.accepted_before,
            "updates": due.accepted_before,
            "held": sum(holds.values()),
            "tokens": due.due,
            "fields": views.changed_fields(store.connection),
            "holds": holds,
            "stops": "mass_change" if stops else None,
            "load": report.as_json(),
        }


def _plan_or_refusal(settings: Settings) -> dict[str, Any] | str:
    try:
        return make_plan(settings, now=NOW).as_json()
    except SourceError as refused:
        return str(refused)


@given(history=steps, file=files, snapshot=st.booleans())
@hypothesis_settings(
    derandomize=True, deadline=None, max_examples=120, suppress_health_check=[HealthCheck.too_slow]
)
def test_a_plan_is_what_the_sync_that_follows_does(
    history: list[tuple[Any, ...]], file: list[tuple[str, str, str]], snapshot: bool
) -> None:
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        path = Path(name) / "state.db"
        for step in history:
            _take(path, step)
        source = write_csv(Path(name) / "next.csv", _rows(file))
        settings = settings_for(path, source, snapshot=snapshot)
        before = path.read_bytes() if path.exists() else None
        plan = _plan_or_refusal(settings)
        if isinstance(plan, str):
            with opened(path) as store, pytest.raises(SourceError) as caught:
                load(store, open_mapped(settings))
            assert str(caught.value) == plan
            return
        assert (path.read_bytes() if path.exists() else None) == before
        really = _really(path, settings)
        assert {name: plan[name] for name in really} == really


def _listing(folder: Path) -> set[str]:
    """Return what is there, but for the shared memory any reader of a WAL makes."""
    return {file.name for file in folder.iterdir()} - {"state.db-wal", "state.db-shm"}


def test_a_plan_changes_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with opened(path) as store:
        load_rows(store, [row(f"K{number}") for number in range(300)])
        send_due(store)
    source = write_csv(tmp_path / "next.csv", [row(f"K{number}", phone="1") for number in range(250)])
    before, names = path.read_bytes(), _listing(tmp_path)
    plan = make_plan(settings_for(path, source, snapshot=True), now=NOW)
    assert (plan.creates, plan.updates, plan.held, plan.stops) == (0, 250, 0, "mass_change")
    assert plan.load is not None
    assert plan.load.missing == 50
    assert dict(plan.fields) == {"phone": 250}
    assert (plan.seconds, plan.finish_at) == (15.0, NOW + 15.0)
    assert path.read_bytes() == before
    assert _listing(tmp_path) == names


@pytest.mark.parametrize("has_store", [False, True])
def test_a_plan_refuses_what_the_load_would_and_leaves_no_scratch_file(
    tmp_path: Path, has_store: bool
) -> None:
    path = tmp_path / "state.db"
    if has_store:
        with opened(path) as store:
            load_rows(store, [row(f"K{number}") for number in range(100)])
    bad = write_csv(tmp_path / "bad.csv", [row(f"K{number}", born="?") for number in range(60)])
    names = _listing(tmp_path)
    with pytest.raises(SourceError, match="60 of 60 rows are refused"):
        make_plan(settings_for(path, bad), now=NOW)
    with pytest.raises(ConfigError):
        make_plan(settings_for(path, bad, fields={"surname": "no such column"}), now=NOW)
    if has_store:
        few = write_csv(tmp_path / "bad.csv", [row("K1")])
        with pytest.raises(SourceError, match="1 rows where the last load had 100"):
            make_plan(settings_for(path, few, snapshot=True), now=NOW)
    assert _listing(tmp_path) == names


def test_a_plan_works_before_there_is_a_state_store(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "people.csv", [row("A"), row("B"), row("C", mail="", last="", first="")])
    plan = make_plan(settings_for(tmp_path / "state.db", source), now=NOW)
    assert (plan.creates, plan.updates, plan.held) == (2, 0, 1)
    assert _listing(tmp_path) == {"people.csv"}


def test_a_plan_refuses_a_file_that_is_no_state_store(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    for content in (b"", b"no database " * 100):
        path.write_bytes(content)
        with pytest.raises(StoreError):
            make_plan(settings_for(path, None), now=NOW)
        assert path.read_bytes() == content


def test_a_plan_without_the_load_shows_what_is_due_now(tmp_path: Path) -> None:
    with opened(tmp_path / "state.db") as store:
        load_rows(store, [row("A"), row("B")])
        plan = make_plan(settings_for(store.path, tmp_path / "gone.csv"), load=False, now=NOW)
        assert (plan.creates, plan.load) == (2, None)


def test_a_plan_counts_what_a_killed_run_left_in_flight_although_it_was_reverted(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with opened(path) as store:
        sending.put(store, [("A", person("A")), ("B", person("B"))])
        send_due(store)
        sending.put(store, [("A", person("A", phone="1"))])
        claim_due(store, store.begin_run("sync"))
        sending.put(store, [("A", person("A"))])
        assert make_plan(settings_for(path, None), now=NOW).updates == 0  # it is running
        crash(store)
    assert make_plan(settings_for(path, None), now=NOW).updates == 1
    source = write_csv(tmp_path / "next.csv", [row("A"), row("B")])
    assert make_plan(settings_for(path, source), now=NOW).updates == 1
    assert _really(path, settings_for(path, source))["updates"] == 1


def test_gathering_meets_contacts_that_came_after_it_began(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with opened(path) as store:
        sending.put(store, [("A", person("A"))])
        with _scratch(settings_for(path, None)) as connection:
            staging = Staging(connection, secret=store.secret(), tombstones=frozenset())
            sending.put(store, [(f"K{number:02d}", person("K")) for number in range(50)])
            content = canonical(person("K"))
            staging.add([Loaded(2, "K49", person("K"), content, content_hash(content))])
            staging.refuse([(3, "K48", None, "unreadable")])
            assert staging.conflicts() == []
            assert (staging.new, staging.changed, staging.unchanged) == (0, 0, 1)
            assert staging.settle_presence(snapshot=True) == 49


def test_a_plan_does_not_need_the_lock_and_meets_contacts_that_come_while_it_reads(tmp_path: Path) -> None:
    """The store grows under it, by more contacts than it made room for."""
    path = tmp_path / "state.db"
    with opened(path) as store:
        load_rows(store, [row("A"), row("B")])
    code = (
        "import sys, pathlib\n"
        "from test_store_kit import opened, person\n"
        "from syncengine.store import sending\n"
        "with opened(pathlib.Path(sys.argv[1])) as store:\n"
        "    number = 0\n"
        "    while True:\n"
        "        sending.put(store, [(f'K{number + n:06d}', person('x')) for n in range(50)])\n"
        "        number += 50\n"
        "        if number == 50: print('writing', flush=True)\n"
    )
    rows = [row(f"K{number:06d}") for number in range(9000)]
    source = write_csv(tmp_path / "next.csv", rows)
    process = child(code, path)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        with pytest.raises(StoreError), RunLock(path):
            pass
        for _ in range(3):
            plan = make_plan(settings_for(path, source, snapshot=True), now=NOW)
            assert plan.load is not None
            assert plan.load.read == 9000
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    with opened(path) as store:
        assert len(contents(store, "n")) > 50
