"""init: guesses that load straight away, and those that are not made."""

import tomllib
from pathlib import Path

import pytest
from test_cli_program import Program

from syncengine.cli.guessing import guess

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
