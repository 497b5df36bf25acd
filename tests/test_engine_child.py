"""A sandbox and syncs in processes of their own, to be stopped and killed. And their own test."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from test_engine_world import KEY, World
from test_sandbox_client import Client

SYNC = """
import asyncio, json, os, signal, sys
from syncengine.config import Settings
from syncengine.engine import Engine, SyncOptions
from syncengine.errors import LockHeldError

async def main():
    settings = Settings.from_mapping(json.loads(sys.argv[1]), environ={})
    async with Engine(settings) as engine:
        loop = asyncio.get_running_loop()
        for number, reason in ((signal.SIGINT, "sigint"), (signal.SIGTERM, "sigterm")):
            loop.add_signal_handler(number, engine.stop, reason)
        print("open", flush=True)
        report = await engine.sync(SyncOptions(verify=sys.argv[2] == "verify"))
    print(json.dumps(report.as_json()), flush=True)
    return report.exit

try:
    sys.exit(asyncio.run(main()))
except LockHeldError as error:
    print(error, flush=True)
    sys.exit(5)
"""


class Child:
    """A sync in a process of its own; without `verify` it only sends."""

    def __init__(self, table: Mapping[str, Any], *, verify: bool = True) -> None:
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-c", SYNC, json.dumps(table), "verify" if verify else ""],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "SYNC_TEST_KEY": KEY},
        )

    async def opened(self) -> None:
        """Wait until it has the lock and the store."""
        assert self.process.stdout is not None
        line = await asyncio.to_thread(self.process.stdout.readline)
        assert line == "open\n", line + self.process.communicate()[1]

    async def ended(self) -> tuple[int, str, str]:
        """Wait for its end; return exit code, what else it printed, and stderr."""
        output, errors = await asyncio.to_thread(self.process.communicate)
        return self.process.returncode, output, errors

    async def kill(self) -> None:
        self.process.kill()
        await self.ended()

    async def report(self) -> dict[str, Any]:
        code, output, errors = await self.ended()
        assert not errors, errors
        report: dict[str, Any] = json.loads(output.splitlines()[-1])
        assert report["exit"] == code
        return report


def start(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@asynccontextmanager
async def world_apart(folder: Path, *flags: str, **sections: Any) -> AsyncIterator[World]:
    """Run a sandbox in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "syncengine.sandbox",
        "--lag",
        "0",
        "--search-lag",
        "0",
        "--api-key",
        KEY,
    ]
    process = start([*command, *flags])
    try:
        assert process.stdout is not None
        ready = json.loads(await asyncio.to_thread(process.stdout.readline))
        yield World(folder, Client(ready["base_url"], KEY), **sections)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate()


async def test_a_child_syncs_and_reports(tmp_path: Path) -> None:
    async with world_apart(tmp_path, "--unlimited") as w:
        w.write([{"member_id": "a", "mail": "a@canary.example", "firstname": "A", "surname": "B"}])
        child = Child(w.table())
        await child.opened()
        report = await child.report()
        assert (report["outcome"], report["confirmed"]) == ("done", 1)
        assert len(await w.contacts()) == 1
