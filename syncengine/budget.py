"""The budget: tokens of the destination's bucket, paid by every attempt, read or write.

aiolimiter's leaky bucket behind one waiter, led by the server's headers. The limiter alone gives up to twice
the rate in its first window, cannot be emptied or re-rated, is not fair, and burns CPU under many waiters
(mjpieters/aiolimiter issues 90, 200, 298; measured: 385 µs a grant with 32 waiters, 1 µs with one). So one
dispatcher pays it and hands out; and each answer replaces it by one filled to what the server says.

What the server has left when we send next is what an answer reports, less the grants not answered yet:
those were sent after it or beside it. Counting all of them errs to the slow side by a round trip, never to
a 429. Until the first answer one token is known: so a restart cannot fire a burst at an empty bucket.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from aiolimiter import AsyncLimiter

from syncengine.errors import RateHeaders, SyncError

DEFAULT_PAUSE = 5.0
"""Seconds to pause after a 429 that names no time (field practice; Qomon documents none)."""
MAX_PAUSE = 900.0


class BudgetClosedError(SyncError):
    """The run ends: nobody gets tokens any more. The request did not leave."""


class Budget:
    """Tokens for everybody who sends with one key. Enter it inside the running loop.

    `rate` tokens per second and `burst` tokens until the headers say otherwise; `share` of both is ours.
    `on_pause` is told the seconds of each pause the server orders.
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
        self._rate = rate * share
        self._burst = max(1.0, burst * share)
        self._outstanding = 0.0  # granted, not yet answered
        self._owed = 0.0  # below an empty bucket: paid before the next grant
        self._is_probing = True  # nothing known of the level: one request, then its answer
        self._waiting: deque[tuple[float, asyncio.Future[None]]] = deque()
        self._changed = asyncio.Event()
        self._resume_at = 0.0
        self._remaining: float | None = None
        self._is_closed = False
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
    def burst(self) -> float:
        """Our bucket's size in tokens, as last learned."""
        return self._burst

    @property
    def remaining(self) -> float | None:
        """Tokens left, as the last answer told; None before any did."""
        return self._remaining

    async def acquire(self, cost: float = 1.0) -> None:
        """Wait for `cost` tokens. First come, first served, whatever the cost.

        Every grant must be closed by one `answered`, `throttle` or `returned`. Raises BudgetClosedError.
        """
        if self._is_closed:
            raise BudgetClosedError("the run ends")
        if not self._waiting and self._can_grant(cost):
            await self._grant(cost)
            return
        grant: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not self._waiting:
            self._changed.set()
        self._waiting.append((cost, grant))
        try:
            await grant
        except asyncio.CancelledError:
            if grant.done() and not grant.cancelled():
                self.returned(cost)
            raise

    async def answered(self, cost: float, headers: RateHeaders) -> None:
        """Learn from the answer to a request that was granted `cost` tokens."""
        self._outstanding = max(0.0, self._outstanding - cost)
        self.requests += 1
        self.tokens += headers.cost if headers.cost is not None else cost
        if headers.burst is not None and headers.rate is not None:
            self._burst = max(1.0, headers.burst * self._share)
            self._rate = max(1e-6, headers.rate * self._share)
        if headers.remaining is not None:
            self._remaining = headers.remaining
            self._is_probing = False
            await self._refill(headers.remaining * self._share - self._outstanding)
        elif self._is_probing:
            self._is_probing = False  # a server without headers: the configured rate, from an empty bucket
            await self._refill(-self._outstanding)

    async def throttle(self, cost: float, headers: RateHeaders) -> None:
        """Learn from a 429: nobody sends until the time it names, then one request asks again."""
        self._outstanding = max(0.0, self._outstanding - cost)
        self.requests += 1
        self.throttled += 1
        self.tokens += headers.cost or 0.0
        wanted = DEFAULT_PAUSE if headers.retry_after is None else headers.retry_after
        await self.pause(min(max(wanted, 0.0), MAX_PAUSE))
        self._is_probing = True

    def returned(self, cost: float, *, left: bool = False) -> None:
        """Give back the grant of a request without an answer. `left`: some of it may have been sent."""
        self._outstanding = max(0.0, self._outstanding - cost)
        self.requests += left
        self._changed.set()

    async def pause(self, seconds: float) -> None:
        """Let nobody send for so many seconds from now (an earlier, longer pause stays)."""
        self._resume_at = max(self._resume_at, self._clock() + seconds)
        await self._refill(0.0)
        self._on_pause(seconds)

    def close(self) -> None:
        """Turn away whoever waits, and whoever comes: BudgetClosedError."""
        self._is_closed = True
        while self._waiting:
            _, grant = self._waiting.popleft()
            if not grant.done():
                grant.set_exception(BudgetClosedError("the run ends"))
        self._changed.set()

    # --- inside ------------------------------------------------------------------------------------------

    async def _refill(self, level: float) -> None:
        """Put a bucket holding `level` tokens in place of the present one."""
        self._limiter = AsyncLimiter(self._burst, self._burst / self._rate)
        self._owed = max(0.0, -level)
        spent = self._burst - min(max(0.0, level), self._burst)
        if spent > 0:
            await self._limiter.acquire(spent)  # a fresh bucket: never waits
        self._changed.set()

    def _can_grant(self, cost: float) -> bool:
        if self._is_probing:
            return self._outstanding == 0 and self._pause_left() <= 0
        return (
            not self._owed and self._pause_left() <= 0 and self._limiter.has_capacity(min(cost, self._burst))
        )

    async def _grant(self, cost: float) -> None:
        """Take the tokens. `_can_grant` has just said yes, so this does not wait."""
        self._outstanding += cost
        if not self._is_probing:
            await self._limiter.acquire(min(cost, self._burst))

    def _pause_left(self) -> float:
        return self._resume_at - self._clock() if self._resume_at else 0.0

    async def _dispatch(self) -> None:
        """Serve the waiting one after the other: the only task that ever waits for the bucket."""
        while True:
            self._changed.clear()
            while self._waiting:
                cost, grant = self._waiting[0]
                if not grant.done():
                    if not self._can_grant(cost):
                        break
                    await self._grant(cost)
                    grant.set_result(None)
                self._waiting.popleft()
            if self._waiting and not self._is_probing and self._pause_left() <= 0:
                await self._pay(self._owed or self._waiting[0][0])
            else:
                pause = self._pause_left()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause if self._waiting and pause > 0 else None):
                        await self._changed.wait()

    async def _pay(self, amount: float) -> None:
        """Wait for `amount` tokens, or until the bucket is replaced: then they are counted anew.

        They pay off what is owed, else they are the first waiting grant's.
        """
        limiter, amount = self._limiter, min(amount, self._burst)
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
        cost, grant = self._waiting.popleft()
        if grant.done():
            return
        self._outstanding += cost
        grant.set_result(None)
