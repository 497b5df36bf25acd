"""What people ask of the store: status, problems, one contact's story."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from test_store_kit import Wall, child, claim_due, load_rows, opened, person, row, send_due, settle_all

from syncengine import problems as module
from syncengine.errors import StoreError
from syncengine.hashing import canonical, content_hash
from syncengine.identity import IdentityClass
from syncengine.model import Attempt, Result
from syncengine.problems import COLLIDES, DROPPED, NAMES_ONLY, TWINS, differs_in, remedy
from syncengine.store import acts, holding, sending, views
from syncengine.store.store import Store


def test_status_counts_every_contact_once(tmp_path: Path) -> None:
    with opened(tmp_path / "state.db") as store:
        load_rows(store, [row(f"K{number}") for number in range(7)], snapshot=True)
        run = store.begin_run("sync")
        changes = claim_due(store, run)
        settle_all(store, run, changes[:3])
        settle_all(store, run, changes[3:4], Result.REJECTED)
        settle_all(store, run, changes[4:5], Result.UNKNOWN)
        found = views.status(store.path)
        assert found["contacts"] == {"in_flight": 2, "rejected": 1, "changed": 1, "accepted": 3}
        assert found["running"]["run"] == run
        assert found["runs"] == []
        store.connection.execute("UPDATE contacts SET confirmed_hash = content_hash WHERE key < 'K2'")
        assert views.status(store.path)["contacts"]["confirmed"] == 2
        sending.withdraw_open(store, run=run)
        store.end_run(run, outcome="problems", reason=None, code=3, report={"sent": 5})
        load_rows(store, [row(f"K{number}") for number in range(4)], snapshot=True)
        found = views.status(store.path)
        assert found["contacts"] == {"held": 3, "rejected": 1, "accepted": 1, "confirmed": 2}
        assert found["missing"] == 3
        assert found["problems_open"] == 4
        assert found["running"] is None
        assert [(one["run"], one["outcome"], one["exit"], one["report"]) for one in found["runs"]] == [
            (run, "problems", 3, {"sent": 5})
        ]
        assert (found["last_load"]["state"], found["last_load"]["read"]) == ("done", 4)


RUNNING = """
import sys, pathlib, time
from test_store_kit import opened, claim_due, person
from syncengine.store import sending
with opened(pathlib.Path(sys.argv[1])) as store:
    sending.put(store, [(f"K{n}", person(f"K{n}")) for n in range(5)])
    run = store.begin_run("sync")
    claim_due(store, run, 2)
    batch = sending.Batch(progress={"sent": 2, "remaining": 3, "rate": 1.5, "finish_at": 5.0})
    sending.settle(store, batch, run=run)
    print(run, flush=True)
    time.sleep(60)
"""


def test_status_shows_a_run_of_another_process_and_calls_it_interrupted_once_killed(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    process = child(RUNNING, path)
    assert process.stdout is not None
    run = int(process.stdout.readline())
    try:
        found = views.status(path)
        assert found["running"]["pid"] == process.pid
        assert found["running"]["remaining"] == 3
        assert found["contacts"] == {"in_flight": 2, "changed": 3}
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    found = views.status(path)
    assert found["running"] is None
    assert (found["runs"][0]["run"], found["runs"][0]["outcome"]) == (run, "interrupted")
    assert found["contacts"] == {"changed": 5}


def test_problems_hold_reason_and_remedy_and_values_only_on_request(tmp_path: Path) -> None:
    with opened(tmp_path / "state.db") as store:
        load_rows(store, [row("A"), row("B", mail=""), row("C", born="?")])
        holding.hold_without_identity(store, {IdentityClass.NAMES_ONLY: NAMES_ONLY}, run=1)
        run = store.begin_run("sync")
        settle_all(store, run, claim_due(store, run), Result.REJECTED)
        found = views.problems(store.connection)
        assert [(one["key"], one["state"]) for one in found] == [
            ("B", "held"),
            ("A", "rejected"),
            ("C", "refused"),
        ]
        assert all(one["reason"] and one["remedy"] and one["since"] for one in found)
        assert "Ada" not in str(found)
        assert found[2]["line"] == 4
        assert views.count_problems(store.connection) == 3
        assert [one["key"] for one in views.problems(store.connection, keys=("A", "C"))] == ["A", "C"]
        assert [one["key"] for one in views.problems(store.connection, reason="names")] == ["B"]
        (one,) = views.problems(store.connection, keys=("A",), values=True)
        assert one["content"]["firstname"] == "Ada"


def test_explain_tells_one_contacts_story_in_order(tmp_path: Path) -> None:
    with opened(tmp_path / "state.db") as store:
        load_rows(store, [row("A"), row("R", born="?")])
        send_due(store)
        sending.put(store, [("A", person("A", phone="2", address={"city": "Lyon"}))])
        run = store.begin_run("sync")
        changes = claim_due(store, run)
        attempt = Attempt(changes[0], store.now(), "throttled", 429, "")
        sending.settle(store, sending.Batch(attempts=[attempt]), run=run)
        settle_all(store, run, changes, Result.REJECTED)
        story = views.explain(store.connection, "A", store.path)
        assert story is not None
        assert story["state"] == "rejected"
        assert story["changed_fields"] == ["address.city", "phone"]
        assert story["accepted"] == {"firstname": "Ada", "surname": "LastA", "mail": "a@example.org"}
        assert {event["event"] for event in story["events"]} == {
            "first loaded",
            "accepted",
            "attempt: throttled",
            "rejected",
        }
        refused = views.explain(store.connection, "R", store.path)
        assert refused is not None
        assert (refused["state"], refused["events"][0]["line"]) == ("refused", 3)
        assert views.explain(store.connection, "nobody", store.path) is None


def set_problem(store: Store, key: str, state: str, reason: str, **facts: Any) -> None:
    """Write down a problem of a contact, as the preflight and the read-back do."""
    with store.writing() as connection:
        (n,) = connection.execute("SELECT n FROM contacts WHERE key = ?", (key,)).fetchone()
        holding.set_problem(connection, [n], state, reason, run=1, now=store.now(), facts=facts)


def test_facts_tell_keys_ids_and_fields_always_and_values_only_on_request(tmp_path: Path) -> None:
    fields = [{"field": "phone", "sent": "CANARY", "seen": None}]
    with opened(tmp_path / "state.db") as store:
        load_rows(store, [row(key) for key in "ABCDE"])
        set_problem(store, "A", "held", COLLIDES, keys=["B", "C"], more=3, hint="a CANARY hint")
        set_problem(store, "B", "differs", TWINS, ids=[17, 18])
        set_problem(store, "C", "differs", differs_in(["phone"]), fields=fields)
        set_problem(store, "D", "held", "Qomon would drop it: x", hints=["'CANARY' is not an option"])
        set_problem(store, "E", "dropped", DROPPED)
        found = {one["key"]: one["facts"] for one in views.problems(store.connection)}
        assert found == {
            "A": {"keys": ["B", "C"], "more": 3},
            "B": {"ids": [17, 18]},
            "C": {"fields": [{"field": "phone"}]},
            "D": {},
            "E": {},
        }
        found = {one["key"]: one["facts"] for one in views.problems(store.connection, values=True)}
        assert found["A"]["hint"] == "a CANARY hint"
        assert found["C"]["fields"] == fields
        assert found["D"]["hints"] == ["'CANARY' is not an option"]


def test_findings_are_those_of_the_last_run_that_compared_anybody(tmp_path: Path) -> None:
    finding = {"field": "phone", "differs": 57, "seen": 58, "sent": "99", "shown": "+99"}
    with opened(tmp_path / "state.db") as store:
        assert views.findings(store.connection) == []

        def end(report: dict[str, Any]) -> None:
            run = store.begin_run("sync")
            store.end_run(run, outcome="done", reason=None, code=0, report=report)

        end({"differs": 57, "findings": [finding]})
        end({"confirmed": 0, "earlier": {}, "findings": []})
        end({"sent": 3})  # by a syncengine that did not read back
        store.begin_run("sync")
        assert views.findings(store.connection) == [finding]
        end({"confirmed": 0, "earlier": {"confirmed": 1}, "findings": []})
        assert views.findings(store.connection) == []


def test_explain_tells_what_reads_showed(tmp_path: Path) -> None:
    wall = Wall(1000.0)
    with opened(tmp_path / "state.db", wall) as store:
        before = person("A", phone="1", tags=[{"name": "gold"}])
        now = person("A", phone="2")
        sending.put(store, [("A", before)])
        wall.at += 1
        send_due(store)
        story = views.explain(store.connection, "A", store.path)
        assert story is not None
        assert (story["state"], story["awaiting"], story["confirmed"]) == ("accepted", True, None)
        wall.at += 1
        with store.writing() as connection:
            connection.execute(
                "UPDATE contacts SET applied_hash = content_hash, confirmed_hash = content_hash, "
                "confirmed_at = ?, remote_id = 7, awaiting = 0",
                (wall.at,),
            )
        wall.at += 1
        sending.put(store, [("A", now)])
        story = views.explain(store.connection, "A", store.path)
        assert story is not None
        assert (story["state"], story["confirmed"], story["kept"]) == ("changed", before, {})
        wall.at += 1
        send_due(store)
        applied = canonical(before | now)
        with store.writing() as connection:
            connection.execute(
                "UPDATE contacts SET applied_hash = ?, applied = ?, confirmed_hash = content_hash, "
                "confirmed_at = ?, awaiting = 0",
                (content_hash(applied), applied, wall.at),
            )
        story = views.explain(store.connection, "A", store.path)
        assert story is not None
        assert (story["state"], story["id"], story["confirmed"]) == ("confirmed", 7, now)
        assert story["kept"] == {"tags": [{"name": "gold"}]}
        assert [event["event"] for event in story["events"]] == [
            "first loaded",
            "accepted",
            "content changed",
            "accepted",
            "confirmed",
        ]


def test_explain_tells_a_problem_once_with_its_facts_and_what_was_done_about_it(tmp_path: Path) -> None:
    wall = Wall(1000.0)
    fields = [{"field": "phone", "sent": "1", "seen": "2"}]
    with opened(tmp_path / "state.db", wall) as store:
        sending.put(store, [("A", person("A", phone="1"))])
        set_problem(store, "A", "held", COLLIDES, keys=["B"])
        wall.at += 1
        acts.release(store, ["A"])
        wall.at += 1
        send_due(store)
        wall.at += 1
        with store.writing() as connection:
            connection.execute("UPDATE contacts SET applied_hash = content_hash, awaiting = 0")
            connection.execute(
                "INSERT INTO receipts (n, run, at, content_hash, result, detail) "
                "SELECT n, 1, ?, content_hash, 'differs', ? FROM contacts",
                (wall.at, differs_in(["phone"])),
            )
        set_problem(store, "A", "differs", differs_in(["phone"]), fields=fields)
        story = views.explain(store.connection, "A", store.path)
        assert story is not None
        assert (story["state"], story["facts"]) == ("differs", {"fields": fields})
        assert [(event["event"], event.get("run")) for event in story["events"]] == [
            ("first loaded", None),
            ("released", 0),
            ("accepted", 1),
            ("differs", 1),
        ]
        assert story["events"][-1]["remedy"] == remedy("differs", differs_in(["phone"]))
        wall.at += 1
        acts.retry(store)
        story = views.explain(store.connection, "A", store.path)
        assert story is not None
        assert (story["state"], story["facts"]) == ("changed", {})
        assert story["changed_fields"] == ["phone"]
        assert [event["event"] for event in story["events"]][-2:] == ["differs", "retried"]


def test_status_names_the_kind_of_a_run(tmp_path: Path) -> None:
    with opened(tmp_path / "state.db") as store:
        run = store.begin_run("verify")
        running = views.status(store.path)["running"]
        assert (running["run"], running["kind"], running["remaining"]) == (run, "verify", None)
        store.end_run(run, outcome="done", reason=None, code=0, report={})
        assert [one["kind"] for one in views.status(store.path)["runs"]] == ["verify"]


def test_every_reason_of_ours_has_a_remedy() -> None:
    unknown = remedy("held", "no such reason")
    reasons = [
        text
        for name, text in vars(module).items()
        if name.isupper() and name[0] != "_" and isinstance(text, str)
    ]
    assert len(reasons) > 10
    for reason in (*reasons, "rejected by Qomon (422)", differs_in(["phone"])):
        assert remedy("held", reason) != unknown, reason


def test_readers_of_no_store_are_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="run syncengine load or sync first"):
        views.status(tmp_path / "state.db")
