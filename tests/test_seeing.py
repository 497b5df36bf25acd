"""Harmless differences are none, all others are named; whoever may be the same person fits."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_partial import contents as partial_contents
from test_sandbox_client import Client
from test_writing import FORMS, contacts, flat_shape, get_shape, search_shape, stored

from syncengine.partial import changed, kept, merged
from syncengine.qomon.client import QomonClient
from syncengine.qomon.contact import Answer, Contact, Note
from syncengine.qomon.fields import PLAIN_TEXT
from syncengine.qomon.forms import Form, Forms, Option, decode
from syncengine.qomon.seeing import differences, fits, is_multiple, meaning
from syncengine.qomon.writing import upsert_document
from syncengine.sandbox import Sandbox, SandboxOptions
from syncengine.sandbox.unknowns import Unknowns
from syncengine.seen import Difference

fixed = settings(derandomize=True, deadline=None, max_examples=80)


def told(content: dict[str, Any], seen: Contact, ignore: tuple[str, ...] = ()) -> dict[str, tuple[Any, Any]]:
    found = differences(content, seen, FORMS, ignore)
    shown = {difference.field: (difference.sent, difference.seen) for difference in found}
    assert len(shown) == len(found)
    return shown


def answered(kind: str, named: int | str, *values: str) -> dict[str, Any]:
    form_key = "id" if isinstance(named, int) else "label"
    return {kind: [{form_key: named, "value": value} for value in values]}


# --- what was sent is what is seen


@pytest.mark.parametrize("show", [search_shape, get_shape, flat_shape])
@settings(fixed)
@given(contact=contacts)
def test_whatever_qomon_makes_of_a_content_is_seen_as_sent(
    show: Callable[[dict[str, Any]], Contact], contact: Contact
) -> None:
    document = upsert_document(contact)
    seen = show(stored(document))
    assert differences(document["data"], seen, FORMS) == []
    decoded = replace(seen, answers=decode(seen.answers, FORMS))
    assert differences(document["data"], decoded, FORMS) == []
    assert fits(document["data"], seen) or not (
        document["data"].get("mail") or document["data"].get("surname")
    )


@settings(fixed)
@given(contacts, contacts, st.randoms())
def test_what_qomon_holds_besides_is_left_alone(contact: Contact, other: Contact, dice: Random) -> None:
    content = upsert_document(contact)["data"]
    ours, theirs = search_shape(stored({"data": content})), search_shape(stored(upsert_document(other)))
    plain = {
        name: getattr(theirs, name)
        for name in (*PLAIN_TEXT, "mail", "birthdate", "age_category", "black_list")
        if name not in content
    }
    both: dict[str, Any] = {
        name: dice.sample(both, len(both))
        for name in ("tags", "notes", "answers")
        for both in [[*getattr(ours, name), *getattr(theirs, name)]]
    }
    more = replace(ours, **plain, **both, address={**theirs.address, **ours.address})
    assert differences(content, more, FORMS) == []


def test_nothing_is_seen_of_nobody() -> None:
    content = {
        "id": 7,
        "nationbuilderid": 8,
        "surname": "Dupré",
        "phone": "",
        "mail": "ada@members.example",
        "birthdate": "1987-03-05T00:00:00Z",
        "age_category": 3,
        "black_list": True,
        "address": {"city": "Lyon", "floor": ""},
        "tags": [{"name": "driver"}],
        "notes": [{"content": "calls back"}],
        **answered("consents", "Newsletter", "yes"),
        **answered("custom_fields", 4, "climate", "Work"),
    }
    assert differences(content, Contact(id=9), FORMS) == [
        Difference("surname", "Dupré", None),
        Difference("mail", "ada@members.example", None),
        Difference("birthdate", "1987-03-05", None),
        Difference("age_category", 3, None),
        Difference("black_list", True, None),
        Difference("address.city", "Lyon", None),
        Difference("tags", ["driver"], None),
        Difference("notes", ["calls back"], None),
        Difference("consents.Newsletter", ["Agrees"], None),
        Difference("custom_fields.#4", ["Climate", "Work"], None),
    ]


# --- plain values


def decomposed(text: str) -> str:
    return unicodedata.normalize("NFD", text)


@pytest.mark.parametrize(
    ("name", "sent", "seen"),
    [
        ("surname", "Dupré", decomposed("Dupré")),
        ("surname", "de la  Cruz", " DE LA CRUZ "),
        ("surname", "Ünal-Öz", decomposed("ÜNAL-ÖZ")),
        ("surname", "Groß", "GROSS"),
        ("nationality", "12", "12.0"),
        ("mail", "ada@members.example", "Ada@Members.Example "),
        ("phone", "06 12 34 56 78", "+33612345678"),
        ("phone", "+33 (0)6 12.34.56.78", "0033612345678"),
        ("mobile", "0612345678", "06-12-34-56-78"),
        ("mobile", "0049 170 1234567", "+491701234567"),
        ("mobile", "no number", "No Number"),
        ("phone", "112", "112"),
        ("birthdate", "1987-03-05T00:00:00Z", "1987-03-05"),
        ("birthdate", "1987-03-05T00:00:00Z", "1987-03-05T00:00:00.000+01:00"),
        ("birthdate", "in March", "In  march"),
        ("phone", "", None),
        ("black_list", False, None),
        ("black_list", False, False),
        ("age_category", 0, None),
    ],
)
def test_a_harmless_difference_of_a_plain_value_is_none(name: str, sent: object, seen: object) -> None:
    for one, other in ((sent, seen), (seen, sent)):
        assert told({name: one}, Contact(id=1, **{name: other})) == {}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "sent", "seen", "shown"),
    [
        ("surname", "Dupré", "Dupre", ("Dupré", "Dupre")),
        ("surname", "de la Cruz", "delaCruz", ("de la Cruz", "delaCruz")),
        ("birthdept", "01", "1", ("01", "1")),
        ("phone", "06 12 34 56 78", "+33612345679", ("06 12 34 56 78", "+33612345679")),
        ("phone", "112", "+33112", ("112", "+33112")),
        ("phone", "none", "+33112", ("none", "+33112")),
        ("phone", "000", "00", ("000", "00")),
        ("phone", "", "+33112", ("", "+33112")),
        ("birthdate", "1987-03-05T00:00:00Z", "1987-05-03T00:00:00Z", ("1987-03-05", "1987-05-03")),
        ("birthdate", "1987-03-05T00:00:00Z", "in March", ("1987-03-05", "in March")),
        ("mail", "straße@a.example", "strasse@a.example", ("straße@a.example", "strasse@a.example")),
        ("black_list", True, False, (True, None)),
        ("black_list", False, True, (False, True)),
        ("age_category", 3, 4, (3, 4)),
        ("age_category", 3, 0, (3, None)),
    ],
)
def test_another_value_is_told_as_sent_and_as_seen(
    name: str, sent: object, seen: object, shown: tuple[object, object]
) -> None:
    contact = Contact(id=1, **{name: seen})  # type: ignore[arg-type]
    assert told({name: sent}, contact) == {name: shown}


def test_long_numbers_are_compared_to_the_last_digit() -> None:
    sent, seen = {"nationality": "12345678901234567"}, Contact(id=1, nationality="12345678901234568")
    assert told(sent, seen).keys() == {"nationality"}


@pytest.mark.parametrize(
    ("sent", "seen", "fields"),
    [
        ({"city": "Saint-Étienne"}, {"city": "SAINT-ÉTIENNE", "latitude": "45.4", "state": "Loire"}, set()),
        ({"housenumber": "12"}, {"housenumber": "12.0"}, set()),
        (
            {"latitude": "45.75012", "longitude": "4.85"},
            {"latitude": "45.7501", "longitude": "4.8500"},
            set(),
        ),
        ({"latitude": "45.75049"}, {"latitude": "45.75051"}, set()),
        ({"latitude": "45.750"}, {"latitude": "45.752"}, {"address.latitude"}),
        ({"latitude": "north"}, {"latitude": "45.752"}, {"address.latitude"}),
        ({"floor": ""}, {}, set()),
        ({"floor": ""}, {"floor": "2"}, {"address.floor"}),
        ({"postalcode": "01000"}, {"postalcode": "1000"}, {"address.postalcode"}),
        ({"city": "Lyon", "street": "Rue A"}, {"city": "Paris"}, {"address.city", "address.street"}),
    ],
)
def test_of_an_address_each_part_of_ours_is_compared(
    sent: dict[str, str], seen: dict[str, str], fields: set[str]
) -> None:
    contact = Contact(id=1, address=seen)
    assert told({"address": sent}, contact).keys() == fields
    assert told({"address": sent}, contact, ignore=("address",)) == {}
    for field in fields:
        assert told({"address": sent}, contact, ignore=(field,)).keys() == fields - {field}


# --- tags and notes


def test_all_tags_of_ours_must_be_seen() -> None:
    sent = {"tags": [{"name": "driver"}, {"name": "Étudiant"}]}
    assert told(sent, Contact(id=1, tags=("x", decomposed("étudiant"), "DRIVER"))) == {}
    assert told(sent, Contact(id=1, tags=("driver", "x"))) == {
        "tags": (["driver", "Étudiant"], ["driver", "x"])
    }
    assert told(sent, Contact(id=1)) == {"tags": (["driver", "Étudiant"], None)}
    assert told(sent, Contact(id=1), ignore=("tags",)) == {}


def test_all_notes_of_ours_must_be_seen_and_others_are_not_told() -> None:
    sent = {"notes": [{"content": "calls back"}, {"content": "old friend"}]}
    theirs = Note("by staff", id=3)
    both = Contact(id=1, notes=(Note("Calls  back", id=1), theirs, Note("old friend\n", pinned=True, id=2)))
    assert told(sent, both) == {}
    assert told(sent, replace(both, notes=both.notes[:2])) == {
        "notes": (["calls back", "old friend"], ["calls back"])
    }
    assert told(sent, replace(both, notes=(theirs,))) == {"notes": (["calls back", "old friend"], None)}


# --- answers


def option(form: int, ref_id: int | None, text: str) -> Answer:
    return Answer(form=form, value=text, ref_id=ref_id, stored=text, id=90)


@pytest.mark.parametrize("named", ["Newsletter", 3])
@pytest.mark.parametrize("text", ["yes", "Agrees"])
@pytest.mark.parametrize(
    "seen",
    [option(3, 31, "yes"), option(3, None, "yes"), option(3, None, "Agrees"), option(3, 31, "was renamed")],
)
def test_a_choice_is_the_option_chosen_however_it_is_named(named: int | str, text: str, seen: Answer) -> None:
    contact = Contact(id=1, answers=(option(4, 41, "climate"), seen))
    assert told(answered("consents", named, text), contact) == {}
    assert (
        told(answered("consents", named, text), replace(contact, answers=decode(contact.answers, FORMS)))
        == {}
    )


@pytest.mark.parametrize("named", ["Newsletter", 3])
def test_another_option_is_told_by_its_label(named: int | str) -> None:
    field = f"consents.{named if isinstance(named, str) else f'#{named}'}"
    contact = Contact(id=1, answers=(option(3, 32, "no"), option(3, 39, "old")))
    assert told(answered("consents", named, "yes"), contact) == {field: (["Agrees"], ["Refusal", "old"])}
    for ignored in ("consents", "consents.Newsletter", "consents.#3"):
        assert told(answered("consents", named, "yes"), contact, ignore=(ignored,)) == {}


def test_every_answer_of_ours_to_a_form_must_be_seen() -> None:
    contact = Contact(id=1, answers=(option(4, 43, "pets"), option(4, 41, "climate"), option(5, 51, "baker")))
    assert told(answered("custom_fields", "Interests", "climate"), contact) == {}
    assert told(answered("custom_fields", "Interests", "climate", "Work"), contact) == {
        "custom_fields.Interests": (["Climate", "Work"], ["Pets", "Climate"])
    }


def test_each_form_is_compared_for_itself() -> None:
    content = {
        "custom_fields": [
            {"label": "Interests", "value": "climate"},
            {"label": "Profession", "value": "baker"},
            {"id": 5, "value": "cook"},
        ]
    }
    contact = Contact(id=1, answers=(option(4, 41, "climate"), option(5, 51, "Baker")))
    assert told(content, contact) == {
        "custom_fields.Profession": (["baker"], None),
        "custom_fields.#5": (["cook"], ["Baker"]),
    }


SHAPED = Forms(
    [
        Form(1, "Score", "survey", "numeric", (Option(11),)),
        Form(2, "Since", "survey", "date", (Option(21),)),
        Form(3, "Word", "survey", "text", (Option(31),)),
    ]
)


@pytest.mark.parametrize(
    ("form", "sent", "seen", "is_same"),
    [
        (1, "12", "12.0", True),
        (1, "007", "7", True),
        (1, "+1.50", "1.5", True),
        (1, "12", "13", False),
        (2, "2026-07-16", "2026-07-16T00:00:00.000Z", True),
        (2, "2026-07-16T10:00:00Z", "2026-07-16", True),
        (2, "1066-10-14", "1066-10-14T00:00:00Z", True),
        (2, "2026-07-16", "2026-07-17", False),
        (2, "2026-07-16", "16/07/2026", False),
        (3, " Baker", "baker ", True),
        (3, "12", "12.0", True),
        (3, "007", "7", False),
        (3, "baker", "cook", False),
    ],
)
def test_a_free_answer_is_compared_as_what_it_is(form: int, sent: str, seen: str, *, is_same: bool) -> None:
    contact = Contact(id=1, answers=(Answer(form=form, value=seen, ref_id=form * 10 + 1, stored=seen, id=9),))
    found = differences(answered("forms", form, sent), contact, SHAPED)
    assert [difference.field for difference in found] == ([] if is_same else [f"forms.#{form}"])


def test_days_of_date_forms_are_told_as_days() -> None:
    contact = Contact(id=1, answers=(option(2, 21, "2026-07-17T00:00:00Z"),))
    found = differences(answered("forms", 2, "2026-07-16T00:00:00Z"), contact, SHAPED)
    assert found == [Difference("forms.#2", ["2026-07-16"], ["2026-07-17"])]


def test_an_answer_to_a_form_nobody_knows_is_compared_by_its_id_or_not_seen() -> None:
    contact = Contact(id=1, answers=(option(98, 7, "Yes"),))
    assert told(answered("consents", 98, "yes"), contact) == {}
    assert told(answered("consents", 98, "no"), contact) == {"consents.#98": (["no"], ["Yes"])}
    assert told(answered("consents", "Was renamed", "yes"), contact) == {
        "consents.Was renamed": (["yes"], None)
    }
    assert told(answered("consents", "Was renamed", "yes"), contact, ("consents.Was renamed",)) == {}


def test_an_option_that_is_none_any_more_is_compared_by_its_text() -> None:
    sent = answered("consents", "Newsletter", "maybe")
    assert told(sent, Contact(id=1, answers=(option(3, 39, "Maybe"),))) == {}
    assert told(sent, Contact(id=1, answers=(option(3, 31, "yes"),))) == {
        "consents.Newsletter": (["maybe"], ["Agrees"])
    }


def test_the_label_that_two_options_share_names_the_first() -> None:
    forms = Forms([Form(3, "N", "consent", "radio", (Option(1, "Yes", "y1"), Option(2, "Yes", "y2")))])
    first, second = (Contact(id=1, answers=(option(3, n, f"y{n}"),)) for n in (1, 2))
    for text in ("y1", "Yes"):
        assert differences(answered("consents", 3, text), first, forms) == []
    assert differences(answered("consents", 3, "y1"), second, forms) == [
        Difference("consents.#3", ["y1"], ["y2"])
    ]


def test_an_answer_to_the_form_of_another_kind_is_not_seen() -> None:
    contact = Contact(id=1, answers=(option(3, 31, "yes"),))
    assert told(answered("forms", "Newsletter", "yes"), contact) == {"forms.Newsletter": (["yes"], None)}


# --- what a partial send needs to know of forms


def test_only_a_form_that_is_known_can_have_several_answers() -> None:
    has_several = is_multiple(FORMS)
    assert has_several("custom_fields", {"label": "Interests", "value": "x"})
    assert has_several("custom_fields", {"id": 4, "value": "x"})
    assert not has_several("consents", {"id": 4, "value": "x"})
    assert not has_several("consents", {"label": "Newsletter", "value": "x"})
    assert not has_several("custom_fields", {"label": "Was renamed", "value": "x"})


def test_answers_mean_the_same_however_form_and_option_are_named() -> None:
    means = meaning(FORMS)
    entries = [
        {**form, "value": text} for form in ({"label": "Newsletter"}, {"id": 3}) for text in ("yes", "Agrees")
    ]
    assert len({means("consents", entry) for entry in entries}) == 1
    assert means("consents", {"id": 3, "value": "no"}) != means("consents", entries[0])
    assert means("custom_fields", {"label": "Profession", "value": "x"}) == ("Profession", "x")


def test_a_mapping_that_names_forms_otherwise_leaves_nothing_behind() -> None:
    applied = answered("consents", "Newsletter", "yes") | answered("custom_fields", "Interests", "climate")
    content = answered("consents", 3, "Agrees") | answered("custom_fields", 4, "Climate")
    assert changed(applied, content) == content
    assert merged(applied, content, is_multiple(FORMS), meaning(FORMS)) == content
    assert kept(applied, content, is_multiple(FORMS), meaning(FORMS)) == {}


@settings(fixed)
@given(partial_contents, partial_contents)
def test_what_is_merged_by_forms_holds_all_of_ours(applied: dict[str, Any], content: dict[str, Any]) -> None:
    held = merged(applied, content, is_multiple(FORMS), meaning(FORMS))
    assert changed(held, content) == {}
    assert kept(content, content, is_multiple(FORMS), meaning(FORMS)) == {}


# --- who may be the same person

ADA = {"surname": "Dupré", "firstname": "Ada"}
BORN = {"birthdate": "1987-03-05T00:00:00Z"}
LYON = {"city": "Lyon", "postalcode": "69001", "street": "Rue A"}
PARIS = {"city": "Paris", "postalcode": "75001", "street": "Rue B"}
MAIL = {"mail": "ada@members.example"}


@pytest.mark.parametrize(
    ("content", "seen", "is_fit"),
    [
        (MAIL, {**MAIL, **ADA}, True),
        ({**MAIL, "surname": "DUPRE"}, {"mail": "Ada@Members.example", "surname": "Dupré"}, True),
        ({**MAIL, **ADA}, {**MAIL, "surname": "Dupré"}, True),
        ({**MAIL, **ADA}, {**MAIL, **ADA, "firstname": "Bob"}, False),
        ({**MAIL, "firstname": "Ada"}, {**MAIL, **ADA, "firstname": "Bob"}, False),
        ({**MAIL, **ADA}, {"mail": "other@members.example", **ADA}, True),
        (ADA, {**ADA, **MAIL}, True),
        ({"surname": "Dupré"}, {"surname": "Dupré"}, True),
        ({"surname": "Dupré"}, ADA, False),
        ({"firstname": "Ada"}, {"firstname": "Ada"}, False),
        ({**ADA, **BORN}, {**ADA, "birthdate": "1987-03-05"}, True),
        ({**ADA, **BORN}, {**ADA, "birthdate": "1987-03-06T00:00:00Z"}, False),
        ({**ADA, **BORN}, ADA, True),
        ({**ADA, "address": LYON}, {**ADA, "address": PARIS}, False),
        ({**ADA, "address": LYON}, ADA, True),
        ({**ADA, "address": LYON}, {**ADA, "address": {**LYON, "street": "rue  a"}}, True),
        ({**ADA, "address": LYON}, {**ADA, "address": {**LYON, "street": "Rue B"}}, False),
        ({**ADA, **BORN, "address": LYON}, {**ADA, **BORN, "address": {**LYON, "street": "Rue B"}}, True),
        ({**ADA, **BORN, "address": LYON}, {**ADA, **BORN, "address": PARIS}, False),
        ({**ADA, "address": LYON}, {**ADA, "address": {"city": "Lyon", "postalcode": "69002"}}, True),
        ({}, {}, False),
    ],
)
def test_who_fits_is_whom_rule_two_or_three_could_take(
    content: dict[str, Any], seen: dict[str, Any], *, is_fit: bool
) -> None:
    assert fits(content, Contact(id=1, **seen)) is is_fit


def test_no_difference_shows_a_value_in_its_repr() -> None:
    (difference,) = differences({"surname": "Canary"}, Contact(id=1, surname="Canaries"), FORMS)
    assert "Canar" not in repr(difference)


def test_a_content_is_compared_as_it_is_stored() -> None:
    stored_json = orjson.dumps({"surname": "Dupré", "black_list": False, **answered("consents", 3, "yes")})
    contact = Contact(id=1, surname="Dupré", answers=(option(3, 31, "yes"),))
    assert told(orjson.loads(stored_json), contact) == {}


# --- against a whole space


WHOLE = {
    "firstname": "Ada",
    "surname": "Dupré",
    "mail": "ada@canary.example",
    "phone": "06 12 34 56 78",
    "birthdate": "1987-03-05T00:00:00Z",
    "age_category": 0,
    "black_list": False,
    "address": {"street": "Rue A", "postalcode": "69001", "city": "LYON", "floor": ""},
    "tags": [{"name": "driver"}],
    "notes": [{"content": "calls back"}],
    "consents": [{"label": "Newsletter", "value": "By e-mail"}],
    "custom_fields": [
        {"label": "Joined", "value": "2024-05-01"},
        {"label": "Languages", "value": "French"},
        {"label": "Languages", "value": "de"},
        {"label": "Shares", "value": "12.50"},
        {"label": "Size", "value": "M"},
    ],
    "name_presences": [{"label": "Assembly", "value": "present"}],
}


async def test_a_space_that_rewrites_phones_and_cities_shows_no_difference_but_what_staff_changed() -> None:
    options = SandboxOptions(unlimited=True, search_lag=0.0, unknowns=Unknowns(phones="e164", geocoding="on"))
    async with (
        Sandbox(options) as server,
        QomonClient(server.api_key, base_url=server.base_url) as qomon,
    ):
        client = Client(server.base_url, server.api_key)
        forms = await qomon.forms()
        await client.accepted(WHOLE)
        (shown,) = await qomon.page()
        single = await qomon.contact(shown.id)
        assert single is not None
        for seen in (shown, single):
            assert differences(WHOLE, seen, forms) == []
            assert fits(WHOLE, seen)
        edit = {
            "id": shown.id,
            "mobile": "1",
            "surname": "Durand",
            "consents": [{"label": "Newsletter", "value": "refus"}],
        }
        await client.accepted(edit)
        (edited,) = await qomon.page()
        assert differences(WHOLE, edited, forms) == [
            Difference("surname", "Dupré", "Durand"),
            Difference("consents.Newsletter", ["By e-mail"], ["Refusal"]),
        ]
