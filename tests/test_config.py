"""Settings: where they come from, and what is said when they are wrong."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from syncengine.config import Settings
from syncengine.errors import ConfigError
from syncengine.sections import DestinationSettings, RunSettings


def refusal(table: dict[str, Any], **options: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        Settings.from_mapping(table, origin="syncengine.toml", **{"environ": {}, **options})
    return str(caught.value)


def load(folder: Path, text: str, **options: Any) -> Settings:
    (folder / "syncengine.toml").write_text(text, "utf-8")
    return Settings.load(folder / "syncengine.toml", **{"environ": {}, **options})


EXAMPLE = """
[state]
path = "state.db"

[source]
path = "members.csv"
key = "member_id"
snapshot = true
delimiter = "\\t"

[fields]
firstname = "first_name"
birthdate = { column = "born", format = "%d/%m/%Y" }
"address.postalcode" = "zip"
address.country = { constant = "France" }
tags = { column = "groups", split = "|" }
custom_fields.Job.Title = "profession"
consents.Newsletter = { column = "optin", values = { "1" = "consent_email" }, other = "skip" }

[destination]
rate = 10
burst = 100

[run]
until = "06:00"
"""


def test_the_example_of_the_design_loads(tmp_path: Path) -> None:
    found = load(tmp_path, EXAMPLE)
    assert found.source is not None
    assert (found.source.key, found.source.snapshot, found.source.delimiter) == ("member_id", True, "\t")
    assert list(found.fields) == [
        "firstname",
        "birthdate",
        "address.postalcode",
        "address.country",
        "tags",
        "custom_fields.Job.Title",
        "consents.Newsletter",
    ]
    assert found.fields["firstname"].column == "first_name"
    assert found.fields["address.country"].constant == "France"
    assert found.destination.rate == 10.0
    assert found.run.in_flight == 16


def test_an_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    found = load(tmp_path, "")
    assert found.source is None
    assert found.fields == {}
    assert found.destination == DestinationSettings()
    assert found.run == RunSettings()


# --- where settings come from


def test_a_flag_beats_the_environment_which_beats_the_file(tmp_path: Path) -> None:
    text = "[run]\nin_flight = 1\nmax_writes = 1\ntimeout = 1"
    environ = {"SYNCENGINE_RUN_IN_FLIGHT": "2", "SYNCENGINE_RUN_MAX_WRITES": "2", "OTHER": "x"}
    found = load(tmp_path, text, environ=environ, overrides={"run.in_flight": "3"})
    assert (found.run.in_flight, found.run.max_writes, found.run.timeout) == (3, 2, 1.0)


@pytest.mark.parametrize(
    ("section", "key", "text", "value"),
    [
        ("state", "path", "x.db", Path("x.db")),
        ("source", "path", "x.csv", Path("x.csv")),
        ("source", "key", "id", "id"),
        ("source", "snapshot", "True", True),
        ("source", "snapshot", "0", False),
        ("source", "format", "tsv", "tsv"),
        ("source", "format", "", None),
        ("source", "delimiter", "\\t", "\t"),
        ("source", "delimiter", "\t", "\t"),
        ("source", "encoding", "cp1252", "cp1252"),
        ("destination", "base_url", "http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("destination", "api_key_env", "KEY", "KEY"),
        ("destination", "api_key_file", "key.txt", Path("key.txt")),
        ("destination", "rate", "5", 5.0),
        ("destination", "burst", "50", 50.0),
        ("destination", "share", "0.5", 0.5),
        ("run", "in_flight", "8", 8),
        ("run", "max_writes", "9", 9),
        ("run", "max_failed_share", "0.1", 0.1),
        ("run", "max_changed_share", "1", 1.0),
        ("run", "until", "23:59", "23:59"),
        ("run", "timeout", "1.5", 1.5),
        ("run", "settle", "0", 0.0),
        ("identity", "none", "send", "send"),
        ("identity", "mail_only", "send", "send"),
        ("identity", "names_only", "send", "send"),
    ],
)
def test_every_scalar_key_can_be_set_from_outside(section: str, key: str, text: str, value: object) -> None:
    table = {"source": {"path": "m.csv", "key": "k"}}
    variable = {f"SYNCENGINE_{section}_{key}".upper(): text}
    for options in ({"environ": variable}, {"environ": {}, "overrides": {f"{section}.{key}": text}}):
        found = Settings.from_mapping(table, **options)  # type: ignore[arg-type]
        assert getattr(getattr(found, section), key) == value


def test_paths_of_the_file_are_relative_to_it_and_those_from_outside_are_not(tmp_path: Path) -> None:
    text = '[source]\npath = "m.csv"\nkey = "k"\n[destination]\napi_key_file = "/etc/key"'
    found = load(tmp_path, text)
    assert found.source is not None
    assert found.source.path == tmp_path / "m.csv"
    assert found.state.path == tmp_path / "state.db"
    assert found.destination.api_key_file == Path("/etc/key")
    moved = load(tmp_path, text, environ={"SYNCENGINE_STATE_PATH": "x.db"})
    assert moved.state.path == Path("x.db")


def test_a_tilde_is_the_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    assert Settings.from_mapping({"state": {"path": "~/s.db"}}).state.path == Path("/home/ann/s.db")
    assert refusal({"state": {"path": "~nobody-here/s.db"}}) == (
        "syncengine.toml: [state] path: begins with a ~ that names no home directory"
    )


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Settings.from_mapping({}, environ={}).run.in_flight = 5  # type: ignore[misc]


# --- the key


def key(text: str) -> str:
    return Settings.from_mapping({}, environ={}).api_key({"QOMON_API_KEY": text}).get_secret_value()


def test_the_key_comes_from_the_environment_or_a_file(tmp_path: Path) -> None:
    assert key(" abc123 ") == "abc123"
    file = tmp_path / "key"
    file.write_text("abc123\n", "utf-8")
    found = Settings.from_mapping({"destination": {"api_key_file": str(file)}}, environ={})
    assert found.api_key({}).get_secret_value() == "abc123"
    assert "abc123" not in repr(found) + repr(found.api_key({}))


@pytest.mark.parametrize("text", ["Zebe\r\nX-Evil: dee", "Zebe dee", "Zebédee", "Zebedee\n", "Zebedee\x7f"])
def test_a_key_that_no_header_can_carry_is_refused_unseen(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        key(text)
    assert str(caught.value) == (
        "environment variable QOMON_API_KEY ([destination] api_key_env): "
        "the API key holds line breaks or other impossible characters; copy it again"
    )


@pytest.mark.parametrize("text", ["", "  "])
def test_a_missing_key_is_told_with_its_remedy(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        key(text)
    assert str(caught.value) == (
        "environment variable QOMON_API_KEY ([destination] api_key_env): holds no API key; "
        "make one in Qomon's settings and put it there "
        "(or name another place with [destination] api_key_env or api_key_file)"
    )


def test_a_key_put_where_its_name_belongs_is_not_printed() -> None:
    found = Settings.from_mapping({"destination": {"api_key_env": "zebedee123"}}, environ={})
    with pytest.raises(ConfigError) as caught:
        found.api_key({})
    assert "zebedee" not in str(caught.value)


def test_a_key_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    found = Settings.from_mapping({"destination": {"api_key_file": str(tmp_path / "none")}}, environ={})
    with pytest.raises(ConfigError, match=r"api_key_file = '.*none': cannot be read: No such file"):
        found.api_key({})


# --- deadline


@pytest.fixture
def zone(request: pytest.FixtureRequest) -> Iterator[str]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = request.param
    time.tzset()
    yield request.param
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


def deadline(until: str, now: str) -> str:
    moment = datetime.fromisoformat(now).timestamp()
    found = Settings.from_mapping({"run": {"until": until}}, environ={}).deadline(moment)
    assert found is not None
    return datetime.fromtimestamp(found).astimezone().isoformat(timespec="minutes")


def test_without_until_there_is_no_deadline() -> None:
    assert Settings.from_mapping({}, environ={}).deadline(0.0) is None


@pytest.mark.parametrize("zone", ["Europe/Paris"], indirect=True)
@pytest.mark.parametrize(
    ("until", "now", "expected"),
    [
        ("06:00", "2026-01-31T22:15:00+01:00", "2026-02-01T06:00+01:00"),
        ("06:00", "2026-01-31T05:59:59+01:00", "2026-01-31T06:00+01:00"),
        ("06:00", "2026-01-31T06:00:00+01:00", "2026-02-01T06:00+01:00"),
        # The night has 23 hours, then 25; the clock is what counts.
        ("06:00", "2026-03-28T22:00:00+01:00", "2026-03-29T06:00+02:00"),
        ("06:00", "2026-10-24T22:00:00+02:00", "2026-10-25T06:00+01:00"),
        ("02:30", "2026-03-29T01:00:00+01:00", "2026-03-29T03:30+02:00"),
        ("02:30", "2026-10-25T02:00:00+02:00", "2026-10-25T02:30+02:00"),
        ("02:30", "2026-10-25T02:45:00+02:00", "2026-10-25T02:30+01:00"),
        ("02:30", "2026-10-25T02:45:00+01:00", "2026-10-26T02:30+01:00"),
    ],
)
def test_the_deadline_is_the_next_such_moment_on_the_wall_clock(
    zone: str, until: str, now: str, expected: str
) -> None:
    assert deadline(until, now) == expected


@pytest.mark.parametrize("zone", ["America/New_York", "Pacific/Apia"], indirect=True)
def test_a_deadline_lies_ahead_by_a_day_at_most(zone: str) -> None:
    @settings(derandomize=True, deadline=None)
    @given(st.integers(946_684_800, 2_524_608_000), st.integers(0, 23), st.integers(0, 59))
    def check(now: int, hour: int, minute: int) -> None:
        found = Settings.from_mapping({"run": {"until": f"{hour:02}:{minute:02}"}}, environ={}).deadline(now)
        assert found is not None
        assert 0 < found - now <= (49 if zone == "Pacific/Apia" else 25) * 3600

    check()
