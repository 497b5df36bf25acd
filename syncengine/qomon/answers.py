"""What Qomon's answers say: the rate headers, and why a contact was refused. Pure.

Sources: Qomon documentation, "Rate limiting" (bucket headers; the reset header's name is ambiguous), and
the reference's error model, problem+json after RFC 9457.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any

import orjson

from syncengine.errors import RateHeaders

_LIMIT = re.compile(r"(burst|rate)\s*[:=]\s*([0-9]*\.?[0-9]+)", re.IGNORECASE)
LOCATIONS_SHOWN = 5
DETAIL_CHARACTERS = 500


def rate_headers(headers: Mapping[str, str]) -> RateHeaders:
    """Read the bucket from an answer's headers (case-insensitive mapping). Nonsense counts as absent."""
    burst, rate = _limit(headers.get("X-Ratelimit-Limit", ""))
    return RateHeaders(
        burst=burst,
        rate=rate,
        remaining=_number(headers.get("X-Ratelimit-Remaining")),
        cost=_number(headers.get("X-Ratelimit-Cost")),
        retry_after=_retry_after(headers),
    )


@lru_cache(maxsize=8)  # it is the same in every answer
def _limit(text: str) -> tuple[float | None, float | None]:
    limit = {name.lower(): _number(number) for name, number in _LIMIT.findall(text)}
    return limit.get("burst") or None, limit.get("rate") or None


def _number(text: str | None) -> float | None:
    """Return a finite number from 0 on, else None."""
    try:
        number = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return number if 0 <= number < math.inf else None


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return `Retry-After` in seconds: a number, or a date against the server's own `Date`."""
    text = headers.get("Retry-After")
    if text is None:
        return None
    seconds = _number(text)
    if seconds is not None:
        return seconds
    try:
        until = parsedate_to_datetime(text)
        now = parsedate_to_datetime(headers.get("Date", ""))
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    gap = until.replace(tzinfo=until.tzinfo or UTC) - now.replace(tzinfo=now.tzinfo or UTC)
    return max(0.0, gap.total_seconds())


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


def refusal(status: int, body: bytes) -> tuple[str, str]:
    """Return why a contact was refused: a summary without values, and what the server said (capped).

    The summary names the status and the fields: `HTTP 422: mail, address.city`. A server's words may
    repeat a person's values, so they are kept apart.
    """
    try:
        problem = orjson.loads(body)
    except orjson.JSONDecodeError:
        problem = None
    if not isinstance(problem, dict):
        return f"HTTP {status}", body[:DETAIL_CHARACTERS].decode("utf-8", "replace")
    errors = problem.get("errors")
    faults = [fault for fault in errors if isinstance(fault, dict)] if isinstance(errors, list) else []
    fields = list(dict.fromkeys(_field(fault) for fault in faults))
    fields = [name for name in fields if name]
    shown = ", ".join(fields[:LOCATIONS_SHOWN]) + (", …" if len(fields) > LOCATIONS_SHOWN else "")
    words = [str(problem[name]) for name in ("title", "detail") if problem.get(name)]
    words += [f"{_field(fault)}: {fault.get('message', '')}" for fault in faults]
    return f"HTTP {status}" + (f": {shown}" if shown else ""), "; ".join(words)[:DETAIL_CHARACTERS]


def _field(fault: Mapping[str, Any]) -> str:
    """Return the field an error points at, as far as it is made of field names and positions."""
    location = str(fault.get("location", ""))
    name = location.removeprefix("body.").removeprefix("data.")
    return name if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*(\[\d+\]|\.[A-Za-z0-9_]+)*", name) else ""
