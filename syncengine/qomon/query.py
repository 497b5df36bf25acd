"""Questions to `POST /search` and `POST /kpi`, in the only shape Qomon takes: two levels.

    Query.all | Query.any        the root: $all (and) or $at_least_one (or) of
      └── all_of | any_of        groups, each $all or $at_least_one of
            └── where(…).eql(…)  conditions

The types allow no other nesting: a condition right under the root, or a third level, is answered 422. Values
are checked when a condition is made. Pure; owns the spelling of conditions and refuses to judge them: whether
an attribute exists, and which operators it takes, only Qomon knows. No message and no repr holds a value.

Source: Qomon's guides "Search overview" (current and older copy) and "API polling"; what operators really do
was observed by integrators. Not documented: how many conditions a query may have, how finely times compare.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Literal, TypeAlias

from syncengine.qomon.values import LARGEST, clean

UPDATED_AT = "UpdatedAt"
"""The time of a contact's creation or last change; upserts move it, unlike `lastchange`."""

FORM_ATTRIBUTES = ("form", "custom_fields")
"""Attributes that name no field but the answers to a form, so they need its id."""

_Comparing: TypeAlias = Literal["eql", "not_eql", "eql:strictdata", "not_eql:strictdata", "gte", "lte"]
_Reading: TypeAlias = Literal["contains", "not_contains", "start_with", "not_start_with"]
_Listing: TypeAlias = Literal["any_of", "none_of", "all_of"]
Operator: TypeAlias = _Comparing | _Reading | _Listing | Literal["ext", "not_ext", "range"]
Logic: TypeAlias = Literal["$all", "$at_least_one"]

_LISTS = ("any_of", "none_of", "all_of")
_SERVER_TIME = re.compile(r"now(?:[+-][0-9]{1,6}[yMwdhms])?(?:/[yMwdhms])?")


@dataclass(frozen=True, slots=True)
class ServerTime:
    """A time the server computes from its own clock; made by `server_time`."""

    text: str


def server_time(text: str) -> ServerTime:
    """Return a time by the server's clock: `now`, `now-1h`, `now+1y`, `now/d` (today, 0:00), `now-1d/d`.

    In UTC, whatever the zone of the space. Units: y, M (months), w, d, h, m (minutes), s; the guides show y,
    d and h, the others are what search engines with this spelling take. Raises ValueError for anything else.
    """
    if not _SERVER_TIME.fullmatch(text):
        raise ValueError("not a time of the server's clock, such as now, now-1h or now-1d/d")
    return ServerTime(text)


Value: TypeAlias = str | int | float | bool | date | datetime
"""What a condition compares with. A datetime needs its zone and is sent in UTC with microseconds."""
Bound: TypeAlias = Value | ServerTime


@dataclass(frozen=True, slots=True)
class Condition:
    """One `$condition`. Made by `where`, `form` and `custom_field`, which offer what fits together.

    `low` and `high` are sent as `from` and `to`. Raises ValueError, naming attribute and operator but never a
    value, for what Qomon or JSON cannot take: an empty attribute, text or list, a control character, a time
    without zone, NaN, or values that do not go with the operator.
    """

    attr: str
    ope: Operator
    value: Bound | tuple[Value, ...] | None = field(default=None, repr=False)
    low: Bound | None = field(default=None, repr=False)
    high: Bound | None = field(default=None, repr=False)
    form_id: int | None = None
    form_ref_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.attr.strip() or not self.attr.isprintable():
            raise ValueError("a condition needs the name of an attribute, such as mail")
        try:
            self._check_form()
            self._check_values()
        except ValueError as error:
            raise ValueError(f"{self.attr} {self.ope}: {error}") from None

    def _check_form(self) -> None:
        if (self.attr in FORM_ATTRIBUTES) != (self.form_id is not None):
            raise ValueError("answers need the id of their form, and only they: form(12), custom_field(12)")
        if self.form_id is not None and not all(0 < n <= LARGEST for n in (self.form_id, *self.form_ref_ids)):
            raise ValueError("ids of forms and of their options are positive whole numbers")
        if self._is_of_options and not self.form_ref_ids:
            raise ValueError("needs the ids of the options meant, such as form(12, 34, 35)")

    def _check_values(self) -> None:
        given = (self.value is not None, self.low is not None, self.high is not None)
        is_bare = self.ope in ("ext", "not_ext") or self._is_of_options
        if given != (self.ope != "range" and not is_bare, self.ope == "range", self.ope == "range"):
            raise ValueError("has not the values this operator compares with")
        if isinstance(self.value, tuple) and self.ope not in _LISTS:
            raise ValueError("only any_of, none_of and all_of compare with a list")
        for value in (self.value, self.low, self.high):
            if isinstance(value, ServerTime) and self.ope not in ("gte", "lte", "range"):
                raise ValueError("a time of the server's clock is only for gte, lte and between")
            if value is not None:
                _as_json(value)

    @property
    def _is_of_options(self) -> bool:
        """Whether the options named take the place of a value."""
        return self.form_id is not None and self.ope in _LISTS

    def as_json(self) -> dict[str, Any]:
        """Return `{"$condition": {attr, ope, value | from, to[, form_id, form_ref_ids]}}`."""
        inner: dict[str, Any] = {"attr": self.attr, "ope": self.ope}
        if self.form_id is not None:
            inner |= {"form_id": self.form_id, "form_ref_ids": list(self.form_ref_ids)}
        for name, value in (("value", self.value), ("from", self.low), ("to", self.high)):
            if value is not None:
                inner[name] = _as_json(value)
        return {"$condition": inner}


def _as_json(value: Bound | tuple[Value, ...]) -> Any:
    """Return a value as JSON holds it. Raises ValueError with the reason, naming no value."""
    match value:
        case str():
            if not clean(value):
                raise ValueError("an empty text; to ask whether there is a value, say exists or not_exists")
            return value
        case datetime():
            return _in_utc(value)
        case date():
            return value.isoformat()
        case ServerTime():
            return value.text
        case tuple() if value:
            return [_as_json(each) for each in value]
        case int() if -LARGEST <= value <= LARGEST:
            return value
        case float() if math.isfinite(value):
            return value
    raise ValueError(
        "a value is text, a finite number of 64 bits, yes or no, a day, a time, or a list of these"
    )


def _in_utc(time: datetime) -> str:
    """Return RFC 3339 in UTC with microseconds, as Qomon's answers write times."""
    if time.utcoffset() is None:
        raise ValueError("a time without its zone")
    try:
        time = time.astimezone(UTC)
    except OverflowError:
        raise ValueError("a time outside the calendar") from None
    return f"{time.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


@dataclass(frozen=True, slots=True)
class Attribute:
    """A field of contacts to put a condition on; made by `where`."""

    attr: str

    def eql(self, value: Value) -> Condition:
        """Match words, NOT equality: tokenised, in any case, by prefix ("Test" finds "Testville")."""
        return Condition(self.attr, "eql", value)

    def not_eql(self, value: Value) -> Condition:
        """Match who `eql` does not: it leaves out more than those who are equal."""
        return Condition(self.attr, "not_eql", value)

    def eql_strict(self, value: Value) -> Condition:
        """Match the exact text (`eql:strictdata`), upper and lower case told apart: compare in code."""
        return Condition(self.attr, "eql:strictdata", value)

    def not_eql_strict(self, value: Value) -> Condition:
        """Match any other text, another case included (`not_eql:strictdata`; in the older guide only)."""
        return Condition(self.attr, "not_eql:strictdata", value)

    def exists(self) -> Condition:
        """Match who has a value (`ext`)."""
        return Condition(self.attr, "ext")

    def not_exists(self) -> Condition:
        """Match who has no value (`not_ext`)."""
        return Condition(self.attr, "not_ext")

    def contains(self, text: str) -> Condition:
        """Match the text anywhere in the value; whether case counts is not documented."""
        return Condition(self.attr, "contains", text)

    def not_contains(self, text: str) -> Condition:
        """Match who `contains` does not."""
        return Condition(self.attr, "not_contains", text)

    def start_with(self, text: str) -> Condition:
        """Match the text at the start of the value; whether case counts is not documented."""
        return Condition(self.attr, "start_with", text)

    def not_start_with(self, text: str) -> Condition:
        """Match who `start_with` does not."""
        return Condition(self.attr, "not_start_with", text)

    def gte(self, low: Bound) -> Condition:
        """Match at least this, or at this time and later: the end itself included."""
        return Condition(self.attr, "gte", low)

    def lte(self, high: Bound) -> Condition:
        """Match at most this, or at this time and earlier: the end itself included."""
        return Condition(self.attr, "lte", high)

    def between(self, low: Bound, high: Bound) -> Condition:
        """Match from low to high (`range`); whether the ends are included is not documented."""
        return Condition(self.attr, "range", low=low, high=high)

    def any_of(self, *values: Value) -> Condition:
        """Match at least one of the values; whether as `eql` does or exactly is not documented."""
        return Condition(self.attr, "any_of", values)

    def none_of(self, *values: Value) -> Condition:
        """Match none of the values."""
        return Condition(self.attr, "none_of", values)

    def all_of(self, *values: Value) -> Condition:
        """Match all of the values: for fields that hold several, such as tags."""
        return Condition(self.attr, "all_of", values)


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers to one form, to put a condition on; made by `form` and `custom_field`.

    Options are named by their ids (`form_ref_ids`: of refvalues). `any_of`, `none_of` and `all_of` are for
    options, the comparisons for free text, numbers and days. Which form takes which is not documented.
    """

    attr: str
    form_id: int
    form_ref_ids: tuple[int, ...]

    def exists(self) -> Condition:
        """Match who gave any answer (`ext`): the options named are IGNORED by Qomon (observed)."""
        return self._condition("ext")

    def not_exists(self) -> Condition:
        """Match who gave no answer at all (`not_ext`), whatever options are named."""
        return self._condition("not_ext")

    def any_of(self) -> Condition:
        """Match who chose at least one of the options named."""
        return self._condition("any_of")

    def none_of(self) -> Condition:
        """Match who chose none of the options named."""
        return self._condition("none_of")

    def all_of(self) -> Condition:
        """Match who chose all of the options named."""
        return self._condition("all_of")

    def eql(self, value: Value) -> Condition:
        """Match words of a free answer, NOT equality; see `Attribute.eql`. Amounts are texts, in euros."""
        return self._condition("eql", value)

    def contains(self, text: str) -> Condition:
        """Match the text anywhere in a free answer."""
        return self._condition("contains", text)

    def gte(self, low: Bound) -> Condition:
        """Match a free answer of at least this, or of this time and later."""
        return self._condition("gte", low)

    def lte(self, high: Bound) -> Condition:
        """Match a free answer of at most this, or of this time and earlier."""
        return self._condition("lte", high)

    def between(self, low: Bound, high: Bound) -> Condition:
        """Match a free answer from low to high (`range`)."""
        return Condition(self.attr, "range", None, low, high, self.form_id, self.form_ref_ids)

    def _condition(self, ope: Operator, value: Bound | None = None) -> Condition:
        return Condition(self.attr, ope, value, None, None, self.form_id, self.form_ref_ids)


def where(attr: str) -> Attribute:
    """Start a condition on a field: `where("mail").eql_strict("ada@x.example")`, `where("address.city")`."""
    return Attribute(attr)


def form(form_id: int, *ref_ids: int) -> Answers:
    """Start a condition on the answers to a form; `ref_ids`: the ids of its options (refvalues) meant."""
    return Answers("form", form_id, ref_ids)


def custom_field(form_id: int, *ref_ids: int) -> Answers:
    """Start a condition on a custom field, by its form's id; `ref_ids`: the ids of its options meant."""
    return Answers("custom_fields", form_id, ref_ids)


@dataclass(frozen=True, slots=True)
class Group:
    """Conditions that must all match, or of which one must; made by `all_of` and `any_of`."""

    logic: Logic
    conditions: tuple[Condition, ...]

    def __post_init__(self) -> None:
        if not all(isinstance(condition, Condition) for condition in self.conditions):
            raise TypeError("a group holds conditions only: a query has exactly two levels")

    def as_json(self) -> dict[str, Any]:
        """Return `{"$all": […]}` or `{"$at_least_one": […]}` of conditions."""
        return {self.logic: [condition.as_json() for condition in self.conditions]}


def all_of(*conditions: Condition) -> Group:
    """Return the group that matches who meets every condition."""
    return Group("$all", conditions)


def any_of(*conditions: Condition) -> Group:
    """Return the group that matches who meets at least one condition."""
    return Group("$at_least_one", conditions)


@dataclass(frozen=True, slots=True)
class Query:
    """A whole question; made by `Query.all` and `Query.any`.

    An empty `$all` matches everybody (observed for the root). An empty `$at_least_one` matches nobody by its
    words; what Qomon answers to it is not known, so ask nothing rather than that.
    """

    logic: Logic
    groups: tuple[Group, ...]

    def __post_init__(self) -> None:
        if not all(isinstance(group, Group) for group in self.groups):
            raise TypeError("a query holds groups of conditions only: it has exactly two levels")

    @classmethod
    def all(cls, *parts: Group | Condition) -> Query:
        """Return the query that matches who meets every group; bare conditions become one `all_of` group."""
        return cls("$all", _gathered(parts, "$all"))

    @classmethod
    def any(cls, *parts: Group | Condition) -> Query:
        """Return the query that matches who meets one group; bare conditions become one `any_of` group."""
        return cls("$at_least_one", _gathered(parts, "$at_least_one"))

    @property
    def conditions(self) -> int:
        """How many conditions it has: Qomon's limit is not documented, callers keep their own."""
        return sum(len(group.conditions) for group in self.groups)

    def updated_within(self, low: datetime | None, high: datetime | None) -> Query:
        """Return the query that also asks for `UpdatedAt` from low to high, both included, None: no end.

        Still two levels. A root of `$all` gets one more group. Under a root of `$at_least_one` each group
        gets the window, and an `$at_least_one` group becomes as many `$all` groups as it has conditions, so
        the conditions can triple. Raises ValueError for a time without zone.
        """
        window = [] if low is None else [where(UPDATED_AT).gte(low)]
        if high is not None:
            window.append(where(UPDATED_AT).lte(high))
        if not window:
            return self
        if self.logic == "$all":
            return Query("$all", (*self.groups, all_of(*window)))
        groups: list[Group] = []
        for group in self.groups:
            cases = [group.conditions] if group.logic == "$all" else [(each,) for each in group.conditions]
            groups += [all_of(*case, *window) for case in cases]
        return Query("$at_least_one", tuple(groups))

    def as_json(self) -> dict[str, Any]:
        """Return the value of `query` in the body of `POST /search` and `POST /kpi`."""
        return {self.logic: [group.as_json() for group in self.groups]}


EVERYBODY = Query("$all", ())
"""`{"$all": []}`: matches every contact (observed)."""


def _gathered(parts: tuple[Group | Condition, ...], logic: Logic) -> tuple[Group, ...]:
    """Put the bare conditions into one group of their own, before the others."""
    bare = tuple(part for part in parts if isinstance(part, Condition))
    groups = tuple(part for part in parts if not isinstance(part, Condition))
    return (Group(logic, bare), *groups) if bare else groups
