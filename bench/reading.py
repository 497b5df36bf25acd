"""Reading beside writing: the makespan of both on one bucket, and a sweep of everybody while staff edit."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

from bench.server import Server, running
from syncengine.qomon import Contact, QomonClient, Query, where

QUICK = (300, 40, 150.0, 3000)
CASES = ((3000, 40, 150.0, 60_000),)
"""contacts to write, burst in tokens, rate in tokens per second; contacts to read"""
READ_EVERY = 10
"""Upserts for each read mixed in."""
STAFF = "edit=50,merge=0.2,delete=0.2,rename=0.05"
"""Acts a second."""


def measure(*, quick: bool, seed: int) -> list[dict[str, Any]]:
    """Run each case once."""
    results = []
    for contacts, burst, rate, people in (QUICK,) if quick else CASES:
        results.append(_mixed(contacts, burst, rate, seed=seed))
        results.append(_sweep(people, seed=seed))
    return results


def _mixed(contacts: int, burst: int, rate: float, *, seed: int) -> dict[str, Any]:
    with running("--burst", str(burst), "--rate", str(rate), "--lag", "0", "--seed", str(seed)) as server:
        seconds = asyncio.run(_write_and_read(server, contacts))
        stats = server.stats()
        assert stats["contacts"] == contacts, stats
        assert stats["throttled"] == 0, stats
        optimum = (stats["tokens_used"] - burst) / rate
        return {
            "case": "mixed",
            "contacts": contacts,
            "reads": sum(stats["requests"].values()) - contacts,
            "seconds": round(seconds, 3),
            "optimum": round(optimum, 3),
            "ratio": round(seconds / optimum, 4),
            "throttled": stats["throttled"],
        }


async def _write_and_read(server: Server, contacts: int) -> float:
    """Return the seconds from the first request to the last answer."""
    numbers = iter(range(contacts))
    async with QomonClient(server.api_key, base_url=server.base_url, in_flight=16) as qomon:
        reads: list[Callable[[], Awaitable[object]]] = [
            lambda: qomon.page(per_page=1000),
            lambda: qomon.count(Query.all(where("surname").eql("Bench"))),
            lambda: qomon.contact(1),
            lambda: qomon.forms("custom_fields"),
        ]
        turn = count()

        async def work() -> None:
            for number in numbers:
                person = Contact(firstname=f"B{number}", surname="Bench", mail=f"b{number}@bench.example")
                await qomon.upsert(person)
                if number % READ_EVERY == 0:
                    await reads[next(turn) % len(reads)]()

        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(16):
                group.create_task(work())
        return time.perf_counter() - began


def _sweep(people: int, *, seed: int) -> dict[str, Any]:
    options = ("--contacts", str(people), "--unlimited", "--seed", str(seed), "--staff", STAFF)
    with running(*options) as server:
        before = _peak_mb()
        found = asyncio.run(_read_everybody(server))
        stats, there = server.stats(), set(server.ids())
        assert there <= set(found["ids"]), "somebody was missed"
        assert len(found["ids"]) == len(set(found["ids"])), "somebody was met twice"
        return {
            "case": "sweep",
            "contacts": people,
            "read": len(found["ids"]),
            "twice": len(found["ids"]) - len(set(found["ids"])),
            "missed": len(there - set(found["ids"])),  # of those who are still there at the end
            "edits": stats["staff"],
            "requests": stats["requests"]["search"],
            "pages_at_best": -(-people // 1000),
            "seconds": round(found["seconds"], 2),
            "peak_mb_more": round(_peak_mb() - before, 1),
        }


async def _read_everybody(server: Server) -> dict[str, Any]:
    began = time.perf_counter()
    async with QomonClient(server.api_key, base_url=server.base_url) as qomon:
        ids = [contact.id async for contact in qomon.search()]
    return {"ids": ids, "seconds": time.perf_counter() - began}


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
