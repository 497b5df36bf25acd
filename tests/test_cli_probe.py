"""`syncengine probe` as a real process: it asks first, cleans up, and stores what it found."""

from __future__ import annotations

import os
import pty
import signal
import sqlite3
from contextlib import closing

from test_cli_program import Program, _program, sandbox, until  # noqa: F401 - a fixture
from test_cli_verify import ask

FAST = ("--unlimited", "--lag", "0.05", "--search-lag", "0.05")


def people_in(program: Program) -> list[int]:
    return [one["id"] for one in ask(program, "GET", "/_sandbox/contacts?limit=1000")["contacts"]]


def test_without_a_terminal_it_needs_to_be_told_yes(program: Program) -> None:
    with sandbox(*FAST) as environment:
        program.environment.update(environment)
        refused = program.run("probe")
        assert (refused.code, "say --yes" in refused.err) == (2, True)
        assert ask(program, "GET", "/_sandbox/stats")["requests"] == {}


def test_on_a_terminal_it_asks_and_no_means_no(program: Program) -> None:
    with sandbox(*FAST) as environment:
        program.environment.update(environment)
        ours, theirs = pty.openpty()
        with program.start("probe", stdin=theirs) as process:
            os.write(ours, b"n\n")
            _, told = process.communicate(timeout=30)
        assert "throw-away contacts into the space at http://127.0.0.1" in told
        assert (process.returncode, "nothing was written" in told) == (1, True)
        assert people_in(program) == []


def test_a_space_that_is_full_is_left_alone_unless_it_is_said_to_be_a_test_space(program: Program) -> None:
    with sandbox(*FAST, "--contacts", "301") as environment:
        program.environment.update(environment)
        refused = program.run("probe", "--yes")
        assert (refused.code, "--in-a-full-space" in refused.err) == (2, True)
        before = people_in(program)
        told = program.ok("probe", "--yes", "--in-a-full-space")
        assert list(told) == ["questions", "left_behind", "message", "requests", "tokens", "seconds", "exit"]
        assert list(told["questions"][0]) == ["question", "text", "answer", "how"]
        assert (told["left_behind"], told["exit"]) == ([], 0)
        assert people_in(program) == before


def test_what_it_found_is_told_and_stored_and_nobody_is_left(program: Program) -> None:
    with sandbox(*FAST, "--unknown", "unlisted=store") as environment:
        program.environment.update(environment)
        page = program.run("probe", "--yes")
        assert page.code == 0, page
        assert "Is gender kept?\n  kept: a read showed the value that was sent\n" in page.out
        assert "All throw-away contacts were deleted.\n" in page.out
        assert people_in(program) == []
        with closing(sqlite3.connect(program.folder / "state.db")) as store:
            stored = dict(store.execute("SELECT question, answer FROM probes"))
        assert (stored["gender"], stored["tags"], len(stored)) == ("kept", "add", 27)


def test_interrupted_it_deletes_its_contacts_and_keeps_what_it_knows(program: Program) -> None:
    with sandbox("--unlimited", "--lag", "0.4", "--search-lag", "0.1") as environment:
        program.environment.update(environment)
        for order, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            with program.start("probe", "--yes", "--json") as process:
                until(lambda: len(people_in(program)) > 9)
                process.send_signal(order)
                out, _ = process.communicate(timeout=30)
            assert process.returncode == code
            assert '"left_behind":[],"message":"interrupted"' in out
            assert people_in(program) == []
