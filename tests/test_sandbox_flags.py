"""The flags of a sandbox: in one place, the same for both commands that start one."""

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from syncengine.sandbox import SandboxOptions
from syncengine.sandbox.__main__ import FlagsError, flags, read
from syncengine.sandbox.unknowns import QUESTIONS, Unknowns


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("--host ::1 --port 8080", {"host": "::1", "port": 8080}),
        ("--burst 5 --rate 0.5 --unlimited", {"burst": 5, "rate": 0.5, "unlimited": True}),
        ("--lag 0 --search-lag 3 --latency 0.2", {"lag": 0.0, "search_lag": 3.0, "latency": 0.2}),
        ("--seed -3 --contacts 40", {"seed": -3, "contacts": 40}),
        ("--forms f.json --faults f.toml", {"forms": Path("f.json"), "faults": Path("f.toml")}),
        ("--api-key k --retry-after 3", {"api_key": "k", "retry_after": "3"}),
        ("--spaces 2 --keys 3 --bucket space", {"spaces": 2, "keys": 3, "bucket": "space"}),
        ("--cost upsert=2 --cost upsert=4", {"costs": {"upsert": 4}}),
        ("--staff edit=5,delete=0.05", {"staff": {"edit": 5.0, "delete": 0.05}}),
        ("--staff rename=1,remove=2", {"staff": {"rename_option": 1.0, "remove_option": 2.0}}),
        ("--unknown tags=replace --unknown search_depth=7",
         {"unknowns": Unknowns(tags="replace", search_depth=7)}),
        ("", {}),
    ],
)  # fmt: skip
def test_flags_become_options(given: str, expected: dict[str, Any]) -> None:
    assert read(given.split()) == SandboxOptions(**expected)


def test_every_option_has_a_flag_and_every_flag_an_option() -> None:
    options = {field.name for field in dataclasses.fields(SandboxOptions)}
    assert {action.dest for action in flags("x")._actions} - {"help"} == options


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("--rate 0", "rate is 0.0"),
        ("--rate inf", "rate is inf"),
        ("--rate ten", "--rate: invalid float value"),
        ("--burst 0", "burst is 0"),
        ("--bucket ip", "--bucket: invalid choice"),
        ("--keys 0", "spaces and keys are numbers from 1 on"),
        ("--search-lag -1", "search_lag and latency are seconds"),
        ("--cost upsert", "--cost: 'upsert' has no '='"),
        ("--cost upsert=x", "--cost: 'x' is no whole number"),
        ("--cost upsert=-1", "cost of upsert is -1"),
        ("--cost frob=1", "cost of 'frob': there is no such endpoint, only upsert"),
        ("--cost *=1", "cost of '*': there is no such endpoint"),
        ("--staff edit", "--staff: 'edit' has no '='"),
        ("--staff edit=x", "--staff: 'x' is no number"),
        ("--staff edit=-1", "staff edit is -1.0: it must be 0 to 1000 a second"),
        ("--staff edit=nan", "staff edit is nan"),
        ("--staff sleep=1", "staff cannot 'sleep', only edit, merge"),
        ("--unknown tags", "--unknown: 'tags' has no '='"),
        ("--unknown tags=maybe", "tags is 'maybe': it must be one of add, replace"),
        ("--unknown frob=1", "unknown 'frob': it must be one of reset_header"),
        ("--unknown search_depth=0", "search_depth is '0': it must be a whole number"),
        ("--frob", "unrecognized arguments: --frob"),
        ("--unlim", "unrecognized arguments: --unlim"),
        ("frob", "unrecognized arguments: frob"),
    ],
)
def test_wrong_flags_are_told_in_one_line(given: str, words: str) -> None:
    with pytest.raises(FlagsError) as raised:
        read(given.split())
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_help_names_every_flag_and_every_open_question_with_its_answers() -> None:
    shown = flags("the program").format_help()
    for action in flags("x")._actions:
        assert all(name in shown for name in action.option_strings)
    for name, question in QUESTIONS.items():
        line = next(line for line in shown.splitlines() if line.startswith(f"  {name} = "))
        answers = line.partition(" = ")[2].replace(", or any number", "").split(" | ")
        assert answers[0] == str(getattr(Unknowns(), name))
        assert set(question.choices) <= set(answers)
        assert "".join(question.text.split()) in "".join(shown.split())
    assert max(map(len, shown.splitlines())) <= 100


def program(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", *arguments], capture_output=True, text=True, check=False, timeout=20
    )


def test_both_commands_take_the_same_flags_and_refuse_the_same_with_exit_2() -> None:
    alone, command = program("syncengine.sandbox", "--help"), program("syncengine", "sandbox", "--help")
    assert alone.returncode == command.returncode == 0
    assert alone.stderr == command.stderr == ""
    assert command.stdout.replace("syncengine sandbox", "python -m syncengine.sandbox", 1) == alone.stdout
    assert program("syncengine", "sandbox", "--json", "-h").stdout == command.stdout
    alone, command = program("syncengine.sandbox", "--rate=0"), program("syncengine", "sandbox", "--rate=0")
    assert alone.returncode == command.returncode == 2
    assert alone.stdout == command.stdout == ""
    assert len(alone.stderr.splitlines()) == len(command.stderr.splitlines()) == 1
    assert "rate is 0.0" in alone.stderr
    assert "rate is 0.0" in command.stderr


def test_the_command_takes_what_all_commands_take_and_leaves_the_rest_in_order() -> None:
    ended = program(
        "syncengine", "sandbox", "--json", "--rate", "3", "--debug", "--config", "x.toml", "--port", "-7"
    )
    assert ended.returncode == 2
    assert "port is -7" in orjson.loads(ended.stdout)["error"]
