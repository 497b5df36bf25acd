"""One run at a time in an engine; a run cancelled, cut off, or whose end cannot be written down."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from test_engine_virtual import Inline, MemoryDestination, run_virtual, virtual_clock
from test_engine_world import World, check_all_accepted, check_equations, people, person
from test_sandbox_client import Client

from syncengine.engine import Engine, SyncOptions
from syncengine.errors import NO_HEADERS, RateHeaders, StoreError, TransientError
from syncengine.model import Change, Report
from syncengine.transfer import DRAIN_SECONDS

pytestmark = pytest.mark.usefixtures("no_leaks")


class Gate:
    """A destination that keeps every request waiting until it is opened; the first `lost` get no answer."""

    def __init__(self, lost: int = 0) -> None:
        self.arrived = asyncio.Event()
        self.open = asyncio.Event()
        self.changes: list[Change] = []
        self.destination = MemoryDestination(self._answer)
        self._lost = lost

    async def _answer(self, change: Change) -> RateHeaders:
        self.changes.append(change)
        self.arrived.set()
        await self.open.wait()
        if self._lost:
            self._lost -= 1
            raise TransientError("connection reset", sent=True)
        return NO_HEADERS

    @property
    def keys(self) -> list[str]:
        return [change.key for change in self.changes]


def gated_world(folder: Path, *, run: dict[str, Any] | None = None, **sections: Any) -> World:
    client = Client("http://127.0.0.1:9", "unused")
    return World(folder, client, run={"settle": 0.05} | (run or {}), **sections)


@asynccontextmanager
async def under_way(w: World, gate: Gate) -> AsyncIterator[tuple[Engine, asyncio.Task[Report]]]:
    """Open an engine with a sync whose first request waits at the gate."""
    async with w.engine(destination=gate.destination) as engine:
        running = asyncio.create_task(engine.sync())
        await asyncio.wait({running, asyncio.create_task(gate.arrived.wait())}, return_when="FIRST_COMPLETED")
        assert not running.done()
        try:
            yield engine, running
        finally:  # a test that failed leaves it waiting
            running.cancel()
            await asyncio.wait({running})


# --- one at a time -------------------------------------------------------------------------------------


@pytest.mark.parametrize("second", ["sync", "load"])
async def test_a_second_sync_or_load_while_a_sync_runs_is_refused_and_disturbs_nothing(
    tmp_path: Path, second: str
) -> None:
    gate, w = Gate(), gated_world(tmp_path, run={"in_flight": 4})
    w.write(people(10))
    async with under_way(w, gate) as (engine, running):
        w.write(people(15))  # must not be read
        with pytest.raises(StoreError, match="a sync is running"):
            async with asyncio.timeout(1):
                await (engine.sync() if second == "sync" else engine.load())
        assert not running.done()
        gate.open.set()
        report = await running
        check_equations(report)
        w.check_stored(report)
        assert (report.accepted, report.requests, report.read) == (10, 10, 10)
        check_all_accepted(report)
        assert set(Counter(gate.keys).values()) == {1}
        assert w.sql("SELECT count(*) FROM runs") == [(1,)]
        after = await engine.sync()  # and when it has ended, the next one may
        assert after.accepted == 5
        check_all_accepted(after)
    assert set(Counter(gate.keys).values()) == {1}


async def test_a_load_after_a_sync_that_ended_is_allowed(tmp_path: Path) -> None:
    gate, w = Gate(), gated_world(tmp_path)
    gate.open.set()
    w.write(people(2))
    async with w.engine(destination=gate.destination) as engine:
        check_all_accepted(await engine.sync())
        assert (await engine.load()).unchanged == 2


# --- cancelled -----------------------------------------------------------------------------------------


async def test_after_a_cancelled_sync_only_what_left_is_in_doubt_and_the_next_sync_delivers_everybody(
    tmp_path: Path,
) -> None:
    gate, w = Gate(), gated_world(tmp_path, run={"in_flight": 2})
    w.write([person(number, notes=[{"content": f"note {number}"}]) for number in range(8)])
    async with under_way(w, gate) as (engine, running):
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        left = list(gate.keys)
        assert 1 <= len(left) <= 2
        assert w.sql("SELECT count(*) FROM intents WHERE open = 1") == [(0,)]
        doubtful = w.sql("SELECT key FROM contacts WHERE in_doubt = 1 ORDER BY key")
        assert [key for (key,) in doubtful] == sorted(left)
        gate.open.set()
        async with asyncio.timeout(10):
            report = await engine.sync()
        check_equations(report)
        assert (report.accepted, report.remaining) == (8, 0)
        check_all_accepted(report)
        assert report.repeated == len(left)
    notes = Counter(change.key for change in gate.changes if change.notes)
    assert notes == Counter(f"m{number:05}" for number in range(8))  # each note left once


async def test_contacts_without_identity_that_never_left_a_cancelled_sync_are_not_held(
    tmp_path: Path,
) -> None:
    gate, w = Gate(), gated_world(tmp_path, run={"in_flight": 2}, identity={"none": "send"})
    w.write([{"member_id": f"x{number}", "firstname": f"Vorname{number}"} for number in range(8)])
    async with under_way(w, gate) as (_, running):
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    left = list(gate.keys)
    gate.open.set()
    async with w.engine(destination=gate.destination) as engine:
        report = await engine.sync()
    assert (report.accepted, report.problems_open, report.remaining) == (8 - len(left), len(left), 0)
    assert set(Counter(gate.keys).values()) == {1}


# --- the order to stop ---------------------------------------------------------------------------------


def test_one_order_to_stop_cuts_off_a_destination_that_hangs_after_ten_seconds(tmp_path: Path) -> None:
    async def hang(_: Change) -> None:
        await asyncio.sleep(3600)

    w = gated_world(tmp_path)
    w.write(people(1))
    destination = MemoryDestination(hang)

    async def main() -> Report:
        async with Engine(
            w.settings(), destination=destination, clock=virtual_clock(), executor=Inline()
        ) as engine:
            running = asyncio.create_task(engine.sync(SyncOptions()))
            await asyncio.sleep(5)
            assert len(destination.sent) == 1
            engine.stop()
            return await running

    report = run_virtual(main())
    check_equations(report)
    w.check_stored(report)
    assert DRAIN_SECONDS == 10
    assert report.seconds == pytest.approx(5 + DRAIN_SECONDS, abs=0.5)
    assert (report.outcome, report.exit) == ("interrupted", 130)
    assert (report.accepted, report.remaining, report.requests) == (0, 1, 1)
    assert w.sql("SELECT in_doubt FROM contacts") == [(1,)]
    assert w.sql("SELECT result FROM receipts") == [("unknown",)]


# --- the end that cannot be written down ---------------------------------------------------------------


async def test_a_run_whose_end_cannot_be_written_has_failed(tmp_path: Path) -> None:
    gate, w = Gate(), gated_world(tmp_path)
    gate.open.set()
    w.write(people(3))
    async with w.engine(destination=gate.destination) as engine:
        await engine._at(
            engine.store.connection.execute,
            "CREATE TEMP TRIGGER no_room BEFORE UPDATE OF outcome ON runs "
            "BEGIN SELECT RAISE(ABORT, 'full'); END",
        )
        report = await engine.sync()
    assert (report.accepted, report.requests) == (3, 3)
    assert (report.outcome, report.exit) == ("failed", 1)
    assert report.reason is not None
    assert report.message
    async with w.engine(destination=gate.destination) as engine:
        again = await engine.sync()
    assert again.requests == 0
    check_all_accepted(again)
