"""The sandbox's bucket, its own routes, and its process."""

import asyncio
import email.utils
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import orjson
import pytest
from test_sandbox_client import Client, running

from syncengine.sandbox import Sandbox, SandboxOptions
from syncengine.sandbox.bucket import Bucket

ADA = {"surname": "Roux", "mail": "ada@example.org"}


# The bucket


def test_bucket_refills_with_time_up_to_its_burst() -> None:
    now = [0.0]
    bucket = Bucket(10, 2.0, lambda: now[0])
    bucket.take(10)
    assert not bucket.has(1)
    now[0] = 0.4
    assert not bucket.has(1)
    now[0] = 0.5
    assert bucket.has(1)
    now[0] = 100.0
    assert bucket.level == 10.0


def test_bucket_headers_round_what_is_left_down_and_the_reset_up() -> None:
    now = [0.0]
    bucket = Bucket(10, 4.0, lambda: now[0])
    bucket.take(5)
    now[0] = 0.1
    assert bucket.level == pytest.approx(5.4)
    assert bucket.headers(1).split("\r\n") == [
        "X-Ratelimit-Limit: burst:10;rate:4.0",
        "X-Ratelimit-Remaining: 5",
        "X-Ratelimit-Cost: 1",
        "X-Ratelimit-ResetTime: 2",
        "",
    ]


async def test_every_answer_carries_the_token_headers_and_the_date() -> None:
    async with running(burst=100) as client:
        reply = await client.upsert(ADA)
        assert reply.headers["x-ratelimit-limit"] == "burst:100;rate:10.0"
        assert reply.headers["x-ratelimit-remaining"] == "99"
        assert reply.headers["x-ratelimit-cost"] == "1"
        assert reply.headers["x-ratelimit-resettime"] == "1"
        date = email.utils.parsedate_to_datetime(reply.headers["date"])
        assert abs(date.timestamp() - time.time()) < 2


async def test_answer_over_the_limit_is_429_and_takes_no_token() -> None:
    async with running(burst=2, rate=0.001) as client:
        replies = [await client.upsert(ADA) for _ in range(5)]
        assert [reply.status for reply in replies] == [202, 202, 429, 429, 429]
        last = replies[-1]
        assert (last.headers["x-ratelimit-cost"], last.headers["x-ratelimit-remaining"]) == ("0", "0")
        assert last.headers["x-ratelimit-limit"] == "burst:2;rate:0.001"
        assert last.content["status"] == 429
        assert "retry-after" not in last.headers
        stats = await client.stats()
        assert (stats["tokens_used"], stats["throttled"]) == (2, 3)
        assert [entry["outcome"] for entry in await client.history()][2:] == ["throttled"] * 3


async def test_retry_after_is_sent_as_it_was_given() -> None:
    async with running(burst=1, rate=0.001, retry_after="1.5") as client:
        await client.upsert(ADA)
        assert (await client.upsert(ADA)).headers["retry-after"] == "1.5"


async def test_unlimited_announces_a_million_tokens() -> None:
    async with running(unlimited=True) as client:
        reply = await client.upsert(ADA)
        assert reply.headers["x-ratelimit-limit"] == "burst:1000000;rate:1000000.0"


async def test_latency_is_waited_for_by_requests_at_once() -> None:
    async with running(latency=0.1) as client:
        started = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(10):
                tasks.create_task(client.upsert(ADA))
        assert 0.1 <= time.monotonic() - started < 0.9
        assert (await client.stats())["peak_concurrency"] == 10


# Its own routes


async def test_stats_count_what_happened() -> None:
    async with running() as client:
        await client.accepted(ADA, ADA, ADA | {"gender": "F"})
        stats = await client.stats()
        assert stats["requests"] == {"upsert": 3}
        assert stats["statuses"] == {"202": 3}
        assert stats["outcomes"] == {"created": 1, "updated": 1, "dropped": 1}
        assert (stats["tokens_used"], stats["contacts"], stats["queued"]) == (3, 1, 0)
        assert stats["first_upsert_at"] <= stats["last_upsert_at"] <= time.time()


async def test_contacts_come_in_pages_in_order_of_id() -> None:
    async with running(contacts=5, seed=3) as client:
        first = (await client.send("GET", "/_sandbox/contacts?limit=3")).content
        rest = (await client.send("GET", f"/_sandbox/contacts?limit=3&offset={first['next']}")).content
        assert [contact["id"] for contact in first["contacts"] + rest["contacts"]] == [1, 2, 3, 4, 5]
        assert rest["next"] is None
        assert {"CreatedAt", "UpdatedAt", "lastchange", "mail", "address"} <= first["contacts"][0].keys()


async def test_contacts_can_be_found_by_mail() -> None:
    async with running(contacts=5) as client:
        found = (await client.send("GET", "/_sandbox/contacts?mail=Person4@sample.example")).content
        assert [contact["id"] for contact in found["contacts"]] == [4]


async def test_people_to_start_with_follow_from_the_seed() -> None:
    async def names(seed: int) -> list[str]:
        async with running(contacts=20, seed=seed) as client:
            return [contact["firstname"] for contact in await client.contacts()]

    assert await names(1) == await names(1) != await names(2)


async def test_history_comes_in_pages_in_order_of_arrival() -> None:
    async with running() as client:
        await client.accepted(*({"surname": str(number)} for number in range(5)))
        first = (await client.send("GET", "/_sandbox/history?limit=3")).content
        rest = (await client.send("GET", f"/_sandbox/history?limit=3&after={first['next']}")).content
        entries = first["requests"] + rest["requests"]
        assert [entry["data"]["surname"] for entry in entries] == ["0", "1", "2", "3", "4"]
        assert [entry["seq"] for entry in entries] == [1, 2, 3, 4, 5]
        assert rest["next"] is None


async def test_reset_makes_the_sandbox_as_new() -> None:
    async with running(burst=2, rate=0.001, lag=60) as client:
        await client.upsert(ADA)
        await client.accepted(ADA)
        await client.send("POST", "/_sandbox/reset")
        assert (await client.contacts(), await client.history()) == ([], [])
        stats = await client.stats()
        assert (stats["requests"], stats["tokens_used"]) == ({}, 0)
        assert (await client.upsert(ADA)).headers["x-ratelimit-remaining"] == "1"
        await client.send("POST", "/_sandbox/settle")
        assert [contact["id"] for contact in await client.contacts()] == [1]


async def test_staff_edit_moves_lastchange_too() -> None:
    async with running() as client:
        await client.accepted(ADA)
        (before,) = await client.contacts()
        edit = {"contacts": [{"id": 1, "phone": "7"}, {"surname": "Weber"}]}
        assert (await client.send("POST", "/_sandbox/contacts", edit)).content == {"ids": [1, 2]}
        after = (await client.contacts())[0]
        assert after["phone"] == "7"
        assert after["lastchange"] == after["UpdatedAt"] > before["lastchange"]


async def test_staff_edit_is_of_the_forms_there_are() -> None:
    async with running() as client:
        person = ADA | {"custom_fields": [{"label": "Size", "value": "S"}]}
        await client.send("POST", "/_sandbox/contacts", {"contacts": [person]})
        (held,) = await client.contacts()
        (form,) = [
            form
            for form in (await client.send("GET", "/_sandbox/forms")).content["forms"]
            if form["label"] == "Size"
        ]
        option = next(option for option in form["options"] if option["value"] == "S")
        assert [(answer["form_id"], answer["form_ref_id"], answer["data"]) for answer in held["answers"]] == [
            (form["id"], option["id"], "S")
        ]
        person = {"custom_fields": [{"label": "Shoe", "value": "S"}]}
        refused = await client.send("POST", "/_sandbox/contacts", {"contacts": [ADA, person]})
        assert refused.status == 422
        assert refused.content["errors"][0]["location"] == "body.contacts[1]"
        assert len(await client.contacts()) == 1


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/_sandbox/nothing", None, 404),
        ("POST", "/_sandbox/stats", None, 405),
        ("GET", "/_sandbox/contacts?limit=0", None, 400),
        ("GET", "/_sandbox/contacts?limit=10001", None, 400),
        ("GET", "/_sandbox/history?after=-1", None, 400),
        ("GET", "/_sandbox/staff?after=x", None, 400),
        ("DELETE", "/_sandbox/forms", None, 405),
        ("GET", f"/_sandbox/history?after={'9' * 5000}", None, 400),
        ("DELETE", "/_sandbox/contacts?id=5", None, 404),
        ("POST", "/_sandbox/contacts", {"people": []}, 400),
        ("POST", "/_sandbox/contacts", {"contacts": [7]}, 422),
        ("POST", "/_sandbox/contacts", {"contacts": [{"gender": "F"}]}, 422),
        ("POST", "/_sandbox/contacts", {"contacts": [{"id": 5}]}, 404),
    ],
)
async def test_own_routes_refuse_what_they_cannot_read(
    method: str, path: str, body: object, status: int
) -> None:
    async with running() as client:
        assert (await client.send(method, path, body)).status == status


# Its process


def started(folder: Path, *flags: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "syncengine.sandbox", *flags],
        env=os.environ | {"TMPDIR": str(folder), "PYTHONWARNINGS": "error"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def files_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_process_says_one_line_and_ends_by_a_signal_without_a_trace(
    tmp_path: Path, number: int
) -> None:
    process = started(tmp_path, "--unlimited", "--lag", "0")
    assert process.stdout
    ready = process.stdout.readline()
    assert orjson.loads(ready).keys() == {"base_url", "api_key"}
    client = Client(orjson.loads(ready)["base_url"], orjson.loads(ready)["api_key"])
    await client.accepted(ADA)
    assert len(await client.contacts()) == 1
    process.send_signal(number)
    rest, errors = process.communicate(timeout=5)
    assert (process.returncode, rest, errors) == (0, "", "")
    assert not files_in(tmp_path)


async def test_killed_process_leaves_no_file_either(tmp_path: Path) -> None:
    process = started(tmp_path)
    assert process.stdout
    assert process.stdout.readline()
    process.kill()
    process.communicate(timeout=5)
    assert not files_in(tmp_path)


async def test_process_takes_its_faults_from_a_file(tmp_path: Path) -> None:
    faults = tmp_path / "faults.toml"
    faults.write_text('[[fault]]\nkind = "reset_after"')
    process = started(tmp_path, "--faults", str(faults))
    assert process.stdout
    ready = orjson.loads(process.stdout.readline())
    with pytest.raises(ConnectionResetError):
        await Client(ready["base_url"], ready["api_key"]).upsert(ADA)
    process.terminate()
    assert process.communicate(timeout=5) == ("", "")


async def test_process_lists_its_keys_when_there_are_several(tmp_path: Path) -> None:
    process = started(tmp_path, "--spaces", "2", "--keys", "2", "--api-key", "mine")
    assert process.stdout
    ready = orjson.loads(process.stdout.readline())
    process.terminate()
    assert process.communicate(timeout=5) == ("", "")
    assert ready["api_key"] == ready["keys"][0]["api_key"] == "mine"
    assert [key["group_id"] for key in ready["keys"]] == [1001, 1001, 1002, 1002]


def test_process_refuses_a_wrong_file_of_forms_with_exit_2(tmp_path: Path) -> None:
    forms = tmp_path / "forms.json"
    forms.write_text('{"forms": [{"type": "custom_fields", "label": "Job", "widget": "txt"}]}')
    process = started(tmp_path, "--forms", str(forms))
    output, errors = process.communicate(timeout=5)
    assert (process.returncode, output, len(errors.splitlines())) == (2, "", 1)
    assert f"{forms}: form 1: widget is 'txt'" in errors
    assert list(tmp_path.iterdir()) == [forms]


@pytest.mark.parametrize(
    ("text", "flags", "words"),
    [
        ('[[fault]]\nkind = "dropp"', [], "did you mean drop?"),
        ("", ["--rate", "0"], "rate is 0.0"),
        ("", ["--port", "70000"], "port is 70000"),
        ("", ["--lag", "nan"], "lag and latency"),
        ("", ["--retry-after", "1\n2"], "retry_after goes into a header"),
    ],
)
def test_process_refuses_wrong_options_with_exit_2(
    tmp_path: Path, text: str, flags: list[str], words: str
) -> None:
    faults = tmp_path / "faults.toml"
    faults.write_text(text)
    process = started(tmp_path, "--faults", str(faults), *flags)
    output, errors = process.communicate(timeout=5)
    assert (process.returncode, output) == (2, "")
    assert words in errors.splitlines()[-1]
    assert list(tmp_path.iterdir()) == [faults]


async def test_process_says_that_its_port_is_taken(tmp_path: Path) -> None:
    async with running() as client:
        process = started(tmp_path, "--port", str(client.port))
        output, errors = process.communicate(timeout=5)
        assert (process.returncode, output, len(errors.splitlines())) == (1, "", 1)
        assert "in use" in errors


async def test_closing_sandbox_ends_its_connections_and_forgets_what_is_queued() -> None:
    async with Sandbox(SandboxOptions(latency=60, lag=60)) as sandbox:
        client = Client(sandbox.base_url, sandbox.api_key)
        reader, writer = await asyncio.open_connection(client.host, client.port)
        writer.write(client.request("POST", "/contacts/upsert", b'{"kind":"contact","data":{}}'))
        while not await client.history():
            pass
    assert await reader.read() == b""
    writer.close()
