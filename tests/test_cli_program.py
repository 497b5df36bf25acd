"""Runs the real program against a sandbox of its own process, and the tests of what all commands share."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from syncengine.cli.guessing import guess
from syncengine.cli.init import compose

PROGRAM = [sys.executable, "-m", "syncengine"]
COMMANDS = (
    "demo", "init", "doctor", "probe", "forms", "load", "plan", "adopt", "sync", "verify", "status",
    "problems", "explain", "forget", "sandbox",
)  # fmt: skip
HEADER = "member_id,first_name,last_name,email,zip\n"


@dataclass
class Ended:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.out.endswith("\n")
        assert self.out.count("\n") == 1, self.out
        return json.loads(self.out)


@dataclass
class Program:
    """The program in a folder of its own."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def start(self, *arguments: str, **options: Any) -> "Iterator[subprocess.Popen[str]]":
        """Run the program while the block runs; it does not outlive it."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SYNCENGINE_")}
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen(
            [*PROGRAM, *arguments],
            cwd=self.folder,
            env=kept | self.environment,
            text=True,
            encoding="utf-8",
            **(streams | options),
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def run(self, *arguments: str, stdin: str = "") -> Ended:
        with self.start(*arguments, stdin=subprocess.PIPE) as process:
            out, err = process.communicate(stdin, timeout=60)
        assert "Traceback" not in err
        return Ended(process.returncode, out, err)

    def ok(self, *arguments: str, code: int = 0, stdin: str = "") -> Any:
        ended = self.run(*arguments, "--json", stdin=stdin)
        assert ended.code == code, ended
        return ended.json

    def rows(self, rows: int | str, *, prefix: str = "P") -> None:
        text = rows
        if isinstance(rows, int):
            text = "".join(
                f"{prefix}{n},Ada{n},Martin{n},person{n}@x.example,{n % 99999:05}\n" for n in range(rows)
            )
        (self.folder / "members.csv").write_text(f"{HEADER}{text}", "utf-8")


@contextmanager
def sandbox(*options: str) -> Iterator[dict[str, str]]:
    """Run a sandbox; the environment that leads to it."""
    process = subprocess.Popen([*PROGRAM, "sandbox", *options], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        told = json.loads(process.stdout.readline())
        yield {"SYNCENGINE_DESTINATION_BASE_URL": told["base_url"], "QOMON_API_KEY": told["api_key"]}
    finally:
        process.terminate()
        process.communicate(timeout=10)


@pytest.fixture(name="program")
def _program(tmp_path: Path) -> Program:
    """The program with a configuration and ten people."""
    program = Program(tmp_path)
    program.rows(10)
    file = tmp_path / "members.csv"
    (tmp_path / "syncengine.toml").write_text(compose(guess(file), file.name), "utf-8")
    return program


@pytest.fixture(name="fast")
def _fast(program: Program) -> Iterator[Program]:
    """The program beside a sandbox without limits that shows at once what it took."""
    with sandbox("--unlimited", "--lag", "0", "--search-lag", "0") as environment:
        program.environment.update(environment)
        yield program


def until(condition: Any, seconds: float = 20) -> Any:
    """Wait for a condition of another process."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)
    return found


def test_help_is_quick_and_lists_every_command(tmp_path: Path) -> None:
    program = Program(tmp_path)
    started = time.monotonic()
    ended = program.run("--help")
    assert time.monotonic() - started < 0.5 * 3  # three times the aim: test machines are shared
    assert ended.code == 0
    for name in COMMANDS:
        assert f"\n  {name} " in ended.out
        assert program.run(name, "--help").code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sync", "--frob"], "--frob"),
        (["frob"], "frob"),
        (["sync", "--set", "run.in_flight"], "run.in_flight=8"),
        (["sync", "--set", "run.inflight=8"], "did you mean 'run.in_flight'?"),
        (["sync", "--set", "run.in_flight=0"], "at least 1"),
        (["sync", "--until", "25:00"], "time of day"),
        (["sync", "--max-writes", "-1"], "max-writes"),
        (["load", "--config", "elsewhere.toml"], "there is no such file"),
        (["problems", "--release"], "--release needs the keys"),
        (["problems", "--rematch"], "--rematch needs the keys"),
        (["problems", "--retry", "--export", "x.csv"], "one at a time"),
        (["sync", "--set", "identity.existing=merge"], 'must be "adopt" or "match"'),
        (["sync", "--set", "verify.deadline=0"], "verify.deadline"),
        (["forget"], "KEY"),
        (["sandbox", "--rate", "0"], "rate"),
        (["init", "members.csv"], "exists already"),
        (["sync"], "holds no API key"),
    ],
)
def test_wrong_usage_and_configuration_end_with_2_and_one_line(
    program: Program, arguments: list[str], said: str
) -> None:
    ended = program.run(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert ended.err.startswith("syncengine: ")
    assert ended.err.count("\n") == 1
    told = program.ok(*arguments, code=2)
    assert told["exit"] == 2
    assert said in told["error"]


def test_a_missing_or_foreign_state_file_ends_with_1(program: Program) -> None:
    for arguments in (["status"], ["problems"], ["explain", "P1"], ["forget", "P1"]):
        assert "there is no state store yet" in program.ok(*arguments, code=1)["error"]
    (program.folder / "state.db").write_bytes(b"no database")
    assert "state.db" in program.ok("status", code=1)["error"]
    assert "state.db" in program.ok("load", code=1)["error"]


def test_an_unexpected_error_is_one_line_without_its_text(program: Program, tmp_path: Path) -> None:
    """A module that fails on import stands for any bug; its text could hold a person's value."""
    shadow = tmp_path / "shadow"
    shadow.mkdir()
    (shadow / "aiohttp.py").write_text("raise RuntimeError('CANARY')")
    program.environment["PYTHONPATH"] = str(shadow)
    ended = program.run("sync")
    assert ended.code == 1
    assert "unexpected RuntimeError" in ended.err
    assert "this is a bug" in ended.err
    assert "CANARY" not in ended.err
    with program.start("sync", "--debug") as process:
        _, err = process.communicate()
    assert "CANARY" in err


def test_a_reader_that_goes_away_is_no_error(program: Program) -> None:
    program.ok("load")
    with program.start("status") as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert (process.wait(10), process.stderr.read()) == (0, "")


def test_closed_streams_are_no_error_and_get_no_file_of_ours(program: Program) -> None:
    for closed in ("", "<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        command = f"exec {sys.executable} -m syncengine load {closed}"
        ended = subprocess.run(
            ["/bin/sh", "-c", command], cwd=program.folder, check=False, stdout=subprocess.DEVNULL
        )
        assert ended.returncode == 0, closed
    assert program.ok("status")["contacts"] == {"changed": 10}
    assert json.loads((program.folder / "state.db.lock").read_bytes())["pid"]


def test_a_full_stdout_is_told(program: Program) -> None:
    program.ok("load")
    with Path("/dev/full").open("w") as full, program.start("status", stdout=full) as process:
        assert process.stderr
        assert "stdout cannot be written" in process.stderr.read()
        assert process.wait(10) == 1


def test_files_are_private_whatever_the_umask(program: Program) -> None:
    (program.folder / "syncengine.toml").unlink()
    program.ok("init", "members.csv")
    program.ok("load")
    for name in ("syncengine.toml", "state.db", "state.db.lock"):
        assert (program.folder / name).stat().st_mode & 0o077 == 0, name


def test_control_characters_of_people_do_not_reach_the_terminal(program: Program) -> None:
    program.rows("P1,Ada,\u202eMartin,ada@x.example,01000\n")
    program.ok("load")
    ended = program.run("explain", "P1")
    assert ended.code == 0
    assert "\u202e" not in ended.out
    assert "\\u202eMartin" in ended.out


def test_without_a_command_one_is_asked_for(tmp_path: Path) -> None:
    ended = Program(tmp_path).run()
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == "syncengine: name a command; syncengine --help lists them\n"
