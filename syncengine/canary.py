"""The canary: the first sends of a kind are settled before the rest goes. Pure.

A kind is new when nothing of it was ever settled well: the first sends to a space, the first after a changed
mapping, the first partial bodies. Twenty wrong ones can be mended by hand, a hundred thousand cannot.
"""

from __future__ import annotations

from collections.abc import Collection

SIZE = 20
FAILURES = 5
"""Of `SIZE` first contacts so many rejected, dropped or differing ones stop the run."""

WHOLE, PARTIAL = "whole", "partial"


class Canary:
    """Lets `SIZE` contacts of each new kind through, then nobody of it until all of them are settled.

    `passed`: the kinds that need none.
    """

    def __init__(self, passed: Collection[str]) -> None:
        self._passed = set(passed)
        self._open: dict[str, set[int]] = {WHOLE: set(), PARTIAL: set()}
        self._settled = {WHOLE: 0, PARTIAL: 0}
        self.failed = 0

    def may_go(self, kind: str) -> bool:
        """Say whether a contact of this kind may be sent now."""
        return kind in self._passed or len(self._open[kind]) + self._settled[kind] < SIZE

    def go(self, n: int, kind: str) -> None:
        """Take note that a contact is sent, or about to be."""
        if kind not in self._passed:
            self._open[kind].add(n)

    def has(self, n: int) -> bool:
        """Say whether a contact is one of those that are out."""
        return any(n in waiting for waiting in self._open.values())

    def come_back(self, n: int) -> None:
        """Take note that a contact was not sent, or that nobody knows: another one may go in its place."""
        for waiting in self._open.values():
            waiting.discard(n)

    def settle(self, n: int, *, is_good: bool) -> str | None:
        """Take note of what became of a contact; return the kind that has passed by it, if one has."""
        for kind, waiting in self._open.items():
            if n in waiting:
                waiting.remove(n)
                self._settled[kind] += 1
                self.failed += not is_good
                if self._settled[kind] >= SIZE and not self.has_failed:
                    self._passed.add(kind)
                    return kind
        return None

    def give_up(self) -> None:
        """Count whoever is not settled and keeps others waiting as failed: the wait is over."""
        for kind, waiting in self._open.items():
            if not self.may_go(kind):
                self.failed += len(waiting)
                self._settled[kind] += len(waiting)
                waiting.clear()
                if not self.has_failed:
                    self._passed.add(kind)

    @property
    def is_shut(self) -> bool:
        """Say whether nobody of any kind may go."""
        return not any(map(self.may_go, (WHOLE, PARTIAL)))

    @property
    def has_failed(self) -> bool:
        """Say whether so many went wrong that the rest must not go."""
        return self.failed >= FAILURES

    @property
    def is_waiting(self) -> bool:
        """Say whether contacts of a new kind are out: they are worth reading soon."""
        return any(self._open.values())
