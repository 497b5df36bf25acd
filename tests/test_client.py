"""The client against servers that misbehave: what is repeated, what is refused, and what is never told."""

from __future__ import annotations

import asyncio
import gzip
import inspect
import re
import resource
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
from test_engine_answers import raw_server, read_request
from test_engine_world import KEY, SURNAME
from test_sandbox_client import Client
from test_wire import closed_port, reset

from syncengine.clock import Clock
from syncengine.errors import (
    DestinationError,
    ProtocolError,
    RejectedError,
    TransientError,
    UnauthorizedError,
)
from syncengine.qomon import Contact, QomonClient, Query, where
from syncengine.qomon.wire import READ_CAP
from syncengine.sandbox import Sandbox, SandboxOptions

pytestmark = pytest.mark.usefixtures("no_leaks")

ADA = Contact(firstname="Ada", surname=SURNAME, mail="ada@canary.example")
Respond = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def no_wait(_: float) -> None:
    """Stand in for the pauses between attempts."""


def reply(status: str, body: bytes = b"", content_type: str = "application/json", more: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


def found(*contacts: dict[str, object]) -> bytes:
    body = {"status": "success", "data": {"contacts": list(contacts) or None}}
    return reply("200 OK", orjson.dumps(body))


@asynccontextmanager
async def client(port: int, *, timeout: float = 5.0) -> AsyncIterator[QomonClient]:
    async with QomonClient(
        KEY,
        base_url=f"http://127.0.0.1:{port}",
        timeout=timeout,
        rate=1000,
        burst=1000,
        clock=Clock(sleep=no_wait),
    ) as opened:
        yield opened


def answering(*answers: bytes | None) -> tuple[Respond, list[bytes]]:
    """Return a server that gives these answers in turn, then the last again; None resets the connection."""
    requests: list[bytes] = []
    left = list(answers)

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            requests.append(await read_request(reader))
            answer = left.pop(0) if len(left) > 1 else left[0]
            if answer is None:
                reset(writer)
                return
            writer.write(answer)

    return respond, requests


async def failure(*answers: bytes | None, attempts: int = 1) -> DestinationError:
    """Return the error of a search that gets these answers, after so many requests."""
    respond, requests = answering(*answers)
    async with raw_server(respond) as port, client(port) as qomon:
        with pytest.raises(DestinationError) as caught:
            await qomon.page()
    assert len(requests) == attempts
    error = caught.value
    for text in (str(error), repr(error), repr(error.__dict__)):
        assert SURNAME not in text
        assert KEY not in text
    assert error.__cause__ is error.__context__ is None
    return error


@pytest.mark.parametrize(
    "first",
    [None, reply("503 Service Unavailable"), reply("200 OK", b"{")[:-1] + b"", reply("502 Bad", b"<html>")],
)
async def test_a_read_without_an_answer_is_repeated(first: bytes | None) -> None:
    if first is not None and first.endswith(b"\r\n\r\n") and b"Content-Length: 1" in first:
        first = first.replace(b"Content-Length: 1", b"Connection: close\r\nContent-Length: 1")
    respond, requests = answering(first, found({"id": 7}))
    async with raw_server(respond) as port, client(port, timeout=0.5) as qomon:
        assert [contact.id for contact in await qomon.page()] == [7]
    assert len(requests) == 2


async def test_a_read_gives_up_after_four_attempts() -> None:
    error = await failure(reply("503 Service Unavailable"), attempts=4)
    assert isinstance(error, TransientError)
    assert error.status == 503


async def test_an_answer_that_breaks_off_is_no_answer() -> None:
    cut = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
    seen = 0

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        await read_request(reader)
        seen += 1
        writer.write(cut if seen < 3 else found({"id": 7}))
        await writer.drain()
        writer.close()

    async with raw_server(respond) as port, client(port) as qomon:
        assert [contact.id for contact in await qomon.page()] == [7]
    assert seen == 3


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (reply("302 Found", more="Location: http://127.0.0.1:9/\r\n"), "a redirect, which is never followed"),
        (reply("200 OK", b"<html>Please log in</html>", "text/html"), "HTTP 200 with text/html"),
        (reply("200 OK", b"not json"), "not what the API answers"),
        (reply("200 OK", b"[]"), "not what the API answers"),
        (reply("200 OK", b""), "not what the API answers"),
        (reply("200 OK", b'{"status":"fail"}'), "not what the API answers"),
        (reply("202 Accepted"), "HTTP 202"),
        (reply("404 Not Found", b'{"status":404}'), "HTTP 404"),
        (reply("200 OK", b'{"status":"success","data":{"contacts":5}}'), "something unexpected"),
        (reply("200 OK", b'{"status":"success","data":{"contacts":[{"id":{}}]}}'), "something unexpected"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_the_api_does_not_answer_is_a_breach(answer: bytes, said: str) -> None:
    error = await failure(answer)
    assert isinstance(error, ProtocolError)
    assert said in str(error)


async def test_a_compression_bomb_is_never_unpacked() -> None:
    bomb = gzip.compress(b"[" * 200_000_000, compresslevel=1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    error = await failure(reply("200 OK", bomb, more="Content-Encoding: gzip\r\n"))
    assert isinstance(error, ProtocolError)
    assert "compressed, which was not asked for" in str(error)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KB, of 200 MB unpacked


async def test_an_endless_answer_is_cut() -> None:
    sent = 0

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n[")
        block = b" " * 1_000_000
        while not writer.is_closing():
            writer.write(block)
            await writer.drain()
            sent += len(block)

    async with raw_server(respond) as port, client(port) as qomon:
        with pytest.raises(ProtocolError, match="longer than 16 MiB"):
            await qomon.page()
    assert sent < READ_CAP + 16_000_000


async def test_a_refused_question_tells_what_and_where_but_not_in_its_repr() -> None:
    problem = {
        "title": "Unprocessable Entity",
        "status": 422,
        "detail": f"{SURNAME} is not a date",
        "errors": [
            {
                "location": "body.data.advanced_search.query",
                "message": f"not {SURNAME}",
                "value": SURNAME,
            }
        ],
    }
    error = await failure(
        reply("422 Unprocessable Entity", orjson.dumps(problem), "application/problem+json")
    )
    assert isinstance(error, RejectedError)
    assert str(error) == "HTTP 422: advanced_search.query"
    assert (error.status, error.title) == (422, "Unprocessable Entity")
    assert SURNAME in error.detail
    assert list(error.errors) == ["body.data.advanced_search.query"]


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden"])
async def test_a_refused_key_is_not_tried_again(status: str) -> None:
    assert isinstance(await failure(reply(status)), UnauthorizedError)


async def test_a_bare_failure_keeps_the_servers_words_out_of_its_own() -> None:
    error = await failure(reply("200 OK", orjson.dumps({"status": "fail", "message": f"no {SURNAME}"})))
    assert isinstance(error, ProtocolError)
    assert error.detail == f"no {SURNAME}"


async def test_what_a_server_calls_its_content_cannot_write_into_a_terminal() -> None:
    error = await failure(reply("200 OK", b"<html>", "text/html\x1b[31m"))
    assert "\x1b" not in str(error)
    assert "text/html[31m" in str(error)


async def test_a_read_is_sent_once_on_a_connection_that_died() -> None:
    """aiohttp would send a GET again by itself: two requests where one was paid for."""
    seen = 0

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        while True:
            await read_request(reader)
            seen += 1
            if seen == 2:
                reset(writer)
                return
            writer.write(reply("200 OK", b'{"status":"success","data":{"forms":null}}'))

    async with raw_server(respond) as port, client(port) as qomon:
        await qomon.forms("consent")
        await qomon.forms("consent")
        assert qomon.budget.requests == seen == 3


async def test_a_429_is_waited_for_and_the_read_repeated() -> None:
    respond, requests = answering(reply("429 Too Many", more="Retry-After: 0\r\n"), found({"id": 7}))
    async with (
        raw_server(respond) as port,
        QomonClient(KEY, base_url=f"http://127.0.0.1:{port}", rate=1e5) as qomon,
    ):
        assert len(await qomon.page()) == 1
        assert (qomon.budget.throttled, qomon.budget.requests) == (1, 2)
    assert len(requests) == 2


async def test_nobody_there_is_none_and_only_where_there_may_be_nobody() -> None:
    respond, _ = answering(reply("404 Not Found", b'{"title":"Not Found","status":404}'))
    async with raw_server(respond) as port, client(port) as qomon:
        assert await qomon.contact(1) is None
        assert await qomon.form(1) is None
        with pytest.raises(ProtocolError):
            await qomon.forms("consent")
    respond, _ = answering(reply("404 Not Found", b"<html>no such page</html>", "text/html"))
    async with raw_server(respond) as port, client(port) as qomon:
        with pytest.raises(ProtocolError):  # somebody else's 404: a wrong base URL deletes nobody
            await qomon.contact(1)


async def test_more_callers_than_connections_break_no_pause_and_are_not_refused() -> None:
    """What was paid for leaves at once: it would wait for a connection and leave inside a later pause."""
    arrivals: list[float] = []

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            arrivals.append(asyncio.get_running_loop().time())
            is_refused = len(arrivals) == 4
            await asyncio.sleep(0.05)
            if is_refused:
                writer.write(reply("429 Too Many", more="Retry-After: 1\r\n"))
            else:
                writer.write(reply("202 Accepted", more="X-Ratelimit-Cost: 1\r\n"))

    async with (
        raw_server(respond) as port,
        QomonClient(KEY, base_url=f"http://127.0.0.1:{port}", in_flight=2, rate=1e4, burst=1e4) as qomon,
        asyncio.TaskGroup() as group,
    ):
        for _ in range(12):
            group.create_task(qomon.upsert(ADA))
    pauses = [later - sooner for sooner, later in pairwise(arrivals)]
    assert len([pause for pause in pauses if pause > 0.9]) == 1
    after = next(n for n, pause in enumerate(pauses) if pause > 0.9)
    assert after <= 5  # the refused one, and whoever was in the air with it


async def test_a_free_connection_is_waited_for_however_long_it_takes() -> None:
    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            await asyncio.sleep(0.1)
            writer.write(reply("202 Accepted"))

    async with (
        raw_server(respond) as port,
        QomonClient(
            KEY,
            base_url=f"http://127.0.0.1:{port}",
            in_flight=2,
            timeout=0.4,
            rate=1e4,
            burst=1e4,
            clock=Clock(sleep=no_wait),
        ) as qomon,
        asyncio.TaskGroup() as group,
    ):
        for _ in range(40):  # 2 s of work for two connections: far beyond the timeout of one request
            group.create_task(qomon.upsert(ADA))


# --- writing one contact


async def test_an_upsert_that_may_have_been_taken_is_not_repeated() -> None:
    respond, requests = answering(None)
    async with raw_server(respond) as port, client(port) as qomon:
        with pytest.raises(TransientError) as caught:
            await qomon.upsert(ADA)
    assert caught.value.sent
    assert len(requests) == 1


async def test_an_upsert_that_never_left_is_repeated() -> None:
    port = closed_port()
    servers: list[asyncio.Server] = []
    waits = 0

    async def open_late(_: float) -> None:
        nonlocal waits
        waits += 1
        servers.append(await asyncio.start_server(respond, "127.0.0.1", port))

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(reply("202 Accepted"))
        await writer.drain()
        writer.close()

    async with QomonClient(KEY, base_url=f"http://127.0.0.1:{port}", clock=Clock(sleep=open_late)) as qomon:
        await qomon.upsert(ADA)
    assert waits == 1
    servers[0].close()
    await servers[0].wait_closed()


async def test_an_upsert_refused_for_its_pace_is_repeated() -> None:
    respond, requests = answering(reply("429 Too Many", more="Retry-After: 0\r\n"), reply("202 Accepted"))
    async with (
        raw_server(respond) as port,
        QomonClient(KEY, base_url=f"http://127.0.0.1:{port}", rate=1e5) as qomon,
    ):
        await qomon.upsert(ADA)
    assert len(requests) == 2


@pytest.mark.parametrize(
    "answer", [reply("200 OK"), reply("204 No Content"), reply("202 Accepted", b"<html>")]
)
async def test_another_yes_than_202_is_no_yes(answer: bytes) -> None:
    respond, _ = answering(answer)
    async with raw_server(respond) as port, client(port) as qomon:
        with pytest.raises(ProtocolError):
            await qomon.upsert(ADA)


async def test_what_qomon_would_drop_is_refused_before_it_is_sent() -> None:
    async with client(closed_port()) as qomon:
        with pytest.raises(ValueError, match="gender"):
            await qomon.upsert(Contact(surname="A", gender="F"))


# --- the client itself


METHODS = {
    "upsert", "create", "replace", "delete", "contact", "page", "search", "count", "forms", "form",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_names_endpoint_cost_errors_and_source(name: str) -> None:
    told = inspect.getdoc(getattr(QomonClient, name)) or ""
    assert re.match(r"(GET|POST|PATCH|DELETE) /[a-z]", told)
    for word in ("token", "Source", "Raises"):
        assert word in told, word


def test_no_method_is_without_its_word() -> None:
    methods = {name for name in vars(QomonClient) if not name.startswith("_")}
    assert methods == {"budget"} | METHODS


def test_no_repr_shows_the_key_or_a_contact() -> None:
    qomon = QomonClient(KEY)
    assert KEY not in repr(qomon)
    assert KEY not in repr(qomon.__dict__)
    assert KEY not in repr(qomon.wire.__dict__)
    assert SURNAME not in repr(ADA)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"base_url": "http://qomon.example"}, "must begin with https://"),
        ({"base_url": "ftp://qomon.example"}, "must look like"),
        ({"api_key": "a\nb"}, "no header can carry"),
        ({"api_key": ""}, "empty"),
        ({"timeout": 0}, "timeout"),
        ({"in_flight": 0}, "in_flight"),
        ({"share": 5}, "share"),
        ({"rate": float("nan")}, "rate"),
    ],
)
def test_an_impossible_key_or_address_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        QomonClient(**({"api_key": KEY} | given))


async def test_a_client_can_be_opened_again_and_says_when_it_is_not_open() -> None:
    respond, requests = answering(found())
    async with raw_server(respond) as port:
        qomon = QomonClient(KEY, base_url=f"http://127.0.0.1:{port}")
        for _ in range(2):
            with pytest.raises(RuntimeError, match="not open"):
                await qomon.page()
            async with qomon:
                assert await qomon.page() == []
    assert len(requests) == 2


async def test_impossible_questions_are_not_asked() -> None:
    async with client(closed_port()) as qomon:
        for number in (0, -1):
            with pytest.raises(ValueError, match="positive"):
                await qomon.contact(number)
        with pytest.raises(ValueError, match="1 to 1000"):
            await qomon.page(per_page=1001)
        with pytest.raises(ValueError, match="is no type of form"):
            await qomon.forms("consents")


async def test_the_clock_difference_is_told(tmp_path: Path) -> None:
    async with Sandbox(SandboxOptions(unlimited=True)) as server:
        ahead = Clock(wall=lambda: __import__("time").time() + 3600)
        async with QomonClient(server.api_key, base_url=server.base_url, clock=ahead) as qomon:
            await qomon.page(per_page=1)
            assert qomon.clock_difference is not None
            assert 3599 <= qomon.clock_difference <= 3602


async def test_a_search_is_asked_in_qomons_words() -> None:
    async with Sandbox(SandboxOptions(unlimited=True)) as server:
        async with QomonClient(server.api_key, base_url=server.base_url) as qomon:
            await qomon.page(
                Query.all(where("mail").eql_strict("a@b.example")), page=2, per_page=5, sort="mail"
            )
        (entry,) = (await Client(server.base_url, server.api_key).send("GET", "/_sandbox/history")).content[
            "requests"
        ]
    assert entry["data"] == {
        "advanced_search": {
            "query": {
                "$all": [
                    {
                        "$all": [
                            {"$condition": {"attr": "mail", "ope": "eql:strictdata", "value": "a@b.example"}}
                        ]
                    }
                ]
            },
            "per_page": 5,
            "page": 2,
            "sort_attr": "mail",
            "sort_asc": True,
        }
    }
