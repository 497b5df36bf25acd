"""One state file, one space: the group is learned from a read, and another key has to show the same one."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from test_engine_world import KEY, UNREAD, World, check_all_accepted, people, person, world
from test_sandbox_client import Client

from syncengine.model import Report
from syncengine.sandbox import SandboxOptions
from syncengine.sandbox.spaces import FIRST_GROUP

pytestmark = pytest.mark.usefixtures("no_leaks")


def group_of(w: World) -> int | None:
    ((group_id,),) = w.sql("SELECT group_id FROM space")
    assert group_id is None or isinstance(group_id, int)
    return group_id


async def sync_with(w: World, key: str, **options: bool) -> Report:
    """Sync with another key; its requests are counted in the history of its own space."""
    before, w.client.key = w.client.key, key
    try:
        async with w.engine() as engine:
            return await engine.sync(replace(UNREAD, **options))
    finally:
        w.client.key = before


def key_of(space: int, turn: int) -> str:
    return SandboxOptions(api_key=KEY).key(space, turn)


async def upserts(w: World, group_id: int) -> int:
    stats = (await w.client.send("GET", f"/_sandbox/stats?space={group_id}")).content
    return int(stats["requests"].get("upsert", 0))


async def test_the_group_is_learned_once_as_soon_as_there_is_somebody_to_see(tmp_path: Path) -> None:
    async with world(tmp_path, knows_group=False) as w:
        w.write(people(3))
        assert (await w.sync()).requests == 3  # nobody is there whom a read could show
        assert group_of(w) is None
        w.write(people(5))
        report = await w.sync()
        assert (report.requests, report.sent, report.tokens) == (3, 2, 3)
        assert group_of(w) == FIRST_GROUP
        w.write(people(6))
        assert (await w.sync()).requests == 1


async def test_a_night_without_changes_reads_nothing(tmp_path: Path) -> None:
    async with world(tmp_path, knows_group=False) as w:
        w.write(people(3))
        await w.sync()
        assert (await w.sync()).requests == 0


async def test_another_key_of_the_same_space_is_let_in_by_a_read(tmp_path: Path) -> None:
    async with world(tmp_path, keys=2) as w:
        w.write(people(3))
        await w.sync()
        w.write(people(4))
        report = await sync_with(w, key_of(0, 1))
        assert (report.sent, report.requests) == (1, 2)
        check_all_accepted(report)
        w.write(people(5))
        assert (await sync_with(w, key_of(0, 1))).requests == 1  # it is the file's key now


async def test_a_key_of_another_space_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    async with world(tmp_path, keys=1, spaces=2) as w:
        w.write(people(3))
        await w.sync()
        other = Client(f"http://{w.client.host}:{w.client.port}", key_of(1, 0))
        await other.upsert({"surname": "Somebody", "mail": "else@other.example"})
        w.write([person(0, firstname="Changed"), *people(4)[1:]])
        for options in ({}, {"same_space": True}):
            report = await sync_with(w, key_of(1, 0), **options)
            assert (report.exit, report.outcome, report.sent) == (2, "failed", 0)
            assert f"belongs to the space with group_id {FIRST_GROUP}" in report.message
            assert str(FIRST_GROUP + 1) in report.message
        assert await upserts(w, FIRST_GROUP + 1) == 1
        assert (await w.sync()).sent == 2  # the old key goes on


async def test_another_key_that_shows_nobody_needs_same_space(tmp_path: Path) -> None:
    async with world(tmp_path, spaces=2) as w:
        w.write(people(3))
        await w.sync()
        w.write(people(4))
        report = await sync_with(w, key_of(1, 0))
        assert (report.exit, report.sent) == (2, 0)
        assert "--same-space" in report.message
        assert await upserts(w, FIRST_GROUP + 1) == 0
        assert (await sync_with(w, key_of(1, 0), same_space=True)).sent == 1


async def test_another_key_is_shown_even_when_nothing_is_due(tmp_path: Path) -> None:
    async with world(tmp_path, spaces=2) as w:
        w.write(people(3))
        await w.sync()
        report = await sync_with(w, key_of(1, 0))
        assert (report.exit, report.requests) == (2, 1)


READ_FAILS = '[[fault]]\nendpoint = "search"\nkind = "status"\nstatus = 404\n'


async def test_a_read_that_fails_keeps_nobody_waiting_unless_the_key_is_another(tmp_path: Path) -> None:
    async with world(tmp_path, knows_group=False, faults=READ_FAILS, keys=2) as w:
        w.write(people(3))
        await w.sync()
        w.write(people(4))
        report = await w.sync()
        assert report.sent == 1
        check_all_accepted(report)
        assert group_of(w) is None
        w.sql("UPDATE space SET group_id = ?", FIRST_GROUP)
        w.write(people(5))
        report = await sync_with(w, key_of(0, 1))
        assert (report.exit, report.reason, report.sent) == (1, "protocol", 0)


async def test_a_revoked_key_is_found_by_the_read_and_nobody_is_blamed(tmp_path: Path) -> None:
    revoked = '[[fault]]\nendpoint = "search"\nkind = "revoke"\n'
    async with world(tmp_path, knows_group=False, faults=revoked) as w:
        w.write(people(3))
        await w.sync()
        w.write(people(4))
        report = await w.sync()
        assert (report.reason, report.sent, report.remaining) == ("unauthorized", 0, 1)


async def test_a_key_that_may_not_search_goes_on_writing(tmp_path: Path) -> None:
    refused = '[[fault]]\nendpoint = "search"\nkind = "status"\nstatus = 403\n'
    async with world(tmp_path, knows_group=False, faults=refused) as w:
        w.write(people(3))
        await w.sync()
        w.write(people(4))
        assert (await w.sync()).sent == 1


async def test_an_order_to_stop_ends_the_read_too(tmp_path: Path) -> None:
    async with world(
        tmp_path,
        knows_group=False,
        faults='[[fault]]\nendpoint = "search"\nkind = "hang"\n',
        run={"timeout": 60},
    ) as w:
        w.write(people(3))
        await w.sync()
        w.write(people(4))
        async with w.engine() as engine, asyncio.TaskGroup() as group:
            running = group.create_task(engine.sync(UNREAD))
            await w.saw(lambda stats: stats["requests"].get("search"))
            engine.stop("sigterm")
            engine.stop("sigterm")  # and at once
        report = running.result()
        assert (report.outcome, report.exit, report.sent, report.remaining) == ("interrupted", 143, 0, 1)
