"""plan: the same as what a sync would then do, and nothing changes."""

from __future__ import annotations

import json
import signal
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from test_cli_program import Program, sandbox
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

from syncengine.cli.guessing import guess
from syncengine.cli.init import compose
from syncengine.config import Settings
from syncengine.errors import ConfigError, SourceError, StoreError
from syncengine.hashing import canonical, content_hash
from syncengine.load import load, open_mapped
from syncengine.model import Receipt, Result
from syncengine.outcome import NEVER_FOUND
from syncengine.plan import make_plan
from syncengine.preflight import have_keys_moved, hold_all, is_mass_change
from syncengine.problems import COLLIDES, DEAD_ID, MOVED_KEY
from syncengine.qomon.faults import Faults
from syncengine.qomon.forms import Form, Forms, Option, forms_to_json
from syncengine.seen import KeptForms
from syncengine.store import acts, counting, sending, views
from syncengine.store.checking import Collisions, Suspect, moved_keys
from syncengine.store.forms import hold_faulty, keep_forms
from syncengine.store.gathered import everybody_after_load
from syncengine.store.holding import hold_where, set_problem
from syncengine.store.lock import RunLock
from syncengine.store.schema import CRASHES_ALONE
from syncengine.store.scratch import scratch
from syncengine.store.staging import Loaded, Staging
from syncengine.store.store import Store

NOW = 1_700_000_000.0

KEYS = [f"K{number}" for number in range(8)]
PEOPLE = {
    "mail": {},
    "mail only": {"first": "", "last": ""},
    "names": {"mail": ""},
    "mailbox": {"mail": "all@example.org"},
    "nobody's mailbox": {"mail": "all@example.org", "first": "", "last": "Martin"},
    "homonym": {"last": "Martin"},
    "another homonym": {"last": "MARTIN", "born": "05/03/1987"},
    "another": {"first": "Zoe", "last": "Smith", "mail": "zoe@example.org"},
    "none": {"first": "", "last": "", "mail": ""},
    "refused": {"born": "no date"},
}
cells = st.tuples(
    st.sampled_from(KEYS), st.sampled_from(["mail", "mail", "mail", *PEOPLE]), st.sampled_from(["", "1"])
)
files = st.lists(cells, min_size=1, max_size=12)
ALIKE = ["mailbox", "nobody's mailbox", "homonym", "another homonym", "another", "mail"]
alike = st.lists(
    st.tuples(st.sampled_from(KEYS[:4]), st.sampled_from(ALIKE), st.sampled_from(["", "1"])),
    min_size=2,
    max_size=4,
    unique_by=lambda cell: cell[0],
)


def _rows(file: list[tuple[str, str, str]]) -> list[dict[str, str]]:
    return [row(key, phone=version, **PEOPLE[kind]) for key, kind, version in file]


def steps(files: st.SearchStrategy[Any], results: list[Result]) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    return st.lists(
        st.one_of(
            st.tuples(st.just("load"), files, st.booleans()),
            st.tuples(st.just("send"), st.lists(st.sampled_from(results), min_size=1, max_size=4)),
            st.tuples(st.just("release"), st.sampled_from(KEYS)),
            st.tuples(st.just("retry"), st.sampled_from(KEYS)),
            st.tuples(st.just("forget"), st.sampled_from(KEYS[:2])),
            st.tuples(st.just("seen"), st.sampled_from(KEYS[:4]), st.booleans()),
            st.tuples(st.just("killed"), st.integers(0, 3)),
            st.tuples(st.just("dead"), st.sampled_from(KEYS[:4])),
        ),
        max_size=8,
    )


def _take(path: Path, step: tuple[Any, ...]) -> None:
    with opened(path) as store:
        match step:
            case ("load", file, snapshot):
                load_rows(store, _rows(file), snapshot=snapshot, allow_shrink=True)
            case ("send", results):
                run = store.begin_run("sync")
                _hold(store, settings_for(path, None), run)
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
            case ("seen", key, is_applied):
                applied = "coalesce(applied_hash, accepted_hash)" if is_applied else "applied_hash"
                with store.writing() as connection:
                    connection.execute(
                        "UPDATE contacts SET remote_id = n, identity = 5, applied = accepted, "
                        f"applied_hash = {applied} WHERE key = ? AND remote_id IS NULL "
                        "AND accepted_hash IS NOT NULL",
                        (key,),
                    )
            case ("dead", key):
                with store.writing() as connection:
                    found = connection.execute(
                        "UPDATE contacts SET dead_id = 1, accepted_hash = NULL, accepted = NULL, "
                        "awaiting = 0 "
                        "WHERE key = ? AND remote_id IS NOT NULL RETURNING n",
                        (key,),
                    ).fetchall()
                    numbers = [n for (n,) in found]
                    set_problem(connection, numbers, "dropped", DEAD_ID, run=None, now=store.now())
            case ("killed", limit):
                claim_due(store, store.begin_run("sync"), limit)
                crash(store)


def _hold(store: Store, settings: Settings, run: int, *, may_be_proven: bool = False) -> None:
    hold_all(store, settings.identity, run=run, not_found_again=NEVER_FOUND, may_be_proven=may_be_proven)


def _really(path: Path, settings: Settings) -> dict[str, Any]:
    """Do what a sync does before it sends, and count."""
    with opened(path) as store:
        run = store.begin_run("sync")
        report = load(store, open_mapped(settings), run=run)
        _hold(store, settings, run, may_be_proven=True)
        stops = have_keys_moved(**dict(zip(("moved", "with_ids"), moved_keys(store), strict=True)))
        stops = stops or is_mass_change(
            again=counting.count_due(store).accepted_before,
            accepted=counting.count_accepted(store),
            max_share=settings.run.max_changed_share,
        )
        _hold(store, settings, run)
        due = counting.count_due(store)
        holds = dict(
            store.connection.execute(
                "SELECT problem_reason, count(*) FROM contacts WHERE problem_hash = content_hash "
                "AND problem_run = ? GROUP BY problem_reason",
                (run,),
            ).fetchall()
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


fixed = hypothesis_settings(
    derandomize=True, deadline=None, max_examples=120, suppress_health_check=[HealthCheck.too_slow]
)


@fixed
@given(history=steps(files, list(Result)), file=files, snapshot=st.booleans())
def test_a_plan_is_what_the_sync_that_follows_does(
    history: list[tuple[Any, ...]], file: list[tuple[str, str, str]], snapshot: bool
) -> None:
    _check_plan(history, file, snapshot=snapshot, collisions="hold")


history_of_alike = st.builds(
    lambda file, results, seen, then: [("load", file, False), ("send", results), *seen, *then],
    alike,
    st.lists(st.sampled_from([Result.ACCEPTED, Result.UNKNOWN]), min_size=1, max_size=2),
    st.lists(st.tuples(st.just("seen"), st.sampled_from(KEYS[:4]), st.booleans()), max_size=3),
    steps(alike, [Result.ACCEPTED, Result.UNKNOWN]),
).filter(lambda history: sum(step[0] == "killed" for step in history) < CRASHES_ALONE)


@fixed
@given(history=history_of_alike, file=alike, snapshot=st.booleans(), how=st.sampled_from(["hold", "first"]))
def test_a_plan_holds_whom_the_sync_that_follows_holds_of_people_who_are_alike(
    history: list[tuple[Any, ...]], file: list[tuple[str, str, str]], snapshot: bool, how: str
) -> None:
    _check_plan(history, file, snapshot=snapshot, collisions=how)


def _check_plan(
    history: list[tuple[Any, ...]], file: list[tuple[str, str, str]], *, snapshot: bool, collisions: str
) -> None:
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        path = Path(name) / "state.db"
        for step in history:
            _take(path, step)
        source = write_csv(Path(name) / "next.csv", _rows(file))
        settings = settings_for(path, source, snapshot=snapshot, identity={"collisions": collisions})
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
        with scratch(path) as connection:
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


def test_a_plan_sees_collisions_among_what_is_loaded_and_with_what_is_stored(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    same = {"first": "Jean", "last": "Martin"}
    with opened(path) as store:
        load_rows(store, [row("A"), row("B", **same), row("C", **same, born="05/03/1987"), row("D")])
        send_due(store)
    loaded = [
        row("A", last="Other"),  # the stored one no longer meets E, the loaded one does
        row("B", **same, phone="1"),
        row("C", **same, born="05/03/1987"),
        row("D"),
        row("E", last="LastA"),
        row("F", last="Other"),
        row("G", last="other"),
        row("H", **same, born="01/01/1950"),
        row("I", mail="d@example.org"),
    ]
    source = write_csv(tmp_path / "next.csv", loaded)
    plan = make_plan(settings_for(path, source), now=NOW)
    assert dict(plan.holds) == {COLLIDES: 5}  # A, F and G; B with C; H with B
    assert (plan.creates, plan.updates, plan.held) == (2, 0, 5)  # E and I
    first = make_plan(settings_for(path, source, identity={"collisions": "first"}), now=NOW)
    assert (first.creates, first.updates, first.held) == (2, 2, 3)  # A and B were accepted
    assert _really(path, settings_for(path, source))["holds"] == {COLLIDES: 5}


def test_a_plan_sees_keys_that_have_moved(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    people = [row(f"K{number:03d}") for number in range(150)]
    with opened(path) as store:
        load_rows(store, people)
        send_due(store)
        with store.writing() as connection:
            connection.execute("UPDATE contacts SET remote_id = n, identity = 5")
    moved = [{**people[0], "first": "Zoe", "last": "Smith", "mail": "zoe@example.org"}]
    plan = make_plan(settings_for(path, write_csv(tmp_path / "one.csv", moved)), now=NOW)
    assert (dict(plan.holds), plan.stops) == ({MOVED_KEY: 1}, None)
    shifted = [{**cells, "id": people[number - 1]["id"]} for number, cells in enumerate(people[:60])]
    for cells in shifted:
        cells["first"] = f"Ada{cells['mail'][1:4]}"
    plan = make_plan(settings_for(path, write_csv(tmp_path / "all.csv", shifted)), now=NOW)
    assert (dict(plan.holds), plan.stops) == ({MOVED_KEY: 60}, "mass_change")


def test_a_plan_compares_a_moved_key_with_what_was_seen_applied(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with opened(path) as store:
        load_rows(store, [row("A")])
        send_due(store)
        with store.writing() as connection:
            connection.execute("UPDATE contacts SET remote_id = n, identity = 5, applied_hash = content_hash")
        load_rows(store, [row("A", mail="new@example.org")])
        send_due(store)
    for mail, held in (("a@example.org", 0), ("new@example.org", 1)):
        source = write_csv(tmp_path / "next.csv", [row("A", last="Married", mail=mail)])
        assert make_plan(settings_for(path, source), now=NOW).held == held


def test_a_plan_sends_nobody_to_a_dead_id_who_was_released_for_something_else(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with opened(path) as store:
        load_rows(store, [row("A")])
        send_due(store)
    _take(path, ("seen", "A", True))
    _take(path, ("dead", "A"))
    with opened(path) as store:
        load_rows(store, [row("A", phone="1")])
        with store.writing() as connection:
            hold_where(connection, MOVED_KEY, "1", run=1, now=NOW)
        assert acts.release(store, ["A"])[0].released
    plan = make_plan(settings_for(path, None), now=NOW)
    assert (dict(plan.holds), plan.tokens) == ({DEAD_ID: 1}, 0)
    assert (
        _really(path, settings_for(path, write_csv(tmp_path / "s.csv", [row("A", phone="1")])))["held"] == 1
    )


def test_a_plan_counts_a_missing_contact_that_was_released_among_those_to_be_met(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with opened(path) as store:
        load_rows(store, [row("A"), row("C")], snapshot=True)
        load_rows(store, [row("C")], snapshot=True)
    settings = settings_for(path, write_csv(tmp_path / "next.csv", [row("C"), row("B", last="LastA")]))
    assert COLLIDES not in make_plan(settings, now=NOW).holds
    with opened(path) as store:
        acts.release(store, ["A"])
    assert make_plan(settings, now=NOW).holds[COLLIDES] == 1


def test_a_plan_looks_for_a_mass_change_before_anybody_is_held_for_a_collision(tmp_path: Path) -> None:
    """As a sync does, which may learn ids between the two."""
    path = tmp_path / "state.db"
    people = [row(f"K{number}", last="Martin") for number in range(120)]
    with opened(path) as store:
        load_rows(store, people)
        send_due(store)
    source = write_csv(tmp_path / "next.csv", [{**cells, "phone": "1"} for cells in people])
    plan = make_plan(settings_for(path, source), now=NOW)
    assert (dict(plan.holds), plan.stops) == ({COLLIDES: 120}, "mass_change")


def test_a_plan_finds_others_by_indexes(tmp_path: Path) -> None:
    """Without them each page would read everybody."""
    path = tmp_path / "state.db"
    with opened(path) as store:
        load_rows(store, [row("A")])
    with scratch(path) as connection:
        people = everybody_after_load(connection, is_running=False)
        collisions = Collisions(connection, "hold", people=people, cap=1)
        statements: list[str] = []
        connection.set_trace_callback(statements.append)
        collisions.held([Suspect("A", "a@example.org", "lasta\x1fada")])
        connection.set_trace_callback(None)
        steps = [
            step[3]
            for statement in statements
            for step in connection.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
        ]
    found = {step.partition(" (")[0] for step in steps if step.startswith(("SEARCH s ", "SEARCH c "))}
    assert any("INDEX staged_mail" in step for step in found)
    assert any("INDEX contacts_name" in step for step in found)
    assert not [step for step in steps if step.startswith(("SCAN s", "SCAN c", "SCAN p", "MATERIALIZE"))]


FORMS = Forms(
    [
        Form(12, "Tier", "custom_fields", "radio", (Option(1, "gold", "G"), Option(2, "silver", "S"))),
    ]
)


def tier(name: str, value: str) -> dict[str, Any]:
    return person(name, custom_fields=[{"label": "Tier", "value": value}])


def test_a_plan_holds_whom_the_space_would_drop_by_the_forms_read_now(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with opened(path) as store:
        sending.put(store, [("A", tier("A", "gold")), ("B", tier("B", "Gold")), ("C", person("C"))])
    plan = make_plan(settings_for(path, None), now=0.0, read_forms=lambda: FORMS)
    assert (plan.creates, plan.held, plan.forms) == (2, 1, "read")
    (reason,) = plan.holds
    assert (
        reason
        == "Qomon would drop it: custom_fields 'Tier' (#12) has no such option (its options: gold, silver)"
    )


def test_a_plan_goes_by_the_kept_forms_when_none_can_be_read_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with opened(path) as store:
        sending.put(store, [("A", tier("A", "Gold"))])
        assert make_plan(settings_for(path, None), now=0.0).forms == "unknown"
        keep_forms(store, KeptForms(FORMS.fingerprint, forms_to_json(FORMS)))
        plan = make_plan(settings_for(path, None), now=0.0)
    assert (plan.held, plan.forms, plan.forms_at) == (1, "kept", 1_700_000_000.0)


# --- how many contacts the space holds


@pytest.fixture(name="first")
def _first(tmp_path: Path) -> Program:
    """The program before its first sync, with three people."""
    program = Program(tmp_path)
    program.rows(3)
    (tmp_path / "syncengine.toml").write_text(compose(guess(tmp_path / "members.csv"), "members.csv"))
    return program


def asked(environment: dict[str, str]) -> dict[str, int]:
    """Return how often each route of a sandbox was asked."""
    url = environment["SYNCENGINE_DESTINATION_BASE_URL"] + "/_sandbox/stats"
    with urllib.request.urlopen(url, timeout=10) as answer:
        requests: dict[str, int] = json.loads(answer.read())["requests"]
    return requests


def test_a_plan_of_a_first_sync_into_a_full_space_says_that_it_would_be_refused(first: Program) -> None:
    with sandbox("--unlimited", "--contacts", "7", "--lag", "0", "--search-lag", "0") as environment:
        first.environment.update(environment)
        found = first.ok("plan")
        assert (found["stops"], found["space"], found["in_space"]) == ("full_space", "counted", 7)
        assert found["selected"] == 3
        told = first.run("plan").out
        assert "It would stop before sending anything (full_space): Qomon already holds 7 contacts" in told
        assert "syncengine adopt" in told
        assert 'existing = "match"' in told
        match = first.ok("plan", "--set", "identity.existing=match")
        assert (match["stops"], match["space"], match["in_space"]) == (None, None, None)
        assert asked(environment) == {"kpi": 2}
        assert first.ok("sync", code=2)["sent"] == 0
        assert first.ok("sync", "--set", "identity.existing=match")["sent"] == 3
        assert first.ok("plan")["space"] is None  # it has begun
        assert asked(environment)["kpi"] == 3


def test_a_plan_of_a_first_sync_into_an_empty_space_says_that_nobody_is_there(first: Program) -> None:
    with sandbox("--unlimited", "--lag", "0", "--search-lag", "0") as environment:
        first.environment.update(environment)
        found = first.ok("plan")
        assert (found["stops"], found["space"], found["in_space"]) == (None, "counted", 0)
        assert "Qomon holds no contact yet." in first.run("plan").out
        first.rows("")
        assert first.ok("plan")["space"] is None  # nothing would be sent, so nothing is asked
        assert asked(environment) == {"kpi": 2}


@pytest.mark.parametrize("why", ["no server", "no key"])
def test_a_plan_that_cannot_ask_the_space_says_so_and_still_plans(first: Program, why: str) -> None:
    first.environment["SYNCENGINE_DESTINATION_BASE_URL"] = "http://127.0.0.1:9"
    if why == "no server":
        first.environment["QOMON_API_KEY"] = "k"
    found = first.ok("plan")
    assert (found["creates"], found["stops"], found["space"], found["in_space"]) == (3, None, "unknown", None)
    assert "Whether Qomon holds anybody already is not known" in first.run("plan").out


def test_a_space_that_gives_no_forms_is_not_asked_for_its_count_too(first: Program) -> None:
    """Somebody waits for the plan, and an outage is no shorter the second time."""
    text = (first.folder / "syncengine.toml").read_text()
    answer = '[fields]\n"custom_fields.Zone" = "zip"\n'
    (first.folder / "syncengine.toml").write_text(text.replace("[fields]\n", answer))
    with sandbox("--unlimited") as environment:
        first.environment.update(environment | {"QOMON_API_KEY": "wrong"})
        found = first.ok("plan")
        assert (found["forms"], found["space"]) == ("unknown", "unknown")
        assert asked(environment) == {"forms": 1}


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("due", ("counted", 4, "full_space")),
        ("held by forms", ("counted", 4, "full_space")),
        ("held by the store alone", (None, None, None)),
        ("in doubt", (None, None, None)),
        ("adopted", (None, None, None)),
    ],
)
def test_a_plan_asks_the_space_when_the_sync_would(
    tmp_path: Path, case: str, expected: tuple[str | None, int | None, str | None]
) -> None:
    path = tmp_path / "state.db"
    with opened(path) as store:
        match case:
            case "held by the store alone":
                sending.put(store, [("A", {"mail": "a@example.org"})])
            case "held by forms":
                sending.put(store, [("A", tier("A", "Gold"))])
                keep_forms(store, KeptForms(FORMS.fingerprint, forms_to_json(FORMS)))
                hold_faulty(store, Faults(FORMS).of, run=1)
            case _:
                sending.put(store, [("A", person("A"))])
        if case == "in doubt":
            send_due(store, Result.UNKNOWN)
        if case == "adopted":
            with store.writing() as connection:
                connection.execute("UPDATE space SET adopted_at = 1")
    plan = make_plan(settings_for(path, None), now=0.0, count=lambda: 4)
    assert (plan.space, plan.in_space, plan.stops) == expected


def test_a_plan_without_answers_asks_for_no_forms(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with opened(path) as store:
        sending.put(store, [("A", person("A"))])
    assert make_plan(settings_for(path, None), now=0.0, read_forms=lambda: 1 / 0).forms is None  # type: ignore[arg-type, return-value]
