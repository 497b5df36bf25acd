"""A worker: one change after the other, each waited for until it is committed."""

import asyncio

import pytest
from test_tally import change

from syncengine.checkpoint import Checkpointer
from syncengine.clock import Clock, Stop
from syncengine.destination import CutOffError
from syncengine.model import Change, Receipt, Result
from syncengine.queue import ClosableQueue
from syncengine.store.sending import Batch
from syncengine.worker import work


class Slow:
    """A destination that answers when told to."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.asked = asyncio.Event()
        self.sent: list[int] = []

    async def upsert(self, one: Change) -> Receipt:
        self.sent.append(one.n)
        self.asked.set()
        try:
            await self.may_answer.wait()
        except asyncio.CancelledError:
            raise CutOffError(Receipt(one, Result.UNKNOWN)) from None
        return Receipt(one, Result.ACCEPTED)


async def _commit(batch: Batch) -> None:
    pass


async def test_the_next_change_waits_until_the_last_receipt_is_committed() -> None:
    queue: ClosableQueue[Change] = ClosableQueue(4)
    destination, checkpointer = Slow(), Checkpointer(_commit)
    destination.may_answer.set()
    for n in range(2):
        await queue.put(change(n))
    await queue.close()
    working = asyncio.create_task(work(queue, destination, checkpointer, stop=Stop(Clock())))
    await asyncio.sleep(0.01)
    assert destination.sent == [0]  # nobody commits yet
    async with asyncio.TaskGroup() as group:
        group.create_task(checkpointer.run())
        await working
        checkpointer.close()
    assert destination.sent == [0, 1]


async def test_after_the_order_to_stop_what_has_not_left_is_withdrawn() -> None:
    queue: ClosableQueue[Change] = ClosableQueue(4)
    destination, stop = Slow(), Stop(Clock())
    settled: list[Receipt] = []
    checkpointer = Checkpointer(_commit, settled.append)
    await queue.put(change(1))
    await queue.close()
    stop.set("sigint")
    async with asyncio.TaskGroup() as group:
        committing = group.create_task(checkpointer.run())
        await work(queue, destination, checkpointer, stop=stop)
        checkpointer.close()
        await committing
    assert destination.sent == []
    assert [(r.result, r.requests) for r in settled] == [(Result.WITHDRAWN, 0)]


async def test_cut_off_in_a_request_it_records_what_is_known() -> None:
    queue: ClosableQueue[Change] = ClosableQueue(4)
    destination, checkpointer = Slow(), Checkpointer(_commit)
    await queue.put(change(1))
    working = asyncio.create_task(work(queue, destination, checkpointer, stop=Stop(Clock())))
    await destination.asked.wait()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert [r.result for r in checkpointer.uncommitted] == [Result.UNKNOWN]
