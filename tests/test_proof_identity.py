"""Whom a send could hit: homonyms, families, renumbered keys, claimed ids, those who left, full spaces."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from test_engine_world import SURNAME, World, person, world
from test_proof_night import ids, open_problems

from syncengine.store.acts import release
from syncengine.store.opened import open_store

pytestmark = pytest.mark.usefixtures("no_leaks")


def reasons(w: World) -> dict[str, str]:
    return {problem["key"]: problem["reason"] for problem in open_problems(w)}


COLLIDES = "could be the same person as another key"


async def test_two_people_of_one_name_with_different_mails_are_held_each_with_the_key_of_the_other(
    tmp_path: Path,
) -> None:
    one = {"firstname": "Jean", "surname": SURNAME}
    async with world(tmp_path, verify=True) as w:
        w.write([person(0, **one), person(1, **one), person(2)])
        report = await w.sync()
        assert (report.held, report.confirmed, report.exit) == (2, 1, 3)
        found = {problem["key"]: problem["facts"]["keys"] for problem in open_problems(w)}
        assert found == {"m00000": ["m00001"], "m00001": ["m00000"]}
        assert len(await w.contacts()) == 1


async def test_the_first_of_those_who_collide_goes_when_that_is_wanted(tmp_path: Path) -> None:
    one = {"firstname": "Jean", "surname": SURNAME}
    async with world(tmp_path, verify=True, identity={"collisions": "first"}) as w:
        w.write([person(0, **one), person(1, **one)])
        report = await w.sync()
        assert (report.held, report.confirmed) == (1, 1)
        assert reasons(w) == {"m00001": COLLIDES}


async def test_birthdates_that_differ_tell_homonyms_apart(tmp_path: Path) -> None:
    async with world(tmp_path, verify=True) as w:
        w.write(
            person(number, firstname="Jean", surname=SURNAME, birthdate=f"198{number}-01-02")
            for number in range(2)
        )
        report = await w.sync()
        assert (report.outcome, report.confirmed) == ("done", 2)
        assert len(await w.contacts()) == 2


async def test_a_family_on_one_mailbox_arrives_each_of_them(tmp_path: Path) -> None:
    async with world(tmp_path, verify=True) as w:
        w.write(person(number, mail="family@canary.example", surname=SURNAME) for number in range(4))
        report = await w.sync()
        assert (report.outcome, report.confirmed, len(ids(w))) == ("done", 4, 4)
        assert len(await w.contacts()) == 4
        w.write(
            person(number, mail="family@canary.example", surname=SURNAME, phone="0611111111")
            for number in range(4)
        )
        report = await w.sync()
        assert (report.outcome, report.confirmed) == ("done", 4)
        assert all(set(entry["data"]) == {"id", "phone"} for entry in w.last)


async def test_renumbered_keys_stop_the_sync_before_anything_is_sent(tmp_path: Path) -> None:
    async with world(tmp_path, verify=True, run={"max_changed_share": 1.0}) as w:
        w.write(person(number) for number in range(60))
        await w.sync()
        w.write(person(number + 1) | {"member_id": f"m{number:05}"} for number in range(60))
        report = await w.sync()
        assert (report.outcome, report.exit, report.sent) == ("stopped", 4, 0)
        assert "renumbered" in report.message
        report = await w.sync()
        assert (report.exit, report.sent) == (4, 0)  # and it stays so until it is mended
        w.write(person(number) for number in range(60))
        assert (await w.sync()).outcome == "done"


async def test_a_key_that_names_another_person_is_held_until_released(tmp_path: Path) -> None:
    async with world(tmp_path, verify=True) as w:
        rows = [person(number) for number in range(150)]
        w.write(rows)
        await w.sync()
        rows[7] = person(900, member_id="m00007")
        w.write(rows)
        report = await w.sync()
        assert (report.held, report.sent) == (1, 0)
        assert reasons(w) == {"m00007": "its key now names another person"}
        with open_store(w.store) as store:
            release(store, ["m00007"])
        report = await w.sync()
        assert (report.outcome, report.confirmed) == ("done", 1)
        assert w.last[0]["data"]["id"] == ids(w)["m00007"]


async def test_who_left_the_source_while_due_is_held_and_goes_when_back(tmp_path: Path) -> None:
    async with world(tmp_path, verify=True) as w:
        w.snapshot = True
        rows = [person(number) for number in range(4)]
        w.write(rows)
        await w.sync()
        rows[1] = person(1, phone="0611111111")
        w.write(rows)
        async with w.engine() as engine:
            await engine.load()
        w.write([rows[0], *rows[2:]])
        report = await w.sync()
        assert (report.missing, report.held, report.sent) == (1, 1, 0)
        assert reasons(w) == {"m00001": "no longer in the source"}
        w.write(rows)
        report = await w.sync()
        assert (report.outcome, report.confirmed) == ("done", 1)


async def test_a_claimed_id_goes_only_when_a_read_shows_whose_it_is(tmp_path: Path) -> None:
    fields: dict[str, Any] = {name: name for name in ("mail", "firstname", "surname", "phone")} | {
        "id": {"column": "qomon"}
    }
    async with world(tmp_path, verify=True) as w:
        for number in range(2):
            data = {name: value for name, value in person(number).items() if name != "member_id"}
            await w.client.upsert(data)
        held = {contact["mail"]: contact["id"] for contact in await w.contacts()}
        await w.history()
        right, wrong = (held[f"p{number}@canary.example"] for number in range(2))
        w.fields = fields
        w.write(
            [
                person(0, qomon=str(right), phone="0611111111"),
                person(5, qomon=str(wrong), phone="0622222222"),
                person(6, qomon="999", phone="0633333333"),
            ]
        )
        report = await w.sync()
        assert (report.confirmed, report.held) == (1, 2)
        assert [entry["data"]["id"] for entry in w.last] == [right]
        assert reasons(w) == {"m00005": "unproven id", "m00006": "unproven id"}


async def test_a_changed_mail_before_the_id_is_known_is_looked_for_by_the_old_one(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.write(person(number) for number in range(3))
        await w.sync()  # nothing is read back, so no id is known
        await w.client.send("DELETE", "/_sandbox/contacts?id=3")
        w.verify, w.verify_settings = True, {"deadline": 0.5}
        w.write([person(0), person(1, mail="new1@canary.example"), person(2, mail="new2@canary.example")])
        left = {contact["mail"] for contact in await w.contacts()}
        gone = next(mail for number in (1, 2) if (mail := f"p{number}@canary.example") not in left)
        report = await w.sync()
        key = f"m0000{gone[1]}"
        assert reasons(w) == {key: "identity changed before its id was known"}
        assert report.held == 1
        other = {"m00001", "m00002"} - {key}
        assert len(w.last) == 1
        assert w.last[0]["data"]["id"] == ids(w)[other.pop()]
        assert len(await w.contacts()) == 2


async def test_a_space_full_of_strangers_gets_nothing_until_it_is_said_how_to_match(tmp_path: Path) -> None:
    async with world(tmp_path, verify=True, contacts=5, identity={"existing": "adopt"}) as w:
        w.write([person(0)])
        report = await w.sync()
        assert (report.outcome, report.exit, report.sent) == ("failed", 2, 0)
        assert "5 contacts" in report.message
        assert 'existing = "match"' in report.message
        w.identity = {"existing": "match"}
        report = await w.sync()
        assert (report.outcome, report.confirmed) == ("done", 1)


async def test_an_empty_space_is_asked_once_and_a_resumed_first_sync_goes_on(tmp_path: Path) -> None:
    async with world(tmp_path, verify=True, identity={"existing": "adopt"}, run={"max_writes": 2}) as w:
        w.write(person(number) for number in range(4))
        report = await w.sync(verify=False)
        assert (report.reason, report.unconfirmed) == ("write_cap", 2)
        w.run = {}
        report = await w.sync()
        assert (report.outcome, report.confirmed) == ("done", 2)
        assert report.earlier["confirmed"] == 2


async def test_a_twin_in_qomon_is_listed_with_both_ids(tmp_path: Path) -> None:
    async with world(tmp_path, verify=True) as w:
        w.write([person(0), person(1)])
        await w.sync()
        data = {name: value for name, value in person(0).items() if name != "member_id"}
        await w.client.send("POST", "/contacts", {"data": {"contact": data}})
        twin = (await w.contacts())[-1]["id"]
        await w.history()
        async with w.engine() as engine:
            report = await engine.verify(everybody=True)
        assert (report.checked, report.differs, report.exit) == (2, 1, 3)
        (problem,) = open_problems(w)
        assert (problem["key"], problem["reason"]) == ("m00000", "twins in Qomon")
        assert problem["facts"]["ids"] == sorted([ids(w)["m00000"], twin])


async def test_several_that_fit_are_listed_and_none_is_guessed(tmp_path: Path) -> None:
    """Two upserts of one new person that wait in Qomon's queue together make twins; both are new."""
    async with world(tmp_path, verify=True, lag=1.0) as w:
        data = {name: value for name, value in person(0).items() if name != "member_id"}
        w.write([person(0)])

        async def interfere() -> None:
            await w.saw(lambda stats: stats["requests"].get("upsert", 0) >= 1)
            await w.client.upsert(data)

        async with w.engine() as engine:
            other = asyncio.create_task(interfere())
            report = await engine.sync()
            await other
        assert len(await w.contacts()) == 2
        assert (report.differs, ids(w)) == (1, {}) or report.confirmed == 1
        async with w.engine() as engine:
            await engine.verify(everybody=True)
        assert reasons(w) == {"m00000": "twins in Qomon"}


async def test_a_mail_edited_while_its_contact_is_still_unseen_makes_no_twin(tmp_path: Path) -> None:
    async with world(tmp_path, verify=True, lag=0.6) as w:
        w.write(person(number) for number in range(3))
        async with w.engine() as engine:
            running = asyncio.create_task(engine.sync())
            await w.saw(lambda stats: stats["requests"].get("upsert", 0) >= 3)
            await engine.put([person(0, mail="new@canary.example")])
            await running
        await w.history()
        report = await w.sync(load=False)
        contacts = {contact["id"]: contact["mail"] for contact in await w.contacts()}
        assert contacts[ids(w)["m00000"]] == "new@canary.example"
        assert (len(contacts), report.problems_open, report.remaining) == (3, 0, 0)
