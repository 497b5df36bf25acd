"""How a text becomes a value of Qomon's upsert: cleaned, then read as mail, day, number or flag.

Pure, and depends on nothing but the text, so that the same row always gives the same contact. Every reason
for a refusal is raised as ValueError and names no value.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["text", "mail", "date", "number", "flag", "id", "part", "tags", "notes", "advanced"]

YES = frozenset({"1", "true", "yes", "y", "oui", "vrai", "ja", "wahr", "si", "sí"})
NO = frozenset({"0", "false", "no", "n", "non", "faux", "nein", "falsch"})
"""The words a flag is read from, in any case. Everything else refuses the row."""

YEARS = range(1850, 2101)
"""Years of birth that are possible. Fixed, so that the same row always gives the same contact."""

LONGEST_DAY = 64
"""Characters: bounds the memory of the days that are remembered."""

LARGEST = 2**63 - 1
"""The largest integer that orjson, SQLite and Qomon's Go all take."""

_REFUSED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")
_ADDRESS_OF_MAIL = re.compile(r"[^@\s<>,;]+@[^@\s<>,;]+")
_DAY = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[Tt ](?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]+)?)?(?:[Zz]|[+-][0-9]{2}:?[0-9]{2})?)?"
)


def clean(text: str) -> str:
    """Return text in its one form: composed (NFC), trimmed, line breaks as line feeds.

    Raises ValueError for characters that Qomon, SQLite or JSON cannot hold.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    if not text.isprintable():
        unfit = _REFUSED.search(text)
        if unfit:
            character = unfit[0]
            if character == "\0":
                raise ValueError("holds a NUL character")
            if character >= "\ud800":
                raise ValueError("holds half a character (a lone surrogate)")
            raise ValueError("holds a control character")
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.strip()


def reader(kind: Kind, form: str | None = None) -> Callable[[str], str | int | bool]:
    """Return the function that reads a clean, non-empty text as a value of this kind.

    `form`: the strptime format of a date. The function raises ValueError with the reason.
    """
    if kind == "date":
        return _day_reader(form)
    return _READERS.get(kind, str)


def _read_mail(text: str) -> str:
    text = text.lower()
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    if not _ADDRESS_OF_MAIL.fullmatch(text):
        raise ValueError("not one e-mail address")
    return text


def _read_number(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 19 or int(text) > LARGEST:
        raise ValueError("not a whole number")
    return int(text)


def _read_id(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 19 or not 0 < int(text) <= LARGEST:
        raise ValueError("not a Qomon id (a positive whole number)")
    return int(text)


def _read_flag(text: str) -> bool:
    word = text.lower()
    if word in YES:
        return True
    if word in NO:
        return False
    raise ValueError("neither yes nor no")


_READERS: dict[Kind, Callable[[str], str | int | bool]] = {
    "mail": _read_mail,
    "number": _read_number,
    "flag": _read_flag,
    "id": _read_id,
}


def _day_reader(form: str | None) -> Callable[[str], str]:
    """Return a reader that remembers days: there are few, and reading one costs as much as the row."""
    parse = _parse_iso if form is None else partial(_parse, form=form)

    @lru_cache(maxsize=32768)
    def read(text: str) -> str:
        day = parse(text)
        if day.year not in YEARS:
            raise ValueError(f"not a year of birth between {YEARS[0]} and {YEARS[-1]}")
        # RFC 3339 in UTC: the upsert's birthdate is a string of that form.
        return f"{day.year:04}-{day.month:02}-{day.day:02}T00:00:00Z"

    def read_short(text: str) -> str:
        if len(text) > LONGEST_DAY:
            raise ValueError(f"not a date: longer than {LONGEST_DAY} characters")
        return read(text)

    return read_short


def _parse_iso(text: str) -> datetime:
    """Read `1987-03-05`, alone or with an RFC 3339 time: the day as written, whatever its zone."""
    match = _DAY.fullmatch(text)
    if not match:
        raise ValueError("not a date such as 1987-03-05; give its format")
    try:
        return datetime(int(match[1]), int(match[2]), int(match[3]), tzinfo=UTC)
    except ValueError:
        raise ValueError("not a day of the calendar") from None


def _parse(text: str, *, form: str) -> datetime:
    try:
        return datetime.strptime(text, form)  # noqa: DTZ007 - only the day is used, as written
    except ValueError:
        raise ValueError(f"not a date of the format {form}") from None


def check_format(form: str) -> None:
    """Raise ValueError unless the format tells day, month and full year."""
    if re.search(r"%y|%[GgD]|%x|%c", form):
        raise ValueError(f"format {form!r} has no year of four digits (%Y); the century would be a guess")
    for day in (datetime(1987, 3, 5, tzinfo=UTC), datetime(2004, 11, 23, tzinfo=UTC)):
        try:
            read = datetime.strptime(day.strftime(form), form)  # noqa: DTZ007 - only the day is used
        except (ValueError, re.error):
            raise ValueError(f"format {form!r} is no strptime format, such as %d/%m/%Y") from None
        if (read.year, read.month, read.day) != (day.year, day.month, day.day):
            raise ValueError(f"format {form!r} does not tell day, month and year, as %d/%m/%Y does")
