"""A million rows through load and sync, in a process of its own whose peak memory is read at its end.

Long: `pytest -m long -n 0 tests/test_million.py`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from bench.people import write_people
from bench.server import running

ROWS = 1_000_000
PEAK_MB = 150

PROGRAM = """
import asyncio, resource, sys
from pathlib import Path
import orjson
from bench.people import settings_for, sync_once

folder, base_url, key = sys.argv[1:]
report = asyncio.run(sync_once(settings_for(Path(folder), base_url, in_flight=64), key))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print(orjson.dumps({**report, "peak_mb": peak / 1e6}).decode())
"""


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_million_rows_load_and_sync_in_150_mb_and_unchanged_they_send_nothing(tmp_path: Path) -> None:
    write_people(tmp_path / "people.csv", ROWS, seed=1)
    with running("--unlimited", "--lag", "0") as server:
        first = _sync(tmp_path, server.base_url, server.api_key)
        assert server.stats()["contacts"] == ROWS
        again = _sync(tmp_path, server.base_url, server.api_key)
    print({"first": first, "again": again})
    assert (first["new"], first["accepted"], first["remaining"]) == (ROWS, ROWS, 0)
    assert (first["unconfirmed"], first["held"], first["problems_open"]) == (ROWS, 0, 0)  # not read back
    assert (again["unchanged"], again["selected"], again["requests"]) == (ROWS, 0, 0)
    assert first["peak_mb"] <= PEAK_MB
    assert again["peak_mb"] <= PEAK_MB


def _sync(folder: Path, base_url: str, key: str) -> dict[str, float]:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), base_url, key],
        stdout=subprocess.PIPE,
        check=True,
        timeout=1200,
        cwd=Path(__file__).parents[1],
    )
    report: dict[str, float] = orjson.loads(ended.stdout)
    return report
