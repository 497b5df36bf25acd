"""Rules that are refused, each with its exact message, and what `init` suggests."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncengine.errors import ConfigError, SourceError
from syncengine.mapping import ContactMapping, compile_mapping
from syncengine.qomon.fields import find_field, suggest_field
from syncengine.sections import FieldRule

fixed = settings(derandomize=True, deadline=None)

NO_FORM = "has no usable form id; write forms.#12, or forms.<label>"


def mapping(columns: str, **rules: Any) -> ContactMapping:
    fields = {name: FieldRule.model_validate(rule) for name, rule in rules.items()}
    return compile_mapping(fields, "key", tuple(columns.split()), path="m.csv")


@pytest.mark.parametrize(
    ("name", "rule", "expected"),
    [
        ("surnme", {"column": "a"}, "[fields] surnme: is no field of Qomon; did you mean 'surname'?"),
        ("email", {"column": "a"}, "[fields] email: is no field of Qomon; did you mean 'mail'?"),
        ("last_name", {"column": "a"}, "[fields] last_name: is no field of Qomon; did you mean 'surname'?"),
        ("xyzzy", {"column": "a"}, "[fields] xyzzy: is no field of Qomon"),
        (
            "adress.city",
            {"column": "a"},
            "[fields] adress.city: is no field of Qomon; did you mean 'address.city'?",
        ),
        (
            "custom_field.Job",
            {"column": "a"},
            "[fields] custom_field.Job: is no field of Qomon; did you mean 'custom_fields.Job'?",
        ),
        (
            "address.zip",
            {"column": "a"},
            "[fields] address.zip: is no part of an address; did you mean 'address.postalcode'?",
        ),
        (
            "address.xyzzyx",
            {"column": "a"},
            (
                "[fields] address.xyzzyx: is no part of an address; they are housenumber, street, addition, "
                "building, floor, door, infos, postalcode, city, citycode, county, state, country, "
                "pollingstation, latitude, longitude"
            ),
        ),
        ("address", {"column": "a"}, "[fields] address: needs a part, such as address.city"),
        (
            "address.id",
            {"column": "a"},
            "[fields] address.id: is Qomon's own number for the address and cannot be set",
        ),
        (
            "gender",
            {"column": "a"},
            (
                "[fields] gender: cannot be mapped: no published write schema of Qomon has it, "
                "and an unknown field drops the whole contact. Whether this space keeps it is found out by "
                "syncengine probe, in a space made for testing"
            ),
        ),
        (
            "presence_status",
            {"column": "a"},
            (
                "[fields] presence_status: cannot be mapped: "
                "Qomon answers 202 and then drops the contact; use name_presences"
            ),
        ),
        ("consents", {"column": "a"}, "[fields] consents: needs a form: consents.<label> or consents.#<id>"),
        ("forms. ", {"column": "a"}, "[fields] forms. : needs a form: forms.<label> or forms.#<id>"),
        (
            "forms.#",
            {"column": "a"},
            "[fields] forms.#: " + NO_FORM,
        ),
        (
            "forms.#0",
            {"column": "a"},
            "[fields] forms.#0: " + NO_FORM,
        ),
        (
            "forms.#x",
            {"column": "a"},
            "[fields] forms.#x: " + NO_FORM,
        ),
        (
            "mail",
            {"column": "a", "blank": "clear"},
            '[fields] mail: blank = "clear" is only for plain text fields and address parts',
        ),
        (
            "status.S",
            {"column": "a", "blank": "clear"},
            '[fields] status.S: blank = "clear" is only for plain text fields and address parts',
        ),
        (
            "surname",
            {"column": "a", "split": ","},
            "[fields] surname: split is only for tags and advanced fields",
        ),
        ("surname", {"column": "a", "format": "%Y"}, "[fields] surname: format is only for birthdate"),
        (
            "birthdate",
            {"column": "a", "format": "%d/%m/%y"},
            (
                "[fields] birthdate: format '%d/%m/%y' has no year of four digits (%Y); "
                "the century would be a guess"
            ),
        ),
        (
            "birthdate",
            {"column": "a", "format": "%Y-%m"},
            "[fields] birthdate: format '%Y-%m' does not tell day, month and year, as %d/%m/%Y does",
        ),
        (
            "birthdate",
            {"column": "a", "format": "dd.mm.yyyy"},
            "[fields] birthdate: format 'dd.mm.yyyy' does not tell day, month and year, as %d/%m/%Y does",
        ),
        (
            "birthdate",
            {"column": "a", "format": "%Y-%m-%Q"},
            "[fields] birthdate: format '%Y-%m-%Q' is no strptime format, such as %d/%m/%Y",
        ),
        ("mail", {"constant": "x"}, "[fields] mail: constant is unusable: not one e-mail address"),
        ("id", {"constant": "5"}, "[fields] id: cannot be a constant: it would be the id of everybody"),
        (
            "status.S",
            {"column": "a", "values": {"1": " "}},
            (
                "[fields] status.S: values '1' is empty; "
                'leave it out, with other = "skip" for values that mean nothing'
            ),
        ),
        (
            "black_list",
            {"column": "a", "values": {"1": "perhaps"}},
            "[fields] black_list: values '1' is unusable: neither yes nor no",
        ),
        (
            "status.S",
            {"column": "a", "values": {"1": "x", " 1": "y"}},
            "[fields] status.S: values gives '1' twice",
        ),
        ("surname", {"column": "b"}, "[fields] surname: m.csv has no column 'b'"),
        ("surname", {"column": "Keys"}, "[fields] surname: m.csv has no column 'Keys'; did you mean 'key'?"),
    ],
)
def test_an_impossible_rule_is_refused(name: str, rule: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        mapping("key a", **{name: rule})
    assert str(caught.value) == expected


def test_a_missing_key_column_refuses_the_file() -> None:
    with pytest.raises(SourceError) as caught:
        mapping("keyy a")
    assert str(caught.value) == (
        "m.csv: the header has no column 'key'; did you mean 'keyy'?; "
        "set [source] key to the column that identifies a person"
    )


@pytest.mark.parametrize(
    ("column", "field"),
    [
        ("first_name", "firstname"),
        ("Prénom", "firstname"),
        ("last name", "surname"),
        ("NOM", "surname"),
        ("E-Mail", "mail"),
        ("Adresse e-mail", "mail"),
        ("zip", "address.postalcode"),
        ("Code postal", "address.postalcode"),
        ("Ville", "address.city"),
        ("tel", "phone"),
        ("Tél. portable", "mobile"),
        ("born", "birthdate"),
        ("Date de naissance", "birthdate"),
        ("groups", "tags"),
        ("custom_fields.Job", "custom_fields.Job"),
        (" surname ", "surname"),
        ("id", None),
        ("nationbuilderid", None),
        ("ID", None),
        ("member_id", None),
        ("gender", None),
        ("", None),
    ],
)
def test_a_header_suggests_its_field_and_never_an_id(column: str, field: str | None) -> None:
    assert suggest_field(column) == field


@fixed
@given(st.text(max_size=15))
def test_a_suggestion_is_a_field_that_can_be_mapped(column: str) -> None:
    suggested = suggest_field(column)
    assert suggested is None or find_field(suggested).kind != "id"
