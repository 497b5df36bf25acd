"""problems, explain and forget as real processes."""

import csv
import os
import pty
import re
from pathlib import Path

import pytest
from test_cli_program import Program, _fast, _program, sandbox  # noqa: F401 - fixtures

HELD = "P1,,,solo@x.example,\nP2,Eve,Roux,,\nP3,Max,Roux,,\n"
GOOD = "".join(f"G{n},Ada{n},Martin{n},g{n}@x.example,01000\n" for n in range(5))


@pytest.fixture(name="held")
def _held(fast: Program) -> Program:
    """Three held contacts and five good ones, after a sync."""
    fast.rows(GOOD + HELD)
    fast.ok("sync", code=3)
    return fast


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


def test_problems_are_selected_by_key_and_reason(held: Program) -> None:
    assert [one["key"] for one in held.ok("problems", "P2")["problems"]] == ["P2"]
    assert len(held.ok("problems", "--reason", "names")["problems"]) == 2
    assert held.run("problems", "nobody").out == "No open problems.\n"


def test_a_long_list_of_keys_is_cut_unless_all_is_asked_for(fast: Program) -> None:
    fast.rows("".join(f"K{n:03},Eve{n},Roux,,\n" for n in range(30)))
    fast.ok("sync", code=3)
    out = fast.run("problems").out
    assert "K019" in out
    assert "K020" not in out
    assert "and 10 more: add --all" in out
    assert "K029" in fast.run("problems", "--all").out


def test_an_export_is_private_new_and_no_formula(fast: Program) -> None:
    fast.rows("=2+2,Eve,Roux,,\n@x,Max,+Roux,,\nplain,Tao,Roux,,\n")
    fast.ok("sync", code=3)
    told = fast.ok("problems", "--export", "out.csv", "--values")
    assert told["export"] == "out.csv"
    file = fast.folder / "out.csv"
    assert file.stat().st_mode & 0o777 == 0o600
    with file.open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["key"] for row in rows] == ["'=2+2", "'@x", "plain"]
    assert [row["surname"] for row in rows] == ["Roux", "'+Roux", "Roux"]
    assert set(rows[0]) >= {"key", "state", "reason", "remedy", "since", "line"}
    assert "exists already" in fast.ok("problems", "--export", "out.csv", code=1)["error"]
    (fast.folder / "link.csv").symlink_to(fast.folder / "target.csv")
    fast.ok("problems", "--export", "link.csv", code=1)
    assert not (fast.folder / "target.csv").exists()


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


def test_explain_tells_the_story_in_order(held: Program) -> None:
    story = held.ok("explain", "G1")
    assert (story["state"], story["content"]["surname"]) == ("accepted", "Martin1")
    assert [event["event"] for event in story["events"]] == ["first loaded", "accepted"]
    out = held.run("explain", "G1").out
    assert re.search(r"G1: accepted\n.*first loaded\n.*accepted, HTTP 202, run 1", out, re.DOTALL)
    assert "mail alone" in held.run("explain", "P1").out


def test_an_unknown_key_ends_with_1(held: Program) -> None:
    assert "'nobody'" in held.ok("explain", "nobody", code=1)["error"]


def test_forget_erases_and_says_what_is_left_elsewhere(held: Program) -> None:
    held.ok("problems", "--export", "out.csv")
    ended = held.run("forget", "P1", "G1", "nobody")
    assert ended.code == 0
    assert "P1: erased; it was never sent to Qomon" in ended.out
    assert "G1: erased here. Qomon still holds the contact" in ended.out
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
