"""Processes that are really killed and really signalled: nothing lost, few repeats, an honest record."""

import asyncio
import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
from test_engine_child import Child, world_apart
from test_engine_world import World, people, who

IN_FLIGHT = 16


async def repeats(w: World) -> int:
    """Return how many upserts since the last look carried what was already carried before."""
    before = Counter(orjson.dumps(entry["data"]) for entry in w.last)
    fresh = [entry for entry in await w.history() if entry["endpoint"] == "upsert"]
    w.last += fresh
    return sum((before[orjson.dumps(entry["data"])] > 0) for entry in fresh)


async def killed_again_and_again(folder: Path, *, count: int, kills: int, seed: int) -> None:
    draw = random.Random(seed)
    print(f"seed {seed}")
    async with world_apart(
        folder, "--unlimited", "--latency", "0.02", run={"settle": 0.1, "in_flight": IN_FLIGHT}
    ) as w:
        w.write(people(count))
        killed = repeated = 0
        while killed < kills:
            child = Child(w.table(), verify=False)  # all workers are busy at once
            await child.opened()
            await asyncio.sleep(draw.uniform(0.0, 0.8))
            if child.process.poll() is not None:
                break
            await child.kill()
            assert w.sql("PRAGMA integrity_check") == [("ok",)]
            repeated += await repeats(w)
            assert repeated <= killed * IN_FLIGHT  # of the kills before this one: its own come later
            killed += 1
        last = Child(w.table())
        await last.opened()
        report = await last.report()
        repeated += await repeats(w)
        assert repeated <= killed * IN_FLIGHT
        assert report["outcome"] == "done"
        assert report["confirmed"] + report["earlier"]["confirmed"] == count
        print(f"{killed} kills, {repeated} repeats")
        assert killed >= min(kills, 5)
        ended = w.sql("SELECT outcome, reason FROM runs ORDER BY id")
        assert ended[-1] == ("done", None)
        assert set(ended[:-1]) == {("interrupted", "killed")}
        assert w.sql("SELECT count(*) FROM intents") == [(0,)]
        unsettled = "accepted_hash IS NOT content_hash OR in_doubt OR awaiting OR remote_id IS NULL"
        assert w.sql(f"SELECT count(*) FROM contacts WHERE {unsettled}") == [(0,)]
        there = await w.contacts()
        assert sorted(row["mail"] for row in there) == sorted(row["mail"] for row in people(count))
        assert {who(entry) for entry in w.last} == {row["firstname"] for row in people(count)}


@pytest.mark.parametrize("seed", [1])
async def test_killed_at_random_nothing_is_lost_and_each_kill_repeats_at_most_in_flight(
    tmp_path: Path, seed: int
) -> None:
    await killed_again_and_again(tmp_path, count=4000, kills=8, seed=seed)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(100, 112))
async def test_killed_at_random_a_hundred_times_and_more(tmp_path: Path, seed: int) -> None:
    await killed_again_and_again(tmp_path, count=8000, kills=25, seed=seed)


async def test_a_second_sync_ends_within_a_second_and_names_the_holder(tmp_path: Path) -> None:
    async with world_apart(tmp_path, "--unlimited", "--latency", "0.1", run={"in_flight": 1}) as w:
        w.write(people(100))
        first = Child(w.table(), verify=False)
        await first.opened()
        begun = time.monotonic()
        second = Child(w.table())
        code, output, _ = await second.ended()
        took = time.monotonic() - begun
        assert code == 5
        assert str(first.process.pid) in output
        await first.kill()
        assert took < 2.0  # a Python start included; the refusal itself takes milliseconds
        third = Child(w.table())  # the lock died with its holder
        await third.opened()
        await third.kill()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
async def test_a_signal_ends_a_sync_in_order_and_its_resume_repeats_nothing(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    async with world_apart(tmp_path, "--unlimited", "--latency", "0.02", run={"in_flight": IN_FLIGHT}) as w:
        w.write(people(2000))
        child = Child(w.table(), verify=False)
        await child.opened()
        await w.saw(lambda stats: stats["requests"].get("upsert", 0) >= 200)
        begun = time.monotonic()
        child.process.send_signal(number)
        report = await child.report()
        assert time.monotonic() - begun < 10
        assert (report["exit"], report["outcome"]) == (code, "interrupted")
        assert report["accepted"] == report["sent"] == report["requests"]
        assert report["selected"] == 2000 == report["accepted"] + report["remaining"]
        assert await repeats(w) == 0
        resumed = Child(w.table(), verify=False)
        await resumed.opened()
        again = await resumed.report()
        assert await repeats(w) == 0
        assert (again["remaining"], again["problems_open"], again["repeated"]) == (0, 0, 0)
        assert (again["exit"], again["unconfirmed"]) == (3, report["remaining"])  # nobody was looked for
        assert again["requests"] == report["remaining"] + 1  # a read learns the space's group


async def test_a_kill_at_an_empty_bucket_is_followed_by_no_burst(tmp_path: Path) -> None:
    async with world_apart(
        tmp_path, "--burst", "40", "--rate", "150", run={"settle": 0.1, "in_flight": IN_FLIGHT}
    ) as w:
        w.write(people(500))
        child = Child(w.table(), verify=False)
        await child.opened()
        await w.saw(lambda stats: stats["requests"].get("upsert", 0) >= 200)
        await child.kill()
        resumed = Child(w.table())
        await resumed.opened()
        report = await resumed.report()
        assert (report["outcome"], report["throttled"]) == ("done", 0), report
        assert (await w.client.stats())["throttled"] == 0


async def paced(folder: Path, count: int, *, verify: bool) -> dict[str, Any]:
    async with world_apart(folder, "--burst", "40", "--rate", "150", run={"in_flight": IN_FLIGHT}) as w:
        w.write(people(count))
        child = Child(w.table(), verify=verify)
        await child.opened()
        report = await child.report()
        stats = await w.client.stats()
        assert (report["accepted"], report["throttled"], stats["throttled"]) == (count, 0, 0)
        assert (report["exit"], report["unconfirmed"]) == ((0, 0) if verify else (3, count))
        makespan = stats["last_upsert_at"] - stats["first_upsert_at"]
        ideal = (count - 40) / 150
        print(f"{count} contacts: {makespan:.3f} s, the bucket allows {ideal:.3f} s: {makespan / ideal:.4f}")
        return {"ratio": makespan / ideal}


async def test_a_small_bucket_is_never_overdrawn(tmp_path: Path) -> None:
    await paced(tmp_path, 900, verify=True)


@pytest.mark.long
async def test_3000_contacts_take_within_2_percent_of_what_the_bucket_allows(tmp_path: Path) -> None:
    assert (await paced(tmp_path, 3000, verify=False))["ratio"] <= 1.02
