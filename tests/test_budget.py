"""The budget on a virtual clock, against an exact bucket on the other side."""

import asyncio
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_engine_virtual import ServerBucket, now, run_virtual

from syncengine.budget import DEFAULT_PAUSE, MAX_PAUSE, Budget, BudgetClosedError
from syncengine.errors import NO_HEADERS, RateHeaders, RateLimitedError


async def drain(
    budget: Budget, server: ServerBucket, count: int, in_flight: int, latency: Callable[[], float]
) -> int:
    """Send `count` requests, half the latency before the server sees each; return how many were 429."""
    left = count
    refused = 0

    async def worker() -> None:
        nonlocal left, refused
        while left > 0:
            left -= 1
            while True:
                ticket = await budget.acquire()
                seconds = latency()
                await asyncio.sleep(seconds / 2)
                try:
                    headers = server.take()
                except RateLimitedError as error:
                    refused += 1
                    await asyncio.sleep(seconds / 2)
                    await budget.throttle(ticket, error.rate)
                    continue
                await asyncio.sleep(seconds / 2)
                await budget.answered(ticket, headers)
                break

    async with asyncio.TaskGroup() as group:
        for _ in range(in_flight):
            group.create_task(worker())
    return refused


@pytest.mark.parametrize("in_flight", [1, 2, 4, 8, 16, 32])
@pytest.mark.parametrize("latency", [0.0, 0.005, 0.05, 0.2])
def test_the_rate_is_used_to_98_percent_without_one_429(in_flight: int, latency: float) -> None:
    count, burst, rate = 3000, 40, 150.0

    async def main() -> None:
        server = ServerBucket(burst, rate)
        async with Budget(rate=10, burst=100) as budget:
            assert await drain(budget, server, count, in_flight, lambda: latency) == 0
        makespan = server.taken[-1] - server.taken[0]
        ideal = max((count - burst) / rate, (count / in_flight - 1) * latency)
        # Two round trips are not the bucket's: the first request goes alone, the last tokens stay unknown.
        assert makespan - 2 * latency <= 1.02 * ideal
        assert makespan <= 1.03 * ideal

    run_virtual(main())


@pytest.mark.parametrize("seed", range(5))
def test_answers_out_of_order_cause_no_429(seed: int) -> None:
    draw = random.Random(seed)

    async def main() -> None:
        server = ServerBucket(40, 150.0)
        async with Budget(rate=10, burst=100) as budget:
            slow = await drain(
                budget, server, 1500, 16, lambda: draw.choice([0.0, 0.001, 0.01, 0.05, 0.3, 2.0])
            )
        assert slow == 0

    run_virtual(main())


def test_an_old_answer_come_late_does_not_fill_the_bucket_again() -> None:
    async def main() -> None:
        async with Budget(rate=1, burst=40) as budget:
            first = await budget.acquire()
            await budget.answered(first, RateHeaders(burst=40, rate=1, remaining=39, cost=1))
            late = await budget.acquire()
            for remaining in range(37, -1, -1):
                ticket = await budget.acquire()
                await budget.answered(ticket, RateHeaders(burst=40, rate=1, remaining=remaining, cost=1))
            await budget.answered(late, RateHeaders(burst=40, rate=1, remaining=38, cost=1))
            begun = now()
            await budget.acquire()
            assert now() - begun >= 0.9

    run_virtual(main())


def test_a_restart_at_an_empty_bucket_sends_no_burst() -> None:
    async def main() -> None:
        server = ServerBucket(40, 150.0, level=1.0)
        async with Budget(rate=150, burst=40) as budget:
            assert await drain(budget, server, 600, 16, lambda: 0.005) == 0
        assert server.taken[-1] - server.taken[0] <= 1.02 * 600 / 150

    run_virtual(main())


def test_another_client_on_the_same_key_costs_pauses_and_nothing_else() -> None:
    async def main() -> None:
        server = ServerBucket(40, 20.0)
        is_over = False

        async def other() -> None:
            draw = random.Random(1)
            while not is_over:
                await asyncio.sleep(draw.uniform(0.0, 10.0))
                try:
                    for _ in range(30):
                        server.take()
                except RateLimitedError:
                    server.refused.pop()

        async with Budget(rate=10, burst=100) as budget:
            thief = asyncio.create_task(other())
            refused = await drain(budget, server, 600, 16, lambda: 0.05)
            is_over = True
            thief.cancel()
        times = sorted(server.refused)
        assert refused == len(times) < 60
        for at in times:  # nobody arrives inside the pause, but for those already under way
            assert not [t for t in times if at + 0.06 < t < at + DEFAULT_PAUSE]

    run_virtual(main())


@pytest.mark.parametrize(
    ("retry_after", "least", "most"),
    [(0.0, 0.0, 0.2), (2.0, 2.0, 2.1), (None, DEFAULT_PAUSE, 5.2), (1e9, MAX_PAUSE, MAX_PAUSE + 1)],
)
def test_a_429_pauses_everybody_for_as_long_as_it_says(
    retry_after: float | None, least: float, most: float
) -> None:
    pauses: list[float] = []

    async def main() -> None:
        async with Budget(rate=10, burst=100, on_pause=pauses.append) as budget:
            ticket = await budget.acquire()
            await budget.throttle(ticket, RateHeaders(retry_after=retry_after))
            begun = now()
            probe = await budget.acquire()
            assert least <= now() - begun <= most
            second = asyncio.create_task(budget.acquire())
            await asyncio.sleep(5)
            assert not second.done()  # one request asks; the others wait for its answer
            await budget.answered(probe, RateHeaders(burst=100, rate=10, remaining=50, cost=1))
            await second

    run_virtual(main())
    assert pauses[0] == pytest.approx(min(retry_after or least, MAX_PAUSE), abs=0.2)


def test_a_shorter_pause_tells_of_the_longer_one() -> None:
    pauses: list[float] = []

    async def main() -> None:
        async with Budget(rate=10, burst=100, on_pause=pauses.append) as budget:
            await budget.pause(60)
            await budget.pause(1)

    run_virtual(main())
    assert pauses == pytest.approx([60, 60])


def test_a_server_without_headers_is_sent_to_at_the_configured_rate() -> None:
    async def main() -> None:
        async with Budget(rate=10, burst=100) as budget:
            begun = now()
            for _ in range(101):
                await budget.answered(await budget.acquire(), NO_HEADERS)
            assert now() - begun == pytest.approx(10.0, rel=0.02)

    run_virtual(main())


def test_the_seconds_until_full_stand_in_for_the_tokens_left() -> None:
    async def main() -> None:
        async with Budget(rate=1000, burst=1000) as budget:
            first = await budget.acquire()
            await budget.answered(first, RateHeaders(burst=40, rate=10, reset=3.5, cost=1))  # 5 are left
            begun = now()
            for _ in range(5):
                await budget.acquire()
            assert now() - begun < 0.01
            await budget.acquire()
            assert 0.09 <= now() - begun <= 0.11
            assert budget.remaining == 5

    run_virtual(main())


def test_a_cost_above_the_bucket_waits_for_a_full_one() -> None:
    async def main() -> None:
        async with Budget(rate=10, burst=5) as budget:
            await budget.answered(await budget.acquire(), RateHeaders(burst=5, rate=10, remaining=0, cost=1))
            begun = now()
            await budget.acquire(1000.0)
            assert now() - begun == pytest.approx(0.5, abs=0.05)

    run_virtual(main())


def test_grants_come_in_order_whatever_they_cost() -> None:
    order: list[int] = []

    async def main() -> None:
        async with Budget(rate=10, burst=10) as budget:
            await budget.answered(await budget.acquire(), RateHeaders(burst=10, rate=10, remaining=0, cost=1))

            async def one(number: int, cost: float) -> None:
                await budget.acquire(cost)
                order.append(number)

            async with asyncio.TaskGroup() as group:
                for number in range(12):
                    group.create_task(one(number, 5.0 if number % 3 == 0 else 1.0))

    run_virtual(main())
    assert order == list(range(12))


def test_cancelled_waiters_cost_no_tokens_and_hold_nobody_up() -> None:
    async def main() -> None:
        async with Budget(rate=10, burst=10) as budget:
            await budget.answered(await budget.acquire(), RateHeaders(burst=10, rate=10, remaining=0, cost=1))
            waiting = [asyncio.create_task(budget.acquire()) for _ in range(10)]
            await asyncio.sleep(0)
            for task in waiting[:9]:
                task.cancel()
            begun = now()
            await waiting[9]
            assert now() - begun == pytest.approx(0.1, abs=0.02)

    run_virtual(main())


def test_a_grant_that_its_cancelled_owner_never_saw_is_closed() -> None:
    async def main() -> None:
        async with Budget(rate=10, burst=10) as budget:
            first = await budget.acquire()
            second = asyncio.create_task(budget.acquire())
            await asyncio.sleep(0)
            await budget.answered(first, RateHeaders(burst=10, rate=10, remaining=1, cost=1))
            await asyncio.sleep(0)  # the dispatcher hands out; its owner has not run yet
            second.cancel()
            await asyncio.wait({second})
            budget.returned(await budget.acquire())
            assert not budget._open

    run_virtual(main())


def test_closing_turns_away_whoever_waits_and_whoever_comes() -> None:
    async def main() -> None:
        async with Budget(rate=0.1, burst=1) as budget:
            await budget.acquire()
            waiting = asyncio.create_task(budget.acquire())
            await asyncio.sleep(0)
            budget.close()
            with pytest.raises(BudgetClosedError):
                await waiting
            with pytest.raises(BudgetClosedError):
                await budget.acquire()

    run_virtual(main())


def test_closing_and_cancelling_at_once_leaves_nothing_unfetched(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with Budget(rate=0.1, burst=1) as budget:
            await budget.acquire()
            waiting = asyncio.create_task(budget.acquire())
            await asyncio.sleep(0)
            budget.close()
            waiting.cancel()
            await asyncio.wait({waiting})
            assert waiting.cancelled()

    run_virtual(main())
    assert not caplog.records


numbers = st.one_of(st.none(), st.floats(min_value=0, max_value=1e12))


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.lists(st.tuples(numbers, numbers, numbers, numbers), max_size=8))
def test_no_headers_stop_the_budget_for_ever(
    told: list[tuple[float | None, float | None, float | None, float | None]],
) -> None:
    async def main() -> None:
        async with Budget(rate=10, burst=100) as budget:
            for burst, rate, remaining, cost in told:
                ticket = await budget.acquire(min(cost or 1.0, budget.burst))
                await budget.answered(
                    ticket,
                    RateHeaders(burst=burst or None, rate=rate or None, remaining=remaining, cost=cost),
                )
            begun = now()
            await budget.acquire()
            assert now() - begun <= 2 * budget.burst / budget.rate + 1

    run_virtual(main())


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    st.integers(1, 60),
    st.floats(1, 300),
    st.integers(1, 12),
    st.lists(st.floats(0, 1), min_size=1, max_size=10),
    st.floats(0, 1),
)
def test_alone_on_its_key_it_is_never_refused(
    burst: int, rate: float, in_flight: int, latencies: list[float], full: float
) -> None:
    async def main() -> None:
        server = ServerBucket(burst, rate, level=max(1.0, burst * full))
        draw = random.Random(0)
        async with Budget(rate=10, burst=100) as budget:
            assert await drain(budget, server, 80, in_flight, lambda: draw.choice(latencies)) == 0

    run_virtual(main())
