"""What Qomon's answers say besides their content: rate headers, date, why something was refused. Pure.

Sources: Qomon guide, "Rate limits" (bucket headers; the stored page leaves open whether the last is called
`X-Ratelimit-Reset` or `-ResetTime`: both are read), and the reference's error model, problem+json after
RFC 9457. Older pages describe a bare `{"status": "fail"}`, live answers carry real statuses: both are read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache

import orjson

from syncengine.errors import NO_PROBLEM, WORDS_CHARACTERS, Problem, RateHeaders

RESET_NAMES = ("X-Ratelimit-Reset", "X-Ratelimit-ResetTime")
_LIMIT = re.compile(r"(burst|rate)\s*[:=]\s*([0-9]*\.?[0-9]+(?:e[+-]?[0-9]+)?)", re.IGNORECASE)
BELIEVED = (1e-3, 1e6)
"""Tokens, and tokens a second: a bucket outside of these is nonsense."""
LOCATIONS_SHOWN = 5
ERRORS_KEPT = 50


def rate_headers(headers: Mapping[str, str]) -> RateHeaders:
    """Read the bucket from an answer's headers (case-insensitive mapping). Nonsense counts as absent."""
    burst, rate = _limit(headers.get("X-Ratelimit-Limit", ""))
    return RateHeaders(
        burst=burst,
        rate=rate,
        remaining=_number(headers.get("X-Ratelimit-Remaining")),
        cost=_number(headers.get("X-Ratelimit-Cost")),
        retry_after=_retry_after(headers),
        reset=_first(_number(headers.get(name)) for name in RESET_NAMES),
    )


def server_date(headers: Mapping[str, str]) -> datetime | None:
    """Return the answer's own `Date`, None without a readable one."""
    return _date(headers.get("Date", ""))


@lru_cache(maxsize=8)  # it is the same in every answer
def _limit(text: str) -> tuple[float | None, float | None]:
    limit = {name.lower(): _number(number) for name, number in _LIMIT.findall(text)}
    least, most = BELIEVED
    told = {name: number for name, number in limit.items() if number and least <= number <= most}
    return told.get("burst"), told.get("rate")


def _number(text: str | None) -> float | None:
    """Return a finite number from 0 on, else None."""
    try:
        number = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return number if 0 <= number < math.inf else None


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return `Retry-After` in seconds: a number, or a date against the server's `Date`, else our clock."""
    text = headers.get("Retry-After")
    if text is None:
        return None
    seconds = _number(text)
    if seconds is not None:
        return seconds
    until, now = _date(text), server_date(headers)
    if until is None:
        return None
    if now is None:  # against our own clock, but then a past date says that the clocks differ
        seconds = (until - datetime.now(UTC)).total_seconds()
        return seconds if seconds > 0 else None
    return max(0.0, (until - now).total_seconds())


def _date(text: str) -> datetime | None:
    try:
        read = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return read.replace(tzinfo=read.tzinfo or UTC)


def _first(numbers: Iterable[float | None]) -> float | None:
    return next((number for number in numbers if number is not None), None)


def is_plain(content_type: str, body: bytes, *, is_whole: bool = True) -> bool:
    """Say whether an accepting answer looks like the API's: no body, or one that reports no failure.

    Of a body that was cut (`is_whole` False) only the beginning is known: the status decides unless it is
    HTML.
    """
    text = body.strip()
    if "html" in content_type.lower() or text.startswith(b"<"):
        return not text
    if not text or not is_whole:
        return True
    try:
        answer = orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return not (isinstance(answer, dict) and str(answer.get("status", "")).lower() in {"fail", "error"})


def problem_of(body: bytes) -> Problem:
    """Return what a refusal says: problem+json, a bare `{"status": "fail"}`, or text. Never raises."""
    text = body.strip()
    if not text:
        return NO_PROBLEM
    try:
        said = orjson.loads(text)
    except orjson.JSONDecodeError:
        said = None
    if not isinstance(said, dict):
        return Problem(detail=text[:WORDS_CHARACTERS].decode("utf-8", "replace"))
    errors = said.get("errors")
    faults = [fault for fault in errors if isinstance(fault, dict)] if isinstance(errors, list) else []
    inner = said.get("data")
    told = said.get("detail") or said.get("message")
    if not told and isinstance(inner, dict):
        told = inner.get("message")
    messages: dict[str, list[str]] = {}
    for fault in faults[:ERRORS_KEPT]:
        messages.setdefault(_words(fault.get("location")), []).append(_words(fault.get("message")))
    return Problem(
        title=_words(said.get("title")),
        detail=_words(told),
        errors={place: "; ".join(words)[:WORDS_CHARACTERS] for place, words in messages.items()},
    )


def summary(status: int, problem: Problem) -> str:
    """Return status and fields of a refusal, without values: `HTTP 422: mail, address.city`."""
    fields = list(dict.fromkeys(_field(place) for place in problem.errors))
    fields = [name for name in fields if name]
    shown = ", ".join(fields[:LOCATIONS_SHOWN]) + (", …" if len(fields) > LOCATIONS_SHOWN else "")
    return f"HTTP {status}" + (f": {shown}" if shown else "")


def _words(said: object) -> str:
    return str(said)[:WORDS_CHARACTERS] if isinstance(said, str | int) else ""


def _field(place: str) -> str:
    """Return the field a place in the request means, as far as it is made of field names and positions."""
    name = place.removeprefix("body.").removeprefix("data.")
    return name if re.fullmatch(r"[A-Za-z_$][A-Za-z0-9_$]*(\[\d+\]|\.[A-Za-z0-9_$]+)*", name) else ""
