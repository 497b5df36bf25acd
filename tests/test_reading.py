"""What each endpoint answers: every spelling is understood, and nothing else breaks anything."""

import copy
import math
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncengine.qomon.contact import Answer, Contact, Note
from syncengine.qomon.forms import KINDS, Form, Option
from syncengine.qomon.members import ShapeError
from syncengine.qomon.reading import (
    contact_from_get,
    contact_from_search,
    contacts_from_search,
    form_from_get,
    forms_from_list,
    total_from_kpi,
)

fixed = settings(derandomize=True, deadline=None)
CANARY = "Canary"

ROW: dict[str, Any] = {
    "id": 7,
    "group_id": 991,
    "CreatedAt": "2026-07-16T12:00:00.123456789Z",
    "UpdatedAt": "2026-07-16T14:00:00.5+02:00",
    "lastchange": "2026-07-16T12:00:00Z",
    "lastchangeuserid": 5,
    "firstname": "Ada",
    "surname": "Klein",
    "married_name": "",
    "gender": "F",
    "mail": "Ada@members.example",
    "phone": 33123456789,
    "mobile": None,
    "birthdate": "1987-03-05T00:00:00.000Z",
    "birth_city": "Lyon",
    "birth_country": "France",
    "birth_dept": 69,
    "nationality": "FR",
    "nationbuilderid": 0,
    "external_id": "m-12",
    "age_category": 3,
    "black_list": False,
    "phone_invalid": True,
    "membership_code": "A1",
    "address": {
        "id": 12,
        "housenumber": 12,
        "street": "rue Verte",
        "floor": 3.0,
        "postalcode": 69003,
        "city": "Lyon",
        "state": None,
        "latitude": 45.75,
        "longitude": "4.85",
        "location": "u05",
        "score": 0.9,
    },
    "tags": [{"name": "helper", "color": "#fff"}, "driver", {"name": ""}, {"name": "driver"}, None],
    "notes": [{"id": 4, "data": "calls back", "pinned": True, "CreatedAt": "2026-07-16T12:00:00Z"}],
    "action_ids": [8, "9", None, 0],
    "formdatas": [
        {
            "id": 21,
            "form_id": 3,
            "form_ref_id": 31,
            "contact_id": 7,
            "data": "consent_email",
            "date": "2026-07-16T12:00:00Z",
            "created_at": "2020-01-01T00:00:00Z",
            "deleted_at": None,
        },
        {"id": 22, "form_id": 3, "form_ref_id": 32, "data": "refus", "deleted_at": "2026-07-16T12:00:00Z"},
        {"id": 23, "form_id": 5, "form_ref_id": None, "data": "baker", "date": None},
    ],
    "custom_fields": [
        {"id": 23, "form_id": 5, "form_ref_id": None, "data": "baker", "date": None},
        {
            "id": 23,
            "form_id": 6,
            "data": "North",
            "date": "0001-01-01T00:00:00Z",
            "created_at": "2026-07-16T12:00:00Z",
            "deleted_at": "0001-01-01T00:00:00Z",
        },
    ],
}
NOON = datetime(2026, 7, 16, 12, tzinfo=UTC)
CONTACT = Contact(
    id=7,
    group_id=991,
    created_at=NOON.replace(microsecond=123456),
    updated_at=NOON.replace(microsecond=500000),
    last_change=NOON,
    firstname="Ada",
    surname="Klein",
    gender="F",
    mail="Ada@members.example",
    phone="33123456789",
    birthdate="1987-03-05T00:00:00Z",
    birthcity="Lyon",
    birthcountry="France",
    birthdept="69",
    nationality="FR",
    external_id="m-12",
    age_category=3,
    black_list=False,
    address={
        "housenumber": "12",
        "street": "rue Verte",
        "floor": "3",
        "postalcode": "69003",
        "city": "Lyon",
        "latitude": "45.75",
        "longitude": "4.85",
    },
    address_id=12,
    tags=("helper", "driver"),
    notes=(Note("calls back", pinned=True, id=4, created_at=NOON),),
    answers=(
        Answer("", 3, "consent_email", ref_id=31, stored="consent_email", id=21, answered_at=NOON),
        Answer("", 5, "baker", stored="baker", id=23),
        Answer("", 6, "North", stored="North", id=23, answered_at=NOON),
    ),
    action_ids=(8, 9),
    more={
        "lastchangeuserid": 5,
        "phone_invalid": True,
        "membership_code": "A1",
        "address.location": "u05",
        "address.score": 0.9,
    },
)


def _wrapped(row: object) -> dict[str, object]:
    return {"status": "success", "data": {"contact": row}}


def _searched(document: dict[str, Any]) -> Contact:
    return contact_from_search(document["data"]["contact"])


ENDPOINTS: list[Callable[[dict[str, Any]], Contact]] = [_searched, contact_from_get]


@pytest.mark.parametrize("read", ENDPOINTS)
def test_every_endpoint_gives_the_same_contact(read: Callable[[object], Contact]) -> None:
    row = copy.deepcopy(ROW)
    assert read(_wrapped(row)) == CONTACT
    assert row == ROW


@pytest.mark.parametrize("read", ENDPOINTS)
@pytest.mark.parametrize(
    ("old", "new", "value"),
    [
        ("birth_city", "birthcity", "Lyon"),
        ("birth_country", "birthcountry", "France"),
        ("birth_dept", "birthdept", "69"),
        ("action_ids", "actions_ids", [8, 9]),
        ("custom_fields", "customfields", ROW["custom_fields"]),
        ("notes", "notes", {"id": 4, "content": "calls back", "pinned": True,
                            "created_at": "2026-07-16T12:00Z"}),
        ("notes", "notes", [{"id": "4", "content": "calls back", "data": None, "pinned": 1,
                             "CreatedAt": "2026-07-16T12:00:00"}]),
        ("tags", "tags", ["helper", "driver"]),
        ("id", "id", "7"),
        ("nationbuilderid", "nationbuilderid", None),
        ("black_list", "black_list", 0),
        ("birthdate", "birthdate", "1987-03-05"),
        ("unheard_of", "unheard_of", None),
    ],
)  # fmt: skip
def test_other_spellings_say_the_same(
    read: Callable[[object], Contact], old: str, new: str, value: object
) -> None:
    row = {name: member for name, member in ROW.items() if name != old}
    assert read(_wrapped({**row, new: value})) == CONTACT


def test_the_flat_preview_of_a_single_contact_is_read() -> None:
    row = {name: member for name, member in ROW.items() if name not in {"CreatedAt", "UpdatedAt"}}
    row |= {"created_at": ROW["CreatedAt"], "updated_at": ROW["UpdatedAt"], "address": dict(ROW["address"])}
    for old, new in (("housenumber", "house_number"), ("postalcode", "postal_code")):
        row["address"][new] = row["address"].pop(old)
    assert contact_from_get(row) == CONTACT


def test_of_two_spellings_the_first_that_says_something_counts() -> None:
    row = {"id": 7, "birth_city": "", "birthcity": "Lyon", "birth_dept": "69", "birthdept": "01"}
    contact = contact_from_search(row)
    assert (contact.birthcity, contact.birthdept) == ("Lyon", "69")
    address = {"postal_code": "", "postalcode": "69003", "house_number": 1, "housenumber": 2}
    assert contact_from_get({"id": 7, "address": address}).address == {
        "postalcode": "69003",
        "housenumber": "1",
    }


@pytest.mark.parametrize(
    "row",
    [
        dict.fromkeys(ROW),
        dict.fromkeys(["firstname", "mail", "birthdate", "UpdatedAt", "age_category", "group_id"], ""),
        {"tags": [], "notes": [], "formdatas": [], "custom_fields": [], "action_ids": []},
        {"notes": {}, "address": {}},
    ],
)
def test_nothing_is_read_where_there_is_nothing(row: dict[str, object]) -> None:
    assert contact_from_search({**row, "id": 7}) == Contact(id=7)


def test_a_zero_time_is_no_time() -> None:
    zero = "0001-01-01T00:00:00Z"
    row = {"id": 7, "CreatedAt": zero, "UpdatedAt": zero, "lastchange": zero, "birthdate": zero}
    assert contact_from_search(row) == Contact(id=7)


@pytest.mark.parametrize(
    ("entry", "answer"),
    [
        ({"form_id": "3", "form_ref_id": "31", "id": "2", "data": 7.0}, Answer("", 3, "7", ref_id=31, id=2)),
        ({"form_id": 3, "data": None, "value": "x"}, Answer("", 3, "x")),
        ({"form_id": 3, "data": True}, Answer("", 3, "true")),
        ({"form_id": 3, "form_ref_id": 31}, Answer("", 3, "", ref_id=31)),
        ({"data": "x", "CreatedAt": "2026-07-16T12:00:00Z"}, Answer("", 0, "x", answered_at=NOON)),
    ],
)
def test_an_answer_of_any_spelling_is_read(entry: dict[str, object], answer: Answer) -> None:
    read = contact_from_search({"id": 7, "custom_fields": [entry]}).answers
    assert [(a.form, a.value, a.ref_id, a.id, a.answered_at) for a in read] == [
        (answer.form, answer.value, answer.ref_id, answer.id, answer.answered_at)
    ]
    assert read[0].stored == read[0].value


def test_several_options_of_one_form_are_several_answers() -> None:
    rows = [
        {"form_id": 4, "form_ref_id": ref, "data": data} for ref, data in ((41, "a"), (42, "b"), (41, "a"))
    ]
    contact = contact_from_search({"id": 7, "formdatas": rows, "customfields": rows})
    assert [answer.value for answer in contact.answers] == ["a", "b"]


# --- pages, counts


def test_a_page_of_nobody_is_empty_whether_null_or_not() -> None:
    assert contacts_from_search({"status": "success", "data": {"contacts": None}}) == []
    assert contacts_from_search({"status": "success", "data": {"contacts": []}}) == []


def test_a_page_is_read_in_its_order() -> None:
    document = {"status": "success", "data": {"contacts": [{"id": 3}, {"id": 1}, ROW]}}
    assert contacts_from_search(document) == [Contact(id=3), Contact(id=1), CONTACT]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"id": 3, "UpdatedAt": CANARY}, "UpdatedAt: expected a time, found another text"),
        ({"id": 3, "UpdatedAt": -1}, "UpdatedAt: expected a time, found a number"),
        ({"id": CANARY}, "id: expected a whole number, found a text"),
        ({"id": 0}, "id: expected, not found"),
        ({"mail": CANARY}, "id: expected, not found"),
        (CANARY, "expected a contact, found a text"),
        (None, "expected a contact, found null"),
    ],
)
def test_a_contact_that_cannot_be_read_is_told_by_its_place_and_stops_the_page(
    row: object, reason: str
) -> None:
    with pytest.raises(ShapeError) as caught:
        contacts_from_search({"data": {"contacts": [{"id": 1}, {"id": 2}, row, {"id": 4}]}})
    assert str(caught.value) == f"contact 3 of the page: {reason}"


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        ("mail", ["a"], "mail"),
        ("phone", {}, "phone"),
        ("birth_city", ["a"], "birthcity"),
        ("birthdate", ["a"], "birthdate"),
        ("age_category", -1, "age_category"),
        ("nationbuilderid", "NB12", "nationbuilderid"),
        ("group_id", "a", "group_id"),
        ("black_list", "yes", "black_list"),
        ("CreatedAt", "in March", "created_at"),
        ("lastchange", 12, "last_change"),
        ("notes", "text", "notes"),
        ("notes", [{"data": {}}], "notes"),
        ("tags", "a", "tags"),
        ("tags", ["helper", ["a"]], "tags"),
        ("action_ids", [8, "a"], "action_ids"),
        ("address", "12 rue Verte", "address"),
    ],
)
def test_an_unreadable_member_is_kept_as_it_is_and_hides_nothing_else(
    name: str, value: object, field: str
) -> None:
    """One odd value of one person would make the whole space unreadable."""
    row: dict[str, Any] = {**ROW, name: value}
    empty = getattr(Contact(), field)
    more = CONTACT.more
    expected: dict[str, Any] = {field: empty}
    if name == "address":
        more = {place: member for place, member in more.items() if not place.startswith("address.")}
        expected["address_id"] = None
    for contact in (contacts_from_search({"data": {"contacts": [row]}})[0], contact_from_get(_wrapped(row))):
        assert contact == replace(CONTACT, **expected, more={**more, name: value})


@pytest.mark.parametrize(
    ("name", "field"), [("city", {}), ("latitude", [1]), ("id", "x12"), ("housenumber", True)]
)
def test_an_unreadable_part_of_an_address_is_kept_beside_the_others(name: str, field: object) -> None:
    contact = contact_from_search({**ROW, "address": {**ROW["address"], name: field}})
    assert contact.more == {**CONTACT.more, f"address.{name}": field}
    assert contact.address == {part: text for part, text in CONTACT.address.items() if part != name}
    assert contact.address_id == (None if name == "id" else 12)


@pytest.mark.parametrize(
    "entry",
    ["a", [], 12, {"form_id": -1, "data": "a"}, {"form_id": 3, "data": {}}, {"form_id": 3, "date": "a"}],
)
@pytest.mark.parametrize("name", ["formdatas", "custom_fields", "customfields"])
def test_an_unreadable_answer_is_kept_and_the_others_are_read(name: str, entry: object) -> None:
    taken_back = {"form_id": -1, "deleted_at": "2026-07-16T12:00:00Z"}
    entries = [{"form_id": 3, "data": "x"}, entry, None, taken_back, {"form_id": 5, "data": "y"}]
    contact = contact_from_search({"id": 7, name: entries})
    assert [(answer.form, answer.value) for answer in contact.answers] == [(3, "x"), (5, "y")]
    assert contact.more == {name: [entry]}


@pytest.mark.parametrize("answers", [{}, "a", 12, True])
def test_answers_that_are_no_array_are_kept_as_they_are(answers: object) -> None:
    contact = contact_from_search({"id": 7, "custom_fields": answers})
    assert contact == Contact(id=7, more={"custom_fields": answers})


def test_another_spelling_stands_in_for_an_unreadable_one() -> None:
    contact = contact_from_search({"id": 7, "birth_city": [1], "birthcity": "Lyon"})
    assert contact == Contact(id=7, birthcity="Lyon", more={"birth_city": [1]})
    with pytest.raises(ShapeError, match=r"^updated_at: expected a time, found another text$"):
        contact_from_get({"id": 7, "updated_at": "in March"})


@pytest.mark.parametrize(
    "document", [None, [], "x", {}, {"status": "success"}, {"data": None}, {"data": []}, {"data": {}}]
)
def test_an_answer_of_another_shape_is_not_an_empty_one(document: object) -> None:
    """Where it would be, a sweep would end early, and forms would look removed."""
    for read in (contacts_from_search, contact_from_get, total_from_kpi, form_from_get):
        with pytest.raises(ShapeError, match=r"^the answer has no data\.[a-z]+$"):
            read(document)
    with pytest.raises(ShapeError, match=r"^the answer has no data\.forms$"):
        forms_from_list(document, "survey")


@pytest.mark.parametrize(("total", "expected"), [(0, 0), (12, 12), ("12", 12), (1e6, 1_000_000)])
def test_a_count_is_a_whole_number(total: object, expected: int) -> None:
    count = total_from_kpi({"data": {"total": total}, "status": "success"})
    assert count == expected
    assert type(count) is int


@pytest.mark.parametrize("total", [None, "", -1, 1.5, True, "many", [], math.nan])
def test_anything_else_is_no_count(total: object) -> None:
    with pytest.raises(ShapeError, match=r"^total: expected a whole number, found [a-z ]+$"):
        total_from_kpi({"data": {"total": total}})


# --- forms


def _forms(*forms: object) -> dict[str, object]:
    return {"status": "success", "data": {"forms": list(forms)}}


FORM = {
    "id": 3,
    "group_id": 991,
    "label": "Newsletter",
    "type": "radio",
    "refvalues": [
        {"id": 31, "form_id": 3, "label": "Agrees by mail", "value": "consent_email"},
        {"id": 32, "form_id": 3, "label": "Refusal", "value": "refus"},
    ],
}
READ = Form(
    3,
    "Newsletter",
    "consent",
    "radio",
    (Option(31, "Agrees by mail", "consent_email"), Option(32, "Refusal", "refus")),
)


def test_forms_are_read_from_a_list_and_one_by_one() -> None:
    assert forms_from_list(_forms(FORM), "consent") == [READ]
    assert form_from_get({"status": "success", "data": {"form": FORM}}, "consent") == READ
    assert forms_from_list({"data": {"forms": None}}, "consent") == []


@pytest.mark.parametrize("form_type", KINDS)
def test_the_type_of_a_form_is_the_one_asked_for(form_type: str) -> None:
    assert [form.type for form in forms_from_list(_forms(FORM), form_type)] == [form_type]


@pytest.mark.parametrize(
    ("said", "asked", "form_type", "widget"),
    [
        ("radio", "", "", "radio"),
        ("Radio", "", "", "radio"),
        ("consent", "", "consent", ""),
        ("consent", "survey", "survey", ""),
        ("range", "survey", "survey", "range"),
        (None, "survey", "survey", ""),
        ([], "survey", "survey", ""),
    ],
)
def test_what_a_form_calls_its_type_is_its_widget_unless_it_is_a_type(
    said: object, asked: str, form_type: str, widget: str
) -> None:
    form = form_from_get({"data": {"form": {**FORM, "type": said}}}, asked)
    assert (form.type, form.widget) == (form_type, widget)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"id": "3"}, Form(3, "", "survey")),
        ({"id": 3, "label": 2026, "refvalues": None}, Form(3, "2026", "survey")),
        ({"id": 3, "label": {}, "refvalues": {}}, Form(3, "", "survey")),
        (
            {"id": 3, "label": "x", "refvalues": [None, "y", {"id": 4}, {"label": "z", "value": 5}]},
            Form(3, "x", "survey", "", (Option(4), Option(0, "z", "5"))),
        ),
    ],
)
def test_odd_members_of_a_form_are_borne(form: object, expected: Form) -> None:
    assert forms_from_list(_forms(form, None, "x", {}, {"id": 0}, {"id": []}), "survey") == [expected]


def test_only_known_types_of_forms_are_asked_for_and_only_arrays_are_lists() -> None:
    with pytest.raises(ValueError, match=r"^no type of forms; they are consent, level_of_support, survey"):
        forms_from_list(_forms(), "consents")
    with pytest.raises(ShapeError, match=r"^forms: expected an array, found an object$"):
        forms_from_list({"data": {"forms": {}}}, "consent")
    with pytest.raises(ShapeError, match=r"^form: expected an object with an id$"):
        form_from_get({"data": {"form": {"label": "x"}}})


# --- anything at all


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.just("\ud800")
    | st.sampled_from(["2026-07-16T12:00:00Z", "0001-01-01T00:00:00Z", CANARY]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "name", "data", "form_id", "date", CANARY]), inner, max_size=4
        )
    ),
    max_leaves=8,
)
MEMBERS = [name for name in ROW if name != "id"]
rows = st.fixed_dictionaries(
    {"id": st.integers(1, 9) | anything},
    optional=dict.fromkeys([*MEMBERS, "customfields", "actions_ids", "birthcity", CANARY], anything),
)
documents = anything | st.fixed_dictionaries(
    {
        "data": anything
        | st.fixed_dictionaries(
            {},
            optional={
                "contacts": st.lists(rows | anything, max_size=3) | anything,
                "contact": rows | anything,
                "forms": st.lists(anything, max_size=3) | anything,
                "form": anything,
                "total": anything,
            },
        )
    }
)


@settings(fixed, max_examples=200)
@given(documents)
def test_whatever_an_answer_holds_it_is_read_or_told_in_one_line_without_a_value(document: object) -> None:
    readers: list[Callable[[object], object]] = [
        contacts_from_search,
        contact_from_search,
        contact_from_get,
        total_from_kpi,
        form_from_get,
        lambda listed: forms_from_list(listed, "survey"),
    ]
    for read in readers:
        told = ""
        try:
            found = read(document)
        except ShapeError as error:
            told = str(error)
        else:
            told = "" if isinstance(found, Form | int) else repr(found)
        assert CANARY not in told
        assert "\n" not in told


@settings(fixed, max_examples=150)
@given(rows)
def test_a_contact_that_was_read_has_values_of_the_right_types(row: dict[str, Any]) -> None:
    try:
        contact = contact_from_search(row)
    except ShapeError:
        return
    kinds = {"str": str, "int": int, "bool": bool, "datetime": datetime}
    for field in fields(Contact):
        value = getattr(contact, field.name)
        kind = kinds.get(str(field.type).removesuffix(" | None"))
        if kind is not None:
            assert value is None or type(value) is kind, field.name
            assert value != ""
    assert contact.id > 0
    assert all(type(text) is str and text for text in (*contact.address.values(), *contact.tags))
    assert all(type(note.content) is str for note in contact.notes)
    assert all(type(answer.form) is int and type(answer.value) is str for answer in contact.answers)
    assert None not in contact.more.values()
