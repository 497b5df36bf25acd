"""One member of a Qomon answer: read as what it should be, whatever JSON made of it. Pure.

Numbers come where the reference has texts and the other way round (client code of integrators); zero times
and zero ids, as Go writes them, stand for nothing; fractions of a second have any number of digits. What is
neither raises ShapeError, which says what was expected and what kind of thing was found, never the value.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime

from syncengine.qomon.values import LARGEST, reader


class ShapeError(ValueError):
    """An answer of Qomon is not of the shape it is known to have. One line; names places, never values."""


_KINDS = {str: "a text", dict: "an object", list: "an array", bool: "true or false", type(None): "null"}
_read_day = reader("date")


def shape_error(expected: str, value: object) -> ShapeError:
    """Return the error for a value that is not what was expected."""
    found = _KINDS.get(type(value), "a number")
    return ShapeError(f"expected {expected}, found {f'another {found[2:]}' if found in expected else found}")


def inside(document: object, name: str) -> object:
    """Return `data.<name>` of an answer `{status, data: {…}}`, which must be there, null or not."""
    content = document.get("data") if isinstance(document, dict) else None
    if not isinstance(content, dict) or name not in content:
        raise ShapeError(f"the answer has no data.{name}")
    return content[name]


def array_inside(document: object, name: str) -> list[object]:
    """Return the array `data.<name>` of an answer, which must be there; an empty one for null."""
    array = inside(document, name)
    if array is None or isinstance(array, list):
        return array or []
    raise ShapeError(f"{name}: {shape_error('an array', array)}")


def read_array(value: object) -> list[object]:
    """Return the entries of an array that are not null; none for null."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise shape_error("an array", value)
    return [entry for entry in value if entry is not None]


def read_objects(value: object) -> list[dict[str, object]]:
    """Return the entries of an array of objects, without nulls; none for null."""
    entries: list[dict[str, object]] = []
    for entry in read_array(value):
        if not isinstance(entry, dict):
            raise shape_error("an array of objects", entry)
        entries.append(entry)
    return entries


def read_text(value: object) -> str | None:
    """Return a text, also of a number; None for null and for a blank."""
    if value is None or isinstance(value, str):
        return value or None
    if isinstance(value, float) and math.isfinite(value):
        # 1e15: as far as every whole number has a float of its own, with digits to spare.
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if type(value) is int and value.bit_length() <= 64:
        return str(value)
    raise shape_error("a text", value)


def read_whole(value: object) -> int | None:
    """Return a whole number from 0 on, given as number or text; None for null and for a blank."""
    if value is None or value == "":
        return None
    number = value
    if isinstance(value, float) and value.is_integer():
        number = int(value)
    elif isinstance(value, str) and len(value) <= 19 and value.isascii() and value.isdigit():
        number = int(value)  # more digits than any that is allowed would cost more to read
    if type(number) is int and 0 <= number <= LARGEST:
        return number
    raise shape_error("a whole number", value)


def read_id(value: object) -> int | None:
    """Return an id; None for 0, null and a blank."""
    if type(value) is int and 0 < value <= LARGEST:  # the usual case, ten times in a contact
        return value
    return read_whole(value) or None


def read_flag(value: object) -> bool | None:
    """Return true or false, also of 1, 0 and their names; None for null and for a blank."""
    if value is None or value == "":
        return None
    if value in (True, "1", "true"):
        return True
    if value in (False, "0", "false"):
        return False
    raise shape_error("true or false", value)


def read_time(value: object) -> datetime | None:
    """Return a time in UTC; None for null, a blank and a zero time. Microseconds are the finest kept."""
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise shape_error("a time", value)
    if is_zero_time(value):
        return None
    try:
        time = datetime.fromisoformat(value)
        if time.tzinfo is UTC:
            return time
        return time.astimezone(UTC) if time.tzinfo is not None else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ShapeError("expected a time, found another text") from None


def is_zero_time(text: str) -> bool:
    """Say whether a time is Go's zero, 0001-01-01, which another zone may have moved into the year 0."""
    return text[:3] == "000"


def read_birthdate(value: object) -> str | None:
    """Return a day as the upsert spells it, as written whatever its zone; another text stays as it is."""
    text = read_text(value)
    if text is None or is_zero_time(text):
        return None
    try:
        return str(_read_day(text))
    except ValueError:
        return text
