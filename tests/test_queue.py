"""The queue: in order, bounded, closed once for every reader."""

import asyncio

import pytest

from syncengine.queue import ClosableQueue


@pytest.mark.parametrize("size", [1, 2, 16])
@pytest.mark.parametrize("readers", [1, 3, 20])
async def test_every_item_reaches_one_reader_and_every_reader_ends(size: int, readers: int) -> None:
    queue: ClosableQueue[int] = ClosableQueue(size)
    got: list[int] = []

    async def read() -> None:
        async for item in queue:
            got.append(item)
            await asyncio.sleep(0)

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        for _ in range(readers):
            group.create_task(read())
        for item in range(100):
            await queue.put(item)
        await queue.close()
    assert sorted(got) == list(range(100))


async def test_a_full_queue_makes_the_producer_wait() -> None:
    queue: ClosableQueue[int] = ClosableQueue(2)
    await queue.put(1)
    await queue.put(2)
    third = asyncio.create_task(queue.put(3))
    await asyncio.sleep(0)
    assert not third.done()
    async for item in queue:
        assert item == 1
        break
    await third


async def test_a_reader_of_a_closed_and_empty_queue_ends_at_once() -> None:
    queue: ClosableQueue[int] = ClosableQueue(1)
    await queue.close()
    for _ in range(3):
        assert [item async for item in queue] == []
