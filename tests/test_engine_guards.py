"""Guards: breaker, write cap, deadline, mass change, outage, full disk. Time is virtual where it matters."""

import asyncio
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from test_engine_virtual import START, Inline, MemoryDestination, now, run_virtual, virtual_clock
from test_engine_world import (
    UNREAD,
    World,
    check_all_accepted,
    check_equations,
    people,
    person,
    until,
    world,
)
from test_sandbox_client import Client

from syncengine.clock import Clock
from syncengine.engine import Engine, SyncOptions
from syncengine.errors import NO_HEADERS, RateHeaders, RateLimitedError, StoreError, TransientError
from syncengine.model import Change, Report

pytestmark = pytest.mark.usefixtures("no_leaks")

REJECT = '[[fault]]\nkind = "status"\nstatus = 422\nafter = 31\n'


async def test_the_breaker_stops_a_run_of_rejections_and_puts_them_back(tmp_path: Path) -> None:
    async with world(tmp_path, faults=REJECT, run={"in_flight": 2}) as w:
        w.write(people(200))
        report = await w.sync()
        assert (report.outcome, report.reason, report.exit) == ("stopped", "breaker", 4)
        assert 50 <= report.requests <= 56
        assert (report.accepted, report.rejected, report.remaining) == (30, 0, 170)
        assert w.sql("SELECT count(*) FROM contacts WHERE problem IS NOT NULL") == [(0,)]


async def test_the_breaker_waits_for_fifty_answers_and_for_more_than_its_share(tmp_path: Path) -> None:
    table = '[[fault]]\nkind = "status"\nstatus = 422\ncount = 9\n'
    async with world(tmp_path, faults=table, run={"in_flight": 2}) as w:
        w.write(people(120))
        report = await w.sync()
        assert (report.accepted, report.rejected, report.exit) == (111, 9, 3)


@pytest.mark.parametrize("cap", [1, 7, 16, 40])
async def test_the_write_cap_sends_exactly_so_many(tmp_path: Path, cap: int) -> None:
    async with world(tmp_path, run={"max_writes": cap}) as w:
        w.write(people(50))
        report = await w.sync()
        assert (report.requests, report.accepted, report.remaining) == (cap, cap, 50 - cap)
        assert (report.outcome, report.reason, report.exit) == ("stopped", "write_cap", 4)


async def test_a_write_cap_that_suffices_stops_nothing(tmp_path: Path) -> None:
    async with world(tmp_path, run={"max_writes": 50}) as w:
        w.write(people(50))
        check_all_accepted(await w.sync())


async def test_a_write_cap_does_not_wait_for_an_identity_to_rest(tmp_path: Path) -> None:
    table = '[[fault]]\nkind = "reset_after"\ncount = 1\n'
    async with world(tmp_path, faults=table, run={"max_writes": 1, "settle": 600.0}) as w:
        w.write(people(1))
        async with asyncio.timeout(5):
            report = await w.sync()
        assert (report.requests, report.remaining, report.reason) == (1, 1, "write_cap")


async def test_the_deadline_leaves_the_rest_due(tmp_path: Path) -> None:
    begun = datetime.now().replace(hour=5, minute=59, second=40, microsecond=0).timestamp()  # noqa: DTZ005
    loop = asyncio.get_running_loop()
    first = loop.time()
    clock = Clock(wall=lambda: begun + (loop.time() - first) * 20)  # sending stops 10 s before, in 0.5 s
    async with world(tmp_path, run={"until": "06:00", "in_flight": 2}, latency=0.05, clock=clock) as w:
        w.write(people(400))
        report = await w.sync()
        assert (report.outcome, report.reason, report.exit) == ("stopped", "deadline", 4)
        assert 0 < report.accepted < 100
        assert "06:00" in report.message


async def test_a_mass_change_sends_nothing_and_shows_the_fields(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.write(people(200))
        await w.sync()
        w.write([person(number, phone="1" if number < 101 else None) for number in range(200)])
        report = await w.sync()
        assert (report.reason, report.exit, report.requests) == ("mass_change", 4, 0)
        assert (report.fields, report.remaining) == ({"phone": 101}, 101)
        assert "phone (101)" in report.message
        report = await w.sync(allow_mass_change=True)
        assert report.requests == 101
        check_all_accepted(report)


async def test_half_of_a_hundred_is_no_mass_change(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.write(people(100))
        await w.sync()
        w.write([person(number, phone="1" if number < 50 else None) for number in range(100)])
        assert (await w.sync()).requests == 50


# --- outages, on virtual time --------------------------------------------------------------------------


class Story:
    """One sync of `count` contacts in virtual time against a destination that follows `answer`."""

    def __init__(self, folder: Path, count: int, answer: Any, **run: Any) -> None:
        self.world = World(folder, Client("http://127.0.0.1:9", "unused"), run={"settle": 30.0} | run)
        self.world.write(people(count))
        self.destination = MemoryDestination(answer)

    def sync(self) -> Report:
        async def main() -> Report:
            async with Engine(
                self.world.settings(),
                destination=self.destination,
                clock=virtual_clock(),
                executor=Inline(),
            ) as engine:
                return await engine.sync(SyncOptions())

        report = run_virtual(main())
        check_equations(report)
        self.world.check_stored(report)
        return report

    def times(self, begin: float, end: float) -> list[float]:
        return [at for at, _ in self.destination.sent if begin <= at < end]


class Answers:
    """Accepts at the bucket's rate, but between `begin` and `end` raises `error`."""

    def __init__(self, begin: float, end: float, error: TransientError, latency: float = 0.05) -> None:
        self.begin, self.end, self.error, self.latency = begin, end, error, latency

    async def __call__(self, change: Change) -> RateHeaders:
        await asyncio.sleep(self.latency)
        if self.begin <= now() < self.end:
            raise self.error
        return NO_HEADERS


ERRORS = {
    "not sent": TransientError("could not connect", sent=False),
    "unknown": TransientError("HTTP 503", status=503, sent=True),
}


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS.keys())
def test_in_an_outage_one_probe_goes_out_every_ten_seconds(tmp_path: Path, error: TransientError) -> None:
    story = Story(tmp_path, 1600, Answers(60.0, 660.0, error))
    report = story.sync()
    check_all_accepted(report)
    probes = story.times(62.0, 660.0)
    assert len(probes) <= 61
    assert min(after - before for before, after in pairwise(probes)) >= 9.9
    assert len(story.destination.sent) <= 1.1 * 1600
    recovered = story.times(660.0, 720.0)
    assert len(story.times(690.0, 720.0)) >= 0.95 * 300  # the full rate, 30 s after the recovery
    assert len(recovered) >= 0.95 * 300
    assert report.accepted == 1600


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS.keys())
def test_half_an_hour_without_an_answer_stops_the_run(tmp_path: Path, error: TransientError) -> None:
    story = Story(tmp_path, 1000, Answers(60.0, 1e9, error))
    report = story.sync()
    assert (report.outcome, report.reason, report.exit) == ("stopped", "outage", 4)
    assert 1800 <= report.seconds - 60 <= 1830
    assert report.accepted + report.remaining == 1000
    assert report.held == 0


def test_nothing_but_429_for_half_an_hour_stops_the_run(tmp_path: Path) -> None:
    error = RateLimitedError("HTTP 429", status=429, sent=False, rate=RateHeaders(retry_after=5.0))
    story = Story(tmp_path, 500, Answers(20.0, 1e9, error))
    report = story.sync()
    assert (report.reason, report.exit) == ("outage", 4)
    assert report.accepted + report.remaining == 500
    assert report.repeated == 0


def test_waiting_for_an_identity_to_rest_is_no_outage(tmp_path: Path) -> None:
    lost = TransientError("no answer", sent=True)
    story = Story(tmp_path, 3, Answers(0.0, 0.1, lost), settle=2000.0)
    report = story.sync()
    assert (report.accepted, report.repeated) == (3, 1)
    check_all_accepted(report)
    assert report.seconds >= 2000


def test_a_flapping_destination_gets_little_more_than_the_useful_work(tmp_path: Path) -> None:
    turn = 0

    async def answer(change: Change) -> RateHeaders:
        nonlocal turn
        turn += 1
        await asyncio.sleep(0.05)
        if turn % 2:
            raise TransientError("HTTP 503", status=503, sent=True)
        return NO_HEADERS

    story = Story(tmp_path, 1000, answer)
    report = story.sync()
    assert report.accepted + report.remaining == 1000
    assert report.accepted >= 700  # two tries each
    assert report.requests <= 2 * 1000
    assert report.repeated <= 1000


def test_the_same_seed_gives_the_same_history(tmp_path: Path) -> None:
    histories = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        story = Story(folder, 400, Answers(5.0, 30.0, ERRORS["unknown"]))
        check_all_accepted(story.sync())
        histories.append(story.destination.sent)
    assert histories[0] == histories[1]


def test_the_finish_is_estimated_from_the_budget(tmp_path: Path) -> None:
    story = Story(tmp_path, 1000, Answers(-1.0, -1.0, ERRORS["unknown"]))
    seen: list[float] = []

    async def main() -> Report:
        async with Engine(
            story.world.settings(), destination=story.destination, clock=virtual_clock(), executor=Inline()
        ) as engine:
            running = asyncio.create_task(engine.sync())
            await asyncio.sleep(50)
            assert engine.progress.finish_at is not None
            seen.append(engine.progress.finish_at)
            return await running

    report = run_virtual(main())
    check_all_accepted(report)
    assert seen[0] == pytest.approx(START + report.seconds, abs=5)


# --- a full disk ---------------------------------------------------------------------------------------


def fill(engine: Engine) -> None:
    """Let the store's file grow no more and fill its free pages: the next write finds the disk full."""
    connection = engine.store.connection
    free = connection.execute("PRAGMA freelist_count").fetchone()[0]
    connection.execute("CREATE TABLE filler (bytes BLOB)")
    connection.execute("INSERT INTO filler VALUES (zeroblob(?))", (max(0, free - 2) * 4084,))
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}").fetchone()


async def test_a_full_disk_stops_the_sending_and_the_next_run_finishes(tmp_path: Path) -> None:
    async with world(tmp_path, run={"in_flight": 8}, latency=0.005) as w:
        w.write(people(2000))
        async with w.engine() as engine:
            running = asyncio.create_task(engine.sync(UNREAD))
            await until(lambda: engine.progress.accepted >= 100)
            await engine._at(fill, engine)
            report = await running
            with pytest.raises(StoreError):
                await engine.sync(UNREAD)  # what it left open is settled when the store is opened again
        w.sql("DROP TABLE filler")
        check_equations(report)
        assert (report.outcome, report.reason, report.exit) == ("failed", "disk", 1)
        first = await w.history()
        assert report.requests == len(first)
        assert report.sent == len({entry["data"]["firstname"] for entry in first})
        assert 100 <= report.accepted < 2000
        assert len(first) - report.accepted <= 8  # what was in flight when the commit failed
        resumed = await w.sync(load=False)
        check_all_accepted(resumed)
        assert resumed.requests == 2000 - report.accepted
        assert len(await w.contacts()) == 2000
        assert resumed.repeated <= 16


async def test_a_store_moved_away_stops_the_sending(tmp_path: Path) -> None:
    async with world(tmp_path, run={"in_flight": 8}, latency=0.005) as w:
        w.write(people(500))
        async with w.engine() as engine:
            running = asyncio.create_task(engine.sync(UNREAD))
            await until(lambda: engine.progress.accepted >= 50)
            w.store.rename(tmp_path / "elsewhere.db")
            report = await running
            (tmp_path / "elsewhere.db").rename(w.store)
        check_equations(report)
        assert (report.outcome, report.reason, report.exit) == ("failed", "store", 1)
        assert len(await w.history()) - report.accepted <= 8
        check_all_accepted(await w.sync(load=False))
        assert len(await w.contacts()) == 500
