"""`/search` and `/kpi`: what each operator finds, what is refused, and pages over a space that changes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_sandbox_client import Client, Reply, running

from syncengine.sandbox import SandboxOptions
from syncengine.sandbox.conditions import Surroundings
from syncengine.sandbox.contact import merge
from syncengine.sandbox.form import Form
from syncengine.sandbox.forms import Forms
from syncengine.sandbox.index import Index
from syncengine.sandbox.matching import FOLDS
from syncengine.sandbox.search import SORT_KEYS, Reader, Search
from syncengine.sandbox.space import Space
from syncengine.sandbox.unknowns import Unknowns

FORMS: dict[str, Form] = {form.label: form for form in Forms.sample()}
ALL: dict[str, Any] = {"$all": []}
PEOPLE: dict[str, dict[str, Any]] = {
    "ada": {
        "firstname": "Ada", "surname": "Testville", "mail": "ada@example.org", "mobile": "+33600000001",
        "birthdate": "1980-05-02", "age_category": 3, "black_list": True,
        "address": {"city": "Lyon", "postalcode": "69003"},
        "tags": [{"name": "member"}, {"name": "donor"}],
        "custom_fields": [
            {"label": "Job", "value": "Nurse"}, {"label": "Size", "value": "S"},
            {"label": "Languages", "value": "fr"}, {"label": "Languages", "value": "en"},
            {"label": "Shares", "value": "50"}, {"label": "Joined", "value": "2020-03-01"},
        ],
    },
    "bob": {
        "firstname": "Bob", "surname": "Test", "mail": "bob@Example.org",
        "birthdate": "1990-01-01T12:00:00Z", "tags": [{"name": "member"}],
        "custom_fields": [
            {"label": "Job", "value": "Head nurse"}, {"label": "Size", "value": "M"},
            {"label": "Languages", "value": "fr"}, {"label": "Shares", "value": "100"},
            {"label": "Joined", "value": "2021-06-15"},
        ],
    },
    "cy": {
        "firstname": "Cy", "surname": "Attest", "mail": "ada@example.org.example", "age_category": 5,
        "tags": [{"name": "Member"}], "nationality": "French",
    },
    "dee": {
        "firstname": "Dee", "surname": "O'Hara-Test", "mail": "dee+list@sample.example",
        "married_name": "New", "phone": "", "address": {"city": "Villeurbanne", "postalcode": "69100"},
        "consents": [{"label": "Newsletter", "value": "consent_email"}],
    },
    "eve": {
        "firstname": "Eve", "mobile": "0600000002", "consents": [{"label": "Newsletter", "value": "refus"}],
    },
    "zoé": {
        "firstname": "Zoé", "surname": "Éluard", "mail": "zoe@sample.example", "address": {"city": "LYON"},
    },
}  # fmt: skip
IDS = {name: number for number, name in enumerate(PEOPLE, start=1)}


def condition(attr: str, ope: str, **more: Any) -> dict[str, Any]:
    named = {{"start": "from", "end": "to"}.get(name, name): value for name, value in more.items()}
    return {"$condition": {"attr": attr, "ope": ope} | named}


def on_form(attr: str, label: str, ope: str, *refs: str, **more: Any) -> dict[str, Any]:
    form = FORMS[label]
    ids = [option.id for option in form.options if option.value in refs]
    return condition(attr, ope, form_id=form.id, form_ref_ids=ids, **more)


def every(*conditions: dict[str, Any]) -> dict[str, Any]:
    return {"$all": [{"$all": list(conditions)}]}


async def search(client: Client, query: object, **paging: Any) -> Reply:
    asked = {"query": query, "per_page": 100} | paging
    return await client.send("POST", "/search", {"data": {"advanced_search": asked}})


async def kpi(client: Client, query: object) -> Reply:
    return await client.send("POST", "/kpi", {"data": {"advanced_search": {"query": query}}})


async def found(client: Client, query: object, **paging: Any) -> list[int]:
    reply = await search(client, query, **paging)
    assert reply.status == 200, reply.body
    assert reply.content["status"] == "success"
    return [row["id"] for row in reply.content["data"]["contacts"] or []]


@asynccontextmanager
async def populated(**options: Any) -> AsyncIterator[Client]:
    async with running(**{"search_lag": 0.0} | options) as client:
        await client.accepted(*PEOPLE.values())
        yield client


# What is found

CONDITIONS = [
    # words, in any case, from their beginnings on
    (condition("surname", "eql", value="Test"), "ada bob dee"),
    (condition("surname", "eql", value="test o"), "dee"),
    (condition("surname", "eql", value="éLU"), "zoé"),
    (condition("surname", "eql", value="elu"), ""),
    (condition("surname", "eql", value="-"), ""),
    (condition("mail", "eql", value="ada@example.org"), "ada cy"),
    (condition("surname", "not_eql", value="Test"), "cy eve zoé"),
    # to the letter
    (condition("surname", "eql:strictdata", value="Test"), "bob"),
    (condition("surname", "eql:strictdata", value="test"), ""),
    (condition("mail", "eql:strictdata", value="bob@Example.org"), "bob"),
    (condition("mail", "eql:strictdata", value="bob@example.org"), ""),
    (condition("nationality", "eql:strictdata", value="French"), "cy"),
    (condition("surname", "not_eql:strictdata", value="Test"), "ada cy dee eve zoé"),
    # parts of texts
    (condition("surname", "contains", value="EST"), "ada bob cy dee"),
    (condition("surname", "contains", value="a-t"), "dee"),
    (condition("surname", "not_contains", value="EST"), "eve zoé"),
    (condition("surname", "start_with", value="test"), "ada bob"),
    (condition("surname", "not_start_with", value="test"), "cy dee eve zoé"),
    (condition("mobile", "start_with", value="+336"), "ada"),
    (condition("married_name", "contains", value="ew"), "dee"),
    # presence
    (condition("mail", "ext"), "ada bob cy dee zoé"),
    (condition("mail", "not_ext"), "eve"),
    (condition("phone", "ext"), ""),
    (condition("tags", "ext"), "ada bob cy"),
    (condition("address.postalcode", "not_ext"), "bob cy eve zoé"),
    # bounds, both included: texts by their letters, numbers, dates
    (condition("surname", "gte", value="T"), "ada bob zoé"),
    (condition("surname", "lte", value="attest"), "cy"),
    (condition("surname", "range", start="o", end="TEST"), "bob dee"),
    (condition("age_category", "gte", value="5"), "cy"),
    (condition("age_category", "lte", value="3"), "ada"),
    (condition("age_category", "range", start="3", end="5"), "ada cy"),
    (condition("age_category", "eql", value="3.0"), "ada"),
    (condition("birthdate", "gte", value="1980-05-02"), "ada bob"),
    (condition("birthdate", "lte", value="1990-01-01"), "ada bob"),
    (condition("birthdate", "lte", value="1990-01-01T11:59:59Z"), "ada"),
    (condition("birthdate", "range", start="1985-01-01", end="now"), "bob"),
    (condition("birthdate", "range", start="1980-05-02", end="1990-01-01"), "ada bob"),
    (condition("birthdate", "eql", value="1990-01-01"), "bob"),
    (condition("birthdate", "not_eql", value="1990-01-01"), "ada cy dee eve zoé"),
    (condition("birthdate", "start_with", value="1980"), "ada"),
    # lists
    (condition("firstname", "any_of", value=["ADA", "Eve", "Nobody"]), "ada eve"),
    (condition("firstname", "any_of", value="bob"), "bob"),
    (condition("firstname", "none_of", value=["ada", "eve"]), "bob cy dee zoé"),
    (condition("tags", "any_of", value=["donor", "press"]), "ada"),
    (condition("tags", "all_of", value=["member", "donor"]), "ada"),
    (condition("tags", "none_of", value=["member"]), "dee eve zoé"),
    (condition("tags", "eql", value="memb"), "ada bob cy"),
    (condition("tags", "eql:strictdata", value="Member"), "cy"),
    (condition("age_category", "any_of", value=["3", "4"]), "ada"),
    (condition("age_category", "all_of", value=["3", "5"]), ""),
    # what is no text
    (condition("black_list", "eql", value="true"), "ada"),
    (condition("black_list", "eql:strictdata", value="false"), "bob cy dee eve zoé"),
    (condition("id", "eql", value="2"), "bob"),
    (condition("id", "not_eql", value="2"), "ada cy dee eve zoé"),
    (condition("id", "any_of", value=["1", "3", "99"]), "ada cy"),
    (condition("id", "none_of", value=["1", "3"]), "bob dee eve zoé"),
    (condition("id", "all_of", value=["1", "3"]), ""),
    (condition("id", "range", start="2", end="4"), "bob cy dee"),
    (condition("id", "contains", value="2"), "bob"),
    (condition("address.city", "eql", value="lyon"), "ada zoé"),
    (condition("address.city", "eql:strictdata", value="LYON"), "zoé"),
    # times
    (condition("UpdatedAt", "gte", value="now-1h"), "ada bob cy dee eve zoé"),
    (condition("UpdatedAt", "lte", value="now-1h"), ""),
    (condition("UpdatedAt", "ext"), "ada bob cy dee eve zoé"),
    (condition("CreatedAt", "range", start="now-1d/d", end="now"), "ada bob cy dee eve zoé"),
    (condition("lastchange", "lte", value="now-1y"), ""),
    # answers to forms
    (on_form("custom_fields", "Job", "ext"), "ada bob"),
    (on_form("custom_fields", "Job", "not_ext"), "cy dee eve zoé"),
    (on_form("form", "Job", "ext"), "ada bob"),
    (on_form("form", "Newsletter", "ext", "refus"), "dee eve"),
    (on_form("custom_fields", "Newsletter", "ext"), ""),
    (on_form("custom_fields", "Newsletter", "not_ext"), "ada bob cy dee eve zoé"),
    (condition("form", "ext", form_id=99, form_ref_ids=[]), ""),
    (on_form("form", "Newsletter", "any_of", "refus"), "eve"),
    (on_form("form", "Newsletter", "eql", "consent_email"), "dee"),
    (on_form("custom_fields", "Languages", "any_of", "fr", "de"), "ada bob"),
    (on_form("custom_fields", "Languages", "all_of", "fr", "en"), "ada"),
    (on_form("custom_fields", "Languages", "none_of", "en"), "bob cy dee eve zoé"),
    (on_form("custom_fields", "Languages", "eql", "fr", value="fr"), "ada bob"),
    (on_form("custom_fields", "Languages", "eql", "en", value="fr"), ""),
    (on_form("custom_fields", "Size", "not_eql", "S"), "bob cy dee eve zoé"),
    (on_form("custom_fields", "Job", "eql", value="nurse"), "ada bob"),
    (on_form("custom_fields", "Job", "eql:strictdata", value="Nurse"), "ada"),
    (on_form("custom_fields", "Job", "any_of", value=["NURSE", "baker"]), "ada"),
    (on_form("custom_fields", "Shares", "gte", value="60"), "bob"),
    (on_form("custom_fields", "Shares", "range", start="50", end="100"), "ada bob"),
    (on_form("custom_fields", "Joined", "lte", value="2020-03-01"), "ada"),
    (on_form("custom_fields", "Joined", "gte", value="2021-01-01T00:00:00Z"), "bob"),
    (on_form("custom_fields", "Job", "gte", value="i"), "ada"),
]


@pytest.mark.parametrize(("asked", "names"), CONDITIONS)
async def test_operator_finds_whom_it_means(asked: dict[str, Any], names: str) -> None:
    async with populated() as client:
        expected = [IDS[name] for name in names.split()]
        assert await found(client, every(asked)) == expected
        assert (await kpi(client, every(asked))).content == {
            "status": "success",
            "data": {"total": len(expected)},
        }


LYON, MEMBER, MAIL = (
    condition("address.city", "eql", value="lyon"),
    condition("tags", "any_of", value=["member"]),
    condition("mail", "eql:strictdata", value="bob@Example.org"),
)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        (ALL, "ada bob cy dee eve zoé"),
        ({"$at_least_one": []}, ""),
        ({"$all": [{"$at_least_one": []}]}, ""),
        ({"$all": [{"$all": [LYON, MEMBER]}]}, "ada"),
        ({"$all": [{"$at_least_one": [LYON, MAIL]}]}, "ada bob zoé"),
        ({"$all": [{"$all": [LYON]}, {"$at_least_one": [MEMBER, MAIL]}]}, "ada"),
        ({"$at_least_one": [{"$all": [LYON, MEMBER]}, {"$all": [MAIL]}]}, "ada bob"),
        ({"$at_least_one": [{"$all": []}, {"$all": [MAIL]}]}, "ada bob cy dee eve zoé"),
    ],
)
async def test_two_levels_are_joined_by_their_words(query: object, names: str) -> None:
    async with populated() as client:
        assert await found(client, query) == [IDS[name] for name in names.split()]


async def test_deleted_answer_is_no_longer_found_though_it_is_shown() -> None:
    async with populated() as client:
        await client.send("PATCH", "/contacts/1", {"data": {"contact": {"surname": "Testville"}}})
        assert await found(client, every(on_form("custom_fields", "Job", "ext"))) == [IDS["bob"]]
        (row,) = (await search(client, every(condition("id", "eql", value="1")))).content["data"]["contacts"]
        assert all(answer["deleted_at"] for answer in row["custom_fields"])


@pytest.mark.parametrize("matching", sorted(FOLDS))
async def test_search_is_the_same_however_an_upsert_matches(matching: str) -> None:
    async with populated(unknowns=Unknowns(matching=matching)) as client:
        assert await found(client, every(condition("surname", "eql", value="TEST"))) == [1, 2, 4]
        assert await found(client, every(condition("mail", "contains", value="EXAMPLE"))) == [1, 2, 3, 4, 6]
        assert await found(client, every(condition("surname", "eql:strictdata", value="Test"))) == [2]
        assert await found(client, every(MAIL)) == [2]


async def test_stamp_of_a_row_finds_that_row_again() -> None:
    async with populated() as client:
        for row in (await search(client, ALL)).content["data"]["contacts"]:
            at = row["UpdatedAt"]
            alone = every(condition("UpdatedAt", "range", start=at, end=at))
            assert await found(client, alone) == [row["id"]]
            assert row["id"] in await found(client, every(condition("UpdatedAt", "gte", value=at)))
            assert row["id"] in await found(client, every(condition("UpdatedAt", "lte", value=at)))


# What is refused

BAD_QUERIES: list[tuple[object, str]] = [
    (condition("mail", "ext"), "query"),
    ({"$all": [condition("mail", "ext")]}, "query.$all[0]"),
    ({"$all": [{"$all": [{"$all": [condition("mail", "ext")]}]}]}, "query.$all[0].$all[0]"),
    ({"$all": [{"$all": [{"attr": "mail", "ope": "ext"}]}]}, "query.$all[0].$all[0]"),
    ({"$all": [], "$at_least_one": []}, "query"),
    ({"$any": []}, "query"),
    ({}, "query"),
    ([], "query"),
    (None, "query"),
    ({"$all": {}}, "query.$all"),
    ({"$all": [{"$all": None}]}, "query.$all[0].$all"),
    ({"$all": [{"$all": [{"$condition": 1}]}]}, "query.$all[0].$all[0].$condition"),
]
BAD_CONDITIONS: list[tuple[dict[str, Any], str]] = [
    (condition("shoe_size", "ext"), ".attr"),
    (condition("city", "ext"), ".attr"),
    (condition("mail", "equals", value="x"), ".ope"),
    (condition("mail", "eql"), ""),
    (condition("mail", "eql", value=None), ""),
    (condition("mail", "eql", value=1), ".value"),
    (condition("mail", "eql", value=["x"]), ".value"),
    (condition("mail", "any_of", value=[1]), ".value"),
    (condition("mail", "any_of", value=[]), ".value"),
    (condition("mail", "ext", values="x"), ".values"),
    (condition("mail", "ext", form_id=1), ".form_id"),
    (condition("surname", "range", start="a"), ""),
    (condition("UpdatedAt", "gte", value="yesterday"), ".value"),
    (condition("birthdate", "eql", value="1980"), ".value"),
    (condition("id", "eql", value="one"), ".value"),
    (condition("form", "ext", form_ref_ids=[]), ".form_id"),
    (condition("form", "ext", form_id="1", form_ref_ids=[]), ".form_id"),
    (condition("form", "ext", form_id=1), ".form_ref_ids"),
    (condition("custom_fields", "any_of", form_id=1, form_ref_ids=["1"]), ".form_ref_ids"),
    (condition("custom_fields", "gte", form_id=1, form_ref_ids=[]), ""),
]
BAD_PAGINGS: list[tuple[dict[str, Any], str]] = [
    ({"per_page": 0}, "per_page"),
    ({"per_page": 1001}, "per_page"),
    ({"per_page": "10"}, "per_page"),
    ({"per_page": True}, "per_page"),
    ({"page": -1}, "page"),
    ({"page": 1.0}, "page"),
    ({"sort_attr": "UpdatedAt"}, "sort_attr"),
    ({"sort_attr": "id"}, "sort_attr"),
    ({"sort_asc": 1}, "sort_asc"),
    ({"include_interactions": "yes"}, "include_interactions"),
    ({"limit": 10}, "limit"),
]
AT = "body.data.advanced_search."


@pytest.mark.parametrize(
    ("query", "paging", "location"),
    [(query, {}, where) for query, where in BAD_QUERIES]
    + [(every(asked), {}, f"query.$all[0].$all[0].$condition{where}") for asked, where in BAD_CONDITIONS]
    + [(ALL, paging, where) for paging, where in BAD_PAGINGS],
)
async def test_mistake_is_refused_where_it_is(query: object, paging: dict[str, Any], location: str) -> None:
    async with running() as client:
        reply = await search(client, query, **paging)
        assert (reply.status, reply.headers["content-type"]) == (422, "application/problem+json")
        assert [error["location"] for error in reply.content["errors"]] == [AT + location]


@pytest.mark.parametrize(
    ("body", "location"),
    [
        ([], "body"),
        ({}, "body"),
        ({"data": []}, "body.data"),
        ({"data": {}}, "body.data"),
        ({"data": {"advanced_search": None}}, "body.data.advanced_search"),
        ({"data": {"advanced_search": {"query": ALL}}}, "body.data.advanced_search"),
        ({"data": {"advanced_search": {"per_page": 1}}}, "body.data.advanced_search"),
        ({"kind": "x", "data": {"advanced_search": {"query": ALL, "per_page": 1}}}, "body.kind"),
    ],
)
async def test_envelope_must_be_whole(body: object, location: str) -> None:
    async with running() as client:
        reply = await client.send("POST", "/search", body)
        assert reply.status == 422
        assert [error["location"] for error in reply.content["errors"]] == [location]


async def test_all_mistakes_are_named_at_once() -> None:
    async with running() as client:
        asked = every(condition("shoe_size", "ext"), condition("mail", "eql"))
        reply = await search(client, asked, per_page=0)
        assert len(reply.content["errors"]) == 3


async def test_body_that_is_not_json_is_400() -> None:
    async with running() as client:
        for path in ("/search", "/kpi"):
            assert (await client.raw(client.request("POST", path, b"{"))).status == 400


async def test_kpi_needs_no_page_and_minds_none() -> None:
    async with populated() as client:
        assert (await kpi(client, ALL)).content["data"] == {"total": 6}
        body = {"data": {"advanced_search": {"query": ALL, "per_page": 1}}}
        assert (await client.send("POST", "/kpi", body)).content["data"] == {"total": 6}
        assert (await kpi(client, {"$all": [MAIL]})).status == 422


async def test_number_of_conditions_is_bounded() -> None:
    async with running(unknowns=Unknowns(search_conditions=3), search_lag=0.0) as client:
        assert (await search(client, {"$all": [{"$all": [LYON] * 2}, {"$all": [LYON]}]})).status == 200
        reply = await search(client, {"$all": [{"$all": [LYON] * 2}, {"$all": [LYON] * 2}]})
        assert (reply.status, reply.content["errors"][0]["value"]) == (422, 4)


async def test_a_thousand_conditions_are_no_burden() -> None:
    async with populated() as client:
        mails = [condition("mail", "eql:strictdata", value=f"p{number}@example.org") for number in range(999)]
        assert await found(client, {"$all": [{"$at_least_one": [MAIL, *mails]}]}) == [IDS["bob"]]
        assert await found(client, {"$at_least_one": [{"$all": [each]} for each in (*mails, MAIL)]}) == [2]


# Pages


async def test_page_that_is_empty_has_null_for_contacts() -> None:
    async with populated() as client:
        reply = await search(client, ALL, per_page=6, page=1)
        assert reply.content == {"status": "success", "data": {"contacts": None}}


async def test_pages_follow_each_other_without_a_total() -> None:
    async with populated() as client:
        assert [await found(client, ALL, per_page=4, page=page) for page in range(3)] == [
            [1, 2, 3, 4],
            [5, 6],
            [],
        ]
        members = every(condition("tags", "ext"))
        assert [await found(client, members, per_page=2, page=page) for page in range(2)] == [[1, 2], [3]]
        assert "total" not in (await search(client, ALL)).content["data"]


async def test_page_beyond_the_depth_is_refused() -> None:
    async with populated(unknowns=Unknowns(search_depth=6)) as client:
        assert (await search(client, ALL, per_page=3, page=1)).status == 200
        reply = await search(client, ALL, per_page=3, page=2)
        assert reply.status == 422
        assert [error["location"] for error in reply.content["errors"]] == [AT + "page"]
        assert (await search(client, ALL, per_page=7)).status == 422


async def test_contact_edited_between_pages_hides_another() -> None:
    async with populated() as client:
        first = await found(client, ALL, per_page=3, page=0)
        await client.accepted({"id": 1, "phone": "1"})
        second = await found(client, ALL, per_page=3, page=1)
        assert (first, second) == ([1, 2, 3], [5, 6, 1])  # 4 was never shown, 1 twice


@pytest.mark.parametrize(("order", "ids"), [("id", [1, 2, 3, 4, 5, 6]), ("newest", [1, 6, 5, 4, 3, 2])])
async def test_usual_order_is_an_option(order: str, ids: list[int]) -> None:
    async with populated(unknowns=Unknowns(search_order=order)) as client:
        await client.accepted({"id": 1, "phone": "1"})
        assert await found(client, ALL) == ids


SORTED = {
    "surname": "cy dee bob ada zoé eve",
    "firstname": "ada bob cy dee eve zoé",
    "birthdate": "ada bob cy dee eve zoé",
    "mail": "ada cy bob dee zoé eve",
    "married_name": "dee ada bob cy eve zoé",
    "city": "ada zoé dee bob cy eve",
    "lastchange": "ada bob cy dee eve zoé",
    "gender": "ada bob cy dee eve zoé",
}


@pytest.mark.parametrize("key", SORT_KEYS)
async def test_sort_key_orders_with_blanks_at_the_end(key: str) -> None:
    async with populated() as client:
        ids = [IDS[name] for name in SORTED[key].split()]
        assert await found(client, ALL, sort_attr=key, sort_asc=True) == ids
        assert await found(client, ALL, sort_attr=key, sort_asc=True, per_page=2, page=1) == ids[2:4]


async def test_sort_is_descending_unless_told_otherwise() -> None:
    async with populated() as client:
        assert await found(client, ALL, sort_attr="firstname") == [6, 5, 4, 3, 2, 1]
        assert await found(client, ALL, sort_attr="lastchange") == [6, 5, 4, 3, 2, 1]
        assert await found(client, ALL, sort_attr="married_name", sort_asc=False) == [4, 1, 2, 3, 5, 6]


async def test_interactions_come_when_asked_for() -> None:
    async with populated() as client:
        (row,) = (await search(client, ALL, per_page=1)).content["data"]["contacts"]
        assert "interactions" not in row
        (row,) = (await search(client, ALL, per_page=1, include_interactions=True)).content["data"][
            "contacts"
        ]
        assert row["interactions"] is None


async def test_search_and_kpi_cost_one_token() -> None:
    async with running(burst=10) as client:
        assert (await search(client, ALL, per_page=1000)).headers["x-ratelimit-cost"] == "1"
        assert (await kpi(client, ALL)).headers["x-ratelimit-cost"] == "1"
        assert (await client.stats())["outcomes"] == {"read": 2}


# The lag


async def test_search_lags_behind_what_a_read_shows() -> None:
    async with running(search_lag=60.0) as client:
        await client.accepted(PEOPLE["ada"])
        assert (await client.send("GET", "/contacts/1")).status == 200
        assert await found(client, ALL) == []
        assert (await kpi(client, ALL)).content["data"] == {"total": 0}


async def test_people_from_the_start_are_found_at_once() -> None:
    async with running(search_lag=60.0, contacts=10) as client:
        assert len(await found(client, ALL)) == 10


async def test_search_finds_a_change_when_its_lag_is_over() -> None:
    async with running(search_lag=0.05) as client:
        await client.accepted(PEOPLE["ada"])
        async with asyncio.timeout(5):
            while await found(client, ALL) != [1]:
                pass


def understood(query: object, *, now: float = 0.0, **paging: Any) -> Search:
    reader = Reader(Surroundings(now, lambda _: True, str), 10)
    search = reader.read({"data": {"advanced_search": {"query": query} | paging}}, ())
    assert search, reader.complaints
    return search


class Clocked:
    """A space with a lag of 10 seconds whose moments the test names."""

    def __init__(self) -> None:
        self.space = Space(SandboxOptions(search_lag=10.0), 1001, 0, lambda: None)
        Index(self.space, 0.0).open()

    def names(self, now: float) -> list[str]:
        read = understood(ALL, now=now, per_page=9)
        index = Index(self.space, now)
        assert index.count(read.query) == len(index.page(read))
        return [stored.fields["surname"] for stored in index.page(read)]


def test_copy_shows_a_change_exactly_one_lag_later() -> None:
    clocked = Clocked()
    book = clocked.space.book
    number = book.create({"surname": "old"}, 100.0)
    assert (clocked.names(109.9), clocked.names(110.0)) == ([], ["old"])
    book.update(number, {"surname": "new"}, 111.0)
    assert (clocked.names(120.9), clocked.names(121.0)) == (["old"], ["new"])


def test_contact_changed_again_stays_as_it_was_until_its_last_change_is_old() -> None:
    clocked = Clocked()
    book = clocked.space.book
    number = book.create({"surname": "first"}, 100.0)
    assert clocked.names(110.0) == ["first"]
    book.update(number, {"surname": "second"}, 115.0)
    book.update(number, {"surname": "third"}, 120.0)
    assert (clocked.names(129.0), clocked.names(130.0)) == (["first"], ["third"])


def test_copy_is_never_set_back_by_a_clock_that_is() -> None:
    clocked = Clocked()
    clocked.space.book.create({"surname": "old"}, 100.0)
    assert clocked.names(110.0) == ["old"]
    clocked.space.book.create({"surname": "new"}, 105.0)
    assert (clocked.names(50.0), clocked.names(115.0)) == (["old"], ["old", "new"])


def test_contacts_before_the_page_are_not_unpacked_when_sql_decides() -> None:
    space = Space(SandboxOptions(search_lag=0.0, contacts=3), 1001, 0, lambda: None)
    first = Index(space, 0.0).page(understood(ALL, per_page=1))[0].id
    space.book.db.execute("UPDATE contacts SET fields = x'00' WHERE id = ?", (first,))
    index = Index(space, 0.0)
    assert len(index.page(understood(ALL, per_page=2, page=1))) == 1
    assert index.count(understood(every(condition("UpdatedAt", "lte", value="2999-01-01"))).query) == 3
    space.close()


async def test_deleted_contact_is_found_for_a_while() -> None:
    async with running(search_lag=60.0, contacts=3) as client:
        assert (await client.send("DELETE", "/contacts/2")).status == 200
        assert (await client.send("GET", "/contacts/2")).status == 404
        assert sorted(await found(client, ALL)) == [1, 2, 3]
    async with running(search_lag=0.05, contacts=3) as client:
        assert (await client.send("DELETE", "/contacts/2")).status == 200
        async with asyncio.timeout(5):
            while sorted(await found(client, ALL)) != [1, 3]:
                pass


async def test_reset_empties_the_copy_at_once() -> None:
    async with running(search_lag=60.0, contacts=3) as client:
        await client.send("POST", "/_sandbox/reset")
        assert await found(client, ALL) == []


# SQL and the contacts agree

TEXT = st.sampled_from(
    ["Test", "test", "TESTVILLE", "straße", "STRASSE", "Ada", "ada@example.org", "é", "o", " "]
)
ATTRS = st.sampled_from(["surname", "firstname", "mail", "nationality", "address.city", "tags"])
TEXT_OPES = st.sampled_from(
    [
        "eql",
        "not_eql",
        "eql:strictdata",
        "not_eql:strictdata",
        "contains",
        "not_contains",
        "start_with",
        "any_of",
    ]
)
LEAVES = st.one_of(
    st.builds(lambda attr, ope, value: condition(attr, ope, value=value), ATTRS, TEXT_OPES, TEXT),
    st.builds(
        lambda attr, ope, value: condition(attr, ope, value=value),
        st.sampled_from(["UpdatedAt", "CreatedAt"]),
        st.sampled_from(["gte", "lte", "eql", "not_eql", "none_of"]),
        st.sampled_from(["1970-01-01T00:01:40Z", "1970-01-01T00:01:42.5Z", "1970-01-01", "now"]),
    ),
    st.builds(
        lambda ope, ids: condition("id", ope, value=ids),
        st.sampled_from(["any_of", "none_of", "all_of"]),
        st.lists(st.sampled_from(["1", "2", "5"]), min_size=1, max_size=3),
    ),
)
LEVELS = st.sampled_from(["$all", "$at_least_one"])
GROUPS = st.builds(lambda word, leaves: {word: leaves}, LEVELS, st.lists(LEAVES, max_size=3))
QUERIES = st.builds(lambda word, groups: {word: groups}, LEVELS, st.lists(GROUPS, max_size=3))
NAMES = st.sampled_from(["", "Test", "test ", "Testville", "Straße", "STRASSE", "O'Test", "Ada", "É"])


@settings(max_examples=300, deadline=None)
@given(
    matching=st.sampled_from(sorted(FOLDS)),
    people=st.lists(
        st.tuples(NAMES, NAMES, st.sampled_from(["", "ada@example.org", "ADA@example.org"])), max_size=6
    ),
    query=QUERIES,
)
def test_what_sql_leaves_out_would_not_have_matched(
    matching: str, people: list[tuple[str, str, str]], query: dict[str, Any]
) -> None:
    options = SandboxOptions(search_lag=0.0, unknowns=Unknowns(matching=matching))
    space = Space(options, 1001, 0, lambda: None)
    for number, (firstname, surname, mail) in enumerate(people):
        sent = {"firstname": firstname, "surname": surname, "nationality": surname, "mail": mail}
        given_sent = {name: text for name, text in sent.items() if text}
        space.book.create(merge({}, given_sent, space.forms, options.unknowns, 0.0), 100.0 + number)
    around = Surroundings(103.0, lambda _: True, space.book.fold)
    body = {"data": {"advanced_search": {"query": query, "per_page": 100}}}
    read = Reader(around, 100).read(body, ())
    assert isinstance(read, Search)
    index = Index(space, 103.0)
    everyone = [space.book.stored(number) for number in range(1, len(people) + 1)]
    expected = [stored.id for stored in everyone if stored and read.query.matches(stored)]
    assert [stored.id for stored in index.page(read)] == expected
    assert index.count(read.query) == len(expected)
    space.close()
