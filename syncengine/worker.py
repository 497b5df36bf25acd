"""A worker: takes changes from the queue, sends each, and waits until its receipt is committed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from syncengine.checkpoint import Checkpointer
from syncengine.clock import Stop
from syncengine.destination import Destination
from syncengine.errors import DestinationError, ProtocolError
from syncengine.model import Change, Receipt, Result
from syncengine.outcome import NOT_FOUND_AGAIN
from syncengine.problems import MAY_HAVE_BEEN_CREATED
from syncengine.queue import ClosableQueue


async def work(
    queue: ClosableQueue[Change],
    destination: Destination,
    checkpointer: Checkpointer,
    *,
    stop: Stop,
    settled: Callable[[Receipt], None],
) -> None:
    """Send changes until the queue ends. After the order to stop, what has not left is withdrawn.

    An error that concerns the whole run (key refused, not the API we know) gives that order, and blames no
    contact. Cancelled in the middle of a request, its result is recorded as unknown.
    """
    async for change in queue:
        try:
            receipt = await _send(change, destination, stop)
        except asyncio.CancelledError:
            receipt = _unknown(change, "cut off at the end of the run", None)
            checkpointer.record(receipt)
            settled(receipt)
            raise
        await checkpointer.record(receipt)
        settled(receipt)


async def _send(change: Change, destination: Destination, stop: Stop) -> Receipt:
    if stop.is_set:
        return Receipt(change, Result.WITHDRAWN, requests=0)
    try:
        return await destination.upsert(change)
    except DestinationError as error:
        stop.set(error.reason, str(error))
        if isinstance(error, ProtocolError) and error.status is not None and error.status < 300:
            return _unknown(change, str(error), error.status)
        return Receipt(change, Result.WITHDRAWN, status=error.status, requests=int(error.status is not None))


def _unknown(change: Change, reason: str, status: int | None) -> Receipt:
    """Return the receipt of a request that may have been processed."""
    if change.identity in NOT_FOUND_AGAIN:
        return Receipt(change, Result.IN_DOUBT, status=status, reason=MAY_HAVE_BEEN_CREATED, detail=reason)
    return Receipt(change, Result.UNKNOWN, status=status, reason=reason)
