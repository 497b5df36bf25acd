"""Findings about whole fields: what Qomon rewrites in nearly everybody is no problem of a person. Pure.

Values are never kept: an example is a shape, letters as a, digits as 9.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from syncengine.seen import Difference

SEEN_FROM = 50
SHARE = 0.9
LONGEST_SHAPE = 40


@dataclass(frozen=True, slots=True)
class Finding:
    """A field that differs in `differs` of the `seen` contacts that have it; `sent`, `shown`: shapes."""

    field: str
    differs: int
    seen: int
    sent: str
    shown: str

    def as_json(self) -> dict[str, object]:
        """Return the finding for a report."""
        return {
            "field": self.field,
            "differs": self.differs,
            "seen": self.seen,
            "sent": self.sent,
            "shown": self.shown,
        }


class Findings:
    """Counts, field by field, how many of the contacts seen in a run hold it and differ in it."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()
        self._differs: Counter[str] = Counter()
        self._shapes: dict[str, tuple[str, str]] = {}

    def add(self, names: Iterable[str], differences: Iterable[Difference]) -> None:
        """Count a contact that was seen: the names of what was sent, and what differs."""
        self._seen.update(names)
        for difference in differences:
            name = difference.field
            self._differs[name] += 1
            if name not in self._shapes:
                self._shapes[name] = shape(difference.sent), shape(difference.seen)

    def found(self) -> list[Finding]:
        """Return the fields that differ in nearly everybody, the most frequent first."""
        return [
            Finding(name, count, seen, *self._shapes[name])
            for name, count in self._differs.most_common()
            if (seen := self._holding(name)) >= SEEN_FROM and count >= SHARE * seen
        ]

    def _holding(self, name: str) -> int:
        return self._seen[name] or self._seen[name.partition(".")[0]]


def shape(value: object) -> str:
    """Return a value as a shape: letters as a, digits as 9; `nothing` when there is none."""
    if value in (None, "", [], ()):
        return "nothing"
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    text = re.sub(r"[^\W\d_]", "a", re.sub(r"\d", "9", text))
    return text if len(text) <= LONGEST_SHAPE else text[: LONGEST_SHAPE - 1] + "…"
