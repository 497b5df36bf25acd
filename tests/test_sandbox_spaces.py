"""Several spaces and keys in one sandbox: what is shared, and what is kept apart."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from test_sandbox_client import Client

from syncengine.sandbox import Sandbox, SandboxOptions
from syncengine.sandbox.unknowns import Unknowns

ADA = {"surname": "Roux", "mail": "ada@example.org"}


@asynccontextmanager
async def opened(**options: Any) -> AsyncIterator[list[Client]]:
    """Run a sandbox; a client for each key, those of the first space first."""
    async with Sandbox(SandboxOptions(**{"lag": 0.0, "rate": 0.001} | options)) as sandbox:
        clients = [Client(sandbox.base_url, key.token) for key in sandbox.keys]
        assert len({client.key for client in clients}) == len(clients)
        yield clients


async def left(client: Client) -> int:
    """Send an upsert and return how many tokens are left, -1 when there was none for it."""
    reply = await client.upsert(ADA)
    return -1 if reply.status == 429 else int(reply.headers["x-ratelimit-remaining"])


async def of_space(client: Client, what: str, group_id: int) -> Any:
    return (await client.send("GET", f"/_sandbox/{what}?space={group_id}")).content


async def test_each_key_pays_from_its_own_bucket() -> None:
    async with opened(burst=2, keys=2) as (one, two):
        assert [await left(one), await left(one), await left(one)] == [1, 0, -1]
        assert await left(two) == 1


async def test_keys_of_a_space_can_share_its_bucket() -> None:
    async with opened(burst=3, spaces=2, keys=2, bucket="space") as (one, two, three, four):
        assert [await left(one), await left(two), await left(one), await left(two)] == [2, 1, 0, -1]
        assert [await left(three), await left(four)] == [2, 1]


async def test_keys_of_a_space_see_the_same_contacts_and_those_of_another_do_not() -> None:
    async with opened(spaces=2, keys=2) as (one, two, three, _):
        await one.accepted(ADA)
        await two.accepted(ADA | {"phone": "1"})
        await three.accepted({"surname": "Weber"})
        first, second = [(await of_space(one, "contacts", group))["contacts"] for group in (1001, 1002)]
        assert [(contact["id"], contact["surname"], contact.get("phone")) for contact in first] == [
            (1, "Roux", "1")
        ]
        assert [(contact["id"], contact["surname"]) for contact in second] == [(1, "Weber")]


async def test_spaces_count_and_remember_apart() -> None:
    async with opened(spaces=2) as (one, two):
        await one.accepted(ADA, ADA)
        await two.accepted(ADA)
        histories = [await of_space(one, "history", group) for group in (1001, 1002)]
        assert [[entry["seq"] for entry in history["requests"]] for history in histories] == [[1, 2], [1]]
        counts = [await of_space(one, "stats", group) for group in (1001, 1002)]
        assert [count["requests"]["upsert"] for count in counts] == [2, 1]
        assert [count["tokens_used"] for count in counts] == [2, 1]


async def test_resetting_one_space_leaves_the_other_as_it_is() -> None:
    async with opened(burst=1, spaces=2, keys=2) as (one, also_one, two, _):
        for client in (one, also_one, two):
            await client.upsert(ADA)
        await one.send("POST", "/_sandbox/settle?space=1002")
        assert (await one.send("POST", "/_sandbox/reset?space=1001")).status == 200
        assert [await left(client) for client in (one, also_one, two)] == [0, 0, -1]
        assert len((await of_space(one, "contacts", 1002))["contacts"]) == 1
        assert (await of_space(one, "stats", 1002))["throttled"] == 1


async def test_people_to_start_with_differ_from_space_to_space() -> None:
    async with opened(contacts=20, spaces=2) as (one, _):
        first, second = [(await of_space(one, "contacts", group))["contacts"] for group in (1001, 1002)]
        assert len(first) == len(second) == 20
        names = [[(contact["firstname"], contact["surname"]) for contact in held] for held in (first, second)]
        assert names[0] != names[1]


async def test_settling_one_space_applies_nothing_of_the_other() -> None:
    async with opened(lag=60, spaces=2) as (one, two):
        await one.upsert(ADA)
        await two.upsert(ADA)
        assert (await one.send("POST", "/_sandbox/settle?space=1002")).content == {"applied": 1}
        held = [(await of_space(one, "stats", group))["contacts"] for group in (1001, 1002)]
        assert held == [0, 1]


@pytest.mark.parametrize("key", ["", "sandbox-0000000000000000", "another key"])
async def test_a_foreign_key_opens_no_space_and_costs_nothing(key: str) -> None:
    async with opened(burst=1, spaces=2, keys=2) as clients:
        reply = await clients[0].upsert(ADA, key)
        assert reply.status == 401
        assert not [name for name in reply.headers if name.startswith("x-ratelimit")]
        assert [await left(client) for client in clients] == [0, 0, 0, 0]


async def test_the_given_key_is_the_first_of_the_first_space() -> None:
    async with opened(api_key="my-own", spaces=2, keys=2) as clients:
        assert [client.key == "my-own" for client in clients] == [True, False, False, False]
        assert (await clients[0].upsert(ADA)).status == 202


async def test_keys_follow_from_the_seed_and_the_first_does_not_depend_on_how_many_there_are() -> None:
    async with opened(seed=5, spaces=2, keys=2) as many, opened(seed=5) as one, opened(seed=6) as other:
        assert many[0].key == one[0].key != other[0].key
    async with opened(seed=5, spaces=2, keys=2) as again:
        assert [client.key for client in again] == [client.key for client in many]


@pytest.mark.parametrize(
    ("answer", "name"), [("ResetTime", "x-ratelimit-resettime"), ("Reset", "x-ratelimit-reset")]
)
async def test_unknown_reset_header_names_the_header(answer: str, name: str) -> None:
    async with opened(unknowns=Unknowns(reset_header=answer), burst=2, rate=0.5) as (client,):
        for reply in (await client.upsert(ADA), await client.upsert(ADA), await client.upsert(ADA)):
            found = [header for header in reply.headers if header.startswith("x-ratelimit-reset")]
            assert found == [name]
        assert (reply.status, reply.headers[name]) == (429, "4")


async def test_there_is_no_space_of_an_unknown_number() -> None:
    async with opened(spaces=2) as (client, _):
        assert (await client.send("GET", "/_sandbox/stats?space=1003")).status == 404
        assert (await client.send("GET", "/_sandbox/stats?space=one")).status == 400


async def test_another_price_of_an_endpoint_is_charged_and_announced() -> None:
    async with opened(burst=5, costs={"upsert": 3}) as (client,):
        reply = await client.upsert(ADA)
        assert (reply.headers["x-ratelimit-cost"], reply.headers["x-ratelimit-remaining"]) == ("3", "2")
        assert (await client.upsert(ADA)).status == 429
        assert (await client.stats())["tokens_used"] == 3


async def test_free_endpoint_is_answered_by_an_empty_bucket() -> None:
    async with opened(burst=1, costs={"upsert": 0}) as (client,):
        assert [await left(client) for _ in range(3)] == [1, 1, 1]
