"""CSV and TSV: rows as lists of cells, strictly read.

Python's reader swallows the rest of a file after an unclosed quote and keeps the last of two equal header
names; both are refused here. Header names are trimmed and composed (NFC), cells are left as they are.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Iterator
from typing import Literal, TextIO

from syncengine.complaints import nearest
from syncengine.errors import SourceError
from syncengine.sources.text import TextFile

CELL_CAP = 1 << 20
"""Characters in one cell. A longer one is nearly always a quote that was never closed."""

ROW_CAP = 4 << 20
"""Characters in one row, line breaks included: bounds the memory that a line without an end can take."""

DELIMITERS = (",", ";", "\t", "|")

csv.field_size_limit(CELL_CAP)  # process-wide; nobody else reads CSV here


class DelimitedSource:
    """The rows of a CSV or TSV file."""

    def __init__(
        self, text: TextFile, form: Literal["csv", "tsv"], *, key: str, delimiter: str | None
    ) -> None:
        """Read the header. `delimiter` None: find it. Raises SourceError."""
        self._text = text
        self.path = str(text.path)
        self.format = form
        self.encoding = text.encoding
        key = unicodedata.normalize("NFC", key.strip())
        if delimiter is None:
            delimiter = "\t" if form == "tsv" else _detect(text, key)
        self.delimiter = delimiter
        line, names = _header(text, delimiter)
        self.columns: tuple[str, ...] = tuple(names)
        _check_header(self.path, line, names, key)

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield each row with the line it starts on, the header's being 1. Raises SourceError."""
        with self._text.open(newline="") as stream:
            tail = [""]
            rows = _parse(stream, self.path, self.delimiter, tail)
            next(rows, None)
            line, row, end = 0, list[str](), ""
            for line, row in rows:
                end = tail[0]
                yield line, row
            if line and len(row) < len(self.columns) and not end.endswith(("\n", "\r")):
                raise SourceError(
                    "is cut off: its last row has too few cells and no line end; export it again",
                    path=self.path,
                    line=line,
                )


def _parse(stream: TextIO, path: str, delimiter: str, tail: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not blank, each with the line it starts on; `tail[0]` is the line last read."""
    line = 1
    length = 0

    def lines() -> Iterator[str]:
        nonlocal length
        while text := stream.readline(ROW_CAP):
            tail[0] = text
            length += len(text)
            if length >= ROW_CAP:
                raise SourceError(
                    f"this row is longer than {ROW_CAP:,} characters; is a line break or a quote missing?",
                    path=path,
                    line=line,
                )
            # The mark would hide the quote of a quoted first name from the reader.
            yield text if line > 1 else text.removeprefix("\ufeff")

    reader = csv.reader(lines(), delimiter=delimiter, strict=True)
    try:
        for row in reader:
            if len(row) > 1 or (row and row[0].strip()):
                yield line, row
            line = reader.line_num + 1
            length = 0
    except csv.Error as error:
        raise SourceError(_remedy(str(error)), path=path, line=line) from None


def _remedy(fault: str) -> str:
    """Say what the reader's error means and what to do."""
    if "field limit" in fault:
        return (
            f"a cell is longer than {CELL_CAP:,} characters; "
            "a quote opened in this row is probably never closed: close it, or double it"
        )
    if "end of data" in fault:
        return "a quote opened in this row is never closed; close it, or double it"
    return 'text follows a closing quote in this row; write quotes inside a cell twice ("")'


def _header(text: TextFile, delimiter: str) -> tuple[int, list[str]]:
    with text.open(newline="") as stream:
        for line, row in _parse(stream, str(text.path), delimiter, [""]):
            return line, [unicodedata.normalize("NFC", name.strip()) for name in row]
    raise SourceError("has no header: every line is blank", path=str(text.path))


def _detect(text: TextFile, key: str) -> str:
    """Return the delimiter under which the header holds the key, else the one that finds most columns."""
    found: list[tuple[bool, int, str]] = []
    fault: SourceError | None = None
    for delimiter in DELIMITERS:
        try:
            _, names = _header(text, delimiter)
        except SourceError as error:
            fault = fault or error
        else:
            found.append((key in names, len(names), delimiter))
    if not found:
        assert fault is not None
        raise fault
    return max(found, key=lambda candidate: candidate[:2])[2]


def _spelt_otherwise(key: str, names: list[str]) -> str:
    """Name the key's column when only its spelling differs: another name may be a person's value."""
    plain = re.sub(r"[\W_]", "", key.lower())
    same = [name for name in names if re.sub(r"[\W_]", "", name.lower()) == plain]
    return nearest(key, same) if same else ""


def _check_header(path: str, line: int, names: list[str], key: str) -> None:
    """Raise SourceError unless the key is there and every name is given once.

    The key comes first: a file without a header has people's values here, and they are not to be printed.
    """
    if any("\0" in name for name in names):
        raise SourceError(
            'holds NUL bytes; it is probably UTF-16: set [source] encoding = "utf-16-le"',
            path=path,
            line=line,
        )
    if key not in names:
        raise SourceError(
            f"the header has no column {key!r}{_spelt_otherwise(key, names)}; "
            "set [source] key to the column that identifies a person, or add the header line",
            path=path,
            line=line,
        )
    first: dict[str, int] = {}
    for number, name in enumerate(names, 1):
        if not name:
            raise SourceError(
                f"column {number} has no name in the header; name it or remove it", path=path, line=line
            )
        if first.setdefault(name, number) != number:
            raise SourceError(
                f"the header names {name!r} twice (columns {first[name]} and {number}); rename one",
                path=path,
                line=line,
            )
