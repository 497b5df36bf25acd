"""A worker: takes changes from the queue, sends each, and waits until its receipt is committed."""

from __future__ import annotations

from syncengine.checkpoint import Checkpointer
from syncengine.clock import Stop
from syncengine.destination import CutOffError, Destination
from syncengine.model import Change, Receipt, Result
from syncengine.queue import ClosableQueue


async def work(
    queue: ClosableQueue[Change], destination: Destination, checkpointer: Checkpointer, *, stop: Stop
) -> None:
    """Send changes until the queue ends. After the order to stop, what has not left is withdrawn.

    Cancelled in the middle of a change, what is known of it is recorded.
    """
    async for change in queue:
        if stop.is_set:
            receipt = Receipt(change, Result.WITHDRAWN, requests=0)
        else:
            try:
                receipt = await destination.upsert(change)
            except CutOffError as cut:
                if cut.receipt is not None:
                    checkpointer.record(cut.receipt)
                raise
        await checkpointer.record(receipt)
