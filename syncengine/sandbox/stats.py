"""What the sandbox counts while it runs."""

import time
from collections import Counter


class Stats:
    """Counters since the start or the last reset; times are seconds since 1970."""

    def __init__(self) -> None:
        self.handling = 0
        self.clear()

    def clear(self) -> None:
        """Start counting anew; requests being handled now stay counted as such."""
        self.started = time.time()
        self.requests: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.staff: Counter[str] = Counter()
        self.tokens = 0
        self.connections = 0
        self.peak = self.handling
        self.first_upsert: float | None = None
        self.last_upsert: float | None = None

    def begin(self) -> None:
        """Count a request as being handled."""
        self.handling += 1
        self.peak = max(self.peak, self.handling)

    def end(self) -> None:
        """Count a request as no longer being handled: answered, or its connection is gone."""
        self.handling -= 1

    def as_json(self) -> dict[str, object]:
        """Return the counters in the shape of `GET /_sandbox/stats`."""
        return {
            "requests": self.requests,
            "statuses": self.statuses,
            "outcomes": {outcome: number for outcome, number in self.outcomes.items() if number},
            "faults": self.faults,
            "staff": self.staff,
            "tokens_used": self.tokens,
            "throttled": self.statuses["429"],
            "connections": self.connections,
            "peak_concurrency": self.peak,
            "seconds": round(time.time() - self.started, 3),
            "first_upsert_at": self.first_upsert,
            "last_upsert_at": self.last_upsert,
        }
