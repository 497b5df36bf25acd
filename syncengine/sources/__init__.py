"""Where contacts come from: rows of the organisation's own list, each with its line number.

::

    CSV, TSV ─┐
              ├─ text (gzip, encoding) ──▶ rows ──▶ mapping
    JSONL ────┘

A source refuses the file as a whole (SourceError) or one row (RowRefusedError in the row's place). It
knows nothing of Qomon and never puts a cell's value into a message.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from syncengine.errors import RowRefusedError
from syncengine.sections import SourceSettings
from syncengine.sources.delimited import DelimitedSource
from syncengine.sources.jsonl import JsonLinesSource
from syncengine.sources.text import TextFile, open_text

__all__ = ["Row", "Source", "open_source"]

Row: TypeAlias = list[str] | dict[str, object] | RowRefusedError
"""The cells of a CSV row, a JSON record, or why the row cannot be read."""

Format: TypeAlias = Literal["csv", "tsv", "jsonl"]

_SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}


class Source(Protocol):
    """A file that can be read. `columns` is None when each record has its own names."""

    @property
    def path(self) -> str: ...  # noqa: D102 - the class tells
    @property
    def format(self) -> Format: ...  # noqa: D102
    @property
    def encoding(self) -> str: ...  # noqa: D102
    @property
    def delimiter(self) -> str | None: ...  # noqa: D102
    @property
    def columns(self) -> tuple[str, ...] | None: ...  # noqa: D102

    def rows(self) -> Iterator[tuple[int, Row]]:
        """Yield each row with the line it starts on, counted from 1. May be called again.

        Raises SourceError when the file turns out to be broken or changes meanwhile.
        """
        ...


def open_source(settings: SourceSettings) -> Source:
    """Open the configured file and find what the settings leave open. Raises SourceError.

    The file is read through once for its encoding, at several hundred megabytes a second.
    """
    text = open_text(settings.path, settings.encoding)
    form = settings.format or _format(text)
    if form == "jsonl":
        return JsonLinesSource(text)
    return DelimitedSource(text, form, key=settings.key, delimiter=settings.delimiter)


def _format(text: TextFile) -> Format:
    """Tell the format by the file's name, else by its first character."""
    name = text.path.with_suffix("") if text.path.suffix.lower() == ".gz" else text.path
    known = _SUFFIXES.get(Path(name).suffix.lower())
    if known:
        return known
    with text.open(newline="") as stream:
        start = stream.read(4096).lstrip("\ufeff \t\r\n")
    return "jsonl" if start.startswith(("{", "[")) else "csv"
