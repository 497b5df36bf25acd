"""Contacts checkpointed per second against a server that does not limit, beside a bare loop's requests.

Everything is on: intents, FULL, receipts. The bare loop posts the same bodies with the same number of
connections from the same kind of event loop, and keeps nothing.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import orjson

from bench.people import UNREAD, settings_for, sync_once, write_people
from bench.server import Server, running
from syncengine import Settings
from syncengine.load import batches, open_mapped

IN_FLIGHT = (16, 32, 64)


def measure(*, quick: bool, seed: int) -> list[dict[str, Any]]:
    """Measure each number in flight; the load is done before the clock starts."""
    contacts, runs = (1000, 1) if quick else (10_000, 3)
    return [_case(contacts, in_flight, runs, seed) for in_flight in (IN_FLIGHT[:1] if quick else IN_FLIGHT)]


def _case(contacts: int, in_flight: int, runs: int, seed: int) -> dict[str, Any]:
    ours, bare = [], []
    for run in range(runs):
        with (
            TemporaryDirectory() as folder,
            running("--unlimited", "--lag", "0") as server,
            running("--unlimited", "--lag", "0") as other,
        ):
            settings = settings_for(Path(folder), server.base_url, in_flight=in_flight)
            write_people(Path(folder) / "people.csv", contacts, seed + run)
            bare.append(contacts / asyncio.run(_bare(_bodies(settings), other, in_flight)))
            report = asyncio.run(sync_once(settings, server.api_key))
            ours.append(contacts / (time.time() - server.stats()["first_upsert_at"]))
            assert report["accepted"] == server.stats()["contacts"] == contacts, report
            assert (report["exit"], report["unconfirmed"]) == (3, contacts), report
    return {
        "case": UNREAD,
        "in_flight": in_flight,
        "contacts": contacts,
        "per_second": round(median(ours)),
        "bare_loop": round(median(bare)),
        "ratio": round(median(a / b for a, b in zip(ours, bare, strict=True)), 3),
    }


def _bodies(settings: Settings) -> list[bytes]:
    return [
        orjson.dumps({"kind": "contact", "data": orjson.Fragment(row.content)})
        for rows, _, _ in batches(open_mapped(settings))
        for row in rows
    ]


async def _bare(bodies: list[bytes], server: Server, connections: int) -> float:
    """Post all bodies; return the seconds it took."""
    todo = iter(bodies)
    headers = {"Authorization": f"Bearer {server.api_key}", "Content-Type": "application/json"}
    url = f"{server.base_url}/contacts/upsert"
    connector = aiohttp.TCPConnector(limit=connections)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def post() -> None:
            for body in todo:
                async with session.post(url, data=body) as answer:
                    assert answer.status == 202
                    await answer.read()

        started = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(connections):
                group.create_task(post())
        return time.perf_counter() - started
