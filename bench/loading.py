"""A first load and a load of nothing new, beside a loop that only reads, maps, serialises and hashes."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.people import settings_for, write_people
from syncengine.load import batches, load, open_mapped
from syncengine.store.lock import RunLock
from syncengine.store.store import Store


def measure(*, quick: bool, seed: int) -> list[dict[str, Any]]:
    """Time both loads in this process; peak memory includes everything it ever did."""
    rows = 5_000 if quick else 1_000_000
    with TemporaryDirectory() as folder:
        settings = settings_for(Path(folder), "http://127.0.0.1:9")
        write_people(Path(folder) / "people.csv", rows, seed)
        started = time.perf_counter()
        assert sum(count for _, _, count in batches(open_mapped(settings))) == rows
        loop = time.perf_counter() - started
        results = []
        with RunLock(settings.state.path) as lock:
            store = Store(settings.state.path, lock=lock)
            for name in ("first load", "unchanged"):
                started = time.perf_counter()
                report = load(store, open_mapped(settings))
                seconds = time.perf_counter() - started
                assert (report.new, report.unchanged) in {(rows, 0), (0, rows)}
                results.append(
                    {
                        "load": name,
                        "rows": rows,
                        "rows_per_second": round(rows / seconds),
                        "loop_rows_per_second": round(rows / loop),
                        "times_the_loop": round(seconds / loop, 2),
                        "peak_mb": round(_peak_bytes() / 1e6),
                    }
                )
            store.close()
    return results


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
