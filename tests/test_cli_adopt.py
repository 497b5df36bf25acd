"""`syncengine adopt` as a real process: what it tells, and killed at any moment it goes on."""

import csv
import random
import time

from test_cli_program import Program, _program, sandbox, until  # noqa: F401 - a fixture
from test_cli_verify import ask


def fill(program: Program) -> None:
    """Send everybody as another program would have, and forget it."""
    program.ok("sync", "--no-verify", "--set", "identity.existing=match", code=3)
    for file in program.folder.glob("state.db*"):
        file.unlink()


def test_a_full_space_is_adopted_and_told(program: Program) -> None:
    with sandbox("--unlimited", "--lag", "0", "--search-lag", "0") as environment:
        program.environment.update(environment)
        fill(program)
        id_ = ask(program, "GET", "/_sandbox/contacts")["contacts"][2]["id"]
        ask(program, "POST", "/_sandbox/staff", {"act": "edit", "id": id_, "set": {"surname": "Durand"}})
        refused = program.run("sync")
        assert (refused.code, "syncengine adopt" in refused.out) == (2, True)
        shown = program.run("adopt", "--dry-run")
        assert shown.code == 0
        assert shown.out.startswith("Nothing has taken effect: this is what it would do.\n")
        program.rows(11)
        ended = program.run("adopt", "--export", "found.csv")
        assert ended.code == 3, ended
        assert "in Qomon as in the source: never sent" in ended.out
        with (program.folder / "found.csv").open(encoding="utf-8-sig", newline="") as file:
            found = list(csv.DictReader(file))
        assert [row["found"] for row in found].count("equal") == 9
        assert [row["key"] for row in found if row["found"] == "not in Qomon"] == ["P10"]
        assert [(row["key"], row["qomon_ids"]) for row in found if row["found"] == "ambiguous"] == [
            ("P2", str(id_))
        ]
        assert program.run("adopt", "--export", "found.csv").code == 1
        story = program.run("explain", "P5").out
        assert "adopted" in story


def test_killed_at_any_moment_it_finds_the_same_in_the_end(program: Program) -> None:
    draw = random.Random(7)
    print("seed 7")
    program.rows(2000)
    with sandbox("--unlimited", "--lag", "0", "--search-lag", "0") as environment:
        program.environment.update(environment)
        fill(program)
        for _ in range(4):
            with program.start("adopt") as process:
                until((program.folder / "state.db").exists)
                time.sleep(draw.uniform(0.0, 1.0))
                process.kill()
                process.communicate()
        report = program.ok("adopt")
        assert report["outcome"] == "done"
        assert program.ok("status")["contacts"] == {"confirmed": 2000}
        assert program.ok("sync")["sent"] == 0
