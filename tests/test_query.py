"""Questions to /search: their two levels, their values, and the window of UpdatedAt."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncengine.qomon.query import (
    EVERYBODY,
    Answers,
    Condition,
    Group,
    Query,
    all_of,
    any_of,
    custom_field,
    form,
    server_time,
    where,
)

LOGICS: dict[str, Callable[[Iterable[bool]], bool]] = {"$all": all, "$at_least_one": any}
fixed = settings(derandomize=True, deadline=None)
NOON = datetime(2026, 7, 16, 12, tzinfo=UTC)


def inner(condition: Condition) -> dict[str, Any]:
    """Return what stands inside `$condition`."""
    whole = condition.as_json()
    assert list(whole) == ["$condition"]
    found: dict[str, Any] = whole["$condition"]
    return found


# --- the shape


def test_a_query_is_spelled_in_exactly_two_levels() -> None:
    query = Query.all(
        all_of(where("address.city").eql("Paris"), where("mobile").exists()),
        any_of(where("tags").any_of("volunteer", "donor"), where("surname").start_with("Du")),
    )
    assert query.as_json() == {
        "$all": [
            {
                "$all": [
                    {"$condition": {"attr": "address.city", "ope": "eql", "value": "Paris"}},
                    {"$condition": {"attr": "mobile", "ope": "ext"}},
                ]
            },
            {
                "$at_least_one": [
                    {"$condition": {"attr": "tags", "ope": "any_of", "value": ["volunteer", "donor"]}},
                    {"$condition": {"attr": "surname", "ope": "start_with", "value": "Du"}},
                ]
            },
        ]
    }
    assert query.conditions == 4


def test_bare_conditions_become_one_group_of_the_same_logic() -> None:
    city, mail = where("address.city").exists(), where("mail").exists()
    assert Query.all(city, mail) == Query.all(all_of(city, mail))
    assert Query.any(city, mail) == Query.any(any_of(city, mail))
    assert Query.all(any_of(city), mail) == Query.all(all_of(mail), any_of(city))


def test_everybody_is_the_empty_all() -> None:
    assert EVERYBODY.as_json() == {"$all": []}
    assert Query.all() == EVERYBODY
    assert EVERYBODY.conditions == 0


def test_a_third_level_is_refused_even_without_a_type_checker() -> None:
    condition: Any = where("mail").exists()
    group: Any = all_of(condition)
    with pytest.raises(TypeError, match="exactly two levels"):
        all_of(group)
    with pytest.raises(TypeError, match="exactly two levels"):
        Query.all(Query.all(group))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="exactly two levels"):
        Query("$all", (condition,))


# --- operators


def test_every_operator_has_its_spelling() -> None:
    at = where("x")
    one = {
        at.eql("v"): "eql",
        at.not_eql("v"): "not_eql",
        at.eql_strict("v"): "eql:strictdata",
        at.not_eql_strict("v"): "not_eql:strictdata",
        at.contains("v"): "contains",
        at.not_contains("v"): "not_contains",
        at.start_with("v"): "start_with",
        at.not_start_with("v"): "not_start_with",
        at.gte("v"): "gte",
        at.lte("v"): "lte",
    }
    for condition, ope in one.items():
        assert inner(condition) == {"attr": "x", "ope": ope, "value": "v"}
    for condition, ope in {
        at.any_of(1, 2): "any_of",
        at.none_of(1, 2): "none_of",
        at.all_of(1, 2): "all_of",
    }.items():
        assert inner(condition) == {"attr": "x", "ope": ope, "value": [1, 2]}
    for condition, ope in {at.exists(): "ext", at.not_exists(): "not_ext"}.items():
        assert inner(condition) == {"attr": "x", "ope": ope}
    assert inner(at.between(1, 2)) == {"attr": "x", "ope": "range", "from": 1, "to": 2}


def test_answers_name_their_form_and_the_options_meant() -> None:
    for about, attr in ((form(12, 34, 35), "form"), (custom_field(12, 34, 35), "custom_fields")):
        about_all = {"attr": attr, "form_id": 12, "form_ref_ids": [34, 35]}
        bare = {
            about.exists(): "ext",
            about.not_exists(): "not_ext",
            about.any_of(): "any_of",
            about.none_of(): "none_of",
            about.all_of(): "all_of",
        }
        for condition, ope in bare.items():
            assert inner(condition) == about_all | {"ope": ope}
        for condition, ope in {
            about.eql("v"): "eql",
            about.contains("v"): "contains",
            about.gte("v"): "gte",
            about.lte("v"): "lte",
        }.items():
            assert inner(condition) == about_all | {"ope": ope, "value": "v"}
        assert inner(about.between("1", "2")) == about_all | {"ope": "range", "from": "1", "to": "2"}
    assert inner(form(12).exists())["form_ref_ids"] == []


@pytest.mark.parametrize("about", [form(12), custom_field(12)])
def test_choosing_among_options_needs_options(about: Answers) -> None:
    for choose in (about.any_of, about.none_of, about.all_of):
        with pytest.raises(ValueError, match="needs the ids of the options"):
            choose()


@pytest.mark.parametrize("ids", [(0,), (-1,), (12, 0), (2**63,)])
def test_ids_of_forms_and_options_are_positive(ids: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="positive whole numbers"):
        form(*ids).exists()


@pytest.mark.parametrize("attr", ["form", "custom_fields"])
def test_answers_without_their_form_are_refused(attr: str) -> None:
    with pytest.raises(ValueError, match="the id of their form"):
        where(attr).exists()
    with pytest.raises(ValueError, match="the id of their form"):
        Condition("mail", "ext", form_id=12)


@pytest.mark.parametrize(
    "given",
    [
        {"ope": "eql"},
        {"ope": "range"},
        {"ope": "range", "low": 1},
        {"ope": "range", "low": 1, "high": 2, "value": 3},
        {"ope": "gte", "value": 1, "high": 2},
        {"ope": "ext", "value": "v"},
        {"ope": "any_of"},
        {"ope": "eql", "value": ("v", "w")},
    ],
)
def test_values_that_do_not_go_with_the_operator_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^x "):
        Condition("x", **given)


# --- values


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("Dupont-Aignan é", "Dupont-Aignan é"),
        (" de ", " de "),
        (7, 7),
        (-(2**63) + 1, -(2**63) + 1),
        (2.5, 2.5),
        (True, True),
        (date(1987, 3, 5), "1987-03-05"),
        (NOON, "2026-07-16T12:00:00.000000Z"),
        (datetime(1, 1, 1, microsecond=1, tzinfo=UTC), "0001-01-01T00:00:00.000001Z"),
        (datetime(2026, 7, 16, 1, tzinfo=timezone(timedelta(hours=2))), "2026-07-15T23:00:00.000000Z"),
    ],
)
def test_a_value_is_sent_as_json_holds_it(value: Any, sent: Any) -> None:
    found = inner(where("x").eql(value))["value"]
    assert (found, type(found)) == (sent, type(sent))
    assert inner(where("x").between(value, value)) == {"attr": "x", "ope": "range", "from": sent, "to": sent}
    assert inner(where("x").any_of(value))["value"] == [sent]


@pytest.mark.parametrize(
    "value",
    [
        "",
        " \t ",
        "canary\0",
        "canary\ud800",
        "canary\x1b",
        float("nan"),
        float("inf"),
        2**63,
        datetime(2026, 7, 16, 12),  # noqa: DTZ001 - that is the point
        datetime.min.replace(tzinfo=timezone(timedelta(hours=2))),
        None,
        b"canary",
        ["canary"],
    ],
)
def test_a_value_that_cannot_be_sent_is_refused_in_one_line_without_it(value: Any) -> None:
    at = where("mail")
    for make in (
        at.eql,
        at.gte,
        at.any_of,
        lambda v: at.any_of("x", v),
        lambda v: at.between("x", v),
        form(1).lte,
    ):
        with pytest.raises(ValueError, match=r"^(mail|form) ") as refused:
            make(value)
        message = str(refused.value)
        assert "\n" not in message
        assert "canary" not in message
        assert refused.value.__suppress_context__


def test_an_empty_list_is_refused() -> None:
    for make in (where("tags").any_of, where("tags").none_of, where("tags").all_of):
        with pytest.raises(ValueError, match=r"^tags "):
            make()


@pytest.mark.parametrize("attr", ["", "  ", "ma\0il", "ma\nil"])
def test_an_empty_or_broken_attribute_is_refused(attr: str) -> None:
    with pytest.raises(ValueError, match="name of an attribute"):
        where(attr).exists()


def test_no_repr_shows_a_value() -> None:
    query = Query.all(where("mail").eql_strict("canary@x.example"), where("x").between("canary", "canary"))
    assert "canary" not in repr(query)
    assert "eql:strictdata" in repr(query)


@pytest.mark.parametrize(
    "text", ["now", "now-1h", "now-30d", "now+1y", "now/d", "now-1d/d", "now+6M/M", "now-90s"]
)
def test_a_time_of_the_servers_clock_is_sent_as_written(text: str) -> None:
    at, time = where("UpdatedAt"), server_time(text)
    assert inner(at.gte(time))["value"] == text
    assert inner(at.lte(time))["value"] == text
    assert inner(at.between(time, NOON))["from"] == text
    assert inner(form(1).gte(time))["value"] == text


@pytest.mark.parametrize(
    "text",
    ["", "Now", "now ", "now-1", "now-d", "now1d", "now-1q", "now//d", "now-1d/d/d", "yesterday", "now-1h\n"],
)
def test_anything_else_is_no_time_of_the_servers_clock(text: str) -> None:
    with pytest.raises(ValueError, match="not a time of the server's clock"):
        server_time(text)


def test_a_time_of_the_servers_clock_is_refused_where_nothing_is_earlier_or_later() -> None:
    time: Any = server_time("now")
    for make in (where("x").eql, where("x").contains, where("x").not_eql_strict):
        with pytest.raises(ValueError, match="only for gte, lte and between"):
            make(time)


# --- the window of UpdatedAt


@dataclass(frozen=True)
class Row:
    """A contact: which of the attributes a to d it has, and when it was updated, in days after noon."""

    has: frozenset[str]
    day: int


def matches(query: Mapping[str, Any], row: Row) -> bool:
    """Judge a query as sent, by its words."""
    ((root, groups),) = query.items()
    return LOGICS[root](
        LOGICS[logic](_meets(each["$condition"], row) for each in conditions)
        for group in groups
        for logic, conditions in group.items()
    )


def _meets(condition: Mapping[str, Any], row: Row) -> bool:
    if condition["attr"] != "UpdatedAt":
        return bool((condition["attr"] in row.has) == (condition["ope"] == "ext"))
    updated = (NOON + timedelta(days=row.day)).isoformat().replace("+00:00", ".000000Z")
    value: str = condition["value"]
    return updated >= value if condition["ope"] == "gte" else updated <= value


conditions_ = st.builds(
    lambda attr, has: where(attr).exists() if has else where(attr).not_exists(),
    st.sampled_from("abcd"),
    st.booleans(),
)
groups_ = st.builds(
    Group, st.sampled_from(["$all", "$at_least_one"]), st.lists(conditions_, max_size=3).map(tuple)
)
queries = st.builds(
    Query, st.sampled_from(["$all", "$at_least_one"]), st.lists(groups_, max_size=3).map(tuple)
)
rows_ = st.builds(Row, st.frozensets(st.sampled_from("abcd")), st.integers(-3, 3))
days = st.none() | st.integers(-3, 3)


@settings(fixed, max_examples=400)
@given(queries, days, days, st.lists(rows_, min_size=1, max_size=8))
def test_a_windowed_query_is_the_query_and_the_window(
    query: Query, low: int | None, high: int | None, rows: list[Row]
) -> None:
    ends = [None if day is None else NOON + timedelta(days=day) for day in (low, high)]
    windowed = query.updated_within(*ends)
    sent = orjson.loads(orjson.dumps(windowed.as_json()))
    for row in rows:
        is_inside = (low is None or row.day >= low) and (high is None or row.day <= high)
        assert matches(sent, row) == (matches(query.as_json(), row) and is_inside)
    _assert_two_levels(sent)
    assert windowed.conditions <= 3 * query.conditions + 2 * len(query.groups) + 2


def _assert_two_levels(query: Mapping[str, Any]) -> None:
    ((_, groups),) = query.items()
    for group in groups:
        ((_, conditions),) = group.items()
        assert all(list(condition) == ["$condition"] for condition in conditions)


def test_the_window_of_everybody_is_one_group() -> None:
    assert EVERYBODY.updated_within(NOON, None).as_json() == {
        "$all": [
            {
                "$all": [
                    {
                        "$condition": {
                            "attr": "UpdatedAt",
                            "ope": "gte",
                            "value": "2026-07-16T12:00:00.000000Z",
                        }
                    }
                ]
            }
        ]
    }
    assert EVERYBODY.updated_within(NOON, NOON).conditions == 2


def test_without_ends_the_window_changes_nothing() -> None:
    query = Query.any(where("mail").exists())
    assert query.updated_within(None, None) is query


def test_nobody_stays_nobody_in_a_window() -> None:
    assert Query.any().updated_within(NOON, NOON) == Query.any()
    assert Query.any(any_of()).updated_within(NOON, NOON) == Query.any()
    assert Query.any(all_of()).updated_within(NOON, None) == Query.any(all_of(where("UpdatedAt").gte(NOON)))


def test_a_window_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="a time without its zone"):
        EVERYBODY.updated_within(datetime(2026, 7, 16), None)  # noqa: DTZ001 - that is the point
