"""Rules, and what they make of rows."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncengine.errors import RowRefusedError
from syncengine.hashing import canonical
from syncengine.mapping import ContactMapping, compile_mapping
from syncengine.sections import FieldRule

fixed = settings(derandomize=True, deadline=None)


def mapping(columns: str, **rules: Any) -> ContactMapping:
    """Compile rules given as keyword arguments; `__` stands for a dot."""
    fields = {
        name.replace("__", "."): FieldRule.model_validate({"column": rule} if isinstance(rule, str) else rule)
        for name, rule in rules.items()
    }
    return compile_mapping(fields, "key", tuple(columns.split()), path="m.csv")


def contact(columns: str, row: list[str], **rules: Any) -> dict[str, Any]:
    return mapping(f"key {columns}", **rules)(["k", *row])[1]


def refusal(columns: str, row: list[str], **rules: Any) -> tuple[str, str | None]:
    with pytest.raises(RowRefusedError) as caught:
        contact(columns, row, **rules)
    return caught.value.reason, caught.value.column


# --- rows and keys


def test_a_row_becomes_a_contact_in_the_shape_of_the_upsert() -> None:
    rules: dict[str, Any] = {
        "firstname": "first",
        "surname": "last",
        "mail": "mail",
        "birthdate": {"column": "born", "format": "%d/%m/%Y"},
        "address.postalcode": "zip",
        "address.country": {"constant": "France"},
        "tags": {"column": "groups", "split": "|"},
        "custom_fields.Job.Title": "job",
        "custom_fields.#12": "shoe",
        "consents.Newsletter": {"column": "optin", "values": {"1": "consent_email"}, "other": "skip"},
        "black_list": "black",
        "age_category": "age",
        "notes": "note",
        "id": "qomon",
    }
    row = [
        "k1",
        " Ann ",
        "Dupré",
        "ANN@B.org",
        "05/03/1987",
        "01234",
        "b;a;b",
        "baker",
        "41",
        "1",
        "non",
        "3",
        "hi",
        "77",
    ]
    fields = {name: r if isinstance(r, dict) else {"column": r} for name, r in rules.items()}
    fields["tags"]["split"] = ";"
    columns = "key first last mail born zip groups job shoe optin black age note qomon"
    compiled = compile_mapping(
        {name: FieldRule.model_validate(rule) for name, rule in fields.items()}, "key", tuple(columns.split())
    )
    assert compiled(row) == (
        "k1",
        {
            "firstname": "Ann",
            "surname": "Dupré",
            "mail": "ann@b.org",
            "birthdate": "1987-03-05T00:00:00Z",
            "address": {"postalcode": "01234", "country": "France"},
            "tags": [{"name": "a"}, {"name": "b"}],
            "custom_fields": [{"label": "Job.Title", "value": "baker"}, {"id": 12, "value": "41"}],
            "consents": [{"label": "Newsletter", "value": "consent_email"}],
            "black_list": False,
            "age_category": 3,
            "notes": [{"content": "hi"}],
            "id": 77,
        },
    )


def test_cells_that_are_blank_give_nothing() -> None:
    rules: dict[str, Any] = {
        "surname": "a",
        "mail": "a",
        "birthdate": "a",
        "address__city": "a",
        "tags": {"column": "a", "split": "|"},
        "status__Support": "a",
        "black_list": "a",
        "age_category": "a",
        "notes": "a",
        "consents__News": {"column": "a", "values": {"1": "yes"}},
    }
    for blank in ("", "  ", "\t", "\u00a0", "\n"):
        assert contact("a", [blank], **rules) == {}


def test_a_row_with_another_number_of_cells_is_refused() -> None:
    assert refusal("a", []) == ("1 cells instead of 2", None)
    assert refusal("a", ["1", "2"]) == ("3 cells instead of 2", None)


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("", "empty key"),
        (" \u00a0", "empty key"),
        ("x" * 513, "the key is longer than 512 characters"),
        ("a\nb", "the key holds a control character"),
        ("a\0b", "the key holds a control character"),
        ("a\ud800", "the key holds a control character"),
    ],
)
def test_a_key_that_cannot_name_a_contact_is_refused(key: str, reason: str) -> None:
    compiled = mapping("key a", firstname="a")
    with pytest.raises(RowRefusedError) as caught:
        compiled([key, "x"])
    assert (caught.value.reason, caught.value.column) == (reason, "key")
    assert compiled.key_of([key, "x"]) is None


def test_a_key_is_trimmed_and_composed() -> None:
    compiled = mapping("key a")
    assert compiled([" e\u0301 ", "x"])[0] == "é"
    assert compiled.key_of([" e\u0301 "]) == "é"
    assert compiled.key_of([]) is None
    assert compiled.key_of(RowRefusedError("x")) is None


def test_a_row_the_source_refused_stays_refused() -> None:
    with pytest.raises(RowRefusedError, match="not a JSON object"):
        mapping("key")(RowRefusedError("not a JSON object"))


# --- values


def test_text_is_trimmed_composed_and_its_line_breaks_are_line_feeds() -> None:
    assert contact("a", ["\ta\r\nb\rc\u2028\td\u00a0"], surname="a") == {"surname": "a\nb\nc\u2028\td"}
    assert contact("a", ["e\u0301"], surname="a") == {"surname": "é"}


@pytest.mark.parametrize("field", ["surname", "mail", "address.city", "tags", "custom_fields.Job", "notes"])
@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("a\0b", "holds a NUL character"),
        ("a\ud800b", "holds half a character (a lone surrogate)"),
        ("a\x1b[1mb", "holds a control character"),
        ("\x1fab", "holds a control character"),
    ],
)
def test_characters_that_cannot_be_stored_refuse_the_row(field: str, cell: str, reason: str) -> None:
    assert refusal("a", [cell], **{field: "a"}) == (reason, "a")


@pytest.mark.parametrize(
    "cell", ["x", "@b.org", "a@", "a@b@c", "a b@c.org", "a@b.org;", "<a@b.org>", "a@b, c@d"]
)
def test_what_is_no_single_mail_address_refuses_the_row(cell: str) -> None:
    assert refusal("a", [cell], mail="a") == ("not one e-mail address", "a")


@pytest.mark.parametrize(
    ("cell", "day"),
    [
        ("1987-03-05", "1987-03-05"),
        ("1987-03-05T23:30:00Z", "1987-03-05"),
        ("1987-03-05 00:00:00.000+02:00", "1987-03-05"),
        ("1987-03-05T00:00", "1987-03-05"),
        ("2000-02-29", "2000-02-29"),
        ("1850-01-01", "1850-01-01"),
    ],
)
def test_an_iso_date_is_the_day_as_written(cell: str, day: str) -> None:
    assert contact("a", [cell], birthdate="a") == {"birthdate": f"{day}T00:00:00Z"}


@pytest.mark.parametrize(
    ("cell", "form", "reason"),
    [
        ("05/03/1987", None, "not a date such as 1987-03-05; give its format"),
        ("19870305", None, "not a date such as 1987-03-05; give its format"),
        ("1987-02-30", None, "not a day of the calendar"),
        ("1849-12-31", None, "not a year of birth between 1850 and 2100"),
        ("0000-00-00", None, "not a day of the calendar"),
        ("31/02/1987", "%d/%m/%Y", "not a date of the format %d/%m/%Y"),
        (f"1987-03-05T00:00:00.{'0' * 60}Z", None, "not a date: longer than 64 characters"),
        ("01/01/2101", "%d/%m/%Y", "not a year of birth between 1850 and 2100"),
    ],
)
def test_an_impossible_date_refuses_the_row(cell: str, form: str | None, reason: str) -> None:
    assert refusal("a", [cell], birthdate={"column": "a", "format": form}) == (reason, "a")


@pytest.mark.parametrize("cell", ["1.5", "-1", "1e3", "٣", "²", "9223372036854775808", "9" * 5000, "1 000"])
def test_a_number_is_plain_digits_of_64_bits(cell: str) -> None:
    assert refusal("a", [cell], age_category="a") == ("not a whole number", "a")
    assert refusal("a", [cell], id="a") == ("not a Qomon id (a positive whole number)", "a")


def test_numbers_go_up_to_64_bits_and_an_id_is_positive() -> None:
    assert contact("a", ["9223372036854775807"], id="a", age_category="a") == {
        "id": 2**63 - 1,
        "age_category": 2**63 - 1,
    }
    assert contact("a", ["0"], age_category="a") == {"age_category": 0}
    assert refusal("a", ["0"], nationbuilderid="a") == ("not a Qomon id (a positive whole number)", "a")


@pytest.mark.parametrize(
    ("words", "value"),
    [("1 true YES y Oui vrai ja wahr si sí", True), ("0 False no N non faux nein falsch", False)],
)
def test_a_flag_is_one_of_a_few_words(words: str, value: bool) -> None:
    for word in words.split():
        assert contact("a", [word], black_list="a") == {"black_list": value}
    assert refusal("a", ["perhaps"], black_list="a") == ("neither yes nor no", "a")


def test_texts_keep_their_leading_zeros() -> None:
    found = contact("a", ["01234"], phone="a", address__postalcode="a")
    assert found == {"phone": "01234", "address": {"postalcode": "01234"}}


def test_blank_clears_where_it_is_asked_to() -> None:
    clear = {"column": "a", "blank": "clear"}
    assert contact("a", [" "], surname=clear, address__addition=clear) == {
        "surname": "",
        "address": {"addition": ""},
    }
    listed = {"column": "a", "blank": "clear", "values": {"x": "y"}, "other": "skip"}
    assert contact("a", [" "], surname=listed) == {"surname": ""}
    assert contact("a", ["z"], surname=listed) == {}


def test_values_are_matched_on_the_trimmed_cell() -> None:
    rule = {"column": "a", "values": {" 1": "consent_email", "é": "no"}}
    assert contact("a", [" 1 "], status__S=rule) == {"status": [{"label": "S", "value": "consent_email"}]}
    assert contact("a", ["e\u0301"], status__S=rule) == {"status": [{"label": "S", "value": "no"}]}
    assert refusal("a", ["2"], status__S=rule) == (
        "a value that its rule does not list; add it to values",
        "a",
    )
    assert contact("a", ["2"], status__S={**rule, "other": "skip"}) == {}


def test_values_may_say_what_a_blank_cell_means() -> None:
    rule = {"column": "a", "values": {"1": "yes", "": "no"}}
    assert contact("a", ["  "], status__S=rule) == {"status": [{"label": "S", "value": "no"}]}


def test_values_are_read_as_the_type_of_the_field() -> None:
    assert contact("a", ["m"], black_list={"column": "a", "values": {"m": "no"}}) == {"black_list": False}
    assert contact("a", ["m"], age_category={"column": "a", "values": {"m": "7"}}) == {"age_category": 7}
    assert contact("a", ["m"], birthdate={"column": "a", "values": {"m": "1999-01-02"}}) == {
        "birthdate": "1999-01-02T00:00:00Z"
    }


def test_values_apply_to_each_item_after_the_split() -> None:
    rule = {"column": "a", "split": ",", "values": {"1": "one", "2": "two"}, "other": "skip"}
    assert contact("a", ["2, 1,3,,1"], tags=rule) == {"tags": [{"name": "one"}, {"name": "two"}]}
    assert contact("a", ["2, 1,3,,1"], forms__F=rule) == {
        "forms": [{"label": "F", "value": "one"}, {"label": "F", "value": "two"}]
    }


def test_a_constant_fills_any_kind_of_field() -> None:
    found = contact(
        "a",
        ["x"],
        tags={"constant": " member "},
        black_list={"constant": "oui"},
        birthdate={"constant": "1987-03-05"},
        status__S={"constant": "yes"},
        address__country={"constant": "France"},
    )
    assert found == {
        "tags": [{"name": "member"}],
        "black_list": True,
        "birthdate": "1987-03-05T00:00:00Z",
        "status": [{"label": "S", "value": "yes"}],
        "address": {"country": "France"},
    }


def test_contacts_share_nothing() -> None:
    compiled = mapping("key a", status__S={"constant": "yes"}, tags="a", status__T="a")
    _, first = compiled(["1", "x"])
    first["status"].clear()
    first["tags"].clear()
    assert compiled(["2", "x"])[1]["status"] == [{"label": "S", "value": "yes"}, {"label": "T", "value": "x"}]


# --- without rules


def test_columns_named_as_fields_map_to_themselves_and_ids_never_do() -> None:
    compiled = mapping(
        "key surname address.city custom_fields.Job tags forms.#7 id nationbuilderid gender Surname"
    )
    assert compiled.ignored == ("id", "nationbuilderid", "gender", "Surname")
    assert compiled(["k", "Lee", "Lyon", "cook", "a|b", "x", "5", "6", "f", "z"]) == (
        "k",
        {
            "surname": "Lee",
            "address": {"city": "Lyon"},
            "custom_fields": [{"label": "Job", "value": "cook"}],
            "tags": [{"name": "a|b"}],
            "forms": [{"id": 7, "value": "x"}],
        },
    )


def test_a_key_column_that_is_a_field_is_also_that_field() -> None:
    compiled = compile_mapping({}, "mail", ("mail", "surname"))
    assert compiled(["A@b.org", "Lee"]) == ("A@b.org", {"mail": "a@b.org", "surname": "Lee"})
    assert compile_mapping({}, "id", ("id", "surname"))(["5", "Lee"]) == ("5", {"surname": "Lee"})
    assert compile_mapping({}, "id", ("id", "surname")).ignored == ()


def test_with_rules_nothing_is_listed_as_ignored() -> None:
    assert mapping("key a b", surname="a").ignored == ()


# --- digest


def test_the_digest_changes_with_the_rules_only() -> None:
    one = mapping("key a b", surname="a", mail="b").digest
    assert one == mapping("b x a key", mail={"column": "b", "blank": "skip"}, surname="a").digest
    assert (
        len({one, mapping("key a b", surname="b", mail="b").digest, mapping("key a b", surname="a").digest})
        == 3
    )
    assert mapping("key surname x").digest == mapping("surname key").digest
    assert mapping("key surname x").digest != mapping("key surname phone").digest


def test_the_digest_is_stable_across_releases() -> None:
    assert mapping("key a", surname="a").digest == "8803ad8ffe640489c44c39d7f313d21e"


# --- whatever the cells are


CELLS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["1987-03-05", "a@b.org", "oui", "12", "a|b", "e\u0301", "\ud800", "\0", "K\u212a@x"]),
)
EVERYTHING: dict[str, Any] = {
    "firstname": "a",
    "married_name": {"column": "b", "blank": "clear"},
    "address.city": "a",
    "address.street": {"column": "c", "blank": "clear"},
    "tags": {"column": "b", "split": "|"},
    "notes": "c",
    "custom_fields.Job": {"column": "a", "split": "|"},
    "custom_fields.#12": "b",
}
PARSED: dict[str, Any] = {
    "mail": "a",
    "birthdate": "b",
    "age_category": "c",
    "black_list": "d",
    "id": "e",
    "status.S": {"column": "a", "values": {"1": "x"}},
    "surname": {"column": "b", "values": {"1": "x"}, "other": "skip"},
}


@fixed
@given(st.lists(CELLS, min_size=4, max_size=6))
def test_any_cells_give_a_contact_or_a_refused_row(row: list[str]) -> None:
    compiled = mapping("key a b c d", **EVERYTHING, **{k: v for k, v in PARSED.items() if k != "id"})
    for rules in (EVERYTHING, PARSED, {"black_list": "a"}, {"mail": "b"}, {"birthdate": "c"}):
        compiled = mapping("key a b c d e", **rules)
        try:
            canonical(compiled(row)[1])
        except RowRefusedError as error:
            assert error.column in {None, *["key", "a", "b", "c", "d", "e"]}  # noqa: PT017 - both ways are right


@fixed
@given(st.lists(CELLS, min_size=3, max_size=3))
def test_a_contact_is_canonical_already(row: list[str]) -> None:
    try:
        once = contact("a b c", row, **EVERYTHING)
    except RowRefusedError:
        return
    record = {"key": "k", **once}
    again = compile_mapping({}, "key", None)(record)[1]
    once["address"] = {part: text for part, text in once.get("address", {}).items() if text}
    expected = {name: value for name, value in once.items() if value not in ({}, "")}
    assert canonical(again) == canonical(expected)


@fixed
@given(CELLS, st.sampled_from(["surname", "mail", "tags", "address.city", "status.S", "notes"]))
def test_composed_and_decomposed_cells_give_the_same_contact(cell: str, field: str) -> None:
    found: list[object] = []
    for form in ("NFC", "NFD"):
        try:
            found.append(contact("a", [f" {unicodedata.normalize(form, cell)}"], **{field: "a"}))
        except RowRefusedError as error:
            found.append(error.reason)
    assert found[0] == found[1]


@fixed
@given(
    st.lists(st.sampled_from(["a", "b", "B", "é", " a", ""]), max_size=6), st.randoms(use_true_random=False)
)
def test_the_order_and_repeats_of_tags_and_answers_do_not_matter(items: list[str], random: Any) -> None:
    rules = {"tags": {"column": "a", "split": "|"}, "forms.F": {"column": "a", "split": "|"}}
    shuffled = [*items, *items[:2]]
    random.shuffle(shuffled)
    assert contact("a", ["|".join(items)], **rules) == contact("a", ["|".join(shuffled)], **rules)
