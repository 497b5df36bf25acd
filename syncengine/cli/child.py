"""Child processes of the demonstration: a sandbox, and the program's own commands. None outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from syncengine.cli.call import Interrupted
from syncengine.model import EXIT_SIGINT, EXIT_SIGTERM

END_SECONDS = 15.0
"""Longer than a sync needs to end in order."""


class StepFailedError(Exception):
    """A command of the demonstration did not end as it should. The text says what it said."""


class Sandbox(NamedTuple):
    """Where a sandbox listens, and its key."""

    base_url: str
    api_key: str


def _program(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "syncengine", *arguments]


def _environment(more: dict[str, str]) -> dict[str, str]:
    """Return our environment, without settings of another space; the children find this package by it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SYNCENGINE_")}
    here = str(Path(__file__).parents[2])
    kept["PYTHONPATH"] = os.pathsep.join(part for part in (here, kept.get("PYTHONPATH")) if part)
    return kept | more


@contextmanager
def sandbox(*options: str) -> Iterator[Sandbox]:
    """Run a sandbox of its own process while the block runs.

    In its own session: Ctrl-C reaches the sync first, which still needs answers to end in order.
    """
    with subprocess.Popen(  # noqa: S603 - our own program
        _program("sandbox", *options),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=_environment({}),
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise StepFailedError("the sandbox did not start")
            yield Sandbox(**orjson.loads(line))
        finally:
            process.terminate()
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def command(*arguments: str, folder: Path, environment: dict[str, str]) -> dict[str, Any]:
    """Run a command with `--json` and return its object. Its progress goes to our stderr.

    Raises StepFailedError when its exit code is not 0, Interrupted when a signal ended it.
    """
    with subprocess.Popen(  # noqa: S603 - our own program
        _program(*arguments, "--json"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        cwd=folder,
        env=_environment(environment),
    ) as process:
        try:
            content, _ = process.communicate()
        except BaseException:
            _end(process)
            raise
    code = process.returncode
    if code in {EXIT_SIGINT, EXIT_SIGTERM}:
        raise Interrupted(code)
    try:
        found: dict[str, Any] = orjson.loads(content)
    except ValueError:
        found = {}
    if code != 0:
        said = found.get("error") or found.get("message") or f"see {folder}"
        raise StepFailedError(f"syncengine {arguments[0]} ended with exit code {code}: {said}")
    return found


def _end(process: subprocess.Popen[bytes]) -> None:
    """See to it that a command is gone: in order if it can, else by force."""
    process.send_signal(signal.SIGTERM)
    try:
        process.communicate(timeout=END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
