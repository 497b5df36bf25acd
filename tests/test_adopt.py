"""A space that is already full: who is found, what is sent afterwards, and that nobody else is touched."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from test_engine_world import SURNAME, World, person, world

from syncengine.engine import AdoptOptions
from syncengine.errors import StoreError
from syncengine.model import AdoptReport
from syncengine.plan import make_plan
from syncengine.problems import AMBIGUOUS

FULL = {"existing": "adopt"}


def member(number: int, **fields: Any) -> dict[str, Any]:
    """Return a source row of somebody whom mail, names, birthdate and address tell from all others."""
    return person(
        number,
        **{
            "birthdate": f"19{number % 60 + 30}-0{number % 9 + 1}-1{number % 10}T00:00:00Z",
            "mobile": f"+3361{number:07}",
            "address": {"city": "Lyon", "postalcode": "69003", "street": f"rue {number}"},
        }
        | fields,
    )


async def populate(place: World, rows: list[dict[str, Any]]) -> None:
    """Put people into the space as if they had been there for long, and forget that we did."""
    place.write(rows)
    place.identity = {"existing": "match", "mail_only": "send", "names_only": "send", "collisions": "first"}
    await place.sync(verify=False)
    for file in place.folder.glob("state.db*"):
        file.unlink()
    place.identity = FULL


async def adopt(place: World, **options: Any) -> AdoptReport:
    await place.history()
    async with place.engine() as engine:
        report = await engine.adopt(AdoptOptions(**options))
    history = await place.history()
    assert report.requests == len(history)
    assert {entry["endpoint"] for entry in history} <= {"search", "kpi", "forms", "get"}
    place.check_stored(report)
    assert SURNAME not in repr(report)
    return report


def counts(report: AdoptReport) -> dict[str, int]:
    names = ("equal", "different", "ambiguous", "absent", "strangers")
    return {name: getattr(report, name) for name in names}


async def join(place: World, row: dict[str, Any]) -> None:
    """Let staff create somebody in the space."""
    plain = {name: value for name, value in row.items() if name != "member_id"}
    assert (await place.client.send("POST", "/contacts", {"data": {"contact": plain}})).status == 200


@pytest.fixture(name="full")
async def _full(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path, identity=FULL, verify=True) as place:
        yield place


async def test_equal_contacts_are_never_sent_and_of_others_what_differs_goes_by_id(full: World) -> None:
    here = [member(n) for n in range(400)]
    await populate(full, here)
    source = [member(n, mobile=f"+3370{n:07}") if n % 100 == 0 else member(n) for n in range(400)] + [
        member(n) for n in range(1000, 1003)
    ]
    full.write(source)
    report = await adopt(full)
    assert counts(report) == {"equal": 396, "different": 4, "ambiguous": 0, "absent": 3, "strangers": 0}
    assert (report.outcome, report.exit, report.fields) == ("done", 0, {"mobile": 4})
    synced = await full.sync()
    assert (synced.outcome, synced.sent, synced.confirmed) == ("done", 7, 7)
    bodies = [entry["data"] for entry in full.last]
    assert sorted(map(sorted, bodies))[3:] == [["id", "mobile"]] * 4
    assert len(await full.contacts()) == 403
    assert (await full.sync()).sent == 0


async def test_without_adopting_a_full_space_is_refused_and_both_ways_on_are_named(full: World) -> None:
    await populate(full, [member(1)])
    full.write([member(2)])
    report = await full.sync()
    assert (report.reason, report.exit, report.sent) == ("config", 2, 0)
    assert "syncengine adopt" in report.message
    assert 'existing = "match"' in report.message


async def test_whoever_may_be_several_is_held_with_all_ids_and_sent_to_nobody(full: World) -> None:
    twin = member(1)
    await populate(full, [twin])
    await join(full, twin)
    before = await full.contacts()
    full.write([twin, member(2)])
    report = await adopt(full)
    assert (report.ambiguous, report.absent, report.outcome) == (1, 1, "problems")
    reason, facts = full.sql("SELECT problem_reason, problem_facts FROM contacts WHERE problem = 'held'")[0]
    assert reason == AMBIGUOUS
    assert all(str(contact["id"]) in facts for contact in before)
    synced = await full.sync()
    assert synced.sent == 1
    assert [one for one in await full.contacts() if one["id"] in {b["id"] for b in before}] == before
    full.write([twin | {"mobile": "+33600000000"}, member(2)])  # whatever its content becomes
    assert (await full.sync()).sent == 0
    assert full.sql("SELECT problem_reason FROM contacts WHERE key = ?", twin["member_id"]) == [(AMBIGUOUS,)]


async def test_merged_in_qomon_a_twin_is_found_by_another_adoption(full: World) -> None:
    twin = member(1)
    await populate(full, [twin])
    await join(full, twin)
    full.write([twin])
    assert (await adopt(full)).ambiguous == 1
    merged = await full.client.send("POST", "/_sandbox/staff", {"act": "merge"})
    assert merged.status == 200, merged.content
    report = await adopt(full)
    assert (report.equal + report.different, report.ambiguous, report.problems_open) == (1, 0, 0)
    assert full.sql("SELECT remote_id FROM contacts") == [(merged.content["id"],)]


async def test_of_several_keys_for_one_contact_none_is_guessed(full: World) -> None:
    here = member(1)
    await populate(full, [here])
    full.write([here, here | {"member_id": "again"}, member(2)])
    report = await adopt(full)
    assert counts(report) == {"equal": 0, "different": 0, "ambiguous": 2, "absent": 1, "strangers": 0}
    facts = dict(full.sql("SELECT key, problem_facts FROM contacts WHERE problem = 'held'"))
    assert "again" in facts[here["member_id"]]
    assert here["member_id"] in facts["again"]


async def test_namesakes_are_told_from_one_another_or_held(full: World) -> None:
    here = [
        person(1, firstname="Ada", birthdate="1980-01-01T00:00:00Z"),
        person(2, firstname="Bea"),
        person(3, firstname="Cleo", mail=None, birthdate="1970-05-05T00:00:00Z"),
    ]
    await populate(full, here)
    full.write(
        [
            here[0]
            | {"mail": "another@canary.example", "birthdate": "1990-02-02T00:00:00Z"},  # somebody else
            here[1] | {"mail": "other@canary.example"},  # or the same with another mail: nothing shows it
            here[2] | {"mail": "new@canary.example"},  # the birthdate shows it
        ]
    )
    report = await adopt(full)
    assert counts(report) == {"equal": 0, "different": 1, "ambiguous": 1, "absent": 1, "strangers": 1}
    assert full.sql("SELECT key FROM contacts WHERE remote_id IS NOT NULL") == [("m00003",)]


async def test_a_claimed_id_is_taken_when_mail_or_surname_agree(full: World) -> None:
    await populate(full, [person(1), person(2)])
    full.fields = {name: name for name in ("firstname", "surname", "mail")} | {"id": "qomon_id"}
    ids = {contact["mail"]: contact["id"] for contact in await full.contacts()}
    right, wrong = ids["p1@canary.example"], ids["p2@canary.example"]
    full.write([person(1, qomon_id=right, mail="new@canary.example"), person(3, qomon_id=wrong)])
    report = await adopt(full)
    assert (report.equal + report.different, report.unproven, report.absent) == (1, 1, 0)
    assert full.sql("SELECT key, remote_id FROM contacts ORDER BY key") == [
        ("m00001", right),
        ("m00003", None),
    ]


async def test_a_newcomer_who_is_in_qomon_already_is_found_and_updated_by_id(full: World) -> None:
    here = [member(1), member(2), member(3)]
    await populate(full, here)
    await join(full, here[2])
    full.write(here[:1])
    assert (await adopt(full)).strangers == 3
    full.write([here[0], here[1] | {"mobile": "+33655555555"}, here[2], member(9)])
    report = await full.sync()
    sent = {entry["data"].get("firstname"): sorted(entry["data"]) for entry in full.last}
    assert sent.pop(None) == ["id", "mobile"]
    assert list(sent) == ["Vorname9"]
    assert (report.sent, report.held, report.exit) == (2, 1, 3)
    assert full.sql("SELECT key FROM contacts WHERE problem_reason = ?", AMBIGUOUS) == [("m00003",)]
    assert len(await full.contacts()) == 5
    assert (await full.sync()).sent == 0


async def test_an_equal_newcomer_is_not_sent_at_all(full: World) -> None:
    await populate(full, [member(1), member(2)])
    full.write([member(1)])
    await adopt(full)
    full.write([member(1), member(2)])
    report = await full.sync()
    assert (report.outcome, report.sent) == ("done", 0)
    assert full.sql("SELECT count(*) FROM contacts WHERE confirmed_hash = content_hash") == [(2,)]


async def test_a_repeated_dry_run_keeps_the_ambiguous_held(full: World) -> None:
    twin = member(1)
    await populate(full, [twin])
    await join(full, twin)
    full.write([twin])
    await adopt(full)
    await adopt(full, dry_run=True)
    full.write([twin | {"mobile": "+33600000000"}])
    assert (await full.sync()).sent == 0


async def test_whoever_was_ambiguous_and_is_gone_from_qomon_is_sent_as_new(full: World) -> None:
    twin = member(1)
    await populate(full, [twin])
    await join(full, twin)
    full.write([twin])
    await adopt(full)
    for contact in await full.contacts():
        await full.client.send("POST", "/_sandbox/staff", {"act": "delete", "id": contact["id"]})
    report = await adopt(full)
    assert (report.absent, report.ambiguous, report.problems_open) == (1, 0, 0)
    assert (await full.sync()).confirmed == 1


async def test_a_plan_holds_the_ambiguous_as_the_sync_does(full: World) -> None:
    twin = member(1)
    await populate(full, [twin])
    await join(full, twin)
    full.write([twin])
    await adopt(full)
    full.write([twin | {"mobile": "+33600000000"}])
    plan = await asyncio.to_thread(make_plan, full.settings(), now=0.0)
    assert (plan.holds, plan.creates) == ({AMBIGUOUS: 1}, 0)
    assert (await full.sync()).held == 1


async def test_an_id_learned_while_an_adoption_lay_unfinished_is_nobody_elses(full: World) -> None:
    here = member(1)
    await populate(full, [here])
    full.write([here, here | {"member_id": "n00001"}])

    def fail(_: object) -> None:
        raise StoreError("no room")

    async with full.engine() as engine:
        ended = await engine.adopt(gathered=fail)
    assert (ended.reason, ended.exit) == ("store", 1)
    await full.history()
    full.identity = {"existing": "match", "collisions": "first"}
    assert (await full.sync()).confirmed == 1
    report = await adopt(full)
    assert (report.reason, report.equal, report.absent) == (None, 0, 1)
    assert full.sql("SELECT count(*) FROM contacts WHERE remote_id IS NOT NULL") == [(1,)]


async def test_a_dry_run_shows_it_and_changes_nothing(full: World) -> None:
    await populate(full, [member(n) for n in range(5)])
    full.write([member(n) for n in range(3)])
    shown = await adopt(full, dry_run=True)
    assert full.sql("SELECT count(*) FROM contacts WHERE remote_id IS NOT NULL OR problem IS NOT NULL") == [
        (0,)
    ]
    assert [full.sql(f"SELECT count(*) FROM {table}") for table in ("matches", "strangers", "adoption")] == [
        [(0,)]
    ] * 3
    assert (await full.sync()).exit == 2
    assert counts(await adopt(full)) == counts(shown)
    assert counts(shown) == {"equal": 3, "different": 0, "ambiguous": 0, "absent": 0, "strangers": 2}


async def test_notes_that_qomon_has_are_not_sent_again(full: World) -> None:
    here = member(1, notes=[{"content": "met at the market"}])
    await populate(full, [here])
    full.write([here | {"mobile": "+33611111111"}])
    await adopt(full)
    await full.sync()
    assert [sorted(entry["data"]) for entry in full.last] == [["id", "mobile"]]


PLAIN = ("firstname", "surname", "mail", "mobile", "birthdate")
PLACE = ("housenumber", "street", "postalcode", "city", "country")


async def source_of(place: World) -> list[dict[str, Any]]:
    """Return rows that say what the space shows."""
    rows = []
    for contact in await place.contacts():
        row = {name: contact[name] for name in PLAIN if contact.get(name)}
        if address := {
            part: contact["address"][part] for part in PLACE if (contact.get("address") or {}).get(part)
        }:
            row["address"] = address
        rows.append({"member_id": f"m{contact['id']:07}"} | row)
    return rows


def told_apart(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows that no other could be taken for: the sample has twins, and shared mails."""
    mails = Counter(row["mail"] for row in rows)
    return [row for row in rows if "birthdate" in row and mails[row["mail"]] == 1]


async def adopt_a_full_space(place: World, *, different: int, doubled: int, new: int) -> AdoptReport:
    """Adopt a space of which the source knows all but the awkward ones; return the report."""
    rows = told_apart(await source_of(place))
    for row in rows[-doubled:]:
        await join(place, row)
    for row in rows[:different]:
        row["mobile"] = f"+33799{row['member_id'][-6:]}"
    rows += [member(number) for number in range(10**6, 10**6 + new)]
    place.write(rows)
    return await adopt(place)


async def check_a_full_space(place: World, *, different: int, doubled: int, new: int, most: int) -> None:
    report = await adopt_a_full_space(place, different=different, doubled=doubled, new=new)
    before = {contact["id"]: contact for contact in await place.contacts()}
    known = report.equal + report.different + report.ambiguous
    assert counts(report) | {"strangers": 0} == {
        "equal": known - different - doubled,
        "different": different,
        "ambiguous": doubled,
        "absent": new,
        "strangers": 0,
    }
    synced = await place.sync()
    assert (synced.sent, synced.confirmed) == (different + new, different + new)
    assert report.tokens + synced.tokens - synced.sent <= most
    after = {contact["id"]: contact for contact in await place.contacts()}
    touched = [id_ for id_, contact in before.items() if after[id_] != contact]
    assert len(touched) == different
    assert len(after) == len(before) + new


async def test_after_adopting_exactly_what_differs_and_who_is_new_is_sent(tmp_path: Path) -> None:
    async with world(tmp_path, identity=FULL, verify=True, contacts=5000) as place:
        await check_a_full_space(place, different=50, doubled=20, new=30, most=30)


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_fifty_thousand_are_adopted_for_a_hundred_and_twenty_tokens(tmp_path: Path) -> None:
    async with world(tmp_path, identity=FULL, verify=True, contacts=51_000) as place:
        await check_a_full_space(place, different=500, doubled=200, new=300, most=120)


async def test_stopped_while_reading_it_goes_on_where_it_stopped(tmp_path: Path) -> None:
    options: dict[str, Any] = {"contacts": 12_000, "latency": 0.02}
    async with world(tmp_path, identity=FULL, verify=True, **options) as place:
        place.write(told_apart(await source_of(place)))
        async with place.engine() as engine:
            reading = asyncio.create_task(engine.adopt())
            noted = "SELECT read_up_to FROM adoption WHERE read_up_to IS NOT NULL"
            while not place.sql(noted):  # noqa: ASYNC110 - the store tells when a window is noted
                await asyncio.sleep(0.01)
            engine.stop("sigterm")
            stopped = await reading
        assert (stopped.outcome, stopped.exit, stopped.is_whole) == ("interrupted", 143, False)
        assert place.sql("SELECT count(*) FROM contacts WHERE remote_id IS NOT NULL") == [(0,)]
        report = await adopt(place)
        assert report.is_whole
        assert report.contacts < 12_000
        assert counts(report) | {"strangers": 0} == {
            "equal": report.read, "different": 0, "ambiguous": 0, "absent": 0, "strangers": 0
        }  # fmt: skip
