"""python -m bench [NAME…] [--quick] [--seed N]: run the benchmarks and print their figures as JSON lines."""

from __future__ import annotations

import argparse
import platform
from importlib.metadata import version

import orjson

from bench import loading, makespan, reading, throughput
from syncengine.store.store import journal_in_use

BENCHES = {
    "makespan": makespan.measure,
    "reading": reading.measure,
    "throughput": throughput.measure,
    "loading": loading.measure,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(BENCHES)}; default all")
    parser.add_argument(
        "--quick", action="store_true", help="a smoke test of seconds; its figures mean little"
    )
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    unknown = set(wanted.names) - BENCHES.keys()
    if unknown:
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}; known are {', '.join(BENCHES)}")
    machine = {
        "python": platform.python_version(),
        "event_loop": "asyncio",
        "seed": wanted.seed,
        **{name: version(name) for name in ("aiohttp", "orjson", "aiolimiter", "sqlite-utils")},
        **journal_in_use(),
    }
    print(orjson.dumps({"machine": machine}).decode())
    for name in wanted.names or BENCHES:
        for result in BENCHES[name](quick=wanted.quick, seed=wanted.seed):
            print(orjson.dumps({"bench": name, **result}).decode(), flush=True)


if __name__ == "__main__":
    main()
