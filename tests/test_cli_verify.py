"""What is read back, as real processes: sync, sync --no-verify, verify, verify --all, and what they tell."""

import json
import re
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from test_cli_program import HEADER, Program, _program, sandbox, until  # noqa: F401 - a fixture

PEOPLE = 60
PHONES = "".join(f"Q{n},Ada{n},Martin{n},q{n}@x.example,01000,0612345{n:03}\n" for n in range(PEOPLE))


@pytest.fixture(name="near")
def _near(program: Program) -> Iterator[Program]:
    """The program beside a sandbox without limits that shows at once what it took."""
    with sandbox("--unlimited", "--lag", "0", "--search-lag", "0") as environment:
        program.environment.update(environment)
        yield program


def ask(program: Program, method: str, path: str, content: Any = None) -> Any:
    """Ask the sandbox something as its staff would."""
    request = urllib.request.Request(
        program.environment["SYNCENGINE_DESTINATION_BASE_URL"] + path,
        method=method,
        data=None if content is None else json.dumps(content).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read())


def held_by_qomon(program: Program) -> dict[str, dict[str, Any]]:
    """Return everybody in the sandbox by mail."""
    found = ask(program, "GET", "/_sandbox/contacts?limit=1000")["contacts"]
    return {contact["mail"]: contact for contact in found}


def with_a_column(program: Program, rule: str, rows: str) -> None:
    """Map one more column, `extra`, and write rows that have it."""
    file = program.folder / "syncengine.toml"
    file.write_text(file.read_text("utf-8").replace("[fields]\n", f"[fields]\n{rule}\n"), "utf-8")
    header = HEADER.replace("\n", ",extra\n")
    (program.folder / "members.csv").write_text(header + rows, "utf-8")


def test_a_sync_ends_when_everybody_is_seen_in_qomon(near: Program) -> None:
    report = near.ok("sync")
    assert (report["outcome"], report["exit"], report["accepted"], report["confirmed"]) == ("done", 0, 10, 10)
    assert near.ok("status")["contacts"] == {"confirmed": 10}
    story = near.ok("explain", "P3")
    assert story["id"] == held_by_qomon(near)["person3@x.example"]["id"]
    out = near.run("sync").out
    assert out.startswith("Done: nothing had changed. Everybody in the source is in Qomon as sent.\n")


def test_without_a_look_nobody_is_confirmed_and_verify_makes_up_for_it(near: Program) -> None:
    ended = near.run("sync", "--no-verify")
    assert ended.code == 3
    assert ended.out.startswith("Finished: everything was sent, but nobody looked")
    assert "run syncengine verify" in ended.out
    assert near.ok("status")["contacts"] == {"accepted": 10}
    report = near.ok("verify")
    told = {name: report[name] for name in ("outcome", "exit", "checked", "confirmed", "unconfirmed")}
    assert told == {"outcome": "done", "exit": 0, "checked": 10, "confirmed": 10, "unconfirmed": 0}
    assert report["requests"] > 0
    assert near.ok("status")["contacts"] == {"confirmed": 10}
    assert near.ok("status")["runs"][0]["kind"] == "verify"
    ended = near.run("verify")
    assert ended.code == 0
    assert ended.out.startswith("Done: everybody in the source is in Qomon as sent.\n")


def test_a_sync_without_a_look_says_so_in_its_object(near: Program) -> None:
    report = near.ok("sync", "--no-verify", code=3)
    assert (report["outcome"], report["confirmed"], report["unconfirmed"]) == ("problems", 0, 10)
    assert report["problems_open"] == 0
    assert "search" not in ask(near, "GET", "/_sandbox/stats")["requests"]


def test_drift_is_found_told_and_undone_field_by_field(near: Program) -> None:
    near.ok("sync")
    number = held_by_qomon(near)["person3@x.example"]["id"]
    edit = {"id": number, "surname": "Canary", "address": {"postalcode": "00003", "city": "Lyon"}}
    ask(near, "POST", "/_sandbox/contacts", {"contacts": [edit]})
    assert near.ok("verify")["exit"] == 0
    report = near.ok("verify", "--all", code=3)
    assert (report["checked"], report["differs"], report["problems_new"]) == (10, 1, 1)
    (found,) = near.ok("problems")["problems"]
    assert (found["key"], found["state"], found["facts"]) == (
        "P3",
        "differs",
        {"fields": [{"field": "surname"}]},
    )
    assert "Canary" not in near.run("problems").out
    assert "surname: sent Martin3; seen in Qomon: Canary" in near.run("problems", "--values").out
    out = near.run("explain", "P3").out
    assert re.search(r"surname +Martin3 +seen in Qomon: Canary\n", out)
    assert "differs, run" in out
    assert near.ok("sync", code=3)["sent"] == 0
    assert near.ok("problems", "--retry")["retried"] == 1
    assert near.ok("sync")["confirmed"] == 1
    last = ask(near, "GET", "/_sandbox/history?limit=10000")["requests"]
    sent = [entry["data"] for entry in last if entry["endpoint"] == "upsert"][-1]
    assert sent == {"id": number, "surname": "Martin3"}
    assert held_by_qomon(near)["person3@x.example"]["address"]["city"] == "Lyon"


def test_whoever_was_deleted_in_qomon_is_told_and_rematched_by_hand(near: Program) -> None:
    near.ok("sync")
    number = held_by_qomon(near)["person3@x.example"]["id"]
    ask(near, "DELETE", f"/_sandbox/contacts?id={number}")
    report = near.ok("verify", "--all", code=3)
    assert (report["dropped"], report["problems_open"]) == (1, 1)
    (found,) = near.ok("problems")["problems"]
    assert found["reason"] == "its Qomon id does not exist any more"
    assert "--rematch" in found["remedy"]
    assert near.ok("sync", code=3)["sent"] == 0
    assert near.ok("problems", "--rematch", "P3", "P4")["rematched"] == [
        {"key": "P3", "rematched": True, "why": ""},
        {"key": "P4", "rematched": False, "why": "no dead id is known of it"},
    ]
    assert near.ok("sync")["confirmed"] == 1
    story = near.ok("explain", "P3")
    assert story["id"] == held_by_qomon(near)["person3@x.example"]["id"] != number
    assert [event["event"] for event in story["events"] if event.get("run") == 0] == ["rematched"]
    assert f"by hand, its id was {number}" in near.run("explain", "P3").out


def test_of_many_whom_no_search_shows_a_few_are_read_alone_and_the_others_told(near: Program) -> None:
    near.rows(PEOPLE)
    near.ok("sync")
    for contact in list(held_by_qomon(near).values())[:30]:
        ask(near, "DELETE", f"/_sandbox/contacts?id={contact['id']}")
    ended = near.run("verify", "--all", "--json")
    report = json.loads(ended.out)
    assert (report["dropped"], report["unread"], report["exit"]) == (20, 10, 3)
    assert report["message"] == (
        "no search shows 10 contacts whose id is known, and so many are not read one by one: whether they "
        "are there is not known. Run verify --all again"
    )
    assert near.ok("status")["contacts"] == {"confirmed": 40, "dropped": 20}
    assert ask(near, "GET", "/_sandbox/stats")["requests"]["get"] == 20
    report = near.ok("verify", "--all", code=3)
    assert (report["dropped"], report["unread"], report["message"]) == (10, 0, "")
    assert near.ok("status")["contacts"] == {"confirmed": 30, "dropped": 30}


def test_an_option_that_does_not_exist_is_told_with_a_hint_and_sent_to_nobody(near: Program) -> None:
    rows = "P1,Ada,Martin,ada@x.example,01000,M\nP2,Eve,Roux,eve@x.example,01000,XXL\n"
    with_a_column(near, '"custom_fields.Size" = "extra"', rows)
    report = near.ok("sync", code=3)
    assert (report["sent"], report["held"], report["confirmed"]) == (1, 1, 1)
    (found,) = near.ok("problems")["problems"]
    assert found["reason"].startswith("Qomon would drop it: ")
    assert "XXL" not in near.run("problems").out
    (hint,) = near.ok("problems", "--values")["problems"][0]["facts"]["hints"]
    assert hint.startswith("'XXL' is not an option of 'Size'")
    assert hint in near.run("explain", "P2").out.replace("\n    ", " ")


def test_what_the_source_took_away_is_told_as_kept_in_qomon(near: Program) -> None:
    row = "P1,Ada,Martin,ada@x.example,01000,"
    with_a_column(near, 'tags = { column = "extra", split = "|" }', f"{row}gold|red\n")
    near.ok("sync")
    text = (near.folder / "members.csv").read_text("utf-8")
    (near.folder / "members.csv").write_text(text.replace("gold|red", "red"), "utf-8")
    near.ok("sync")
    story = near.ok("explain", "P1")
    assert (story["state"], story["kept"]) == ("confirmed", {"tags": [{"name": "gold"}]})
    assert "Kept in Qomon" in near.run("explain", "P1").out


def test_a_field_that_qomon_rewrites_is_told_once_as_a_shape(near: Program) -> None:
    with_a_column(near, 'phone = "extra"', PHONES)
    near.ok("sync", "--no-verify", code=3)
    found = held_by_qomon(near).values()
    edits = [{"id": contact["id"], "phone": f"+1 555 {contact['id']:03}"} for contact in found]
    ask(near, "POST", "/_sandbox/contacts", {"contacts": edits})
    ended = near.run("verify")
    told = f"Qomon rewrites phone: sent as 9999999999, seen as +9 999 999 (in {PEOPLE} of {PEOPLE} contacts)"
    assert told in ended.out.replace("\n", " ")
    assert (ended.code, "555" in ended.out) == (3, False)
    assert [finding["field"] for finding in near.ok("problems")["findings"]] == ["phone"]
    assert near.run("problems").out.startswith("Qomon rewrites phone")
    assert near.run("problems", "Q1").out.startswith("1 open problem")


def test_verify_waits_for_nobody_else_to_write(program: Program) -> None:
    program.rows(500)
    with sandbox("--rate", "50", "--burst", "10", "--lag", "0") as environment:
        program.environment.update(environment)
        slow = ("--set", "destination.rate=50", "--set", "destination.burst=10")
        with program.start("sync", *slow) as first:
            until(lambda: (program.folder / "state.db").exists() and program.ok("status")["running"])
            started = time.monotonic()
            assert f"process {first.pid}" in program.ok("verify", code=5)["error"]
            assert time.monotonic() - started < 1


def test_a_verify_with_a_wrong_key_ends_with_1_and_its_object(near: Program) -> None:
    near.environment["QOMON_API_KEY"] = "CANARYKEY"
    near.ok("sync", code=1)
    report = near.ok("verify", code=1)
    assert (report["outcome"], report["reason"], report["checked"]) == ("failed", "unauthorized", 0)


def test_verify_before_anything_was_sent_is_done_or_says_what_is_due(near: Program) -> None:
    assert near.ok("verify")["outcome"] == "done"
    near.ok("load")
    assert near.ok("verify", code=3)["checked"] == 0
