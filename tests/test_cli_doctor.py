"""doctor: the real program tells what to do; no key, no person and no change ever comes of it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import pytest
from pydantic import SecretStr
from test_checks import listing
from test_cli_program import Program, sandbox
from test_engine_answers import raw_server
from test_store_kit import opened

from syncengine.checks import Check
from syncengine.cli.asking import key_refused, place_of_key
from syncengine.cli.call import Call
from syncengine.cli.examining import examine, space_checks
from syncengine.cli.looking import REQUEST_SECONDS, SECONDS, Look, look
from syncengine.cli.usable import SECTIONS, Usable
from syncengine.config import Settings
from syncengine.errors import UnauthorizedError
from syncengine.sandbox import Sandbox, SandboxOptions

CANARY = "Zebedee"
KEY_CANARY = "key-canary-5f0e"
FIELDS = """
"custom_fields.Job" = "job"
"consents.Newsletter" = { column = "mails", values = { "y" = "consent_email" }, other = "skip" }
"""
CONFIG = """
[source]
path = "members.csv"
key = "ref"
[fields]
surname = "name"
mail = "mail"
"""
ROWS = (
    f"ref,name,mail,job,mails,size\n1,{CANARY},a@{CANARY}.example,Baker,y,{CANARY}\n2,Roux,b@x.example,,n,S\n"
)


@pytest.fixture(name="space", scope="module")
def _space() -> Iterator[dict[str, str]]:
    """A space with people, and the sandbox's few forms."""
    with sandbox("--lag", "0", "--search-lag", "0", "--contacts", "3", "--burst", "10000") as environment:
        yield environment


@pytest.fixture(name="people")
def _people(tmp_path: Path, space: dict[str, str]) -> Program:
    """The program with a list, a configuration and a space in which all is well."""
    (tmp_path / "members.csv").write_text(ROWS, "utf-8")
    (tmp_path / "syncengine.toml").write_text(CONFIG + FIELDS, "utf-8")
    return Program(tmp_path, dict(space))


@pytest.fixture(name="here")
def _here(people: Program, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The same people and space for checks made in this process, which starts faster."""
    monkeypatch.chdir(people.folder)
    for name, text in people.environment.items():
        monkeypatch.setenv(name, text)
    return monkeypatch


def examined(**overrides: str) -> dict[str, Check]:
    """Make all checks in this process, and return them by name."""
    call = Call(
        Path("syncengine.toml"), True, {name.replace("__", "."): text for name, text in overrides.items()}
    )
    return {check.name: check for check in examine(call).checks}


def faults(checks: dict[str, Check]) -> set[str]:
    return {check.name for check in checks.values() if check.ok is False}


def test_all_is_well_and_nothing_is_changed_by_looking(people: Program) -> None:
    people.ok("load")
    before = listing(people.folder)
    told = people.ok("doctor")
    assert told["ok"] is True
    assert {check["ok"] for check in told["checks"]} == {True}
    assert (told["group_id"], told["requests"], told["tokens"]) == (1001, 7, 7)
    assert told["limits"]["rate"] == 10.0
    assert told["limits"]["contacts_per_hour"] == 36_000
    assert abs(told["clock_difference"]) < 5
    ended = people.run("doctor")
    assert ended.code == 0
    assert "\nAll is well.\n" in ended.out
    assert max(map(len, ended.out.splitlines())) <= 100
    assert listing(people.folder) == before


def test_neither_key_nor_people_are_told(people: Program) -> None:
    config = people.folder / "syncengine.toml"
    config.write_text(config.read_text("utf-8") + '"custom_fields.Size" = "mails"\n', "utf-8")
    for key, arguments in (
        (people.environment["QOMON_API_KEY"], ["doctor"]),
        (KEY_CANARY, ["doctor", "--json"]),
    ):
        people.environment["QOMON_API_KEY"] = key
        ended = people.run(*arguments)
        assert ended.code == 1
        for canary in (key, CANARY):
            assert canary not in ended.out + ended.err


def test_a_refused_key_is_told_with_where_it_came_from(here: pytest.MonkeyPatch, people: Program) -> None:
    """And nothing else: a key that opens nothing says nothing of the state file's space."""
    with opened(people.folder / "state.db") as store:
        store.bind(people.environment["SYNCENGINE_DESTINATION_BASE_URL"], "the key before")
    here.setenv("QOMON_API_KEY", KEY_CANARY)
    checks = examined()
    assert faults(checks) == {"key"}
    assert "HTTP 401" in checks["key"].message
    assert "QOMON_API_KEY" in checks["key"].message
    assert checks["connection"].ok is True
    assert {checks[name].ok for name in ("limits", "space", "forms", "mapping")} == {None}


def test_a_broken_configuration_keeps_nothing_from_being_checked_that_can_be(
    here: pytest.MonkeyPatch, people: Program
) -> None:
    config = people.folder / "syncengine.toml"
    config.write_text(config.read_text("utf-8") + 'surnam = "x"\n', "utf-8")
    checks = examined(run__in_flight="0")
    assert faults(checks) == {"configuration"}
    assert {check.name for check in checks.values() if check.ok is None} == {"columns", "mapping"}
    assert "[fields] cannot be used" in checks["mapping"].message


@pytest.mark.parametrize("text", ["[fields", '[destination]\nbase_url = "ftp://x"\n', "\udcff"])
def test_nothing_is_sent_when_nobody_knows_where_to(
    here: pytest.MonkeyPatch, people: Program, text: str
) -> None:
    """A file that cannot be read, or a broken [destination]: the key must not go to the default host."""
    here.delenv("SYNCENGINE_DESTINATION_BASE_URL")
    (people.folder / "syncengine.toml").write_text(text, "utf-8", errors="surrogateescape")
    found = examine(Call(Path("syncengine.toml"), True, {}))
    checks = {check.name: check for check in found.checks}
    assert faults(checks) == {"configuration"}
    assert (found.look.requests, checks["connection"].ok) == (0, None)


def test_without_a_configuration_the_key_is_tried_all_the_same(
    here: pytest.MonkeyPatch, people: Program
) -> None:
    (people.folder / "syncengine.toml").unlink()
    checks = examined()
    assert faults(checks) == {"configuration"}
    assert "syncengine init" in checks["configuration"].remedy
    assert checks["space"].message == "group_id 1001"


def test_all_is_well_is_said_only_when_all_was_checked(people: Program) -> None:
    (people.folder / "syncengine.toml").write_text('[fields]\n"consents.Newsletter" = "mails"\n', "utf-8")
    ended = people.run("doctor")
    assert ended.code == 0
    assert "All is well" not in ended.out
    assert "Nothing to do, as far as could be checked." in ended.out


def test_another_space_than_the_state_files_is_told(
    here: pytest.MonkeyPatch, people: Program, space: dict[str, str]
) -> None:
    with opened(people.folder / "state.db") as store:
        store.bind(space["SYNCENGINE_DESTINATION_BASE_URL"], space["QOMON_API_KEY"])
        store.bind_group(space["QOMON_API_KEY"], 7)
    assert faults(checks := examined()) == {"space"}
    assert "7, but this key opens 1001" in checks["space"].message


def test_without_a_key_there_is_no_request(here: pytest.MonkeyPatch) -> None:
    here.delenv("QOMON_API_KEY")
    checks = examined()
    assert faults(checks) == {"key"}
    assert checks["connection"].message == "not checked: there is no key"


def test_an_option_that_only_late_rows_lack_is_told(here: pytest.MonkeyPatch, people: Program) -> None:
    rows = "".join(f"{n},Roux,{'consent_email' if n < 1001 else CANARY}\n" for n in range(1, 1501))
    (people.folder / "members.csv").write_text(f"ref,name,mails\n{rows}", "utf-8")
    config = CONFIG.replace('mail = "mail"', '"consents.Newsletter" = "mails"')
    (people.folder / "syncengine.toml").write_text(config, "utf-8")
    checks = examined()
    assert faults(checks) == {"mapping"}
    assert "in 500 of 1,500 rows" in checks["mapping"].message
    (people.folder / "members.csv").unlink()
    assert "was not checked" in examined()["mapping"].message


# --- what a look at the space shows


def settings_for(base_url: str) -> Settings:
    return Settings.from_mapping({"destination": {"base_url": base_url, "rate": 1000}}, environ={})


async def looked(base_url: str, key: str, *, seconds: float = 5.0) -> tuple[Look, dict[str, Check]]:
    """Look at a space and check what it showed."""
    usable = Usable(settings_for(base_url), SECTIONS, None)
    seen = await look(usable.settings, SecretStr(key), seconds=seconds)
    checks = list(space_checks(usable, SecretStr(key), seen, None, None))
    assert not any(key in repr(check) for check in checks)
    return seen, {check.name: check for check in checks}


@pytest.mark.parametrize(
    ("table", "where", "words"),
    [
        ('kind = "redirect"\nlocation = "https://elsewhere.example"', "connection", "a redirect"),
        ('kind = "html"', "connection", "not what the API answers"),
        ('kind = "status"\nstatus = 422', "connection", "refused the simplest search"),
        ('kind = "status"\nstatus = 429', "connection", "tokens are spent"),
        ('kind = "status"\nstatus = 503', "connection", "HTTP 503"),
        ('kind = "hang"', "connection", "no answer within 0.3 s"),
        ('endpoint = "forms"\nkind = "status"\nstatus = 403', "forms", "may not read them"),
        ('endpoint = "forms"\nkind = "html"', "forms", "cannot be read"),
    ],
)
async def test_what_is_wrong_with_the_space_is_told(
    tmp_path: Path, table: str, where: str, words: str
) -> None:
    file = tmp_path / "faults.toml"
    endpoint = "" if "endpoint" in table else 'endpoint = "search"'
    file.write_text(f"[[fault]]\n{endpoint}\n{table}\n", "utf-8")
    async with Sandbox(SandboxOptions(faults=file)) as space:
        _, checks = await looked(space.base_url, space.api_key, seconds=0.3)
    assert {name for name, check in checks.items() if check.ok is False} == {where}
    assert words in checks[where].message
    assert checks[where].remedy


async def test_a_dead_host_is_found_out_in_time() -> None:
    async def never(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with raw_server(never) as port:
        began = time.monotonic()
        _, checks = await looked(f"http://127.0.0.1:{port}", KEY_CANARY, seconds=0.5)
    assert time.monotonic() - began < 2
    assert checks["connection"].ok is False
    assert checks["key"].ok is None
    assert REQUEST_SECONDS < SECONDS < 13


async def test_the_clock_and_missing_headers_are_told() -> None:
    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await reader.readuntil(b"\r\n\r\n")
            is_search = request.startswith(b"POST /search")
            if is_search:
                await reader.readexactly(int(request.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
            body = json.dumps(
                {"status": "success", "data": {"contacts" if is_search else "forms": []}}
            ).encode()
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                + f"Date: {formatdate(time.time() - 600, usegmt=True)}\r\n".encode()
                + f"Content-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
            await writer.drain()

    async with raw_server(late) as port:
        seen, checks = await looked(f"http://127.0.0.1:{port}", KEY_CANARY)
    assert seen.is_open
    assert checks["clock"].ok is False
    assert "600 s ahead" in checks["clock"].message.replace("601", "600")
    assert checks["limits"].ok is None
    assert "no contact yet" in checks["space"].message
    assert "not by API" in checks["forms"].message


def test_a_refused_key_names_the_other_region_but_never_what_may_be_a_key() -> None:
    settings = settings_for("https://incoming.qomon.app")
    told, remedy = key_refused(settings, UnauthorizedError("no", status=401))
    assert "QOMON_API_KEY" in told
    assert "https://incoming-us.qomon.app" in remedy
    odd = Settings.from_mapping({"destination": {"api_key_env": KEY_CANARY.replace("-", "_")}}, environ={})
    assert "canary" not in place_of_key(odd)
