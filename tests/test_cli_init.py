"""init: guesses that load straight away, and those that are not made."""

import json
import tomllib
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_cli_program import Program, sandbox

from syncengine.cli.answering import match
from syncengine.cli.guessing import guess
from syncengine.cli.init import compose
from syncengine.config import Settings
from syncengine.qomon.forms import Form, Forms, Option

ROWS = "9,Ada,Martin,ada@x.example,{},01000,a|b\n10,Bob,Roux,bob@x.example,{},75011,b\n"
HEADER = "id,Prénom,Nom,E-mail,Né le,Code postal,Groupes\n"


def test_what_init_writes_loads_straight_away(tmp_path: Path) -> None:
    program = Program(tmp_path)
    (tmp_path / "my list.csv").write_text(HEADER + ROWS.format("05/03/1980", "25/12/1970"), "utf-8")
    told = program.ok("init", "my list.csv")
    assert told["key"] == "id"
    assert told["fields"] == {
        "firstname": "Prénom",
        "surname": "Nom",
        "mail": "E-mail",
        "birthdate": "Né le",
        "address.postalcode": "Code postal",
        "tags": "Groupes",
    }
    assert program.ok("load")["new"] == 2
    content = program.ok("explain", "9")["content"]
    assert content["birthdate"] == "1980-03-05T00:00:00Z"
    assert content["address"] == {"postalcode": "01000"}
    assert content["tags"] == [{"name": "a"}, {"name": "b"}]
    assert "id" not in content


def test_without_a_file_init_writes_an_example(tmp_path: Path) -> None:
    program = Program(tmp_path)
    program.ok("init", "--config", "other.toml")
    assert tomllib.loads((tmp_path / "other.toml").read_text())["source"]["key"] == "member_id"
    assert "--config other.toml" not in program.run("init", "--config", "third.toml").err


def test_init_overwrites_nothing_and_follows_no_link(tmp_path: Path) -> None:
    program = Program(tmp_path)
    (tmp_path / "syncengine.toml").symlink_to(tmp_path / "target.toml")
    assert "exists already" in program.ok("init", code=2)["error"]
    assert not (tmp_path / "target.toml").exists()


def test_a_file_that_cannot_be_read_ends_with_1(tmp_path: Path) -> None:
    program = Program(tmp_path)
    assert "there is no such file" in program.ok("init", "nothing.csv", code=1)["error"]
    (tmp_path / "people.jsonl").write_text('{"id": 1}\n')
    assert "no CSV or TSV" in program.ok("init", "people.jsonl", code=1)["error"]


def test_an_ambiguous_date_format_is_left_to_a_person(tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text(HEADER + ROWS.format("05/03/1980", "02/11/1970"), "utf-8")
    born = next(one for one in guess(file).fields if one.field == "birthdate")
    assert "%d/%m/%Y and %m/%d/%Y" in born.doubt


@pytest.mark.parametrize(
    ("days", "form"),
    [
        (("1980-03-05", "1970-12-25"), None),
        (("05.03.1980", "25.12.1970"), "%d.%m.%Y"),
        (("03/05/1980", "12/25/1970"), "%m/%d/%Y"),
        (("19800305", "19701225"), "%Y%m%d"),
    ],
)
def test_a_date_format_is_guessed_from_its_values(
    tmp_path: Path, days: tuple[str, str], form: str | None
) -> None:
    file = tmp_path / "list.csv"
    file.write_text(HEADER + ROWS.format(*days), "utf-8")
    born = next(one for one in guess(file).fields if one.field == "birthdate")
    assert (born.form, born.doubt) == (form, "")


def test_a_key_is_unique(tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text("id,email,surname\n1,a@x.example,A\n1,b@x.example,B\n")
    found = guess(file)
    assert (found.key, bool(found.key_doubt)) == ("email", True)


def test_odd_headers_are_quoted(tmp_path: Path) -> None:
    program = Program(tmp_path)
    (tmp_path / "list.csv").write_text('ref,email,"a ""b"" \\ [c]",a.b\n1,a@x.example,x,y\n')
    told = program.ok("init", "list.csv")
    assert told["unmapped"] == ['a "b" \\ [c]', "a.b"]
    assert program.ok("load")["new"] == 1


# --- with the forms of a space

PEOPLE = """\
ref,surname,mail,Job,languages,consents: Newsletter,Level of Support,unknown,committee
1,Martin,a@x.example,Baker,fr; ENGLISH,By E-Mail,Supporter,x,North
2,Roux,b@x.example,Pilot,en;fr,refus,member,y,South
3,Klein,c@x.example,,,,opponent,,
"""


@pytest.fixture(name="space", scope="module")
def _space() -> Iterator[dict[str, str]]:
    with sandbox("--lag", "0", "--search-lag", "0", "--burst", "10000") as environment:
        yield environment


def test_what_init_matches_with_a_space_arrives_there(tmp_path: Path, space: dict[str, str]) -> None:
    """From the header to the answers in the space, without an edit between."""
    program = Program(tmp_path, dict(space))
    (tmp_path / "members.csv").write_text(PEOPLE, "utf-8")
    told = program.ok("init", "--from-space", "members.csv")
    assert told["fields"] == {
        "surname": "surname",
        "mail": "mail",
        "custom_fields.Job": "Job",
        "custom_fields.Languages": "languages",
        "consents.Newsletter": "consents: Newsletter",
        "status.Level of support": "Level of Support",
    }
    assert told["unmapped"] == ["committee", "unknown"]
    assert "custom_fields.Size" in told["forms"]
    del program.environment["SYNCENGINE_DESTINATION_BASE_URL"]  # the file has learned it
    assert program.ok("doctor")["ok"] is True
    assert program.ok("sync")["confirmed"] == 3

    with urllib.request.urlopen(f"{space['SYNCENGINE_DESTINATION_BASE_URL']}/_sandbox/contacts") as answer:
        stored = json.load(answer)["contacts"]
    answers = {
        contact["surname"]: sorted(one["data"] for one in contact.get("answers", ())) for contact in stored
    }
    assert answers == {
        "Martin": ["1", "Baker", "consent_email", "en", "fr"],
        "Roux": ["2", "Pilot", "en", "fr", "refus"],
        "Klein": ["3"],
    }


def test_from_space_needs_a_file_and_a_valid_key(tmp_path: Path, space: dict[str, str]) -> None:
    program = Program(tmp_path, dict(space))
    (tmp_path / "members.csv").write_text(PEOPLE, "utf-8")
    assert "needs the file" in program.ok("init", "--from-space", code=2)["error"]
    program.environment["QOMON_API_KEY"] = "canary-key"
    assert "HTTP 401" in program.ok("init", "--from-space", "members.csv", code=1)["error"]
    assert [file.name for file in tmp_path.iterdir()] == ["members.csv"]


SIZE = Form(
    3,
    "Size",
    "custom_fields",
    "radio",
    (Option(31, "Small", "S"), Option(32, "Large", "L"), Option(33, "Été", "E")),
)
LANGUAGES = Form(
    4, "Languages", "custom_fields", "checkbox", (Option(41, "French", "fr"), Option(42, "English", "en"))
)
LONG = "x" * 41


@pytest.mark.parametrize(
    ("column", "cells", "expected"),
    [
        ("Size", ["S", "L"], {"values": (("S", "S"), ("L", "L"))}),
        ("size", ["small", "LARGE", "ete"], {"values": (("small", "S"), ("LARGE", "L"), ("ete", "E"))}),
        ("custom fields: size", ["S"], {"values": (("S", "S"),)}),
        ("custom_fields.#3", ["S"], {"values": (("S", "S"),)}),
        ("Size", [*["S"] * 9, "huge"], {"values": (("S", "S"),)}),
        ("Size", ["S", "huge", "tiny"], {"doubt": "many of its cells are no option"}),
        ("Size", [], {"doubt": "its cells are empty: map them with values"}),
        (
            "Size",
            ["S"] * 9 + [LONG],
            {"doubt": "1 of its 2 distinct texts are no option: map them with values"},
        ),
        ("Languages", ["fr|en", "fr"], {"split": "|", "values": (("fr", "fr"), ("en", "en"))}),
        ("Languages", ["fr"], {"split": None, "values": (("fr", "fr"),)}),
        ("Joined", ["2026-07-16"], {"doubt": ""}),
        ("Joined", ["16/07/2026"], {"doubt": "its cells are no dates such as 2026-07-16"}),
        ("Shares", ["3", "-1.5"], {"doubt": ""}),
        ("Shares", ["three"], {"doubt": "its cells are no numbers"}),
        ("Other", ["x"], None),
        ("consents: Size", ["S"], None),
    ],
)
def test_a_column_is_matched_with_a_form_and_its_texts_with_options(
    column: str, cells: list[str], expected: dict[str, object] | None
) -> None:
    forms = Forms(
        [SIZE, LANGUAGES, Form(5, "Joined", "custom_fields", "date"), Form(6, "Shares", "survey", "numeric")]
    )
    found = match(column, cells, forms)
    if expected is None:
        assert found is None
        return
    assert found is not None
    assert {name: getattr(found, name) for name in expected} == expected
    assert "doubt" in expected or found.doubt == ""


def test_texts_stay_out_of_the_file_when_they_are_many_or_long() -> None:
    """Whoever is told apart by a text could be named by it."""
    for cells in ([f"Zebedee {n}" for n in range(21)], [LONG + " Zebedee"] * 3):
        found = match("Size", cells, Forms([SIZE]))
        assert found is not None
        assert found.doubt
        assert "Zebedee" not in repr(found)


def test_of_forms_with_one_label_the_one_whose_options_fit_is_named_by_its_id() -> None:
    other = Form(9, "Size", "custom_fields", "radio", (Option(91, "A4", "A4"),))
    fitting = match("Size", ["S", "L"], Forms([other, SIZE]))
    assert fitting is not None
    assert (fitting.field, fitting.doubt) == ("custom_fields.#3", "")
    assert "the label of several forms" in fitting.notes[0]
    unclear = match("Size", ["?"], Forms([other, SIZE]))
    assert unclear is not None
    assert unclear.doubt == "or custom_fields.#3: several forms are called so"


def test_a_long_rule_becomes_a_table_and_comments_name_what_is_left(tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    rows = "".join(f"{n},{'abcdefghij'[n]}-word-of-some-length\n" for n in range(10))
    file.write_text(f"id,Size\n{rows}10,odd\n", "utf-8")
    options = tuple(Option(n, f"{c}-word-of-some-length", c) for n, c in enumerate("abcdefghijk", 1))
    forms = Forms([Form(3, "Size", "custom_fields", "radio", options), LANGUAGES])
    text = compose(guess(file, forms), "list.csv")
    settings = Settings.from_mapping(tomllib.loads(text), environ={})
    rule = settings.fields["custom_fields.Size"]
    assert rule.values is not None
    assert (len(rule.values), rule.values["a-word-of-some-length"], rule.other) == (10, "a", "refuse")
    assert settings.destination.rate == 10
    assert "#   without an option: 'odd'" in text
    assert "#   options without a text: 'k'" in text
    assert '#   "custom_fields.Languages": any of "fr" (\'French\'), "en" (\'English\')' in text
    short = compose(guess(file, Forms([])), "list.csv")
    assert '#   "Size"' in short
