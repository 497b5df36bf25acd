"""Opens a source file as text, or refuses it: missing, changing, truncated, or in a broken encoding.

The whole file is read once in blocks before any row is, so that what makes it unusable is known before a
row is stored. It is never held in memory.
"""

from __future__ import annotations

import codecs
import gzip
import io
import os
import re
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TextIO, cast

from syncengine.errors import SourceError

BLOCK = 1 << 20

_GZIP = b"\x1f\x8b"
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SPREADSHEETS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")

_MULTIBYTE = re.compile(
    rb"[\xc2-\xdf][\x80-\xbf]"
    rb"|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xed[\x80-\x9f][\x80-\xbf]"
    rb"|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2}"
)
"""One well-formed UTF-8 sequence of more than one byte (Unicode 15, table 3-7)."""

_NOT_CP1252 = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file that was read through once: its encoding is known to fit every byte of it."""

    path: Path
    encoding: str
    is_gzip: bool
    stamp: tuple[int, ...]

    @contextmanager
    def open(self, newline: str) -> Iterator[TextIO]:
        """Open it for reading. Raises SourceError when it is no longer, or stops being, the same file."""
        with (
            _translated(self.path),
            _bytes(self.path, is_gzip=self.is_gzip) as (raw, stream),
            io.TextIOWrapper(stream, self.encoding, newline=newline) as text,
        ):
            self._compare(raw)
            yield text
            self._compare(raw)

    def _compare(self, raw: IO[bytes]) -> None:
        if _stamp(os.fstat(raw.fileno())) != self.stamp:
            raise SourceError(
                "changed while it was being read; let the program that writes it finish, then load again",
                path=str(self.path),
            )


def open_text(path: Path, encoding: str | None = None) -> TextFile:
    """Read the file through once and find its encoding, unless it is given. Raises SourceError."""
    with _translated(path):
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise SourceError("is a directory; [source] path must name a file", path=str(path))
        if not stat.S_ISREG(found.st_mode):
            raise SourceError("is no regular file; write its content into a file first", path=str(path))
        if found.st_size == 0:
            raise SourceError("is empty; export it again", path=str(path))
        with path.open("rb") as raw:
            is_gzip = raw.read(len(_GZIP)) == _GZIP
        if path.suffix.lower() == ".gz" and not is_gzip:
            raise SourceError("is named .gz but holds no gzip data; rename it or compress it", path=str(path))
        return TextFile(path, _examine(path, encoding, is_gzip=is_gzip), is_gzip, _stamp(found))


def _stamp(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


@contextmanager
def _bytes(path: Path, *, is_gzip: bool) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Open the file, and its unpacked content when it is compressed."""
    with path.open("rb") as raw:
        if not is_gzip:
            yield raw, raw
            return
        with gzip.GzipFile(fileobj=raw) as unpacked:
            yield raw, cast("IO[bytes]", unpacked)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn what reading can raise into SourceError."""
    try:
        yield
    except FileNotFoundError:
        raise SourceError("there is no such file; check [source] path", path=str(path)) from None
    except PermissionError:
        raise SourceError(
            "may not be read: permission denied; give this user the right to read it", path=str(path)
        ) from None
    except EOFError:
        raise SourceError("is cut off: its gzip data has no end; copy it again", path=str(path)) from None
    except (gzip.BadGzipFile, zlib.error):
        raise SourceError("holds damaged gzip data; copy it again", path=str(path)) from None
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror or error}", path=str(path)) from None
    except UnicodeError:
        raise SourceError(
            "changed its encoding while it was being read; load again", path=str(path)
        ) from None


def _blocks(path: Path, *, is_gzip: bool) -> Iterator[bytes]:
    with _bytes(path, is_gzip=is_gzip) as (_, stream):
        while block := stream.read(BLOCK):
            yield block


def _examine(path: Path, encoding: str | None, *, is_gzip: bool) -> str:
    """Return the encoding that fits the whole file."""
    start = next(_blocks(path, is_gzip=is_gzip), b"")
    if not start:
        raise SourceError("is empty; export it again", path=str(path))
    if start.startswith(_SPREADSHEETS):
        raise SourceError("is a spreadsheet or a ZIP file, not text; save the sheet as CSV", path=str(path))
    if encoding is not None:
        _require(path, encoding, is_gzip=is_gzip)
        return encoding
    for mark, name in _BYTE_ORDER_MARKS:
        if start.startswith(mark):
            raise SourceError(
                f'is {name.upper()} text; set [source] encoding = "{name}", or save it as UTF-8',
                path=str(path),
            )
    offset = _first_unreadable(path, "utf-8", is_gzip=is_gzip)
    if offset is None:
        return "utf-8"
    if _search(path, _MULTIBYTE, is_gzip=is_gzip) is not None:
        raise SourceError(
            "mixed encodings: UTF-8 elsewhere, but not here; repair this line, or set [source] encoding",
            path=str(path),
            line=_line_of(path, "utf-8", offset, is_gzip=is_gzip),
        )
    foreign = _search(path, _NOT_CP1252, is_gzip=is_gzip)
    if foreign is not None:
        raise SourceError(
            "is neither UTF-8 nor cp1252 text; set [source] encoding to the one it was saved in",
            path=str(path),
            line=_line_of(path, "cp1252", foreign, is_gzip=is_gzip),
        )
    return "cp1252"


def _require(path: Path, encoding: str, *, is_gzip: bool) -> None:
    """Raise SourceError unless the configured encoding fits every byte."""
    try:
        offset = _first_unreadable(path, encoding, is_gzip=is_gzip)
    except UnicodeError:
        raise SourceError(
            f'has no byte order mark; set [source] encoding = "{encoding}-le" or "{encoding}-be"',
            path=str(path),
        ) from None
    if offset is not None:
        raise SourceError(
            f"is not {encoding} text here; set [source] encoding to the one it was saved in, "
            "or leave it out to have it detected",
            path=str(path),
            line=_line_of(path, encoding, offset, is_gzip=is_gzip),
        )


def _first_unreadable(path: Path, encoding: str, *, is_gzip: bool) -> int | None:
    """Return the offset of the first byte the encoding cannot read."""
    decoder = codecs.getincrementaldecoder(encoding)()
    passed = 0
    try:
        for block in _blocks(path, is_gzip=is_gzip):
            passed += len(block)
            decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        if "BOM" in error.reason:  # Python 3.13; before, it was a plain UnicodeError
            raise UnicodeError(error.reason) from None
        return passed - len(error.object) + error.start
    return None


def _search(path: Path, pattern: re.Pattern[bytes], *, is_gzip: bool) -> int | None:
    """Return the offset of the first match, also of one across two blocks (up to 4 bytes long)."""
    passed, tail = 0, b""
    for block in _blocks(path, is_gzip=is_gzip):
        match = pattern.search(tail + block)
        if match:
            return passed - len(tail) + match.start()
        passed += len(block)
        tail = block[-3:]
    return None


def _line_of(path: Path, encoding: str, offset: int, *, is_gzip: bool) -> int:
    """Return the line, counted from 1, that the byte at this offset stands on."""
    decode: Callable[..., str] = io.IncrementalNewlineDecoder(
        codecs.getincrementaldecoder(encoding)(errors="replace"), translate=True
    ).decode
    line = 1
    for block in _blocks(path, is_gzip=is_gzip):
        part = block[:offset]
        offset -= len(part)
        line += decode(part, final=offset == 0).count("\n")
        if offset == 0:
            break
    return line
