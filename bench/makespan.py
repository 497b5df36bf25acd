"""Time to drain N changes from a token bucket against the least possible, (N - burst) / rate; and 429s."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.people import UNREAD, settings_for, sync_once, write_people
from bench.server import running

QUICK = (600, 40, 150.0)
CASES = ((3000, 40, 150.0), (3000, 100, 100.0), (10_000, 100, 1000.0))
"""contacts, burst in tokens, rate in tokens per second"""


def measure(*, quick: bool, seed: int) -> list[dict[str, Any]]:
    """Run each case once. Time runs from the first request to the end of the sync."""
    return [_case(*case, seed=seed) for case in ((QUICK,) if quick else CASES)]


def _case(contacts: int, burst: int, rate: float, *, seed: int) -> dict[str, Any]:
    with (
        TemporaryDirectory() as folder,
        running("--burst", str(burst), "--rate", str(rate), "--lag", "0") as server,
    ):
        write_people(Path(folder) / "people.csv", contacts, seed)
        report = asyncio.run(sync_once(settings_for(Path(folder), server.base_url), server.api_key))
        seconds = time.time() - server.stats()["first_upsert_at"]
        assert report["accepted"] == server.stats()["contacts"] == contacts, report
        assert (report["exit"], report["unconfirmed"]) == (3, contacts), report
    optimum = (contacts - burst) / rate
    return {
        "case": UNREAD,
        "contacts": contacts,
        "burst": burst,
        "rate": rate,
        "seconds": round(seconds, 3),
        "optimum": round(optimum, 3),
        "ratio": round(seconds / optimum, 4),
        "throttled": report["throttled"],
    }
