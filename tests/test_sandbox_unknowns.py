"""Each open question about Qomon, answered in each way: what the sandbox then does, seen over the wire."""

import dataclasses
from typing import Any

import pytest
from test_sandbox_client import Client, running

from syncengine.sandbox.parts import e164
from syncengine.sandbox.unknowns import QUESTIONS, Unknowns

ADA = {"firstname": "Ada", "surname": "Roux", "mail": "ada@example.org"}
PARIS = {"street": "rue Verte", "postalcode": "75011", "city": "Paris"}
TAGS = {"tags": [{"name": "a"}, {"name": "b"}]}
NOTES = {"notes": [{"content": "x"}]}
NURSE = {"custom_fields": [{"label": "Job", "value": "Nurse"}]}
BAKER = {"custom_fields": [{"label": "Job", "value": "Baker"}]}
FRENCH = {"custom_fields": [{"label": "Languages", "value": "fr"}]}
LYON = {"address": {"city": "Lyon"}}
ENGLISH = {"custom_fields": [{"label": "Languages", "value": "en"}]}

Case = tuple[str, str, str, list[dict[str, Any]], object]
# Question, answer, a field, upserts of one contact, and what the field has become then.
FIELDS: list[Case] = [
    ("null", "ignore", "phone", [{"phone": "1"}, {"phone": None}], "1"),
    ("null", "clear", "phone", [{"phone": "1"}, {"phone": None}], None),
    ("null", "ignore", "address", [{"address": PARIS}, {"address": {"city": None}}], PARIS),
    ("null", "clear", "address", [{"address": {"city": "Paris", "door": "3"}}, {"address": {"door": None}}],
        {"city": "Paris"}),
    ("null", "ignore", "tags", [TAGS, {"tags": None}], TAGS["tags"]),
    ("null", "clear", "tags", [TAGS, {"tags": None}], None),
    ("null", "ignore", "answers", [NURSE, {"custom_fields": None}], ["Nurse"]),
    ("null", "clear", "answers", [NURSE, {"custom_fields": None}], ["Nurse deleted"]),
    ("empty", "store", "phone", [{"phone": "1"}, {"phone": ""}], ""),
    ("empty", "ignore", "phone", [{"phone": "1"}, {"phone": ""}], "1"),
    ("empty", "store", "address", [{"address": PARIS}, {"address": {"street": ""}}], PARIS | {"street": ""}),
    ("empty", "ignore", "address", [{"address": PARIS}, {"address": {"street": ""}}], PARIS),
    ("empty_list", "keep", "tags", [TAGS, {"tags": []}], TAGS["tags"]),
    ("empty_list", "clear", "tags", [TAGS, {"tags": []}], None),
    ("empty_list", "keep", "notes", [NOTES, {"notes": []}], ["x"]),
    ("empty_list", "clear", "notes", [NOTES, {"notes": []}], None),
    ("empty_list", "keep", "answers", [NURSE, {"custom_fields": []}], ["Nurse"]),
    ("empty_list", "clear", "answers", [NURSE, {"custom_fields": []}], ["Nurse deleted"]),
    ("empty_list", "clear", "answers", [NURSE, {"consents": []}], ["Nurse"]),
    ("tags", "add", "tags", [TAGS, {"tags": [{"name": "c"}, {"name": "a"}]}],
        [{"name": "a"}, {"name": "b"}, {"name": "c"}]),
    ("tags", "replace", "tags", [TAGS, {"tags": [{"name": "c"}, {"name": "c"}]}], [{"name": "c"}]),
    ("notes", "append", "notes", [NOTES, NOTES], ["x", "x"]),
    ("notes", "replace", "notes", [NOTES, {"notes": [{"content": "y"}]}], ["y"]),
    ("notes", "once", "notes", [NOTES, {"notes": [{"content": "y"}, {"content": "x"}]}], ["x", "y"]),
    ("texts", "replace", "answers", [NURSE, BAKER], ["Baker"]),
    ("texts", "add", "answers", [NURSE, BAKER], ["Nurse", "Baker"]),
    ("texts", "add", "answers", [NURSE, NURSE], ["Nurse"]),
    ("checkboxes", "add", "answers", [FRENCH, ENGLISH], ["fr", "en"]),
    ("checkboxes", "replace", "answers", [FRENCH, ENGLISH], ["fr deleted", "en"]),
    ("checkboxes", "replace", "answers", [FRENCH, NURSE], ["fr", "Nurse"]),
    ("address", "merge", "address", [{"address": PARIS}, LYON], PARIS | {"city": "Lyon"}),
    ("address", "replace", "address", [{"address": PARIS}, LYON], {"city": "Lyon"}),
    ("unlisted", "store", "gender", [{"gender": "F"}], "F"),
    ("unlisted", "ignore", "gender", [{"gender": "F"}], None),
    ("unlisted", "store", "external_id", [{"external_id": "7"}], "7"),
    ("unlisted", "ignore", "external_id", [{"external_id": ""}], None),
    ("birthdates", "any", "birthdate", [{"birthdate": "in spring"}], "in spring"),
    ("birthdates", "rfc3339", "birthdate", [{"birthdate": "1980-05-01T00:00:00Z"}], "1980-05-01T00:00:00Z"),
    ("phones", "kept", "mobile", [{"mobile": "06 11 22 33 44"}], "06 11 22 33 44"),
    ("phones", "e164", "mobile", [{"mobile": "06 11 22 33 44"}], "+33611223344"),
    ("geocoding", "off", "address", [{"address": {"city": "LYON"}}], {"city": "LYON"}),
    ("geocoding", "on", "address", [{"address": {"city": "LYON", "latitude": "1"}}],
        {"city": "Lyon", "latitude": "48.900", "longitude": "4.191"}),
]  # fmt: skip
# Question, answer, and fields that drop the contact, with the cause.
DROPS: list[tuple[str, str, dict[str, Any], str]] = [
    ("unlisted", "drop", {"gender": "F"}, "unknown field gender"),
    ("unlisted", "drop", {"external_id": None}, "unknown field external_id"),
    ("unlisted", "store", {"gender": 7}, "unknown field gender"),
    ("birthdates", "rfc3339", {"birthdate": "1980-05-01"}, "the birthdate is no date-time of RFC 3339"),
    (
        "birthdates",
        "rfc3339",
        {"birthdate": "1980-02-30T00:00:00Z"},
        "the birthdate is no date-time of RFC 3339",
    ),
]
OTHERS = {
    "matching": "tests/test_sandbox_matching.py",
    "reset_header": "tests/test_sandbox_spaces.py",
    "search_order": "tests/test_sandbox_search.py",
    "search_depth": "tests/test_sandbox_search.py",
    "search_conditions": "tests/test_sandbox_search.py",
    "replaced": "tests/test_sandbox_contacts.py",
    "unwritten": "tests/test_sandbox_contacts.py",
    "dates": "tests/test_sandbox_contacts.py",
    "note_ids": "tests/test_sandbox_contacts.py",
    "lastchange": "tests/test_sandbox_contacts.py",
}
"""Questions that are shown elsewhere."""
BELOW = {"winner", "dead_id", "twins", "noop", "refusals"}


async def outcomes(client: Client) -> list[tuple[str, int | None]]:
    return [(entry["outcome"], entry["contact_id"]) for entry in await client.history()]


@pytest.mark.parametrize(("question", "answer", "field", "upserts", "expected"), FIELDS)
async def test_field_becomes_what_is_answered(
    question: str, answer: str, field: str, upserts: list[dict[str, Any]], expected: object
) -> None:
    async with running(unknowns=Unknowns.read({question: answer})) as client:
        await client.accepted(*(ADA | fields for fields in upserts))
        (person,) = await client.contacts()
        found = person.get(field)
        if field == "notes" and found:
            assert len({note["id"] for note in found}) == len(found)
            found = [note["content"] for note in found]
        if field == "answers":
            found = [each["data"] + (" deleted" if each["deleted_at"] else "") for each in found or ()]
        assert found == expected


@pytest.mark.parametrize(("question", "answer", "fields", "cause"), DROPS)
async def test_contact_is_dropped_as_is_answered(
    question: str, answer: str, fields: dict[str, Any], cause: str
) -> None:
    async with running(unknowns=Unknowns.read({question: answer})) as client:
        await client.accepted(ADA | fields)
        assert (await client.history())[0]["cause"] == cause
        assert await client.contacts() == []


@pytest.mark.parametrize(("answer", "number"), [("oldest", 1), ("newest", 2)])
@pytest.mark.parametrize("sent", [ADA, {"firstname": "Ada", "surname": "Roux"}, {"id": 9}])
async def test_winner_is_the_oldest_or_the_newest(answer: str, number: int, sent: dict[str, Any]) -> None:
    async with running(unknowns=Unknowns(winner=answer)) as client:
        people = [ADA | {"nationbuilderid": 9}] * 2
        await client.send("POST", "/_sandbox/contacts", {"contacts": people})
        await client.accepted(sent)
        assert await outcomes(client) == [("updated", number)]


async def test_dead_id_drops_the_contact() -> None:
    async with running(unknowns=Unknowns(dead_id="drop")) as client:
        await client.accepted(ADA, ADA | {"id": 9})
        assert await outcomes(client) == [("created", 1), ("dropped", None)]


async def test_dead_id_falls_through_to_the_other_rules() -> None:
    async with running(unknowns=Unknowns(dead_id="match")) as client:
        await client.accepted(ADA, ADA | {"id": 9}, {"id": 9, "mail": "other@example.org"})
        assert await outcomes(client) == [("created", 1), ("updated", 1), ("created", 2)]


@pytest.mark.parametrize(("answer", "count"), [("yes", 2), ("no", 1)])
async def test_two_upserts_of_one_new_person_queued_together_make_twins_or_not(
    answer: str, count: int
) -> None:
    async with running(lag=60, unknowns=Unknowns(twins=answer)) as client:
        await client.accepted(ADA, ADA)
        assert len(await client.contacts()) == count


@pytest.mark.parametrize(("answer", "moves"), [("moves", True), ("stays", False)])
async def test_upsert_that_changes_nothing_moves_updated_at_or_not(answer: str, *, moves: bool) -> None:
    async with running(unknowns=Unknowns(noop=answer)) as client:
        fields = ADA | TAGS | NURSE | {"address": PARIS}
        await client.accepted(fields)
        (before,) = await client.contacts()
        await client.accepted(fields)
        assert (await outcomes(client))[1] == ("updated", 1)
        (same,) = await client.contacts()
        assert (same["UpdatedAt"] > before["UpdatedAt"]) == moves
        await client.accepted(ADA | {"phone": "7"})
        (changed,) = await client.contacts()
        assert changed["UpdatedAt"] > same["UpdatedAt"]


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        ({"kind": "contact", "data": ADA | {"tags": ["a", "b"]}}, "body.data.tags[0]: expected object"),
        ({"kind": "contact", "data": ADA | {"phone": 7}}, "body.data.phone: expected string"),
        ({"kind": "people", "data": ADA}, 'body.kind: expected value to be "contact"'),
        ({"kind": "contact", "data": []}, "body.data: expected object"),
        ([], "body: expected object"),
    ],
)
async def test_wrong_types_are_refused_at_once_or_dropped_later(body: object, cause: str) -> None:
    async with running() as client:
        assert (await client.send("POST", "/contacts/upsert", body)).status == 422
    async with running(lag=60, unknowns=Unknowns(refusals="none")) as client:
        assert (await client.send("POST", "/contacts/upsert", body)).status == 202
        assert (await client.history())[0]["outcome"] == "queued"
        await client.send("POST", "/_sandbox/settle")
        (entry,) = await client.history()
        assert (entry["outcome"], entry["cause"]) == ("dropped", cause)
        assert (await client.send("POST", "/contacts/upsert", ADA)).status == 202
        assert (await client.raw(client.request("POST", "/contacts/upsert", b"{"))).status == 400
        await client.send("POST", "/_sandbox/settle")
        assert await client.contacts() == []


# The answers themselves


def test_defaults_are_answers_and_every_field_is_a_question() -> None:
    defaults = dataclasses.asdict(Unknowns())
    assert defaults.keys() == QUESTIONS.keys()
    for name, question in QUESTIONS.items():
        assert defaults[name] == question.choices[0] if question.choices else defaults[name] > 0
        assert question.text.endswith("?")


def test_every_answer_to_every_question_is_shown() -> None:
    shown = {(question, answer) for question, answer, *_ in (*FIELDS, *DROPS)}
    asked = {(name, choice) for name, question in QUESTIONS.items() for choice in question.choices}
    numbers = {name for name, question in QUESTIONS.items() if not question.choices}
    assert {name for name, _ in asked - shown} | numbers == OTHERS.keys() | BELOW


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"colour": "red"}, "unknown 'colour': it must be one of reset_header, null, "),
        ({"null": "drop"}, "null is 'drop': it must be one of ignore, clear"),
        ({"search_depth": "0"}, "search_depth is '0': it must be a whole number from 1 on"),
        ({"search_depth": "ten"}, "search_depth is 'ten': it must be a whole number from 1 on"),
    ],
)
def test_answer_that_cannot_be_meant_is_refused(given: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Unknowns.read(given)


def test_numbers_are_read_as_numbers() -> None:
    assert Unknowns.read({"search_depth": "500"}) == Unknowns(search_depth=500)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("+33 6 11 22 33 44", "+33611223344"),
        ("0033-6.11.22.33.44", "+33611223344"),
        ("(01) 42 00 00 00", "+33142000000"),
        ("112", "112"),
        ("none", "none"),
    ],
)
def test_phone_numbers_in_e164(text: str, number: str) -> None:
    assert e164(text) == number
    assert e164(number) == number
