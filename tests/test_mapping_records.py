"""JSON records: by rules, and in the upsert's own shape."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncengine.errors import RowRefusedError
from syncengine.hashing import canonical
from syncengine.mapping import NAMES_KEPT, ContactMapping, compile_mapping
from syncengine.sections import FieldRule

fixed = settings(derandomize=True, deadline=None)


def by_rules(**rules: Any) -> ContactMapping:
    return compile_mapping(
        {name: FieldRule.model_validate(rule) for name, rule in rules.items()}, "key", None
    )


def shaped(**record: Any) -> dict[str, Any]:
    return compile_mapping({}, "key", None)({"key": "k", **record})[1]


def refusal(mapping: ContactMapping, **record: Any) -> tuple[str, str | None]:
    with pytest.raises(RowRefusedError) as caught:
        mapping({"key": "k", **record})
    return caught.value.reason, caught.value.column


@pytest.mark.parametrize(("key", "expected"), [(" k ", "k"), (12, "12"), ("1.50", "1.50")])
def test_a_key_is_a_text_or_a_whole_number(key: object, expected: str) -> None:
    assert compile_mapping({}, "key", None)({"key": key})[0] == expected


@pytest.mark.parametrize("key", [True, 1.5, [], {}])
def test_another_key_is_refused(key: object) -> None:
    mapping = compile_mapping({}, "key", None)
    with pytest.raises(RowRefusedError, match="a key is a text or a whole number"):
        mapping({"key": key})
    assert mapping.key_of({"key": key}) is None


def test_a_key_of_more_than_64_bits_has_to_be_text() -> None:
    with pytest.raises(RowRefusedError, match="a key of more than 64 bits has to be text"):
        compile_mapping({}, "key", None)({"key": 10**5000})


@pytest.mark.parametrize("record", [{}, {"key": None}, {"key": ""}])
def test_a_record_without_a_key_is_refused(record: dict[str, Any]) -> None:
    with pytest.raises(RowRefusedError, match="empty key"):
        compile_mapping({}, "key", None)(record)


# --- by rules


def test_scalars_become_text_and_lists_go_into_sets() -> None:
    mapping = by_rules(
        surname={"column": "a"},
        phone={"column": "b"},
        tags={"column": "c"},
        **{"custom_fields.Job": {"column": "c"}, "black_list": {"column": "d"}},
    )
    assert mapping({"key": 1, "a": True, "b": 123, "c": ["x", 2, None, "x"], "d": False}) == (
        "1",
        {
            "surname": "true",
            "phone": "123",
            "tags": [{"name": "2"}, {"name": "x"}],
            "custom_fields": [{"label": "Job", "value": "2"}, {"label": "Job", "value": "x"}],
            "black_list": False,
        },
    )


def test_null_is_a_blank_and_an_absent_name_is_nothing() -> None:
    mapping = by_rules(surname={"column": "a", "blank": "clear"})
    assert mapping({"key": "k", "a": None})[1] == {"surname": ""}
    assert mapping({"key": "k"})[1] == {}


def test_what_is_no_scalar_refuses_the_row() -> None:
    mapping = by_rules(surname={"column": "a"}, tags={"column": "b"})
    assert refusal(mapping, a={}) == ("a nested value where a text is expected", "a")
    assert refusal(mapping, a=["x"]) == ("a list where one value is expected", "a")
    assert refusal(mapping, b=[["x"]]) == ("a nested value where a text is expected", "b")
    assert refusal(mapping, a=1.5) == ("a float has no exact text; give it as text", "a")


def test_names_that_no_record_had_are_known_in_the_end() -> None:
    mapping = by_rules(surname={"column": "a"}, mail={"column": "b"})
    assert list(mapping.unseen) == ["key", "a", "b"]
    mapping({"key": "k", "a": "x"})
    assert list(mapping.unseen) == ["b"]
    assert mapping.ignored == ()


# --- in the upsert's shape


def test_a_record_may_have_the_shape_of_the_upsert() -> None:
    assert shaped(
        surname=" Lee ",
        mail="A@B.org",
        birthdate="1987-03-05T00:00:00Z",
        black_list=False,
        age_category=3,
        address={"city": "Lyon", "postalcode": "01234", "street": None},
        tags=["b", {"name": "a"}, "b"],
        notes=[{"content": "hi"}, "you"],
        custom_fields=[
            {"id": 12, "value": 41},
            {"label": "Job", "value": "cook"},
            {"label": "Job", "value": "cook"},
            {"label": "None", "value": None},
        ],
        consents=[],
        status=None,
        firstname=None,
    ) == {
        "surname": "Lee",
        "mail": "a@b.org",
        "birthdate": "1987-03-05T00:00:00Z",
        "black_list": False,
        "age_category": 3,
        "address": {"city": "Lyon", "postalcode": "01234"},
        "tags": [{"name": "a"}, {"name": "b"}],
        "notes": [{"content": "hi"}, {"content": "you"}],
        "custom_fields": [{"label": "Job", "value": "cook"}, {"id": 12, "value": "41"}],
    }


def test_full_names_work_beside_nested_ones_but_not_for_the_same_value() -> None:
    found = shaped(**{"address.city": "Lyon", "address": {"street": "x"}, "forms.F": "y"})
    assert found == {"address": {"city": "Lyon", "street": "x"}, "forms": [{"label": "F", "value": "y"}]}
    mapping = compile_mapping({}, "key", None)
    twice = ("given twice, nested and by its full name", "address.city")
    assert refusal(mapping, **{"address.city": "Lyon", "address": {"city": "x"}}) == twice
    assert refusal(mapping, **{"address": {"city": "x"}, "address.city": "Lyon"}) == twice


def test_ids_and_unknown_names_are_ignored_and_listed_once() -> None:
    mapping = compile_mapping({}, "key", None)
    record = {
        "key": "k",
        "id": 5,
        "nationbuilderid": 6,
        "gender": "f",
        "address": {"id": 3, "zip": "1"},
        "tags": [{"name": "a", "color": "red"}],
        "forms": [{"label": "F", "value": "x", "date": "1"}],
        "surname": "Lee",
    }
    for _ in range(2):
        assert mapping(record)[1] == {
            "surname": "Lee",
            "tags": [{"name": "a"}],
            "forms": [{"label": "F", "value": "x"}],
        }
    assert mapping.ignored == (
        "id",
        "nationbuilderid",
        "gender",
        "address.id",
        "address.zip",
        "tags.color",
        "forms.date",
    )


def test_the_key_is_never_sent_but_may_be_a_field_itself() -> None:
    assert compile_mapping({}, "mail", None)({"mail": "A@b.org"}) == ("A@b.org", {"mail": "a@b.org"})
    mapping = compile_mapping({}, "id", None)
    assert mapping({"id": 5}) == ("5", {})
    assert mapping.ignored == ()


@pytest.mark.parametrize(
    ("record", "reason", "column"),
    [
        ({"address": "x"}, "an address is an object of its parts", "address"),
        ({"address": {"city": {}}}, "a nested value where a text is expected", "address.city"),
        ({"address": {"city": "\0"}}, "holds a NUL character", "address.city"),
        ({"tags": [{"label": "x"}]}, "an object without 'name'", "tags"),
        ({"notes": [["x"]]}, "a nested value where a text is expected", "notes"),
        ({"forms": "x"}, "an array of {label or id, value} is expected", "forms"),
        ({"forms": ["x"]}, "each entry needs a value, and either a label or an id", "forms"),
        ({"forms": [{"value": "x"}]}, "each entry needs a value, and either a label or an id", "forms"),
        (
            {"forms": [{"id": 1, "label": "x", "value": "x"}]},
            "each entry needs a value, and either a label or an id",
            "forms",
        ),
        (
            {"forms": [{"id": "x", "value": "x"}]},
            "has no usable form id; write forms.#12, or forms.<label>",
            "forms",
        ),
        ({"forms": [{"label": " ", "value": "x"}]}, "needs a form: forms.<label> or forms.#<id>", "forms"),
        ({"forms": [{"label": "x", "value": ["y"]}]}, "a nested value where a text is expected", "forms"),
        ({"surname": ["x"]}, "a list where one value is expected", "surname"),
        ({"mail": "x"}, "not one e-mail address", "mail"),
        ({"age_category": "1.0"}, "not a whole number", "age_category"),
        ({"birthdate": "5.3.87"}, "not a date such as 1987-03-05; give its format", "birthdate"),
    ],
)
def test_a_wrong_shape_refuses_the_row(record: dict[str, Any], reason: str, column: str) -> None:
    assert refusal(compile_mapping({}, "key", None), **record) == (reason, column)


def test_a_flood_of_names_is_not_remembered() -> None:
    mapping = compile_mapping({}, "key", None)
    mapping({"key": "k", **{f"x{n}": n for n in range(NAMES_KEPT * 2)}})
    assert len(mapping.ignored) == NAMES_KEPT


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "label", "value", "name", "content", "city", "x"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)
NAMES = [
    "key",
    "surname",
    "mail",
    "address",
    "tags",
    "notes",
    "forms",
    "address.city",
    "forms.#1",
    "id",
    "black_list",
]


@settings(fixed, max_examples=300)
@given(st.dictionaries(st.sampled_from(NAMES), JSON, max_size=6))
def test_any_record_gives_a_contact_or_a_refused_row(record: dict[str, Any]) -> None:
    rules = by_rules(surname={"column": "surname"}, tags={"column": "tags", "split": ","})
    for mapping in (compile_mapping({}, "key", None), rules):
        try:
            _, contact = mapping({"key": "k", **record})
        except RowRefusedError:
            continue
        canonical(contact)
        assert "id" not in contact
