"""What a partial send carries, what Qomon then holds of ours, and what it keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncengine.partial import changed, kept, literally, merged, ordered, united, without

fixed = settings(derandomize=True, deadline=None, max_examples=300)
ADVANCED = ("consents", "custom_fields")


def is_multiple(_kind: str, entry: Mapping[str, Any]) -> bool:
    return entry.get("label") == "Interests" or entry.get("id") == 4


def one_form(_kind: str, entry: Mapping[str, Any]) -> tuple[object, object]:
    """Newsletter is #3, Interests #4; `yes` and `Agrees` are one option."""
    form = entry.get("id") or {"Newsletter": 3, "Interests": 4}.get(entry["label"], entry["label"])
    return form, {"yes": "Agrees"}.get(entry["value"], entry["value"])


few = st.sampled_from(["", "a", "b"])
some = st.sampled_from(["a", "b", "c"])
answers = st.lists(
    st.fixed_dictionaries({"label": st.sampled_from(["Newsletter", "Interests", "Other"]), "value": some})
    | st.fixed_dictionaries({"id": st.sampled_from([4, 5]), "value": some}),
    min_size=1,
    max_size=4,
).map(ordered)


def named(inner: str) -> st.SearchStrategy[list[dict[str, str]]]:
    texts = st.sets(some, min_size=1)
    return texts.map(lambda found: [{inner: text} for text in sorted(found)])


contents: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "surname": few,
        "phone": few,
        "age_category": st.integers(0, 2),
        "black_list": st.booleans(),
        "id": st.integers(1, 2),
        "nationbuilderid": st.integers(1, 2),
        "address": st.dictionaries(st.sampled_from(["city", "street"]), few, min_size=1),
        "tags": named("name"),
        "notes": named("content"),
        **dict.fromkeys(ADVANCED, answers),
    },
)


def sendable(content: Mapping[str, Any], applied: Mapping[str, Any]) -> dict[str, Any]:
    """Return a content without what no partial send carries: ids, notes, texts that clear nothing."""
    left: dict[str, Any] = {}
    for name, value in content.items():
        before = applied.get(name)
        if name in {"id", "nationbuilderid", "notes"} or (value == "" and before is None):
            continue
        if name == "address":
            parts = {p: text for p, text in value.items() if text != "" or (before or {}).get(p) is not None}
            value = parts  # noqa: PLW2901 - what is left
            if not value:
                continue
        left[name] = value
    return left


# --- what goes


@fixed
@given(contents, contents)
def test_what_is_carried_makes_of_what_was_applied_what_the_whole_content_would(
    applied: dict[str, Any], content: dict[str, Any]
) -> None:
    carried = changed(applied, content)
    by_parts, at_once = merged(applied, carried, is_multiple), merged(applied, content, is_multiple)
    for held in (by_parts, at_once):  # an address whose one part changed carries its empty ones too
        held["address"] = {part: text for part, text in held.get("address", {}).items() if text}
    wanted = sendable(content, applied)
    left_alone = {name for name in content if name not in wanted}
    assert {n: v for n, v in by_parts.items() if n not in left_alone} == {
        n: v for n, v in at_once.items() if n not in left_alone
    }
    assert carried.keys() <= wanted.keys()


@fixed
@given(contents, contents)
def test_once_applied_nothing_is_left_to_send(applied: dict[str, Any], content: dict[str, Any]) -> None:
    held = merged(applied, content, is_multiple)
    assert changed(held, content) == {}
    assert merged(held, content, is_multiple) == held
    assert changed(merged(applied, content, is_multiple, one_form), content) == {}


@fixed
@given(contents, contents)
def test_whatever_goes_is_ours_as_it_is_in_the_content(
    applied: dict[str, Any], content: dict[str, Any]
) -> None:
    for name, value in changed(applied, content).items():
        if name in ADVANCED:
            forms = {literally(name, entry)[0] for entry in value}
            assert value == [entry for entry in content[name] if literally(name, entry)[0] in forms]
        else:
            assert value == content[name]


@pytest.mark.parametrize(
    ("applied", "content", "carried"),
    [
        ({}, {"mail": "a@b.example", "black_list": False}, {"mail": "a@b.example", "black_list": False}),
        ({"phone": "1"}, {"phone": "1"}, {}),
        ({"phone": "1"}, {"phone": "2"}, {"phone": "2"}),
        ({"phone": "1"}, {"phone": ""}, {"phone": ""}),
        ({"phone": ""}, {"phone": ""}, {}),
        ({}, {"phone": ""}, {}),
        ({"phone": "1", "tags": [{"name": "a"}]}, {}, {}),
        ({"id": 1}, {"id": 2, "nationbuilderid": 3}, {}),
        ({"notes": [{"content": "a"}]}, {"notes": [{"content": "b"}]}, {}),
    ],
)
def test_a_plain_value_goes_when_another_was_applied(
    applied: dict[str, Any], content: dict[str, Any], carried: dict[str, Any]
) -> None:
    assert changed(applied, content) == carried


def test_an_address_goes_as_one_value() -> None:
    applied = {"address": {"city": "Lyon", "street": "Rue A", "floor": "2"}}
    ours = {"city": "Lyon", "street": "Rue B"}
    assert changed(applied, {"address": ours}) == {"address": ours}
    assert changed(applied, {"address": {"city": "Lyon"}}) == {}
    assert changed(applied, {"address": {"city": "Lyon", "floor": ""}}) == {
        "address": {"city": "Lyon", "floor": ""}
    }
    assert changed(applied, {"address": {"city": "Lyon", "door": ""}}) == {}
    assert changed({}, {"address": {"city": ""}}) == {}


def test_tags_only_add() -> None:
    applied = {"tags": [{"name": "a"}, {"name": "b"}]}
    assert changed(applied, {"tags": [{"name": "a"}]}) == {}
    assert changed(applied, {"tags": [{"name": "a"}, {"name": "c"}]}) == {
        "tags": [{"name": "a"}, {"name": "c"}]
    }


def test_all_answers_to_a_form_go_or_none() -> None:
    applied = {
        "custom_fields": [
            {"label": "Interests", "value": "Climate"},
            {"label": "Profession", "value": "baker"},
            {"id": 7, "value": "x"},
        ]
    }
    content = {
        "custom_fields": [
            {"label": "Interests", "value": "Climate"},
            {"label": "Interests", "value": "Work"},
            {"label": "Profession", "value": "baker"},
            {"id": 8, "value": "x"},
        ]
    }
    assert changed(applied, content) == {
        "custom_fields": [
            {"label": "Interests", "value": "Climate"},
            {"label": "Interests", "value": "Work"},
            {"id": 8, "value": "x"},
        ]
    }


def test_the_same_form_of_another_kind_is_another_form() -> None:
    answer = [{"id": 7, "value": "x"}]
    assert changed({"forms": answer}, {"status": answer}) == {"status": answer}


@fixed
@given(contents, contents, contents)
def test_two_partial_sends_of_one_content_make_one_that_carries_both(
    applied: dict[str, Any], accepted: dict[str, Any], content: dict[str, Any]
) -> None:
    one, other = changed(applied, content), changed(accepted, content)
    both = united(one, other)
    assert both.keys() == one.keys() | other.keys()
    for held in (applied, accepted):
        after = merged(held, both, is_multiple)
        assert changed(after, content) == {}
    assert united(one, {}) == one


# --- what is held


@fixed
@given(contents, st.data())
def test_over_nothing_or_a_part_of_itself_a_content_gives_itself(
    content: dict[str, Any], data: st.DataObject
) -> None:
    assert merged({}, content, is_multiple) == content
    part: dict[str, Any] = {}
    for name, value in content.items():
        if not data.draw(st.booleans()):
            continue
        if isinstance(value, dict):
            part[name] = {p: text for p, text in value.items() if data.draw(st.booleans())}
        elif isinstance(value, list):
            part[name] = [entry for entry in value if data.draw(st.booleans())]
        else:
            part[name] = value
    assert merged(part, content, is_multiple) == content
    assert kept(part, content, is_multiple) == {}


@fixed
@given(contents, contents)
def test_nothing_is_changed_that_was_given(applied: dict[str, Any], content: dict[str, Any]) -> None:
    before = repr((applied, content))
    carried = changed(applied, content)
    merged(applied, content, is_multiple)
    kept(applied, content, is_multiple)
    united(carried, carried)
    assert repr((applied, content)) == before


@fixed
@given(contents, contents)
def test_all_of_ours_is_held_and_the_rest_is_what_is_kept(
    applied: dict[str, Any], content: dict[str, Any]
) -> None:
    held, left = merged(applied, content, is_multiple), kept(applied, content, is_multiple)
    for name, value in held.items():
        if name in ADVANCED or name == "tags":
            ours = content.get(name, [])
            assert left.get(name, []) == [entry for entry in value if entry not in ours]
            assert all(entry in value for entry in ours)
        elif name == "address":
            assert value == applied.get(name, {}) | content.get(name, {})
            assert left.get(name, {}) == {
                part: text for part, text in value.items() if text and part not in content.get(name, {})
            }
        elif name != "notes":
            assert value == content.get(name, applied.get(name))
            is_kept = name not in content and bool(value) and name not in {"id", "nationbuilderid"}
            assert left.get(name) == (value if is_kept else None)


@fixed
@given(st.lists(answers, max_size=3))
def test_answers_are_in_one_order_however_they_came_together(several: list[list[dict[str, Any]]]) -> None:
    """Forms by label before those by id, as the mapping puts them: else what is held would seem to differ."""
    every = [entry for entries in several for entry in entries]
    held: dict[str, Any] = {}
    for entries in several:
        held = merged(held, {"forms": entries}, lambda _kind, _entry: True)
    by_label = {(e["label"], e["value"]) for e in every if "label" in e}
    by_id = {(e["id"], e["value"]) for e in every if "id" in e}
    assert held.get("forms", []) == ordered(every)
    assert ordered(every) == [{"label": label, "value": value} for label, value in sorted(by_label)] + [
        {"id": number, "value": value} for number, value in sorted(by_id)
    ]


def test_what_is_held_goes_on_growing_but_for_what_is_replaced() -> None:
    applied = {
        "phone": "1",
        "mobile": "2",
        "address": {"city": "Lyon", "floor": "2"},
        "tags": [{"name": "b"}],
        "notes": [{"content": "x"}],
        "custom_fields": [
            {"label": "Interests", "value": "Work"},
            {"label": "Newsletter", "value": "no"},
            {"label": "Other", "value": "z"},
        ],
    }
    content = {
        "phone": "",
        "address": {"city": "Paris"},
        "tags": [{"name": "a"}],
        "notes": [{"content": "w"}],
        "custom_fields": [
            {"label": "Interests", "value": "Climate"},
            {"label": "Newsletter", "value": "yes"},
        ],
    }
    assert merged(applied, content, is_multiple) == {
        "phone": "",
        "mobile": "2",
        "address": {"city": "Paris", "floor": "2"},
        "tags": [{"name": "a"}, {"name": "b"}],
        "notes": [{"content": "w"}, {"content": "x"}],
        "custom_fields": [
            {"label": "Interests", "value": "Climate"},
            {"label": "Interests", "value": "Work"},
            {"label": "Newsletter", "value": "yes"},
            {"label": "Other", "value": "z"},
        ],
    }
    assert kept(applied, content, is_multiple) == {
        "mobile": "2",
        "address": {"floor": "2"},
        "tags": [{"name": "b"}],
        "custom_fields": [{"label": "Interests", "value": "Work"}, {"label": "Other", "value": "z"}],
    }


def test_an_answer_that_nothing_new_goes_after_is_not_replaced() -> None:
    two = {"forms": [{"label": "Other", "value": "a"}, {"label": "Other", "value": "b"}]}
    one = {"forms": [{"label": "Other", "value": "a"}]}
    assert changed(two, one) == {}
    assert merged(two, one, is_multiple) == two
    assert kept(two, one, is_multiple) == {"forms": [{"label": "Other", "value": "b"}]}


# --- what is kept


@fixed
@given(contents)
def test_nothing_is_kept_of_what_is_still_there(content: dict[str, Any]) -> None:
    assert kept(content, content, is_multiple) == {}
    assert kept({}, content, is_multiple) == {}


def test_what_amounts_to_nothing_is_not_kept() -> None:
    nothing = {"phone": "", "black_list": False, "age_category": 0, "address": {"city": ""}}
    assert kept({**nothing, "id": 3, "notes": [{"content": "x"}]}, {}, is_multiple) == {}
    given = {"black_list": True, "consents": [{"label": "Newsletter", "value": "yes"}]}
    assert kept(given, {"mail": "a@b.example"}, is_multiple) == given


def test_a_form_that_is_named_otherwise_is_still_the_same_form() -> None:
    applied = {
        "consents": [{"label": "Newsletter", "value": "yes"}],
        "custom_fields": [{"label": "Interests", "value": "yes"}, {"label": "Interests", "value": "Work"}],
    }
    content = {
        "consents": [{"id": 3, "value": "Agrees"}],
        "custom_fields": [{"id": 4, "value": "Agrees"}],
    }
    assert changed(applied, content) == content
    assert merged(applied, content, is_multiple, one_form) == {
        "consents": [{"id": 3, "value": "Agrees"}],
        "custom_fields": [{"label": "Interests", "value": "Work"}, {"id": 4, "value": "Agrees"}],
    }
    assert kept(applied, content, is_multiple, one_form) == {
        "custom_fields": [{"label": "Interests", "value": "Work"}]
    }
    assert kept(applied, content, is_multiple).keys() == {"consents", "custom_fields"}


# --- without


def test_fields_are_left_out_by_the_names_differences_have() -> None:
    content = {
        "phone": "1",
        "black_list": False,
        "address": {"city": "Lyon", "floor": "2"},
        "tags": [{"name": "a"}],
        "forms": [{"label": "Other", "value": "a"}, {"id": 4, "value": "b"}, {"id": 4, "value": "c"}],
        "consents": [{"label": "Newsletter", "value": "yes"}],
    }
    assert without(content, ()) == content
    assert without(content, {"address.city", "forms.#4", "consents.Newsletter", "tags", "nothing"}) == {
        "phone": "1",
        "black_list": False,
        "address": {"floor": "2"},
        "forms": [{"label": "Other", "value": "a"}],
    }
    assert without(content, {"phone", "black_list", "address", "forms", "consents"}) == {
        "tags": [{"name": "a"}]
    }
