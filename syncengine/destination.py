"""The destination, as the engine knows it: one change, one request, one attempt.

Policies wrap this protocol and are stacked in one place (`engine.py`); retrying is outermost, so every
attempt pays.
"""

from __future__ import annotations

from typing import Protocol

from syncengine.budget import Budget
from syncengine.errors import DestinationError, RateLimitedError, TransientError
from syncengine.model import Change, Receipt

UPSERT_TOKENS = 1.0
"""First guess of an upsert's cost; the header of each answer tells."""


class Destination(Protocol):
    """Where changes go."""

    async def upsert(self, change: Change) -> Receipt:
        """Send one change once. Returns a receipt, or raises a DestinationError."""
        ...


class Budgeted:
    """A destination whose every attempt pays the shared budget and teaches it what the answer said."""

    def __init__(self, destination: Destination, budget: Budget) -> None:
        self._destination = destination
        self._budget = budget
        self._cost = UPSERT_TOKENS

    async def upsert(self, change: Change) -> Receipt:
        """Pay, then send. Errors pass through."""
        cost, budget = self._cost, self._budget
        await budget.acquire(cost)
        try:
            receipt = await self._destination.upsert(change)
        except RateLimitedError as error:
            await budget.throttle(cost, error.rate)
            raise
        except DestinationError as error:
            if error.status is None:
                budget.returned(cost, left=not isinstance(error, TransientError) or error.sent)
            else:
                await budget.answered(cost, error.rate)
            raise
        except BaseException:
            budget.returned(cost, left=True)
            raise
        await budget.answered(cost, receipt.rate)
        if receipt.rate.cost:
            self._cost = receipt.rate.cost
        return receipt
