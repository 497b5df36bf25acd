"""Bodies of upserts: the stored contact or a part of it, but for ids, cleared names and notes sent before."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_tally import change

from syncengine.hashing import canonical, content_hash
from syncengine.qomon.bodies import upsert_body

values = st.text(max_size=12).filter(lambda text: text.encode("utf-8", "replace").decode() == text)
contacts = st.fixed_dictionaries(
    {},
    optional={
        "mail": values,
        "firstname": values,
        "surname": values,
        "phone": values,
        "birthdate": values,
        "id": st.integers(1, 10**12),
        "nationbuilderid": st.integers(1, 10**12),
        "address": st.dictionaries(st.sampled_from(["city", "street"]), values, max_size=2),
        "tags": st.lists(st.fixed_dictionaries({"name": values}), max_size=3),
        "notes": st.lists(st.fixed_dictionaries({"content": values}), min_size=1, max_size=3),
    },
)


def digest(note: dict[str, str]) -> bytes:
    return content_hash(note["content"].encode())


@settings(derandomize=True, deadline=None, max_examples=400)
@given(contacts, st.one_of(st.none(), st.integers(1, 10**9)), st.data())
def test_the_body_is_the_contact_but_for_what_may_not_go(
    contact: dict[str, object], remote_id: int | None, data: st.DataObject
) -> None:
    notes = contact.get("notes", [])
    assert isinstance(notes, list)
    fresh = [note for note in notes if data.draw(st.booleans())]
    stored = canonical(contact)
    body = json.loads(
        upsert_body(change(1, stored, remote_id=remote_id, notes=tuple(digest(note) for note in fresh)))
    )
    assert body.keys() == {"kind", "data"}
    assert body["kind"] == "contact"
    expected = {k: v for k, v in contact.items() if k not in {"id", "nationbuilderid", "notes"}}
    if remote_id is None:
        cleared = ("firstname", "surname", "married_name")
        expected = {k: v for k, v in expected.items() if not (v == "" and k in cleared)}
    else:
        expected["id"] = remote_id
    kept = [note for note in notes if digest(note) in {digest(n) for n in fresh}]
    if kept:
        expected["notes"] = kept
    assert body["data"] == expected


def test_a_plain_contact_goes_out_byte_by_byte_as_it_is_stored() -> None:
    stored = canonical({"mail": "a@example.org", "surname": "É", "address": {"city": "Łódź"}})
    assert upsert_body(change(1, stored)) == b'{"kind":"contact","data":' + stored + b"}"


def test_a_value_that_looks_like_a_key_changes_nothing() -> None:
    contact = {"surname": '"id":7', "phone": '"notes":', "firstname": "x"}
    assert orjson.loads(upsert_body(change(1, canonical(contact))))["data"] == contact


@settings(derandomize=True, deadline=None, max_examples=200)
@given(contacts, contacts, st.integers(1, 10**9), st.data())
def test_a_partial_body_is_the_id_what_it_carries_and_notes_never_sent(
    contact: dict[str, Any], carried: dict[str, Any], remote_id: int, data: st.DataObject
) -> None:
    carried = {
        name: value for name, value in carried.items() if name not in {"id", "nationbuilderid", "notes"}
    }
    fresh = {digest(note) for note in contact.get("notes", []) if data.draw(st.booleans())}
    body = json.loads(
        upsert_body(
            change(
                1,
                canonical(contact),
                remote_id=remote_id,
                notes=tuple(fresh),
                partial=canonical(carried),
            )
        )
    )
    expected = {**carried, "id": remote_id}
    if fresh:
        expected["notes"] = [note for note in contact["notes"] if digest(note) in fresh]
    assert body == {"kind": "contact", "data": expected}


def test_a_partial_body_clears_a_name_because_it_goes_by_the_id() -> None:
    stored = canonical({"mail": "a@example.org", "surname": "", "notes": [{"content": "calls back"}]})
    body = upsert_body(change(1, stored, remote_id=7, partial=canonical({"surname": ""})))
    assert orjson.loads(body) == {"kind": "contact", "data": {"id": 7, "surname": ""}}


def test_no_part_of_a_contact_goes_without_its_id() -> None:
    with pytest.raises(AssertionError, match="without its id"):
        upsert_body(change(1, b'{"mail":"a@example.org","phone":"1"}', partial=b'{"phone":"1"}'))
