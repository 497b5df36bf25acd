"""Time as an argument, so that the engine can be run in a simulation."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from syncengine.errors import SyncError


@dataclass(frozen=True, slots=True)
class Clock:
    """`wall`: Unix seconds, may jump. `monotonic`: seconds that only grow. `sleep`: waits so many seconds."""

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep


class Stop:
    """The order to end: seen by everybody who waits. Its first reason stays; a failure is kept beside it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._event = asyncio.Event()
        self._woken: list[asyncio.Event] = []
        self.reason: str | None = None
        self.message = ""
        self.failure: SyncError | None = None

    @property
    def is_set(self) -> bool:
        """Say whether the order was given."""
        return self._event.is_set()

    def set(self, reason: str, message: str = "") -> None:
        """Give the order; the first reason and message (for people) stay."""
        if self.reason is None:
            self.reason, self.message = reason, message
        self._event.set()
        for event in self._woken:
            event.set()

    def fail(self, error: SyncError) -> None:
        """Give the order because of an error that concerns the whole run; the first one stays."""
        self.failure = self.failure or error
        self.set(error.reason, str(error))

    def wakes(self, event: asyncio.Event) -> None:
        """Set `event` too when the order is given: for those who wait often and for something else."""
        self._woken.append(event)

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
