"""A raw HTTP client for the sandbox's tests, and its own test: what it shows is what was on the wire."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from syncengine.sandbox import Sandbox, SandboxOptions


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def content(self) -> Any:
        return orjson.loads(self.body)


class Client:
    """Talks to one sandbox, a connection per request unless the test holds its own."""

    def __init__(self, base_url: str, key: str) -> None:
        self.host, port = base_url.removeprefix("http://").split(":")
        self.port = int(port)
        self.key = key

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection(self.host, self.port, limit=2**20)
        try:
            yield reader, writer
        finally:
            writer.close()

    def request(
        self, method: str, path: str, body: bytes = b"", key: str | None = None, more: str = ""
    ) -> bytes:
        authorization = f"Authorization: Bearer {self.key if key is None else key}\r\n"
        head = f"{method} {path} HTTP/1.1\r\nHost: sandbox\r\n{authorization}{more}"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    async def raw(self, request: bytes) -> Reply:
        async with self.connection() as (reader, writer):
            writer.write(request)
            return await read_reply(reader)

    async def send(self, method: str, path: str, body: object = None, key: str | None = None) -> Reply:
        content = b"" if body is None else orjson.dumps(body)
        return await self.raw(self.request(method, path, content, key))

    async def upsert(self, fields: object, key: str | None = None) -> Reply:
        return await self.send("POST", "/contacts/upsert", {"kind": "contact", "data": fields}, key)

    async def accepted(self, *people: object) -> None:
        """Upsert each in turn, then have everything applied."""
        for fields in people:
            reply = await self.upsert(fields)
            assert reply.status == 202, reply
        await self.send("POST", "/_sandbox/settle")

    async def contacts(self) -> list[dict[str, Any]]:
        return list((await self.send("GET", "/_sandbox/contacts")).content["contacts"])

    async def history(self) -> list[dict[str, Any]]:
        return list((await self.send("GET", "/_sandbox/history")).content["requests"])

    async def stats(self) -> dict[str, Any]:
        return dict((await self.send("GET", "/_sandbox/stats")).content)


async def read_reply(reader: asyncio.StreamReader) -> Reply:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Reply(int(head[0].split()[1]), headers, body)


@asynccontextmanager
async def running(**options: Any) -> AsyncIterator[Client]:
    """Run a sandbox in this process: no lag and no limit unless the test says otherwise."""
    async with Sandbox(
        SandboxOptions(**{"lag": 0.0, "unlimited": "burst" not in options} | options)
    ) as sandbox:
        yield Client(sandbox.base_url, sandbox.api_key)


@asynccontextmanager
async def faulty(folder: Path, faults: str, **options: Any) -> AsyncIterator[Client]:
    """Run a sandbox with these fault tables."""
    file = folder / "faults.toml"
    file.write_text(faults)
    async with running(faults=file, **options) as client:
        yield client


async def test_client_reads_what_the_sandbox_sends() -> None:
    async with running() as client:
        reply = await client.send("GET", "/_sandbox/contacts")
    assert (reply.status, reply.content) == (200, {"contacts": [], "next": None})
