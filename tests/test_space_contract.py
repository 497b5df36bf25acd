"""What the client relies on, asked of a space: the sandbox always, a real test space when one is given.

A real one is asked when QOMON_API_KEY holds its key and SYNCENGINE_LIVE=1 says that throw-away contacts may
be written there (QOMON_BASE_URL for another region). They are deleted at the end. Whatever fails there and
not in the sandbox is a fault of the sandbox.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from syncengine.errors import RejectedError, UnauthorizedError
from syncengine.qomon import EVERYBODY, Answer, Contact, Form, Forms, Note, QomonClient, Query, where
from syncengine.qomon.address import DEFAULT_URL
from syncengine.qomon.query import server_time
from syncengine.sandbox import Sandbox, SandboxOptions

IS_LIVE = bool(os.environ.get("QOMON_API_KEY")) and os.environ.get("SYNCENGINE_LIVE") == "1"
SEEN_WITHIN = {"sandbox": 10.0, "live": 60.0}
"""Seconds: what the field polls for in a live space is a minute (about 2 s is usual)."""


@dataclass
class Ground:
    """The space under test, and what was put there."""

    qomon: QomonClient
    base_url: str
    pause: float
    patience: float
    created: set[int] = field(default_factory=set)
    token: str = field(default_factory=lambda: uuid.uuid4().hex[:12])

    def person(self, name: str, **more: Any) -> Contact:
        """Return a contact nobody else is."""
        return Contact(
            firstname="Contract",
            surname=f"Z{self.token}{name}",
            mail=f"{self.token}.{name}@contract.example",
            **more,
        )

    async def write(self, contact: Contact) -> Contact:
        """Upsert a new contact and wait until it is seen."""
        await self.qomon.upsert(contact)
        assert contact.mail is not None
        return await self.seen(contact.mail)

    async def create(self, contact: Contact, forms: Forms | None = None) -> Contact:
        """Create a contact at once."""
        made = await self.qomon.create(contact, forms or Forms())
        self.created.add(made.id)
        return made

    async def seen(self, mail: str, is_so: Callable[[Contact], bool] = lambda _: True) -> Contact:
        """Wait until the search shows a contact of this mail that is so."""
        found = await self._seen(mail, is_so)
        assert found is not None, "not seen in time"
        return found

    async def _seen(self, mail: str, is_so: Callable[[Contact], bool]) -> Contact | None:
        async with asyncio.timeout(self.patience):
            while True:
                for contact in await self.qomon.page(by_mail(mail)):
                    self.created.add(contact.id)
                    if is_so(contact):
                        return contact
                await asyncio.sleep(self.pause)

    async def settled(self) -> None:
        """Wait until whatever was sent before has been applied, or dropped: a later one is seen."""
        await self.write(self.person(f"later{uuid.uuid4().hex[:6]}"))


def by_mail(mail: str) -> Query:
    return Query.all(where("mail").eql_strict(mail))


@pytest.fixture(params=["sandbox", "live"])
async def ground(request: pytest.FixtureRequest) -> AsyncIterator[Ground]:
    if request.param == "sandbox":
        options = SandboxOptions(unlimited=True, lag=0.05, search_lag=0.05, contacts=30)
        async with (
            Sandbox(options) as server,
            QomonClient(server.api_key, base_url=server.base_url) as qomon,
        ):
            yield Ground(qomon, server.base_url, 0.02, SEEN_WITHIN["sandbox"])
        return
    if not IS_LIVE:
        pytest.skip("not run: needs QOMON_API_KEY and SYNCENGINE_LIVE=1")
    base_url = os.environ.get("QOMON_BASE_URL", DEFAULT_URL)
    async with QomonClient(os.environ["QOMON_API_KEY"], base_url=base_url, share=0.5) as qomon:
        live = Ground(qomon, base_url, 2.0, SEEN_WITHIN["live"])
        try:
            yield live
        finally:
            await clear(live)


async def clear(live: Ground) -> None:
    """Delete whoever was put there, seen or not."""
    qomon = live.qomon
    await asyncio.sleep(2 * live.pause)
    for contact in await qomon.page(Query.all(where("surname").start_with(f"Z{live.token}"))):
        live.created.add(contact.id)
    for number in live.created:
        await qomon.delete(number)


async def test_an_upsert_is_seen_with_what_was_sent(ground: Ground) -> None:
    sent = ground.person("a", mobile="+33600000000", address={"city": "Lyon", "postalcode": "69003"})
    seen = await ground.write(sent)
    assert seen.id > 0
    assert seen.group_id is not None
    assert (seen.firstname, seen.surname, seen.mail) == (sent.firstname, sent.surname, sent.mail)
    assert (seen.address["city"], seen.address["postalcode"]) == ("Lyon", "69003")
    assert seen.updated_at is not None
    assert abs(datetime.now(UTC) - seen.updated_at) < timedelta(minutes=10)


async def test_both_reads_show_the_same_contact(ground: Ground) -> None:
    found = await ground.write(ground.person("a", mobile="+33600000000"))
    alone = await ground.qomon.contact(found.id)
    assert alone is not None
    assert (alone.id, alone.mail, alone.surname, alone.mobile) == (
        found.id, found.mail, found.surname, found.mobile,
    )  # fmt: skip
    assert alone.group_id == found.group_id


async def test_an_upsert_by_id_keeps_what_it_does_not_name_and_moves_updated_at_alone(ground: Ground) -> None:
    before = await ground.write(ground.person("a", mobile="+33600000000", address={"city": "Lyon"}))
    assert before.mail is not None
    await ground.qomon.upsert(Contact(id=before.id, mobile="+33611111111"))
    after = await ground.seen(before.mail, lambda contact: contact.mobile == "+33611111111")
    assert (after.id, after.firstname, after.surname) == (before.id, before.firstname, before.surname)
    assert after.address["city"] == "Lyon"
    assert after.updated_at is not None
    assert before.updated_at is not None
    assert after.updated_at > before.updated_at
    assert after.last_change == before.last_change


async def test_the_same_mail_and_names_are_the_same_contact(ground: Ground) -> None:
    before = await ground.write(ground.person("a"))
    assert before.mail is not None
    await ground.qomon.upsert(ground.person("a", mobile="+33611111111"))
    after = await ground.seen(before.mail, lambda contact: contact.mobile == "+33611111111")
    assert after.id == before.id
    assert await ground.qomon.count(by_mail(before.mail)) == 1


async def test_an_unknown_form_drops_the_whole_contact_in_silence(ground: Ground) -> None:
    before = await ground.write(ground.person("a", mobile="+33600000000"))
    answer = Answer(kind="custom_fields", form=f"No such form {ground.token}", value="x")
    await ground.qomon.upsert(Contact(id=before.id, mobile="+33611111111", answers=(answer,)))
    await ground.settled()
    after = await ground.qomon.contact(before.id)
    assert after is not None
    assert after.mobile == "+33600000000"


async def test_an_unknown_option_drops_the_whole_contact_in_silence(ground: Ground) -> None:
    form = a_choice(await ground.qomon.forms())
    before = await ground.write(ground.person("a", mobile="+33600000000"))
    answer = Answer(kind=form.kind, form=form.id, value=f"no such option {ground.token}")
    await ground.qomon.upsert(Contact(id=before.id, mobile="+33611111111", answers=(answer,)))
    await ground.settled()
    after = await ground.qomon.contact(before.id)
    assert after is not None
    assert after.mobile == "+33600000000"


@pytest.mark.parametrize("spelled", ["value", "label"])
async def test_an_option_is_taken_by_value_and_by_label(ground: Ground, spelled: str) -> None:
    forms = await ground.qomon.forms()
    form = a_choice(forms)
    option = form.options[0]
    answer = Answer(kind=form.kind, form=form.id, value=option.value if spelled == "value" else option.label)
    seen = await ground.write(ground.person("a", answers=(answer,)))
    (told,) = decoded(seen, forms, form)
    assert (told.kind, told.label, told.value) == (form.kind, form.label, option.label)


async def test_a_single_choice_is_replaced(ground: Ground) -> None:
    forms = await ground.qomon.forms()
    form = a_choice(forms)
    first, second = form.options[:2]
    chosen = Answer(kind=form.kind, form=form.id, value=first.value)
    before = await ground.write(ground.person("a", answers=(chosen,)))
    await ground.qomon.upsert(Contact(id=before.id, answers=(replace(chosen, value=second.value),)))
    assert before.mail is not None
    after = await ground.seen(
        before.mail, lambda contact: [told.value for told in decoded(contact, forms, form)] != [first.label]
    )
    assert [told.value for told in decoded(after, forms, form)] == [second.label]


def a_choice(forms: Forms) -> Form:
    """Return a form of one choice among several; skips when the space has none."""
    found = next(
        (form for form in forms if form.widget in {"radio", "select"} and len(form.options) > 1), None
    )
    if found is None:
        pytest.skip("not run: needs a form with a single choice in the space")
    return found


def decoded(contact: Contact, forms: Forms, form: Form) -> list[Answer]:
    from syncengine.qomon.forms import decode  # noqa: PLC0415

    return [answer for answer in decode(contact.answers, forms) if answer.form == form.id]


async def test_a_dead_id_is_dropped_not_created(ground: Ground) -> None:
    mobile = f"+336{int(ground.token[:6], 16) % 10**8:08}"
    await ground.qomon.upsert(Contact(id=2**53 - 1, mobile=mobile))
    await ground.settled()
    assert await ground.qomon.page(Query.all(where("mobile").eql_strict(mobile))) == []
    assert await ground.qomon.contact(2**53 - 1) is None


async def test_a_created_contact_is_told_with_its_id_and_read_at_once(ground: Ground) -> None:
    sent = ground.person(
        "a",
        mobile="+33600000000",
        birthdate="1987-03-05T00:00:00Z",
        birthcity="Lyon",
        black_list=True,
        address={"city": "Lyon", "postalcode": "69003"},
        notes=(Note("a note", pinned=True),),
    )
    made = await ground.create(sent)
    alone = await ground.qomon.contact(made.id)
    assert alone is not None
    for contact in (made, alone):
        assert contact.id == made.id > 0
        for name in ("firstname", "surname", "mail", "birthdate", "birthcity", "black_list"):
            assert getattr(contact, name) == getattr(sent, name), name
        assert (contact.address["city"], contact.address["postalcode"]) == ("Lyon", "69003")
        assert [(note.content, note.pinned) for note in contact.notes] == [("a note", True)]
    assert alone.group_id is not None


async def test_who_is_created_twice_is_there_twice(ground: Ground) -> None:
    person = ground.person("a")
    first, second = await ground.create(person), await ground.create(person)
    assert first.id != second.id
    assert (await ground.qomon.contact(first.id)) is not None


async def test_answers_of_a_created_contact_are_those_that_were_given(ground: Ground) -> None:
    forms = await ground.qomon.forms()
    form = a_choice(forms)
    sent = [Answer(form.kind, form.id, form.options[1].label)]
    text = next((each for each in forms if each.widget == "text" and each.options), None)
    if text is not None:
        sent.append(Answer(text.kind, text.id, "as told"))
    made = await ground.create(ground.person("a", answers=tuple(sent)), forms)
    alone = await ground.qomon.contact(made.id)
    assert alone is not None
    for contact in (made, alone):
        assert [answer.value for answer in decoded(contact, forms, form)] == [form.options[1].label]
        if text is not None:
            assert [answer.value for answer in decoded(contact, forms, text)] == ["as told"]


async def test_a_replacement_changes_what_is_said_and_renews_the_answers(ground: Ground) -> None:
    forms = await ground.qomon.forms()
    form = a_choice(forms)
    sent = ground.person(
        "a",
        mobile="+33600000000",
        birthcity="Lyon",
        address={"city": "Lyon", "street": "rue Verte"},
        notes=(Note("a note"),),
        answers=(Answer(form.kind, form.id, form.options[0].value),),
        more={"phone_invalid": True},
    )
    made = await ground.create(sent, forms)
    seen = await ground.qomon.replace(
        made.id, lambda contact: replace(contact, mobile="+33611111111", birthcity=None), forms
    )
    assert (seen.id, seen.mobile, seen.birthcity) == (made.id, "+33611111111", None)
    assert (seen.surname, seen.mail, seen.address["city"], seen.address["street"]) == (
        made.surname, made.mail, "Lyon", "rue Verte",
    )  # fmt: skip
    assert [note.content for note in seen.notes] == ["a note"]
    assert seen.more.get("phone_invalid") is True
    before, after = decoded(made, forms, form), decoded(seen, forms, form)
    assert [answer.value for answer in before] == [answer.value for answer in after]
    assert not {answer.id for answer in before} & {answer.id for answer in after}
    assert made.updated_at is not None
    assert seen.updated_at is not None
    assert seen.updated_at > made.updated_at


async def test_a_replacement_with_an_answer_less_takes_it_away(ground: Ground) -> None:
    forms = await ground.qomon.forms()
    form = a_choice(forms)
    answers = (Answer(form.kind, form.id, form.options[0].value),)
    made = await ground.create(ground.person("a", answers=answers), forms)
    seen = await ground.qomon.replace(made.id, lambda contact: replace(contact, answers=()), forms)
    assert decoded(seen, forms, form) == []
    assert seen.surname == made.surname


async def test_a_replacement_of_nobody_is_told_as_such(ground: Ground) -> None:
    with pytest.raises(RejectedError) as caught:
        await ground.qomon.replace(2**53 - 1, lambda contact: replace(contact, mobile="7"), Forms())
    assert caught.value.status == 404


async def test_what_the_endpoints_do_not_know_is_refused(ground: Ground) -> None:
    contact = {"surname": f"Z{ground.token}unknown", "no_such_member": "x"}
    body = orjson.dumps({"data": {"contact": contact}})
    reply = await ground.qomon.wire.send("POST", "/contacts", body)
    assert reply.status in {400, 422}


async def test_a_deleted_contact_is_gone_and_so_is_its_id(ground: Ground) -> None:
    made = await ground.create(ground.person("a"))
    assert await ground.qomon.delete(made.id) is True
    assert await ground.qomon.contact(made.id) is None
    assert await ground.qomon.delete(made.id) is False
    await ground.qomon.upsert(Contact(id=made.id, mobile="+33611111111"))
    await ground.settled()
    assert await ground.qomon.contact(made.id) is None


async def test_writes_at_once_are_seen_by_the_search_as_well(ground: Ground) -> None:
    made = await ground.create(ground.person("a", mobile="+33600000000"))
    assert made.mail is not None
    assert (await ground.seen(made.mail)).id == made.id
    await ground.qomon.replace(made.id, lambda contact: replace(contact, mobile="+33611111111"), Forms())
    await ground.seen(made.mail, lambda contact: contact.mobile == "+33611111111")
    assert await ground.qomon.delete(made.id)
    async with asyncio.timeout(ground.patience):
        while True:
            if not await ground.qomon.page(by_mail(made.mail)):
                break
            await asyncio.sleep(ground.pause)


async def test_a_write_at_once_costs_five_tokens(ground: Ground) -> None:
    made = await ground.create(ground.person("a"))
    budget = ground.qomon.budget
    assert (budget.requests, budget.tokens) == (1, 5)
    await ground.qomon.replace(made.id, lambda contact: replace(contact, mobile="+33611111111"), Forms())
    assert (budget.requests, budget.tokens) == (4, 12)


async def test_eql_finds_beginnings_of_words_and_strict_only_the_same(ground: Ground) -> None:
    seen = await ground.write(ground.person("whole"))
    assert seen.surname is not None
    beginning = seen.surname[:-3]
    surname = where("surname")
    assert [c.id for c in await ground.qomon.page(Query.all(surname.eql(beginning.lower())))] == [seen.id]
    assert await ground.qomon.page(Query.all(surname.eql_strict(beginning))) == []
    assert await ground.qomon.page(Query.all(surname.eql_strict(seen.surname.lower()))) == []
    assert [c.id for c in await ground.qomon.page(Query.all(surname.eql_strict(seen.surname)))] == [seen.id]


async def test_date_mathematics_find_what_was_just_written(ground: Ground) -> None:
    seen = await ground.write(ground.person("a"))
    assert seen.mail is not None
    mail = where("mail").eql_strict(seen.mail)
    updated = where("UpdatedAt")
    for moment, is_found in (("now-1h", True), ("now-1d/d", True), ("now+1h", False)):
        found = await ground.qomon.page(Query.all(mail, updated.gte(server_time(moment))))
        assert bool(found) is is_found, moment


async def test_nobody_is_an_empty_page_and_counts_as_none(ground: Ground) -> None:
    nobody = by_mail(f"nobody.{ground.token}@contract.example")
    assert await ground.qomon.page(nobody) == []
    assert await ground.qomon.count(nobody) == 0
    assert [contact async for contact in ground.qomon.search(nobody)] == []


async def test_pages_are_counted_from_nought(ground: Ground) -> None:
    for name in ("a", "b", "c"):
        await ground.write(ground.person(name))
    mine = Query.all(where("surname").start_with(f"Z{ground.token}"))
    pages = [await ground.qomon.page(mine, page=n, per_page=1, sort="surname") for n in range(4)]
    assert [len(page) for page in pages] == [1, 1, 1, 0]
    names = [contact.surname for page in pages for contact in page]
    assert names == sorted(str(name) for name in names)
    assert await ground.qomon.count(mine) == 3


async def test_the_sweep_meets_everybody_once(ground: Ground) -> None:
    since = datetime.now(UTC) - timedelta(minutes=5)
    for name in ("a", "b", "c"):
        await ground.write(ground.person(name))
    met = [contact.id async for contact in ground.qomon.search(EVERYBODY, since=since)]
    assert ground.created <= set(met)
    assert len(met) == len(set(met))


async def test_a_bare_condition_is_refused_with_its_place(ground: Ground) -> None:
    bare = {"$condition": {"attr": "mail", "ope": "eql", "value": "x"}}
    asked = {"data": {"advanced_search": {"query": {"$all": [bare]}, "per_page": 1}}}
    reply = await ground.qomon.wire.send("POST", "/search", orjson.dumps(asked))
    assert reply.status == 422
    with pytest.raises(RejectedError) as caught:
        await ground.qomon.page(Query.all(where("mail").eql("x")), sort="no such attribute")
    assert caught.value.status == 422


async def test_forms_of_all_types_are_listed_and_one_alone_is_the_same(ground: Ground) -> None:
    forms = await ground.qomon.forms()
    for form in list(forms)[:2]:
        alone = await ground.qomon.form(form.id)
        assert alone is not None
        assert (alone.id, alone.label, alone.options) == (form.id, form.label, form.options)
    assert await ground.qomon.form(2**53 - 1) is None


async def test_every_answer_tells_of_the_bucket(ground: Ground) -> None:
    await ground.qomon.page(per_page=1)
    budget = ground.qomon.budget
    assert budget.remaining is not None
    assert (budget.requests, budget.tokens) == (1, 1)
    assert budget.burst > 1
    assert ground.qomon.clock_difference is not None


async def test_a_wrong_key_is_refused(ground: Ground) -> None:
    async with QomonClient("no-key-of-anybody", base_url=ground.base_url) as stranger:
        with pytest.raises(UnauthorizedError) as caught:
            await stranger.page(per_page=1)
    assert caught.value.status in {401, 403}
