"""Each fault as a client sees it, and what a faults file may say."""

import asyncio
from pathlib import Path

import pytest
from test_sandbox_client import Client, Reply, faulty, read_reply, running

from syncengine.sandbox import FaultsError

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
    async with faulty(tmp_path, table) as client:
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
