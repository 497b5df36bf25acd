"""What people ask of the store: status, problems, one contact's story."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from test_store_kit import child, claim_due, load_rows, opened, person, row, send_due, settle_all

from syncengine.errors import StoreError
from syncengine.identity import IdentityClass
from syncengine.model import Attempt, Result
from syncengine.problems import NAMES_ONLY, remedy
from syncengine.store import sending, views


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
        sending.hold_without_identity(store, {IdentityClass.NAMES_ONLY: NAMES_ONLY}, run=1)
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


def test_every_reason_of_ours_has_a_remedy() -> None:
    unknown = remedy("held", "no such reason")
    for reason in (
        "neither mail nor surname",
        "names alone",
        "mail alone",
        "unproven id",
        "may have been created",
    ):
        assert remedy("held", reason) != unknown
    assert remedy("rejected", "rejected by Qomon (422)") != unknown


def test_readers_of_no_store_are_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="run syncengine load or sync first"):
        views.status(tmp_path / "state.db")
