"""Numbers, durations and moments in words. Times are local."""

from __future__ import annotations

import time
from datetime import datetime


def number(value: float) -> str:
    """Return `10,000`, or `2.5` for what is not whole."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def plural(count: int, noun: str, many: str = "") -> str:
    """Return `1 contact`, `2 contacts`; `many` where an s does not do."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"


def duration(seconds: float) -> str:
    """Return `0.4 s`, `12 s`, `16 min 30 s`, `2 h 47 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02} min"


def stamp(moment: float | None) -> str:
    """Return a Unix time as `2026-03-05 14:02:11`."""
    return "" if moment is None else _local(moment).strftime("%Y-%m-%d %H:%M:%S")


def clock(moment: float, now: float | None = None) -> str:
    """Return `14:02:11`, with the date before it when that is not today."""
    local, today = _local(moment), _local(time.time() if now is None else now)
    return local.strftime("%H:%M:%S" if local.date() == today.date() else "%Y-%m-%d %H:%M")


def _local(moment: float) -> datetime:
    return datetime.fromtimestamp(moment).astimezone()
