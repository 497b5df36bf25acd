"""`probe` finds out what a space does, whatever that is, and takes everything away again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from test_engine_world import World, person, world
from test_sandbox_client import Client

from syncengine.budget import Budget
from syncengine.checks.source import check_source
from syncengine.clock import Clock
from syncengine.errors import ConfigError
from syncengine.model import Report
from syncengine.paying import Paying
from syncengine.plan import make_plan
from syncengine.probing import QUESTIONS, probe
from syncengine.qomon import Forms, QomonClient
from syncengine.qomon.trial import NotShownError, Trial
from syncengine.sandbox import Sandbox, SandboxOptions
from syncengine.sandbox.unknowns import Unknowns
from syncengine.store import probes
from syncengine.store.glance import glance
from syncengine.store.lock import RunLock
from syncengine.store.store import Store


@asynccontextmanager
async def trial(
    *, deadline: float = 15.0, forms: Forms | None = None, **options: Any
) -> AsyncIterator[tuple[Trial, Paying, Client]]:
    given: dict[str, Any] = {"unlimited": True, "lag": 0.1, "search_lag": 0.05} | options
    async with Sandbox(SandboxOptions(**given)) as server, Budget(rate=1e4, burst=1e4) as budget:
        paying = Paying(budget)
        async with QomonClient(
            server.api_key, base_url=server.base_url, paying=paying, in_flight=16
        ) as client:
            found = await client.forms() if forms is None else forms
            made = Trial(client, paying, found, token="zq7x", clock=Clock(), deadline=deadline, pause=0.02)
            yield made, paying, Client(server.base_url, server.api_key)


def expected(unknowns: Unknowns) -> dict[str, str]:
    """Return what a truthful probe answers about a sandbox with these answers."""
    unlisted = {"drop": "drops", "store": "kept", "ignore": "ignored"}[unknowns.unlisted]
    return {
        "gender": unlisted,
        "external_id": unlisted,
        "tags": unknowns.tags,
        "notes": unknowns.notes,
        "empty": {"store": "clears", "ignore": "ignored"}[unknowns.empty],
        "null": {"clear": "clears", "ignore": "ignored"}[unknowns.null],
        "empty_list": {"keep": "keeps", "clear": "clears"}[unknowns.empty_list],
        "checkboxes": unknowns.checkboxes,
        "texts": unknowns.texts,
        "address": unknowns.address,
        "noop": unknowns.noop,
        "birthdates": "RFC 3339" + (", YYYY-MM-DD, DD/MM/YYYY" if unknowns.birthdates == "any" else ""),
        "phones": {"kept": "as sent", "e164": "rewritten"}[unknowns.phones],
        "geocoding": unknowns.geocoding,
        "replaced": unknowns.replaced,
        "lastchange": unknowns.lastchange,
        "dead_id": unknowns.dead_id,
        "matching": unknowns.matching,
        "mail_case": "exact" if unknowns.matching == "exact" else "folded",
        "twins": unknowns.twins,
        "winner": unknowns.winner,
        "refusals": {"types": "refused", "none": "accepted"}[unknowns.refusals],
        "reset_header": f"x-ratelimit-{unknowns.reset_header}".lower(),
        "search_depth": str(unknowns.search_depth),
        "search_conditions": str(unknowns.search_conditions),
        "search_ids": "text",
        "costs": "upsert 1, create 5, replace 5, delete 1, get 1, search 1, kpi 1, forms 1",
    }


CONFIGURED: tuple[dict[str, str], ...] = (
    {},
    {"unlisted": "store", "tags": "replace", "notes": "replace", "null": "clear", "texts": "add"},
    {"unlisted": "ignore", "notes": "once", "empty": "ignore", "checkboxes": "replace", "twins": "no"},
    {"matching": "exact", "winner": "newest", "dead_id": "match", "noop": "stays"},
    {"matching": "loose", "birthdates": "rfc3339", "phones": "e164", "geocoding": "on"},
    {"refusals": "none", "reset_header": "Reset", "replaced": "replace", "lastchange": "moves"},
    {"search_depth": "5000", "search_conditions": "100", "address": "replace", "empty_list": "clear"},
    {"matching": "exact", "unlisted": "store", "empty": "ignore", "null": "clear", "twins": "no"},
    {"texts": "add", "checkboxes": "replace", "tags": "replace", "noop": "stays", "dead_id": "match",
     "winner": "newest", "refusals": "none", "geocoding": "on", "address": "replace"},
    {"unwritten": "keep", "dates": "kept", "note_ids": "kept", "search_order": "newest",
     "search_depth": "100000", "search_conditions": "2000", "birthdates": "rfc3339", "notes": "once"},
)  # fmt: skip


async def probed_as_configured(given: dict[str, str]) -> None:
    unknowns = Unknowns.read(given)
    async with trial(unknowns=unknowns, contacts=20) as (made, paying, raw):
        probed = await probe(made, paying, asyncio.Event())
        print(f"{given}: {paying.budget.tokens:g} tokens")
        found = dict(probed.found)
        found["reset_header"] = found["reset_header"].lower()
        open_ = [one for one in probed.answers.values() if one.answer is None]
        assert found == expected(unknowns), (given, open_)
        assert (probed.exit, probed.left_behind, probed.message) == (0, [], ""), given
        assert len(await raw.contacts()) == 20, given


@pytest.mark.parametrize("half", [0, 1])
async def test_a_probe_finds_what_the_space_was_configured_to_do(half: int) -> None:
    """Side by side, as they mostly wait for the lag."""
    await asyncio.gather(*(probed_as_configured(given) for given in CONFIGURED[half::2]))


def test_every_question_is_compared_with_what_was_configured() -> None:
    names = {question.name for question in QUESTIONS}
    assert expected(Unknowns()).keys() == names | {"costs"}


# --- the space that does not behave


async def test_a_space_without_forms_leaves_their_questions_open_and_says_why() -> None:
    async with trial(forms=Forms()) as (made, paying, _):
        probed = await probe(made, paying, asyncio.Event())
        several = "the space has no form of several choices with two options"
        assert probed.answers["checkboxes"] == (None, several)
        assert probed.answers["texts"] == probed.answers["replaced"]
        assert probed.answers["texts"] == (None, "the space has no form of free text")
        assert (probed.exit, len(probed.found)) == (0, len(QUESTIONS) + 1 - 3)


async def test_ended_by_an_error_it_still_deletes_everybody(tmp_path: Path) -> None:
    faults = tmp_path / "faults.toml"
    faults.write_text('[[fault]]\nendpoint = "kpi"\nkind = "status"\nstatus = 401\n')
    async with trial(faults=faults) as (made, paying, raw):
        probed = await probe(made, paying, asyncio.Event())
        assert (probed.exit, probed.left_behind) == (1, [])
        assert "refused the API key" in probed.message
        assert await raw.contacts() == []


async def test_who_cannot_be_deleted_is_told_by_id(tmp_path: Path) -> None:
    faults = tmp_path / "faults.toml"
    faults.write_text('[[fault]]\nendpoint = "delete"\nkind = "status"\nstatus = 422\n')
    async with trial(faults=faults) as (made, paying, raw):
        probed = await probe(made, paying, asyncio.Event())
        assert probed.exit == 1
        assert probed.left_behind == [one["id"] for one in await raw.contacts()] != []


async def test_nobody_is_said_to_be_dropped_while_nothing_written_later_shows(tmp_path: Path) -> None:
    faults = tmp_path / "faults.toml"
    faults.write_text('[[fault]]\nendpoint = "upsert"\nkind = "drop"\nafter = 2\n')
    async with trial(faults=faults, deadline=0.5) as (made, _, raw):
        await made.begin()
        contact = await made.create(made.person())
        with pytest.raises(NotShownError, match="neither this nor what was written later showed"):
            await made.apply({"id": contact.id, "phone": "1"}, on=contact.id)
        await made.clean()
        assert await raw.contacts() == []


# --- fields that are in no write schema

GENDERED = {"surname": "surname", "mail": "mail", "gender": "gender"}
TOLD = (
    r"\[fields\] gender: cannot be mapped: no published write schema of Qomon has it, and an unknown field "
    r"drops the whole contact\. Whether this space keeps it is found out by syncengine probe"
)


@asynccontextmanager
async def gendered(folder: Path, answers: dict[str, str] | None) -> AsyncIterator[World]:
    """Open a world whose mapping has gender, and whose store has these answers (None: there is no store)."""
    async with world(folder, unknowns=Unknowns(unlisted="store")) as here:
        here.fields = GENDERED
        here.write([person(0, gender="F")])
        if answers is not None:
            with RunLock(here.store) as lock:
                store = Store(here.store, lock=lock)
                try:
                    probes.note(store, answers)
                finally:
                    store.close()
        yield here


def doctored(here: World) -> str:
    """Return what the doctor says of the columns."""
    known = glance(here.store)
    checks, _ = check_source(here.settings(), has_fields=True, proven=known.kept if known else ())
    return checks[1].message


async def synced(here: World) -> Report:
    make_plan(here.settings(), now=time.time())
    async with here.engine() as engine:
        await engine.load()
        await engine.put([person(1, gender="X")])
    return await here.sync(verify=True)


@pytest.mark.parametrize(
    "answers", [None, {}, {"gender": "ignored"}, {"gender": "drops"}, {"external_id": "kept"}]
)
async def test_gender_is_refused_everywhere_until_a_probe_has_shown_that_it_is_kept(
    tmp_path: Path, answers: dict[str, str] | None
) -> None:
    async with gendered(tmp_path, answers) as here:
        with pytest.raises(ConfigError, match=TOLD):
            make_plan(here.settings(), now=time.time())
        assert "gender: cannot be mapped" in doctored(here)
        async with here.engine() as engine:
            for work in (engine.load, engine.sync, engine.adopt, lambda: engine.put([person(1)])):
                with pytest.raises(ConfigError, match=TOLD):
                    await work()
        assert await here.client.history() == []


async def test_gender_that_was_shown_to_be_kept_is_sent_and_confirmed(tmp_path: Path) -> None:
    async with gendered(tmp_path, {"gender": "kept"}) as here:
        assert "gender" not in doctored(here)
        report = await synced(here)
        assert (report.confirmed, report.exit) == (2, 0)
        assert [one["gender"] for one in await here.client.contacts()] == ["F", "X"]


async def test_a_file_of_before_there_were_probes_knows_of_nothing_kept(tmp_path: Path) -> None:
    async with gendered(tmp_path, {"gender": "kept"}) as here:
        here.sql("DROP TABLE probes")
        with pytest.raises(ConfigError, match=TOLD):
            make_plan(here.settings(), now=time.time())
