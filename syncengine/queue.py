"""The one queue between the producer and the workers: bounded, closeable, iterable."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

T = TypeVar("T")


class ClosableQueue(Generic[T]):
    """A bounded queue whose readers end when it is closed and empty."""

    def __init__(self, size: int) -> None:
        self._queue: asyncio.Queue[T | None] = asyncio.Queue(size)

    async def put(self, item: T) -> None:
        """Add an item; waits while the queue is full."""
        await self._queue.put(item)

    async def close(self) -> None:
        """End the queue after what it holds. Nothing may be put afterwards."""
        await self._queue.put(None)

    async def __aiter__(self) -> AsyncIterator[T]:
        """Yield items until the queue is closed and empty; any number of readers may share it."""
        while (item := await self._queue.get()) is not None:
            yield item
        self._queue.put_nowait(None)  # for the next reader; its slot is the one just freed
