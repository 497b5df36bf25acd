"""The whole job against a sandbox: once each, only what changed, the last content last."""

import asyncio
import gc
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from test_engine_world import (
    SURNAME,
    UNREAD,
    check_all_accepted,
    people,
    person,
    until,
    who,
    whose,
    world,
)

from syncengine.engine import Engine
from syncengine.errors import LockHeldError

pytestmark = pytest.mark.usefixtures("no_leaks")


def shown(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows as the sandbox shows their contacts, in order of mail."""
    found = [{name: row[name] for name in ("mail", "firstname", "surname")} for row in rows]
    return sorted(found, key=lambda row: str(row["mail"]))


async def test_each_of_5000_contacts_is_upserted_exactly_once_and_later_only_what_changed(
    tmp_path: Path,
) -> None:
    rows = people(5000)
    async with world(tmp_path, run={"in_flight": 32}) as w:
        w.write(rows)
        report = await w.sync()
        assert (report.new, report.accepted, report.requests) == (5000, 5000, 5000)
        check_all_accepted(report)
        assert set(Counter(whose(w.last)).values()) == {1}
        assert shown(await w.contacts()) == shown(rows)

        again = await w.sync()
        assert (again.unchanged, again.selected, again.requests) == (5000, 0, 0)
        check_all_accepted(again)

        edited = {number * 131 for number in range(37)}
        for number in edited:
            rows[number] = person(number, phone="0601020304")
        w.write(rows)
        third = await w.sync()
        assert (third.changed, third.accepted, third.requests, third.repeated) == (37, 37, 37, 0)
        assert set(whose(w.last)) == {f"Vorname{number}" for number in edited}


def has_accepted(engine: Engine, least: int) -> bool:
    return engine.progress.accepted >= least


async def test_an_edit_and_its_reversal_between_runs_send_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.write(people(3))
        await w.sync()
        w.write([person(0, phone="1"), *people(3)[1:]])
        async with w.engine() as engine:
            assert (await engine.load()).changed == 1
        w.write(people(3))
        report = await w.sync()
        assert (report.changed, report.requests) == (1, 0)


async def test_an_edit_reverted_after_an_unknown_result_is_sent_again(tmp_path: Path) -> None:
    faults = '[[fault]]\nkind = "reset_after"\nwhere = { firstname = "Vorname1" }\nafter = 4\ncount = 2'
    async with world(tmp_path, faults=faults, run={"settle": 0.05}) as w:
        w.write(people(3))
        check_all_accepted(await w.sync())
        w.write([person(0), person(1, phone="42"), person(2)])
        unknown = await w.sync()
        assert (unknown.requests, unknown.remaining, unknown.exit) == (2, 1, 3)
        w.write(people(3))
        report = await w.sync()
        assert report.requests == 1
        check_all_accepted(report)
        assert "phone" not in w.last[0]["data"]
        assert report.repeated == 0  # this content is not the one in doubt


async def test_a_contact_edited_while_in_flight_is_sent_again_after_the_first_send(tmp_path: Path) -> None:
    async with world(tmp_path, latency=0.2) as w:
        w.write(people(4))
        async with w.engine() as engine:
            running = asyncio.create_task(engine.sync(UNREAD))
            await w.saw(lambda stats: stats["requests"].get("upsert"))
            await engine.put([person(0, phone="last")])
            report = await running
        await w.check(report)
        own = [entry for entry in w.last if who(entry) == "Vorname0"]
        assert [entry["data"].get("phone") for entry in own] == [None, "last"]
        assert own[1]["at"] - own[0]["at"] >= 0.2
        assert (report.accepted, report.requests) == (4, 5)
        check_all_accepted(report)


async def test_edits_during_a_run_are_delivered_last(tmp_path: Path) -> None:
    async with world(tmp_path, latency=0.01) as w:
        w.write(people(300))
        async with w.engine() as engine:
            running = asyncio.create_task(engine.sync(UNREAD))
            for version in range(5):
                await until(partial(has_accepted, engine, 20 * version))
                await engine.put([person(number, phone=str(version)) for number in range(0, 100, 7)])
            report = await running
        await w.check(report)
        check_all_accepted(report)
        for number in range(0, 100, 7):
            own = [e["data"].get("phone") for e in w.last if who(e) == f"Vorname{number}"]
            assert own[-1] == "4"
            assert own == sorted(own, key=lambda phone: int(phone or -1))


async def test_a_contact_put_during_a_run_meets_the_same_holds(tmp_path: Path) -> None:
    async with world(tmp_path, latency=0.05) as w:
        w.write(people(40))
        async with w.engine() as engine:
            running = asyncio.create_task(engine.sync(UNREAD))
            await until(lambda: engine.progress.accepted > 0)
            await engine.put([{"member_id": "x", "firstname": "Nobody"}])
            report = await running
        await w.check(report)
        assert (report.held, report.exit) == (1, 3)
        assert "Nobody" not in whose(w.last)


async def test_a_note_is_sent_once_per_contact_and_text(tmp_path: Path) -> None:
    def noted(number: int, text: str, **fields: Any) -> dict[str, Any]:
        return person(number, notes=[{"content": text}], **fields)

    faults = """
        [[fault]]
        kind = "reset_after"
        where = { firstname = "Vorname0" }
        count = 1
        [[fault]]
        kind = "status"
        status = 422
        where = { firstname = "Vorname1" }
        count = 1
    """
    async with world(tmp_path, faults=faults) as w:
        w.write([noted(0, "one"), noted(1, "one")])
        await w.sync()
        assert [(who(e)[-1], "notes" in e["data"]) for e in w.last] == [
            ("0", True),
            ("1", True),
            ("0", False),
        ]
        w.write([noted(0, "one", phone="1"), noted(1, "one", phone="1")])
        await w.sync()  # rejected before: it was never stored, so it goes again
        assert {who(e)[-1]: "notes" in e["data"] for e in w.last} == {"0": False, "1": True}
        w.write([noted(0, "two", phone="1"), noted(1, "one", phone="2")])
        await w.sync()
        assert {who(e)[-1]: e["data"].get("notes") for e in w.last} == {"0": [{"content": "two"}], "1": None}


async def test_a_second_sync_meets_the_lock_and_names_its_holder(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.write(people(1))
        async with w.engine():
            with pytest.raises(LockHeldError) as held:
                async with w.engine():
                    pass
    assert held.value.pid is not None
    assert str(held.value.pid) in str(held.value)


async def test_connections_and_concurrency_stay_within_in_flight(tmp_path: Path) -> None:
    async with world(tmp_path, run={"in_flight": 7}, latency=0.005) as w:
        w.write(people(700))
        await w.sync()
        stats = await w.client.stats()
    assert stats["peak_concurrency"] <= 7
    assert sum(stats["requests"].values()) == 700
    assert stats["connections"] - 5 <= 7  # those of the test itself come one at a time


async def test_nothing_blocks_the_loop(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.get_running_loop()
    slow: list[str] = []
    for turn in range(3):  # a busy machine slows one; what blocks would slow all
        folder = tmp_path / str(turn)
        folder.mkdir()
        caplog.clear()
        async with world(folder) as w:
            w.write(people(500))
            loop.set_debug(True)
            loop.slow_callback_duration = 0.1
            gc.disable()  # a collection of all that the other tests left behind takes as long
            try:
                assert (await w.sync()).accepted == 500
            finally:
                gc.enable()
                loop.set_debug(False)
        slow = [record.getMessage() for record in caplog.records if record.msg.startswith("Executing")]
        if not slow:
            break
    caplog.clear()
    assert not slow


async def test_an_engine_may_sync_again_and_again(tmp_path: Path) -> None:
    async with world(tmp_path, run={"max_writes": 2}) as w:
        w.write(people(5))
        async with w.engine() as engine:
            for left in (3, 1, 0):
                report = await engine.sync(UNREAD)
                await w.check(report)
                assert (report.remaining, report.exit) == (left, 4 if left else 3)
            check_all_accepted(report)


async def test_a_source_that_cannot_be_read_ends_in_a_report(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        report = await w.sync()  # there is no such file
        assert (report.outcome, report.reason, report.exit) == ("failed", "source", 1)
        assert "people.jsonl" in report.message


async def test_a_cancelled_sync_closes_its_run_and_keeps_what_was_answered(tmp_path: Path) -> None:
    async with world(tmp_path, latency=0.02, run={"in_flight": 4}) as w:
        w.write(people(200))
        async with w.engine() as engine:
            running = asyncio.create_task(engine.sync(UNREAD))
            await until(lambda: engine.progress.accepted >= 40)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
        assert w.sql("SELECT outcome, reason, exit FROM runs") == [("interrupted", "sigint", 130)]
        first = await w.history()
        check_all_accepted(await w.sync())
        assert len(first) + len(w.last) - 200 <= 4


async def test_an_order_to_stop_ends_in_order_and_the_next_run_repeats_nothing(tmp_path: Path) -> None:
    async with world(tmp_path, latency=0.05, run={"in_flight": 8}) as w:
        w.write(people(300))
        async with w.engine() as engine:
            running = asyncio.create_task(engine.sync(UNREAD))
            await until(lambda: engine.progress.accepted >= 50)
            engine.stop("sigterm")
            report = await running
        await w.check(report)
        assert (report.outcome, report.reason, report.exit) == ("interrupted", "sigterm", 143)
        assert report.accepted == report.requests < 100
        resumed = await w.sync(load=False)
        assert (resumed.requests, resumed.repeated) == (300 - report.requests, 0)
        check_all_accepted(resumed)


async def test_a_second_order_cuts_off_what_is_out_and_nothing_else(tmp_path: Path) -> None:
    faults = '[[fault]]\nkind = "hang"\napply = true\nafter = 21'
    async with world(tmp_path, faults=faults, run={"in_flight": 4, "timeout": 30}) as w:
        w.write(people(60))
        async with w.engine() as engine:
            running = asyncio.create_task(engine.sync(UNREAD))
            await w.saw(lambda stats: stats["faults"].get("hang", 0) >= 4)
            engine.stop("sigint")
            engine.stop("sigint")
            async with asyncio.timeout(2):
                report = await running
        await w.check(report)
        assert (report.exit, report.accepted, report.sent, report.remaining) == (130, 20, 24, 40)
        assert w.sql("SELECT count(*) FROM contacts WHERE in_doubt = 1") == [(4,)]
        assert w.sql("SELECT count(*) FROM intents WHERE open = 1") == [(0,)]


async def test_two_orders_before_anything_left_put_nobody_in_doubt(tmp_path: Path) -> None:
    async with world(tmp_path, burst=1, rate=0.2) as w:
        w.write(people(20))
        async with w.engine() as engine:
            running = asyncio.create_task(engine.sync(UNREAD))
            await until(lambda: engine.progress.accepted >= 1)
            engine.stop("sigint")
            engine.stop("sigint")
            report = await running
        await w.check(report)
        assert (report.sent, report.accepted, report.remaining) == (1, 1, 19)
        assert w.sql("SELECT count(*) FROM contacts WHERE in_doubt = 1") == [(0,)]


async def test_the_report_names_nobody(tmp_path: Path) -> None:
    faults = '[[fault]]\nkind = "status"\nstatus = 422\nshare = 0.1'
    async with world(tmp_path, faults=faults) as w:
        w.write([*people(30), person(99, mail="broken")])
        async with w.engine() as engine:
            report = await engine.sync(UNREAD)
        await w.check(report)
    for text in (repr(report), str(report.as_json())):
        assert SURNAME not in text
        assert "canary" not in text
