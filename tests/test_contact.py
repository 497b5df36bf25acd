"""A contact for the caller: nothing of a person in its repr, nothing that can be changed."""

import pickle
from copy import deepcopy
from dataclasses import FrozenInstanceError, asdict, fields, replace
from datetime import UTC, datetime

import pytest

from syncengine.qomon.contact import Answer, Contact, Note
from syncengine.qomon.fields import ADDRESS, FLAGS, IDS, NUMBERS, TOP_LEVEL

CANARY = "Canary"
NOW = datetime(2026, 10, 1, tzinfo=UTC)
TEXTS = {
    field.name: CANARY for field in fields(Contact) if field.type == "str | None" and field.name != "mail"
}


def test_a_contact_shows_its_id_and_nothing_else() -> None:
    contact = Contact(
        id=7,
        group_id=991,
        created_at=NOW,
        mail="canary@members.example",
        age_category=993,
        black_list=True,
        address={"city": CANARY},
        tags=(CANARY,),
        notes=(Note(CANARY),),
        answers=(Answer("consents", CANARY, CANARY),),
        action_ids=(994,),
        more={"membership_code": CANARY},
        **TEXTS,  # type: ignore[arg-type]  # all of them are texts
    )
    assert "surname" in TEXTS
    assert repr(contact) == f"{contact}" == "Contact(id=7)"


def test_a_note_and_an_answer_show_what_they_are_about_not_what_they_say() -> None:
    assert repr(Note(CANARY, pinned=True, id=3, created_at=NOW)) == "Note(id=3)"
    answer = Answer(
        "consents", 12, CANARY, label="Newsletter", ref_id=5, stored=CANARY, id=6, answered_at=NOW
    )
    assert repr(answer) == "Answer(kind='consents', form=12, label='Newsletter')"


def test_a_contact_has_every_field_of_the_upsert() -> None:
    names = {field.name for field in fields(Contact)}
    assert {*TOP_LEVEL, *NUMBERS, *FLAGS, *IDS, ADDRESS, "gender", "external_id"} <= names


@pytest.mark.parametrize("name", ["mail", "address", "more", "tags"])
def test_a_contact_cannot_be_changed(name: str) -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(Contact(), name, "x")


def test_its_mappings_do_not_change_behind_its_back_and_it_can_be_copied() -> None:
    given = {"city": "Lyon"}
    contact = Contact(address=given, more=given)
    given["city"] = "Paris"
    assert contact.address == contact.more == {"city": "Lyon"}
    assert asdict(contact)["address"] == {"city": "Lyon"}
    assert pickle.loads(pickle.dumps(contact)) == deepcopy(contact) == contact


def test_contacts_compare_by_what_they_hold_and_can_be_replaced() -> None:
    contact = Contact(id=7, address={"city": "Lyon"}, tags=("a",))
    assert contact == Contact(id=7, address={"city": "Lyon"}, tags=("a",))
    other = replace(contact, address={**contact.address, "street": "rue Verte"})
    assert other.address == {"city": "Lyon", "street": "rue Verte"}
    assert other != contact
