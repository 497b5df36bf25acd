"""The destination, as the engine knows it: one change, one request, one attempt.

Policies wrap this protocol and are stacked in one place (`transfer.py`); retrying is outermost, so every
attempt pays.
"""

from __future__ import annotations

import asyncio
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


class CutOffError(asyncio.CancelledError):
    """Cancelled while a request was out; `receipt` is what is known of its change, once somebody knows."""

    def __init__(self, receipt: Receipt | None = None) -> None:
        self.receipt = receipt
        super().__init__("cut off")


class Budgeted:
    """A destination whose every attempt pays the shared budget and teaches it what the answer said."""

    def __init__(self, destination: Destination, budget: Budget) -> None:
        self._destination = destination
        self._budget = budget
        self._cost = UPSERT_TOKENS

    async def upsert(self, change: Change) -> Receipt:
        """Pay, then send. Errors pass through; CutOffError when cancelled after the payment."""
        budget = self._budget
        ticket = await budget.acquire(self._cost)
        try:
            receipt = await self._destination.upsert(change)
        except asyncio.CancelledError:
            budget.returned(ticket, left=True)
            raise CutOffError from None
        except RateLimitedError as error:
            await budget.throttle(ticket, error.rate)
            raise
        except DestinationError as error:
            if error.status is None:
                budget.returned(ticket, left=isinstance(error, TransientError) and error.sent)
            else:
                await budget.answered(ticket, error.rate)
            raise
        except BaseException:
            budget.returned(ticket, left=True)
            raise
        await budget.answered(ticket, receipt.rate)
        if receipt.rate.cost:
            self._cost = min(receipt.rate.cost, budget.burst)
        return receipt
