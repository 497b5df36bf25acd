"""Where output goes: results to stdout, all else to stderr; control characters never reach a terminal.

A reader that went away (`| head`) is no error. Nothing written here can hang or end a run.
"""

from __future__ import annotations

import io
import os
import sys
import textwrap
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

PLAIN_WIDTH = 100
"""Columns of a page that is not written to a terminal."""


def open_standard_streams() -> None:
    """Open what is closed of stdin, stdout and stderr to nowhere: no file of ours may get their numbers."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    sys.stdin = sys.stdin or os.fdopen(0, "r", closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def printable(text: str) -> str:
    """Return text that a terminal shows as it is: control and bidirectional characters are spelled out."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def say(message: str) -> None:
    """Write a message to stderr, each line free of control characters."""
    lines = [printable(line) for line in f"syncengine: {message}".rstrip("\n").split("\n")]
    with suppress(OSError):  # nobody is left to be told
        if os.isatty(2):
            width = os.get_terminal_size(2).columns or PLAIN_WIDTH
            lines = [part for line in lines for part in textwrap.wrap(line, width) or [""]]
        os.write(2, "".join(f"{line}\n" for line in lines).encode(errors="backslashreplace"))


def write_json(content: Mapping[str, Any]) -> bool:
    """Write one JSON object, a line of UTF-8, to stdout. Return whether it could be written."""
    import orjson  # noqa: PLC0415 - not needed for --help

    return _write(orjson.dumps(content) + b"\n")


def _write(content: bytes) -> bool:
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_stdout()
    except OSError as error:
        _drop_stdout()
        say(f"stdout cannot be written: {error.strerror}")
        return False
    return True


def _drop_stdout() -> None:
    """Let what is still buffered for stdout go nowhere, so that the interpreter ends in peace."""
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


class Page:
    """Lines for people, gathered and then written to stdout at once."""

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415 - not needed with --json

        self._file = io.StringIO()
        is_terminal = sys.stdout.isatty()
        self.width = min(Console().width, 120) if is_terminal else PLAIN_WIDTH
        self.console: Console = Console(
            file=self._file,
            force_terminal=is_terminal,
            width=self.width,
            markup=False,
            highlight=False,
            emoji=False,
        )

    def line(self, text: str = "", *, indent: int = 0, style: str | None = None) -> None:
        """Add a paragraph, wrapped at words; later lines are indented like the first."""
        for part in textwrap.wrap(printable(text), self.width - indent, break_long_words=False) or [""]:
            self.console.print(" " * indent + part, style=style, soft_wrap=True)

    def fact(self, name: str, value: str, note: str = "", *, width: int = 24, room: int = 10) -> None:
        """Add a line `name  value  note`, aligned with its neighbours; the note is dim and may wrap."""
        text = printable(f"  {name:<{width}}{value}" + (" " * max(2, room - len(value)) if note else ""))
        left = max(20, self.width - len(text))
        for number, part in enumerate(textwrap.wrap(printable(note), left) or [""]):
            self.console.print(text if number == 0 else " " * len(text), end="", soft_wrap=True)
            self.console.print(part, style="dim" if part else None, soft_wrap=True)

    def table(
        self, headers: list[str], rows: list[list[str]], *, right: frozenset[int] = frozenset()
    ) -> None:
        """Add a table; `right`: the columns aligned to the right."""
        widths = [max(len(line[number]) for line in [headers, *rows]) for number in range(len(headers))]
        for count, line in enumerate([headers, *rows]):
            cells = [
                cell.rjust(width) if number in right else cell.ljust(width)
                for number, (cell, width) in enumerate(zip(line, widths, strict=True))
            ]
            text = "  " + "  ".join(printable(cell) for cell in cells).rstrip()
            self.console.print(text, style="dim" if count == 0 else None, soft_wrap=True)

    def write(self) -> bool:
        """Write the page to stdout. Return whether it could be written."""
        encoding = sys.stdout.encoding or "utf-8"
        return _write(self._file.getvalue().encode(encoding, "backslashreplace"))
