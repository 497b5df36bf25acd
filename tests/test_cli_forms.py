"""forms: every form under the name that [fields] takes, with its options."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_cli_program import Program, sandbox

from syncengine.cli.call import Call
from syncengine.cli.naming import entry, field_name, quoted
from syncengine.cli.usable import destination_of
from syncengine.config import Settings
from syncengine.errors import ConfigError
from syncengine.qomon.fields import find_field
from syncengine.qomon.forms import KINDS, Form, Forms, Option

fixed = settings(derandomize=True, deadline=None, max_examples=200)

TABLES = [
    {"type": "custom_fields", "id": 1, "label": "Job", "widget": "text"},
    {"type": "custom_fields", "id": 2, "label": "Region", "widget": "text"},
    {"type": "custom_fields", "id": 3, "label": "Region", "widget": "date"},
    {"type": "custom_fields", "id": 4, "label": '#4 "odd"', "widget": "numeric"},
    {
        "type": "consent",
        "id": 5,
        "label": "Newsletter",
        "widget": "radio",
        "options": [{"id": 51, "label": "By e-mail", "value": "consent_email"}, {"id": 52, "label": "refus"}],
    },
]


@pytest.fixture(name="space", scope="module")
def _space(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    file = tmp_path_factory.mktemp("forms") / "forms.json"
    file.write_text(json.dumps({"forms": TABLES}), "utf-8")
    with sandbox("--forms", str(file), "--burst", "10000") as environment:
        yield environment


def test_forms_are_listed_without_a_configuration(tmp_path: Path, space: dict[str, str]) -> None:
    found = Program(tmp_path, dict(space)).ok("forms")["forms"]
    assert {form["field"]: (form["id"], form["type"], form["widget"]) for form in found} == {
        "consents.Newsletter": (5, "consent", "radio"),
        "custom_fields.Job": (1, "custom_fields", "text"),
        "custom_fields.#2": (2, "custom_fields", "text"),
        "custom_fields.#3": (3, "custom_fields", "date"),
        "custom_fields.#4": (4, "custom_fields", "numeric"),
    }
    assert found[0]["kind"] == "consents"
    assert found[0]["options"] == [
        {"id": 51, "label": "By e-mail", "value": "consent_email"},
        {"id": 52, "label": "refus", "value": "refus"},
    ]
    assert not list(tmp_path.iterdir())


def test_a_person_reads_names_to_write_into_the_mapping(tmp_path: Path, space: dict[str, str]) -> None:
    """A half-written [fields] keeps nobody from looking up what belongs into it."""
    (tmp_path / "syncengine.toml").write_text('[fields]\n"custom_fields.#" = "x"\n', "utf-8")
    ended = Program(tmp_path, dict(space)).run("forms")
    assert ended.code == 0
    lines = [" ".join(line.split()) for line in ended.out.splitlines()]
    assert '"consents.Newsletter" #5, one of' in lines
    assert "consent_email By e-mail #51" in lines
    assert "refus #52" in lines
    assert "\"custom_fields.#2\" #2 'Region', text" in lines
    assert "\"custom_fields.#3\" #3 'Region', a date" in lines


def test_one_kind_is_asked_for_by_either_name(tmp_path: Path, space: dict[str, str]) -> None:
    program = Program(tmp_path, dict(space))
    assert [form["id"] for form in program.ok("forms", "--kind", "consents")["forms"]] == [5]
    assert "no forms of the kind forms" in program.run("forms", "--kind", "survey").out


def test_what_cannot_be_asked_ends_with_its_code_and_one_line(tmp_path: Path, space: dict[str, str]) -> None:
    program = Program(tmp_path, space | {"QOMON_API_KEY": "canary-key"})
    ended = program.run("forms")
    assert (ended.code, ended.out, ended.err.count("\n")) == (1, "", 1)
    assert "HTTP 401" in ended.err
    assert "sync" not in ended.err.removeprefix("syncengine: ")
    assert "canary-key" not in ended.err
    assert "consents, status" in program.ok("forms", "--kind", "nothing", code=2)["error"]


@pytest.mark.parametrize("text", [None, "[fields", '[destination]\nbase_url = "x"\n'])
def test_a_named_configuration_must_be_there_and_its_destination_sound(
    tmp_path: Path, text: str | None
) -> None:
    file = tmp_path / "other.toml"
    if text is not None:
        file.write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=r"other\.toml: "):
        destination_of(Call(file, True, {}), needs_file=True)


def test_the_other_sections_need_not_be_sound(tmp_path: Path) -> None:
    file = tmp_path / "other.toml"
    file.write_text("[run]\nin_flight = 0\n[destination]\nburst = 5\n", "utf-8")
    found = destination_of(Call(file, True, {"destination.rate": "7", "run.timeout": "x"}), needs_file=True)
    assert (found.destination.burst, found.destination.rate, found.run.in_flight) == (5.0, 7.0, 16)
    missing = destination_of(Call(tmp_path / "no.toml", True, {"destination.rate": "7"}), needs_file=False)
    assert missing.destination.rate == 7.0


@fixed
@example([("custom_fields", " Job")])
@example([("custom_fields", "Cafe\u0301")])
@example([("consent", "#2"), ("consent", "x")])
@given(st.lists(st.tuples(st.sampled_from(list(KINDS)), st.text(max_size=6)), min_size=1, max_size=5))
def test_a_form_is_named_so_that_the_mapping_means_it_and_no_other(
    given_forms: list[tuple[str, str]],
) -> None:
    forms = Forms([Form(n, label, name, "text") for n, (name, label) in enumerate(given_forms, 1)])
    for form in forms:
        name = field_name(form, forms)
        settings_ = Settings.from_mapping({"fields": {name: "column"}}, environ={})
        field = find_field(next(iter(settings_.fields)))
        assert forms.find(field.name, field.form) is form
        assert quoted(name) == f'"{name}"'


@pytest.mark.parametrize(
    ("widget", "options", "words"),
    [
        ("text", (), "text"),
        ("numeric", (), "a number"),
        ("photo", (), "text (photo)"),
        ("radio", (Option(1, "a", "a"),), "one of"),
        ("checkbox", (Option(1, "a", "a"),), "any of"),
        ("range", (Option(1, "a", "a"),), "one of (range)"),
        ("", (Option(1, "a", "a"),), "one of"),
    ],
)
def test_what_a_form_takes_is_said_in_words(widget: str, options: tuple[Option, ...], words: str) -> None:
    assert entry(Form(1, "x", "survey", widget, options)) == words
