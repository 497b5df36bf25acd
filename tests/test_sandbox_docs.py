"""The sandbox's documentation cannot rot: its commands run, and its tables equal the code.

`python tests/test_sandbox_docs.py` writes the output of its console blocks anew.
"""

import ast
import dataclasses
import json
import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from test_cli_program import sandbox
from test_readme import BLOCK, environment, play

from syncengine.sandbox import SandboxOptions
from syncengine.sandbox.__main__ import SHORT, flags, read
from syncengine.sandbox.control import PREFIX, Control
from syncengine.sandbox.faults import ENDPOINTS, PARAMETERS, Faults
from syncengine.sandbox.forms import Forms
from syncengine.sandbox.openapi import document
from syncengine.sandbox.options import ACTS
from syncengine.sandbox.orders import MEMBERS
from syncengine.sandbox.spaces import Spaces
from syncengine.sandbox.unknowns import QUESTIONS, Unknowns

TESTS = Path(__file__).parent
DOCS = TESTS.parent / "syncengine" / "sandbox" / "README.md"
CHANGING = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"), "<time>"),
    (re.compile(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT"), "<date>"),
    (re.compile(r"\b\d{10}\.\d+"), "<moment>"),
    (re.compile(r'(?<="seconds": )\d+\.\d+'), "<seconds>"),
    (re.compile(r"(?<=X-Ratelimit-Remaining: )\d+|(?<=X-Ratelimit-ResetTime: )\d+"), "<number>"),
)
MARKS = {"D", "O", "C", "I"}


def text() -> str:
    return DOCS.read_text("utf-8")


def blocks(kind: str, *, long: bool = False) -> list[str]:
    return [content for name, mark, content in BLOCK.findall(text()) if name == kind and bool(mark) == long]


def shape(output: str) -> str:
    for pattern, name in CHANGING:
        output = pattern.sub(name, output)
    return output


def tables(heading: str) -> list[list[str]]:
    """Return the rows of all tables under a heading, without their first ones."""
    level = heading.index(" ")
    section = text().partition(f"\n{heading}\n")[2]
    section = re.split(rf"^#{{1,{level}}} ", section, maxsplit=1, flags=re.MULTILINE)[0]
    section = re.sub(r"^```.*?^```$", "", section, flags=re.DOTALL | re.MULTILINE)
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| ")]
    assert len(rows) > 1, heading
    cells = [[cell.strip() for cell in row] for row in rows]
    return [row for row in cells if row != cells[0]]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@contextmanager
def started() -> Iterator[dict[str, str]]:
    """Run the sandbox as the documentation starts it, on any port; the environment of its commands."""
    command = shlex.split(blocks("console", long=True)[0].splitlines()[0])[3:]
    with sandbox(*command, "--port", "0") as told:
        exported = dict(re.findall(r'^export (\w+)="?([^"\n]*)"?$', blocks("sh")[0], re.MULTILINE))
        assert exported["AUTH"] == f"Authorization: Bearer {told['QOMON_API_KEY']}"
        yield environment(exported | {"URL": told["SYNCENGINE_DESTINATION_BASE_URL"]})


def test_the_commands_print_what_they_show(tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("not run: needs curl")
    found = blocks("console")
    with started() as env:
        for block in found:
            assert shape(play(block, tmp_path, env)) == shape(block)


def test_every_endpoint_has_a_command() -> None:
    shown = "".join(blocks("console"))
    for path, methods in document(SandboxOptions())["paths"].items():
        place = re.escape(f"$URL{path}").replace(r"\{id\}", r"\d+").replace(r"\{type\}", r"\w+")
        for method in methods:
            told = f"-X {method.upper()} " if method in ("patch", "delete") else ""
            assert re.search(rf"^\$ curl .*{told}.*{place}\b", shown, re.MULTILINE), (method, path)


def test_the_commands_of_long_blocks_are_flags_that_there_are() -> None:
    for block in blocks("console", long=True):
        command = shlex.split(block.splitlines()[0])
        assert command[:3] == ["$", "syncengine", "sandbox"]
        read(command[3:])


def test_every_flag_is_listed_with_its_default() -> None:
    listed = {quoted(row[0])[0]: row[1] for row in tables("## Options") if row[0].startswith("`--")}
    actions = {action.option_strings[-1]: action for action in flags("x")._actions if action.dest != "help"}
    assert listed.keys() == actions.keys()
    for flag, default in listed.items():
        if isinstance(actions[flag].default, int | float) and not isinstance(actions[flag].default, bool):
            assert default == str(actions[flag].default), flag
    assert listed["--host"] == SandboxOptions().host
    assert listed["--bucket"] == SandboxOptions().bucket
    (cost,) = [row[2] for row in tables("## Options") if row[0] == "`--cost`"]
    assert {*quoted(cost)[1:], "*"} == set(ENDPOINTS)


def test_every_open_question_is_listed_with_its_answers() -> None:
    listed = {quoted(row[0])[0]: row for row in tables("## What nobody knows")}
    assert listed.keys() == QUESTIONS.keys() == {field.name for field in dataclasses.fields(Unknowns)}
    for name, (_, question, answers) in listed.items():
        assert question == QUESTIONS[name].text
        first, *others = quoted(answers)
        assert first == str(getattr(Unknowns(), name))
        assert {first, *others} == {*QUESTIONS[name].choices, first}


def test_every_fault_is_listed_with_its_parameters() -> None:
    listed = {quoted(row[0])[0]: row[2] for row in tables("### Faults")}
    assert listed.keys() == PARAMETERS.keys()
    for kind, parameters in PARAMETERS.items():
        told: dict[str, Any] = {}
        for cell in quoted(listed[kind]):
            name, _, default = cell.partition(" = ")
            told[name] = tomllib.loads(f"default = {default}")["default"] if default else None
        needed = {name for name, default in told.items() if default is None}
        assert told.keys() == parameters.keys(), kind
        for name, default in parameters.items():
            assert (name in needed) or told[name] == default, (kind, name)
            assert (name in needed) == (not isinstance(default, str | int | float)), (kind, name)


def test_the_files_shown_are_read(tmp_path: Path) -> None:
    faults, forms = tmp_path / "faults.toml", tmp_path / "forms.json"
    faults.write_text(blocks("toml")[0])
    assert Faults(faults, 0).draw("upsert", {"surname": "Doe"}) is None  # not before the hundredth
    named = re.findall(r"or ([a-z, ]+);", blocks("toml")[0])[0].split(", ")
    assert {"upsert", *named, "*"} == set(ENDPOINTS)
    forms.write_text(blocks("json")[0])
    assert [form.label for form in Forms.read(forms)] == [
        form["label"] for form in json.loads(blocks("json")[0])["forms"]
    ]


def test_every_act_of_staff_is_listed_with_what_may_be_said() -> None:
    listed = {quoted(row[0])[0]: row for row in tables("### Staff")}
    assert list(listed) == list(ACTS)
    for act, (_, does, said) in listed.items():
        assert tuple(quoted(said)) == MEMBERS[act]
        assert [SHORT[name] for name in quoted(does)] == ([act] if act in SHORT.values() else [])


def test_every_route_of_its_own_is_listed() -> None:
    spaces = Spaces(SandboxOptions(), lambda: None)
    routes = Control(spaces).routes
    spaces.close()
    listed = [tuple(quoted(row[0])[0].split()) for row in tables("## Looking inside")]
    assert set(listed) == {
        (method, f"{PREFIX}{name}") for name, methods in routes.items() for method in methods
    }
    assert len(listed) == len(set(listed))


# The table of hazards


def functions() -> set[str]:
    """Return all tests there are, as `file::name`."""
    return {
        f"tests/{path.name}::{node.name}"
        for path in TESTS.glob("test_*.py")
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_every_hazard_names_a_test_that_there_is() -> None:
    rows = tables("## Hazards")
    assert len(rows) > 60
    known = functions()
    for row in rows:
        assert len(row) == 6, row
        (test,) = quoted(row[5])
        assert test in known, test
        assert test.partition("::")[2].startswith("test_")


def test_every_hazard_says_on_whose_word_and_by_which_options() -> None:
    known = {action.option_strings[-1] for action in flags("x")._actions}
    asked = set()
    for _, _, source, marks, options, _ in tables("## Hazards"):
        assert source
        assert marks.split()
        assert set(marks.split()) <= MARKS
        for name in quoted(options):
            flag, _, question = name.removeprefix("--").partition(" ")
            if f"--{flag}" in known:
                name = question  # noqa: PLW2901 - what follows the flag
            if name:
                assert name in QUESTIONS, name
                asked.add(name)
        if source == "nobody knows":
            assert marks == "I"
    assert asked == QUESTIONS.keys()


def write(folder: Path) -> None:
    """Put what the commands print now into the documentation."""
    with started() as env:

        def again(match: re.Match[str]) -> str:
            if match[1] != "console" or match[2]:
                return match[0]
            return f"```console\n{play(match[3], folder, env)}```"

        DOCS.write_text(BLOCK.sub(again, text()), "utf-8")


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as made:
        write(Path(made))
