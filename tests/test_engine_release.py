"""A release is for one send; a doubt is about what was sent, whatever the contact has become since."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from test_engine_cancel import Gate, gated_world, under_way
from test_engine_doubts import LOST, problem
from test_engine_world import World, check_all_accepted, check_equations, people, world
from test_store_kit import claim_due, opened

from syncengine.problems import CRASHES, MAY_HAVE_BEEN_CREATED
from syncengine.store.acts import release, retry
from syncengine.store.opened import open_store

pytestmark = pytest.mark.usefixtures("no_leaks")

NAMELESS = {"member_id": "x", "firstname": "Vorname0"}
HELD = ["held", MAY_HAVE_BEEN_CREATED, 1]


def let_go(w: World, key: str = "x") -> None:
    with open_store(w.store) as store:
        assert release(store, [key])[0].released


def try_again(w: World) -> None:
    with open_store(w.store) as store:
        retry(store)


async def hold_nameless(w: World) -> None:
    w.write([NAMELESS])
    report = await w.sync()
    assert (report.requests, report.held) == (0, 1)


# --- a release is used up by the send ------------------------------------------------------------------


async def test_a_release_is_used_up_by_a_send_that_a_kill_cut_short(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await hold_nameless(w)
        let_go(w)
        with opened(w.store) as store:  # what a kill in flight leaves behind
            assert len(claim_due(store, store.begin_run("sync"))) == 1
        report = await w.sync()
        assert (report.requests, report.problems_open, report.exit) == (0, 1, 3)
        assert problem(w, "x") == HELD
        let_go(w)
        report = await w.sync()
        assert (report.requests, report.accepted) == (1, 1)
        check_all_accepted(report)


async def test_a_released_send_that_got_no_answer_goes_again_only_after_another_release(
    tmp_path: Path,
) -> None:
    async with world(tmp_path, faults=LOST.format(0, 1)) as w:
        await hold_nameless(w)
        let_go(w)
        report = await w.sync()
        assert (report.requests, report.held, report.accepted) == (1, 1, 0)
        assert problem(w, "x") == HELD
        for _ in range(2):
            try_again(w)
            report = await w.sync()
            assert (report.requests, report.held) == (0, 1)
            assert problem(w, "x") == HELD
        let_go(w)
        report = await w.sync()
        assert (report.requests, report.accepted) == (1, 1)
        check_all_accepted(report)
        assert (await w.sync()).requests == 0


async def test_a_release_that_was_not_used_stays(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await hold_nameless(w)
        let_go(w)
        async with w.engine() as engine:
            await engine.load()
        report = await w.sync()
        assert (report.requests, report.accepted) == (1, 1)
        check_all_accepted(report)


# --- edited while in flight ----------------------------------------------------------------------------


async def edited_in_flight(folder: Path, before: dict[str, Any], after: dict[str, Any]) -> tuple[World, Gate]:
    """Sync one contact whose only request gets no answer, and edit it meanwhile."""
    gate, w = Gate(lost=1), gated_world(folder, identity={"none": "send"})
    w.write([before])
    async with under_way(w, gate) as (engine, running):
        await engine.put([after])
        gate.open.set()
        async with asyncio.timeout(10):
            report = await running
    check_equations(report)
    assert gate.keys == ["x"]
    assert (report.requests, report.accepted, report.repeated) == (1, 0, 0)
    return w, gate


async def test_a_contact_without_identity_edited_in_flight_is_held_when_its_request_is_lost(
    tmp_path: Path,
) -> None:
    w, gate = await edited_in_flight(tmp_path, NAMELESS, NAMELESS | {"phone": "1"})
    assert problem(w, "x") == HELD
    async with w.engine(destination=gate.destination) as engine:
        await engine.load()  # the source still says what it said
        again = await engine.sync()
    assert (again.requests, again.problems_open) == (0, 1)
    assert problem(w, "x") == HELD


async def test_a_contact_that_loses_its_identity_in_flight_is_not_sent_again_when_its_request_is_lost(
    tmp_path: Path,
) -> None:
    before = NAMELESS | {"mail": "x@canary.example", "surname": "Kanarienvogel"}
    w, _ = await edited_in_flight(tmp_path, before, NAMELESS)
    assert w.sql("SELECT in_doubt FROM contacts") == [(1,)]


# --- the doubt is about what was sent ------------------------------------------------------------------


@pytest.mark.parametrize("how", ["source", "put"])
async def test_what_was_sent_without_identity_stays_held_when_a_mail_is_added(
    tmp_path: Path, how: str
) -> None:
    async with world(tmp_path, faults=LOST.format(0, 1), identity={"none": "send"}) as w:
        w.write([NAMELESS])
        report = await w.sync()
        assert (report.requests, report.held) == (1, 1)
        found = NAMELESS | {"mail": "x@canary.example", "surname": "Kanarienvogel"}
        if how == "source":
            w.write([found])
        else:
            async with w.engine() as engine:
                await engine.put([found])
        for _ in range(2):
            report = await w.sync(load=how == "source")
            assert (report.requests, report.problems_open) == (0, 1)
            assert problem(w, "x") == HELD
        let_go(w)
        report = await w.sync(load=how == "source")
        assert (report.requests, report.accepted) == (1, 1)
        check_all_accepted(report)


async def test_what_was_sent_with_names_alone_stays_held_when_a_mail_is_added(tmp_path: Path) -> None:
    names = NAMELESS | {"surname": "Kanarienvogel"}
    async with world(tmp_path, faults=LOST.format(0, 1), identity={"names_only": "send"}) as w:
        w.write([names])
        assert (await w.sync()).held == 1
        w.write([names | {"mail": "x@canary.example"}])
        report = await w.sync()
        assert (report.requests, report.held) == (0, 1)
        assert problem(w, "x") == HELD


# --- three crashes -------------------------------------------------------------------------------------


async def test_a_contact_held_for_three_crashes_goes_only_when_released(tmp_path: Path) -> None:
    async with world(tmp_path, run={"settle": 0.0}) as w:
        w.write(people(1))
        async with w.engine() as engine:
            await engine.load()
        for _ in range(3):
            with opened(w.store) as store:  # what a kill in flight leaves behind
                assert len(claim_due(store, store.begin_run("sync"))) == 1
        for _ in range(2):
            report = await w.sync()
            assert (report.requests, report.problems_open, report.exit) == (0, 1, 3)
            assert problem(w, "m00000")[:2] == ["held", CRASHES]
            try_again(w)
        assert (await w.sync()).requests == 0
        let_go(w, "m00000")
        report = await w.sync()
        assert (report.requests, report.accepted) == (1, 1)
        check_all_accepted(report)
