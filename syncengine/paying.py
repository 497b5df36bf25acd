"""Paying: every attempt, read or write, pays the shared budget and teaches it what the answer said.

What a route costs is learned from its answers' cost header; before the first one it is taken for one token.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from syncengine.budget import Budget
from syncengine.errors import DestinationError, RateHeaders, RateLimitedError, TransientError

FIRST_GUESS = 1.0
"""Tokens of a request whose cost no answer has told yet."""


class Answered(Protocol):
    """Whatever an answered request gives back: it says what the answer told of the bucket."""

    @property
    def rate(self) -> RateHeaders: ...  # noqa: D102 - see RateHeaders


T = TypeVar("T", bound=Answered)


class Paying:
    """Sends requests that pay: one budget for everybody with the same key."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self._costs: dict[str, float] = {}
        self._first: dict[str, asyncio.Event] = {}  # by route: set when its first request has come back

    def cost(self, route: str) -> float:
        """Return what a request of this route costs, in tokens, as last learned."""
        return self._costs.get(route, FIRST_GUESS)

    async def send(self, route: str, request: Callable[[], Awaitable[T]]) -> T:
        """Pay, then send. Errors pass through. The first request of a route goes alone, to learn its cost."""
        first = self._first.get(route)
        if first is not None:
            await first.wait()
            return await self._send(route, request)
        first = self._first[route] = asyncio.Event()
        try:
            return await self._send(route, request)
        finally:
            first.set()

    async def _send(self, route: str, request: Callable[[], Awaitable[T]]) -> T:
        budget = self.budget
        ticket = await budget.acquire(self.cost(route))
        try:
            answer = await request()
        except RateLimitedError as error:
            await budget.throttle(ticket, error.rate)
            raise
        except DestinationError as error:
            if error.status is None:
                budget.returned(ticket, left=isinstance(error, TransientError) and error.sent)
            else:
                await self._learn(route, ticket, error.rate)
            raise
        except BaseException:
            budget.returned(ticket, left=True)
            raise
        await self._learn(route, ticket, answer.rate)
        return answer

    async def _learn(self, route: str, ticket: int, rate: RateHeaders) -> None:
        await self.budget.answered(ticket, rate)
        if rate.cost:
            self._costs[route] = min(rate.cost, self.budget.burst)
