"""Each fault as a client sees it, and what a faults file may say."""

import asyncio
import gzip
from pathlib import Path

import orjson
import pytest
from test_sandbox_client import Client, Reply, faulty, read_reply, running

from syncengine.sandbox import FaultsError
from syncengine.sandbox.api import ROUTES
from syncengine.sandbox.faults import ENDPOINTS
from syncengine.sandbox.unknowns import Unknowns

ADA = {"surname": "Roux", "mail": "ada@example.org"}


async def end_of(client: Client) -> tuple[bytes, str]:
    """Upsert and return everything that came back and how the connection ended."""
    body = b'{"kind":"contact","data":{"surname":"Roux","mail":"ada@example.org"}}'
    async with client.connection() as (reader, writer):
        writer.write(client.request("POST", "/contacts/upsert", body))
        try:
            return await reader.read(), "closed"
        except ConnectionResetError:
            return b"", "reset"


async def outcomes(client: Client) -> list[str]:
    await client.send("POST", "/_sandbox/settle")
    return [entry["outcome"] for entry in await client.history()]


@pytest.mark.parametrize("status", [403, 404, 409, 422, 500, 503])
async def test_status_is_answered_as_a_problem_and_nothing_is_applied(tmp_path: Path, status: int) -> None:
    async with faulty(tmp_path, f'[[fault]]\nkind = "status"\nstatus = {status}') as client:
        reply = await client.upsert(ADA)
        assert (reply.status, reply.content["status"]) == (status, status)
        assert reply.headers["x-ratelimit-cost"] == "1"
        assert await outcomes(client) == ["fault"]
        assert (await client.history())[0]["fault"] == "status"


async def test_status_may_come_after_the_upsert_was_taken(tmp_path: Path) -> None:
    async with faulty(tmp_path, '[[fault]]\nkind = "status"\nstatus = 500\napply = true') as client:
        assert (await client.upsert(ADA)).status == 500
        assert await outcomes(client) == ["created"]


async def test_status_may_carry_html_and_any_retry_after(tmp_path: Path) -> None:
    table = '[[fault]]\nkind = "status"\nstatus = 503\nhtml = true\nretry_after = "soon"\nheaders = false'
    async with faulty(tmp_path, table) as client:
        reply = await client.upsert(ADA)
        assert reply.status == 503
        assert reply.headers["retry-after"] == "soon"
        assert reply.headers["content-type"].startswith("text/html")
        assert "x-ratelimit-limit" not in reply.headers


async def test_status_429_takes_no_token(tmp_path: Path) -> None:
    async with faulty(tmp_path, '[[fault]]\nkind = "status"\nstatus = 429', burst=5) as client:
        reply = await client.upsert(ADA)
        assert (reply.status, reply.headers["x-ratelimit-cost"]) == (429, "0")
        assert (await client.stats())["tokens_used"] == 0


async def test_latency_delays_the_answer(tmp_path: Path) -> None:
    async with faulty(tmp_path, '[[fault]]\nkind = "latency"\nseconds = 0.1') as client:
        started = asyncio.get_running_loop().time()
        assert (await client.upsert(ADA)).status == 202
        assert asyncio.get_running_loop().time() - started >= 0.1


async def test_hang_never_answers_and_closes_at_its_end(tmp_path: Path) -> None:
    async with faulty(tmp_path, '[[fault]]\nkind = "hang"\nseconds = 0.1') as client:
        assert await end_of(client) == (b"", "closed")
        assert await outcomes(client) == ["fault"]
        assert (await client.history())[0]["status"] is None


async def test_reset_before_leaves_nothing_and_costs_nothing(tmp_path: Path) -> None:
    async with faulty(tmp_path, '[[fault]]\nkind = "reset_before"') as client:
        assert await end_of(client) == (b"", "reset")
        assert await outcomes(client) == ["fault"]
        assert (await client.stats())["tokens_used"] == 0


async def test_reset_after_applies_the_upsert_without_an_answer(tmp_path: Path) -> None:
    async with faulty(tmp_path, '[[fault]]\nkind = "reset_after"') as client:
        assert await end_of(client) == (b"", "reset")
        assert await outcomes(client) == ["created"]
        assert (await client.stats())["statuses"] == {"none": 1}


async def test_close_after_applies_the_upsert_and_ends_in_order(tmp_path: Path) -> None:
    async with faulty(tmp_path, '[[fault]]\nkind = "close_after"') as client:
        assert await end_of(client) == (b"", "closed")
        assert await outcomes(client) == ["created"]


async def test_redirect_names_its_location(tmp_path: Path) -> None:
    table = '[[fault]]\nkind = "redirect"\nstatus = 307\nlocation = "http://127.0.0.1:1/"'
    async with faulty(tmp_path, table) as client:
        reply = await client.upsert(ADA)
        assert (reply.status, reply.headers["location"]) == (307, "http://127.0.0.1:1/")


async def test_html_page_looks_like_success(tmp_path: Path) -> None:
    async with faulty(tmp_path, '[[fault]]\nkind = "html"\nstatus = 202') as client:
        reply = await client.upsert(ADA)
        assert (reply.status, reply.body[:15]) == (202, b"<!doctype html>")
        assert await outcomes(client) == ["fault"]


async def test_slow_body_drips(tmp_path: Path) -> None:
    async with faulty(tmp_path, '[[fault]]\nkind = "slow_body"\nseconds = 0.1\nbytes = 5') as client:
        async with client.connection() as (reader, writer):
            writer.write(client.request("POST", "/contacts/upsert", b'{"kind":"contact","data":{}}'))
            await reader.readuntil(b"\r\n\r\n")
            started = asyncio.get_running_loop().time()
            assert await reader.readexactly(5) == b"     "
            assert asyncio.get_running_loop().time() - started >= 0.05
        assert await outcomes(client) == ["created"]


async def test_truncated_answer_promises_more_than_it_sends(tmp_path: Path) -> None:
    async with faulty(tmp_path, '[[fault]]\nkind = "truncated"\nbytes = 30') as client:
        sent, end = await end_of(client)
        head, _, body = sent.partition(b"\r\n\r\n")
        assert b"Content-Length: 31" in head
        assert (body, end) == (b"{", "closed")
        assert await outcomes(client) == ["created"]


async def test_huge_body_has_the_size_asked_for(tmp_path: Path) -> None:
    async with faulty(tmp_path, '[[fault]]\nkind = "huge"\nbytes = 3_000_000') as client:
        assert len((await client.upsert(ADA)).body) == 3_000_000
        assert await outcomes(client) == ["created"]


async def test_token_headers_may_be_missing(tmp_path: Path) -> None:
    async with faulty(tmp_path, '[[fault]]\nkind = "headers"') as client:
        reply = await client.upsert(ADA)
        assert reply.status == 202
        assert not [name for name in reply.headers if name.startswith("x-ratelimit")]


async def test_drop_answers_202_and_forgets(tmp_path: Path) -> None:
    async with faulty(tmp_path, '[[fault]]\nkind = "drop"') as client:
        await client.accepted(ADA)
        entry = (await client.history())[0]
        assert (entry["outcome"], entry["cause"]) == ("dropped", "fault")
        assert await client.contacts() == []


async def test_late_upsert_is_overtaken(tmp_path: Path) -> None:
    table = '[[fault]]\nkind = "late"\nseconds = 60\ncount = 1'
    async with faulty(tmp_path, table, unknowns=Unknowns(twins="no")) as client:
        await client.upsert(ADA | {"phone": "old"})
        await client.upsert(ADA | {"phone": "new"})
        await client.send("POST", "/_sandbox/settle")
        assert [entry["outcome"] for entry in await client.history()] == ["updated", "created"]
        assert [person["phone"] for person in await client.contacts()] == ["old"]


async def test_revoked_key_stays_revoked_until_a_reset(tmp_path: Path) -> None:
    async with faulty(tmp_path, '[[fault]]\nkind = "revoke"\nafter = 2') as client:
        assert [(await client.upsert(ADA)).status for _ in range(4)] == [202, 401, 401, 401]
        assert (await client.stats())["faults"] == {"revoke": 1}
        await client.send("POST", "/_sandbox/reset")
        assert (await client.upsert(ADA)).status == 202


async def test_after_and_count_choose_the_requests(tmp_path: Path) -> None:
    table = '[[fault]]\nendpoint = "upsert"\nkind = "status"\nstatus = 500\nafter = 2\ncount = 2'
    async with faulty(tmp_path, table) as client:
        assert [(await client.upsert(ADA)).status for _ in range(4)] == [202, 500, 500, 202]


async def test_where_chooses_the_contacts(tmp_path: Path) -> None:
    table = '[[fault]]\nkind = "status"\nstatus = 500\nwhere = { mail = "ADA@example.org" }'
    async with faulty(tmp_path, table) as client:
        assert (await client.upsert({"surname": "Weber"})).status == 202
        assert (await client.upsert(ADA)).status == 500
        assert (await client.send("POST", "/contacts/upsert", [])).status == 422


async def test_first_table_that_hits_decides(tmp_path: Path) -> None:
    tables = '[[fault]]\nkind = "status"\nstatus = 500\ncount = 1\n[[fault]]\nkind = "status"\nstatus = 503'
    async with faulty(tmp_path, tables) as client:
        assert [(await client.upsert(ADA)).status for _ in range(3)] == [500, 503, 503]


async def test_throttled_request_spends_no_fault(tmp_path: Path) -> None:
    table = '[[fault]]\nkind = "status"\nstatus = 500\nafter = 2\ncount = 1'
    async with faulty(tmp_path, table, burst=1, rate=0.001) as client:
        assert [(await client.upsert(ADA)).status for _ in range(3)] == [202, 429, 429]
        assert (await client.stats())["faults"] == {}


# On a read, whose answer has a body

SEARCH = b'{"data":{"advanced_search":{"query":{"$all":[]},"per_page":10}}}'


async def end_of_search(client: Client) -> tuple[bytes, bytes, str]:
    """Search and return head and body of what came back, and how the connection ended."""
    async with client.connection() as (reader, writer):
        writer.write(client.request("POST", "/search", SEARCH, more="Connection: close\r\n"))
        try:
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        except ConnectionResetError:
            return b"", b"", "reset"
        return head, body, "closed"


def on_search(kind: str, parameters: str = "") -> str:
    return f'[[fault]]\nendpoint = "search"\nkind = "{kind}"\n{parameters}'


async def true_body() -> bytes:
    async with running(contacts=3) as client:
        return (await client.raw(client.request("POST", "/search", SEARCH))).body


async def outcome(client: Client) -> tuple[str, str | None, int]:
    """Return what the history says of the only request, and the tokens it took."""
    (entry,) = await client.history()
    return entry["outcome"], entry["fault"], (await client.stats())["tokens_used"]


@pytest.mark.parametrize(
    ("kind", "parameters", "end", "seen"),
    [
        ("hang", "seconds = 0.05", "closed", ("fault", "hang", 1)),
        ("hang", "seconds = 0.05\napply = true", "closed", ("read", "hang", 1)),
        ("reset_before", "", "reset", ("fault", "reset_before", 0)),
        ("reset_after", "", "reset", ("read", "reset_after", 1)),
        ("close_after", "", "closed", ("read", "close_after", 1)),
    ],
)
async def test_search_may_end_without_an_answer(
    tmp_path: Path, kind: str, parameters: str, end: str, seen: tuple[str, str, int]
) -> None:
    async with faulty(tmp_path, on_search(kind, parameters)) as client:
        assert await end_of_search(client) == (b"", b"", end)
        assert await outcome(client) == seen


@pytest.mark.parametrize(
    ("kind", "parameters", "head", "body"),
    [
        ("status", 'status = 503\nretry_after = "2"', b"Retry-After: 2", b'"status":503'),
        ("status", "status = 429", b"X-Ratelimit-Cost: 0", b'"status":429'),
        ("redirect", 'location = "/elsewhere"', b"HTTP/1.1 302", b""),
        ("html", "", b"HTTP/1.1 200 OK", b"<!doctype html>"),
        ("revoke", "", b"HTTP/1.1 401", b'"status":401'),
    ],
)
async def test_search_may_be_answered_with_something_else(
    tmp_path: Path, kind: str, parameters: str, head: bytes, body: bytes
) -> None:
    async with faulty(tmp_path, on_search(kind, parameters), contacts=3) as client:
        answer = await end_of_search(client)
        assert head in answer[0]
        assert body in answer[1]
        assert b"contacts" not in answer[1]
        assert (await outcome(client))[:2] == ("fault", kind)


async def test_truncated_search_announces_all_of_its_true_body(tmp_path: Path) -> None:
    whole = await true_body()
    async with faulty(tmp_path, on_search("truncated", "bytes = 100"), contacts=3) as client:
        head, body, end = await end_of_search(client)
        assert f"Content-Length: {len(whole)}".encode() in head
        assert (len(body), body[:40], end) == (len(whole) - 100, whole[:40], "closed")
    async with faulty(tmp_path, on_search("truncated", f"bytes = {len(whole) + 9}"), contacts=3) as client:
        head, body, end = await end_of_search(client)
        assert f"Content-Length: {len(whole)}".encode() in head
        assert (body, end) == (b"{", "closed")


async def test_slow_search_drips_its_true_body(tmp_path: Path) -> None:
    whole = await true_body()
    async with faulty(tmp_path, on_search("slow_body", "seconds = 0.2"), contacts=3) as client:
        started = asyncio.get_running_loop().time()
        _, body, _ = await end_of_search(client)
        assert asyncio.get_running_loop().time() - started >= 0.15
        assert len(body) == len(whole)


async def test_huge_search_is_its_true_body_and_blanks(tmp_path: Path) -> None:
    async with faulty(tmp_path, on_search("huge", "bytes = 2_000_000"), contacts=3) as client:
        reply = await client.raw(client.request("POST", "/search", SEARCH))
        assert len(reply.body) == 2_000_000
        assert len(reply.content["data"]["contacts"]) == 3


async def test_gzip_bomb_is_small_until_it_is_unpacked(tmp_path: Path) -> None:
    async with faulty(tmp_path, on_search("gzip_bomb", "bytes = 50_000_000"), contacts=3) as client:
        reply = await client.raw(client.request("POST", "/search", SEARCH))
        assert (reply.status, reply.headers["content-encoding"]) == (200, "gzip")
        assert len(reply.body) < 100_000
        unpacked = gzip.decompress(reply.body)
        assert len(unpacked) > 50_000_000
        assert len(orjson.loads(unpacked)["data"]["contacts"]) == 3


async def test_gzip_members_are_many(tmp_path: Path) -> None:
    async with faulty(tmp_path, on_search("gzip_members", "members = 5_000"), contacts=3) as client:
        reply = await client.raw(client.request("POST", "/search", SEARCH))
        assert reply.headers["content-encoding"] == "gzip"
        assert reply.body.count(b"\x1f\x8b\x08") == 5_001
        assert len(orjson.loads(gzip.decompress(reply.body))["data"]["contacts"]) == 3


async def test_search_may_lack_the_token_headers_or_come_late(tmp_path: Path) -> None:
    async with faulty(tmp_path, on_search("headers"), contacts=3) as client:
        reply = await client.raw(client.request("POST", "/search", SEARCH))
        assert not [name for name in reply.headers if name.startswith("x-ratelimit")]
    async with faulty(tmp_path, on_search("latency", "seconds = 0.1"), contacts=3) as client:
        started = asyncio.get_running_loop().time()
        assert (await client.raw(client.request("POST", "/search", SEARCH))).status == 200
        assert asyncio.get_running_loop().time() - started >= 0.1


@pytest.mark.parametrize("kind", ["drop", "late"])
async def test_faults_of_the_upsert_hit_nothing_else(tmp_path: Path, kind: str) -> None:
    table = f'[[fault]]\nkind = "{kind}"' + ("\nseconds = 60" if kind == "late" else "")
    async with faulty(tmp_path, table) as client:
        assert (await client.send("POST", "/contacts", {"data": {"contact": ADA}})).status == 200
        assert (await client.send("GET", "/contacts/1")).status == 200
        assert (await client.stats())["faults"] == {}
        await client.upsert(ADA)
        assert (await client.stats())["faults"] == {kind: 1}


# Which requests


def test_every_route_can_be_named() -> None:
    assert {route.name for route in ROUTES} | {"*"} == set(ENDPOINTS)


REQUESTS = {
    "upsert": ("POST", "/contacts/upsert"),
    "create": ("POST", "/contacts"),
    "replace": ("PATCH", "/contacts/1"),
    "get": ("GET", "/contacts/1"),
    "delete": ("DELETE", "/contacts/1"),
    "search": ("POST", "/search"),
    "kpi": ("POST", "/kpi"),
    "forms": ("GET", "/v1/forms/type/consent"),
    "form": ("GET", "/forms/1"),
}


@pytest.mark.parametrize("endpoint", [name for name in ENDPOINTS if name != "*"])
async def test_fault_hits_its_endpoint_only(tmp_path: Path, endpoint: str) -> None:
    table = f'[[fault]]\nendpoint = "{endpoint}"\nkind = "status"\nstatus = 599'
    async with faulty(tmp_path, table) as client:
        statuses = {name: (await client.send(*request, {})).status for name, request in REQUESTS.items()}
        assert [name for name, status in statuses.items() if status == 599] == [endpoint]


async def test_where_looks_at_the_contact_of_every_write_and_at_no_read(tmp_path: Path) -> None:
    table = '[[fault]]\nkind = "status"\nstatus = 500\nwhere = { phone = "" }'
    async with faulty(tmp_path, table, search_lag=0.0) as client:
        phoned = {"data": {"contact": ADA | {"phone": "1"}}}
        assert (await client.send("POST", "/contacts", phoned)).status == 200
        assert (await client.send("POST", "/contacts", {"data": {"contact": ADA}})).status == 500
        assert (await client.send("PATCH", "/contacts/1", {"data": {"contact": ADA}})).status == 500
        assert (await client.send("PATCH", "/contacts/1", {"data": {"contact": []}})).status == 422
        assert (await client.upsert(ADA)).status == 500
        assert (await client.raw(client.request("POST", "/search", SEARCH))).status == 200
        assert (await client.send("GET", "/contacts/1")).status == 200
        assert (await client.send("DELETE", "/contacts/1")).status == 200


async def statuses(folder: Path, seed: int) -> list[int]:
    table = '[[fault]]\nkind = "status"\nstatus = 500\nshare = 0.3'
    async with faulty(folder, table, seed=seed) as client, client.connection() as (reader, writer):
        replies: list[Reply] = []
        for _ in range(60):
            writer.write(client.request("POST", "/contacts/upsert", b'{"kind":"contact","data":{}}'))
            replies.append(await read_reply(reader))
        return [reply.status for reply in replies]


async def test_share_is_drawn_from_the_seed(tmp_path: Path) -> None:
    first = await statuses(tmp_path, seed=1)
    assert first == await statuses(tmp_path, seed=1)
    assert first != await statuses(tmp_path, seed=2)
    assert 5 < first.count(500) < 35


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[fault]", ["not TOML"]),
        ("[[faults]]", ["unknown key faults", "did you mean fault?"]),
        ("fault = 1", ["[[fault]] tables"]),
        ("[[fault]]", ["fault 1", "kind is missing"]),
        ('[[fault]]\nkind = "drop"\n[[fault]]\nkind = "statuss"', ["fault 2", "did you mean status?"]),
        ('[[fault]]\nkind = "drop"\nshares = 1', ["fault 1", "unknown key shares", "did you mean share?"]),
        ('[[fault]]\nkind = "drop"\nseconds = 1', ["unknown key seconds of kind drop"]),
        ('[[fault]]\nkind = "drop"\nendpoint = "upserts"', ["endpoint", "did you mean upsert?"]),
        ('[[fault]]\nkind = "drop"\nendpoint = ["upsert"]', ["endpoint"]),
        (
            '[[fault]]\nkind = "drop"\nendpoint = "search"',
            ["endpoint is 'search'", "drop is about the upsert"],
        ),
        ('[[fault]]\nkind = "late"\nseconds = 1\nendpoint = "create"', ["late is about the upsert"]),
        ('[[fault]]\nkind = "gzip_members"\nmembers = 0', ["members is 0"]),
        ('[[fault]]\nkind = "gzip_bomb"\nbytes = 2_000_000_000', ["bytes is 2000000000"]),
        ('[[fault]]\nkind = "drop"\nshare = 2', ["share is 2"]),
        ('[[fault]]\nkind = "drop"\nafter = 0', ["after is 0"]),
        ('[[fault]]\nkind = "drop"\ncount = true', ["count is True"]),
        ('[[fault]]\nkind = "drop"\nwhere = { email = "x" }', ["unknown key email", "did you mean mail?"]),
        ('[[fault]]\nkind = "drop"\nwhere = "x"', ["where must be a table"]),
        ('[[fault]]\nkind = "status"', ["status is missing"]),
        ('[[fault]]\nkind = "status"\nstatus = 99', ["status is 99"]),
        ('[[fault]]\nkind = "status"\nstatus = 500\nhtml = 1', ["html is 1", "true or false"]),
        ('[[fault]]\nkind = "redirect"\nstatus = 300\nlocation = "/"', ["status is 300", "308"]),
        ('[[fault]]\nkind = "redirect"\nlocation = "/\\r\\nX: y"', ["location"]),
        ('[[fault]]\nkind = "late"\nseconds = "1"', ["seconds is '1'"]),
        ('[[fault]]\nkind = "late"\nseconds = nan', ["seconds is nan"]),
        ('[[fault]]\nkind = "huge"\nbytes = 0', ["bytes is 0"]),
    ],
)
async def test_faults_file_is_refused_with_one_line(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(FaultsError) as caught:
        async with faulty(tmp_path, text):
            raise AssertionError("the sandbox took the file")
    message = str(caught.value)
    assert all(word in message for word in ["faults.toml", *words]), message
    assert "\n" not in message


async def test_missing_faults_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FaultsError, match=r"none\.toml: cannot be read: No such file"):
        async with running(faults=tmp_path / "none.toml"):
            raise AssertionError("the sandbox took the file")
