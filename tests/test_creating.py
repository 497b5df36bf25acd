"""Contacts of their own: whoever collides or has no identity is created once a search shows nobody."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_engine_child import Child, world_apart
from test_engine_world import World, person, world
from test_proof_night import open_problems

from syncengine.collisions import traits_of
from syncengine.creating import is_alike
from syncengine.hashing import canonical
from syncengine.plan import make_plan
from syncengine.qomon.creating import contact_of
from syncengine.qomon.fields import ADDRESS_PARTS, ADVANCED, PLAIN_TEXT
from syncengine.qomon.writing import upsert_document

BOX = "family@canary.example"
CREATE = {"collisions": "create"}


def family() -> list[dict[str, Any]]:
    """Three rows on one mailbox, of which the first collides with both others."""
    return [
        person(0, mail=BOX, firstname=None, surname="Canary", phone="0600000000"),
        person(1, mail=BOX, firstname="Anna", surname="Canary"),
        person(2, mail=BOX, firstname="Ben", surname="Canary"),
    ]


def kinds(w: World) -> Counter[str]:
    """Return the requests of the last sync, by endpoint."""
    return Counter(entry["endpoint"] for entry in w.history_of_last)


def ids(w: World) -> dict[str, int]:
    return dict(w.sql("SELECT key, remote_id FROM contacts WHERE remote_id IS NOT NULL"))


async def in_qomon(w: World, **fields: Any) -> int:
    """Put a contact into the space beforehand; return its id."""
    reply = await w.client.send("POST", "/contacts", {"data": {"contact": fields}})
    await w.history()
    contact_id: int = reply.content["data"]["contact"]["id"]
    return contact_id


async def names(w: World) -> list[tuple[Any, Any]]:
    return sorted((one.get("firstname") or "", one["surname"]) for one in await w.contacts())


async def test_a_family_on_one_mailbox_arrives_as_contacts_of_their_own(tmp_path: Path) -> None:
    async with world(tmp_path, identity=CREATE, verify=True, burst=1000, rate=1000.0) as w:
        w.write(family())
        plan = make_plan(w.settings(), now=0.0)
        assert (plan.creates, plan.held, plan.tokens) == (3, 0, 15)
        report = await w.sync()
        assert (report.outcome, report.accepted, report.confirmed) == ("done", 3, 3)
        assert await names(w) == [("", "Canary"), ("Anna", "Canary"), ("Ben", "Canary")]
        there = {one.get("firstname") or "": one["id"] for one in await w.contacts()}
        assert ids(w) == {"m00000": there[""], "m00001": there["Anna"], "m00002": there["Ben"]}
        sent = kinds(w)
        assert (sent["create"], sent["upsert"]) == (3, 0)
        assert report.tokens == 3 * 5 + sent["search"] + sent["get"] + sent["kpi"]
        again = await w.sync()
        assert (again.outcome, again.sent) == ("done", 0)


async def test_the_id_is_known_at_once_and_the_next_change_goes_by_it(tmp_path: Path) -> None:
    async with world(tmp_path, identity=CREATE) as w:
        w.write(family())
        await w.sync()  # nothing is read back
        assert len(ids(w)) == 3
        changed = family()
        changed[0]["phone"] = "0600000001"
        w.write(changed)
        await w.sync()
        (update,) = w.last
        assert update["data"]["id"] == ids(w)["m00000"]
        assert len(await w.contacts()) == 3


async def test_who_is_left_by_a_cap_is_created_by_the_next_run(tmp_path: Path) -> None:
    """Brothers and sisters that arrived before are nobody's twins."""
    async with world(tmp_path, identity=CREATE, run={"max_writes": 1}) as w:
        w.write(list(reversed(family())))
        for _ in range(3):
            await w.sync()
        assert await names(w) == [("", "Canary"), ("Anna", "Canary"), ("Ben", "Canary")]
        assert len(ids(w)) == 3


async def test_a_row_equal_to_one_that_is_in_qomon_is_found_and_not_doubled(tmp_path: Path) -> None:
    async with world(tmp_path, identity=CREATE, verify=True) as w:
        w.write([person(1)])
        await w.sync()
        w.write([person(1), person(1, member_id="twin", phone="0600000000")])
        report = await w.sync()
        assert (report.held, report.sent) == (1, 0)
        (problem,) = open_problems(w)
        assert problem["key"] == "twin"
        assert problem["reason"] == "could be the same person as another key"
        assert problem["facts"]["ids"] == [ids(w)["m00001"]]
        assert problem["facts"]["keys"] == ["m00001"]
        assert len(await w.contacts()) == 1


async def test_of_two_equal_rows_that_are_both_new_one_is_created_and_one_held(tmp_path: Path) -> None:
    async with world(tmp_path, identity=CREATE, verify=True) as w:
        w.write([person(1), person(1, member_id="twin", phone="0600000000")])
        report = await w.sync()
        assert (report.held, report.confirmed) == (1, 1)
        assert [(one["key"], one["facts"]["keys"]) for one in open_problems(w)] == [("twin", ["m00001"])]
        assert len(await w.contacts()) == 1


async def test_who_is_in_qomon_is_not_created_but_updated_by_id(tmp_path: Path) -> None:
    """Anna is there, and hers is no contact of the row without a first name, which comes before her."""
    async with world(tmp_path, identity=CREATE, verify=True) as w:
        anna = await in_qomon(w, mail=BOX, firstname="Anna", surname="Canary", nationality="FR")
        w.write([*family()[:1], family()[1] | {"phone": "0611111111"}])
        report = await w.sync()
        assert (report.outcome, report.confirmed) == ("done", 2)
        assert ids(w)["m00001"] == anna
        (update,) = w.last
        assert update["data"]["id"] == anna
        assert kinds(w)["create"] == 1
        assert await names(w) == [("", "Canary"), ("Anna", "Canary")]


async def test_one_contact_that_may_be_two_keys_is_left_alone(tmp_path: Path) -> None:
    async with world(tmp_path, identity=CREATE, verify=True) as w:
        there = await in_qomon(w, mail=BOX, firstname="Anna", surname="Canary")
        w.write(
            [person(n, mail=BOX, firstname="Anna", surname="Canary", phone=f"060000000{n}") for n in (1, 2)]
        )
        report = await w.sync()
        assert (report.held, report.sent) == (2, 0)
        assert all(one["facts"]["ids"] == [there] for one in open_problems(w))
        assert len(await w.contacts()) == 1


async def test_who_is_in_qomon_without_the_mail_is_found_by_names(tmp_path: Path) -> None:
    async with world(tmp_path, identity=CREATE, verify=True) as w:
        await in_qomon(w, mail=BOX, surname="Canary")
        there = await in_qomon(w, firstname="Anna", surname="Canary", birthdate="1980-02-03T00:00:00Z")
        w.write([family()[0], family()[1] | {"birthdate": "1980-02-03"}])
        await w.sync()
        assert ids(w)["m00001"] == there
        assert len(await w.contacts()) == 2


async def test_none_creates_one_contact_and_a_second_sync_none(tmp_path: Path) -> None:
    async with world(tmp_path, identity={"none": "create"}, verify=True) as w:
        await in_qomon(w, firstname="Ann", phone="0600000009")
        w.write([person(1, mail=None, surname=None, firstname="Ann", phone="0600000001")])
        assert make_plan(w.settings(), now=0.0).tokens == 5
        report = await w.sync()
        assert (report.outcome, report.confirmed, kinds(w)["create"]) == ("done", 1, 1)
        again = await w.sync()
        assert (again.outcome, again.sent) == ("done", 0)
        assert len(await w.contacts()) == 2


async def test_without_identity_who_is_there_with_everything_is_taken_as_there(tmp_path: Path) -> None:
    async with world(tmp_path, identity={"none": "create"}, verify=True) as w:
        there = await in_qomon(w, firstname="Ann", phone="0600000001")
        bare = {"mail": None, "surname": None}
        w.write(
            [
                person(1, firstname="Ann", phone="0600000001", **bare),
                person(2, firstname="Bea", phone="0600000002", **bare),
                person(3, firstname="Bea", phone="0600000002", **bare),  # the same once more
                person(4, firstname=None, birthcity="Lyon", **bare),  # nothing to look it up by
            ]
        )
        report = await w.sync()
        assert (report.confirmed, report.held) == (1, 3)
        problems = {one["key"]: one for one in open_problems(w)}
        assert problems["m00001"]["facts"]["ids"] == [there]
        assert set(ids(w)) == {"m00002"}
        assert len(await w.contacts()) == 2


async def test_a_class_that_is_held_is_held_although_it_collides(tmp_path: Path) -> None:
    async with world(tmp_path, identity=CREATE) as w:
        w.write([person(1, mail=BOX, firstname=None, surname=None), person(2, mail=BOX)])
        await w.sync()
        assert [one["reason"] for one in open_problems(w)] == ["mail alone"]
        assert len(await w.contacts()) == 1


LOST = '[[fault]]\nendpoint = "create"\nkind = "reset_after"\ncount = 1\n'


async def test_a_lost_answer_to_a_creation_makes_no_twin(tmp_path: Path) -> None:
    async with world(tmp_path, identity=CREATE, verify=True, faults=LOST) as w:
        w.write(family())
        report = await w.sync()
        assert (report.outcome, report.confirmed, report.doubts["seen"]) == ("done", 3, 1)
        assert await names(w) == [("", "Canary"), ("Anna", "Canary"), ("Ben", "Canary")]
        assert len(ids(w)) == 3


async def test_a_creation_that_was_lost_before_it_arrived_is_made_again(tmp_path: Path) -> None:
    async with world(tmp_path, identity=CREATE, verify=True, faults=LOST.replace("after", "before")) as w:
        w.write(family())
        report = await w.sync()
        assert (report.outcome, report.confirmed, report.doubts["again"]) == ("done", 3, 1)
        assert len(await w.contacts()) == 3


@pytest.mark.parametrize("verify", [True, False])
async def test_a_lost_creation_that_nothing_may_find_is_held(tmp_path: Path, verify: bool) -> None:
    """Without identity, or when nobody reads: it may have been created, and is not sent again."""
    identity = {"none": "create"} if verify else CREATE
    async with world(tmp_path, identity=identity, verify=verify, faults=LOST) as w:
        row = person(1, mail=None, surname=None, phone="0600000001")
        w.write([row] if verify else family())
        report = await w.sync()
        held = w.sql("SELECT problem_reason FROM contacts WHERE problem_hash = content_hash")
        assert (report.held, held) == (1, [("may have been created",)])
        await w.sync()
        assert len(await w.contacts()) == (1 if verify else 3)


async def test_killed_between_a_creation_and_its_receipt_the_next_run_makes_no_twin(tmp_path: Path) -> None:
    async with world_apart(tmp_path, "--unlimited", "--latency", "0.3", run={"in_flight": 1}) as w:
        w.identity = CREATE
        w.write(family())
        child = Child(w.table())
        await child.opened()
        await w.saw(lambda stats: stats["requests"].get("create", 0) >= 1)  # the answer takes 0.3 s more
        await child.kill()
        assert ids(w) == {}
        last = Child(w.table())
        await last.opened()
        report = await last.report()
        assert (report["outcome"], report["remaining"]) == ("done", 0), report
        assert await names(w) == [("", "Canary"), ("Anna", "Canary"), ("Ben", "Canary")]
        assert len(ids(w)) == 3


async def test_a_refused_creation_is_rejected_and_the_others_are_created(tmp_path: Path) -> None:
    fault = '[[fault]]\nendpoint = "create"\nkind = "status"\nstatus = 422\nwhere = { firstname = "Anna" }\n'
    async with world(tmp_path, identity=CREATE, verify=True, faults=fault) as w:
        w.write(family())
        report = await w.sync()
        assert (report.rejected, report.confirmed) == (1, 2)
        assert await names(w) == [("", "Canary"), ("Ben", "Canary")]


async def test_a_creation_that_is_throttled_is_made_later(tmp_path: Path) -> None:
    fault = '[[fault]]\nendpoint = "create"\nkind = "status"\nstatus = 429\nretry_after = "1"\ncount = 2\n'
    async with world(tmp_path, identity=CREATE, verify=True, faults=fault) as w:
        w.write(family())
        report = await w.sync()
        assert (report.outcome, report.throttled, report.repeated) == ("done", 2, 0)
        assert len(await w.contacts()) == 3


async def test_what_a_creation_cannot_write_follows_by_the_new_id(tmp_path: Path) -> None:
    place = {"city": "Lyon", "citycode": "69123", "latitude": "45.75", "longitude": "4.85"}
    async with world(tmp_path, identity=CREATE, verify=True) as w:
        w.write([family()[1] | {"address": place}, family()[0] | {"notes": [{"content": "a note"}]}])
        report = await w.sync()
        assert (report.outcome, report.accepted, report.confirmed) == ("done", 2, 2)
        (rest,) = w.last
        assert rest["data"]["id"] == ids(w)["m00001"]
        assert rest["data"]["address"] == place
        shown = {one["id"]: one for one in await w.contacts()}
        assert len(shown) == 2
        assert shown[ids(w)["m00001"]]["address"]["citycode"] == "69123"
        assert [note["content"] for note in shown[ids(w)["m00000"]]["notes"]] == ["a note"]


# --- the conversion

texts = st.text("aBz09_", min_size=1, max_size=8) | st.sampled_from(["Łódź", "été", "#7", "a b"])
entries = st.lists(
    st.one_of(
        st.fixed_dictionaries({"id": st.integers(1, 99), "value": texts}),
        st.fixed_dictionaries({"label": texts.filter(lambda text: "#" not in text), "value": texts}),
    ),
    min_size=1,
    max_size=3,
    unique_by=canonical,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            **dict.fromkeys(PLAIN_TEXT, st.sampled_from(["", "Anna", "Łódź", "0600000000"])),
            "mail": st.just("a@canary.example"),
            "birthdate": st.just("1987-03-05T00:00:00Z"),
            "age_category": st.integers(0, 9),
            "black_list": st.booleans(),
            "id": st.integers(1, 99),
            "nationbuilderid": st.integers(1, 99),
            "address": st.dictionaries(
                st.sampled_from(ADDRESS_PARTS), st.sampled_from(["", "x"]), min_size=1
            ),
            "tags": st.lists(st.builds(lambda name: {"name": name}, texts), min_size=1, unique_by=canonical),
            "notes": st.lists(
                st.builds(lambda text: {"content": text}, texts), min_size=1, unique_by=canonical
            ),
            **dict.fromkeys(ADVANCED, entries),
        },
    )
)
def test_a_content_made_a_contact_gives_the_same_upsert(content: dict[str, Any]) -> None:
    assert canonical(upsert_document(contact_of(content))["data"]) == canonical(content)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ({"mail": "a@b.example", "surname": "C"}, {"mail": "A@b.example", "surname": "c"}, True),
        ({"mail": "a@b.example", "surname": "C"}, {"mail": "a@b.example", "firstname": "D"}, False),
        ({"mail": "a@b.example", "birthdate": "1980-01-01"}, {"mail": "a@b.example"}, True),
        (
            {"mail": "a@b.example", "birthdate": "1980-01-01"},
            {"mail": "a@b.example", "birthdate": "1950-01-01"},
            False,
        ),
        ({"surname": "C", "firstname": "D"}, {"surname": "C", "firstname": "D"}, True),
        ({"surname": "C", "birthdate": "1980-01-01"}, {"surname": "C", "address": {"city": "Lyon"}}, False),
    ],
)
def test_alike_is_who_has_one_mail_and_names_or_else_everything(
    one: dict[str, Any], other: dict[str, Any], expected: bool
) -> None:
    assert is_alike(traits_of(one), traits_of(other)) is expected
    assert is_alike(traits_of(other), traits_of(one)) is expected
