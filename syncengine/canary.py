"""The canary: the first sends of a kind are settled before the rest goes. Pure.

A kind is new when nothing of it was ever settled well: the first sends to a space, the first after a changed
mapping, the first partial bodies. Twenty wrong ones can be mended by hand, a hundred thousand cannot.

The last of the twenty may have been dropped: then nobody accepted later can be seen, and for all one knows
the destination is only late. So one contact more is let through as a probe, and another if that is not seen
either: one that is seen shows that those before it were passed.
"""

from __future__ import annotations

import math
from collections.abc import Collection

SIZE = 20
FAILURES = 5
"""Of `SIZE` first contacts so many rejected, dropped or differing ones stop the run."""

PROBES = 3
"""Contacts let through besides `SIZE`, one after the other."""

WHOLE, PARTIAL = "whole", "partial"


class Canary:
    """Lets `SIZE` contacts of each new kind through, then nobody of it until all of them are settled.

    `passed`: the kinds that need none.
    """

    def __init__(self, passed: Collection[str]) -> None:
        self._passed = set(passed)
        self._open: dict[str, dict[int, float]] = {WHOLE: {}, PARTIAL: {}}  # and when it was accepted
        self._settled = {WHOLE: 0, PARTIAL: 0}
        self._good = {WHOLE: 0, PARTIAL: 0}
        self._probes = {WHOLE: 0, PARTIAL: 0}
        self.failed = 0

    def may_go(self, kind: str) -> bool:
        """Say whether a contact of this kind may be sent now."""
        if kind in self._passed:
            return True
        return len(self._open[kind]) + self._settled[kind] < SIZE + self._probes[kind]

    def go(self, n: int, kind: str) -> None:
        """Take note that a contact is sent, or about to be."""
        if kind not in self._passed:
            self._open[kind][n] = math.inf

    def accept(self, n: int, date: float) -> None:
        """Take note that a contact was accepted at `date`, by the server's clock."""
        for waiting in self._open.values():
            if n in waiting:
                waiting[n] = date

    def probe(self, *, before: float, seen: float) -> None:
        """Let one more contact through where all that is missing is somebody accepted later who is seen.

        That is, of a kind that lets nobody go: some arrived well, all who did not arrive were accepted
        `before`, long enough ago, and one of them after the latest acceptance that was `seen`.
        """
        for kind, waiting in self._open.items():
            latest = max(waiting.values(), default=-math.inf)
            may_probe = self._good[kind] and self._probes[kind] < PROBES and not self.may_go(kind)
            if may_probe and seen < latest < before:
                self._probes[kind] += 1

    def is_probing(self, n: int) -> bool:
        """Say whether a contact is of a kind that was let one more through."""
        return any(n in waiting and self._probes[kind] for kind, waiting in self._open.items())

    def has(self, n: int) -> bool:
        """Say whether a contact is one of those that are out."""
        return any(n in waiting for waiting in self._open.values())

    def come_back(self, n: int) -> None:
        """Take note that a contact was not sent, or that nobody knows: another one may go in its place."""
        for waiting in self._open.values():
            waiting.pop(n, None)

    def settle(self, n: int, *, is_good: bool) -> str | None:
        """Take note of what became of a contact; return the kind that has passed by it, if one has."""
        for kind, waiting in self._open.items():
            if n in waiting:
                del waiting[n]
                self._settled[kind] += 1
                self._good[kind] += is_good
                self.failed += not is_good
                if self._settled[kind] >= SIZE and not waiting and not self.has_failed:
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
