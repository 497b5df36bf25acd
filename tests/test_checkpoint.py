"""The watermark, and commits in groups."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_tally import receipt

from syncengine.checkpoint import Checkpointer, Watermark
from syncengine.errors import StoreError
from syncengine.model import Receipt, Result
from syncengine.store.sending import Batch


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.data())
def test_low_is_the_smallest_open_number_in_any_interleaving(data: st.DataObject) -> None:
    watermark, handed_out = Watermark(), 0
    open_numbers: set[int] = set()
    for _ in range(data.draw(st.integers(0, 60))):
        is_closing = data.draw(st.booleans())
        if open_numbers and is_closing:
            number = data.draw(st.sampled_from(sorted(open_numbers)))
            watermark.close(number)
            open_numbers.remove(number)
        else:
            assert watermark.open() == handed_out
            open_numbers.add(handed_out)
            handed_out += 1
        assert watermark.low == min(open_numbers, default=handed_out)
        assert watermark.high == handed_out
        assert watermark.outstanding == len(open_numbers)


def test_a_number_is_closed_once_and_only_after_it_was_opened() -> None:
    watermark = Watermark()
    with pytest.raises(ValueError, match="not open"):
        watermark.close(0)
    first, _ = watermark.open(), watermark.open()
    watermark.close(first)
    with pytest.raises(ValueError, match="not open"):
        watermark.close(first)


class Log:
    """Where batches go; a commit waits for `may_end` when that is given, and fails when told to."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.may_end: asyncio.Event | None = None
        self.error: Exception | None = None

    async def __call__(self, batch: Batch) -> None:
        if self.may_end is not None:
            await self.may_end.wait()
        if self.error is not None:
            raise self.error
        self.batches.append([r.change.n for r in batch.receipts])


async def test_while_one_group_is_written_the_next_gathers() -> None:
    log, told = Log(), list[Receipt]()
    log.may_end = asyncio.Event()
    checkpointer = Checkpointer(log, told.append)
    async with asyncio.TaskGroup() as group:
        group.create_task(checkpointer.run())
        first = checkpointer.record(receipt(0))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        rest = [checkpointer.record(receipt(n)) for n in (1, 2, 3)]
        assert not first.done()
        log.may_end.set()
        await asyncio.wait({first, *rest})
        checkpointer.close()
    assert log.batches == [[0], [1, 2, 3]]
    assert [r.change.n for r in told] == [0, 1, 2, 3]


async def test_what_was_recorded_before_the_close_is_committed() -> None:
    log = Log()
    checkpointer = Checkpointer(log)
    done = [checkpointer.record(receipt(n)) for n in range(3)]
    checkpointer.close()
    await checkpointer.run()
    assert log.batches == [[0, 1, 2]]
    assert all(future.done() for future in done)


async def test_a_waiter_that_was_cancelled_loses_no_receipt() -> None:
    log, told = Log(), list[Receipt]()
    checkpointer = Checkpointer(log, told.append)
    checkpointer.record(receipt(0)).cancel()
    checkpointer.close()
    await checkpointer.run()
    assert (log.batches, len(told)) == ([[0]], 1)


async def test_a_failed_commit_ends_it_and_tells_what_was_not_committed() -> None:
    log, told = Log(), list[Receipt]()
    log.error = StoreError("full", reason="disk")
    checkpointer = Checkpointer(log, told.append)
    waiting = [checkpointer.record(receipt(n)) for n in range(3)]
    with pytest.raises(StoreError):
        await checkpointer.run()
    late = checkpointer.record(receipt(3, Result.UNKNOWN))
    assert all(future.cancelled() for future in (*waiting, late))
    assert [r.change.n for r in checkpointer.uncommitted] == [0, 1, 2, 3]
    assert told == []


async def test_progress_and_pauses_go_with_the_next_group() -> None:
    seen: list[Any] = []

    async def commit(batch: Batch) -> None:
        seen.append((batch.progress, batch.paused_until, len(batch.receipts)))

    checkpointer = Checkpointer(commit)
    checkpointer.show({"sent": 1})
    checkpointer.pause_until(7.0)
    checkpointer.close()
    await checkpointer.run()
    assert seen == [({"sent": 1}, 7.0, 0)]
