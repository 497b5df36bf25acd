"""A Qomon space as the engine reads it: whoever is looked up is found, for few tokens, and nobody else."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from test_engine_answers import raw_server, read_request
from test_sandbox_client import Client

from syncengine.budget import Budget
from syncengine.clock import Clock
from syncengine.config import Settings
from syncengine.identity import identify
from syncengine.paying import Paying
from syncengine.qomon.client import QomonClient
from syncengine.qomon.forms import KINDS, Form, Forms, Option, forms_from_json, forms_to_json
from syncengine.qomon.seeing import fits
from syncengine.qomon.space import CHUNK, CONTACTS, REFUSALS, QomonSpace
from syncengine.sandbox import Sandbox, SandboxOptions
from syncengine.sandbox.unknowns import Unknowns
from syncengine.seen import KeptForms, Seen, Wanted
from syncengine.space import open_space

pytestmark = pytest.mark.usefixtures("no_leaks")

Content = dict[str, Any]


class Ground:
    """A sandbox, a client and the space under test."""

    def __init__(self, server: Sandbox, qomon: QomonClient) -> None:
        self.raw = Client(server.base_url, server.api_key)
        self.qomon = qomon
        self.space = QomonSpace(qomon)
        self._paid = 0

    async def put(self, *people: Content) -> list[int]:
        """Have staff create these; return their ids."""
        reply = await self.raw.send("POST", "/_sandbox/contacts", {"contacts": people})
        assert reply.status == 200, reply
        return list(reply.content["ids"])

    def paid(self) -> int:
        """Return the requests since it was last asked."""
        requests, self._paid = self.qomon.budget.requests - self._paid, self.qomon.budget.requests
        return requests

    async def found(self, *wanted: Content | int) -> list[int]:
        """Look up by contents or ids; return the ids seen, sorted. Nobody may be seen twice."""
        looked = await self.space.look_up([_wanted(one) for one in wanted])
        assert not looked.refused
        ids = sorted(one.id for one in looked.seen)
        assert len(ids) == len(set(ids))
        return ids

    async def refused(self) -> int:
        """Return how many searches were refused so far."""
        return sum(entry["status"] == 422 for entry in await self.raw.history())


def _wanted(one: Content | int) -> Wanted:
    return Wanted(one, {}) if isinstance(one, int) else Wanted(None, one)


@asynccontextmanager
async def ground(**options: Any) -> AsyncIterator[Ground]:
    given_ = SandboxOptions(**{"unlimited": True, "lag": 0.0, "search_lag": 0.0} | options)
    async with (
        Sandbox(given_) as server,
        QomonClient(server.api_key, base_url=server.base_url) as qomon,
    ):
        yield Ground(server, qomon)


def person(number: int, **fields: Any) -> Content:
    content = {"firstname": f"Vor{number}", "surname": f"Nach{number}", "mail": f"p{number}@canary.example"}
    return {name: value for name, value in (content | fields).items() if value is not None}


def people(count: int, **fields: Any) -> list[Content]:
    return [person(number, **fields) for number in range(count)]


# --- finding


async def test_an_id_is_found_whatever_else_changed() -> None:
    async with ground() as g:
        first, second, _ = await g.put(*people(3))
        assert await g.found(second, first) == [first, second]
        seen, _ = await g.space.look_up([Wanted(second, person(7))])
        assert [(one.id, one.mail) for one in seen] == [(second, "p1@canary.example")]


async def test_an_id_that_is_gone_is_not_looked_for_otherwise() -> None:
    async with ground() as g:
        (first,) = await g.put(person(1))
        g.paid()
        assert await g.space.look_up([Wanted(first + 100, person(1))]) == ([], {})
        assert g.paid() == 1


async def test_a_mail_is_found_in_another_case() -> None:
    async with ground() as g:
        ids = await g.put(person(1), person(2, mail="P2@Canary.Example"), person(3))
        assert await g.found(person(1), person(2)) == ids[:2]
        assert await g.found(person(1, mail="P1@CANARY.example")) == ids[:1]


async def test_names_find_whoever_has_no_mail_or_another() -> None:
    async with ground() as g:
        plain, cased, moved = await g.put(
            person(1, mail=None),
            person(2, surname="NACH2", firstname="vor2", mail=None),
            person(3, mail="new@canary.example"),
        )
        assert await g.found(person(1, mail=None)) == [plain]
        assert await g.found(person(2, mail=None)) == [cased]
        assert await g.found(person(3)) == [moved]
        assert await g.found(*people(4)) == sorted([plain, cased, moved])


async def test_everybody_with_a_mail_that_is_wanted_is_returned_whatever_the_names() -> None:
    """Staff may have changed the names meanwhile; who it is, is for others to say."""
    async with ground() as g:
        await g.put(person(1, mail="other@canary.example"))
        ids = await g.put(
            person(1, mail="family@canary.example"),
            person(2, mail="family@canary.example"),
            {"mail": "family@canary.example"},
        )
        assert await g.found(person(1, mail="family@canary.example")) == ids
        assert await g.found(person(3, mail="FAMILY@canary.example")) == ids


async def test_words_that_begin_alike_find_others_and_they_are_left_out() -> None:
    async with ground() as g:
        await g.put(person(11), person(12))
        (meant,) = await g.put(person(1, mail="P1@canary.example"))
        assert await g.found(person(1)) == [meant]
        assert await g.found({"surname": "Nach", "firstname": "Vor"}) == []


async def test_all_twins_are_returned() -> None:
    async with ground() as g:
        twins = await g.put(person(1), person(1))
        assert await g.found(person(1)) == twins


async def test_two_who_want_the_same_contact_are_given_it_once() -> None:
    async with ground() as g:
        ids = await g.put(person(1))
        assert await g.found(person(1), person(1), ids[0]) == ids


async def test_a_namesake_found_for_another_does_not_end_the_search_for_a_mail() -> None:
    """The namesake fits by names; the contact with the mail is found by its words only."""
    async with ground() as g:
        meant, namesake = await g.put(
            person(1, mail="ANNA@canary.example"), person(1, mail="other@canary.example")
        )
        found = await g.found(person(1, mail="anna@canary.example"), person(1, mail="other@canary.example"))
        assert found == sorted([meant, namesake])


async def test_without_mail_and_surname_a_first_name_and_numbers_find_whoever_has_neither() -> None:
    async with ground() as g:
        first, _, number, _ = await g.put(
            {"firstname": "Vor1", "phone": "1"},
            {"firstname": "Vor1", "phone": "2"},
            {"mobile": "3"},
            person(1, phone="1", mobile="3"),
        )
        assert await g.found({"firstname": "Vor1", "phone": "1"}) == [first]
        assert await g.found({"mobile": "3"}) == [number]


async def test_who_cannot_be_asked_for_costs_nothing() -> None:
    async with ground() as g:
        await g.put(person(1))
        g.paid()
        assert await g.found({}, {"birthcity": "Lyon"}, {"tags": [{"name": "x"}]}) == []
        assert await g.found() == []
        assert g.paid() == 0


mails = st.sampled_from([None, "a@x.example", "A@X.example", "b@x.example", "a@x.example.org"])
names = st.sampled_from([None, "Ann", "ann", "ANNA", "Bo"])
days = st.sampled_from([None, "1980-01-01T00:00:00Z", "1990-01-01T00:00:00Z"])
contents = st.builds(
    lambda **fields: {name: value for name, value in fields.items() if value is not None},
    mail=mails,
    surname=names,
    firstname=names,
    birthdate=days,
)


@given(
    there=st.lists(contents, max_size=8),
    wanted=st.lists(st.tuples(st.booleans(), contents), min_size=1, max_size=6),
    conditions=st.sampled_from([1_000, 4]),
)
@settings(derandomize=True, deadline=None, max_examples=200)
async def test_somebody_who_fits_is_found_when_there_is_anybody_and_nobody_who_does_not(
    there: list[Content], wanted: list[tuple[bool, Content]], conditions: int
) -> None:
    async with ground(unknowns=Unknowns(search_conditions=conditions)) as g:
        ids = await g.put(*there)
        asked = [
            Wanted(ids[number % len(ids)] if ids and by_id else None, content)
            for number, (by_id, content) in enumerate(wanted)
        ]
        seen, refused = await g.space.look_up(asked)
        everybody = [one async for page in g.space.updated(None, 4e9) for one in page]
        assert sorted(one.id for one in everybody) == sorted(ids)
    assert refused == {}
    assert len({one.id for one in seen}) == len(seen)
    known = {one.id for one in asked}
    sought = {mail for one in asked if (mail := identify(one.content).mail)}
    bare = {one.content.get("firstname", "").lower() for one in asked if not any(identify(one.content)[1:])}
    for one in seen:
        is_known = one.id in known or one.mail in sought or (one.mail == one.name == "" and one.given in bare)
        assert is_known or any(fits(other.content, one.contact) for other in asked)
    for each in asked:
        _check_found(each, seen, everybody)


def _check_found(one: Wanted, seen: Sequence[Seen], everybody: Sequence[Seen]) -> None:
    if one.id is not None:
        assert one.id in {other.id for other in seen}
        return
    mail = identify(one.content).mail
    fitting = {other.id for other in everybody if fits(one.content, other.contact)}
    by_mail = {other.id for other in everybody if other.id in fitting and mail and other.mail == mail}
    found = {other.id for other in seen}
    assert not fitting or fitting & found
    assert not by_mail or by_mail & found


# --- what it costs


async def test_five_hundred_cost_ten_searches_by_mail_or_by_id_or_by_names() -> None:
    async with ground() as g:
        ids = await g.put(*people(500))
        for wanted in (people(500), ids, people(500, mail=None)):
            g.paid()
            assert await g.found(*wanted) == ids
            assert g.paid() == 500 // CONTACTS == 10
        assert g.qomon.budget.tokens == g.qomon.budget.requests


async def test_the_few_who_are_not_found_at_once_cost_a_search_more_each_time() -> None:
    async with ground() as g:
        ids = await g.put(
            *people(480),
            *(person(n, mail=f"P{n}@Canary.example") for n in range(480, 490)),
            *(person(n, mail=f"new{n}@canary.example") for n in range(490, 500)),
        )
        g.paid()
        assert await g.found(*people(510)) == ids  # ten of them are nowhere
        assert g.paid() == 11 + 1 + 1


async def test_a_search_refused_for_its_size_is_halved_for_good() -> None:
    async with ground(unknowns=Unknowns(search_conditions=20)) as g:
        ids = await g.put(*people(100))
        assert await g.found(*people(100)) == ids
        assert await g.refused() == 2  # with 50 conditions, and with 25
        g.paid()
        assert await g.found(*people(100, mail=None)) == ids
        assert await g.found(*ids) == ids
        assert await g.refused() == 2
        assert g.paid() <= 100 // 5 + 100 // 10 + 12


async def test_whoever_can_be_asked_for_in_no_way_is_told_and_the_others_are_found() -> None:
    async with ground(unknowns=Unknowns(search_conditions=1)) as g:
        ids = await g.put(*people(3))
        nameless = person(1, mail=None)  # by two names, and no search may have two conditions
        wanted = [Wanted(None, content) for content in (person(0), nameless, person(2))]
        looked = await g.space.look_up(wanted)
        assert (sorted(one.id for one in looked.seen), list(looked.refused)) == ([ids[0], ids[2]], [1])
        assert looked.refused[1].startswith("HTTP 422")


async def test_a_search_too_wide_to_be_shown_is_divided_and_only_that_one() -> None:
    async with ground() as g:
        crowd = [{"mail": f"info.{n}@wide.example", "surname": f"Breit{n}"} for n in range(1_100)]
        few = [person(n, mail=f"P{n}@canary.example") for n in range(50)]
        # In one instant, as the pages of the crowd cost by how it is spread; on the first page there is no
        # room for the few, whatever its order.
        ids = (await g.put(*crowd, *few, *crowd))[len(crowd) : len(crowd) + len(few)]
        wide = {"mail": "INFO@wide.example", "surname": "Niemand"}
        g.paid()
        bare = [{"mail": f"p{n}@canary.example"} for n in range(49)]
        assert await g.found(*bare[:30], wide, *bare[30:]) == ids[:49]
        assert g.paid() <= 1 + (1 + 2 * 6) + 12 + 1  # twelve for all the pages of the wide one
        assert await g.found(*(person(n, mail=f"P{n}@canary.example") for n in range(50))) == ids
        assert g.paid() == 1  # as many at a time as before


async def test_one_contact_among_more_homonyms_than_a_page_shows_is_found() -> None:
    async with ground() as g:
        one = {"surname": "Martin", "firstname": "Jean", "birthdate": "1990-01-02T00:00:00Z"}
        crowd = [one | {"birthdate": "1980-01-02T00:00:00Z"} for _ in range(1_100)]
        # In one instant, see below; on the first page there is no room for the one, whatever its order.
        meant = (await g.put(*crowd, one, *crowd))[len(crowd) : len(crowd) + 1]
        g.paid()
        assert await g.found(one) == meant
        assert g.paid() <= 1 + 12


@asynccontextmanager
async def refusing(raw: Client, marks: Sequence[bytes]) -> AsyncIterator[int]:
    """Serve the same space, but searches with one of these marks in them are refused. Yields the port."""
    refusal = orjson.dumps({"title": "Unprocessable Entity", "status": 422})

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await read_request(reader)
            if request.startswith(b"POST /search") and any(mark in request for mark in marks):
                status, headers, body = 422, {"content-type": "application/problem+json"}, refusal
            else:
                reply = await raw.raw(request)
                status, headers, body = reply.status, dict(reply.headers), reply.body
            headers["content-length"] = str(len(body))
            head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            writer.write(f"HTTP/1.1 {status} Any\r\n{head}\r\n".encode() + body)

    async with raw_server(respond) as port:
        yield port


@asynccontextmanager
async def refused_ground(*marks: bytes) -> AsyncIterator[tuple[Ground, QomonClient]]:
    """Yield a ground, and a client whose searches with one of these marks in them are refused."""
    async with (
        ground() as g,
        refusing(g.raw, marks) as port,
        QomonClient(g.raw.key, base_url=f"http://127.0.0.1:{port}", rate=1e4, burst=1e4) as qomon,
    ):
        yield g, qomon


async def test_a_value_that_no_search_takes_ends_the_look_up_of_nobody() -> None:
    """One mail is refused in every way, one whole contact too, among a hundred others."""
    async with refused_ground(b"p7@canary", b"p60@canary", b"Nach60") as (g, qomon):
        space = QomonSpace(qomon)
        ids = await g.put(*people(100))
        looked = await space.look_up([Wanted(None, content) for content in people(100)])
        assert sorted(one.id for one in looked.seen) == ids[:60] + ids[61:]  # the first one by the names
        assert looked.refused == {60: "HTTP 422"}
        paid = qomon.budget.requests
        others = [Wanted(None, content) for n, content in enumerate(people(100)) if n not in (7, 60)]
        assert len((await space.look_up(others)).seen) == 98
        assert qomon.budget.requests - paid == 2  # as many at a time as before: it was not for their number


async def test_a_question_that_is_refused_for_everybody_is_given_up_for_a_few_requests() -> None:
    async with refused_ground(b'"attr":"mail"', b"Nach1") as (g, qomon):
        space = QomonSpace(qomon)
        ids = await g.put(*people(100))
        wanted = [Wanted(None, content) for content in people(100)]
        looked = await space.look_up(wanted)
        named = {n for n in range(100) if not str(n).startswith("1")}
        assert {one.id for one in looked.seen} == {ids[n] for n in named}
        assert looked.refused.keys() == set(range(100)) - named
        first = qomon.budget.requests
        await space.look_up(wanted[2:10])
        assert qomon.budget.requests - first == 1  # nobody is asked for by mail any more
        assert first <= 2 * (REFUSALS + 16) + 2 * 50


async def test_a_space_that_knows_no_ids_in_searches_is_asked_by_mail_and_names() -> None:
    async with refused_ground(b'"attr":"id"') as (g, qomon):
        space = QomonSpace(qomon)
        ids = await g.put(*people(100))
        wanted = [Wanted(id_, content) for id_, content in zip(ids, people(100), strict=True)]
        looked = await space.look_up(wanted)
        assert (sorted(one.id for one in looked.seen), looked.refused) == (ids, {})
        first = qomon.budget.requests
        assert sorted(one.id for one in (await space.look_up(wanted)).seen) == ids
        assert (first, qomon.budget.requests - first) == (6 + 2, 2)  # six in vain, of 50 down to 1
        assert await space.look_up([Wanted(ids[0], {})]) == ([], {0: "HTTP 422"})
        seen = await space.get(ids[0])
        assert seen is not None


async def test_without_ids_a_contact_that_fits_is_not_taken_for_the_one_with_the_id() -> None:
    async with refused_ground(b'"attr":"id"') as (g, qomon):
        meant, twin = await g.put(person(1, mail="new@canary.example"), person(1))
        found = await QomonSpace(qomon).look_up([Wanted(meant, person(1))])
        assert sorted(one.id for one in found.seen) == [meant, twin]


# --- everybody updated between two times


async def test_everybody_updated_comes_once_in_chunks_with_mail_and_names_as_they_are_stored() -> None:
    async with ground() as g:
        told = [
            *people(CHUNK + 40),
            {"mail": " Zoé@Canary.example "},
            {"surname": "de la Cruz", "firstname": "ÉLOÏSE"},
            {"firstname": "Nobody"},
            {"phone": "1"},
        ]
        ids = await g.put(*told)
        pages = [page async for page in g.space.updated(None, datetime.now(UTC).timestamp())]
        assert [len(page) for page in pages] == [CHUNK, len(told) - CHUNK]
        seen = {one.id: one for page in pages for one in page}
        assert sorted(seen) == ids
        for id_, content in zip(ids, told, strict=True):
            assert (seen[id_].mail, seen[id_].name) == identify(content)[1:]
            created, updated = seen[id_].created, seen[id_].updated
            assert created is not None
            assert updated is not None
            assert abs(datetime.now(UTC).timestamp() - updated) < 60
            assert created <= updated


async def test_between_two_times_only_who_was_updated_then_is_read() -> None:
    async with ground() as g:
        ids = await g.put(*people(3))
        seen = {one.id: one.updated or 0.0 async for page in g.space.updated(None, 4e9) for one in page}
        now = max(seen.values())
        assert [page async for page in g.space.updated(now + 10, now + 20)] == []
        assert [page async for page in g.space.updated(now - 20, now - 10)] == []
        page = [one.id async for page in g.space.updated(now - 10, now) for one in page]
        assert sorted(page) == ids
        assert [page async for page in g.space.updated(now, now - 30)] == []


async def test_one_contact_is_read_alone_and_none_when_there_is_none() -> None:
    async with ground() as g:
        (id_,) = await g.put(person(1))
        (found,) = (await g.space.look_up([Wanted(id_, {})])).seen
        seen = await g.space.get(id_)
        assert seen is not None
        assert (seen.id, seen.mail, seen.name) == (found.id, found.mail, found.name)
        assert (seen.created, seen.updated) == (found.created, found.updated)
        assert await g.space.get(id_ + 1) is None


async def test_contacts_are_counted() -> None:
    async with ground() as g:
        assert await g.space.count() == 0
        await g.put(*people(7))
        assert await g.space.count() == 7


async def test_the_clocks_difference_is_none_before_it_was_heard() -> None:
    async with (
        Sandbox(SandboxOptions(unlimited=True)) as server,
        QomonClient(
            server.api_key,
            base_url=server.base_url,
            clock=Clock(wall=lambda: datetime.now(UTC).timestamp() + 3_600),
        ) as qomon,
    ):
        space = QomonSpace(qomon)
        assert space.clock_difference == 0
        await space.count()
        assert 3_599 <= space.clock_difference <= 3_602


# --- forms


async def test_forms_are_read_for_six_tokens_and_mean_the_same_when_kept() -> None:
    wrong = {"consents": [{"label": "Newsletter", "value": "mail"}]}
    right = {"consents": [{"label": "Newsletter", "value": "By e-mail"}]}
    async with ground() as g:
        assert g.space.faults(right) != []  # nothing is known yet
        kept = await g.space.read_forms()
        assert g.qomon.budget.tokens == len(KINDS) == 6
        assert g.space.faults(right) == []
        (fault,) = g.space.faults(wrong)
        assert fault.reason.endswith("has no such option (its options: By e-mail, Refusal)")
        later = QomonSpace(g.qomon)
        later.use_forms(kept)
        assert later.faults(wrong) == [fault]
        assert later.faults(right) == []
        assert await later.read_forms() == kept


async def test_faults_go_by_the_forms_last_read() -> None:
    content = {"consents": [{"label": "Newsletter", "value": "By e-mail"}]}
    async with ground() as g:
        kept = await g.space.read_forms()
        assert g.space.faults(content) == []
        form = (await g.qomon.forms("consent")).find("consents", "Newsletter")
        order = {"act": "rename_option", "form_id": form.id, "option_id": form.options[0].id}
        reply = await g.raw.send("POST", "/_sandbox/staff", order | {"label": "Mails"})
        assert reply.status == 200
        again = await g.space.read_forms()
        assert again.fingerprint != kept.fingerprint
        assert len(g.space.faults(content)) == 1


texts = st.text(st.characters(blacklist_categories=()), max_size=12)
ids = st.integers(1, 2**53)
options = st.builds(Option, ids, texts, texts)
forms = st.builds(
    Form,
    ids,
    texts,
    st.sampled_from(["", "unheard of", *KINDS]),
    st.sampled_from(["", "radio", "checkbox", "text", "slider"]),
    st.lists(options, max_size=4).map(tuple),
)


@given(st.lists(forms, max_size=5))
@settings(derandomize=True, deadline=None)
def test_kept_forms_are_the_forms(some: list[Form]) -> None:
    given_ = Forms(some)
    kept = forms_from_json(forms_to_json(given_))
    assert list(kept) == list(given_)
    assert kept.fingerprint == given_.fingerprint


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[",
        b"null",
        b"7",
        b'"text"',
        b'{"id": 7}',
        b"[1]",
        b'[{"id": 7}]',
        b"[[]]",
        b'[{"id": 7, "label": "x", "type": "", "widget": "", "options": [[1, "a"], 2]}]',
    ],
)
def test_forms_that_cannot_be_read_are_refused(content: bytes) -> None:
    space = QomonSpace(QomonClient("any"))
    with pytest.raises(ValueError, match=r"^the kept forms cannot be read$"):
        space.use_forms(KeptForms(b"x", content))


# --- what a content means


async def test_what_is_ignored_is_not_compared_and_what_several_answers_mean_goes_by_the_forms() -> None:
    async with ground() as g:
        await g.space.read_forms()
        sent = person(1, phone="1", custom_fields=[{"label": "Languages", "value": "French"}])
        await g.put(person(1, phone="2", custom_fields=[{"label": "Languages", "value": "fr"}]))
        (seen,) = (await g.space.look_up([Wanted(None, sent)])).seen
        assert g.space.fits(sent, seen)
        assert not g.space.fits(person(2), seen)
        assert [one.field for one in g.space.differences(sent, seen)] == ["phone"]
        blind = QomonSpace(g.qomon, ignore=["phone"])
        assert blind.differences({"phone": "1"}, seen) == []
        now = {"custom_fields": [{"label": "Languages", "value": "en"}]}
        before = {"custom_fields": [{"label": "Languages", "value": "fr"}]}
        both = g.space.merged(before, now)["custom_fields"]
        assert {entry["value"] for entry in both} == {"fr", "en"}
        assert g.space.kept(before, now) == before


async def test_the_configured_space_is_opened_beside_whoever_pays_the_same_budget() -> None:
    async with Sandbox(SandboxOptions(unlimited=True, contacts=3)) as server:
        table = {
            "state": {"path": "state.db"},
            "destination": {"base_url": server.base_url, "api_key_env": "KEY"},
            "verify": {"ignore": ["phone"]},
        }
        wanted = Settings.from_mapping(table, environ={})
        async with Budget(rate=1e4, burst=1e4) as budget:
            opening = open_space(
                wanted,
                SecretStr(server.api_key),
                Paying(budget),
                clock=Clock(),
                random=random.Random(1),
            )
            async with opening as space:
                assert await space.count() == 3
                (seen,) = [one async for page in space.updated(None, 4e9) for one in page][:1]
                assert space.differences({"phone": "no number of anybody"}, seen) == []
            assert budget.requests == 2
