"""The token bucket and its four headers.

Source: Qomon guide, "Rate limits": every response carries a limit such as `burst:100;rate:10.0`, the tokens
left, the cost of the request and the seconds until the bucket is full again.
"""

import math
from collections.abc import Callable


class Bucket:
    """A bucket of `burst` tokens that refills by `rate` tokens a second; `clock` gives float seconds."""

    __slots__ = ("_at", "_clock", "_level", "_limit", "burst", "rate")

    def __init__(self, burst: int, rate: float, clock: Callable[[], float]) -> None:
        self.burst = burst
        self.rate = float(rate)
        self._clock = clock
        self._limit = f"X-Ratelimit-Limit: burst:{burst};rate:{self.rate}\r\nX-Ratelimit-Remaining: "
        self._level = float(burst)
        self._at = clock()

    @property
    def level(self) -> float:
        """Tokens there now, with fractions."""
        now = self._clock()
        self._level = min(float(self.burst), self._level + (now - self._at) * self.rate)
        self._at = now
        return self._level

    def has(self, cost: int) -> bool:
        """Say whether `cost` tokens are there, taking none."""
        return self.level >= cost

    def take(self, cost: int) -> None:
        """Take `cost` tokens, of which `has` has just been true."""
        self._level -= cost

    def refill(self) -> None:
        """Fill the bucket to the brim."""
        self._level = float(self.burst)
        self._at = self._clock()

    def headers(self, cost: int) -> str:
        """Return the header lines of an answer that cost `cost` tokens, as of the last look at the level."""
        reset = math.ceil((self.burst - self._level) / self.rate)
        return (
            f"{self._limit}{int(self._level)}\r\n"
            f"X-Ratelimit-Cost: {cost}\r\n"
            f"X-Ratelimit-ResetTime: {reset}\r\n"
        )
