"""The synchronous writes of the client: what is repeated, what is read first, and what is never lost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from test_client import answering, client, no_wait, reply
from test_documents import lasting
from test_engine_answers import raw_server
from test_engine_world import KEY, SURNAME
from test_sandbox_client import Client
from test_wire import closed_port

from syncengine.clock import Clock
from syncengine.errors import (
    ProtocolError,
    RateLimitedError,
    RejectedError,
    TransientError,
    UnauthorizedError,
)
from syncengine.qomon import Answer, Contact, Forms, Note, QomonClient
from syncengine.qomon.documents import replace_document
from syncengine.sandbox import Sandbox, SandboxOptions
from syncengine.sandbox.unknowns import Unknowns

pytestmark = pytest.mark.usefixtures("no_leaks")

ADA = Contact(firstname="Ada", surname=SURNAME, mail="ada@canary.example", mobile="7")
WHOLE = replace(
    ADA,
    birthdate="1987-03-05T00:00:00Z",
    birthcity="Lyon",
    address={"city": "Lyon", "street": "rue Verte"},
    tags=("member",),
    notes=(Note("met", pinned=True),),
    answers=(
        Answer("custom_fields", "Job", "Nurse"),
        Answer("custom_fields", "Languages", "fr"),
        Answer("consents", "Newsletter", "By e-mail"),
    ),
    action_ids=(11,),
    more={"phone_invalid": True, "user_contact_id": 5},
)


def with_mobile(number: str) -> Callable[[Contact], Contact]:
    return lambda contact: replace(contact, mobile=number)


@dataclass
class Space:
    """A sandbox, a client, and the same by hand; `pauses` are done instead of the waits between attempts."""

    qomon: QomonClient
    raw: Client
    forms: Forms
    pauses: list[Callable[[], Awaitable[object]]]

    async def routes(self) -> list[str]:
        """Return which requests came since the forms were read, in their order."""
        return [entry["endpoint"] for entry in await self.raw.history() if entry["endpoint"] != "forms"]

    async def staff(self, **fields: Any) -> None:
        sent = await self.raw.send("POST", "/_sandbox/contacts", {"contacts": [fields]})
        assert sent.status == 200, sent

    async def row(self, number: int) -> dict[str, Any]:
        return dict((await self.raw.send("GET", f"/contacts/{number}")).content["data"]["contact"])


@asynccontextmanager
async def space(folder: Path | None = None, faults: str = "", **options: Any) -> AsyncIterator[Space]:
    file = None
    if faults:
        assert folder is not None
        file = folder / "faults.toml"
        file.write_text(faults)
    pauses: list[Callable[[], Awaitable[object]]] = []

    async def pause(_: float) -> None:
        if pauses:
            await pauses.pop(0)()

    given = {"unlimited": True, "lag": 0.0, "search_lag": 0.0, "faults": file} | options
    async with (
        Sandbox(SandboxOptions(**given)) as server,
        QomonClient(server.api_key, base_url=server.base_url, clock=Clock(sleep=pause)) as qomon,
    ):
        yield Space(qomon, Client(server.base_url, server.api_key), await qomon.forms(), pauses)


def fault(endpoint: str, kind: str, **more: object) -> str:
    lines = {"endpoint": endpoint, "kind": kind, "count": 1} | more
    return "[[fault]]\n" + "\n".join(
        f"{name} = {orjson.dumps(value).decode()}" for name, value in lines.items()
    )


def one(contact_id: int = 7, **members: object) -> bytes:
    content = {"status": "success", "data": {"contact": {"id": contact_id, "surname": SURNAME} | members}}
    return reply("200 OK", orjson.dumps(content))


GONE = reply("404 Not Found", b'{"title":"Not Found","status":404}', "application/problem+json")
LOGIN = reply("404 Not Found", b"<html>no such page</html>", "text/html")


# --- create


async def test_a_created_contact_comes_back_with_its_id_and_its_answers_in_words() -> None:
    async with space() as at:
        made = await at.qomon.create(WHOLE, at.forms)
        assert made.id == 1
        assert (made.firstname, made.birthcity, made.address["street"]) == ("Ada", "Lyon", "rue Verte")
        assert [(answer.kind, answer.label, answer.value) for answer in made.answers] == [
            ("consents", "Newsletter", "By e-mail"),
            ("custom_fields", "Job", "Nurse"),
            ("custom_fields", "Languages", "French"),
        ]
        assert (made.action_ids, made.more["phone_invalid"], made.more["user_contact_id"]) == ((11,), True, 5)
        assert [note.content for note in made.notes] == ["met"]


async def test_whoever_is_created_twice_is_there_twice() -> None:
    async with space() as at:
        ids = [(await at.qomon.create(ADA, at.forms)).id for _ in range(2)]
        assert ids == [1, 2]


@pytest.mark.parametrize("kind", ["reset_after", "reset_before", "close_after", "truncated"])
async def test_a_creation_that_may_have_been_made_is_never_repeated(tmp_path: Path, kind: str) -> None:
    more: dict[str, object] = {"bytes": 20} if kind == "truncated" else {}
    async with space(tmp_path, fault("create", kind, **more)) as at:
        with pytest.raises(TransientError) as caught:
            await at.qomon.create(ADA, at.forms)
        assert caught.value.sent
        assert await at.routes() == ["create"]


async def test_a_creation_answered_by_a_gateway_is_never_repeated(tmp_path: Path) -> None:
    async with space(tmp_path, fault("create", "status", status=503, apply=True)) as at:
        with pytest.raises(TransientError) as caught:
            await at.qomon.create(ADA, at.forms)
        assert (caught.value.sent, caught.value.status) == (True, 503)
        assert len(await at.raw.contacts()) == 1


async def test_a_creation_refused_for_its_pace_is_repeated(tmp_path: Path) -> None:
    async with space(tmp_path, fault("create", "status", status=429, retry_after="0")) as at:
        assert (await at.qomon.create(ADA, at.forms)).id == 1
        assert await at.routes() == ["create", "create"]


async def test_a_creation_that_never_left_is_tried_again_and_said_not_to_have_been_sent() -> None:
    waits = 0

    async def count(_: float) -> None:
        nonlocal waits
        waits += 1

    async with QomonClient(
        KEY, base_url=f"http://127.0.0.1:{closed_port()}", rate=1000, clock=Clock(sleep=count)
    ) as qomon:
        with pytest.raises(TransientError) as caught:
            await qomon.create(ADA, Forms())
    assert not caught.value.sent
    assert waits == 3


@pytest.mark.parametrize(
    "answer",
    [
        reply("200 OK", b'{"status":"success","data":{"contact":{}}}'),
        reply("200 OK", b'{"status":"success"}'),
        reply("200 OK", b'{"status":"fail"}'),
        reply("200 OK", b""),
        reply("202 Accepted"),
        reply("404 Not Found", b'{"status":404}'),
    ],
)
async def test_a_creation_that_tells_no_id_is_a_breach(answer: bytes) -> None:
    respond, requests = answering(answer)
    async with raw_server(respond) as port, client(port) as qomon:
        with pytest.raises(ProtocolError) as caught:
            await qomon.create(ADA, Forms())
    assert len(requests) == 1
    assert SURNAME not in repr(caught.value)
    assert caught.value.status in {200, 202, 404}


async def test_what_the_endpoint_refuses_is_told_by_its_place() -> None:
    async with space() as at:
        with pytest.raises(RejectedError) as caught:
            await at.qomon.create(replace(ADA, gender="F"), at.forms, proven=["gender"])
        assert caught.value.status == 422
        assert list(caught.value.errors) == ["body.data.contact.gender"]


async def test_what_cannot_be_written_is_refused_before_anything_is_sent() -> None:
    async with client(closed_port()) as qomon:
        for contact in (replace(ADA, gender="F"), replace(ADA, id=7), replace(ADA, tags=(" ",))):
            with pytest.raises(ValueError, match=r"^(gender|id|tags)"):
                await qomon.create(contact, Forms())
        assert qomon.budget.requests == 0


# --- replace


async def test_a_replacement_loses_nothing_but_the_ids_of_answers() -> None:
    async with space() as at:
        made = await at.qomon.create(WHOLE, at.forms)
        before = await at.row(made.id)
        seen = await at.qomon.replace(made.id, with_mobile("8"), at.forms)
        assert seen.mobile == "8"
        assert replace(seen, mobile=made.mobile, updated_at=None, answers=(), notes=()) == replace(
            made, updated_at=None, answers=(), notes=()
        )
        assert [(note.content, note.pinned) for note in seen.notes] == [("met", True)]
        assert [(answer.label, answer.value) for answer in seen.answers] == [
            (answer.label, answer.value) for answer in made.answers
        ]
        assert not {answer.id for answer in seen.answers} & {answer.id for answer in made.answers}
        after = await at.row(made.id)
        for name in before.keys() - {"mobile", "UpdatedAt", "notes", "formdatas", "custom_fields"}:
            assert after[name] == before[name], name


@pytest.mark.parametrize(
    "given",
    [
        {"replaced": "replace"}, {"unwritten": "keep"}, {"dates": "kept"}, {"note_ids": "kept"},
        {"lastchange": "moves"}, {"phones": "e164"}, {"geocoding": "on"},
    ],
    ids=str,
)  # fmt: skip
async def test_a_replacement_loses_nothing_whatever_qomon_does(given: dict[str, str]) -> None:
    async with space(unknowns=Unknowns.read(given)) as at:
        made = await at.qomon.create(replace(WHOLE, mobile="06 11 22 33 44"), at.forms)
        document = replace_document(made, made, at.forms)
        document["data"]["contact"]["notes"].append({"data": "in confidence", "only_super_admin": True})
        assert (await at.raw.send("PATCH", f"/contacts/{made.id}", document)).status == 200
        before = await at.qomon.contact(made.id)
        assert before is not None
        seen = await at.qomon.replace(made.id, lambda contact: replace(contact, phone="5"), at.forms)
        assert seen.phone == "5"
        assert lasting(replace(seen, phone=None, last_change=None), at.forms) == lasting(
            replace(before, last_change=None), at.forms
        )
        assert [each.content for each in seen.notes] == ["met", "in confidence"]
        assert [each.more["only_super_admin"] for each in seen.notes] == [False, True]


async def test_a_replacement_reads_writes_and_reads_for_seven_tokens() -> None:
    async with space(burst=100, unlimited=False) as at:
        made = await at.qomon.create(ADA, at.forms)
        spent = at.qomon.budget.tokens
        await at.qomon.replace(made.id, with_mobile("8"), at.forms)
        assert await at.routes() == ["create", "get", "replace", "get"]
        assert at.qomon.budget.tokens - spent == 7


async def test_a_change_that_is_there_already_is_not_written() -> None:
    async with space() as at:
        made = await at.qomon.create(WHOLE, at.forms)
        seen = await at.qomon.replace(made.id, with_mobile("7"), at.forms)
        assert seen.updated_at == made.updated_at
        assert await at.routes() == ["create", "get"]


async def test_a_replacement_takes_away_and_adds_answers_tags_and_notes() -> None:
    def change(contact: Contact) -> Contact:
        kept = tuple(answer for answer in contact.answers if answer.label not in {"Job", "Size"})
        return replace(
            contact,
            tags=("donor",),
            notes=(),
            answers=(*kept, Answer("custom_fields", "Size", "M")),
            address={},
            birthdate=None,
        )

    async with space() as at:
        made = await at.qomon.create(WHOLE, at.forms)
        seen = await at.qomon.replace(made.id, change, at.forms)
        assert (seen.tags, seen.notes, seen.address, seen.birthdate) == (("donor",), (), {}, None)
        assert sorted(answer.label for answer in seen.answers) == ["Languages", "Newsletter", "Size"]


async def test_what_would_be_cleared_is_refused_before_anything_is_written() -> None:
    async with space(unknowns=Unknowns(unlisted="store")) as at:
        made = await at.qomon.create(ADA, at.forms)
        await at.staff(id=made.id, gender="F")
        with pytest.raises(ValueError, match="gender cannot be sent"):
            await at.qomon.replace(made.id, with_mobile("8"), at.forms)
        assert await at.routes() == ["create", "get"]
        seen = await at.qomon.replace(made.id, with_mobile("8"), at.forms, proven=["gender"])
        assert (seen.gender, seen.mobile) == ("F", "8")
        seen = await at.qomon.replace(made.id, lambda contact: replace(contact, gender=None), at.forms)
        assert (seen.gender, seen.mobile) == (None, "8")


async def test_a_replacement_of_nobody_says_so() -> None:
    async with space() as at:
        with pytest.raises(RejectedError, match="no such contact") as caught:
            await at.qomon.replace(99, with_mobile("8"), at.forms)
        assert caught.value.status == 404
        assert await at.routes() == ["get"]


@pytest.mark.parametrize(
    "answers", [[one(), GONE], [one(), one(mobile="8"), GONE]], ids=["before the write", "after the write"]
)
async def test_a_contact_that_goes_meanwhile_is_told_as_gone(answers: list[bytes]) -> None:
    respond, requests = answering(*answers)
    async with raw_server(respond) as port, client(port) as qomon:
        with pytest.raises(RejectedError, match="no such contact") as caught:
            await qomon.replace(7, with_mobile("8"), Forms())
    assert caught.value.status == 404
    assert len(requests) == len(answers)


async def test_somebody_elses_404_says_nothing_of_a_contact() -> None:
    for answers in ([LOGIN], [one(), LOGIN]):
        respond, _ = answering(*answers)
        async with raw_server(respond) as port, client(port) as qomon:
            with pytest.raises(ProtocolError):
                await qomon.replace(7, with_mobile("8"), Forms())
            with pytest.raises(ProtocolError):
                await qomon.delete(7)


@pytest.mark.parametrize("kind", ["reset_after", "close_after"])
async def test_a_replacement_that_was_made_without_an_answer_is_not_made_again(
    tmp_path: Path, kind: str
) -> None:
    async with space(tmp_path, fault("replace", kind)) as at:
        made = await at.qomon.create(ADA, at.forms)
        assert (await at.qomon.replace(made.id, with_mobile("8"), at.forms)).mobile == "8"
        assert await at.routes() == ["create", "get", "replace", "get"]


@pytest.mark.parametrize(
    "what",
    [
        fault("replace", "reset_before"),
        fault("replace", "status", status=503),
    ],
    ids=["reset", "503"],
)
async def test_a_replacement_that_was_not_made_is_made_of_what_is_read_anew(
    tmp_path: Path, what: str
) -> None:
    """Sent again as it was it would undo what staff did in between."""
    async with space(tmp_path, what) as at:
        made = await at.qomon.create(ADA, at.forms)
        at.pauses.append(lambda: at.staff(id=made.id, phone="5"))
        seen = await at.qomon.replace(made.id, with_mobile("8"), at.forms)
        assert (seen.mobile, seen.phone) == ("8", "5")
        assert await at.routes() == ["create", "get", "replace", "get", "replace", "get"]


async def test_a_replacement_refused_for_its_pace_is_made_of_what_is_read_anew(tmp_path: Path) -> None:
    """A 429 may last for minutes."""
    what = fault("replace", "status", status=429, retry_after="0")
    async with space(tmp_path, what) as at:
        made = await at.qomon.create(ADA, at.forms)
        assert (await at.qomon.replace(made.id, with_mobile("8"), at.forms)).mobile == "8"
        assert await at.routes() == ["create", "get", "replace", "get", "replace", "get"]


async def test_a_replacement_in_doubt_is_told_as_such_though_the_last_attempt_never_left() -> None:
    respond, requests = answering(one(), None)
    async with raw_server(respond) as port, client(port) as qomon:
        with pytest.raises(TransientError) as caught:
            await qomon.replace(7, with_mobile("8"), Forms())
    assert caught.value.sent
    assert len(requests) == 5


async def test_a_replacement_of_which_only_reads_left_has_written_nothing() -> None:
    respond, _ = answering(None)
    async with raw_server(respond) as port, client(port) as qomon:
        with pytest.raises(TransientError) as caught:
            await qomon.replace(7, with_mobile("8"), Forms())
    assert not caught.value.sent


async def test_a_replacement_whose_last_read_fails_has_been_written() -> None:
    respond, requests = answering(one(), one(mobile="8"), None)
    async with raw_server(respond) as port, client(port) as qomon:
        with pytest.raises(TransientError) as caught:
            await qomon.replace(7, with_mobile("8"), Forms())
    assert caught.value.sent
    assert len(requests) == 6


async def test_a_refused_replacement_is_not_repeated(tmp_path: Path) -> None:
    async with space(tmp_path, fault("replace", "status", status=422)) as at:
        made = await at.qomon.create(ADA, at.forms)
        with pytest.raises(RejectedError):
            await at.qomon.replace(made.id, with_mobile("8"), at.forms)
        assert await at.routes() == ["create", "get", "replace"]


# --- delete


async def test_a_contact_is_deleted_once_and_then_there_is_none() -> None:
    async with space() as at:
        made = await at.qomon.create(ADA, at.forms)
        assert await at.qomon.delete(made.id) is True
        assert await at.qomon.contact(made.id) is None
        assert await at.qomon.delete(made.id) is False


@pytest.mark.parametrize("kind", ["reset_after", "reset_before"])
async def test_a_deletion_without_an_answer_is_repeated_and_was_ours(tmp_path: Path, kind: str) -> None:
    async with space(tmp_path, fault("delete", kind)) as at:
        made = await at.qomon.create(ADA, at.forms)
        assert await at.qomon.delete(made.id) is True
        assert await at.raw.contacts() == []
        assert await at.routes() == ["create", "delete", "delete"]


async def test_a_deletion_refused_for_its_pace_is_no_unknown_result() -> None:
    respond, requests = answering(reply("429 Too Many", more="Retry-After: 0\r\n"), GONE)
    async with (
        raw_server(respond) as port,
        QomonClient(KEY, base_url=f"http://127.0.0.1:{port}", rate=1e5) as qomon,
    ):
        assert await qomon.delete(7) is False
    assert len(requests) == 2


@pytest.mark.parametrize("status", ["200 OK", "202 Accepted", "204 No Content"])
async def test_every_yes_to_a_deletion_is_a_yes(status: str) -> None:
    respond, _ = answering(reply(status))
    async with raw_server(respond) as port, client(port) as qomon:
        assert await qomon.delete(7) is True


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (reply("200 OK", b"<html>log in</html>", "text/html"), ProtocolError),
        (reply("200 OK", b'{"status":"fail"}'), ProtocolError),
        (reply("302 Found", more="Location: http://127.0.0.1:9/\r\n"), ProtocolError),
        (reply("201 Created"), ProtocolError),
        (reply("405 Method Not Allowed"), ProtocolError),
        (reply("409 Conflict"), RejectedError),
        (reply("403 Forbidden"), UnauthorizedError),
    ],
)
async def test_anything_else_is_no_deletion(answer: bytes, error: type[Exception]) -> None:
    respond, requests = answering(answer)
    async with raw_server(respond) as port, client(port) as qomon:
        with pytest.raises(error):
            await qomon.delete(7)
    assert len(requests) == 1


async def test_a_write_names_a_contact_that_there_can_be() -> None:
    async with client(closed_port()) as qomon:
        for number in (0, -1):
            with pytest.raises(ValueError, match="positive"):
                await qomon.delete(number)
            with pytest.raises(ValueError, match="positive"):
                await qomon.replace(number, with_mobile("8"), Forms())


# --- what they cost


@pytest.mark.parametrize("route", ["create", "replace", "delete"])
async def test_a_dear_route_is_paid_dear_from_its_first_request(route: str) -> None:
    """Taken for one token it would be refused as soon as one is there, and again, and again."""
    options: dict[str, Any] = {"burst": 8, "rate": 40, "unlimited": False, "retry_after": "0"}
    async with space(**options, costs={"delete": 5}) as at:
        await at.staff(surname=SURNAME)
        for _ in range(8):
            await at.qomon.contact(1)
        if route == "create":
            await at.qomon.create(ADA, at.forms)
        elif route == "replace":
            await at.qomon.replace(1, with_mobile("8"), at.forms)
        else:
            await at.qomon.delete(1)
        assert at.qomon.budget.throttled == 0


async def test_what_a_deletion_costs_is_learned_from_its_answer() -> None:
    async with space(burst=100, unlimited=False) as at:
        await at.qomon.delete(1)
        assert at.qomon.budget.tokens == 7  # six lists of forms, and the deletion for one
        assert at.qomon._open_paying.cost("delete") == 1


async def test_a_route_whose_cost_is_never_told_stays_as_dear_as_it_was_taken_for() -> None:
    respond, _ = answering(reply("200 OK"))
    async with raw_server(respond) as port, client(port) as qomon:
        await qomon.delete(7)
        assert qomon._open_paying.cost("delete") == 5


async def test_half_an_hour_of_429_ends_a_write(tmp_path: Path) -> None:
    now = 0.0

    def later() -> float:
        nonlocal now
        now += 1000.0
        return now

    respond, _ = answering(reply("429 Too Many", more="Retry-After: 0\r\n"))
    async with (
        raw_server(respond) as port,
        QomonClient(
            KEY,
            base_url=f"http://127.0.0.1:{port}",
            rate=1e5,
            clock=Clock(sleep=no_wait, monotonic=later),
        ) as qomon,
    ):
        with pytest.raises(RateLimitedError):
            await qomon.delete(7)
        with pytest.raises(RateLimitedError) as caught:
            await qomon.replace(7, with_mobile("8"), Forms())
    assert not caught.value.sent
