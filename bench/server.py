"""The sandbox as a process of its own, so that it does not share a core's loop with what is measured."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Server:
    """A running sandbox."""

    base_url: str
    api_key: str

    def stats(self) -> dict[str, Any]:
        """Return what it counted."""
        return self._read("stats")

    def ids(self) -> Iterator[int]:
        """Yield the ids of the contacts it holds."""
        offset: int | None = 0
        while offset is not None:
            page = self._read(f"contacts?offset={offset}&limit=10000")
            yield from (contact["id"] for contact in page["contacts"])
            offset = page["next"]

    def _read(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.base_url}/_sandbox/{path}", timeout=30) as answer:
            content: dict[str, Any] = orjson.loads(answer.read())
            return content


@contextmanager
def running(*options: str) -> Iterator[Server]:
    """Start a sandbox with these options; end it by its own process when done."""
    process = subprocess.Popen(
        [sys.executable, "-m", "syncengine.sandbox", "--port", "0", *options], stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        ready = orjson.loads(process.stdout.readline())
        yield Server(ready["base_url"], ready["api_key"])
    finally:
        process.terminate()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()
