"""Which acceptances of a run wait for a read, where a window should begin, and what was passed. Pure."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

WORTH_READING = 0.1
"""Share of a window's contacts that must still wait: below, look-ups of 50 are cheaper."""


REST = 5.0
"""Seconds between seeing something accepted later and the last look: its neighbours may be a moment later."""

CHEAP = 500
"""Contacts that one page shows together with whoever else was updated: worth a token for a single one."""


@dataclass(slots=True)
class _Second:
    """Contacts accepted in one second of the server's clock, and how many of them still wait."""

    accepted: int = 0
    waiting: int = 0


class Waiting:
    """When contacts of this run were accepted, and which of them wait for a read, by second. Pure."""

    def __init__(self) -> None:
        self._seconds: dict[int, _Second] = {}
        self._order: deque[int] = deque()
        self.accepted = 0
        self.waiting = 0

    def add(self, date: float) -> None:
        """Count an acceptance at `date`, Unix seconds of the server's clock."""
        second = self._seconds.get(int(date))
        if second is None:
            second = self._seconds[int(date)] = _Second()
            self._order.append(int(date))
        second.accepted += 1
        second.waiting += 1
        self.accepted += 1
        self.waiting += 1

    def settle(self, date: float) -> None:
        """Count one of them as settled."""
        second = self._seconds.get(int(date))
        if second is not None and second.waiting:
            second.waiting -= 1
            self.waiting -= 1

    def window(self, low: float) -> tuple[float, int]:
        """Return where a window should begin, not before `low`, and how many contacts of ours it may show.

        The earliest second from which on at least `WORTH_READING` of the contacts still wait, or no more than
        `CHEAP` were accepted; infinity when there is none. Who was accepted before `low` and still waits may
        be applied later, and be shown.
        """
        accepted = waiting = shown = 0
        best = (math.inf, 0)
        for second in sorted(self._seconds, reverse=True):
            count = self._seconds[second]
            accepted += count.accepted
            waiting += count.waiting
            shown += count.accepted if second >= int(low) else count.waiting
            if waiting and (waiting >= WORTH_READING * accepted or accepted <= CHEAP):
                best = (max(float(second), low), shown)
        return best

    def forget_before(self, date: float) -> None:
        """Forget seconds of which nobody waits any more."""
        while self._order and self._order[0] < date and not self._seconds[self._order[0]].waiting:
            del self._seconds[self._order.popleft()]


class Passed:
    """Up to which acceptance everything should be seen, because something accepted later was."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque([(-math.inf, -math.inf)])

    def see(self, date: float, now: float) -> None:
        """Take note that at `now`, on a clock that only grows, something accepted at `date` was seen."""
        if date > self.latest:
            self._seen.append((now, date))
            while len(self._seen) > 2 and self._seen[1][0] <= now - REST:
                self._seen.popleft()

    @property
    def latest(self) -> float:
        """The latest acceptance that was seen; minus infinity before."""
        return self._seen[-1][1]

    @property
    def at(self) -> float:
        """When it was seen."""
        return self._seen[-1][0]

    def up_to(self, now: float) -> float:
        """Return up to which acceptance everything should be seen: what was accepted later is at rest."""
        return max(date for seen_at, date in self._seen if seen_at <= now - REST)
