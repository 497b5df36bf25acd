"""The README cannot rot: its commands run, and print what it shows.

`python tests/test_readme.py` writes the output of its console blocks anew. Blocks marked `night` run in a
folder of their own, against a local Qomon that drops contacts and whose staff is at work; those marked `long`
do not run.
"""

import csv
import json
import os
import re
import subprocess
import sys
import threading
import tomllib
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from test_cli_program import sandbox

from syncengine import Settings
from syncengine.cli import people
from syncengine.cli.guessing import guess
from syncengine.cli.init import compose
from syncengine.sections import Section

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(r"^```(\w+)( long| night)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CHANGING = (
    (re.compile(r"\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d)?"), "<time>"),
    (re.compile(r"\d\d:\d\d:\d\d"), "<time>"),
    (re.compile(r"\d+(\.\d+)? (s|min|h)\b( \d+ (s|min))?"), "<duration>"),
    (re.compile(r"<(time|duration)> +"), r"<\1> "),
    (re.compile(r"SQLite \d+\.\d+\.\d+ \(\w+\), journal \w+; Python \S+ on \w+"), "<versions>"),
    (re.compile(r"127\.0\.0\.1:\d+"), "<address>"),
    (re.compile(r"\d+ [GM]B are free"), "<room> are free"),
    (re.compile(r"\d+ tokens are left\s+now"), "<tokens> are left now"),
    (
        re.compile(r"[\d,]+ requests, [\d,]+ tokens, exit"),
        "<requests>, exit",
    ),  # a page of a read-back may differ
)

SANDBOX = ("--lag", "0", "--search-lag", "0")

DEMO = "python3 -m venv .venv && .venv/bin/pip install -q . && .venv/bin/syncengine demo"
SUITE = (
    "python3 -m venv .venv-test && .venv-test/bin/pip install -q -e '.[test]' && "
    ".venv-test/bin/python -m pytest"
)


def blocks(kind: str, mark: str = "") -> list[str]:
    """Return the blocks of a kind, those with this mark or with none."""
    found = BLOCK.findall(README.read_text("utf-8"))
    return [content for name, marked, content in found if name == kind and marked.strip() == mark]


def shape(output: str) -> str:
    for pattern, name in CHANGING:
        output = pattern.sub(name, output)
    return output


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    return put_lists(tmp_path)


def put_lists(folder: Path) -> Path:
    """Put the lists that the README shows where its commands look for them."""
    for name, content in zip(("members.csv", "optins.csv"), blocks("csv"), strict=True):
        (folder / name).write_text(content, "utf-8")
    return folder


@pytest.fixture(name="environment", scope="module")
def _environment() -> Iterator[dict[str, str]]:
    with sandbox(*SANDBOX) as told:
        yield environment(told)


# --- the night of the section In the morning

PEOPLE = 200
DROPPED = (46, 111)
CUT_OFF = (70, 71)
EDITED = 100
FORMS = {
    "forms": [
        {
            "type": "custom_fields",
            "label": "Tier",
            "widget": "radio",
            "options": [{"label": "gold"}, {"label": "silver"}],
        }
    ]
}


def night_list() -> list[list[str]]:
    """Return invented people: three with a wrong option, two alike, one hard to match, one refused."""
    rows = [[*row, "silver" if number % 3 else "gold"] for number, row in enumerate(people.invent(PEOPLE))]
    for number in (56, 120, 150):
        rows[number][-1] = "golden"
    rows[88][1:3], rows[88][5:9] = rows[33][1:3], [""] * 4
    rows[140][3:9] = [""] * 6
    rows[170][5] = "31/02/1975"
    return rows


@contextmanager
def night(folder: Path) -> Iterator[dict[str, str]]:
    """Put the list, its configuration and a local Qomon for a bad night in place."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = night_list()
    with (folder / "members.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([[*people.COLUMNS, "tier"], *rows])
    config = compose(guess(folder / "members.csv"), "members.csv")
    config = config.replace("[fields]\n", '[fields]\n"custom_fields.Tier" = "tier"\n')
    (folder / "syncengine.toml").write_text(config, "utf-8")
    (folder / "forms.json").write_text(json.dumps(FORMS), "utf-8")
    hits = [(number, "drop") for number in DROPPED] + [(number, "reset_after") for number in CUT_OFF]
    faults = [
        f'[[fault]]\nendpoint = "upsert"\ncount = 1\nkind = "{kind}"\n'
        f'where = {{ mail = "{rows[number][3]}" }}\n'
        for number, kind in hits
    ]
    (folder / "faults.toml").write_text("".join(faults), "utf-8")
    options = ("--rate", "100", "--lag", "0.3", "--search-lag", "0.8")
    files = ("--forms", str(folder / "forms.json"), "--faults", str(folder / "faults.toml"))
    with sandbox(*options, *files) as told:
        ended = threading.Event()
        staff = threading.Thread(
            target=edit_when_seen,
            args=(told["SYNCENGINE_DESTINATION_BASE_URL"], rows[EDITED][3], ended),
        )
        staff.start()
        try:
            yield environment(told)
        finally:
            ended.set()
            staff.join()


def edit_when_seen(base_url: str, mail: str, ended: threading.Event) -> None:
    """Give a person another mobile as soon as Qomon holds it: before its read-back, the search is later."""
    while not ended.wait(0.02):
        with urllib.request.urlopen(f"{base_url}/_sandbox/contacts?mail={mail}", timeout=10) as answer:
            found = json.load(answer)["contacts"]
        if found:
            act = {"act": "edit", "id": found[0]["id"], "set": {"mobile": "+33600000000"}}
            urllib.request.urlopen(f"{base_url}/_sandbox/staff", json.dumps(act).encode(), timeout=10).close()
            return


def test_the_night_with_problems_prints_what_the_readme_shows(tmp_path: Path) -> None:
    found = blocks("console", "night")
    assert found
    with night(tmp_path / "members") as env:
        for block in found:
            assert shape(play(block, tmp_path / "members", env)) == shape(block)


# --- the rest


def environment(told: dict[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SYNCENGINE_")}
    path = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", "")])
    return kept | told | {"PATH": path}


def play(block: str, folder: Path, env: dict[str, str]) -> str:
    """Run the commands of a console block and return it with what they print now."""
    played = ""
    for line in block.splitlines():
        if line.startswith("$ "):
            ended = subprocess.run(
                ["/bin/sh", "-c", line[2:]],
                cwd=folder,
                env=env,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                encoding="utf-8",
                check=False,
                timeout=60,
            )
            assert ended.returncode in {0, 3}, ended.stderr
            played += f"{line}\n{ended.stdout}"
    return played


def test_the_console_blocks_print_what_they_show_and_the_python_blocks_run(
    folder: Path, environment: dict[str, str]
) -> None:
    found = blocks("console")
    assert len(found) >= 5
    for block in found:
        assert shape(play(block, folder, environment)) == shape(block)
    first, second = blocks("python")
    assert len([line for line in first.splitlines() if line.strip()]) < 10
    for code, printed in ((first, "done 0 0\n"), (second, "5 contacts\n3 Martin []\n")):
        ended = subprocess.run(
            [sys.executable, "-c", code],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (ended.returncode, ended.stdout) == (0, printed), ended.stderr


def test_the_two_set_up_commands_are_one_line_each() -> None:
    assert blocks("sh") == [f"{DEMO}\n", f"{SUITE}\n"]


def test_the_commands_of_long_blocks_parse(environment: dict[str, str]) -> None:
    commands = [line[2:] for block in blocks("console", "long") for line in block.splitlines()]
    commands = [line for line in commands if line.startswith("syncengine ")]
    assert commands
    for command in commands:
        ended = subprocess.run(["/bin/sh", "-c", f"{command} --help"], env=environment, check=False)
        assert ended.returncode == 0, command


def test_the_flags_in_other_places_exist() -> None:
    text = README.read_text("utf-8")
    shown = re.findall(r"syncengine ((?:sync|verify|load|problems|explain|forget)\b[^\n`|>]*)", text)
    flags = set(re.findall(r"`(--[a-z-]+)`", text)) - {"--help"}
    for command in shown:
        arguments = command.rstrip(" :.").split()
        ended = subprocess.run(
            [sys.executable, "-m", "syncengine", *arguments, "--help"], capture_output=True, check=False
        )
        assert ended.returncode == 0, command
    assert len(shown) > 5
    assert [flag for flag in flags if flag not in help_of("sync")] == []
    named = re.findall(r"`(sync|verify|problems) (--[a-z-]+)", text)
    assert {command for command, _ in named} == {"sync", "verify", "problems"}
    for command in ("sync", "verify", "problems"):
        known = help_of(command)
        assert [flag for of, flag in named if of == command and flag not in known] == []


def help_of(command: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "syncengine", command, "--help"], capture_output=True, text=True, check=True
    ).stdout


def test_the_configuration_shown_is_read_and_lists_every_setting() -> None:
    [shown] = blocks("toml")
    table = tomllib.loads(shown)
    settings = Settings.from_mapping(table, environ={})
    assert settings.source
    for section, model in type(settings).model_fields.items():
        if section == "fields":
            continue
        default: Section = settings.source if section == "source" else model.default
        for key in type(default).model_fields:
            if key == "api_key_file":
                continue  # excludes api_key_env
            assert key in table[section], f"[{section}] {key} is not shown"
            if section not in {"source", "state"}:
                assert table[section][key] == getattr(default, key), f"[{section}] {key}"


def test_every_dependency_is_explained() -> None:
    project = (README.parent / "pyproject.toml").read_text()
    listed = re.search(r"^dependencies = \[(.*?)^\]", project, re.MULTILINE | re.DOTALL)
    assert listed
    for name in re.findall(r'^ +"([a-z0-9-]+)', listed[1], re.MULTILINE):
        assert f"\n| {name} | " in README.read_text("utf-8"), name


def write(folder: Path) -> None:
    """Put what the commands print now into the README."""
    put_lists(folder)
    with sandbox(*SANDBOX) as told, night(folder / "night" / "members") as env:
        places = {"": (folder, environment(told)), " night": (folder / "night" / "members", env)}

        def again(match: re.Match[str]) -> str:
            if match[1] != "console" or match[2] == " long":
                return match[0]
            played = play(match[3], *places[match[2] or ""])
            return f"```console{match[2] or ''}\n{played}```"

        README.write_text(BLOCK.sub(again, README.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as made:
        write(Path(made))
