"""What the synchronous endpoints are sent, and that a contact written back is the contact that was read."""

import re
import unicodedata
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_sandbox_client import Client
from test_writing import FORMS, contacts, search_shape, stored

from syncengine.qomon import QomonClient
from syncengine.qomon.contact import Answer, Contact, Note
from syncengine.qomon.documents import GEOCODED, changed_document, create_document, replace_document
from syncengine.qomon.fields import ADDRESS_PARTS, PLAIN_TEXT
from syncengine.qomon.forms import Form, Forms, Option, decode
from syncengine.qomon.reading import contact_from_get
from syncengine.qomon.writing import upsert_document
from syncengine.sandbox import Sandbox, SandboxOptions

CANARY = "Canary"
STAMP, SENT = "2026-07-16T12:00:00.123456Z", "2026-07-16T12:00:00.123Z"
NEW = Contact(
    firstname=" Ada ",
    surname=unicodedata.normalize("NFD", "Dupré"),
    married_name=" ",
    mail=" Ada@Members.Example ",
    phone="+33 1",
    mobile="",
    birthdate="1987-03-05",
    birthcity="Lyon",
    birthcountry="France",
    birthdept="69",
    nationality="FR",
    age_category=3,
    black_list=False,
    address={"city": " Lyon", "floor": "", "door": " ", "postalcode": "69003"},
    tags=("driver", "helper", " driver"),
    notes=(Note("calls back"), Note("old friend", pinned=True)),
    answers=(
        Answer("consents", "Newsletter", "Refusal"),
        Answer("status", 7, "5"),
        Answer("custom_fields", 5, "baker"),
        Answer("custom_fields", "#4", "climate"),
        Answer("custom_fields", "Interests", "Work"),
        Answer("custom_fields", 5, "baker"),
        Answer("custom_fields", 6, "2026-07-16"),
    ),
    action_ids=(11, 12),
    more={"phone_invalid": True, "mobile_invalid": False, "user_contact_id": 0},
)


def data(document: dict[str, Any] | None) -> dict[str, Any]:
    assert document is not None
    assert list(document) == ["data"]
    assert list(document["data"]) == ["contact"]
    orjson.dumps(document)
    return dict(document["data"]["contact"])


def created(**fields: Any) -> dict[str, Any]:
    return data(create_document(Contact(**fields), FORMS))


def held(**members: Any) -> Contact:
    """Return a contact as a read shows it."""
    row = {"id": 7, "group_id": 1, "UpdatedAt": STAMP} | members
    return contact_from_get({"status": "success", "data": {"contact": row}})


def rewritten(contact: Contact, **changes: Any) -> dict[str, Any]:
    return data(replace_document(contact, replace(contact, **changes), FORMS))


# --- a new contact


def test_a_new_contact_has_exactly_what_is_set_in_the_spelling_of_the_endpoint() -> None:
    assert data(create_document(NEW, FORMS)) == {
        "firstname": "Ada",
        "surname": "Dupré",
        "mail": "ada@members.example",
        "phone": "+33 1",
        "birthdate": "1987-03-05T00:00:00Z",
        "birth_city": "Lyon",
        "birth_country": "France",
        "birth_dept": "69",
        "nationality": "FR",
        "age_category": 3,
        "black_list": False,
        "phone_invalid": True,
        "mobile_invalid": False,
        "address": {"city": "Lyon", "postalcode": "69003"},
        "tags": [{"name": "driver"}, {"name": "helper"}],
        "notes": [{"data": "calls back"}, {"data": "old friend", "pinned": True}],
        "action_ids": [11, 12],
        "formdatas": [
            {"form_id": 3, "form_ref_id": 32, "data": "no"},
            {"form_id": 7, "form_ref_id": 71, "data": "5"},
        ],
        "custom_fields": [
            {"form_id": 5, "form_ref_id": 51, "data": "baker"},
            {"form_id": 4, "form_ref_id": 41, "data": "climate"},
            {"form_id": 4, "form_ref_id": 42, "data": "work"},
            {"form_id": 6, "form_ref_id": 61, "data": "2026-07-16T00:00:00.000Z"},
        ],
    }


def test_a_contact_of_nothing_sends_nothing() -> None:
    assert created() == {}
    assert created(surname="", address={"city": ""}, age_category=None) == {}


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("2026-07-16T14:30:00Z", "2026-07-16T14:30:00.000Z"),
        ("2026-07-16T14:30:00.123456+02:00", "2026-07-16T12:30:00.123Z"),
    ],
)
def test_a_time_given_to_a_date_form_is_kept_to_the_millisecond_in_utc(given: str, sent: str) -> None:
    (entry,) = created(answers=(Answer("custom_fields", 6, given),))["custom_fields"]
    assert entry["data"] == sent


def test_an_option_without_a_value_goes_by_its_label() -> None:
    forms = Forms([Form(3, "News", "consent", "radio", (Option(31, "Yes"),))])
    document = data(create_document(Contact(answers=(Answer("consents", 3, "Yes"),)), forms))
    assert document["formdatas"] == [{"form_id": 3, "form_ref_id": 31, "data": "Yes"}]


@pytest.mark.parametrize("name", ["gender", "external_id"])
def test_a_field_of_no_write_schema_goes_only_where_it_is_proven(name: str) -> None:
    contact = replace(Contact(), **{name: "F"})  # type: ignore[arg-type]
    assert data(create_document(contact, FORMS, proven=[name])) == {name: "F"}
    read = held(surname="Roux", **{name: "F"})
    assert data(replace_document(read, read, FORMS, proven=[name])) == {"surname": "Roux", name: "F"}


LOST = "cannot be written by a synchronous endpoint and could be lost"


@pytest.mark.parametrize(
    ("contact", "reason"),
    [
        ({"id": 7}, "id: a contact that is created gets its own"),
        ({"nationbuilderid": 7}, f"nationbuilderid: {LOST}"),
        ({"gender": CANARY}, "gender cannot be sent: no published write schema"),
        ({"external_id": CANARY}, "external_id cannot be sent: no published write schema"),
        ({"address": {"citycode": CANARY}}, f"address.citycode: {LOST}"),
        ({"address": {"latitude": CANARY, "longitude": CANARY}}, f"address.latitude: {LOST}"),
        ({"address": {"zip": CANARY}}, "is no part of an address"),
        ({"address": {"city": 5}}, "address.city: not a text"),
        ({"more": {"membership_code": CANARY}}, f"membership_code: {LOST}"),
        ({"more": {"phone_invalid": CANARY}}, "phone_invalid: expected true or false"),
        ({"more": {"user_contact_id": -1}}, "user_contact_id: expected a whole number"),
        ({"surname": f"{CANARY}\0"}, "surname: holds a NUL character"),
        ({"mail": CANARY}, "mail: not one e-mail address"),
        ({"birthdate": CANARY}, "birthdate: not a date"),
        ({"black_list": 1}, "black_list: neither True nor False"),
        ({"age_category": -1}, "age_category: not a whole number"),
        ({"tags": CANARY}, "tags: not a tuple"),
        ({"tags": (" ",)}, "tags: empty"),
        ({"notes": (Note(" "),)}, "notes: empty"),
        ({"notes": (Note(CANARY, id=3),)}, "notes: one has an id"),
        ({"action_ids": ("1",)}, "action_ids: not a whole number"),
        ({"answers": (Answer("custom_fields", 99, CANARY),)}, "custom_fields has no form #99"),
        ({"answers": (Answer("custom_fields", "Jop", CANARY),)}, "custom_fields has no form 'Jop'"),
        ({"answers": (Answer("", 99, CANARY),)}, "answers: form #99 is not among the forms of this space"),
        ({"answers": (Answer("consents", 5, CANARY),)}, "consents has no form #5; #5 'Job' belongs to"),
        ({"answers": (Answer("consent", 3, CANARY),)}, "'consent' is no kind of answers"),
        ({"answers": (Answer("consents", 3, CANARY),)}, "consents 'Newsletter' (#3) has no such option"),
        ({"answers": (Answer("consents", 3, ""),)}, "consents 'Newsletter' (#3) cannot be answered"),
        ({"answers": (Answer("custom_fields", 5, ""),)}, "custom_fields 'Job' (#5) cannot be answered"),
        ({"answers": (Answer("custom_fields", 6, CANARY),)}, "custom_fields 'Member since' (#6) takes only"),
        (
            {"answers": (Answer("custom_fields", 6, "2026-02-30"),)},
            "custom_fields 'Member since' (#6) takes only a date that there is",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_written_is_refused_without_naming_a_value(
    contact: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)) as caught:
        create_document(Contact(**contact), FORMS)
    assert CANARY not in str(caught.value)


def test_a_form_that_nothing_can_refer_to_takes_no_answer() -> None:
    forms = Forms([Form(5, "Job", "custom_fields", "text")])
    with pytest.raises(
        ValueError, match=r"custom_fields 'Job' \(#5\) has nothing that an answer could refer"
    ):
        create_document(Contact(answers=(Answer("custom_fields", 5, "baker"),)), forms)


# --- a contact that was read


def answered(form: int, ref: int, text: str, **more: object) -> dict[str, object]:
    entry = {"id": 9, "form_id": form, "form_ref_id": ref, "data": text, "date": STAMP, "deleted_at": None}
    return entry | more


def test_what_only_reads_show_is_written_back_where_the_endpoint_has_it() -> None:
    note: dict[str, object] = {
        "id": 3,
        "data": "met",
        "pinned": True,
        "created_at": STAMP,
        "contact_id": 7,
        "group_id": 1,
        "only_super_admin": True,
        "updated_at": "2026-07-17T12:00:00Z",
        "user": {"firstname": "Zoe"},
    }
    read = held(
        lastchange="2026-07-16T12:00:00Z",
        CreatedAt="2026-07-16T12:00:00Z",
        lastchangeuserid=4,
        user_id=4,
        interactions=[{"id": 1}],
        phone_invalid=True,
        mobile_invalid=False,
        user_contact_id=5,
        action_ids=[11],
        membership_code="",
        address={"id": 7, "city": "Lyon", "score": 0.9, "location": "45,4", "invalid": False}
        | {"citycode": "69383", "latitude": "45.7", "longitude": "4.8"},
        notes=[note | {"deleted_at": None}],
        formdatas=[answered(3, 31, "yes", survey_id=8), answered(3, 32, "no", deleted_at=STAMP)],
        custom_fields=[answered(5, 51, "baker")],
    )  # fmt: skip
    sent = {
        "phone_invalid": True,
        "mobile_invalid": False,
        "user_contact_id": 5,
        "action_ids": [11],
        "address": {"city": "Lyon"},
        "notes": [note],
        "formdatas": [
            {"form_id": 3, "form_ref_id": 31, "data": "yes", "survey_id": 8, "date": SENT}
        ],
        "custom_fields": [
            {"form_id": 5, "form_ref_id": 51, "data": "baker", "date": SENT}
        ],
    }  # fmt: skip
    assert rewritten(read) == sent
    assert rewritten(replace(read, answers=decode(read.answers, FORMS))) == sent


@pytest.mark.parametrize(
    ("members", "name"),
    [
        ({"membership_number": CANARY}, "membership_number"),
        ({"gender": CANARY}, "gender"),
        ({"external_id": CANARY}, "external_id"),
        ({"nationbuilderid": 4711}, "nationbuilderid"),
        ({"something_new": {"a": CANARY}}, "something_new"),
        ({"age_category": -1}, "age_category"),
        ({"birthdate": f"in {CANARY}"}, "birthdate"),
        ({"address": {"citycode": CANARY}}, "address.citycode"),
        ({"address": {"invalid": True}}, "address.invalid"),
        ({"address": CANARY}, "address"),
        ({"custom_fields": [CANARY]}, "custom_fields"),
        ({"custom_fields": [answered(99, 1, CANARY)]}, "form #99"),
        ({"custom_fields": [answered(4, 49, CANARY)]}, "Interests"),
    ],
)
def test_what_would_be_cleared_is_refused_until_it_is_left_out(members: dict[str, Any], name: str) -> None:
    read = held(surname="Roux", **members)
    with pytest.raises(ValueError, match=re.escape(name)) as caught:
        rewritten(read, mobile="7")
    assert CANARY not in str(caught.value)
    nothing: dict[str, Any] = {"more": {}, "answers": (), "address": {}, "gender": None, "birthdate": None}
    nothing |= {"external_id": None, "nationbuilderid": None}
    assert rewritten(read, mobile="7", **nothing) == {"surname": "Roux", "mobile": "7"}


def test_coordinates_of_somebody_elses_making_are_refused() -> None:
    read = held(address={"city": "Lyon", "latitude": "45.7", "longitude": "4.8"})
    for part in ("latitude", "longitude", "citycode"):
        with pytest.raises(ValueError, match=f"^address.{part}: cannot be written"):
            rewritten(read, address={**read.address, part: "1"})
    assert rewritten(read, address={**read.address, "city": "Paris"})["address"] == {"city": "Paris"}


def test_a_contact_made_anew_does_not_replace_one_that_was_read() -> None:
    with pytest.raises(ValueError, match="not the contact that was read"):
        replace_document(held(surname="Roux"), Contact(mobile="7"), FORMS)


def test_what_changes_is_cleaned_and_what_does_not_goes_back_to_the_letter() -> None:
    read = held(firstname=" Ada ", surname="Dupre\u0301", mail="ADA@x.example ", tags=["a ", "b"])
    sent = rewritten(read, surname=" Dupre\u0301", tags=("a ", " c "))
    assert sent == {
        "firstname": " Ada ",
        "surname": "Dupré",
        "mail": "ADA@x.example ",
        "tags": [{"name": "a "}, {"name": "c"}],
    }


def test_an_answer_that_changed_goes_by_what_it_says_now_without_the_date_it_had() -> None:
    read = held(formdatas=[answered(3, 31, "yes")], custom_fields=[answered(5, 51, "baker")])
    decoded = replace(read, answers=decode(read.answers, FORMS))
    consent, trade = decoded.answers
    assert (consent.value, trade.value) == ("Agrees", "baker")
    sent = data(
        replace_document(
            decoded,
            replace(decoded, answers=(replace(consent, value="Refusal"), replace(trade, value="smith"))),
            FORMS,
        )
    )
    assert sent["formdatas"] == [{"form_id": 3, "form_ref_id": 32, "data": "no"}]
    assert sent["custom_fields"] == [{"form_id": 5, "form_ref_id": 51, "data": "smith"}]


@pytest.mark.parametrize(
    ("ref", "form", "text"), [(61, 6, "some day"), (61, 6, "2026-02-30"), (51, 5, ""), (51, 5, " ")]
)
def test_an_answer_that_nobody_could_give_goes_back_as_it_was(ref: int, form: int, text: str) -> None:
    (entry,) = rewritten(held(custom_fields=[answered(form, ref, text)]))["custom_fields"]
    assert (entry["form_ref_id"], entry["data"]) == (ref, text)


def test_an_answer_keeps_its_option_when_labels_are_shared_or_values_were_renamed() -> None:
    options = (Option(1, "Yes", "y1"), Option(2, "Yes", "y2"))
    forms = Forms([Form(3, "Newsletter", "consent", "radio", options)])
    for entry, value in ((answered(3, 2, "y2"), "y2"), (answered(3, 2, "was y3"), "y2")):
        read = held(formdatas=[entry])
        for contact in (read, replace(read, answers=decode(read.answers, forms))):
            (sent,) = data(replace_document(contact, contact, forms))["formdatas"]
            assert (sent["form_ref_id"], sent["data"]) == (2, value)


# --- read, written, read again

raw_texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6)


def lasting(contact: Contact, forms: Forms) -> Contact:
    """Return what of a contact a full replace must not change, decoded; without times and ids of parts."""
    answers = decode(contact.answers, forms)
    return replace(
        contact,
        updated_at=None,
        group_id=None,
        address={part: text for part, text in contact.address.items() if part not in GEOCODED},
        address_id=None,
        answers=tuple(sorted((replace(answer, id=None, answered_at=None) for answer in answers), key=repr)),
        notes=tuple(replace(note, id=None, created_at=None) for note in contact.notes),
        more={name: value for name, value in contact.more.items() if not name.startswith("address.")},
    )


@settings(max_examples=150)
@given(
    content=contacts,
    raw=st.dictionaries(st.sampled_from(PLAIN_TEXT), raw_texts),
    parts=st.dictionaries(st.sampled_from(sorted(set(ADDRESS_PARTS) - set(GEOCODED))), raw_texts),
    tags=st.lists(raw_texts, max_size=2, unique=True),
    marks=st.dictionaries(st.sampled_from(["phone_invalid", "mobile_invalid"]), st.booleans()),
)
def test_a_contact_written_back_is_the_contact_that_was_read(
    content: Contact, raw: dict[str, str], parts: dict[str, str], tags: list[str], marks: dict[str, bool]
) -> None:
    content = replace(content, nationbuilderid=None, address={})
    row = stored(upsert_document(content)) | {"gender": "", "membership_code": "", "custom_fields": None}
    read = replace(search_shape(row), **raw)  # type: ignore[arg-type]
    all_tags = tuple(dict.fromkeys((*read.tags, *tags)))
    read = replace(read, address=parts, tags=all_tags, more={**read.more, **marks})
    document = data(replace_document(read, read, FORMS))
    for name in ("formdatas", "custom_fields"):
        for number, entry in enumerate(document.get(name, [])):
            entry["id"] = 1000 + number
    again = held(**document, membership_code="")
    assert lasting(again, FORMS) == lasting(read, FORMS)


async def test_the_people_of_a_space_written_back_are_who_they_were() -> None:
    options = SandboxOptions(unlimited=True, lag=0.0, search_lag=0.0, contacts=150, seed=3)
    async with Sandbox(options) as server, QomonClient(server.api_key, base_url=server.base_url) as qomon:
        raw = Client(server.base_url, server.api_key)
        forms = await qomon.forms()
        people = await qomon.page()
        assert len(people) == 150
        assert sum(bool(person.answers) for person in people) > 20
        assert any(person.notes for person in people)
        for person in people:
            document = replace_document(person, person, forms)
            assert (await raw.send("PATCH", f"/contacts/{person.id}", document)).status == 200
        for person in people:
            again = await qomon.contact(person.id)
            assert again is not None
            assert lasting(again, forms) == lasting(person, forms)


# --- a change


def test_a_change_that_changes_nothing_is_nothing_to_write() -> None:
    read = held(surname="Roux", tags=["a"], gender="F", formdatas=[answered(3, 31, "yes")])
    assert changed_document(read, lambda contact: contact, FORMS) is None
    free = replace(read, gender=None)
    assert changed_document(free, lambda c: replace(c, tags=(*c.tags, "a")), FORMS) is None


def test_a_change_sees_answers_in_words() -> None:
    seen: list[Answer] = []

    def look(contact: Contact) -> Contact:
        seen.extend(contact.answers)
        return replace(contact, answers=())

    assert data(changed_document(held(formdatas=[answered(3, 31, "yes")]), look, FORMS)) == {}
    assert (seen[0].kind, seen[0].label, seen[0].value) == ("consents", "Newsletter", "Agrees")


def test_a_change_may_take_away_what_could_not_be_written() -> None:
    read = held(surname="Roux", gender="F")
    assert data(changed_document(read, lambda c: replace(c, gender=None), FORMS)) == {"surname": "Roux"}


def test_a_change_that_is_another_one_the_second_time_is_refused() -> None:
    read = held(surname="Roux", age_category=1)
    for change in (
        lambda c: replace(c, age_category=(c.age_category or 0) + 1),
        lambda c: replace(c, notes=(*c.notes, Note("called"))),
    ):
        with pytest.raises(ValueError, match="when it is made twice"):
            changed_document(read, change, FORMS)


def test_a_change_that_looks_before_it_adds_is_taken() -> None:
    def add(contact: Contact) -> Contact:
        if any(note.content == "called" for note in contact.notes):
            return contact
        return replace(contact, notes=(*contact.notes, Note("called")))

    assert data(changed_document(held(surname="Roux"), add, FORMS))["notes"] == [{"data": "called"}]
