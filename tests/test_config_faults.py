"""What is said when settings are wrong: one line, naming file, key and remedy."""

from __future__ import annotations

from datetime import time as clock
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncengine.config import Settings
from syncengine.errors import ConfigError


def refusal(table: dict[str, Any], **options: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        Settings.from_mapping(table, origin="syncengine.toml", **{"environ": {}, **options})
    return str(caught.value)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({"sorce": {}}, "[sorce] is no section; did you mean 'source'?"),
        (
            {"adopt": {}},
            "[adopt] is no section; known are state, source, destination, run, identity, verify, fields",
        ),
        ({"run": {"in_fligt": 1}}, "[run] in_fligt: is no setting; did you mean 'in_flight'?"),
        (
            {"identity": {"quorum": "hold"}},
            ("[identity] quorum: is no setting; known are none, mail_only, names_only, collisions, existing"),
        ),
        (
            {"destination": {"api_key": "Zebedee"}},
            (
                "[destination] api_key: a key does not belong into this file; "
                "say where it is kept with api_key_env or api_key_file"
            ),
        ),
        ({"run": 5}, "[run]: must be a table, written as [run] on a line of its own"),
        ({"source": [{}]}, "[source]: must be a table, written as [source] on a line of its own"),
        ({"source": {"path": "m.csv"}}, "[source] key: is missing; add it"),
        ({"source": {"path": "", "key": "k"}}, "[source] path: must not be empty"),
        ({"source": {"path": "m", "key": " "}}, "[source] key: must not be empty"),
        ({"source": {"path": 5, "key": "k"}}, "[source] path: must be text in quotes"),
        ({"source": {"path": "m", "key": 5}}, "[source] key: must be text in quotes"),
        (
            {"source": {"path": "m", "key": "k", "snapshot": "yes"}},
            "[source] snapshot: must be true or false",
        ),
        ({"source": {"path": "m", "key": "k", "snapshot": 1}}, "[source] snapshot: must be true or false"),
        (
            {"source": {"path": "m", "key": "k", "format": "xls"}},
            '[source] format: must be "csv", "tsv" or "jsonl"',
        ),
        (
            {"source": {"path": "m", "key": "k", "delimiter": ";;"}},
            '[source] delimiter: must be one character, such as ";" or "\\t"',
        ),
        (
            {"source": {"path": "m", "key": "k", "delimiter": '"'}},
            '[source] delimiter: must be one character, such as ";" or "\\t"',
        ),
        (
            {"source": {"path": "m", "key": "k", "encoding": "utf9"}},
            "[source] encoding: must be an encoding, such as utf-8, cp1252 or utf-16",
        ),
        ({"run": {"in_flight": "8"}}, "[run] in_flight: must be a whole number"),
        ({"run": {"in_flight": True}}, "[run] in_flight: must be a whole number"),
        ({"run": {"in_flight": 1.5}}, "[run] in_flight: must be a whole number"),
        ({"run": {"in_flight": 0}}, "[run] in_flight: must be at least 1"),
        ({"run": {"in_flight": 5000}}, "[run] in_flight: must be at most 1,024"),
        ({"run": {"timeout": 0}}, "[run] timeout: must be more than 0"),
        ({"run": {"timeout": "30"}}, "[run] timeout: must be a number"),
        ({"run": {"max_failed_share": 1.5}}, "[run] max_failed_share: must be at most 1"),
        ({"run": {"until": "6:00"}}, '[run] until: must be a time of day such as "06:00", or ""'),
        (
            {"run": {"until": clock(6, 0)}},
            '[run] until: must be a time of day such as "06:00", or ""',
        ),
        ({"destination": {"rate": float("nan")}}, "[destination] rate: must be a number"),
        ({"destination": {"rate": float("inf")}}, "[destination] rate: must be a number"),
        ({"identity": {"none": "skip"}}, '[identity] none: must be "hold", "send" or "create"'),
        (
            {"destination": {"api_key_env": "Zebedee-123"}},
            "[destination] api_key_env: must be the name of an environment variable, never the key itself",
        ),
        ({"fields": 5}, "[fields]: must be a table, written as [fields] on a line of its own"),
        (
            {"fields": {"surname": 5}},
            '[fields] surname: must be a column in quotes, or a table such as { column = "…" }',
        ),
        ({"fields": {"surname": {}}}, "[fields] surname: give either column or constant"),
        (
            {"fields": {"surname": {"column": "a", "constant": "b"}}},
            "[fields] surname: give either column or constant",
        ),
        (
            {"fields": {"surname": {"constant": "b", "values": {"1": "2"}}}},
            "[fields] surname: format, split and values go with column, not with constant",
        ),
        (
            {"fields": {"surname": {"column": "b", "other": "skip"}}},
            '[fields] surname: other = "skip" goes with values',
        ),
        (
            {"fields": {"surname": {"colum": "a"}}},
            "[fields] surname: colum is no setting; did you mean 'column'?",
        ),
        ({"fields": {"surname": ""}}, "[fields] surname.column: must not be empty"),
        (
            {"fields": {"surname": {"column": "a", "values": 5}}},
            '[fields] surname.values: must be a table such as { "1" = "yes" }',
        ),
        (
            {"fields": {"surname": {"column": "a", "values": {"1": 2}}}},
            "[fields] surname.values.1: must be text in quotes",
        ),
        (
            {"fields": {"surname": {"column": "a", "blank": "drop"}}},
            '[fields] surname.blank: must be "skip" or "clear"',
        ),
        ({"fields": {"surnme": "a"}}, "[fields] surnme: is no field of Qomon; did you mean 'surname'?"),
        (
            {"fields": {"status": {"column": "a"}}},
            "[fields] status: needs a form: status.<label> or status.#<id>",
        ),
        (
            {"fields": {"presence_status": "a"}},
            (
                "[fields] presence_status: cannot be mapped: "
                "Qomon answers 202 and then drops the contact; use name_presences"
            ),
        ),
        (
            {"fields": {"gender": {"column": "a", "blank": "clear"}}},
            '[fields] gender: blank = "clear" is only for plain text fields and address parts',
        ),
        (
            {"fields": {"mail": {"column": "a", "blank": "clear"}}},
            '[fields] mail: blank = "clear" is only for plain text fields and address parts',
        ),
    ],
    ids=lambda value: value[:50] if isinstance(value, str) else "",
)
def test_a_fault_is_told_in_one_line_with_file_key_and_remedy(table: dict[str, Any], expected: str) -> None:
    assert refusal(table) == f"syncengine.toml: {expected}"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://qomon.app", "must begin with https:// (plain http only to this machine)"),
        ("https://ann:Zebedee@qomon.app", "must not hold a user name or password"),
        ("https://qomon.app?x=1", "must not hold a query or fragment"),
        ("https://qomon.app:99999", "has an impossible host or port"),
        ("https://[::1", "has an impossible host or port"),
        ("https://qomon.app/\r\nX-Evil: 1", "must not contain spaces or control characters"),
        ("ftp://qomon.app", "must look like https://incoming.qomon.app"),
        ("qomon.app", "must look like https://incoming.qomon.app"),
    ],
)
def test_a_base_url_is_https_and_nothing_else(url: str, expected: str) -> None:
    assert (
        refusal({"destination": {"base_url": url}}) == f"syncengine.toml: [destination] base_url: {expected}"
    )


@pytest.mark.parametrize(
    "url",
    ["https://incoming.qomon.app", "HTTPS://Incoming.Qomon.App:443/", "https://incoming.qomon.app//"],
)
def test_one_address_has_one_spelling(url: str) -> None:
    destination = Settings.from_mapping({"destination": {"base_url": url}}).destination
    assert destination.base_url == "https://incoming.qomon.app"


@pytest.mark.parametrize(
    "url", ["http://localhost:1", "http://127.0.0.1", "http://[::1]:81", "https://a.b/c"]
)
def test_plain_http_is_for_this_machine(url: str) -> None:
    assert Settings.from_mapping({"destination": {"base_url": url}}).destination.base_url == url


def test_faults_from_outside_name_where_they_came_from() -> None:
    assert refusal({}, overrides={"run.in_flight": "x"}) == "--set run.in_flight: must be a whole number"
    assert refusal({}, overrides={"run.in_flight": "0"}) == "--set run.in_flight: must be at least 1"
    assert refusal({}, overrides={"run.in_fligt": "1"}) == (
        "--set run.in_fligt: there is no such setting; did you mean 'run.in_flight'?"
    )
    assert refusal({}, overrides={"nonsense": "1"}) == "--set nonsense: there is no such setting"
    environ = {"SYNCENGINE_SOURCE_SNAPSHOT": "ja"}
    assert refusal({}, environ=environ) == (
        "environment variable SYNCENGINE_SOURCE_SNAPSHOT: must be true or false"
    )
    assert refusal({}, environ={"SYNCENGINE_RUN_TIMEOUT": "soon"}) == (
        "environment variable SYNCENGINE_RUN_TIMEOUT: must be a number"
    )
    assert refusal({}, environ={"SYNCENGINE_RUN_UNTIL": "soon"}) == (
        'environment variable SYNCENGINE_RUN_UNTIL: must be a time of day such as "06:00", or ""'
    )
    assert refusal({}, environ={"SYNCENGINE_STATE_PATH": ""}) == (
        "environment variable SYNCENGINE_STATE_PATH: must not be empty"
    )
    assert refusal({}, environ={"SYNCENGINE_RUN_INFLIGHT": "1"}) == (
        "environment variable SYNCENGINE_RUN_INFLIGHT: there is no such setting; "
        "did you mean 'SYNCENGINE_RUN_IN_FLIGHT'?"
    )


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    path = tmp_path / "syncengine.toml"

    def fault() -> str:
        with pytest.raises(ConfigError) as caught:
            Settings.load(path, environ={})
        return str(caught.value).replace(str(path), "F")

    assert fault() == "F: there is no such file; make one with: syncengine init --config F"
    path.write_bytes(b"[run\n")
    assert fault().startswith("F: is not valid TOML: ")
    path.write_bytes(b'a = "\xe9"\n')
    assert fault() == "F: is not UTF-8 text; save it as UTF-8"
    path.unlink()
    path.mkdir()
    assert fault() == "F: cannot be read: Is a directory"


def test_no_fault_prints_a_value() -> None:
    secret = "Zebedee-1"
    for table in (
        {"run": {"in_flight": secret}},
        {"destination": {"api_key": secret}},
        {"destination": {"api_key_env": secret}},
        {"destination": {"base_url": f"https://{secret}@x"}},
        {"source": {"path": "x", "key": "k", "format": secret}},
        {"fields": {"surname": {"column": "a", "blank": secret}}},
    ):
        assert secret not in refusal(table)


# --- whatever the table is


TOML = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=8), inner, max_size=2),
    max_leaves=4,
)
KEYS = ["path", "key", "rate", "until", "none", "surname", "api_key", "address", "column", "in_flight"]
SECTIONS = ["state", "source", "destination", "run", "identity", "fields", "x"]


@settings(derandomize=True, deadline=None, max_examples=300)
@given(
    st.dictionaries(
        st.sampled_from(SECTIONS), TOML | st.dictionaries(st.sampled_from(KEYS), TOML, max_size=3), max_size=3
    )
)
def test_any_table_gives_settings_or_one_line(table: dict[str, Any]) -> None:
    try:
        Settings.from_mapping(table, environ={})
    except ConfigError as error:
        fault = str(error)
    else:
        fault = ""
    assert fault.isprintable()
    assert "pydantic" not in fault
