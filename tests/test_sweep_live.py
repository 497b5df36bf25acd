"""The sweep against a space where staff edits, merges and deletes: everybody once, nobody missed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import orjson
import pytest
from test_sandbox_client import Client

from syncengine.qomon import Contact, QomonClient
from syncengine.qomon.sweep import sweep
from syncengine.sandbox import Sandbox, SandboxOptions

EVERYBODY = 3000
PER_PAGE = 100


async def ids_there(client: Client) -> set[int]:
    found: list[int] = []
    while True:
        page = (await client.send("GET", f"/_sandbox/contacts?offset={len(found)}&limit=10000")).content
        found += [contact["id"] for contact in page["contacts"]]
        if page["next"] is None:
            return set(found)


async def test_everybody_is_met_once_while_staff_works() -> None:
    options = SandboxOptions(
        unlimited=True,
        contacts=EVERYBODY,
        search_lag=0.05,
        seed=5,
        staff={"edit": 300.0, "merge": 5.0, "delete": 5.0},
    )
    async with Sandbox(options) as server:
        client = Client(server.base_url, server.api_key)
        async with QomonClient(server.api_key, base_url=server.base_url) as qomon:
            met = [contact.id async for contact in sweep(qomon.page, per_page=PER_PAGE)]
            requests = qomon.budget.requests
        there = await ids_there(client)
        edits = (await client.stats())["staff"]["edit"]
    assert edits > 50  # somebody was at work
    assert len(met) == len(set(met))
    assert there <= set(met)
    assert requests < 8 * EVERYBODY / PER_PAGE


async def test_everybody_is_met_once_in_wide_windows_while_staff_works() -> None:
    """Up to now, as an adoption does: who is edited meanwhile may be met or not, everybody else is."""
    options = SandboxOptions(
        unlimited=True,
        contacts=EVERYBODY,
        search_lag=0.05,
        seed=6,
        staff={"edit": 100.0, "delete": 10.0},
    )
    async with Sandbox(options) as server:
        client = Client(server.base_url, server.api_key)
        async with QomonClient(server.api_key, base_url=server.base_url) as qomon:
            until = datetime.now(UTC)
            found = sweep(qomon.page, until=until, per_page=PER_PAGE, count=qomon.count)
            met = [contact.id async for contact in found]
            requests = qomon.budget.requests
            edited = {contact.id async for contact in qomon.search(since=until)}
        there = await ids_there(client)
        searched = (await client.stats())["requests"]
    assert len(met) == len(set(met))
    assert there - edited <= set(met)
    assert edited  # somebody was at work
    assert searched["kpi"] > 1
    assert requests < 4 * EVERYBODY / PER_PAGE


async def test_pages_alone_would_miss_somebody() -> None:
    """The hazard the sweep is for: an edit between two pages hides whoever stood behind the edited one."""
    async with (
        Sandbox(SandboxOptions(unlimited=True, contacts=40, search_lag=0.0)) as server,
        QomonClient(server.api_key, base_url=server.base_url) as qomon,
    ):
        client = Client(server.base_url, server.api_key)

        async def page(number: int) -> list[Contact]:
            return await qomon.page(page=number, per_page=10)

        first = await page(0)
        order = {"act": "edit", "id": first[3].id, "set": {"phone": "7"}}
        assert (await client.send("POST", "/_sandbox/staff", order)).status == 200
        met = [contact.id for contact in first]
        for number in range(1, 5):
            met += [contact.id for contact in await page(number)]
        assert len(await ids_there(client) - set(met)) == 1
        assert len(met) - len(set(met)) == 1

        once = [contact.id async for contact in sweep(partial(qomon.page), per_page=10)]
        assert sorted(once) == sorted(await ids_there(client))


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_sixty_thousand_are_met_once_while_staff_works_and_memory_stays_flat() -> None:
    """In processes of their own; the benchmark asserts itself that nobody is missed or met twice."""
    ended = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench", "reading", cwd=Path(__file__).parents[1], stdout=subprocess.PIPE
    )
    printed, _ = await ended.communicate()
    assert ended.returncode == 0
    mixed, swept = (orjson.loads(line) for line in printed.splitlines()[1:])
    assert (mixed["throttled"], mixed["contacts"]) == (0, 3000)
    assert (swept["contacts"], swept["missed"], swept["twice"]) == (60_000, 0, 0)
    assert swept["peak_mb_more"] < 100
