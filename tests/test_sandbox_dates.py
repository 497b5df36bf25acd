"""Dates and date arithmetic as the sandbox's search reads them."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncengine.sandbox.dates import span

NOW = datetime(2026, 3, 31, 14, 5, 6, 700_000, tzinfo=UTC)  # a Tuesday
MOMENTS = st.datetimes(datetime(1980, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
UNITS = st.sampled_from("yMwdhHms")
LENGTHS = {"w": 604_800, "d": 86_400, "h": 3600, "H": 3600, "m": 60, "s": 1}


def read(text: str) -> tuple[str, str] | None:
    """Return both ends as they would be written, without the zone."""
    found = span(text, NOW.timestamp())
    if found is None:
        return None
    first, last = (datetime.fromtimestamp(moment, UTC).isoformat()[:-6] for moment in found)
    return first, last


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("now", "2026-03-31T14:05:06.700000"),
        ("now-1h", "2026-03-31T13:05:06.700000"),
        ("now-30d", "2026-03-01T14:05:06.700000"),
        ("now+1y", "2027-03-31T14:05:06.700000"),
        ("now-1M", "2026-02-28T14:05:06.700000"),
        ("now-25M", "2024-02-29T14:05:06.700000"),
        ("now+2w", "2026-04-14T14:05:06.700000"),
        ("now-90m", "2026-03-31T12:35:06.700000"),
        ("now+5s-1H", "2026-03-31T13:05:11.700000"),
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05"),
        ("2026-01-02T03:04:05.678901Z", "2026-01-02T03:04:05.678901"),
        ("2026-01-02T03:04:05+02:00", "2026-01-02T01:04:05"),
        ("2026-01-02 03:04", "2026-01-02T03:04:00"),
    ],
)
def test_text_is_one_moment_in_utc(text: str, moment: str) -> None:
    assert read(text) == (moment, moment)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("now-1d/d", "2026-03-30T00:00:00", "2026-03-30T23:59:59.999999"),
        ("now/w", "2026-03-30T00:00:00", "2026-04-05T23:59:59.999999"),
        ("now/M", "2026-03-01T00:00:00", "2026-03-31T23:59:59.999999"),
        ("now/y", "2026-01-01T00:00:00", "2026-12-31T23:59:59.999999"),
        ("now/h", "2026-03-31T14:00:00", "2026-03-31T14:59:59.999999"),
        ("now/m", "2026-03-31T14:05:00", "2026-03-31T14:05:59.999999"),
        ("now/s", "2026-03-31T14:05:06", "2026-03-31T14:05:06.999999"),
        ("now/d+1h", "2026-03-31T01:00:00", "2026-04-01T00:59:59.999999"),
        ("2024-02-29", "2024-02-29T00:00:00", "2024-02-29T23:59:59.999999"),
    ],
)
def test_what_is_rounded_is_the_whole_unit(text: str, first: str, last: str) -> None:
    assert read(text) == (first, last)


@pytest.mark.parametrize(
    "text",
    [
        "", "yesterday", "NOW", "now-", "now-1", "now-1x", "now 1d", "now-1d/", "-1d", "2026", "2026-13-01",
        "2025-02-29", "2026-01-02T25:00:00Z", "20260102", "1767225600", "now+9999y", "now-999999999d",
        "9999-12-31", "\N{ARABIC-INDIC DIGIT TWO}026-01-02", "2026-01-02\n",
    ],
)  # fmt: skip
def test_anything_else_is_no_date(text: str) -> None:
    assert read(text) is None


@given(now=MOMENTS, unit=UNITS)
def test_rounding_keeps_the_moment_within_and_is_done_once(now: datetime, unit: str) -> None:
    found = span(f"now/{unit}", now.timestamp())
    assert found is not None
    assert found.first <= now.timestamp() <= found.last
    assert span(f"now/{unit}/{unit}", now.timestamp()) == found
    assert span(f"now/{unit}", found.last + 1e-3) != found


@given(now=MOMENTS, unit=st.sampled_from("wdhHms"), number=st.integers(0, 5000))
def test_steps_of_fixed_length_add_up_and_cancel(now: datetime, unit: str, number: int) -> None:
    forward = span(f"now+{number}{unit}", now.timestamp())
    assert forward is not None
    assert forward.first == pytest.approx(now.timestamp() + number * LENGTHS[unit], abs=1e-5)
    back = span(f"now+{number}{unit}-{number}{unit}", now.timestamp())
    assert back is not None
    assert back.first == now.timestamp()


@given(now=MOMENTS, months=st.integers(-400, 400))
def test_months_keep_the_day_or_take_the_last(now: datetime, months: int) -> None:
    found = span(f"now{months:+}M", now.timestamp())
    assert found is not None
    moved = datetime.fromtimestamp(found.first, UTC)
    assert (moved.year * 12 + moved.month) - (now.year * 12 + now.month) == months
    assert moved.day == now.day or (moved.day < now.day and (moved + timedelta(days=1)).day == 1)


@given(moment=MOMENTS)
def test_stamp_is_read_to_the_microsecond(moment: datetime) -> None:
    found = span(moment.isoformat().replace("+00:00", "Z"), 0.0)
    assert found is not None
    assert found == (moment.timestamp(), moment.timestamp())
