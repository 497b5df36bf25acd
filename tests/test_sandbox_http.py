"""HTTP as the sandbox reads and writes it, malformed requests included."""

import asyncio
import random

import orjson
import pytest
from test_sandbox_client import read_reply, running

ADA = {"surname": "Roux", "mail": "ada@example.org"}
UPSERT = b'{"kind":"contact","data":{}}'
CHUNKS = (
    b"5\r\n"
    + UPSERT[:5]
    + b"\r\n"
    + f"{len(UPSERT) - 5:x}".encode()
    + b"\r\n"
    + UPSERT[5:]
    + b"\r\n0\r\n\r\n"
)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"POST /contacts/upsert HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /contacts/upsert HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000, 431),
        (b"GET /" + b"x" * 70_000, 431),
        (b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 501),
        (b"POST /contacts/upsert HTTP/1.1\r\nContent-Length: 2000000\r\n\r\n" + b" " * 1_100_000, 413),
    ],
)
async def test_malformed_request_is_refused_and_the_server_goes_on(request_bytes: bytes, status: int) -> None:
    async with running() as client:
        async with client.connection() as (reader, writer):
            writer.write(request_bytes)
            reply = await read_reply(reader)
            assert (reply.status, reply.headers["connection"]) == (status, "close")
            assert await reader.read() == b""
        assert (await client.upsert(ADA)).status == 202
        assert (await client.stats())["statuses"] == {str(status): 1, "202": 1}


async def test_chunked_body_is_accepted() -> None:
    async with running() as client:
        head = f"POST /contacts/upsert HTTP/1.1\r\nAuthorization: Bearer {client.key}\r\n"
        reply = await client.raw(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + CHUNKS)
        assert reply.status == 202


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with running(latency=0.001) as client, client.connection() as (reader, writer):
        numbers = range(200)  # more than are read ahead
        for number in numbers:
            body = orjson.dumps({"kind": "contact", "data": {"surname": str(number)}})
            writer.write(client.request("POST" if number % 2 else "GET", "/contacts/upsert", body))
        assert [(await read_reply(reader)).status for _ in numbers] == [405, 202] * 100
        sent = [entry["data"]["surname"] for entry in await client.history() if entry["data"]]
        assert sent == [str(number) for number in numbers if number % 2]


async def test_client_that_asks_first_is_told_to_go_on() -> None:
    async with running() as client, client.connection() as (reader, writer):
        head, body = client.request(
            "POST", "/contacts/upsert", UPSERT, more="Expect: 100-continue\r\n"
        ).split(b"\r\n\r\n")
        writer.write(head + b"\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert (await read_reply(reader)).status == 202


async def test_connection_closes_when_the_client_asks_for_it() -> None:
    async with running() as client, client.connection() as (reader, writer):
        writer.write(client.request("POST", "/contacts/upsert", UPSERT, more="Connection: close\r\n"))
        assert (await read_reply(reader)).headers["connection"] == "close"
        assert await reader.read() == b""


async def test_client_that_leaves_is_no_longer_counted_as_handled() -> None:
    async with running(latency=60) as client:
        async with client.connection() as (_, writer):
            writer.write(client.request("POST", "/contacts/upsert", UPSERT))
            while not await client.history():
                pass
        await client.send("POST", "/_sandbox/reset")
        assert (await client.stats())["peak_concurrency"] <= 1


def watch_for_mistakes() -> list[object]:
    """Return the list in which the loop puts exceptions that nobody caught."""
    mistakes: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: mistakes.append(context))
    return mistakes


async def test_bytes_after_the_last_request_are_swallowed() -> None:
    mistakes = watch_for_mistakes()
    async with running() as client, client.connection() as (reader, writer):
        writer.write(
            client.request("POST", "/contacts/upsert", UPSERT, more="Connection: close\r\n") + b"nonsense"
        )
        assert (await read_reply(reader)).status == 202
        assert await reader.read() == b""
    assert not mistakes


async def test_garbled_requests_never_hurt_the_server() -> None:
    mistakes = watch_for_mistakes()
    draw = random.Random(7)
    async with running() as client:
        for _ in range(300):
            garbled = bytearray(client.request("POST", "/contacts/upsert", UPSERT) * draw.randrange(1, 4))
            for _ in range(draw.randrange(1, 6)):
                at = draw.randrange(len(garbled))
                garbled[at : at + draw.randrange(20)] = draw.randbytes(draw.randrange(4))
            async with client.connection() as (reader, writer):
                writer.write(garbled)
                writer.write_eof()
                await reader.read()
        assert (await client.upsert(ADA)).status == 202
    assert not mistakes
