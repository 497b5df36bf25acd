"""The budget: tokens of the destination's bucket, paid by every attempt, read or write.

aiolimiter's leaky bucket behind one waiter, led by the server's headers. The limiter alone gives up to twice
the rate in its first window, cannot be emptied or re-rated, is not fair, and burns CPU under many waiters
(mjpieters/aiolimiter issues 90, 200, 298; measured: 385 µs a grant with 32 waiters, 1 µs with one). So one
dispatcher pays it and hands out.

The first answer says how full the bucket is; from then on we count along. An answer that tells of less than
we count (another client took some) lowers the count; none raises it, because what it says may be older than
grants that were answered meanwhile. That errs to the slow side by a round trip, once, and never to a 429.
Until the first answer, and after a 429, one token is known: so a restart cannot fire a burst at an empty
bucket.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple, Self

from aiolimiter import AsyncLimiter

from syncengine.errors import RateHeaders, SyncError

DEFAULT_PAUSE = 5.0
"""Seconds to pause after a 429 that names no time (field practice; Qomon documents none)."""
MAX_PAUSE = 900.0
LOWEST_RATE = 1e-3
MOST = 1e6
"""Bounds of what headers are believed, in tokens and tokens a second: beyond them floats stop counting."""


class BudgetClosedError(SyncError):
    """The run ends: nobody gets tokens any more. The request did not leave."""


class _Waiter(NamedTuple):
    cost: float
    ticket: asyncio.Future[int]


class Budget:
    """Tokens for everybody who sends with one key. Enter it inside the running loop.

    `rate` tokens per second and `burst` tokens until the headers say otherwise; `share` of both is ours.
    `on_pause` is told how many seconds of pause are ahead whenever the server orders one.
    """

    def __init__(
        self,
        *,
        rate: float,
        burst: float,
        share: float = 1.0,
        on_pause: Callable[[float], None] = lambda _seconds: None,
    ) -> None:
        self._share = share
        self._on_pause = on_pause
        self._limit(burst, rate)
        self._granted = 0  # the latest ticket
        self._open: dict[int, float] = {}  # tickets granted and not answered yet, in order, with their cost
        self._leading = 0  # the latest ticket whose answer was heard; older answers are stale
        self._owed = 0.0  # below an empty bucket: paid before the next grant
        self._is_probing = True  # nothing known of the level: one request, then its answer
        self._waiting: deque[_Waiter] = deque()
        self._changed = asyncio.Event()
        self._resume_at = 0.0
        self._remaining: float | None = None
        self._is_closed = False
        self._woken: list[asyncio.Event] = []
        self._dispatcher: asyncio.Task[None] | None = None
        self._limiter: AsyncLimiter
        self.requests = 0
        self.throttled = 0
        self.tokens = 0.0

    async def __aenter__(self) -> Self:
        self._clock = asyncio.get_running_loop().time
        await self._refill(0.0)
        self._dispatcher = asyncio.create_task(self._dispatch(), name="budget")
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._dispatcher is not None
        self._dispatcher.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._dispatcher

    @property
    def rate(self) -> float:
        """Our tokens per second, as last learned."""
        return self._rate

    @property
    def is_closed(self) -> bool:
        """Say whether nobody gets tokens any more."""
        return self._is_closed

    def wakes(self, event: asyncio.Event) -> None:
        """Set `event` too when the budget is closed: for those who wait for something before they pay."""
        self._woken.append(event)

    @property
    def burst(self) -> float:
        """Our bucket's size in tokens, as last learned."""
        return self._burst

    @property
    def remaining(self) -> float | None:
        """Tokens left, as the last answer told; None before any did."""
        return self._remaining

    async def acquire(self, cost: float = 1.0) -> int:
        """Wait for `cost` tokens and return a ticket. First come, first served, whatever the cost.

        Every ticket must be closed by one `answered`, `throttle` or `returned`. Raises BudgetClosedError.
        """
        if self._is_closed:
            raise BudgetClosedError("the run ends")
        if not self._waiting and self._can_grant(cost):
            return await self._grant(cost)
        waiter = _Waiter(cost, asyncio.get_running_loop().create_future())
        if not self._waiting:
            self._changed.set()
        self._waiting.append(waiter)
        try:
            return await waiter.ticket
        except asyncio.CancelledError:
            if waiter.ticket.done() and not waiter.ticket.cancelled() and not waiter.ticket.exception():
                self.returned(waiter.ticket.result())
            raise

    async def answered(self, ticket: int, headers: RateHeaders) -> None:
        """Learn from the answer to a request."""
        del self._open[ticket]
        self.requests += 1
        self.tokens += headers.cost or 0.0
        if ticket <= self._leading:
            return
        self._leading = ticket
        is_news = self._is_probing
        if headers.burst is not None and headers.rate is not None:
            before = self._burst, self._rate
            self._limit(headers.burst, headers.rate)
            is_news |= before != (self._burst, self._rate)
        remaining = _remaining(headers)
        if remaining is not None:
            self._remaining = remaining
            level = remaining * self._share - sum(self._open.values())
        else:
            level = -sum(self._open.values())  # a server without headers: as if from an empty bucket
        if is_news or (remaining is not None and self._is_above(level)):
            self._is_probing = False
            await self._refill(level)

    async def throttle(self, ticket: int, headers: RateHeaders, *, wanting: float = 1.0) -> None:
        """Learn from a 429: nobody sends until the time it names, then one request asks again.

        Nor before the bucket can hold the `wanting` tokens that request may cost.
        """
        del self._open[ticket]
        self.requests += 1
        self.throttled += 1
        wanted = DEFAULT_PAUSE if headers.retry_after is None else headers.retry_after
        self._is_probing = True
        self._leading = self._granted  # whatever was granted until now knows nothing of this
        missing = max(1.0, min(wanting, self._burst) - (headers.remaining or 0.0))
        await self.pause(max(wanted, min(DEFAULT_PAUSE, missing / self._rate)))

    def returned(self, ticket: int, *, left: bool = False) -> None:
        """Close the ticket of a request without an answer. `left`: some of it may have been sent."""
        del self._open[ticket]
        self.requests += left
        self._changed.set()

    async def pause(self, seconds: float) -> None:
        """Let nobody send for so many seconds from now, MAX_PAUSE at most; an earlier, longer pause stays."""
        self._resume_at = max(self._resume_at, self._clock() + min(seconds, MAX_PAUSE))
        await self._refill(0.0)
        self._on_pause(self._pause_left())

    def close(self) -> None:
        """Turn away whoever waits, and whoever comes: BudgetClosedError."""
        self._is_closed = True
        for event in self._woken:
            event.set()
        while self._waiting:
            ticket = self._waiting.popleft().ticket
            if not ticket.done():
                ticket.set_exception(BudgetClosedError("the run ends"))
        self._changed.set()

    # --- inside ------------------------------------------------------------------------------------------

    def _limit(self, burst: float, rate: float) -> None:
        self._burst = min(max(1.0, burst * self._share), MOST)
        self._rate = min(max(LOWEST_RATE, rate * self._share), MOST)

    async def _refill(self, level: float) -> None:
        """Put a bucket holding `level` tokens in place of the present one."""
        self._limiter = AsyncLimiter(self._burst, self._burst / self._rate)
        self._owed = min(max(0.0, -level), self._burst)
        spent = self._burst - min(max(0.0, level), self._burst)
        if spent > 0:
            await self._limiter.acquire(spent)  # a fresh bucket: never waits
        self._changed.set()

    def _is_above(self, level: float) -> bool:
        """Say whether we count more than `level` tokens."""
        if self._owed or level < 0:
            return -self._owed > level
        return self._limiter.has_capacity(level)

    def _can_grant(self, cost: float) -> bool:
        if self._pause_left() > 0:
            return False
        if self._is_probing:
            return next(reversed(self._open), 0) <= self._leading
        return not self._owed and self._limiter.has_capacity(self._price(cost))

    async def _grant(self, cost: float) -> int:
        """Take the tokens. `_can_grant` has just said yes, so this does not wait."""
        if not self._is_probing:
            await self._limiter.acquire(self._price(cost))
        return self._ticket(cost)

    def _ticket(self, cost: float) -> int:
        self._granted += 1
        self._open[self._granted] = cost
        return self._granted

    def _price(self, cost: float) -> float:
        """Return what is paid: no bucket holds more than it can."""
        return min(cost, self._limiter.max_rate)

    def _pause_left(self) -> float:
        return self._resume_at - self._clock() if self._resume_at else 0.0

    async def _dispatch(self) -> None:
        """Serve the waiting one after the other: the only task that ever waits for the bucket."""
        try:
            while True:
                self._changed.clear()
                while self._waiting:
                    cost, ticket = self._waiting[0]
                    if not ticket.done():
                        if not self._can_grant(cost):
                            break
                        ticket.set_result(await self._grant(cost))
                    self._waiting.popleft()
                if self._waiting and not self._is_probing and self._pause_left() <= 0:
                    await self._pay(self._owed or self._waiting[0].cost)
                else:
                    pause = self._pause_left()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(pause if self._waiting and pause > 0 else None):
                            await self._changed.wait()
        finally:
            self.close()  # nobody is left waiting, whatever ended this

    async def _pay(self, amount: float) -> None:
        """Wait for `amount` tokens, or until the bucket is replaced: then they are counted anew.

        They pay off what is owed, else they are the first waiting grant's.
        """
        limiter, amount = self._limiter, self._price(amount)
        paying = asyncio.create_task(limiter.acquire(amount), name="budget-pays")
        changing = asyncio.create_task(self._changed.wait(), name="budget-changes")
        try:
            await asyncio.wait({paying, changing}, return_when=asyncio.FIRST_COMPLETED)
            is_paid = paying.done() and limiter is self._limiter
        finally:
            paying.cancel()
            changing.cancel()
            await asyncio.wait({paying, changing})
        if not is_paid:
            return
        if self._owed:
            self._owed = max(0.0, self._owed - amount)
            return
        if not self._waiting:  # closed meanwhile
            return
        cost, ticket = self._waiting.popleft()
        if not ticket.done():
            ticket.set_result(self._ticket(cost))


def _remaining(headers: RateHeaders) -> float | None:
    """Return the tokens left: as told, else as follows from the seconds until the bucket is full."""
    if headers.remaining is not None:
        return headers.remaining
    if headers.burst is None or headers.rate is None or headers.reset is None:
        return None
    return max(0.0, headers.burst - headers.reset * headers.rate)
