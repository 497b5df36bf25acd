"""problems, explain and forget as real processes."""

import csv
import os
import pty
import re
from pathlib import Path

import pytest
from test_cli_program import Program, _program  # noqa: F401 - a fixture
from test_cli_verify import _near  # noqa: F401 - a fixture
from test_store_kit import opened

from syncengine.problems import DEAD_ID
from syncengine.store.holding import set_problem

HELD = "P1,,,solo@x.example,\nP2,Eve,Roux,,\nP3,Max,Roux,,\n"
GOOD = "".join(f"G{n},Ada{n},Martin{n},g{n}@x.example,01000\n" for n in range(5))


@pytest.fixture(name="held")
def _held(near: Program) -> Program:
    """Three held contacts and five good ones, after a sync."""
    near.rows(GOOD + HELD)
    near.ok("sync", code=3)
    return near


def test_problems_are_grouped_by_reason_with_a_remedy(held: Program) -> None:
    found = held.ok("problems")["problems"]
    assert {(one["key"], one["state"], one["reason"]) for one in found} == {
        ("P1", "held", "mail alone"),
        ("P2", "held", "names alone"),
        ("P3", "held", "names alone"),
    }
    assert all(one["remedy"] and one["since"] > 0 for one in found)
    out = held.run("problems").out
    assert "3 open problems, by reason:" in out
    assert "Held by syncengine: names alone (2)" in out
    assert "Keys: P2, P3" in out
    assert "Roux" not in out
    assert "Roux" in held.run("problems", "--values").out


def test_whoever_collides_is_listed_with_the_others(near: Program) -> None:
    near.rows("F1,Ada,Roux,,01000\nF2,Ada,Roux,ada@x.example,01000\nG1,Max,Klein,max@x.example,01000\n")
    near.ok("sync", code=3)
    found = near.ok("problems")
    assert [(one["key"], one["facts"]) for one in found["problems"]] == [
        ("F1", {"keys": ["F2"], "more": 0}),
        ("F2", {"keys": ["F1"], "more": 0}),
    ]
    assert found["findings"] == []
    out = near.run("problems").out
    assert "  F1: could be F2\n  F2: could be F1\n" in out
    near.ok("problems", "--export", "out.csv")
    with (near.folder / "out.csv").open(encoding="utf-8-sig", newline="") as stream:
        assert [row["other_keys"] for row in csv.DictReader(stream)] == ["F2", "F1"]
    assert near.ok("problems", "--release", "F2")["released"][0]["released"]
    assert near.ok("sync", code=3)["confirmed"] == 1


def test_problems_are_selected_by_key_and_reason(held: Program) -> None:
    assert [one["key"] for one in held.ok("problems", "P2")["problems"]] == ["P2"]
    assert len(held.ok("problems", "--reason", "names")["problems"]) == 2
    assert held.run("problems", "nobody").out == "No open problems.\n"


def test_a_long_list_of_keys_is_cut_unless_all_is_asked_for(near: Program) -> None:
    near.rows("".join(f"K{n:03},Eve{n},Roux,,\n" for n in range(30)))
    near.ok("sync", code=3)
    out = near.run("problems").out
    assert "K019" in out
    assert "K020" not in out
    assert "and 10 more: add --all" in out
    assert "K029" in near.run("problems", "--all").out


def test_an_export_is_private_new_and_no_formula(near: Program) -> None:
    near.rows("=2+2,Eve,Roux,,\n@x,Max,+Roux,,\nplain,Tao,Roux,,\n")
    near.ok("sync", code=3)
    told = near.ok("problems", "--export", "out.csv", "--values")
    assert told["export"] == "out.csv"
    file = near.folder / "out.csv"
    assert file.stat().st_mode & 0o777 == 0o600
    with file.open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["key"] for row in rows] == ["'=2+2", "'@x", "plain"]
    assert [row["surname"] for row in rows] == ["Roux", "'+Roux", "Roux"]
    facts = {"other_keys", "qomon_ids", "fields"}
    assert set(rows[0]) >= {"key", "state", "reason", "remedy", "since", "line"} | facts
    assert "exists already" in near.ok("problems", "--export", "out.csv", code=1)["error"]
    (near.folder / "link.csv").symlink_to(near.folder / "target.csv")
    near.ok("problems", "--export", "link.csv", code=1)
    assert not (near.folder / "target.csv").exists()


def test_retry_overrides_nothing(held: Program) -> None:
    assert held.ok("problems", "--retry", "--reason", "names")["retried"] == 2
    report = held.ok("sync", code=3)
    assert (report["sent"], report["held"], report["problems_open"]) == (0, 2, 3)


def test_release_sends_a_held_contact_once(held: Program) -> None:
    assert held.ok("problems", "--release", "P2", "G1")["released"] == [
        {"key": "P2", "released": True, "why": ""},
        {"key": "G1", "released": False, "why": "it is not held"},
    ]
    report = held.ok("sync", code=3)
    assert (report["sent"], report["accepted"], report["problems_open"]) == (1, 1, 2)


def test_rematch_needs_keys_and_a_dead_id(held: Program) -> None:
    assert "--rematch needs the keys" in held.ok("problems", "--rematch", code=2)["error"]
    assert (
        "--rematch needs the keys" in held.ok("problems", "--rematch", "G1", "--reason", "x", code=2)["error"]
    )
    assert "one at a time" in held.ok("problems", "G1", "--rematch", "--retry", code=2)["error"]
    with opened(held.folder / "state.db") as store, store.writing() as connection:
        (n,) = connection.execute("SELECT n FROM contacts WHERE key = 'G1'").fetchone()
        set_problem(connection, [n], "dropped", DEAD_ID, run=1, now=0)
        connection.execute("UPDATE contacts SET dead_id = 1 WHERE n = ?", (n,))
    out = held.run("problems", "--rematch", "G1", "G2").out
    assert out == "G1: sent by the next sync\nG2: not rematched: no dead id is known of it\n"
    report = held.ok("sync", code=3)
    assert (report["sent"], report["confirmed"]) == (1, 1)


def test_explain_tells_the_story_in_order(held: Program) -> None:
    story = held.ok("explain", "G1")
    assert (story["state"], story["content"]["surname"]) == ("confirmed", "Martin1")
    assert (story["confirmed"], story["kept"], story["facts"]) == (story["content"], {}, {})
    assert [event["event"] for event in story["events"]] == ["first loaded", "accepted", "confirmed"]
    out = held.run("explain", "G1").out
    assert re.search(rf"G1: confirmed\n  id in Qomon +{story['id']}\n", out)
    assert re.search(r"first loaded\n.*accepted, HTTP 202, run 1\n.*confirmed: seen in Qomon as sent\n", out)
    out = held.run("explain", "P1").out
    assert "mail alone" in out
    assert "What to do: a mail without a name" in out


def test_an_unknown_key_ends_with_1(held: Program) -> None:
    assert "'nobody'" in held.ok("explain", "nobody", code=1)["error"]


def test_forget_erases_and_says_what_is_left_elsewhere(held: Program) -> None:
    held.ok("problems", "--export", "out.csv")
    number = held.ok("explain", "G1")["id"]
    ended = held.run("forget", "P1", "G1", "nobody")
    assert ended.code == 0
    assert "P1: erased; it was never sent to Qomon" in ended.out
    assert f"G1: erased here. Qomon still holds the contact under id {number}: delete it there" in ended.out
    assert "nobody: was not in the state store; later loads will skip this key" in ended.out
    assert str(held.folder / "out.csv") in ended.out
    stored = b"".join(file.read_bytes() for file in Path(held.folder).glob("state.db*"))
    assert b"g1@x.example" not in stored
    assert b"g2@x.example" in stored
    assert held.ok("load")["forgotten"] == 2


def test_forget_asks_first_on_a_terminal(held: Program) -> None:
    for answer, code, known in (("n\n", 1, True), ("\x04", 130, True), ("y\n", 0, False)):
        ours, theirs = pty.openpty()
        with held.start("forget", "G1", stdin=theirs) as process:
            os.close(theirs)
            os.write(ours, answer.encode())
            _, err = process.communicate(timeout=20)
        os.close(ours)
        assert "Erase 1 contact from state.db for good?" in err
        assert process.returncode == code
        assert held.run("explain", "G1").code == (0 if known else 1)


def test_forget_reads_keys_from_stdin(held: Program) -> None:
    found = held.ok("forget", "-", stdin="G1\nG2\r\n\nG1\n")["forgotten"]
    assert [one["key"] for one in found] == ["G1", "G2"]
    assert held.ok("forget", "-", code=2, stdin="\n")["error"].startswith("no key was given")
