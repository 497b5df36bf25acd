"""Time as an argument, so that the engine can be run in a simulation."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """`wall`: Unix seconds, may jump. `monotonic`: seconds that only grow. `sleep`: waits so many seconds."""

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep


class Stop:
    """The order to end: set once, seen by everybody who waits."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._event = asyncio.Event()
        self.reason: str | None = None
        self.message = ""

    @property
    def is_set(self) -> bool:
        """Say whether the order was given."""
        return self._event.is_set()

    def set(self, reason: str, message: str = "") -> None:
        """Give the order; the first reason and message (for people) stay."""
        if self.reason is None:
            self.reason, self.message = reason, message
        self._event.set()

    async def wait(self) -> None:
        """Wait for the order."""
        await self._event.wait()

    async def sleep(self, seconds: float, until: asyncio.Event | None = None) -> bool:
        """Sleep so long, until the order is given or `until` is set. Return whether the order was given."""
        if self.is_set:
            return True
        ends = {asyncio.ensure_future(self._event.wait()), asyncio.ensure_future(self._clock.sleep(seconds))}
        if until is not None:
            ends.add(asyncio.ensure_future(until.wait()))
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
        return self.is_set
