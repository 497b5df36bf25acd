"""Every row of the outcome table, provoked for real: what a sync makes of each answer, and of none."""

import asyncio
import resource
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from test_engine_world import (
    KEY,
    UNREAD,
    World,
    check_all_accepted,
    fast_clock,
    people,
    person,
    until,
    who,
    whose,
    world,
)
from test_sandbox_client import Client

from syncengine.model import Report

pytestmark = pytest.mark.usefixtures("no_leaks")

ONE = 'where = { firstname = "Vorname7" }\n'


def fault(kind: str, *lines: str, one: bool = True) -> str:
    return f'[[fault]]\nkind = "{kind}"\n' + (ONE if one else "") + "".join(f"{line}\n" for line in lines)


@asynccontextmanager
async def raw_server(
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[int]:
    """Serve each connection by `answer`; yields the port."""
    handlers: set[asyncio.Task[Any]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        handlers.add(task)
        try:
            await answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            handlers.discard(task)

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(handlers):
            task.cancel()
        await until(lambda: not handlers)


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    _, found, rest = head.lower().partition(b"content-length: ")  # a GET has none
    return head + await reader.readexactly(int(rest.split(b"\r\n")[0]) if found else 0)


# --- protocol breaches: nothing is marked, the run stops -----------------------------------------------


BREACHES = {
    "202 html": fault("html", "status = 202"),
    "200 html": fault("html", "status = 200"),
    "202 html applied": fault("html", "status = 202", "apply = true"),
    "200": fault("status", "status = 200"),
    "201": fault("status", "status = 201"),
    "204": fault("status", "status = 204"),
    "404": fault("status", "status = 404"),
    "405": fault("status", "status = 405"),
    "410": fault("status", "status = 410"),
    "501": fault("status", "status = 501"),
}


@pytest.mark.parametrize("table", BREACHES.values(), ids=BREACHES.keys())
async def test_a_protocol_breach_stops_the_run_and_marks_nobody(tmp_path: Path, table: str) -> None:
    async with world(tmp_path, faults=table, run={"in_flight": 4, "settle": 0.0}) as w:
        w.write(people(40))
        report = await w.sync()
        assert (report.outcome, report.reason, report.exit) == ("failed", "protocol", 1)
        assert (report.rejected, report.held) == (0, 0)
        assert report.accepted < 40
        assert w.sql("SELECT accepted_hash, problem FROM contacts WHERE key = 'm00007'") == [(None, None)]


@pytest.mark.parametrize("body", [b'{"status":"fail"}', b'{"status":"ERROR"}', b"not json", b'{"a":'])
async def test_a_202_that_reports_a_failure_is_no_acceptance(tmp_path: Path, body: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    report, w = await against(tmp_path, answer)
    assert (report.reason, report.accepted, report.exit) == ("protocol", 0, 1)
    assert w.sql("SELECT count(*) FROM contacts WHERE in_doubt = 1") == [(1,)]


async def against(
    folder: Path,
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    *,
    rows: int = 1,
    **run: Any,
) -> tuple[Report, World]:
    """Sync one contact (or `rows`) against a raw server."""
    async with raw_server(answer) as port:
        w = World(folder, Client(f"http://127.0.0.1:{port}", KEY), run={"settle": 0.0} | run)
        w.write(people(rows))
        async with w.engine() as engine:
            report = await engine.sync(UNREAD)
        w.check_stored(report)
        return report, w


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed_and_nothing_reaches_its_target(tmp_path: Path, status: int) -> None:
    visits: list[bytes] = []

    async def decoy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visits.append(await reader.read(100))
        writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")

    async with raw_server(decoy) as port:
        for target in (f"http://127.0.0.1:{port}/contacts/upsert", f"//localhost:{port}/", "file:///etc"):
            folder = tmp_path / target.replace("/", "_")
            folder.mkdir()
            table = fault("redirect", f'location = "{target}"', f"status = {status}", one=False)
            async with world(folder, faults=table, run={"in_flight": 2}) as w:
                w.write(people(20))
                report = await w.sync()
                assert (report.reason, report.accepted, report.remaining) == ("protocol", 0, 20)
                assert report.requests <= 2
                assert w.sql("SELECT count(*) FROM contacts WHERE in_doubt = 1") == [(0,)]
    assert visits == []


# --- refusals of one contact ---------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 409, 413, 422])
async def test_a_refusal_rejects_the_contact_and_the_rest_goes_on(tmp_path: Path, status: int) -> None:
    async with world(tmp_path, faults=fault("status", f"status = {status}")) as w:
        w.write(people(40))
        report = await w.sync()
        assert (report.accepted, report.rejected, report.exit) == (39, 1, 3)
        reason = w.sql("SELECT problem_reason FROM contacts WHERE problem = 'rejected'")[0][0]
        assert reason.startswith(f"rejected by Qomon (HTTP {status}")
        again = await w.sync()
        assert (again.requests, again.selected, again.problems_open, again.problems_new) == (0, 0, 1, 0)


async def test_fields_of_a_rejection_come_from_its_locations(tmp_path: Path) -> None:
    body = (
        b'{"title":"Unprocessable","detail":"validation failed","errors":['
        b'{"location":"body.data.mail","message":"expected mail","value":"x@canary.example"},'
        b'{"location":"body.data.address.city","message":"too long"}]}'
    )

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 422 No\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    report, w = await against(tmp_path, answer)
    assert report.rejected == 1
    reason = w.sql("SELECT problem_reason FROM contacts")[0][0]
    assert reason == "rejected by Qomon (HTTP 422: mail, address.city)"


# --- the key --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403])
async def test_a_revoked_key_stops_the_run_blames_nobody_and_the_rest_resumes(
    tmp_path: Path, status: int
) -> None:
    kind = fault("revoke", "after = 51", one=False)
    if status == 403:
        kind = fault("status", "status = 403", "after = 51", "count = 40", one=False)
    async with world(tmp_path, faults=kind, run={"in_flight": 8}, latency=0.01) as w:
        w.write(people(300))
        report = await w.sync()
        assert (report.outcome, report.reason, report.exit) == ("failed", "unauthorized", 1)
        assert (report.accepted, report.remaining) == (50, 250)
        refused = [entry for entry in w.last if entry["status"] == status]
        assert 1 <= len(refused) <= 8
        assert w.sql("SELECT count(*) FROM contacts WHERE problem IS NOT NULL OR in_doubt = 1") == [(0,)]
        assert "key" in report.message
        assert KEY not in report.message


# --- answers that leave the result open -----------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 425, 500, 502, 503, 504, 599])
@pytest.mark.parametrize("applied", ["false", "true"])
async def test_a_gateway_error_is_unknown_and_goes_again_after_the_settle_time(
    tmp_path: Path, status: int, applied: str
) -> None:
    table = fault("status", f"status = {status}", f"apply = {applied}", "count = 1")
    async with world(tmp_path, faults=table) as w:
        w.write(people(20))
        report = await w.sync()
        assert (report.accepted, report.repeated, report.requests) == (20, 1, 21)
        check_all_accepted(report)
        assert len(await w.contacts()) == 20


LOST = {
    "reset before": fault("reset_before", "count = 1"),
    "reset after": fault("reset_after", "count = 1"),
    "close after": fault("close_after", "count = 1"),
    "hang": fault("hang", "count = 1"),
    "hang applied": fault("hang", "count = 1", "apply = true"),
}


@pytest.mark.parametrize("table", LOST.values(), ids=LOST.keys())
async def test_no_answer_is_unknown_and_goes_again_after_the_settle_time(tmp_path: Path, table: str) -> None:
    async with world(tmp_path, faults=table, run={"timeout": 0.5, "settle": 0.2}) as w:
        w.write(people(20))
        report = await w.sync()
        own = [entry["at"] for entry in w.last if who(entry) == "Vorname7"]
        assert len(own) == 2
        assert own[1] - own[0] >= 0.2
        assert (report.repeated, report.requests) == (1, 21)
        check_all_accepted(report)
        assert len(await w.contacts()) == 20


BODIES = {
    "slow": fault("slow_body", "seconds = 60"),
    "truncated": fault("truncated"),
    "huge": fault("huge", "bytes = 20000000"),
}


@pytest.mark.parametrize("table", BODIES.values(), ids=BODIES.keys())
async def test_the_status_decides_whatever_becomes_of_the_body(tmp_path: Path, table: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with world(tmp_path, faults=table, run={"timeout": 0.5}) as w:
        w.write(people(20))
        report = await w.sync()
        assert (report.accepted, report.requests) == (20, 20)
        check_all_accepted(report)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 100_000  # kB; most of it is the sandbox's own 20 MB


async def test_a_compression_bomb_is_not_unpacked(tmp_path: Path) -> None:
    import gzip  # noqa: PLC0415 - for this test alone

    bomb = gzip.compress(b" " * 50_000_000)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(
            b"HTTP/1.1 202 Accepted\r\nContent-Encoding: gzip\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % len(bomb) + bomb
        )

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    report, _ = await against(tmp_path, answer)
    assert report.reason == "protocol" or report.accepted == 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


async def test_endless_headers_end_as_no_answer(tmp_path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 202 Accepted\r\n")
        while True:
            writer.write(b"X-More: " + b"x" * 8000 + b"\r\n")
            await writer.drain()

    report, _ = await against(tmp_path, answer, timeout=1.0)
    assert (report.accepted, report.remaining, report.exit) == (0, 1, 3)


# --- 429 -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("header", "seconds"), [('retry_after = "1"', 1.0), ("", 5.0)])
async def test_nobody_sends_inside_the_pause_of_a_429(tmp_path: Path, header: str, seconds: float) -> None:
    table = fault("status", "status = 429", header, "count = 1")
    async with world(tmp_path, faults=table, run={"in_flight": 4}, latency=0.01) as w:
        w.write(people(60))
        report = await w.sync()
        at = {entry["seq"]: entry["at"] for entry in w.last}
        limited = next(entry for entry in w.last if entry["status"] == 429)
        after = [t - limited["at"] for t in at.values() if t > limited["at"] + 0.05]
        assert min(after) >= seconds
        assert (report.throttled, report.repeated) == (1, 0)
        check_all_accepted(report)
        assert report.requests == 61


async def test_a_pause_survives_a_restart(tmp_path: Path) -> None:
    table = fault("status", "status = 429", 'retry_after = "2"', "count = 1")
    async with world(tmp_path, faults=table, run={"in_flight": 2}) as w:
        w.write(people(20))
        async with w.engine() as engine:
            running = asyncio.create_task(engine.sync(UNREAD))
            await w.saw(lambda stats: stats["throttled"])
            await asyncio.sleep(0.1)
            engine.stop("sigterm")
            await w.check(await running)
        ordered = next(entry["at"] for entry in w.last if entry["status"] == 429)
        assert w.sql("SELECT paused_until FROM space")[0][0] == pytest.approx(ordered + 2, abs=0.5)
        report = await w.sync()
        check_all_accepted(report)
        assert w.last[0]["at"] >= ordered + 2


async def test_a_shorter_pause_does_not_replace_a_longer_one(tmp_path: Path) -> None:
    table = fault(
        "status", "status = 429", 'retry_after = "60"', "after = 2", "count = 1", one=False
    ) + fault("status", "status = 429", 'retry_after = "1"', "after = 3", "count = 3", one=False)
    async with world(tmp_path, faults=table, run={"in_flight": 4}, latency=0.1) as w:
        w.write(people(20))
        async with w.engine() as engine:
            running = asyncio.create_task(engine.sync(UNREAD))
            await w.saw(lambda stats: stats["throttled"] >= 2)
            await asyncio.sleep(0.3)
            engine.stop("sigterm")
            await w.check(await running)
        assert w.sql("SELECT paused_until FROM space")[0][0] > time.time() + 50


# --- not sent ------------------------------------------------------------------------------------------


async def test_a_refused_connection_was_not_sent_whatever_the_identity(tmp_path: Path) -> None:
    async with raw_server(_never) as port:
        pass  # nobody listens there now
    w = World(
        tmp_path,
        Client(f"http://127.0.0.1:{port}", KEY),
        identity={"none": "send"},
        clock=fast_clock(10),
    )
    w.write([{"member_id": "x", "firstname": "Nobody"}, person(1)])
    async with w.engine() as engine:
        running = asyncio.create_task(engine.sync(UNREAD))
        await until(lambda: w.sql("SELECT count(*) FROM attempts")[0][0])
        engine.stop("sigint")
        report = await running
    w.check_stored(report)
    assert (report.sent, report.requests, report.remaining, report.held) == (0, 0, 2, 0)
    assert w.sql("SELECT DISTINCT result FROM attempts") == [("not sent",)]
    assert w.sql("SELECT count(*) FROM intents") == [(0,)]


async def _never(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    raise AssertionError("nobody was to come")


async def test_flapping_answers_lose_nothing_and_cost_little(tmp_path: Path) -> None:
    table = fault("status", "status = 503", "share = 0.5", one=False)
    async with world(tmp_path, faults=table, run={"settle": 1.0}, clock=fast_clock(50), seed=7) as w:
        w.write(people(200))
        accepted = requests = 0
        for _ in range(12):
            report = await w.sync()
            accepted += report.accepted
            requests += report.requests
            if not report.remaining:
                break
        assert accepted == 200
        check_all_accepted(report)
        assert requests < 200 * 2 * 1.25  # each needs two on average: one that fails, one that does not
        applied = Counter(whose(entry for entry in await w_history(w) if entry["status"] == 202))
        assert set(applied.values()) == {1}


async def w_history(w: World) -> list[dict[str, Any]]:
    w.seen = 0
    return await w.history()
