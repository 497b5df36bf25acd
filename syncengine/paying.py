"""Paying: every attempt, read or write, pays the shared budget and teaches it what the answer said.

What a route costs is learned from its answers' cost header; before the first one it is a guess.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from syncengine.budget import Budget
from syncengine.errors import DestinationError, RateHeaders, RateLimitedError, TransientError

FIRST_GUESS = 1.0
"""Tokens of a request whose cost no answer has told yet, unless its sender knows better."""


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
        self._first_guesses: dict[str, float] = {}
        self._guesses: dict[str, float] = {}  # doubled by each 429
        self._turns: dict[str, asyncio.Event] = {}  # by route: set when its next request may ask for its cost

    def cost(self, route: str) -> float:
        """Return what a request of this route costs, in tokens, as last learned."""
        return self._costs.get(route) or self._guesses.get(route, FIRST_GUESS)

    def knows(self, route: str) -> bool:
        """Say whether an answer of this route has come, so that its cost is no guess of before."""
        return route in self._costs

    async def send(self, route: str, request: Callable[[], Awaitable[T]], *, guess: float = FIRST_GUESS) -> T:
        """Pay, then send. Errors pass through, BudgetClosedError when the run ends.

        `guess`: what the route is taken to cost, in tokens, as long as no answer has told.
        Until an answer has told what the route costs, its requests go one at a time; each 429 doubles the
        guess, as a request dearer than the level would be refused again and again.
        """
        turn = self._turns.get(route)
        if turn is None:
            turn = self._turns[route] = asyncio.Event()
            turn.set()
            self.budget.wakes(turn)
            self._first_guesses[route] = self._guesses[route] = guess
        while not (turn.is_set() or route in self._costs):
            await turn.wait()
        if route in self._costs or self.budget.is_closed:
            return await self._send(route, request)
        turn.clear()
        try:
            return await self._send(route, request)
        finally:
            turn.set()

    async def _send(self, route: str, request: Callable[[], Awaitable[T]]) -> T:
        budget = self.budget
        ticket = await budget.acquire(self.cost(route))
        try:
            answer = await request()
        except RateLimitedError as error:
            if route not in self._costs:
                self._guesses[route] = min(2 * self.cost(route), budget.burst)
            await budget.throttle(ticket, error.rate, wanting=self.cost(route))
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
        """Learn from an answer; one that does not name its cost cost what we took it for."""
        await self.budget.answered(ticket, rate)
        if rate.cost:
            self._costs[route] = min(rate.cost, self.budget.burst)
        else:
            self._costs.setdefault(route, self._first_guesses[route])
