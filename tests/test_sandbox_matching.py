"""Whom the sandbox takes an upsert to mean: the order of the rules, folding, and who was there when."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_sandbox_client import Client, running

from syncengine.sandbox.matching import FOLDS, Identity, identity_of, is_same_by_mail, is_same_by_names
from syncengine.sandbox.unknowns import Unknowns

ADA = {"firstname": "Ada", "surname": "Roux", "mail": "ada@example.org"}


async def put(client: Client, *people: dict[str, Any]) -> None:
    """Have staff enter people, whoever is alike already there."""
    reply = await client.send("POST", "/_sandbox/contacts", {"contacts": people})
    assert reply.status == 200, reply


async def matched(client: Client, fields: dict[str, Any]) -> tuple[str, int | None]:
    await client.accepted(fields)
    entry = (await client.history())[-1]
    return entry["outcome"], entry["contact_id"]


# The order of the rules


async def test_rules_are_tried_in_order_id_then_mail_then_names_then_create() -> None:
    by_names, by_mail, by_id = ADA | {"mail": "a@example.org"}, ADA | {"surname": "Weber"}, {"phone": "1"}
    async with running() as client:
        await put(client, by_names, by_mail, by_id)
        sent = {"firstname": "Ada", "mail": "ada@example.org"}
        assert await matched(client, sent | {"surname": "Roux", "id": 3}) == ("updated", 3)
    async with running() as client:
        await put(client, by_names, by_mail)
        assert await matched(client, sent) == ("updated", 2)
        assert await matched(client, sent | {"surname": "Weber"}) == ("updated", 2)
        assert await matched(client, ADA | {"mail": "x@example.org"}) == ("updated", 1)
        assert await matched(client, ADA | {"surname": "Klein"}) == ("created", 3)


async def test_rule_of_names_is_tried_when_nobody_of_the_mail_has_the_names() -> None:
    async with running() as client:
        await put(client, ADA | {"surname": "Weber"}, {"firstname": "Ada", "surname": "Roux"})
        assert await matched(client, ADA) == ("updated", 2)


async def test_qomon_id_goes_before_the_nationbuilder_id_of_another() -> None:
    async with running() as client:
        await put(client, ADA | {"nationbuilderid": 2}, {"surname": "Weber"})
        assert await matched(client, {"id": 2, "phone": "1"}) == ("updated", 2)


async def test_phone_and_external_id_never_match() -> None:
    async with running(unknowns=Unknowns(unlisted="store")) as client:
        person = {"phone": "+33611223344", "mobile": "+33611223344", "external_id": "7", "firstname": "Ada"}
        await client.accepted(person, person)
        assert len(await client.contacts()) == 2


async def test_shared_mailbox_without_names_overwrites_one_of_those_who_share_it() -> None:
    async with running() as client:
        await put(client, ADA, ADA | {"firstname": "Bea"})
        assert await matched(client, {"mail": ADA["mail"], "firstname": "", "phone": "7"}) == ("updated", 1)


# How texts are compared


@pytest.mark.parametrize(
    ("mail", "firstname", "counts"),
    [
        ("eva@example.org", "Éva", {"exact": 1, "folded": 1, "loose": 1}),
        ("EVA@example.org ", "éva", {"exact": 2, "folded": 1, "loose": 1}),
        ("eva@example.org", "Eva", {"exact": 2, "folded": 2, "loose": 1}),
        ("eva@example.org", "Eva M", {"exact": 2, "folded": 2, "loose": 2}),
    ],
)
@pytest.mark.parametrize("matching", ["exact", "folded", "loose"])
async def test_mail_and_names_are_compared_as_the_unknown_says(
    matching: str, mail: str, firstname: str, counts: dict[str, int]
) -> None:
    person = {"mail": "eva@example.org", "firstname": "Éva", "surname": "Roux"}
    async with running(unknowns=Unknowns(matching=matching)) as client:
        await client.accepted(person, person | {"mail": mail, "firstname": firstname})
        assert len(await client.contacts()) == counts[matching]
        found = (await client.send("GET", "/_sandbox/contacts?mail=eva@example.org")).content
        assert found["contacts"][0]["id"] == 1


@given(st.text("aAéÉßﬁİ \u0301\t", max_size=6), st.sampled_from(sorted(FOLDS)))
def test_folding_twice_is_folding_once(text: str, matching: str) -> None:
    fold = FOLDS[matching]
    assert fold(fold(text)) == fold(text)


@given(st.text(max_size=6), st.text(max_size=6))
def test_what_is_the_same_exactly_is_the_same_folded_and_what_is_the_same_folded_is_so_loosely(
    one: str, other: str
) -> None:
    exact, folded, loose = (FOLDS[name](one) == FOLDS[name](other) for name in ("exact", "folded", "loose"))
    assert exact <= folded <= loose


@pytest.mark.parametrize(
    ("first", "second", "count"),
    [
        ("1980-05-01", "1980-05-01T00:00:00Z", 1),
        ("1980-05-01T00:00:00Z", "1980-05-01T12:00:00+02:00", 1),
        ("1980-05-01", "1980-05-02T00:00:00Z", 2),
        ("1980-05-01", "01/05/1980", 2),
    ],
)
async def test_of_birthdates_the_day_counts(first: str, second: str, count: int) -> None:
    names = {"firstname": "Ada", "surname": "Roux"}
    async with running() as client:
        await client.accepted(names | {"birthdate": first}, names | {"birthdate": second})
        assert len(await client.contacts()) == count


texts = st.sampled_from(["", "a", "b"])
people = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("mail", "firstname", "surname", "birthdate"), texts)
    | {"address": st.dictionaries(st.sampled_from(["city", "postalcode", "street", "floor"]), texts)},
)


@given(people, people)
def test_rules_compare_what_both_sides_have(first: dict[str, Any], second: dict[str, Any]) -> None:
    one, other = identity_of(first), identity_of(second)
    assert is_same_by_names(one, other) == is_same_by_names(other, one)
    assert is_same_by_mail(one, one) == bool(one.mail)
    if is_same_by_mail(one, other):
        assert one.mail == other.mail
        assert {one.surname, other.surname} in ({one.surname}, {"", other.surname})
    if is_same_by_names(one, other):
        assert one.names == other.names != ""
        assert one.birthdate == other.birthdate or not (one.birthdate and other.birthdate)


def test_identity_of_nobody_is_empty() -> None:
    assert identity_of({"mail": None, "address": None}) == Identity("", "", "", "", "", "", "", False)


# Who was there when the upsert was accepted


@pytest.mark.parametrize(
    "person",
    [
        ADA,
        {"mail": "ada@example.org"},
        {"firstname": "Ada", "surname": "Roux"},
        {"firstname": "Ada", "surname": "Roux", "birthdate": "1980-05-01"},
    ],
)
async def test_two_upserts_of_one_new_person_that_wait_together_make_twins(person: dict[str, Any]) -> None:
    async with running(lag=60) as client:
        await client.accepted(person, person)
        assert [entry["outcome"] for entry in await client.history()] == ["created", "created"]
        assert len(await client.contacts()) == 2


async def test_second_of_two_upserts_that_need_not_wait_finds_the_first() -> None:
    async with running(lag=0) as client:
        for _ in range(20):
            await client.upsert(ADA)
        await client.send("POST", "/_sandbox/settle")
        assert [contact["id"] for contact in await client.contacts()] == [1]


async def test_upsert_accepted_after_the_first_was_applied_finds_it() -> None:
    async with running(lag=60) as client:
        await client.accepted(ADA)
        await client.accepted(ADA)
        assert [entry["outcome"] for entry in await client.history()] == ["created", "updated"]


async def test_queued_updates_of_one_contact_apply_in_order() -> None:
    async with running(lag=60) as client:
        await put(client, ADA)
        await client.accepted(ADA | {"phone": "1"}, {"id": 1, "phone": "2"}, ADA | {"mobile": "3"})
        (person,) = await client.contacts()
        assert (person["phone"], person["mobile"]) == ("2", "3")


async def test_contact_created_while_an_upsert_waits_is_found_by_its_id() -> None:
    async with running(lag=60) as client:
        await client.upsert({"id": 1, "phone": "1"})
        await put(client, ADA)
        await client.send("POST", "/_sandbox/settle")
        assert [contact["phone"] for contact in await client.contacts()] == ["1"]
