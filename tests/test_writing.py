"""What an upsert may hold."""

import math
import re
import unicodedata
from datetime import date
from itertools import chain
from typing import Any

import orjson
import pytest
from hypothesis import strategies as st

from syncengine.qomon.contact import Answer, Contact, Note
from syncengine.qomon.fields import ADDRESS_PARTS, PLAIN_TEXT, UNPROVEN
from syncengine.qomon.forms import KINDS, Form, Forms, Option, decode
from syncengine.qomon.reading import contact_from_get, contact_from_search
from syncengine.qomon.values import LARGEST
from syncengine.qomon.writing import upsert_document

CANARY = "Canary"
ALL = Contact(
    id=7,
    firstname=" Ada ",
    surname=unicodedata.normalize("NFD", "Dupré"),
    married_name="",
    mail=" Ada@Members.Example ",
    phone="+33 1",
    mobile="+33 6",
    birthdate="1987-03-05",
    birthcity="Lyon",
    birthcountry="France",
    birthdept="69",
    nationality="FR",
    nationbuilderid=12,
    age_category=3,
    black_list=False,
    address={"city": "Lyon", "floor": "", "latitude": "45.75"},
    tags=("driver", "helper", " driver"),
    notes=(Note("calls back"), Note("old friend", pinned=True)),
    answers=(
        Answer("consents", "Newsletter", "Refusal"),
        Answer("custom_fields", 5, "baker"),
        Answer("custom_fields", "#4", "climate"),
        Answer("custom_fields", 5, "baker"),
    ),
)


def test_an_upsert_has_exactly_what_is_set_in_its_one_form() -> None:
    assert upsert_document(ALL) == {
        "kind": "contact",
        "data": {
            "id": 7,
            "firstname": "Ada",
            "surname": "Dupré",
            "married_name": "",
            "mail": "ada@members.example",
            "phone": "+33 1",
            "mobile": "+33 6",
            "birthdate": "1987-03-05T00:00:00Z",
            "birthcity": "Lyon",
            "birthcountry": "France",
            "birthdept": "69",
            "nationality": "FR",
            "nationbuilderid": 12,
            "age_category": 3,
            "black_list": False,
            "address": {"city": "Lyon", "floor": "", "latitude": "45.75"},
            "tags": [{"name": "driver"}, {"name": "helper"}],
            "notes": [{"content": "calls back"}, {"content": "old friend", "pinned": True}],
            "consents": [{"label": "Newsletter", "value": "Refusal"}],
            "custom_fields": [{"id": 5, "value": "baker"}, {"id": 4, "value": "climate"}],
        },
    }


def test_an_empty_contact_sends_nothing() -> None:
    assert upsert_document(Contact()) == {"kind": "contact", "data": {}}


def test_what_only_a_read_gives_is_never_sent() -> None:
    read = contact_from_search(
        {
            "id": 7,
            "group_id": 1,
            "CreatedAt": "2026-07-16T12:00:00Z",
            "UpdatedAt": "2026-07-16T12:00:00Z",
            "lastchange": "2026-07-16T12:00:00Z",
            "address": {"id": 3, "score": 1},
            "action_ids": [4],
            "membership_code": "x",
        }
    )
    assert upsert_document(read) == {"kind": "contact", "data": {"id": 7}}


@pytest.mark.parametrize("name", ["News ", unicodedata.normalize("NFD", "é")])
def test_a_label_and_an_option_go_out_as_they_are(name: str) -> None:
    """They passed `Forms.check` as they are, and another spelling would drop the contact."""
    forms = Forms([Form(1, name, "consent", "radio", (Option(2, "", name),))])
    assert forms.check("consents", name, name) is None
    document = upsert_document(Contact(answers=(Answer("consents", name, name),)))
    assert document["data"]["consents"] == [{"label": name, "value": name}]


@pytest.mark.parametrize(
    ("contact", "reason"),
    [
        ({"gender": "F"}, f"gender cannot be sent: {UNPROVEN['gender']}"),
        ({"external_id": CANARY}, f"external_id cannot be sent: {UNPROVEN['external_id']}"),
        ({"surname": 5}, "surname: not a text"),
        ({"surname": f"{CANARY}\ud800"}, "surname: holds half a character (a lone surrogate)"),
        ({"surname": f"{CANARY}\0"}, "surname: holds a NUL character"),
        ({"mail": CANARY}, "mail: not one e-mail address"),
        ({"mail": ""}, "mail: not one e-mail address"),
        ({"mail": b"a@b.example"}, "mail: not a text"),
        ({"birthdate": CANARY}, "birthdate: not a date such as 1987-03-05; give its format"),
        ({"birthdate": 1987}, "birthdate: not a text"),
        ({"id": -1}, "id: not a whole number from 0 on"),
        ({"id": LARGEST + 1}, "id: not a whole number from 0 on"),
        ({"id": "7"}, "id: not a whole number from 0 on"),
        ({"nationbuilderid": 7.0}, "nationbuilderid: not a whole number from 0 on"),
        ({"age_category": math.nan}, "age_category: not a whole number from 0 on"),
        ({"age_category": True}, "age_category: not a whole number from 0 on"),
        ({"black_list": 1}, "black_list: neither True nor False"),
        ({"address": {"city": 5}}, "address.city: not a text"),
        ({"address": {"floor": f"{CANARY}\x07"}}, "address.floor: holds a control character"),
        ({"address": {"id": "3"}}, "address 'id' is Qomon's own number for the address and cannot be set"),
        (
            {"address": {"zip": CANARY}},
            "address 'zip' is no part of an address; did you mean 'address.postalcode'?",
        ),
        ({"tags": CANARY}, "tags: not a tuple"),
        ({"tags": (5,)}, "tags: not a text"),
        ({"tags": (" ",)}, "tags: empty"),
        ({"notes": (Note(" "),)}, "notes: empty"),
        ({"notes": (Note(CANARY, pinned=1),)}, "notes: neither True nor False"),  # type: ignore[arg-type]
        (
            {"notes": (Note(CANARY, id=3),)},
            "notes: one has an id, so Qomon has it already; an upsert would add it once more",
        ),
        (
            {"answers": (Answer(form=3, value=CANARY),)},
            "answers: one has no kind; an answer that was read gets its kind from forms.decode",
        ),
        (
            {"answers": (Answer("consent", 3, CANARY),)},
            "'consent' is no kind of answers; did you mean 'consents'?",
        ),
        (
            {"answers": (Answer("presence_status", 3, CANARY),)},
            f"presence_status cannot be sent: {UNPROVEN['presence_status']}",
        ),
        (
            {"answers": (Answer("consents", 0, CANARY),)},
            "consents: a form is named by its label or its id (#12)",
        ),
        ({"answers": (Answer("consents", "N\0", CANARY),)}, "consents 'N\\x00': holds a NUL character"),
        ({"answers": (Answer("consents", "News", ""),)}, "consents 'News': empty"),
        ({"answers": (Answer("consents", 3, True),)}, "consents #3: not a text"),  # type: ignore[arg-type]
        (
            {"answers": (Answer("consents", 3, f"{CANARY}\ud800"),)},
            "consents #3: holds half a character (a lone surrogate)",
        ),
    ],
)
def test_what_qomon_would_refuse_or_drop_is_refused_without_naming_a_value(
    contact: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}$"):
        upsert_document(Contact(**contact))
    assert CANARY not in reason


def test_a_decoded_answer_sent_back_chooses_the_option_it_was_read_with() -> None:
    options = (Option(1, "Yes", "y1"), Option(2, "Yes", "y2"))
    forms = Forms([Form(3, "Newsletter", "consent", "radio", options)])
    for option in options:
        held = Answer(form=3, value=option.value, ref_id=option.id, stored=option.value, id=9)
        document = upsert_document(Contact(id=7, answers=decode([held], forms)))
        assert document["data"]["consents"] == [{"id": 3, "value": option.value}]


@pytest.mark.parametrize("name", ["gender", "external_id"])
def test_a_field_of_no_write_schema_goes_only_where_it_is_proven(name: str) -> None:
    fields: dict[str, Any] = {"id": 7, name: "F"}
    contact = Contact(**fields)
    assert upsert_document(contact, proven=[name])["data"] == fields
    with pytest.raises(ValueError, match=f"^{name} cannot be sent"):
        upsert_document(contact, proven=["surname"])


# --- contacts of all kinds, and what the endpoints show of them (for other tests as well)

FORMS = Forms(
    [
        Form(3, "Newsletter", "consent", "radio", (Option(31, "Agrees", "yes"), Option(32, "Refusal", "no"))),
        Form(
            4,
            "Interests",
            "custom_fields",
            "checkbox",
            (Option(41, "Climate", "climate"), Option(42, "Work", "work"), Option(43, "Pets", "pets")),
        ),
        Form(5, "Job", "custom_fields", "text", (Option(51),)),
        Form(6, "Member since", "custom_fields", "date", (Option(61),)),
        Form(
            7, "Support", "level_of_support", "select", (Option(71, "Strong", "5"), Option(72, "Weak", "1"))
        ),
        Form(8, "Survey", "survey", "", (Option(81, "A", "a"), Option(82, "B", "b"))),
        Form(9, "Door", "presence_status", "radio", (Option(91, "present", "present"),)),
        Form(
            10, "Stall", "tasks", "checkbox", (Option(101, "Saturday", "sat"), Option(102, "Sunday", "sun"))
        ),
    ]
)

texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=8).filter(
    lambda text: text.strip() != ""
)
days = st.dates(date(1900, 1, 1), date(2100, 12, 31)).map(str)


@st.composite
def answers_to(draw: st.DrawFn, form: Form) -> list[Answer]:
    """Draw answers to one form, named by id or label, options by value or label."""
    if form.has_options:
        most = len(form.options) if form.is_multiple else 1
        chosen = draw(st.lists(st.sampled_from(form.options), max_size=most, unique=True))
        values = [draw(st.sampled_from([option.value, option.label])) for option in chosen]
    else:
        values = draw(st.lists(days if form.widget == "date" else texts, max_size=1))
    names: list[int | str] = [form.id, form.label, f"#{form.id}"]
    name = draw(st.sampled_from(names))
    return [Answer(form.kind, name, value) for value in values]


contacts = st.builds(
    Contact,
    **{name: st.none() | texts for name in PLAIN_TEXT},
    id=st.just(7),
    mail=st.none() | st.sampled_from(["Ada@Members.example", "d@members.example"]),
    birthdate=st.none() | days,
    nationbuilderid=st.none() | st.integers(1, LARGEST),
    age_category=st.none() | st.integers(0, 20),
    black_list=st.none() | st.booleans(),
    address=st.dictionaries(st.sampled_from(ADDRESS_PARTS), texts | st.sampled_from(["12", "48.85"])),
    tags=st.lists(texts, max_size=3).map(tuple),
    notes=st.lists(st.builds(Note, texts, st.booleans()), max_size=2, unique_by=lambda n: n.content).map(
        tuple
    ),
    answers=st.tuples(*(answers_to(form) for form in FORMS)).map(lambda drawn: tuple(chain(*drawn))),
)


def stored(document: dict[str, Any]) -> dict[str, Any]:
    """Return what Qomon makes of an upsert: answers become references to forms and options."""
    sent = orjson.loads(orjson.dumps(document))["data"]
    contact: dict[str, Any] = {"group_id": 1, "gender": "F", "membership_code": "x", **sent, "formdatas": []}
    for kind in KINDS.values():
        for answer in contact.pop(kind, []):
            form = FORMS.find(kind, answer.get("id") or answer["label"])
            option = form.option(answer["value"]) if form.has_options else form.options[0]
            assert option is not None
            text = option.value if form.has_options else answer["value"]
            contact["formdatas"].append(
                {
                    "id": len(contact["formdatas"]) + 1,
                    "form_id": form.id,
                    "form_ref_id": option.id,
                    "data": f"{text}T00:00:00.000Z" if form.widget == "date" else text,
                    "date": "2026-07-16T12:00:00.123456Z",
                    "deleted_at": None,
                }
            )
    return contact


def renamed(row: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in row.items()}


BIRTH = {f"birth{part}": f"birth_{part}" for part in ("city", "country", "dept")}


def search_shape(row: dict[str, Any]) -> Contact:
    """Notes as `data`, tags as texts, custom fields in their own array, numbers where texts were sent."""
    row = renamed(row, BIRTH) | {"UpdatedAt": "2026-07-16T12:00:00.123456789Z"}
    row["notes"] = [renamed(note, {"content": "data"}) for note in row.get("notes", [])] or None
    row["tags"] = [tag["name"] for tag in row.get("tags", [])]
    row["custom_fields"] = [entry for entry in row["formdatas"] if entry["form_id"] in (4, 5, 6)]
    row["address"] = {"id": 3, "score": 1} | {
        part: float(text) if text in ("12", "48.85") else text
        for part, text in row.get("address", {}).items()
    }
    return contact_from_search(row)


def get_shape(row: dict[str, Any]) -> Contact:
    """A taken-back answer besides, one note as an object, custom fields by their older name, nulls."""
    row = {name: row.get(name) for name in (*PLAIN_TEXT, "tags", "address", *row)}
    gone = {"id": 99, "form_id": 3, "form_ref_id": 31, "data": "yes", "deleted_at": "2026-07-16T12:00:00Z"}
    row["customfields"] = [*row.pop("formdatas"), gone]
    if row.get("notes") and len(row["notes"]) == 1:
        row["notes"] = row["notes"][0]
    return contact_from_get({"status": "success", "data": {"contact": renamed(row, BIRTH)}})


def flat_shape(row: dict[str, Any]) -> Contact:
    """The preview: not wrapped, snake case; here with a birthdate of milliseconds."""
    if "birthdate" in row:
        row["birthdate"] = row["birthdate"].replace("Z", ".000Z")
    address = renamed(row.pop("address", {}), {"housenumber": "house_number", "postalcode": "postal_code"})
    return contact_from_get(row | {"address": address, "created_at": "2026-07-16T12:00:00Z"})
