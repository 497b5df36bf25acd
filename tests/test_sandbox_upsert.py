"""What the sandbox makes of an upsert: answers, matching, merging, silent drops."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_sandbox_client import Client, running

from syncengine.sandbox.contact import (
    ADDRESS_PARTS,
    ADVANCED,
    TEXTS,
    cause_of_drop,
    complaints,
    merge,
    unknown_field,
)
from syncengine.sandbox.forms import Forms
from syncengine.sandbox.matching import identity_of
from syncengine.sandbox.unknowns import QUESTIONS, Unknowns

ADA = {"firstname": "Ada", "surname": "Roux", "mail": "ada@example.org"}
PARIS = {"street": "rue Verte", "postalcode": "75011", "city": "Paris"}


async def applied(*people: dict[str, Any]) -> list[dict[str, Any]]:
    """Upsert people in turn and return the contacts without their ids and times."""
    async with running() as client:
        await client.accepted(*people)
        hidden = ("id", "CreatedAt", "UpdatedAt", "lastchange")
        return [
            {name: value for name, value in contact.items() if name not in hidden}
            for contact in await client.contacts()
        ]


async def outcome(client: Client, fields: dict[str, Any]) -> tuple[str, int | None, str | None]:
    await client.accepted(fields)
    entry = (await client.history())[-1]
    return entry["outcome"], entry["contact_id"], entry["cause"]


# Answers


async def test_upsert_is_accepted_with_an_empty_body_and_applied_after_the_lag() -> None:
    async with running(lag=0.1) as client:
        reply = await client.upsert(ADA)
        assert (reply.status, reply.body) == (202, b"")
        assert await client.contacts() == []
        assert (await client.history())[0]["outcome"] == "queued"
        while not (await client.contacts()):
            pass
        entry = (await client.history())[0]
        assert entry["applied_at"] - entry["at"] >= 0.1
        assert entry["data"] == ADA


@pytest.mark.parametrize("key", ["", "wrong"])
async def test_wrong_key_is_unauthorized_and_costs_no_token(key: str) -> None:
    async with running(burst=100) as client:
        reply = await client.upsert(ADA, key=key)
        assert reply.status == 401
        assert reply.headers["content-type"] == "application/problem+json"
        assert "x-ratelimit-cost" not in reply.headers
        assert (await client.stats())["tokens_used"] == 0
        entry = (await client.history())[0]
        assert (entry["outcome"], entry["data"]) == ("unauthorized", ADA)


async def test_missing_key_is_unauthorized() -> None:
    async with running() as client:
        reply = await client.raw(b"POST /contacts/upsert HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}")
        assert reply.status == 401


@pytest.mark.parametrize(
    ("body", "location"),
    [
        ([], "body"),
        ({"kind": "contact"}, "body"),
        ({"data": ADA}, "body"),
        ({"kind": "people", "data": ADA}, "body.kind"),
        ({"kind": "contact", "data": []}, "body.data"),
        ({"kind": "contact", "data": {}, "dry": True}, "body.dry"),
        ({"kind": "contact", "data": {"id": -1}}, "body.data.id"),
        ({"kind": "contact", "data": {"id": "7"}}, "body.data.id"),
        ({"kind": "contact", "data": {"id": 2**64 - 1}}, "body.data.id"),
        ({"kind": "contact", "data": {"firstname": 7}}, "body.data.firstname"),
        ({"kind": "contact", "data": {"mail": "nobody"}}, "body.data.mail"),
        ({"kind": "contact", "data": {"mail": 7}}, "body.data.mail"),
        ({"kind": "contact", "data": {"age_category": "3"}}, "body.data.age_category"),
        ({"kind": "contact", "data": {"black_list": "yes"}}, "body.data.black_list"),
        ({"kind": "contact", "data": {"address": "Paris"}}, "body.data.address"),
        ({"kind": "contact", "data": {"address": {"floor": 3}}}, "body.data.address.floor"),
        ({"kind": "contact", "data": {"address": {"id": "3"}}}, "body.data.address.id"),
        ({"kind": "contact", "data": {"status": {"id": 1, "value": "x"}}}, "body.data.status"),
        ({"kind": "contact", "data": {"forms": [{"id": 1, "value": True}]}}, "body.data.forms[0].value"),
        ({"kind": "contact", "data": {"forms": [{"id": 1}]}}, "body.data.forms[0]"),
        ({"kind": "contact", "data": {"tags": ["Member"]}}, "body.data.tags[0]"),
        ({"kind": "contact", "data": {"notes": [{"text": "x"}]}}, "body.data.notes[0].text"),
    ],
)
async def test_invalid_body_is_unprocessable_and_names_the_place(body: object, location: str) -> None:
    async with running() as client:
        reply = await client.send("POST", "/contacts/upsert", body)
        assert reply.status == 422
        problem = reply.content
        assert problem.keys() == {"type", "title", "status", "detail", "instance", "errors"}
        assert [error["location"] for error in problem["errors"]] == [location]
        assert problem["errors"][0].keys() == {"location", "message", "value"}
        assert (await client.stats())["outcomes"] == {"refused": 1}


async def test_unreadable_json_is_a_bad_request_and_costs_a_token() -> None:
    async with running(burst=100) as client:
        reply = await client.raw(client.request("POST", "/contacts/upsert", b'{"kind":'))
        assert (reply.status, reply.headers["x-ratelimit-cost"]) == (400, "1")
        entry = (await client.history())[0]
        assert (entry["data"], entry["length"], entry["outcome"]) == (None, 8, "refused")


async def test_other_method_and_other_route_are_refused() -> None:
    async with running() as client:
        get = await client.send("GET", "/contacts/upsert")
        assert (get.status, get.headers["allow"]) == (405, "POST")
        assert (await client.send("POST", "/people")).status == 404
        assert (await client.stats())["requests"] == {"upsert": 1, "unknown": 1}


# Matching


async def test_id_matches_first_whatever_else_is_sent() -> None:
    async with running() as client:
        await client.accepted(ADA, ADA | {"mail": "other@example.org", "surname": "Weber"})
        assert await outcome(client, ADA | {"id": 2}) == ("updated", 2, None)


async def test_id_may_be_a_nationbuilder_id() -> None:
    async with running() as client:
        await client.accepted(ADA | {"nationbuilderid": 9000})
        assert await outcome(client, {"id": 9000, "phone": "1"}) == ("updated", 1, None)
        assert [contact["id"] for contact in await client.contacts()] == [1]


async def test_id_zero_counts_as_none() -> None:
    assert len(await applied({"id": 0, **ADA})) == 1


async def test_dead_id_drops_the_record_silently() -> None:
    async with running() as client:
        await client.accepted(ADA)
        assert (await client.send("DELETE", "/_sandbox/contacts?id=1")).status == 200
        assert await outcome(client, ADA | {"id": 1}) == ("dropped", None, "no contact has id 1")
        assert await client.contacts() == []


async def test_mail_and_names_match_whatever_their_case_and_outer_blanks() -> None:
    shouted = {"firstname": " ADA", "surname": "roux ", "mail": "Ada@Example.org"}
    assert len(await applied(ADA, shouted)) == 1


async def test_empty_name_is_not_a_filter_beside_the_mail() -> None:
    assert len(await applied(ADA, {"mail": "ada@example.org", "firstname": "", "phone": "1"})) == 1


async def test_mail_alone_overwrites_whoever_has_it() -> None:
    assert len(await applied(ADA, {"mail": "ada@example.org", "phone": "1"})) == 1


async def test_same_mail_with_another_first_name_makes_a_second_contact() -> None:
    assert len(await applied(ADA, ADA | {"firstname": "Adèle"})) == 2


async def test_other_mail_falls_through_to_the_names_and_merges_homonyms() -> None:
    people = await applied(ADA, ADA | {"mail": "another.ada@example.org"})
    assert [person["mail"] for person in people] == ["another.ada@example.org"]


@pytest.mark.parametrize(
    ("first", "second", "count"), [("a", "a", 1), ("a", "b", 2), ("a", "", 1), ("", "b", 1)]
)
async def test_names_match_unless_both_birthdates_differ(first: str, second: str, count: int) -> None:
    names = {"firstname": "Ada", "surname": "Roux"}
    assert len(await applied(names | {"birthdate": first}, names | {"birthdate": second})) == count


@pytest.mark.parametrize(
    ("second", "count"),
    [
        (PARIS, 1),
        ({}, 1),
        (PARIS | {"city": "Lutèce"}, 1),
        (PARIS | {"postalcode": "75012"}, 1),
        (PARIS | {"city": "Lyon", "postalcode": "69003"}, 2),
        (PARIS | {"street": "rue Rouge"}, 2),
        ({"country": "France"}, 2),
    ],
)
async def test_names_match_unless_both_addresses_differ(second: dict[str, str], count: int) -> None:
    names = {"firstname": "Ada", "surname": "Roux"}
    assert len(await applied(names | {"address": PARIS}, names | {"address": second})) == count


async def test_equal_birthdates_make_the_street_unimportant() -> None:
    person = {"firstname": "Ada", "surname": "Roux", "birthdate": "1980-05-01"}
    moved = person | {"address": PARIS | {"street": "rue Rouge"}}
    assert len(await applied(person | {"address": PARIS}, moved)) == 1


async def test_first_name_must_be_equal_in_the_rule_of_names() -> None:
    assert len(await applied({"surname": "Roux", "firstname": "Ada"}, {"surname": "Roux"})) == 2


async def test_oldest_of_several_matches_wins() -> None:
    async with running() as client:
        await client.send("POST", "/_sandbox/contacts", {"contacts": [ADA, ADA]})
        assert await outcome(client, ADA) == ("updated", 1, None)


async def test_contact_without_identity_is_always_created() -> None:
    assert len(await applied({"phone": "1"}, {"phone": "1"})) == 2


# What an update does


async def test_fields_left_out_are_kept_and_empty_texts_are_stored() -> None:
    (person,) = await applied(ADA | {"phone": "1", "mobile": "2"}, ADA | {"phone": "", "mobile": None})
    assert person == ADA | {"phone": "", "mobile": "2"}


async def test_address_merges_part_by_part() -> None:
    (person,) = await applied(
        ADA | {"address": PARIS}, ADA | {"address": {"street": "rue Rouge", "city": None}}
    )
    assert person["address"] == PARIS | {"street": "rue Rouge"}


async def test_tags_are_added_once_each() -> None:
    (person,) = await applied(ADA | {"tags": [{"name": "a"}]}, ADA | {"tags": [{"name": "b"}, {"name": "a"}]})
    assert person["tags"] == [{"name": "a"}, {"name": "b"}]


async def test_notes_are_appended() -> None:
    (person,) = await applied(ADA | {"notes": [{"content": "x"}]}, ADA | {"notes": [{"content": "x"}]})
    assert [note["content"] for note in person["notes"]] == ["x", "x"]


async def test_answers_are_kept_apart_from_the_keys_they_were_sent_under() -> None:
    job = {"label": "Job", "value": "Nurse", "date": "2020-01-01T00:00:00Z"}
    letter = {"id": 8, "value": "By e-mail"}
    (person,) = await applied(ADA | {"custom_fields": [job], "consents": [letter]})
    first, second = person.pop("answers")
    assert person == ADA
    assert (first["id"], first["form_id"], first["data"], first["deleted_at"]) == (1, 1, "Nurse", None)
    assert first["date"] == first["created_at"] == first["updated_at"] > "2020-01-02"
    assert (second["id"], second["form_id"], second["data"]) == (2, 8, "consent_email")
    assert first["form_ref_id"] != second["form_ref_id"]


async def test_address_id_is_qomons_own() -> None:
    (person,) = await applied(ADA | {"address": PARIS | {"id": 7}})
    assert person["address"] == PARIS


async def test_update_by_id_alone_leaves_every_other_field() -> None:
    full = ADA | {"address": PARIS, "tags": [{"name": "a"}], "black_list": True, "age_category": 0}
    (person,) = await applied(full, {"id": 1, "consents": [{"label": "Newsletter", "value": "refus"}]})
    assert person.pop("answers")[0]["data"] == "refus"
    assert person == full


async def test_update_moves_updated_at_but_not_lastchange() -> None:
    async with running() as client:
        await client.accepted(ADA)
        (before,) = await client.contacts()
        await client.accepted(ADA)
        (after,) = await client.contacts()
        assert after["UpdatedAt"] > before["UpdatedAt"]
        assert (after["lastchange"], after["CreatedAt"]) == (before["lastchange"], before["CreatedAt"])


@pytest.mark.parametrize(
    ("more", "cause"),
    [
        ({"gender": "F"}, "unknown field gender"),
        ({"external_id": "7"}, "unknown field external_id"),
        ({"presence_status": []}, "unknown field presence_status"),
        ({"address": {"zip": "75011"}}, "unknown field address.zip"),
        ({"nickname": "A"}, "unknown field nickname"),
        ({"customfields": []}, "unknown field customfields"),
        ({"forms": [{"id": 99, "value": "x"}]}, "unknown form 99 in forms"),
    ],
)
async def test_unknown_field_drops_the_record_silently(more: dict[str, Any], cause: str) -> None:
    async with running() as client:
        assert await outcome(client, ADA | more) == ("dropped", None, cause)
        assert await client.contacts() == []


# Whatever is sent

texts = st.text("aÉ @", max_size=4)
keys = st.sampled_from(["id", "label", "value", "name", "content", "pinned", *sorted(ADDRESS_PARTS)])
values = st.recursive(
    st.none() | st.booleans() | st.sampled_from([-1, 0, 7, 2**63 - 1, 2**64 - 1, 0.5]) | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(keys, inner, max_size=2),
    max_leaves=4,
)
names = [
    *sorted(TEXTS),
    "id",
    "nationbuilderid",
    "age_category",
    "black_list",
    "address",
    "tags",
    "notes",
    *ADVANCED,
]
people = st.dictionaries(st.sampled_from(names), values, max_size=4)


@given(people, people)
def test_what_passes_the_checks_can_be_merged_matched_and_stored(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    if any(complaints(fields) or unknown_field(fields) for fields in (first, second)):
        return
    forms, unknowns = Forms.sample(), Unknowns()
    created = merge({}, first, forms, unknowns, 1e9)
    before = orjson.dumps(created)
    merged = merge(created, second, forms, unknowns, 2e9)
    assert orjson.dumps(created) == before
    assert identity_of(orjson.loads(orjson.dumps(merged))) == identity_of(merged)
    for name in TEXTS & second.keys():
        assert second[name] is None or merged[name] == second[name]


@given(
    people,
    st.sampled_from(sorted(QUESTIONS)).flatmap(
        lambda name: st.tuples(st.just(name), st.sampled_from(QUESTIONS[name].choices or ("7",)))
    ),
)
def test_the_same_upsert_again_changes_nothing_but_notes_whatever_is_unknown(
    sent: dict[str, Any], answer: tuple[str, str]
) -> None:
    if complaints(sent):
        return
    forms, unknowns = Forms.sample(), Unknowns.read(dict([answer]))
    cause = cause_of_drop(sent, forms, unknowns)
    assert cause is None or cause.isprintable()
    once = merge({}, sent, forms, unknowns, 1e9)
    twice = merge(once, sent, forms, unknowns, 2e9)
    assert twice | {"notes": []} == once | {"notes": []}
