"""Members of answers: texts, numbers, flags and times, whatever JSON made of them."""

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncengine.qomon.members import (
    ShapeError,
    inside,
    read_array,
    read_birthdate,
    read_flag,
    read_id,
    read_objects,
    read_text,
    read_time,
    read_whole,
)
from syncengine.qomon.values import LARGEST

fixed = settings(derandomize=True, deadline=None)
NOON = datetime(2026, 7, 16, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("12 bis", "12 bis"),
        ("", None),
        (None, None),
        (12, "12"),
        (-3, "-3"),
        (48.85, "48.85"),
        (75011.0, "75011"),
        (1e22, "1e+22"),
        (True, ShapeError),
        (math.nan, ShapeError),
        (math.inf, ShapeError),
        (10**400, ShapeError),
        (["x"], ShapeError),
        ({}, ShapeError),
    ],
)
def test_a_text_may_come_as_a_number(value: object, text: object) -> None:
    _expect(read_text, value, text)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (7, 7),
        (0, 0),
        ("7", 7),
        (7.0, 7),
        ("", None),
        (None, None),
        (LARGEST, LARGEST),
        (LARGEST + 1, ShapeError),
        (-1, ShapeError),
        ("-1", ShapeError),
        ("٣", ShapeError),
        ("9" * 5000, ShapeError),
        (7.5, ShapeError),
        (math.inf, ShapeError),
        (True, ShapeError),
        ([7], ShapeError),
    ],
)
def test_a_whole_number_may_come_as_a_text(value: object, number: object) -> None:
    _expect(read_whole, value, number)


@pytest.mark.parametrize(("value", "number"), [(7, 7), ("7", 7), (0, None), ("0", None), (-1, ShapeError)])
def test_an_id_of_0_is_none(value: object, number: object) -> None:
    _expect(read_id, value, number)


@pytest.mark.parametrize(
    ("value", "flag"),
    [
        (True, True),
        (False, False),
        (1, True),
        ("true", True),
        (0, False),
        ("false", False),
        (None, None),
        ("", None),
        (2, ShapeError),
        ("maybe", ShapeError),
        ([], ShapeError),
    ],
)
def test_a_flag_may_come_as_a_number_or_a_text(value: object, flag: object) -> None:
    _expect(read_flag, value, flag)


@pytest.mark.parametrize(
    ("value", "time"),
    [
        ("2026-07-16T12:00:00Z", NOON),
        ("2026-07-16T12:00:00.5Z", NOON + timedelta(seconds=0.5)),
        ("2026-07-16T12:00:00.123456Z", NOON + timedelta(microseconds=123456)),
        ("2026-07-16T12:00:00.123456789Z", NOON + timedelta(microseconds=123456)),
        ("2026-07-16T14:00:00+02:00", NOON),
        ("2026-07-16T12:00:00", NOON),
        ("0001-01-01T00:00:00Z", None),
        ("0001-01-01T00:09:21+00:09", None),
        ("0000-12-31T23:50:39Z", None),
        ("", None),
        (None, None),
        ("9999-12-31T23:59:59-14:00", ShapeError),
        ("yesterday", ShapeError),
        (1_784_203_200, ShapeError),
    ],
)
def test_times_are_in_utc_and_a_zero_time_is_none(value: object, time: object) -> None:
    _expect(read_time, value, time)
    if isinstance(time, datetime):
        assert read_time(value).tzinfo is UTC  # type: ignore[union-attr]  # it is a time


@pytest.mark.parametrize(
    ("value", "day"),
    [
        ("1987-03-05T00:00:00Z", "1987-03-05T00:00:00Z"),
        ("1987-03-05T00:00:00.000Z", "1987-03-05T00:00:00Z"),
        ("1987-03-05", "1987-03-05T00:00:00Z"),
        ("1987-03-05T00:00:00+02:00", "1987-03-05T00:00:00Z"),
        ("5 March", "5 March"),
        ("1503-12-14", "1503-12-14"),
        ("0001-01-01T00:00:00Z", None),
        (None, None),
        ({}, ShapeError),
    ],
)
def test_a_birthdate_is_the_day_as_written_or_the_text_as_it_is(value: object, day: object) -> None:
    _expect(read_birthdate, value, day)


def test_an_array_has_no_nulls_and_null_is_an_empty_one() -> None:
    assert read_array([1, None, "x"]) == [1, "x"]
    assert read_array(None) == read_objects(None) == []
    assert read_objects([{"a": 1}, None]) == [{"a": 1}]
    for other in ("x", 0, False):
        with pytest.raises(ShapeError, match="expected an array, found"):
            read_array(other)
    with pytest.raises(ShapeError, match=r"^expected an array of objects, found a text$"):
        read_objects([{}, "x"])


@pytest.mark.parametrize("document", [None, [], "x", {}, {"data": None}, {"data": []}, {"data": {"x": 1}}])
def test_what_an_answer_holds_must_be_there(document: object) -> None:
    with pytest.raises(ShapeError, match=r"^the answer has no data\.total$"):
        inside(document, "total")
    assert inside({"status": "success", "data": {"total": None}}, "total") is None


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@fixed
@given(anything)
def test_what_cannot_be_read_is_told_in_one_line_without_its_value(value: object) -> None:
    for read in (read_text, read_whole, read_id, read_flag, read_time, read_birthdate, read_array):
        try:
            read(value)
        except ShapeError as error:
            expected, found = str(error).removeprefix("expected ").split(", found ")
            assert expected in {"a text", "a whole number", "true or false", "a time", "an array"}
            assert found.split()[0] in {"a", "an", "another", "null", "true"}
            assert found.split()[-1] in {"text", "object", "array", "null", "number", "false"}


def _expect(read: Callable[[object], Any], value: object, expected: object) -> None:
    if expected is ShapeError:
        with pytest.raises(ShapeError):
            read(value)
    else:
        ours = read(value)
        assert ours == expected
        assert type(ours) is type(expected)
