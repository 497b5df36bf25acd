"""The HTTP edge against raw servers: what was sent, what was not, and what is never told."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from pydantic import SecretStr
from test_engine_answers import raw_server, read_request
from test_engine_world import KEY, SURNAME
from test_tally import change

from syncengine.errors import DestinationError, ProtocolError, TransientError
from syncengine.hashing import canonical
from syncengine.model import Result
from syncengine.qomon.destination import QomonDestination
from syncengine.qomon.wire import BODY_CAP, Wire

pytestmark = pytest.mark.usefixtures("no_leaks")

ADA = change(1, canonical({"mail": "ada@canary.example", "surname": SURNAME}))
ACCEPTED = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def client(
    address: int | str, *, timeout: float = 5.0, in_flight: int = 1
) -> AsyncIterator[QomonDestination]:
    base_url = address if isinstance(address, str) else f"http://127.0.0.1:{address}"
    async with Wire(base_url, SecretStr(KEY), in_flight=in_flight, timeout=timeout) as wire:
        yield QomonDestination(wire)


async def failure(address: int | str, *, timeout: float = 5.0) -> DestinationError:
    async with client(address, timeout=timeout) as destination:
        with pytest.raises(DestinationError) as caught:
            await destination.upsert(ADA)
    error = caught.value
    for text in (str(error), repr(error), repr(error.__dict__), repr(error.__context__ or "")):
        assert SURNAME not in text
    for text in (str(error), repr(error), repr(error.__dict__), repr(error.__context__)):
        assert KEY not in text
    assert error.__cause__ is error.__context__ is None
    return error


async def is_sent(address: int | str, *, timeout: float = 5.0) -> bool:
    error = await failure(address, timeout=timeout)
    assert isinstance(error, TransientError)
    assert error.status is None
    return error.sent


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection by RST."""
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_a_refused_connection_sent_nothing() -> None:
    assert not await is_sent(closed_port())


async def test_an_unknown_host_was_sent_nothing() -> None:
    assert not await is_sent("http://no-such-host.invalid")


async def test_a_connection_that_is_never_made_was_sent_nothing() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fill = [socket.socket() for _ in range(4)]  # the backlog is full: further handshakes hang
        for one in fill:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        try:
            assert not await is_sent(port, timeout=1.0)
        finally:
            for one in fill:
                one.close()


async def test_a_failed_handshake_sent_nothing() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"this is no TLS\r\n")

    async with raw_server(answer) as port:
        assert not await is_sent(f"https://127.0.0.1:{port}")


async def test_a_reset_after_the_request_may_have_sent_it() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        reset(writer)

    async with raw_server(answer) as port:
        assert await is_sent(port)


async def test_a_reset_before_the_request_was_read_may_have_sent_it() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reset(writer)

    async with raw_server(answer) as port:
        assert await is_sent(port)


async def test_a_silent_server_may_have_taken_it() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await asyncio.sleep(60)

    async with raw_server(answer) as port:
        assert await is_sent(port, timeout=0.3)


async def test_a_connection_that_died_while_idle_may_have_taken_it() -> None:
    """The server closes an idle connection just as we post on it: never `not sent`."""
    seen = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        await read_request(reader)
        seen += 1
        writer.write(ACCEPTED)
        await writer.drain()
        await reader.readexactly(1)  # the next request has begun to arrive: too late
        reset(writer)

    async with raw_server(answer) as port, client(port) as destination:
        assert (await destination.upsert(ADA)).result is Result.ACCEPTED
        with pytest.raises(TransientError) as caught:
            await destination.upsert(ADA)
        assert caught.value.sent
    assert seen == 1  # and aiohttp did not send it again by itself


async def test_a_connection_closed_while_idle_is_not_used_again() -> None:
    seen = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        await read_request(reader)
        seen += 1
        writer.write(ACCEPTED)

    async with raw_server(answer) as port, client(port) as destination:
        for _ in range(5):
            with suppress(TransientError):  # the close may have been under way
                await destination.upsert(ADA)
            await asyncio.sleep(0.01)
    assert seen >= 3


@pytest.mark.parametrize(
    "head",
    [
        b"garbage\r\n\r\n",
        b"HTTP/1.1 202 Accepted\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n12",
        b"HTTP/1.1 202 Accepted\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 202 Acc",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 50,
        b"",
    ],
    ids=["garbage", "two lengths", "long header", "cut head", "only 100", "nothing"],
)
async def test_an_unreadable_answer_may_have_taken_it(head: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(head)

    async with raw_server(answer) as port:
        error = await failure(port)
        assert not isinstance(error, TransientError) or error.sent


async def test_connections_are_reused_and_bodies_are_read_up_to_the_cap() -> None:
    connections = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            await read_request(reader)
            writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: %d\r\n\r\n" % BODY_CAP + b" " * BODY_CAP)

    async with raw_server(answer) as port, client(port) as destination:
        for _ in range(20):
            await destination.upsert(ADA)
    assert connections == 1


async def test_cookies_are_not_kept_and_the_key_goes_in_one_header() -> None:
    requests: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            requests.append(await read_request(reader))
            writer.write(b"HTTP/1.1 202 Accepted\r\nSet-Cookie: stick=1\r\nContent-Length: 0\r\n\r\n")

    async with raw_server(answer) as port, client(port) as destination:
        for _ in range(2):
            await destination.upsert(ADA)
    assert b"ookie" not in requests[1]
    assert requests[0].count(KEY.encode()) == 1
    assert b"Accept-Encoding: identity" in requests[0]
    assert b"User-Agent: syncengine/" in requests[0]


async def test_proxies_of_the_environment_see_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    visits = 0

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal visits
        visits += 1

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(ACCEPTED)

    async with raw_server(proxy) as decoy, raw_server(answer) as port:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{decoy}")
        async with client(port) as destination:
            assert (await destination.upsert(ADA)).result is Result.ACCEPTED
    assert visits == 0


def certificate(folder: Path) -> ssl.SSLContext:
    """Return a server's context with a certificate nobody has signed, made by the openssl command."""
    import subprocess  # noqa: PLC0415 - for this test alone

    key, crt = folder / "key.pem", folder / "crt.pem"
    subprocess.run(
        f"openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -keyout {key} -out {crt}".split(),
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(crt, key)
    return context


async def test_a_certificate_nobody_signed_stops_the_run_and_nothing_is_sent(tmp_path: Path) -> None:
    received = b""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        received += await reader.read(1000)

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=certificate(tmp_path))
    async with server:
        port = server.sockets[0].getsockname()[1]
        error = await failure(f"https://localhost:{port}")
    assert isinstance(error, ProtocolError)
    assert "certificate" in str(error)
    assert received == b""
