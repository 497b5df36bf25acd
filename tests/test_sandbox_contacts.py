"""One contact at a time, at once: read, create, replace, delete; and the forms whose answers they have."""

import re
from pathlib import Path
from typing import Any

import pytest
from test_sandbox_client import Client, Reply, running

from syncengine.sandbox.form import TYPES, Form
from syncengine.sandbox.forms import Forms
from syncengine.sandbox.unknowns import Unknowns

FORMS: dict[str, Form] = {form.label: form for form in Forms.sample()}
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
ADA: dict[str, Any] = {
    "firstname": "Ada",
    "surname": "Roux",
    "married_name": "Weber",
    "mail": "ada@example.org",
    "phone": "0100000001",
    "mobile": "0600000001",
    "birthdate": "1980-05-02T00:00:00Z",
    "birth_city": "Lyon",
    "birth_country": "France",
    "birth_dept": "69",
    "nationality": "French",
    "age_category": 3,
    "black_list": True,
    "phone_invalid": True,
    "user_contact_id": 7,
    "action_ids": [11, 12],
    "address": {"housenumber": "5", "street": "rue Verte", "postalcode": "69003", "city": "Lyon"},
    "tags": [{"name": "member"}],
    "notes": [{"data": "met at the market"}],
}


def answer(label: str, value: str, *, data: str | None = None) -> dict[str, Any]:
    """Return an answer as a synchronous write spells it; a free form takes `value` as its text."""
    form = FORMS[label]
    option = next((each for each in form.options if each.value == value), form.options[0])
    return {"form_id": form.id, "form_ref_id": option.id, "data": value if data is None else data}


def living(contact: dict[str, Any]) -> list[tuple[int, str]]:
    """Return form and data of the answers that are not deleted."""
    answers = (contact["custom_fields"] or []) + (contact["formdatas"] or [])
    return [(each["form_id"], each["data"]) for each in answers if each["deleted_at"] is None]


def said(*pairs: tuple[str, str]) -> list[tuple[int, str]]:
    return [(FORMS[label].id, data) for label, data in pairs]


async def create(client: Client, contact: object) -> Reply:
    return await client.send("POST", "/contacts", {"data": {"contact": contact}})


async def replace(client: Client, number: int, contact: object) -> Reply:
    return await client.send("PATCH", f"/contacts/{number}", {"data": {"contact": contact}})


async def read(client: Client, number: int) -> dict[str, Any]:
    reply = await client.send("GET", f"/contacts/{number}")
    assert reply.status == 200, reply.body
    return dict(reply.content["data"]["contact"])


async def created(client: Client, contact: object) -> dict[str, Any]:
    reply = await create(client, contact)
    assert reply.status == 200, reply.body
    return dict(reply.content["data"]["contact"])


async def replaced(client: Client, number: int, contact: object) -> dict[str, Any]:
    reply = await replace(client, number, contact)
    assert reply.status == 200, reply.body
    return dict(reply.content["data"]["contact"])


# Reading


async def test_contact_is_wrapped_and_spelled_as_reads_are() -> None:
    async with running() as client:
        await client.accepted(
            {
                "firstname": "Ada",
                "birthcity": "Lyon",
                "birthdate": "1980-05-02",
                "address": {"city": "Lyon", "latitude": "45.7", "longitude": "4.8"},
                "tags": [{"name": "member"}],
                "notes": [{"content": "met at the market", "pinned": True}],
                "custom_fields": [{"label": "Job", "value": "Nurse"}],
                "consents": [{"label": "Newsletter", "value": "By e-mail"}],
            }
        )
        reply = await client.send("GET", "/contacts/1")
        assert (reply.status, list(reply.content), list(reply.content["data"])) == (
            200,
            ["status", "data"],
            ["contact"],
        )
        contact = reply.content["data"]["contact"]
        assert (contact["id"], contact["group_id"], contact["firstname"]) == (1, 1001, "Ada")
        assert (contact["birth_city"], contact["birthdate"]) == ("Lyon", "1980-05-02T00:00:00Z")
        assert all(STAMP.fullmatch(contact[name]) for name in ("CreatedAt", "UpdatedAt", "lastchange"))
        assert contact["address"]["location"] == "45.7,4.8"
        assert {"id", "score", "invalid", "latitude", "postalcode"} <= contact["address"].keys()
        assert [set(tag) for tag in contact["tags"]] == [{"name", "color", "appearance_count"}]
        assert [(note["data"], note["pinned"]) for note in contact["notes"]] == [("met at the market", True)]
        assert [entry["data"] for entry in contact["custom_fields"]] == ["Nurse"]
        assert [entry["data"] for entry in contact["formdatas"]] == ["consent_email"]
        assert set(contact["formdatas"][0]) == {
            "id", "form_id", "form_ref_id", "data", "date", "created_at", "updated_at", "deleted_at",
        }  # fmt: skip


async def test_what_a_contact_lacks_is_an_empty_text_or_null() -> None:
    async with running() as client:
        contact = await created(client, {})
        assert (contact["surname"], contact["gender"]) == ("", "")
        lists = ("tags", "notes", "custom_fields", "formdatas", "action_ids", "address", "birthdate")
        assert {name: contact[name] for name in lists} == dict.fromkeys(lists)


async def test_search_shows_the_same_contact() -> None:
    async with running(search_lag=0.0) as client:
        contact = await created(client, ADA | {"custom_fields": [answer("Job", "Nurse")]})
        body = {"data": {"advanced_search": {"query": {"$all": []}, "per_page": 1}}}
        (row,) = (await client.send("POST", "/search", body)).content["data"]["contacts"]
        assert row == contact == await read(client, 1)


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_missing_contact_is_404(method: str) -> None:
    async with running() as client:
        body: object = {"data": {"contact": {}}} if method == "PATCH" else None
        reply = await client.send(method, "/contacts/12", body)
        assert (reply.status, reply.headers["content-type"]) == (404, "application/problem+json")
        assert (await client.stats())["outcomes"] == {"missing": 1}


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
@pytest.mark.parametrize("number", ["abc", "-1", "1.0", "9" * 19, "0" * 20 + "9" * 19, "9" * 5000, "%C2%B2"])
async def test_id_must_be_a_number(method: str, number: str) -> None:
    async with running() as client:
        reply = await client.send(method, f"/contacts/{number}", {"data": {"contact": {}}})
        assert (reply.status, reply.content["errors"][0]["location"]) == (422, "path.contactId")


# Creating


async def test_created_contact_is_answered_with_its_id_and_read_again() -> None:
    async with running() as client:
        sent = ADA | {
            "custom_fields": [answer("Job", "Nurse"), answer("Languages", "fr"), answer("Languages", "en")],
            "formdatas": [answer("Newsletter", "refus")],
        }
        contact = await created(client, sent)
        assert contact["id"] == 1
        for name in set(ADA) - {"address", "tags", "notes"}:
            assert contact[name] == ADA[name], name
        assert contact["address"] | ADA["address"] == contact["address"]
        assert [tag["name"] for tag in contact["tags"]] == ["member"]
        assert [note["data"] for note in contact["notes"]] == ["met at the market"]
        assert living(contact) == said(
            ("Job", "Nurse"), ("Languages", "fr"), ("Languages", "en"), ("Newsletter", "refus")
        )
        assert await read(client, 1) == contact
        entry = (await client.history())[0]
        assert (entry["endpoint"], entry["outcome"], entry["contact_id"]) == ("create", "created", 1)


async def test_create_matches_nobody() -> None:
    async with running() as client:
        assert [(await created(client, ADA))["id"] for _ in range(3)] == [1, 2, 3]


async def test_created_contact_is_matched_by_later_upserts() -> None:
    async with running() as client:
        await created(client, ADA)
        await client.accepted({"mail": "ADA@example.org", "surname": "Roux", "birthcity": "Paris"})
        assert (await read(client, 1))["birth_city"] == "Paris"


async def test_choice_is_stored_by_its_value_and_null_is_as_left_out() -> None:
    async with running() as client:
        sent = [answer("Size", "M", data="whatever"), answer("Job", "Nurse") | {"survey_id": None}]
        contact = await created(client, {"surname": "Roux", "mail": None, "custom_fields": sent})
        assert living(contact) == said(("Size", "M"), ("Job", "Nurse"))
        assert contact["mail"] == ""


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"birthcity": "Lyon"}, "birthcity"),
    ({"gender": "F"}, "gender"),
    ({"external_id": "1"}, "external_id"),
    ({"id": 1}, "id"),
    ({"UpdatedAt": "2026-01-01T00:00:00Z"}, "UpdatedAt"),
    ({"group_id": 1}, "group_id"),
    ({"consents": []}, "consents"),
    ({"firstname": 1}, "firstname"),
    ({"birth_city": 1}, "birth_city"),
    ({"mail": "nobody"}, "mail"),
    ({"black_list": "true"}, "black_list"),
    ({"phone_invalid": 1}, "phone_invalid"),
    ({"user_contact_id": -1}, "user_contact_id"),
    ({"action_ids": 1}, "action_ids"),
    ({"action_ids": [1, "2"]}, "action_ids[1]"),
    ({"birthdate": "1980-05-02"}, "birthdate"),
    ({"birthdate": "1980-13-02T00:00:00Z"}, "birthdate"),
    ({"birthdate": "1980-05-02T00:00:00"}, "birthdate"),
    ({"birthdate": 1980}, "birthdate"),
    ({"address": "Lyon"}, "address"),
    ({"address": {"postalcode": 69003}}, "address.postalcode"),
    ({"address": {"latitude": "45"}}, "address.latitude"),
    ({"address": {"citycode": "69383"}}, "address.citycode"),
    ({"address": {"id": 1}}, "address.id"),
    ({"tags": "member"}, "tags"),
    ({"tags": ["member"]}, "tags[0]"),
    ({"tags": [{"color": "red"}]}, "tags[0]"),
    ({"notes": [{"data": "x", "content": "x"}]}, "notes[0].content"),
    ({"custom_fields": {}}, "custom_fields"),
    ({"custom_fields": [{"data": "x"}]}, "custom_fields[0]"),
    ({"custom_fields": [{"form_id": "1", "data": "x"}]}, "custom_fields[0].form_id"),
    ({"custom_fields": [answer("Job", "x") | {"value": "x"}]}, "custom_fields[0].value"),
    ({"custom_fields": [answer("Job", "x") | {"data": 5}]}, "custom_fields[0].data"),
    ({"custom_fields": [answer("Job", "x") | {"date": "2026-01-01"}]}, "custom_fields[0].date"),
    ({"notes": [{"data": "x", "only_super_admin": "yes"}]}, "notes[0].only_super_admin"),
    ({"notes": [{"data": "x", "user": "Zoe"}]}, "notes[0].user"),
    ({"custom_fields": [{"form_id": 99, "form_ref_id": 1, "data": "x"}]}, "custom_fields[0]"),
    ({"custom_fields": [answer("Job", "x"), answer("Size", "S") | {"form_ref_id": 1}]}, "custom_fields[1]"),
    ({"custom_fields": [answer("Shares", "many")]}, "custom_fields[0]"),
    ({"custom_fields": [answer("Newsletter", "refus")]}, "custom_fields[0]"),
]


@pytest.mark.parametrize(("contact", "place"), WRONG)
async def test_wrong_member_is_refused_where_it_is(contact: dict[str, Any], place: str) -> None:
    async with running() as client:
        await created(client, ADA)
        for reply in (await create(client, contact), await replace(client, 1, contact)):
            assert (reply.status, reply.headers["content-type"]) == (422, "application/problem+json")
            locations = [error["location"] for error in reply.content["errors"]]
            assert locations == [f"body.data.contact.{place}"]
        (only,) = await client.contacts()
        assert only["surname"] == "Roux"


@pytest.mark.parametrize(
    ("body", "location"),
    [
        ([], "body"),
        ({"data": {"surname": "Roux"}}, "body.data"),
        ({"kind": "contact", "data": {"contact": {}}}, "body"),
        ({"data": {"contact": []}}, "body.data.contact"),
        ({"data": []}, "body.data"),
    ],
)
async def test_contact_lies_one_deeper_than_in_the_upsert(body: object, location: str) -> None:
    async with running() as client:
        reply = await client.send("POST", "/contacts", body)
        assert (reply.status, reply.content["errors"][0]["location"]) == (422, location)


async def test_body_that_is_not_json_is_400() -> None:
    async with running() as client:
        assert (await client.raw(client.request("POST", "/contacts", b"{"))).status == 400


async def test_custom_field_may_come_among_the_formdatas() -> None:
    async with running() as client:
        contact = await created(client, {"formdatas": [answer("Job", "Nurse")]})
        assert [entry["data"] for entry in contact["custom_fields"]] == ["Nurse"]


@pytest.mark.parametrize(("unlisted", "gender"), [("store", "F"), ("ignore", "")])
async def test_gender_is_as_the_unknown_says(unlisted: str, gender: str) -> None:
    async with running(unknowns=Unknowns(unlisted=unlisted)) as client:
        assert (await created(client, {"gender": "F"}))["gender"] == gender
        assert (await create(client, {"gender": 1})).status == 422


async def test_phones_and_addresses_are_rewritten_as_the_unknowns_say() -> None:
    async with running(unknowns=Unknowns(phones="e164", geocoding="on")) as client:
        contact = await created(client, {"phone": "01 00 00 00 01", "address": {"city": "lyon"}})
        assert (contact["phone"], contact["address"]["city"]) == ("+33100000001", "Lyon")
        assert contact["address"]["score"] > 0


# Replacing


async def test_replace_clears_what_is_not_sent() -> None:
    async with running() as client:
        await created(client, ADA)
        contact = await replaced(client, 1, {"surname": "Weber", "address": {"city": "Paris"}})
        for name in set(ADA) - {"surname", "address"}:
            assert not contact[name], name
        assert (contact["id"], contact["surname"]) == (1, "Weber")
        assert (contact["address"]["city"], contact["address"]["street"]) == ("Paris", "")
        assert await read(client, 1) == contact


async def test_writes_at_once_move_updated_but_not_lastchange() -> None:
    async with running() as client:
        before = await created(client, ADA)
        after = await replaced(client, 1, ADA)
        assert before["CreatedAt"] == after["CreatedAt"] == after["lastchange"]
        assert after["UpdatedAt"] > before["UpdatedAt"]


async def test_replace_keeps_the_tags_it_is_sent() -> None:
    async with running() as client:
        contact = await created(client, {"tags": [{"name": "member"}, {"name": "donor"}]})
        contact = await replaced(client, 1, {"tags": [contact["tags"][1], {"name": "press"}]})
        assert [tag["name"] for tag in contact["tags"]] == ["donor", "press"]


async def test_replace_keeps_only_the_notes_it_is_sent() -> None:
    async with running() as client:
        await created(client, {"notes": [{"data": "old"}, {"data": "older"}]})
        contact = await replaced(client, 1, {"notes": [{"data": "new", "pinned": True}]})
        assert [(note["data"], note["pinned"]) for note in contact["notes"]] == [("new", True)]


async def test_replace_deletes_all_answers_and_makes_new_ones() -> None:
    async with running() as client:
        before = await created(client, {"custom_fields": [answer("Size", "S"), answer("Job", "Nurse")]})
        after = await replaced(client, 1, {"custom_fields": [answer("Size", "S")]})
        assert living(after) == said(("Size", "S"))
        old = {entry["id"] for entry in before["custom_fields"]}
        assert {entry["id"] for entry in after["custom_fields"] if entry["deleted_at"]} == old
        (new,) = [entry for entry in after["custom_fields"] if not entry["deleted_at"]]
        assert new["id"] not in old


async def test_replace_sets_a_radio_and_adds_to_a_checkbox_and_a_text() -> None:
    async with running() as client:
        first = [answer("Size", "S"), answer("Languages", "fr"), answer("Job", "Nurse")]
        await created(client, {"custom_fields": first})
        second = [answer("Size", "M"), answer("Languages", "en"), answer("Job", "Baker")]
        contact = await replaced(client, 1, {"custom_fields": second})
        assert sorted(living(contact)) == sorted(
            said(("Size", "M"), ("Languages", "fr"), ("Languages", "en"), ("Job", "Nurse"), ("Job", "Baker"))
        )


async def test_answers_read_and_sent_back_stay_as_they_are() -> None:
    async with running() as client:
        before = await created(client, {"custom_fields": [answer("Size", "S"), answer("Job", "Nurse")]})
        after = await replaced(client, 1, {"custom_fields": before["custom_fields"]})
        assert sorted(living(after)) == sorted(living(before))


async def test_deleted_answer_that_is_sent_back_lives_again() -> None:
    async with running() as client:
        await created(client, {"custom_fields": [answer("Job", "Nurse")]})
        gone = await replaced(client, 1, {})
        assert living(gone) == []
        assert living(await replaced(client, 1, {"custom_fields": gone["custom_fields"]})) == said(
            ("Job", "Nurse")
        )


@pytest.mark.parametrize(
    ("replaced_as", "left"),
    [
        ("add", [("Job", "Baker"), ("Job", "Nurse"), ("Size", "M")]),
        ("replace", [("Job", "Baker"), ("Size", "M")]),
    ],
)
async def test_what_is_sent_of_a_form_is_added_or_all_that_is_left(
    replaced_as: str, left: list[tuple[str, str]]
) -> None:
    async with running(unknowns=Unknowns(replaced=replaced_as)) as client:
        await created(client, {"custom_fields": [answer("Size", "S"), answer("Job", "Nurse")]})
        sent = [answer("Size", "M"), answer("Job", "Baker")]
        contact = await replaced(client, 1, {"custom_fields": sent})
        assert sorted(living(contact)) == sorted(said(*left))


@pytest.mark.parametrize("kept", [False, True], ids=["ignored", "kept"])
async def test_date_sent_with_an_answer_is_ignored_or_kept(*, kept: bool) -> None:
    async with running(unknowns=Unknowns(dates="kept" if kept else "ignored")) as client:
        date = "2024-07-17T11:34:42.195Z"
        sent = {"custom_fields": [answer("Job", "Nurse") | {"date": date}, answer("Size", "S")]}
        for contact in (await created(client, sent), await replaced(client, 1, sent)):
            found = {each["data"]: each for each in contact["custom_fields"] if not each["deleted_at"]}
            assert (found["Nurse"]["date"] == date) == kept
            for each in found.values():
                assert each["created_at"] == contact["UpdatedAt"]
            assert found["S"]["date"] == contact["UpdatedAt"]


async def test_answer_sent_back_without_its_date_is_given_now() -> None:
    async with running() as client:
        before = await created(client, {"custom_fields": [answer("Job", "Nurse")]})
        after = await replaced(client, 1, {"custom_fields": [answer("Job", "Nurse")]})
        (new,) = [each for each in after["custom_fields"] if not each["deleted_at"]]
        assert new["date"] == after["UpdatedAt"] > before["UpdatedAt"]


@pytest.mark.parametrize("unwritten", ["clear", "keep"])
async def test_what_no_synchronous_write_can_say_is_cleared_by_a_replace_or_kept(unwritten: str) -> None:
    async with running(unknowns=Unknowns(unwritten=unwritten, unlisted="store")) as client:
        place = {"city": "Lyon", "citycode": "69383", "latitude": "45.7", "longitude": "4.8"}
        names = {"gender": "F", "external_id": "x7", "nationbuilderid": 4711}
        await client.accepted({"surname": "Roux", "address": place, **names})
        contact = await replaced(client, 1, {"surname": "Weber", "address": {"city": "Lyon"}, "gender": "M"})
        (stored,) = await client.contacts()
        assert (contact["surname"], contact["gender"]) == ("Weber", "M")
        if unwritten == "keep":
            assert stored["address"] == place
            assert (stored["external_id"], stored["nationbuilderid"]) == ("x7", 4711)
        else:
            assert stored["address"] == {"city": "Lyon"}
            assert not {"external_id", "nationbuilderid"} & stored.keys()
        assert (await replaced(client, 1, {"surname": "Weber"}))["address"] is None


@pytest.mark.parametrize("note_ids", ["new", "kept"])
async def test_note_sent_back_is_made_anew_or_kept(note_ids: str) -> None:
    async with running(unknowns=Unknowns(note_ids=note_ids)) as client:
        sent = [{"data": "met"}, {"data": "in confidence", "only_super_admin": True}]
        (first, second) = (await created(client, {"notes": sent}))["notes"]
        changed = second | {"data": "in full confidence", "contact_id": 1, "user": {"firstname": "Zoe"}}
        after = (await replaced(client, 1, {"notes": [changed, {"data": "new"}]}))["notes"]
        assert [(note["data"], note["only_super_admin"]) for note in after] == [
            ("in full confidence", True),
            ("new", False),
        ]
        assert (after[0]["id"] == second["id"]) == (note_ids == "kept")
        assert (after[0]["created_at"] == second["created_at"]) == (note_ids == "kept")
        assert not {note["id"] for note in after[1:]} & {first["id"], second["id"]}


async def test_note_for_super_admins_sent_back_without_saying_so_is_for_all() -> None:
    async with running() as client:
        await created(client, {"notes": [{"data": "in confidence", "only_super_admin": True}]})
        (note,) = (await replaced(client, 1, {"notes": [{"data": "in confidence"}]}))["notes"]
        assert note["only_super_admin"] is False


@pytest.mark.parametrize(("lastchange", "moves"), [("stays", False), ("moves", True)])
async def test_replace_moves_lastchange_or_not(lastchange: str, *, moves: bool) -> None:
    async with running(unknowns=Unknowns(lastchange=lastchange)) as client:
        before = await created(client, ADA)
        after = await replaced(client, 1, ADA)
        assert (after["lastchange"] > before["lastchange"]) == moves


async def test_contact_cannot_be_sent_back_as_it_was_read() -> None:
    async with running() as client:
        contact = await created(client, ADA)
        refused = (await replace(client, 1, contact)).content["errors"]
        assert {each["location"].removeprefix("body.data.contact.") for each in refused} == {
            "id", "group_id", "CreatedAt", "UpdatedAt", "lastchange", "gender", "external_id", "address.id",
            "address.citycode", "address.latitude", "address.longitude", "address.location",
            "address.score", "address.invalid",
        }  # fmt: skip


async def test_replace_of_what_was_read_before_undoes_what_staff_did_since() -> None:
    async with running() as client:
        await created(client, ADA)
        await client.send("POST", "/_sandbox/staff", {"act": "edit", "id": 1, "set": {"phone": "7"}})
        assert (await replaced(client, 1, ADA))["phone"] == ADA["phone"]


# Deleting


@pytest.mark.parametrize(
    "act", [{"act": "delete", "id": 2}, {"act": "merge", "ids": [1, 2]}, None], ids=["staff", "merge", "API"]
)
async def test_id_that_is_gone_is_404_everywhere_and_drops_an_upsert(act: dict[str, Any] | None) -> None:
    async with running() as client:
        await created(client, ADA)
        await created(client, ADA | {"phone": "7"})
        if act:
            assert (await client.send("POST", "/_sandbox/staff", act)).status == 200
        else:
            assert (await client.send("DELETE", "/contacts/2")).status == 200
        for reply in (
            await client.send("GET", "/contacts/2"),
            await replace(client, 2, ADA),
            await client.send("DELETE", "/contacts/2"),
        ):
            assert (reply.status, reply.content["detail"]) == (404, "no contact has id 2")
        await client.accepted({"id": 2, "mail": ADA["mail"], "surname": ADA["surname"], "phone": "8"})
        assert (await client.history())[-1]["cause"] == "no contact has id 2"
        (left,) = await client.contacts()
        assert left["phone"] != "8"


async def test_deleted_contact_is_gone_and_its_id_is_not_given_again() -> None:
    async with running() as client:
        await created(client, ADA)
        reply = await client.send("DELETE", "/contacts/1")
        assert (reply.status, reply.content) == (200, {"status": "success"})
        assert (await client.send("GET", "/contacts/1")).status == 404
        assert (await client.send("DELETE", "/contacts/1")).status == 404
        assert (await created(client, ADA))["id"] == 2


# What it costs


async def test_writes_cost_five_tokens_and_the_rest_one() -> None:
    async with running(burst=100) as client:
        replies = [
            await create(client, ADA),
            await replace(client, 1, ADA),
            await client.send("GET", "/contacts/1"),
            await client.send("DELETE", "/contacts/1"),
            await create(client, {"birthdate": "no"}),
            await client.send("GET", "/contacts/1"),
            await client.send("GET", "/v1/forms/type/consent"),
            await client.send("GET", "/forms/1"),
        ]
        assert [reply.headers["x-ratelimit-cost"] for reply in replies] == [
            "5",
            "5",
            "1",
            "1",
            "5",
            "1",
            "1",
            "1",
        ]
        assert (await client.stats())["tokens_used"] == 20


async def test_costs_are_options() -> None:
    async with running(burst=100, costs={"delete": 3, "create": 1}) as client:
        assert (await create(client, ADA)).headers["x-ratelimit-cost"] == "1"
        assert (await client.send("DELETE", "/contacts/1")).headers["x-ratelimit-cost"] == "3"


async def test_write_that_finds_too_few_tokens_is_429_and_does_nothing() -> None:
    async with running(burst=4, rate=0.001) as client:
        assert (await create(client, ADA)).status == 429
        assert await client.contacts() == []
        assert (await client.send("GET", "/contacts/1")).status == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/contacts/1"), ("POST", "/contacts"), ("PATCH", "/contacts/1"), ("DELETE", "/contacts/1"),
        ("POST", "/search"), ("POST", "/kpi"), ("GET", "/v1/forms/type/consent"), ("GET", "/forms/1"),
    ],
)  # fmt: skip
async def test_every_route_needs_the_key(method: str, path: str) -> None:
    async with running() as client:
        assert (await client.send(method, path, {"data": {"contact": ADA}}, key="wrong")).status == 401
        assert await client.contacts() == []


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("PUT", "/contacts/1", "GET, PATCH, DELETE"), ("GET", "/contacts", "POST"), ("GET", "/search", "POST")],
)
async def test_other_methods_are_refused_with_those_allowed(method: str, path: str, allowed: str) -> None:
    async with running() as client:
        reply = await client.send(method, path)
        assert (reply.status, reply.headers["allow"]) == (405, allowed)


# Forms


@pytest.mark.parametrize("kind", TYPES)
async def test_forms_are_listed_by_type(kind: str) -> None:
    async with running() as client:
        reply = await client.send("GET", f"/v1/forms/type/{kind}")
        assert reply.status == 200
        assert "deprecation" not in reply.headers
        expected = [
            form.as_json() for form in FORMS.values() if form.type == kind and form.label != "Committee"
        ]
        forms = [form for form in reply.content["data"]["forms"] if form["label"] != "Committee"]
        assert forms == expected
        assert forms


async def test_old_list_says_that_it_is_deprecated() -> None:
    async with running() as client:
        old, new = [await client.send("GET", path) for path in ("/forms/consent", "/v1/forms/type/consent")]
        assert (old.status, old.headers["deprecation"]) == (200, "true")
        assert old.content == new.content


async def test_single_form_is_wrapped() -> None:
    async with running() as client:
        form = FORMS["Newsletter"]
        reply = await client.send("GET", f"/forms/{form.id}")
        assert (reply.status, reply.content) == (200, {"status": "success", "data": {"form": form.as_json()}})


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/forms/type/consents", 422),
        ("/v1/forms/type/1", 422),
        ("/forms/nothing", 422),
        ("/forms/9999", 404),
        ("/forms/" + "9" * 5000, 404),
        ("/v1/forms/type/", 404),
        ("/forms/", 404),
    ],
)
async def test_form_or_type_that_is_not_there_is_refused(path: str, status: int) -> None:
    async with running() as client:
        assert (await client.send("GET", path)).status == status


async def test_space_without_forms_of_a_type_has_null(tmp_path: Path) -> None:
    file = tmp_path / "forms.json"
    file.write_text('{"forms": []}')
    async with running(forms=file) as client:
        reply = await client.send("GET", "/v1/forms/type/tasks")
        assert (reply.status, reply.content["data"]) == (200, {"forms": None})
