"""JSON Lines: one object per line, its numbers kept as they are written.

orjson reads integers of more than 64 bits as floats and a float has many spellings; a line
that holds a float is therefore read again by the standard library with all its numbers as text.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from typing import Any, Literal, NoReturn

import orjson

from syncengine.errors import RowRefusedError, SourceError
from syncengine.sources.text import TextFile

LINE_CAP = 1 << 20
"""Characters in one line: bounds the memory that a line without an end can take."""


class JsonLinesSource:
    """The records of a JSON Lines file. `columns` is None: each record has its own names."""

    format: Literal["jsonl"] = "jsonl"
    delimiter: str | None = None
    columns: tuple[str, ...] | None = None

    def __init__(self, text: TextFile) -> None:
        self._text = text
        self.path = str(text.path)
        self.encoding = text.encoding

    def rows(self) -> Iterator[tuple[int, dict[str, object] | RowRefusedError]]:
        """Yield each record, or why it cannot be read, with its line. Raises SourceError."""
        line = records = 0
        with self._text.open(newline="\n") as stream:
            while text := stream.readline(LINE_CAP + 1):
                line += 1
                if len(text) > LINE_CAP:
                    self._refuse(
                        f"this line is longer than {LINE_CAP:,} characters; is a line break missing?", line
                    )
                if line == 1:
                    text = text.removeprefix("\ufeff")
                if text.isspace() or not text:
                    continue
                records += 1
                try:
                    yield line, _record(text)
                except json.JSONDecodeError as error:
                    if records == 1 and text.lstrip().startswith("["):
                        self._refuse("is a JSON array, not JSON Lines; write one object per line", line)
                    if not text.endswith("\n"):
                        self._refuse("is cut off: its last line is no complete record; export it again", line)
                    yield line, RowRefusedError(f"not readable as JSON: {error.msg}")
        if not records:
            raise SourceError("is empty; export it again", path=self.path)

    def _refuse(self, message: str, line: int) -> NoReturn:
        raise SourceError(message, path=self.path, line=line)


def _record(text: str) -> dict[str, object] | RowRefusedError:
    """Read one line. Raises json.JSONDecodeError when it is no JSON at all."""
    try:
        record = orjson.loads(text)
        if _has_float(record):
            record = json.loads(text, parse_int=str, parse_float=str)
    except orjson.JSONDecodeError:
        record = _second_reading(text)
    except RecursionError:
        return RowRefusedError("not readable as JSON: nested too deeply")
    if type(record) is not dict:
        return record if type(record) is RowRefusedError else RowRefusedError("not a JSON object")
    if not text.isascii() and any(not unicodedata.is_normalized("NFC", name) for name in record):
        return {unicodedata.normalize("NFC", name): value for name, value in record.items()}
    return record


def _has_float(record: object) -> bool:
    """Look for a float at any depth, without recursion."""
    open_values: list[Any] = [record]
    while open_values:
        value = open_values.pop()
        kind = type(value)
        if kind is float:
            return True
        if kind is dict:
            open_values.extend(value.values())
        elif kind is list:
            open_values.extend(value)
    return False


def _second_reading(text: str) -> object:
    """Read what orjson refuses: say why, or return it when only a number was too large for it.

    Raises json.JSONDecodeError when it is no JSON at all.
    """
    constants: list[str] = []
    try:
        record: object = json.loads(text, parse_int=str, parse_float=str, parse_constant=constants.append)
        json.dumps(record, ensure_ascii=False).encode()
    except RecursionError:
        return RowRefusedError("not readable as JSON: nested too deeply")
    except UnicodeEncodeError:
        return RowRefusedError("holds half a character (a lone surrogate)")
    if constants:
        return RowRefusedError("holds NaN or Infinity, which are no numbers of JSON")
    return record
