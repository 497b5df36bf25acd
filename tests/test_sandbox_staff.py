"""Staff of a space: what they do at their own moments, and what they are told to do."""

import asyncio
import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_sandbox_client import Client, running

from syncengine.sandbox.options import ACTS
from syncengine.sandbox.staff import joined
from syncengine.sandbox.unknowns import Unknowns

ADA = {"firstname": "Ada", "surname": "Roux", "mail": "ada@example.org"}
SIZES = {"custom_fields": [{"label": "Size", "value": "S"}]}


async def act(client: Client, what: str, **more: Any) -> Any:
    reply = await client.send("POST", "/_sandbox/staff", {"act": what, **more})
    assert reply.status == 200, reply
    return reply.content


async def acts(client: Client, query: str = "") -> list[dict[str, Any]]:
    return list((await client.send("GET", f"/_sandbox/staff{query}")).content["acts"])


async def form_of(client: Client, label: str) -> dict[str, Any]:
    forms = (await client.send("GET", "/_sandbox/forms")).content["forms"]
    return next(form for form in forms if form["label"] == label)


async def done(client: Client, number: int) -> list[dict[str, Any]]:
    """Wait until staff has done so much of its own."""
    async with asyncio.timeout(10):
        while len(found := await acts(client)) < number:
            pass
    return found


# Acts that are asked for


async def test_edit_writes_what_is_said_and_moves_both_times() -> None:
    async with running() as client:
        await client.accepted(ADA)
        (before,) = await client.contacts()
        changes = {"phone": "7", "address": {"city": "Nantes"}} | SIZES
        told = await act(client, "edit", id=1, set=changes)
        assert (told["act"], told["id"], told["set"]) == ("edit", 1, changes)
        (after,) = await client.contacts()
        assert (after["phone"], after["address"], after["mail"]) == ("7", {"city": "Nantes"}, ADA["mail"])
        assert [answer["data"] for answer in after["answers"]] == ["S"]
        assert after["UpdatedAt"] == after["lastchange"] > before["lastchange"]


async def test_edit_left_open_changes_something_of_somebody() -> None:
    async with running(contacts=5) as client:
        before = {contact["id"]: contact for contact in await client.contacts()}
        told = [await act(client, "edit") for _ in range(40)]
        assert {next(iter(each["set"])) for each in told} >= {"phone", "address", "tags", "custom_fields"}
        assert {each["id"] for each in told} == before.keys()
        after = {contact["id"]: contact for contact in await client.contacts()}
        assert all(after[number] != before[number] for number in before)


async def test_merge_keeps_the_older_fills_its_gaps_and_ends_the_younger() -> None:
    async with running() as client:
        await client.accepted(ADA, {"surname": "Weber", "phone": "7", "mail": "w@example.org"} | SIZES)
        told = await act(client, "merge", ids=[2, 1])
        assert (told["id"], told["gone"]) == (1, 2)
        (left,) = await client.contacts()
        assert (left["id"], left["surname"], left["mail"], left["phone"]) == (1, "Roux", ADA["mail"], "7")
        assert [answer["data"] for answer in left["answers"]] == ["S"]
        await client.accepted({"id": 2, "phone": "8"})
        assert (await client.history())[-1]["cause"] == "no contact has id 2"
        await client.accepted({"surname": "Garcia"})
        assert [contact["id"] for contact in await client.contacts()] == [1, 3]


async def test_merge_left_open_takes_those_who_look_alike() -> None:
    people = [
        ADA | {"address": {"city": "Lyon"}},
        {"surname": "Weber"},
        {"surname": "Garcia", "mail": "garcia@example.org"},
        {"surname": "Weber-Klein"},
        {"firstname": "ada ", "surname": "ROUX", "address": {"city": "Lille"}},
        {"surname": "Petit", "mail": "garcia@example.org"},
    ]
    async with running() as client:
        await client.accepted(*people)
        by_names = await act(client, "merge", ids=[1])
        by_mail = await act(client, "merge", ids=[6])
        by_neither = await act(client, "merge", ids=[2])
        told = [(each["id"], each["gone"]) for each in (by_names, by_mail, by_neither)]
        assert told == [(1, 5), (3, 6), (2, 3)]
        last = await act(client, "merge")
        assert {last["id"], last["gone"]} < {1, 2, 4}
        assert len(await client.contacts()) == 2


async def test_merge_compares_names_as_the_space_does() -> None:
    people = (
        {"surname": "Léger", "address": {"city": "Lyon"}},
        {"surname": "Weber"},
        {"surname": "Leger", "address": {"city": "Lille"}},
    )
    for matching, gone in (("folded", 2), ("loose", 3)):
        async with running(unknowns=Unknowns(matching=matching)) as client:
            await client.accepted(*people)
            assert (await act(client, "merge", ids=[1]))["gone"] == gone


async def test_delete_ends_a_contact_for_good() -> None:
    async with running() as client:
        await client.accepted(ADA)
        assert (await act(client, "delete", id=1))["id"] == 1
        assert await client.contacts() == []
        await client.accepted(ADA)
        assert [contact["id"] for contact in await client.contacts()] == [2]


async def test_renamed_option_drops_those_who_use_its_old_name() -> None:
    async with running() as client:
        size = await form_of(client, "Size")
        option = next(each for each in size["options"] if each["value"] == "S")
        told = await act(
            client, "rename_option", form_id=size["id"], option_id=option["id"], label="Small", value="small"
        )
        assert told["was"] == {"label": "S", "value": "S"}
        assert told["set"] == {"label": "Small", "value": "small"}
        await client.accepted(ADA | SIZES)
        await client.accepted(ADA | {"custom_fields": [{"label": "Size", "value": "small"}]})
        assert [entry["outcome"] for entry in await client.history()] == ["dropped", "created"]


async def test_removed_option_drops_those_who_use_it_and_leaves_the_answers_there_are() -> None:
    async with running() as client:
        await client.accepted(ADA | SIZES)
        size = await form_of(client, "Size")
        option = next(each for each in size["options"] if each["value"] == "S")
        await act(client, "remove_option", form_id=size["id"], option_id=option["id"])
        await client.accepted({"surname": "Weber"} | SIZES)
        assert [entry["outcome"] for entry in await client.history()] == ["created", "dropped"]
        (left,) = await client.contacts()
        assert [answer["data"] for answer in left["answers"]] == ["S"]


async def test_acts_on_forms_left_open_change_the_names_of_options() -> None:
    async with running() as client:
        before = (await client.send("GET", "/_sandbox/forms")).content
        for _ in range(5):
            told = await act(client, "rename_option")
            form = (await client.send("GET", f"/forms/{told['form_id']}")).content["data"]["form"]
            option = next(each for each in form["refvalues"] if each["id"] == told["option_id"])
            assert {name: option[name] for name in told["set"]} == told["set"] != told["was"]
        assert (await client.send("GET", "/_sandbox/forms")).content["digest"] != before["digest"]


async def test_removing_left_open_leaves_every_form_an_option() -> None:
    async with running() as client:
        for _ in range(50):
            if (await client.send("POST", "/_sandbox/staff", {"act": "remove_option"})).status == 409:
                break
        forms = (await client.send("GET", "/_sandbox/forms")).content["forms"]
        assert {len(form["options"]) for form in forms} == {1}


async def test_reset_makes_forms_and_staff_as_new() -> None:
    async with running() as client:
        before = (await client.send("GET", "/_sandbox/forms")).content
        await act(client, "remove_option")
        await client.send("POST", "/_sandbox/reset")
        assert (await client.send("GET", "/_sandbox/forms")).content == before
        assert await acts(client) == []
        assert (await client.stats())["staff"] == {}


async def test_acts_are_counted_and_come_in_pages_in_order() -> None:
    async with running(contacts=20) as client:
        for number in (3, 4, 5):
            await act(client, "delete", id=number)
        await act(client, "edit", id=1)
        assert (await client.stats())["staff"] == {"delete": 3, "edit": 1}
        first = (await client.send("GET", "/_sandbox/staff?limit=3")).content
        assert [(each["seq"], each["id"]) for each in first["acts"]] == [(1, 3), (2, 4), (3, 5)]
        rest = (await client.send("GET", f"/_sandbox/staff?after={first['next']}")).content
        assert [(each["act"], each["seq"]) for each in rest["acts"]] == [("edit", 4)]
        assert rest["next"] is None


@pytest.mark.parametrize(
    ("order", "status", "where"),
    [
        ([], 400, None),
        ({}, 400, None),
        ({"act": "sleep"}, 422, "body.act"),
        ({"act": "edit", "frob": 1}, 422, "body.frob"),
        ({"act": "edit", "id": "1"}, 422, "body.id"),
        ({"act": "edit", "id": 0}, 422, "body.id"),
        ({"act": "edit", "set": 7}, 422, "body.set"),
        ({"act": "edit", "set": {"phone": 7}}, 422, "body.set.phone"),
        ({"act": "edit", "set": {"shoe": "7"}}, 422, "body.set"),
        ({"act": "edit", "set": {"custom_fields": [{"id": 999, "value": "x"}]}}, 422, "body.set"),
        ({"act": "edit", "id": 9}, 404, None),
        ({"act": "merge", "ids": []}, 422, "body.ids"),
        ({"act": "merge", "ids": [1, 2, 3]}, 422, "body.ids"),
        ({"act": "merge", "ids": "12"}, 422, "body.ids"),
        ({"act": "merge", "ids": [1]}, 409, None),
        ({"act": "merge", "ids": [1, 1]}, 409, None),
        ({"act": "merge", "ids": [1, 9]}, 404, None),
        ({"act": "merge"}, 409, None),
        ({"act": "delete", "id": 9}, 404, None),
        ({"act": "rename_option", "label": ""}, 422, "body.label"),
        ({"act": "rename_option", "form_id": 999}, 404, None),
        ({"act": "remove_option", "option_id": 1}, 404, None),
        ({"act": "remove_option", "label": "x"}, 422, "body.label"),
    ],
)
async def test_what_staff_cannot_do_is_refused_and_not_listed(
    order: object, status: int, where: str | None
) -> None:
    async with running() as client:
        await client.accepted(ADA)
        before = await client.contacts()
        reply = await client.send("POST", "/_sandbox/staff", order)
        assert reply.status == status
        locations = [complaint["location"] for complaint in reply.content["errors"]]
        assert locations == ([where] if where else [])
        assert (await client.contacts(), await acts(client)) == (before, [])


async def test_nobody_can_be_edited_in_an_empty_space() -> None:
    async with running() as client:
        for what in ("edit", "merge", "delete"):
            assert (await client.send("POST", "/_sandbox/staff", {"act": what})).status == 409


# Acts of their own


async def test_staff_acts_of_its_own_at_the_given_rates() -> None:
    async with running(contacts=50, staff={"edit": 200.0, "merge": 0.0}) as client:
        found = await done(client, 20)
        assert {each["act"] for each in found} == {"edit"}
        span = found[19]["at"] - found[0]["at"]
        assert 0.02 < span < 1.0
        assert (await client.stats())["staff"]["edit"] >= 20


async def test_every_kind_of_act_happens() -> None:
    async with running(contacts=100, staff=dict.fromkeys(ACTS, 100.0)) as client:
        async with asyncio.timeout(10):
            while {each["act"] for each in await acts(client)} < set(ACTS):
                pass


async def test_the_same_seed_makes_the_same_acts() -> None:
    async def told(seed: int) -> list[dict[str, Any]]:
        async with running(contacts=40, seed=seed, staff={"edit": 300.0, "delete": 100.0}) as client:
            found = (await done(client, 12))[:12]
        for each in found:
            del each["at"]
        return found

    one = await told(4)
    assert await told(4) == one
    assert await told(5) != one


async def test_staff_that_finds_nobody_goes_on_and_finds_those_who_come() -> None:
    async with running(staff={"edit": 500.0}) as client:
        await asyncio.sleep(0.05)
        assert await acts(client) == []
        await client.accepted(ADA)
        assert (await done(client, 3))[0]["id"] == 1


async def test_each_space_has_its_own_staff() -> None:
    async with running(contacts=9, spaces=2) as client:
        await client.send("POST", "/_sandbox/staff?space=1002", {"act": "delete", "id": 2})
        assert (await acts(client), len(await acts(client, "?space=1002"))) == ([], 1)
        assert len(await client.contacts()) == 9


async def test_staff_of_a_closed_sandbox_does_nothing_more() -> None:
    mistakes: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: mistakes.append(context))
    async with running(contacts=9, staff={"edit": 1000.0}) as client:
        await done(client, 1)
    await asyncio.sleep(0.02)
    assert mistakes == []


# What a merge makes of two

TAGS = st.lists(st.sampled_from("abc"), unique=True).map(lambda names: [{"name": name} for name in names])
NOTES = st.integers(0, 3).map(
    lambda number: [{"id": each + 1, "content": str(each)} for each in range(number)]
)
ANSWERS = st.lists(st.tuples(st.integers(1, 4), st.sampled_from([None, "2026"])), max_size=4)


def contacts(first_answer: int) -> st.SearchStrategy[dict[str, Any]]:
    """Stored contacts; their answers are numbered from `first_answer` on."""
    answers = ANSWERS.map(
        lambda drawn: [
            {"id": number, "form_id": form_id, "deleted_at": deleted_at}
            for number, (form_id, deleted_at) in enumerate(drawn, start=first_answer)
        ]
    )
    optional = {
        "phone": st.sampled_from(["", "1", "2"]),
        "mail": st.sampled_from(["", "a@example.org", "b@example.org"]),
        "address": st.sampled_from([{"city": "Lyon"}, {"street": "rue Haute"}]),
        "tags": TAGS,
        "notes": NOTES,
        "answers": answers,
    }
    return st.fixed_dictionaries({}, optional=optional)


@settings(derandomize=True, deadline=None)
@given(contacts(1), contacts(100))
def test_merging_loses_nothing_of_the_older(older: dict[str, Any], younger: dict[str, Any]) -> None:
    before = copy.deepcopy((older, younger))
    both = joined(older, younger)
    assert (older, younger) == before
    for name in ("phone", "mail", "address"):
        assert both.get(name, "") == (older.get(name) or younger.get(name, ""))
    assert {tag["name"] for tag in both.get("tags", ())} == {
        tag["name"] for fields in before for tag in fields.get("tags", ())
    }
    notes = both.get("notes", [])
    assert [note["content"] for note in notes] == [
        note["content"] for fields in before for note in fields.get("notes", ())
    ]
    assert len({note["id"] for note in notes}) == len(notes)
    answers = both.get("answers", [])
    assert [answer for answer in answers if answer in older.get("answers", ())] == older.get("answers", [])
    decided = {answer["form_id"] for answer in older.get("answers", ()) if not answer["deleted_at"]}
    assert not [answer for answer in answers if answer["id"] >= 100 and answer["form_id"] in decided]
    assert {answer["form_id"] for answer in answers} == {
        answer["form_id"] for fields in before for answer in fields.get("answers", ())
    }
