from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncengine.identity import Identity, IdentityClass, identify, normalise

fixed = settings(derandomize=True, deadline=None)
texts = st.text(max_size=20)
contacts = st.fixed_dictionaries(
    {},
    optional={
        "mail": st.sampled_from(["", "a@b.org"]),
        "firstname": st.sampled_from(["", "Ann"]),
        "surname": st.sampled_from(["", "Lee"]),
        "birthdate": st.just("1980-01-02T00:00:00Z"),
        "address": st.fixed_dictionaries(
            {}, optional={"city": st.sampled_from(["", "Lyon"]), "postalcode": st.just("69001")}
        ),
        "phone": st.just("1"),
    },
)


@pytest.mark.parametrize(
    ("contact", "expected"),
    [
        ({}, IdentityClass.NONE),
        ({"firstname": "Ann", "phone": "1"}, IdentityClass.NONE),
        ({"surname": "Lee"}, IdentityClass.NAMES_ONLY),
        ({"surname": "Lee", "birthdate": "1980-01-02T00:00:00Z"}, IdentityClass.NAMES_ONLY),
        ({"surname": "Lee", "firstname": "Ann"}, IdentityClass.NAMES_ONLY),
        ({"surname": "Lee", "firstname": "Ann", "address": {"country": "France"}}, IdentityClass.NAMES_ONLY),
        ({"surname": "Lee", "firstname": "Ann", "address": {"city": "Lyon"}}, IdentityClass.NAMES),
        ({"surname": "Lee", "firstname": "Ann", "address": {"postalcode": "69001"}}, IdentityClass.NAMES),
        ({"surname": "Lee", "firstname": "Ann", "birthdate": "1980-01-02T00:00:00Z"}, IdentityClass.NAMES),
        ({"mail": "a@b.org"}, IdentityClass.MAIL_ONLY),
        ({"mail": "a@b.org", "firstname": "", "surname": " "}, IdentityClass.MAIL_ONLY),
        ({"mail": "a@b.org", "surname": "Lee"}, IdentityClass.MAIL),
        ({"mail": "a@b.org", "firstname": "Ann"}, IdentityClass.MAIL),
        ({"id": 7, "mail": "a@b.org", "surname": "Lee"}, IdentityClass.UNPROVEN),
        ({"nationbuilderid": 7}, IdentityClass.UNPROVEN),
    ],
)
def test_class_is_that_of_the_strongest_rule_that_can_match(
    contact: dict[str, Any], expected: IdentityClass
) -> None:
    assert identify(contact).identity is expected


def test_a_confirmed_id_outranks_everything() -> None:
    assert identify({}, confirmed=True).identity is IdentityClass.CONFIRMED
    assert identify({"id": 7}, confirmed=True).identity is IdentityClass.CONFIRMED


def test_identity_holds_the_normalised_mail_and_name() -> None:
    contact = {"mail": "Ann@B.org", "surname": "DUPRÉ", "firstname": "Ann  Marie"}
    assert identify(contact) == Identity(IdentityClass.MAIL, "ann@b.org", "dupre\x1fannmarie")
    assert identify({"firstname": "Ann"}).name == ""


@fixed
@given(contacts)
def test_identity_is_pure(contact: dict[str, Any]) -> None:
    before = repr(contact)
    assert identify(contact) == identify(contact)
    assert repr(contact) == before


@fixed
@given(contacts, st.sampled_from(["mail", "firstname", "surname", "birthdate"]))
def test_adding_a_mail_a_name_or_a_birthdate_never_weakens_an_identity(
    contact: dict[str, Any], field: str
) -> None:
    value = {"mail": "a@b.org", "firstname": "Ann", "surname": "Lee", "birthdate": "1980-01-02T00:00:00Z"}
    assert identify({**contact, field: value[field]}).identity >= identify(contact).identity


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("DUPRÉ", "dupre"),
        ("Dupré", unicodedata.normalize("NFD", "Dupré")),
        ("de la Cruz", "DELACRUZ"),
        (" Jean\u00a0Paul ", "jean  paul"),
        ("Łukasz Østergård", "lukasz ostergard"),
        ("Strauß", "STRAUSS"),
        ("Æbelø", "aebelo"),
        ("İnci", "inci"),
        ("ﬁn", "fin"),
        ("Zoe\u200b", "Zoë"),
    ],
)
def test_normalising_errs_towards_equal(one: str, other: str) -> None:
    assert normalise(one) == normalise(other)


@pytest.mark.parametrize(("one", "other"), [("Ann", "Anna"), ("राम", "रमा"), ("a@b.org", "a@b.com")])
def test_normalising_keeps_different_names_apart(one: str, other: str) -> None:
    assert normalise(one) != normalise(other)


@fixed
@given(texts)
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@fixed
@given(texts)
def test_case_and_composition_do_not_matter(text: str) -> None:
    assert normalise(unicodedata.normalize("NFD", text)) == normalise(text)
    assert normalise(text.upper()) == normalise(text.lower())
    assert normalise(f"  {text} ") == normalise(text)
