"""An explicit proxy sees the host's name alone; TLS is verified through it as without it."""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from pydantic import SecretStr
from test_engine_answers import raw_server
from test_engine_world import KEY

from syncengine.config import Settings
from syncengine.errors import ConfigError, TransientError
from syncengine.qomon import QomonClient
from syncengine.qomon.wire import Wire

READ_THROUGH = """
import asyncio, sys
from syncengine.qomon import QomonClient

async def main():
    async with QomonClient(sys.argv[1], base_url=sys.argv[2], proxy=sys.argv[3]) as qomon:
        print(await qomon.count())

asyncio.run(main())
"""


def authority(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """Return a certificate for localhost, to be trusted as it is, and the context of its server."""
    key, crt = folder / "key.pem", folder / "crt.pem"
    subprocess.run(
        [
            *["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"],
            *("-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", crt),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(crt, key)
    return crt, context


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: bytearray) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            seen += data
            writer.write(data)
            await writer.drain()
    writer.close()


async def test_a_proxy_sees_the_host_and_neither_the_key_nor_the_question(tmp_path: Path) -> None:
    crt, context = authority(tmp_path)
    seen = bytearray()
    asked: list[bytes] = []
    received = b""

    async def space(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        received = await reader.readuntil(b"}}}}")
        body = b'{"data":{"total":42},"status":"success"}'
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
            % (len(body), body)
        )
        await writer.drain()
        with suppress(ConnectionError):
            await reader.read()
        writer.close()

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        host, port = asked[-1].split()[1].decode().split(":")
        away_reader, away_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        async with asyncio.TaskGroup() as both:
            both.create_task(pipe(reader, away_writer, seen))
            both.create_task(pipe(away_reader, writer, seen))

    server = await asyncio.start_server(space, "localhost", 0, ssl=context)
    async with server, raw_server(proxy) as port:
        base_url = f"https://localhost:{server.sockets[0].getsockname()[1]}"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", READ_THROUGH, KEY, base_url, f"http://127.0.0.1:{port}"),
            env=os.environ | {"SSL_CERT_FILE": str(crt)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        printed, errors = await process.communicate()
    assert printed.strip() == b"42", errors.decode()
    assert KEY.encode() in received
    assert len(asked) == 1
    assert asked[0].startswith(b"CONNECT localhost:")
    assert KEY.encode() not in asked[0] + seen
    assert b"advanced_search" not in asked[0] + seen


async def test_a_proxy_that_refuses_was_sent_nothing() -> None:
    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with (
        raw_server(proxy) as port,
        Wire(
            "https://localhost:9", SecretStr(KEY), in_flight=1, timeout=5.0, proxy=f"http://127.0.0.1:{port}"
        ) as wire,
    ):
        with pytest.raises(TransientError, match="the proxy refused the connection") as caught:
            await wire.send("GET", "/contacts/1")
    assert not caught.value.sent
    assert KEY not in repr(caught.value)


@pytest.mark.parametrize(
    ("proxy", "message"),
    [
        ("proxy.example:3128", "must look like http://proxy.example:3128"),
        ("http://me:secret@proxy.example:3128", "must not hold a user name or password"),
        ("http://proxy.example:3128/path", "must be scheme, host and port alone"),
        ("http://proxy.example:99999", "has an impossible host or port"),
        ("socks5://proxy.example:1080", "must look like"),
    ],
)
def test_an_impossible_proxy_is_refused(proxy: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        Settings.from_mapping({"destination": {"proxy": proxy}}, environ={})
    assert "secret" not in str(caught.value)
    with pytest.raises(ValueError, match=message):
        QomonClient(KEY, proxy=proxy)


def test_a_proxy_would_read_what_goes_without_tls() -> None:
    table = {"destination": {"base_url": "http://127.0.0.1:8000", "proxy": "http://127.0.0.1:3128"}}
    with pytest.raises(ConfigError, match="https base_url only"):
        Settings.from_mapping(table, environ={})
