"""The demonstration, end to end."""

import os
import re
import signal
import stat
import subprocess
from pathlib import Path

from test_cli_program import Program, until

from syncengine.cli import people
from syncengine.cli.proof import Proof


def test_the_demo_proves_itself_and_keeps_what_it_made(tmp_path: Path) -> None:
    program = Program(tmp_path)
    found = program.ok("demo", "--contacts", "300", "--keep", "kept")
    assert found["proven"] is True
    assert [one["sent"] for one in found["syncs"]] == [300, 40, 0]
    assert [one["confirmed"] for one in found["syncs"]] == [300, 40, 0]
    assert [(one["outcome"], one["exit"]) for one in found["syncs"]] == [("done", 0)] * 3
    assert [one["equal"] for one in found["proofs"]] == [300, 303, 303]
    assert found["seconds_at_qomon"] == 20
    assert stat.S_IMODE((tmp_path / "kept").stat().st_mode) == 0o700
    kept = Program(tmp_path / "kept")
    assert kept.ok("status")["contacts"] == {"confirmed": 303}
    assert "exists already" in program.ok("demo", "--keep", "kept", code=2)["error"]


def test_the_demo_tells_each_step_with_its_command(tmp_path: Path) -> None:
    ended = Program(tmp_path).run("demo", "--contacts", "100")
    assert ended.code == 0
    for shown in ("syncengine init members.csv", "syncengine load", "syncengine plan", "syncengine sync"):
        assert f"\n$ {shown}\n" in ended.out
    assert "Proof: 100 of 100 contacts in the local Qomon equal the file" in ended.out
    assert re.search(r"\n  confirmed +100 +seen in Qomon as sent\n", ended.out)
    assert "Sent 40, all 40 seen in Qomon as sent, unchanged 63" in ended.out
    assert re.search(r"\n  first sync +100 sent +100 confirmed, 0 repeats", ended.out)
    assert re.search(r"At Qomon's 10 a second the same takes", ended.out)
    assert "The local Qomon held exactly what the file says, each time." in ended.out
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_demo_leaves_no_process_and_no_file(tmp_path: Path) -> None:
    program = Program(tmp_path, {"TMPDIR": str(tmp_path)})
    with program.start("demo", "--contacts", "20000") as process:
        until(lambda: list(tmp_path.glob("syncengine-demo-*/state.db")))
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == 143
    assert list(tmp_path.iterdir()) == []
    assert not _processes_with(f"TMPDIR={tmp_path}")


def test_a_proof_needs_every_contact_equal_and_nobody_else() -> None:
    assert Proof(expected=2, held=2, equal=2).holds
    assert not Proof(expected=2, held=3, equal=2).holds
    assert not Proof(expected=2, held=2, equal=1).holds


def test_invented_people_are_the_same_for_the_same_seed_and_all_distinct() -> None:
    rows = people.invent(2000)
    assert rows == people.invent(3000)[:2000]
    assert len({(row[1], row[2], row[5]) for row in rows}) == len({row[3] for row in rows}) == 2000
    assert any(row[7].startswith("0") for row in rows)
    before = [list(row) for row in rows]
    people.edit(rows, 37, 3)
    assert len(rows) == 2003
    assert sum(old != new for old, new in zip(before, rows, strict=False)) == 37


def _processes_with(variable: str) -> list[str]:
    """Return the processes whose environment holds `NAME=value`."""
    if not Path("/proc").exists():
        listed = subprocess.run(["ps", "eww", "-ax"], capture_output=True, text=True, check=True)
        return [line for line in listed.stdout.splitlines() if variable in line and "ps eww" not in line]
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            try:
                environment = (process / "environ").read_bytes()
            except OSError:
                continue
            if variable.encode() in environment.split(b"\0"):
                found.append(process.name)
    return found
