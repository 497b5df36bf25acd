"""The README cannot rot: its commands run, and print what it shows.

`python tests/test_readme.py` writes the output of its console blocks anew.
"""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_cli_program import sandbox

from syncengine import Settings
from syncengine.sections import Section

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(r"^```(\w+)( long)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CHANGING = (
    (re.compile(r"\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d)?"), "<time>"),
    (re.compile(r"\d\d:\d\d:\d\d"), "<time>"),
    (re.compile(r"\d+(\.\d+)? (s|min|h)\b( \d+ (s|min))?"), "<duration>"),
    (re.compile(r"<(time|duration)> +"), r"<\1> "),
    (re.compile(r"SQLite \d+\.\d+\.\d+ \(\w+\), journal \w+; Python \S+ on \w+"), "<versions>"),
    (re.compile(r"127\.0\.0\.1:\d+"), "<address>"),
    (re.compile(r"\d+ [GM]B are free"), "<room> are free"),
    (re.compile(r"\d+ tokens are left\s+now"), "<tokens> are left now"),
)

SANDBOX = ("--lag", "0", "--search-lag", "0")

DEMO = "python3 -m venv .venv && .venv/bin/pip install -q . && .venv/bin/syncengine demo"
SUITE = (
    "python3 -m venv .venv-test && .venv-test/bin/pip install -q -e '.[test]' && "
    ".venv-test/bin/python -m pytest"
)


def blocks(kind: str, *, long: bool = False) -> list[str]:
    """Return the blocks of a kind; those marked long are apart."""
    found = BLOCK.findall(README.read_text("utf-8"))
    return [content for name, mark, content in found if name == kind and bool(mark) == long]


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
    commands = [line[2:] for block in blocks("console", long=True) for line in block.splitlines()]
    commands = [line for line in commands if line.startswith("syncengine ")]
    assert commands
    for command in commands:
        ended = subprocess.run(["/bin/sh", "-c", f"{command} --help"], env=environment, check=False)
        assert ended.returncode == 0, command


def test_the_flags_in_other_places_exist() -> None:
    text = README.read_text("utf-8")
    shown = re.findall(r"syncengine ((?:sync|load|problems|explain|forget)\b[^\n`|>]*)", text)
    flags = set(re.findall(r"`(--[a-z-]+)`", text)) - {"--help"}
    for command in shown:
        arguments = command.rstrip(" :.").split()
        ended = subprocess.run(
            [sys.executable, "-m", "syncengine", *arguments, "--help"], capture_output=True, check=False
        )
        assert ended.returncode == 0, command
    assert len(shown) > 5
    known = subprocess.run(
        [sys.executable, "-m", "syncengine", "sync", "--help"], capture_output=True, text=True, check=True
    )
    assert [flag for flag in flags if flag not in known.stdout] == []


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
    with sandbox(*SANDBOX) as told:
        env = environment(told)

        def again(match: re.Match[str]) -> str:
            if match[1] != "console" or match[2]:
                return match[0]
            return f"```console\n{play(match[3], folder, env)}```"

        README.write_text(BLOCK.sub(again, README.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as made:
        write(Path(made))
