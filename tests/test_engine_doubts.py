"""Unknown results, by identity: who is sent again and when, who is held, and one at a time per identity."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from test_engine_world import (
    SURNAME,
    World,
    check_all_accepted,
    fast_clock,
    people,
    person,
    who,
    whose,
    world,
)

from syncengine.identity import IdentityClass
from syncengine.store.acts import release

pytestmark = pytest.mark.usefixtures("no_leaks")

LOST = '[[fault]]\nkind = "reset_after"\nwhere = {{ firstname = "Vorname{0}" }}\ncount = {1}\n'


def confirm(w: World, *keys: str) -> None:
    """Give stored contacts a confirmed id, as a read-back does."""
    for number, key in enumerate(keys, start=1):
        w.sql(
            "UPDATE contacts SET remote_id = ?, identity = ? WHERE key = ?",
            number,
            IdentityClass.CONFIRMED.value,
            key,
        )


def problem(w: World, key: str) -> Sequence[Any]:
    found = w.sql("SELECT problem, problem_reason, in_doubt FROM contacts WHERE key = ?", key)[0]
    return list(found)


async def test_mail_and_name_go_again_once_after_the_settle_time(tmp_path: Path) -> None:
    async with world(tmp_path, faults=LOST.format(1, 1), run={"settle": 0.4}) as w:
        w.write(people(3))
        report = await w.sync()
        first, second = [entry["at"] for entry in w.last if who(entry) == "Vorname1"]
        assert second - first >= 0.4
        assert (report.accepted, report.repeated, report.requests) == (3, 1, 4)
        check_all_accepted(report)
        assert len(await w.contacts()) == 3


async def test_a_second_unknown_result_leaves_the_contact_to_the_next_run(tmp_path: Path) -> None:
    async with world(tmp_path, faults=LOST.format(1, 2), run={"settle": 0.05}) as w:
        w.write(people(3))
        report = await w.sync()
        assert (report.accepted, report.remaining, report.repeated, report.exit) == (2, 1, 1, 3)
        report = await w.sync()
        assert (report.accepted, report.remaining, report.repeated) == (1, 0, 1)
        check_all_accepted(report)
        assert len(await w.contacts()) == 3


async def test_the_settle_time_of_an_unknown_result_outlives_the_run(tmp_path: Path) -> None:
    async with world(tmp_path, faults=LOST.format(0, 2), run={"settle": 0.5}) as w:
        w.write(people(1))
        await w.sync()
        before = w.last[-1]["at"]
        report = await w.sync()
        check_all_accepted(report)
        assert w.last[0]["at"] - before >= 0.45  # the intent is older than the request


async def test_a_confirmed_id_is_repeated_at_once(tmp_path: Path) -> None:
    faults = '[[fault]]\nkind = "reset_after"\nafter = 5\ncount = 3'
    async with world(tmp_path, faults=faults, run={"settle": 600.0}, clock=fast_clock(20)) as w:
        w.write(people(4))
        await w.sync()
        confirm(w, "m00002")
        w.write([*people(2), person(2, phone="1"), person(3)])
        report = await w.sync()
        assert [entry["data"]["id"] for entry in w.last] == [1, 1, 1, 1]
        assert (report.requests, report.repeated) == (4, 1)
        check_all_accepted(report)


async def test_a_confirmed_id_gets_four_attempts_a_try(tmp_path: Path) -> None:
    faults = '[[fault]]\nkind = "reset_after"\nafter = 2'
    async with world(tmp_path, faults=faults, run={"settle": 0.2}, clock=fast_clock(40)) as w:
        w.write(people(1))
        await w.sync()
        confirm(w, "m00000")
        w.write([person(0, phone="1")])
        report = await w.sync()
        assert (report.requests, report.remaining, report.repeated, report.sent) == (8, 1, 1, 1)


@pytest.mark.parametrize(
    ("row", "setting"),
    [
        ({"member_id": "m00000", "firstname": "Vorname0"}, "none"),
        ({"member_id": "m00000", "firstname": "Vorname0", "surname": SURNAME}, "names_only"),
    ],
    ids=["none", "names alone"],
)
async def test_what_nothing_finds_again_is_held_and_goes_only_when_released(
    tmp_path: Path, row: dict[str, Any], setting: str
) -> None:
    async with world(
        tmp_path, faults=LOST.format(0, 1), run={"settle": 0.05}, identity={setting: "send"}
    ) as w:
        w.write([row, person(1)])
        report = await w.sync()
        assert (report.held, report.remaining, report.requests, report.exit) == (1, 0, 2, 3)
        assert problem(w, "m00000") == ["held", "may have been created", 1]
        assert (await w.sync()).requests == 0
        w.write([row | {"phone": "1"}, person(1)])  # an edit does not make it findable
        again = await w.sync()
        assert (again.requests, again.held) == (0, 1)
        async with w.engine() as engine:
            assert release(engine.store, ["m00000"])[0].released
        released = await w.sync()
        assert released.requests == 1
        check_all_accepted(released)


async def test_a_contact_in_doubt_that_loses_its_identity_is_held(tmp_path: Path) -> None:
    async with world(
        tmp_path, faults=LOST.format(0, 2), run={"settle": 0.05}, identity={"none": "send"}
    ) as w:
        w.write([person(0)])
        assert (await w.sync()).remaining == 1
        w.write([{"member_id": "m00000", "firstname": "Vorname0"}])
        report = await w.sync()
        assert (report.requests, report.held) == (0, 1)
        assert problem(w, "m00000")[:2] == ["held", "may have been created"]


@pytest.mark.parametrize("shared", ["mail", "names"])
async def test_one_request_is_in_flight_per_identity(tmp_path: Path, shared: str) -> None:
    def row(number: int) -> dict[str, Any]:
        if shared == "mail":
            return person(number, mail="family@canary.example")
        born = f"195{number}-01-01T00:00:00Z"  # so that they do not collide
        return person(number, firstname="Ute", surname=SURNAME, phone=str(number), birthdate=born)

    async with world(tmp_path, latency=0.04) as w:
        w.write([row(number) for number in range(8)] + [person(number) for number in range(20, 40)])
        report = await w.sync()
        check_all_accepted(report)
        own = [e["at"] for e in w.last if e["data"].get("phone") or "family" in e["data"]["mail"]]
        gaps = [after - before for before, after in pairwise(own)]
        assert len(own) == 8
        assert min(gaps) >= 0.04
        assert (await w.client.stats())["peak_concurrency"] > 8  # the others did not wait


async def test_an_identity_rests_after_an_unknown_result_of_another_contact(tmp_path: Path) -> None:
    async with world(tmp_path, faults=LOST.format(0, 1), run={"settle": 0.4}) as w:
        w.write([person(0, mail="a@canary.example"), person(1, mail="a@canary.example"), person(2)])
        report = await w.sync()
        check_all_accepted(report)
        at = {who(entry): entry["at"] for entry in reversed(w.last)}  # the first of each
        assert at["Vorname1"] - at["Vorname0"] >= 0.4
        assert at["Vorname2"] - at["Vorname0"] < 0.3


async def test_an_answer_of_429_after_an_unknown_result_is_no_repeat(tmp_path: Path) -> None:
    faults = """
        [[fault]]
        kind = "reset_after"
        count = 1
        [[fault]]
        kind = "status"
        status = 429
        retry_after = "0"
        count = 1
    """
    async with world(tmp_path, faults=faults, run={"settle": 0.05, "in_flight": 1}) as w:
        w.write(people(1))
        report = await w.sync()
        assert [entry["fault"] for entry in w.last] == ["reset_after", "status", None]
        assert (report.requests, report.throttled, report.repeated) == (3, 1, 1)
        check_all_accepted(report)


async def test_a_key_refused_while_a_contact_is_in_doubt_leaves_it_in_doubt(tmp_path: Path) -> None:
    faults = """
        [[fault]]
        kind = "reset_after"
        after = 2
        count = 1
        [[fault]]
        kind = "status"
        status = 401
        after = 3
        count = 1
    """
    async with world(tmp_path, faults=faults, clock=fast_clock(20)) as w:
        w.write(people(1))
        await w.sync()
        confirm(w, "m00000")
        w.write([person(0, phone="1")])
        report = await w.sync()
        assert (report.reason, report.remaining, report.requests) == ("unauthorized", 1, 2)
        w.write(people(1))  # reverted: the phone may be there, so the old content must go again
        report = await w.sync()
        assert (report.requests, whose(w.last)) == (1, ["Vorname0"])
        check_all_accepted(report)


async def test_after_two_fruitless_crashes_those_in_doubt_go_one_at_a_time(tmp_path: Path) -> None:
    async with world(tmp_path, latency=0.05, run={"settle": 0.0, "in_flight": 8}) as w:
        w.write(people(30))
        async with w.engine() as engine:
            await engine.load()
        doubtful = [f"m{number:05}" for number in range(5, 10)]
        for _ in range(2):  # what two killed runs leave behind
            w.sql("INSERT INTO runs (kind, pid, started) VALUES ('sync', 1, 0)")
            for key in doubtful:
                w.sql(
                    "INSERT OR REPLACE INTO intents (n, run, content_hash, identity, at, open) SELECT n, "
                    "(SELECT max(id) FROM runs), content_hash, identity, 0, 1 FROM contacts WHERE key = ?",
                    key,
                )
            async with w.engine():
                pass
        report = await w.sync(load=False)
        assert report.repeated == 5
        check_all_accepted(report)
        at = [entry["at"] for entry in w.last]
        assert whose(w.last)[:5] == [f"Vorname{number}" for number in range(5, 10)]
        assert min(after - before for before, after in pairwise(at[:6])) >= 0.05
        assert at[12] - at[5] < 0.05  # then all workers at once


async def test_a_contact_alone_in_flight_in_three_crashes_is_held(tmp_path: Path) -> None:
    async with world(tmp_path, run={"settle": 0.0}) as w:
        w.write(people(3))
        async with w.engine() as engine:
            await engine.load()
        for _ in range(3):
            w.sql("INSERT INTO runs (kind, pid, started) VALUES ('sync', 1, 0)")
            w.sql(
                "INSERT INTO intents (n, run, content_hash, identity, at, open) SELECT n, "
                "(SELECT max(id) FROM runs), content_hash, identity, 0, 1 FROM contacts WHERE key = 'm00001' "
                "ON CONFLICT (n) DO UPDATE SET open = 1"
            )
            async with w.engine():
                pass
        report = await w.sync(load=False)
        assert "Vorname1" not in whose(w.last)
        assert problem(w, "m00001")[:2] == ["held", "alone in flight in three crashes"]
        assert (report.accepted, report.exit, report.problems_open) == (2, 3, 1)
