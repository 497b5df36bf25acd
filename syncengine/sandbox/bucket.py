"""The token bucket and its four headers.

Source: Qomon guide, "Rate limits": every response carries a limit such as `burst:100;rate:10.0`, the tokens
left, the cost of the request and the seconds until the bucket is full again. Whether that last header is
called `X-Ratelimit-ResetTime` or `X-Ratelimit-Reset` cannot be told from the page: unknown `reset_header`.
"""

import math
from collections.abc import Callable


class Bucket:
    """A bucket of `burst` tokens that refills by `rate` tokens a second; `clock` gives float seconds.

    `reset_header` is what comes after `X-Ratelimit-` in the name of the reset header.
    """

    __slots__ = ("_at", "_clock", "_level", "_limit", "_reset", "burst", "rate")

    def __init__(
        self, burst: int, rate: float, clock: Callable[[], float], reset_header: str = "ResetTime"
    ) -> None:
        self.burst = burst
        self.rate = float(rate)
        self._clock = clock
        self._limit = f"X-Ratelimit-Limit: burst:{burst};rate:{self.rate}\r\nX-Ratelimit-Remaining: "
        self._reset = f"X-Ratelimit-{reset_header}: "
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
        return f"{self._limit}{int(self._level)}\r\nX-Ratelimit-Cost: {cost}\r\n{self._reset}{reset}\r\n"
