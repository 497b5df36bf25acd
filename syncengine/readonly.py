"""A run that only reads a space: its own budget, the order to stop, and what it cost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from syncengine.budget import Budget, BudgetClosedError
from syncengine.clock import Stop
from syncengine.config import Settings
from syncengine.paying import Paying
from syncengine.seen import Space

OpenSpace = Callable[[Paying], AbstractAsyncContextManager[Space]]


class Costs(Protocol):
    """A report's figures of what was asked."""

    requests: int
    tokens: float
    throttled: int


async def read_only(
    settings: Settings,
    open_space: OpenSpace,
    work: Callable[[Space], Awaitable[None]],
    *,
    report: Costs,
    stop: Stop,
    first: Callable[[Paying], Awaitable[None]] | None,
) -> None:
    """Open the space, do `work` with it until it ends or the order to stop comes, and note what it cost.

    `first` is done before anything else, and pays the same budget. Errors pass through.
    """
    wanted = settings.destination
    budget = Budget(rate=wanted.rate, burst=wanted.burst, share=wanted.share)
    paying = Paying(budget)
    try:
        async with budget, open_space(paying) as space:
            if first is not None:
                await first(paying)
            reading = asyncio.ensure_future(work(space))
            watch = asyncio.create_task(_watch(budget, stop))
            try:
                await asyncio.wait({reading})
            finally:
                watch.cancel()
                reading.cancel()
                await asyncio.wait({reading, watch})
            if not reading.cancelled() and (error := reading.exception()) is not None:
                raise error
    except BudgetClosedError:
        pass  # the order to stop came first
    finally:
        report.requests, report.tokens, report.throttled = budget.requests, budget.tokens, budget.throttled


async def _watch(budget: Budget, stop: Stop) -> None:
    """On the order to stop, let nobody pay any more."""
    while not stop.is_set:
        await stop.sleep(60.0)
    budget.close()
