"""Errors to exit codes, in one place; the only `except Exception` of the program.

2 ConfigError and wrong usage, 5 LockHeldError, 130 and 143 for the signals, 1 everything else. An error is
one line on stderr, and with `--json` also the one object on stdout. It never shows a traceback unless
`--debug` asks for one, because a traceback may hold people's values.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType
from typing import TextIO

import click

from syncengine.cli.call import Interrupted
from syncengine.cli.output import open_standard_streams, say, write_json
from syncengine.errors import ConfigError, LockHeldError, SyncError
from syncengine.model import EXIT_FAILED, EXIT_LOCKED, EXIT_SIGINT, EXIT_SIGTERM, EXIT_USAGE

PACKAGE = Path(__file__).parents[1]


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    if os.name == "nt":
        say("Windows is not supported: the state store relies on POSIX file locks. Use Linux, macOS or WSL")
        return EXIT_USAGE
    os.umask(0o077)
    open_standard_streams()
    signal.signal(signal.SIGTERM, _terminate)
    for stream in (sys.stdout, sys.stderr):
        _never_fail_to_encode(stream)
    try:
        return _run(arguments)
    except BaseException as error:  # noqa: BLE001 - nothing gets out as a traceback
        code, message = _explain(error, is_debug="--debug" in arguments)
        if not isinstance(error, SystemExit):
            say(message)
        if "--json" in arguments:
            told = {"outcome": "failed", "reason": error.reason} if isinstance(error, SyncError) else {}
            write_json({"error": message, "exit": code, **told})
        return code


def _run(arguments: list[str]) -> int:
    from syncengine.cli.app import app  # noqa: PLC0415 - an error while importing is reported like any other

    code = app.main(args=arguments, prog_name="syncengine", standalone_mode=False)
    return code if isinstance(code, int) else 0


def _explain(error: BaseException, *, is_debug: bool) -> tuple[int, str]:
    """Return the exit code of an error and its message."""
    match error:
        case click.UsageError():
            code, message = EXIT_USAGE, _usage(error)
        case ConfigError():
            code, message = EXIT_USAGE, str(error)
        case LockHeldError():
            code, message = EXIT_LOCKED, str(error)
        case SyncError():
            code, message = EXIT_FAILED, str(error)
        case click.Abort() | KeyboardInterrupt():
            code, message = EXIT_SIGINT, "interrupted"
        case Interrupted():
            code, message = error.code, str(error)
        case SystemExit(code=int(code)):
            message = "see stderr"  # the sandbox has said why
        case _:
            code, message = EXIT_FAILED, _bug(error, is_debug=is_debug)
    return code, message


def _usage(error: click.UsageError) -> str:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return "name a command; syncengine --help lists them"
    path = error.ctx.command_path if error.ctx else "syncengine"
    return f"{error.format_message().rstrip('.')}; see {path} --help"


def _bug(error: BaseException, *, is_debug: bool) -> str:
    """Name class and place of an unexpected error. Its text is not shown: it may hold a key or a value."""
    if is_debug:
        say("".join(traceback.format_exception(error)))
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_ours(frame.filename)]
    place = f" at {Path(frames[-1].filename).relative_to(PACKAGE)}:{frames[-1].lineno}" if frames else ""
    return (
        f"unexpected {type(error).__name__}{place}: this is a bug in syncengine. What was settled is kept: "
        "the same command goes on where it stopped. To report it, add --debug and remove people's values "
        "from what it prints"
    )


def _is_ours(filename: str) -> bool:
    return Path(filename).is_relative_to(PACKAGE)


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise Interrupted(EXIT_SIGTERM)


def _never_fail_to_encode(stream: TextIO) -> None:
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
