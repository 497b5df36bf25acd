"""Where a run stands, for a terminal, a log line, or `status` from another shell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from syncengine.model import Result
from syncengine.tally import Tally

RATE_SMOOTHING = 0.3
"""Weight of the newest second in the shown rate."""


@dataclass(slots=True)
class Progress:
    """A run's position. Counts are contacts; `rate` settled per second, `finish_at` Unix time."""

    phase: str = "starting"
    read: int = 0
    due: int = 0
    sent: int = 0
    accepted: int = 0
    problems: int = 0
    tokens_left: float | None = None
    rate: float = 0.0
    finish_at: float | None = None
    _mark: tuple[float, int] = (0.0, 0)
    _began: float = 0.0

    def begin_sending(self, due: int, monotonic: float) -> None:
        """Start counting towards `due` contacts."""
        self.phase, self.due, self._mark, self._began = "sending", due, (monotonic, 0), monotonic

    def settled(self, tally: Tally, tokens_left: float | None) -> None:
        """Take over the counts after a receipt."""
        self.sent = tally.sent
        self.accepted = tally.accepted
        self.problems = tally[Result.REJECTED] + tally[Result.IN_DOUBT]
        self.tokens_left = tokens_left

    @property
    def remaining(self) -> int:
        """Contacts still to settle."""
        return max(0, self.due - self.accepted - self.problems)

    def estimate(self, budget_rate: float, tokens: float, *, wall: float, monotonic: float) -> None:
        """Estimate the end: the slower of what the budget allows and what was reached so far."""
        since, count = self._mark
        settled = self.accepted + self.problems
        if monotonic - since >= 0.5:
            latest = (settled - count) / (monotonic - since)
            self.rate = latest if not self.rate else self.rate + RATE_SMOOTHING * (latest - self.rate)
            self._mark = (monotonic, settled)
        by_budget = max(0.0, self.remaining - tokens) / budget_rate
        by_rate = self.remaining * (monotonic - self._began) / settled if settled else 0.0
        self.finish_at = wall + max(by_budget, by_rate)

    def as_json(self) -> dict[str, Any]:
        """Return what `status --json` shows of a run in progress."""
        return {
            "sent": self.sent,
            "remaining": self.remaining,
            "rate": round(self.rate, 1),
            "finish_at": self.finish_at,
        }
