"""What a request to `/search` or `/kpi` asks for, with every mistake named where it is.

Source: Qomon guide, "Search overview". A query has exactly two levels: `$all` or `$at_least_one` of groups,
each `$all` or `$at_least_one` of conditions; anything else is refused with 422, and `{"$all": []}` finds
everything (both observed). Our choice: an empty `$at_least_one` finds nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from syncengine.sandbox.clauses import all_of, any_of
from syncengine.sandbox.conditions import NOTHING, Node, Surroundings, condition
from syncengine.sandbox.contact import Complaint

SORT_KEYS = ("surname", "firstname", "birthdate", "gender", "lastchange", "mail", "married_name", "city")
MOST_PER_PAGE = 1000
_MEMBERS = ("query", "per_page", "page", "sort_attr", "sort_asc", "include_interactions")
_WHERE = "body.data.advanced_search"


@dataclass(frozen=True, slots=True)
class Search:
    """A request that was understood; `sort_attr` is empty for the usual order."""

    query: Node
    per_page: int
    page: int
    sort_attr: str
    is_ascending: bool
    has_interactions: bool


class Reader:
    """Reads one request; `complaints` are the mistakes found. A query may hold `most` conditions."""

    def __init__(self, around: Surroundings, most: int) -> None:
        self.complaints: list[Complaint] = []
        self._around = around
        self._most = most
        self._conditions = 0

    def read(self, document: object, required: Sequence[str]) -> Search | None:
        """Return what the body asks for, None when there are complaints.

        Body: `{"data": {"advanced_search": {...}}}` with `required` and any of `query`, `per_page` (1 to
        1000), `page` (from 0 on), `sort_attr`, `sort_asc` and `include_interactions`.
        """
        asked = self._member(self._member(document, "body", "data"), "body.data", "advanced_search")
        if not isinstance(asked, dict):
            if not self.complaints:
                self._complain(_WHERE, "expected object", asked)
            return None
        for name in asked:
            if name not in _MEMBERS:
                self._complain(f"{_WHERE}.{name}", "unexpected property", asked[name])
        for name in required:
            if name not in asked:
                self._complain(_WHERE, f"expected required property {name} to be present", asked)
        search = Search(
            query=self._level(asked.get("query", {"$all": []}), f"{_WHERE}.query", self._group),
            per_page=self._number(asked, "per_page", 1, MOST_PER_PAGE),
            page=self._number(asked, "page", 0, 2**53),
            sort_attr=self._sort_attr(asked.get("sort_attr")),
            is_ascending=self._flag(asked, "sort_asc"),
            has_interactions=self._flag(asked, "include_interactions"),
        )
        if self._conditions > self._most:
            self._complain(f"{_WHERE}.query", f"expected at most {self._most} conditions", self._conditions)
        return None if self.complaints else search

    def _complain(self, where: str, message: str, value: object) -> None:
        self.complaints.append(Complaint(where, message, value))

    def _member(self, parent: object, where: str, name: str) -> object:
        """Return the only member an object may have, and must; None when it is not there."""
        if not isinstance(parent, dict):
            if not self.complaints:
                self._complain(where, "expected object", parent)
            return None
        for other in parent:
            if other != name:
                self._complain(f"{where}.{other}", "unexpected property", parent[other])
        if name not in parent:
            self._complain(where, f"expected required property {name} to be present", parent)
        return parent.get(name)

    def _number(self, asked: Mapping[str, Any], name: str, least: int, most: int) -> int:
        value = asked.get(name, least)
        if type(value) is not int:
            self._complain(f"{_WHERE}.{name}", "expected integer", value)
            return least
        if not least <= value <= most:
            self._complain(f"{_WHERE}.{name}", f"expected number >= {least} and <= {most}", value)
        return value

    def _flag(self, asked: Mapping[str, Any], name: str) -> bool:
        value = asked.get(name, False)
        if not isinstance(value, bool):
            self._complain(f"{_WHERE}.{name}", "expected boolean", value)
        return value is True

    def _sort_attr(self, value: object) -> str:
        if value is None:
            return ""
        if value not in SORT_KEYS:
            wanted = f'expected value to be one of "{", ".join(SORT_KEYS)}"'
            self._complain(f"{_WHERE}.sort_attr", wanted, value)
        return str(value)

    # The query: exactly two levels

    def _level(self, value: object, where: str, read: Callable[[object, str], Node]) -> Node:
        words = list(value) if isinstance(value, dict) else []
        if words not in (["$all"], ["$at_least_one"]):
            self._complain(where, "expected object with either $all or $at_least_one", value)
            return NOTHING
        assert isinstance(value, dict)
        (word,) = words
        members = value[word]
        if not isinstance(members, list):
            self._complain(f"{where}.{word}", "expected array", members)
            return NOTHING
        nodes = [read(member, f"{where}.{word}[{number}]") for number, member in enumerate(members)]
        return _all(nodes) if word == "$all" else _any(nodes)

    def _group(self, value: object, where: str) -> Node:
        return self._level(value, where, self._leaf)

    def _leaf(self, value: object, where: str) -> Node:
        self._conditions += 1
        if not isinstance(value, dict) or list(value) != ["$condition"]:
            self._complain(where, "expected object with a $condition", value)
            return NOTHING
        return condition(value["$condition"], f"{where}.$condition", self._around, self._complain)


def _all(nodes: Sequence[Node]) -> Node:
    tests = [node.matches for node in nodes]
    return Node(lambda stored: all(test(stored) for test in tests), all_of([node.clause for node in nodes]))


def _any(nodes: Sequence[Node]) -> Node:
    tests = [node.matches for node in nodes]
    return Node(lambda stored: any(test(stored) for test in tests), any_of([node.clause for node in nodes]))
