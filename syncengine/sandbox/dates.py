"""Moments as `/search` reads them: days, RFC 3339 stamps, and arithmetic from now on, all in UTC.

Source: Qomon guides, "API polling" and "Search overview", which show `now`, `now-1h`, `now-1d/d`, `now-30d`,
`now+1y` and ISO stamps. Our choices, as the search engines do whose notation this is: the units are
`y M w d h H m s` (weeks begin on Monday), steps may follow one another, and whatever is rounded by `/d`, or
is a day without a time, is the whole of that day, from its beginning to its last microsecond.
"""

import calendar
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

_ARITHMETIC = re.compile(r"now((?:[+-]\d{1,9}[yMwdhHms]|/[yMwdhHms])*)")
_STEP = re.compile(r"([+-]\d+|/)([yMwdhHms])")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_STAMP = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d([.,]\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?")
_LENGTHS = {
    "w": timedelta(weeks=1),
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "H": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
}
_INSTANT = timedelta(microseconds=1)


class Span(NamedTuple):
    """The first and the last moment a text stands for, in seconds since 1970; often the same."""

    first: float
    last: float


def span(text: str, now: float) -> Span | None:
    """Return what a text stands for when it is `now`; None when it is no date."""
    try:
        arithmetic = _ARITHMETIC.fullmatch(text)
        if arithmetic:
            steps = _STEP.findall(arithmetic[1])
            start = datetime.fromtimestamp(now, UTC)
            return Span(_walked(start, steps, up=False), _walked(start, steps, up=True))
        if _DAY.fullmatch(text):
            day = datetime.fromisoformat(text).replace(tzinfo=UTC)
            return Span(day.timestamp(), _end(day, "d").timestamp())
        if _STAMP.fullmatch(text):
            moment = datetime.fromisoformat(text)
            seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
            return Span(seconds, seconds)
    except (ValueError, OverflowError):  # there is no such day, or it lies outside the years 1 to 9999
        return None
    return None


def _walked(moment: datetime, steps: Iterable[tuple[str, str]], *, up: bool) -> float:
    """Return the moment after the steps; a rounding goes to the end of its unit if `up`."""
    for step, unit in steps:
        if step != "/":
            moment = _moved(moment, int(step), unit)
        elif up:
            moment = _end(_beginning(moment, unit), unit)
        else:
            moment = _beginning(moment, unit)
    return moment.timestamp()


def _moved(moment: datetime, number: int, unit: str) -> datetime:
    """Add so many units; a day that a month does not have becomes its last."""
    if unit not in "yM":
        return moment + number * _LENGTHS[unit]
    months = moment.year * 12 + moment.month - 1 + number * (12 if unit == "y" else 1)
    year, month = months // 12, months % 12 + 1
    if not 1 <= year <= 9999:
        raise OverflowError
    return moment.replace(year=year, month=month, day=min(moment.day, calendar.monthrange(year, month)[1]))


def _beginning(moment: datetime, unit: str) -> datetime:
    """Return the first moment of the unit that `moment` lies in."""
    if unit in "hHms":
        seconds = _LENGTHS[unit].total_seconds()
        midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
        return midnight + (moment - midnight).seconds // seconds * _LENGTHS[unit]
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if unit == "w":
        return midnight - timedelta(days=moment.weekday())
    if unit == "d":
        return midnight
    return midnight.replace(day=1) if unit == "M" else midnight.replace(month=1, day=1)


def _end(beginning: datetime, unit: str) -> datetime:
    """Return the last microsecond of the unit that begins there."""
    return _moved(beginning, 1, unit) - _INSTANT
