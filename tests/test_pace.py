"""Reads and writes of one key share one bucket: nobody is refused, and a pause holds for all of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random
from typing import Any

import pytest
from test_sandbox_client import Client

from syncengine.budget import Budget, BudgetClosedError
from syncengine.errors import RateHeaders
from syncengine.paying import Paying
from syncengine.qomon import Contact, QomonClient, Query, where
from syncengine.qomon.wire import Read
from syncengine.sandbox import Sandbox, SandboxOptions

PAUSE = 1
"""Seconds a 429 asks for in these tests."""
IN_THE_AIR = 0.25
"""Seconds that requests may take which had left when the 429 was heard."""


def person(number: int) -> Contact:
    return Contact(firstname=f"P{number}", surname="Pace", mail=f"p{number}@pace.example")


async def mixed(qomon: QomonClient, numbers: range, *, at_once: int, seed: int) -> None:
    """Upsert everybody with so many workers; every tenth request is followed by a read of some kind."""
    left = iter(numbers)
    draw = Random(seed)

    async def work() -> None:
        for number in left:
            await qomon.upsert(person(number))
            if number % 10 == 0:
                match draw.randrange(4):
                    case 0:
                        await qomon.page(per_page=50)
                    case 1:
                        await qomon.count(Query.all(where("surname").eql("Pace")))
                    case 2:
                        await qomon.contact(1)
                    case 3:
                        await qomon.forms("custom_fields")

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(work())


async def history_of(client: Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after = 0
    while True:
        part = (await client.send("GET", f"/_sandbox/history?after={after}&limit=10000")).content
        found += part["requests"]
        if part["next"] is None:
            return found
        after = part["next"]


async def test_reads_and_writes_on_one_bucket_are_never_refused() -> None:
    async with Sandbox(SandboxOptions(burst=40, rate=400, lag=0.0, search_lag=0.0)) as server:
        async with QomonClient(
            server.api_key, base_url=server.base_url, in_flight=16, rate=5, burst=5
        ) as qomon:
            await mixed(qomon, range(600), at_once=16, seed=3)
            assert qomon.budget.throttled == 0
            spent, requests = qomon.budget.tokens, qomon.budget.requests
        stats = await Client(server.base_url, server.api_key).stats()
    assert stats["throttled"] == 0
    assert (stats["requests"]["upsert"], stats["outcomes"]["created"]) == (600, 600)
    assert {"search", "kpi", "get", "forms"} <= stats["requests"].keys()
    assert (spent, requests) == (stats["tokens_used"], sum(stats["requests"].values()))


async def test_a_dearer_route_is_paid_what_its_answers_say() -> None:
    """The first guess is one token; from the first answer on nobody is refused for it."""
    options = SandboxOptions(burst=20, rate=200, lag=0.0, search_lag=0.0, costs={"search": 5, "kpi": 3})
    async with (
        Sandbox(options) as server,
        QomonClient(server.api_key, base_url=server.base_url, in_flight=8) as qomon,
    ):

        async def read() -> None:
            for _ in range(12):
                await qomon.page(per_page=1)
                await qomon.count()

        async with asyncio.TaskGroup() as group:
            for _ in range(5):
                group.create_task(read())
        assert qomon.budget.throttled == 0
        assert qomon.budget.tokens == 5 * 12 * (5 + 3)


async def test_a_dear_route_at_a_dry_bucket_is_refused_a_few_times_not_for_ever() -> None:
    """Nothing tells what it costs until it is answered: each refusal doubles the guess."""
    options = SandboxOptions(
        burst=20, rate=20, lag=0.0, search_lag=0.0, retry_after="0", costs={"search": 10}
    )
    async with Sandbox(options) as server:
        client = Client(server.base_url, server.api_key)
        for _ in range(20):
            await client.send("GET", "/contacts/1")  # somebody else: the bucket is dry
        async with QomonClient(server.api_key, base_url=server.base_url, in_flight=8) as qomon:
            async with asyncio.TaskGroup() as group:
                for _ in range(2):
                    group.create_task(qomon.page(per_page=1))
            assert 1 <= qomon.budget.throttled <= 4


async def test_a_closed_budget_is_heard_by_those_who_wait_to_learn_a_cost() -> None:
    async with Budget(rate=10, burst=10) as budget:
        paying = Paying(budget)
        is_asked, answer = asyncio.Event(), asyncio.Event()

        async def ask() -> Read:
            is_asked.set()
            await answer.wait()
            return Read(None, RateHeaders())

        first = asyncio.create_task(paying.send("search", ask))
        await is_asked.wait()
        others = [asyncio.create_task(paying.send("search", ask)) for _ in range(3)]
        await asyncio.sleep(0)
        budget.close()
        for other in others:
            with pytest.raises(BudgetClosedError):
                await asyncio.wait_for(other, 1)
        answer.set()
        await first


async def test_beside_another_client_nothing_is_lost_and_no_pause_is_broken() -> None:
    """The other one drains the bucket without looking; we share its key and tell it by its endpoint."""
    options = SandboxOptions(burst=30, rate=150, lag=0.0, search_lag=0.0, retry_after=str(PAUSE))
    async with Sandbox(options) as server:
        client = Client(server.base_url, server.api_key)
        is_over = False

        async def drain() -> None:
            draw = Random(7)
            while not is_over:
                for _ in range(draw.randrange(30)):
                    await client.send("GET", "/contacts/1")
                await asyncio.sleep(draw.uniform(0.05, 0.3))

        async with QomonClient(server.api_key, base_url=server.base_url, in_flight=8) as qomon:
            async with asyncio.TaskGroup() as group:
                other = group.create_task(drain())
                await mixed_without_get(qomon, range(200))
                is_over = True
                await other
            throttled = qomon.budget.throttled
        stats = await client.stats()
        history = await history_of(client)
    assert stats["outcomes"]["created"] == 200
    ours = [entry for entry in history if entry["endpoint"] != "get"]
    refused = [entry["at"] for entry in ours if entry["status"] == 429]
    assert len(refused) == throttled > 0
    accepted = Counter(entry["data"]["mail"] for entry in ours if entry["status"] == 202)
    assert set(accepted.values()) == {1}
    assert len(accepted) == 200
    inside = [
        entry["at"] - at
        for at in refused
        for entry in ours
        if at + IN_THE_AIR < entry["at"] < at + PAUSE - 0.01
    ]
    assert inside == []


async def mixed_without_get(qomon: QomonClient, numbers: range) -> None:
    left = iter(numbers)

    async def work() -> None:
        for number in left:
            await qomon.upsert(person(number))
            if number % 10 == 0:
                await qomon.page(per_page=50)

    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(work())
