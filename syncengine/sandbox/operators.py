"""The operators of `/search` as predicates over the texts that an attribute of a contact has.

Source: Qomon guide, "Search overview", for the operators. `eql` is no equality but finds the beginnings of
words in any case ("Test" finds "Testville"; observed), `eql:strictdata` compares every character. The rest is
our choice: all words of an `eql` must be found, in any order; `contains`, `start_with`, bounds on texts and
the lists look past case; a negation also finds contacts without any value; bounds are inclusive.
"""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from syncengine.sandbox.dates import span
from syncengine.sandbox.matching import fold

NEGATIONS = {
    "not_eql": "eql",
    "not_eql:strictdata": "eql:strictdata",
    "not_ext": "ext",
    "not_contains": "contains",
    "not_start_with": "start_with",
    "none_of": "any_of",
}
OPERATORS = (
    "eql", "not_eql", "eql:strictdata", "not_eql:strictdata", "ext", "not_ext", "contains", "not_contains",
    "start_with", "not_start_with", "gte", "lte", "range", "any_of", "none_of", "all_of",
)  # fmt: skip
LISTS = ("any_of", "none_of", "all_of")
BOUNDS = ("gte", "lte", "range")

Place = float | str
Test = Callable[[Sequence[str]], bool]
Scale = Callable[[str, float], tuple[Place, Place] | None]
"""From a text and the present moment to the first and the last place it stands for; None: it has none."""

_WORD = re.compile(r"\w+")
_NUMBER = re.compile(r"[+-]?\d{1,30}(\.\d{1,30})?")


class Interval(NamedTuple):
    """Places from `low` to `high`, both included; None is without a bound."""

    low: Place | None
    high: Place | None


def texts(text: str, now: float) -> tuple[Place, Place] | None:  # noqa: ARG001 - a Scale
    """Place texts in their alphabetical order, whatever their case."""
    return text.lower(), text.lower()


def numbers(text: str, now: float) -> tuple[Place, Place] | None:  # noqa: ARG001 - a Scale
    """Place numbers."""
    return (float(text), float(text)) if _NUMBER.fullmatch(text) else None


def dates(text: str, now: float) -> tuple[Place, Place] | None:
    """Place dates; a day without a time stands for all of it."""
    return span(text, now)


def scale_of(values: Sequence[str], now: float) -> Scale:
    """Return the scale on which all of these lie: what an answer to a form is, only its condition says."""
    for scale in (numbers, dates):
        if all(scale(value, now) for value in values):
            return scale
    return texts


def intervals(ope: str, values: Sequence[str], scale: Scale, now: float) -> list[Interval] | None:
    """Return the intervals that an operator speaks of, one per value; None when a value has no place."""
    found = [scale(value, now) for value in values]
    places = [place for place in found if place]
    if len(places) < len(found):
        return None
    match ope:
        case "gte":
            return [Interval(places[0][0], None)]
        case "lte":
            return [Interval(None, places[0][1])]
        case "range":
            return [Interval(places[0][0], places[1][1])]
    return [Interval(*place) for place in places]


def within(found: Sequence[Interval], scale: Scale, now: float, *, is_each: bool) -> Test:
    """Return the test that some text lies in some interval, or, for `is_each`, that each interval has one."""

    def test(given: Sequence[str]) -> bool:
        places = [place[0] for place in (scale(text, now) for text in given) if place]
        hits = (any(_lies_in(place, interval) for place in places) for interval in found)
        return all(hits) if is_each else any(hits)

    return test


def _lies_in(place: Place, interval: Interval) -> bool:
    low, high = interval
    return (low is None or low <= place) and (high is None or place <= high)  # type: ignore[operator]


def wording(ope: str, values: Sequence[str]) -> Test:
    """Return the test of an operator that is about the texts themselves."""
    match ope:
        case "ext":
            return bool
        case "eql":
            return _words(values[0])
        case "eql:strictdata":
            return lambda given: values[0] in given
        case "contains":
            part = values[0].lower()
            return lambda given: any(part in text.lower() for text in given)
        case "start_with":
            start = values[0].lower()
            return lambda given: any(text.lower().startswith(start) for text in given)
        case "any_of":
            wanted = {fold(value) for value in values}
            return lambda given: any(fold(text) in wanted for text in given)
        case "all_of":
            wanted = {fold(value) for value in values}
            return lambda given: wanted <= {fold(text) for text in given}
    raise AssertionError(ope)


def words(value: str) -> list[str]:
    """Return what an `eql` looks for: words are letters, digits and underscores."""
    return _WORD.findall(value.lower())


def _words(value: str) -> Test:
    """Return the test that some text has a word beginning with each word of `value`; without any it fails."""
    patterns = [re.compile(rf"\b{word}").search for word in words(value)]
    if not patterns:
        return lambda _: False

    def test(given: Sequence[str]) -> bool:
        for text in given:
            lowered = text.lower()
            if all(find(lowered) for find in patterns):
                return True
        return False

    return test
