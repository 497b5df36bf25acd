"""A world to sync in: a source file, a state store, a sandbox; every sync in it is checked. And its own test.

What is checked of each report: its equations, that outcome, exit code and stored run agree, and that what it
counts is what the sandbox saw.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlite_utils.utils import sqlite3  # type: ignore[attr-defined]  # the one driver of this process
from test_sandbox_client import Client

from syncengine.clock import Clock
from syncengine.config import Settings
from syncengine.engine import Engine, SyncOptions
from syncengine.model import EXIT_DONE, EXIT_PROBLEMS, AdoptReport, Report, ending
from syncengine.sandbox import Sandbox, SandboxOptions
from syncengine.sandbox.spaces import FIRST_GROUP

KEY = "canary-key-5f1c9d"
SURNAME = "Kanarienvogel"
"""Part of every surname: it must appear in no log, message or report."""

UNREAD = SyncOptions(verify=False)
"""Sends without reading back."""


def person(number: int, **fields: Any) -> dict[str, Any]:
    """Return a source row: mail and names of its own, unless `fields` say otherwise (None: without)."""
    row = {
        "member_id": f"m{number:05}",
        "mail": f"p{number}@canary.example",
        "firstname": f"Vorname{number}",
        "surname": f"{SURNAME}{number}",
    } | fields
    return {name: value for name, value in row.items() if value is not None}


def people(count: int) -> list[dict[str, Any]]:
    return [person(number) for number in range(count)]


async def until(condition: Callable[[], object]) -> None:
    """Let others run until the condition holds."""
    while not condition():  # noqa: ASYNC110 - what it waits for knows nothing of tests
        await asyncio.sleep(0)


def fast_clock(factor: float) -> Clock:
    """Return a clock on which waiting is so many times shorter than it says."""
    begun = time.monotonic()
    return Clock(
        wall=time.time,
        monotonic=lambda: begun + (time.monotonic() - begun) * factor,
        sleep=lambda seconds: asyncio.sleep(seconds / factor),
    )


@dataclass
class World:
    """One source, one store, one sandbox. `run` and `identity` are sections of the settings.

    `verify`: whether what is accepted is read back; without, all requests are upserts, and a run in which
    anything was accepted ends with problems: nobody has seen it in Qomon.

    `knows_group`: the store is told the space's group at once, so that every request is an upsert; how it is
    learned is the matter of test_space.
    """

    folder: Path
    client: Client
    run: dict[str, Any] = field(default_factory=dict)
    identity: dict[str, Any] = field(default_factory=dict)
    destination: dict[str, Any] = field(default_factory=dict)
    clock: Clock | None = None
    knows_group: bool = True
    verify: bool = False
    snapshot: bool = False
    fields: dict[str, Any] = field(default_factory=dict)
    seen: int = 0
    tokens: int = 0
    used: int = 0
    last: list[dict[str, Any]] = field(default_factory=list)
    history_of_last: list[dict[str, Any]] = field(default_factory=list)
    verify_settings: dict[str, Any] = field(default_factory=dict)

    @property
    def source(self) -> Path:
        return self.folder / "people.jsonl"

    @property
    def store(self) -> Path:
        return self.folder / "state.db"

    def write(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self.source.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))

    def table(self) -> dict[str, Any]:
        return {
            "state": {"path": str(self.store)},
            "source": {"path": str(self.source), "key": "member_id", "snapshot": self.snapshot},
            "fields": self.fields,
            "destination": {
                "base_url": f"http://{self.client.host}:{self.client.port}",
                "api_key_env": "SYNC_TEST_KEY",
            }
            | self.destination,
            "run": {"settle": 0.2, "timeout": 5.0} | self.run,
            "identity": {"existing": "match"} | self.identity,
            "verify": self.verify_settings,
        }

    def settings(self) -> Settings:
        return Settings.from_mapping(self.table(), environ={})

    def engine(self, **arguments: Any) -> Engine:
        environ = {"SYNC_TEST_KEY": self.client.key}
        if self.knows_group and self.store.exists():
            self.sql("UPDATE space SET group_id = ?", FIRST_GROUP)
        return Engine(self.settings(), environ=environ, clock=self.clock, **arguments)

    async def sync(self, **options: Any) -> Report:
        async with self.engine() as engine:
            report = await engine.sync(SyncOptions(**{"verify": self.verify} | options))
        await self.check(report)
        return report

    async def sync_beside(self, other: Callable[[], Coroutine[Any, Any, None]], **options: Any) -> Report:
        """Sync while something else goes on, which ends with it."""
        task = asyncio.create_task(other())
        try:
            return await self.sync(**options)
        finally:
            task.cancel()
            await asyncio.wait({task})
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    async def history(self) -> list[dict[str, Any]]:
        """Return the requests since the last look, in order of arrival, everything applied."""
        await self.client.send("POST", "/_sandbox/settle")
        found: list[dict[str, Any]] = []
        while True:
            reply = await self.client.send("GET", f"/_sandbox/history?after={self.seen}&limit=10000")
            found += reply.content["requests"]
            if found:
                self.seen = found[-1]["seq"]
            if reply.content["next"] is None:
                break
        used = (await self.client.stats())["tokens_used"]
        self.used, self.tokens = used - self.tokens, used
        return found

    async def contacts(self) -> list[dict[str, Any]]:
        await self.client.send("POST", "/_sandbox/settle")
        found: list[dict[str, Any]] = []
        while True:
            path = f"/_sandbox/contacts?offset={len(found)}&limit=10000"
            reply = (await self.client.send("GET", path)).content
            found += reply["contacts"]
            if reply["next"] is None:
                return found

    async def saw(self, look: Callable[[dict[str, Any]], object]) -> None:
        """Wait until the sandbox's stats satisfy `look`."""
        while not look(await self.client.stats()):  # noqa: ASYNC110 - it may be another process
            await asyncio.sleep(0.005)

    async def check(self, report: Report) -> None:
        """Check a report against itself, the store and what the sandbox saw since the last check."""
        check_equations(report)
        self.check_stored(report)
        history = await self.history()
        assert report.requests == len(history), Counter(entry["outcome"] for entry in history)
        self.history_of_last = history
        self.last = [entry for entry in history if entry["endpoint"] == "upsert"]
        created = [{"data": entry["data"]["contact"]} for entry in history if entry["endpoint"] == "create"]
        sent = {(who(entry), entry["data"].get("mail")) for entry in (*self.last, *created)}
        assert report.sent == len(sent)
        assert report.throttled == sum(entry["status"] == 429 for entry in history)
        unheard = sum(
            5 if entry["endpoint"] == "create" else 1
            for entry in history
            if entry["fault"] in {"reset_after", "close_after", "hang"}
        )
        assert self.used - unheard <= report.tokens <= self.used

    def check_stored(self, report: Report | AdoptReport) -> None:
        stored = self.sql("SELECT outcome, reason, exit, report FROM runs WHERE id = ?", report.run)[0]
        assert stored[:3] == (report.outcome, report.reason, report.exit)
        assert orjson.loads(stored[3]) == orjson.loads(orjson.dumps(report.as_json()))

    def sql(self, statement: str, *parameters: Any) -> list[Any]:
        """Look into the store, or change it while nobody has it open."""
        connection = sqlite3.connect(str(self.store), isolation_level=None)
        try:
            return list(connection.execute(statement, parameters).fetchall())
        finally:
            connection.close()


def check_equations(report: Report) -> None:
    assert report.read == (report.new + report.changed + report.unchanged + report.refused + report.forgotten)
    assert report.selected == report.accepted + report.rejected + report.held + report.remaining
    assert report.sent <= report.selected
    assert report.repeated <= report.sent
    assert report.accepted == report.confirmed + report.differs + report.dropped + report.unconfirmed
    has_problems = bool(report.problems_open or report.remaining) or report.exit == EXIT_PROBLEMS
    assert (report.outcome, report.exit) == ending(report.reason, has_problems=has_problems)
    assert (report.exit == EXIT_DONE) <= (not has_problems)
    assert (report.exit == EXIT_DONE) <= (report.unconfirmed == 0)
    assert SURNAME not in repr(report)
    assert KEY not in repr(report)


def check_all_accepted(report: Report) -> None:
    """Check that whoever was to go was accepted, and that the run says that nobody was seen."""
    assert (report.outcome, report.reason, report.exit) == ("problems", None, EXIT_PROBLEMS)
    assert (report.remaining, report.problems_open, report.confirmed) == (0, 0, 0)
    assert report.unconfirmed == report.accepted


def who(entry: Mapping[str, Any]) -> str:
    """Return whom a request was about, by first name: tests give each person one of their own."""
    return str(entry["data"].get("firstname") or entry["data"])


def whose(history: Iterable[Mapping[str, Any]]) -> list[str]:
    return [who(entry) for entry in history]


@asynccontextmanager
async def world(
    folder: Path,
    *,
    faults: str = "",
    run: Mapping[str, Any] | None = None,
    identity: Mapping[str, Any] | None = None,
    destination: Mapping[str, Any] | None = None,
    clock: Clock | None = None,
    knows_group: bool = True,
    verify: bool = False,
    **sandbox: Any,
) -> AsyncIterator[World]:
    """Run a sandbox in this process, without lag, and without limits unless `burst` is given."""
    file = folder / "faults.toml"
    file.write_text(faults)
    options: dict[str, Any] = {
        "lag": 0.0,
        "search_lag": 0.0,
        "unlimited": "burst" not in sandbox,
        "api_key": KEY,
        "faults": file,
    } | sandbox
    async with Sandbox(SandboxOptions(**options)) as server:
        yield World(
            folder,
            Client(server.base_url, server.api_key),
            run=dict(run or {}),
            identity=dict(identity or {}),
            destination=dict(destination or {}),
            clock=clock,
            knows_group=knows_group,
            verify=verify,
        )


async def test_the_check_of_a_report_notices_a_wrong_count(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.write(people(3))
        report = await w.sync()
        report.accepted += 1
        with pytest.raises(AssertionError):
            check_equations(report)
