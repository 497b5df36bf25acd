"""The destination, as the engine knows it: one change, one request, one attempt.

Policies wrap this protocol and are stacked in one place (`transfer.py`); retrying is outermost, so every
attempt pays.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from syncengine.model import Change, Receipt
from syncengine.paying import Paying

UPSERT = "upsert"
CREATE = "create"
"""The routes' names where their cost is learned."""

CREATE_TOKENS = 5.0
"""What a creation is taken to cost until an answer tells (Qomon API reference, "Create a contact")."""


class Destination(Protocol):
    """Where changes go."""

    async def upsert(self, change: Change) -> Receipt:
        """Send one change once. Returns a receipt, or raises a DestinationError.

        A change that `creates` must match nobody; its receipt has the id.
        """
        ...


class CutOffError(asyncio.CancelledError):
    """Cancelled while a request was out; `receipt` is what is known of its change, once somebody knows."""

    def __init__(self, receipt: Receipt | None = None) -> None:
        self.receipt = receipt
        super().__init__("cut off")


class Budgeted:
    """A destination whose every attempt pays."""

    def __init__(self, destination: Destination, paying: Paying) -> None:
        self._destination = destination
        self._paying = paying

    async def upsert(self, change: Change) -> Receipt:
        """Pay, then send. Errors pass through; CutOffError when cancelled after the payment."""
        has_left = False

        async def send() -> Receipt:
            nonlocal has_left
            has_left = True
            return await self._destination.upsert(change)

        try:
            if change.creates:
                return await self._paying.send(CREATE, send, guess=CREATE_TOKENS)
            return await self._paying.send(UPSERT, send)
        except asyncio.CancelledError:
            if has_left:
                raise CutOffError from None
            raise
