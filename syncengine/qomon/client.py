"""A client for a Qomon space: one contact in, contacts, counts and forms out, at the pace Qomon allows.

Every request pays the one budget of its key, reads and writes alike, and what the answers' headers say leads
it. A read that got no answer is repeated; an upsert and a creation only when nothing of it can have been
processed; a replacement only after another read.

Errors are those of `syncengine.errors`, each with `status`, `title`, `detail` and `errors` by place:
UnauthorizedError (401, 403), RejectedError (400, 409, 413, 422), RateLimitedError (429, after half an hour
of them), TransientError (no answer, 408, 425, 5xx, after four attempts), ProtocolError (redirects, HTML,
anything the API does not answer). Their str and repr hold neither the key nor a person's values.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import Any, Self, TypeVar

import orjson
from pydantic import SecretStr

from syncengine.budget import MOST, Budget
from syncengine.clock import Clock
from syncengine.destination import CREATE, UPSERT
from syncengine.errors import RejectedError, TransientError
from syncengine.paying import FIRST_GUESS, Answered, Paying
from syncengine.qomon import routes
from syncengine.qomon.address import DEFAULT_URL, read_base_url, read_proxy
from syncengine.qomon.contact import Contact
from syncengine.qomon.destination import post_upsert
from syncengine.qomon.documents import ContactChange, changed_document, create_document
from syncengine.qomon.forms import KINDS, Form, Forms, decode
from syncengine.qomon.query import EVERYBODY, Query
from syncengine.qomon.reading import (
    contact_from_get,
    contacts_from_search,
    form_from_get,
    forms_from_list,
    total_from_kpi,
)
from syncengine.qomon.sweep import PAGE_CAP, sweep
from syncengine.qomon.wire import READ_CAP, Read, Reply, Wire, content_of, read_key, understood
from syncengine.qomon.writing import upsert_document
from syncengine.retry import again

T = TypeVar("T")
P = TypeVar("P", bound=Answered)


class QomonClient:
    """One space, opened by one key. Open it as an async context.

    `api_key`: from the environment or a file, never from a command line. `base_url`: the space's region
    (`qomon.address.REGIONS`); plain http only to this machine. `in_flight` requests may be open at once,
    `timeout` seconds each. `rate` and `burst` in tokens pace until the headers say otherwise; `share` of them
    is ours when another program uses the key. `proxy`: `http://host:port`; those of the environment are never
    used. `paying`: pay the budget of somebody who sends with the same key, whose rate, burst and share count.

    Raises ValueError for an unusable address, key or number.
    """

    def __init__(
        self,
        api_key: str | SecretStr,
        *,
        base_url: str = DEFAULT_URL,
        in_flight: int = 4,
        timeout: float = 30.0,
        rate: float = 10.0,
        burst: float = 100.0,
        share: float = 1.0,
        proxy: str | None = None,
        paying: Paying | None = None,
        clock: Clock | None = None,
        random: Random | None = None,
    ) -> None:
        key = read_key(api_key)
        if in_flight < 1 or not 0 < timeout <= 600:
            raise ValueError("in_flight is at least 1, and timeout more than 0 and at most 600 seconds")
        if not (0 < rate <= MOST and 1 <= burst <= MOST and 0 < share <= 1):
            raise ValueError("rate is more than 0, burst at least 1, share more than 0 and at most 1")
        base_url = read_base_url(base_url)
        self.wire = Wire(
            base_url,
            key,
            in_flight=in_flight,
            timeout=timeout,
            proxy=read_proxy(proxy, base_url) if proxy else None,
        )
        self._in_flight = in_flight
        self._pace = (rate, burst, share)
        self._shared = paying
        self._paying: Paying | None = None
        self._clock = clock or Clock()
        self._random = random or Random()  # noqa: S311 - jitter
        self._stack = AsyncExitStack()
        self.clock_difference: float | None = None

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.wire)
            self._slots = asyncio.Semaphore(self._in_flight)
            if self._shared is None:
                rate, burst, share = self._pace
                budget = Budget(rate=rate, burst=burst, share=share)
                self._paying = Paying(await stack.enter_async_context(budget))
            else:
                self._paying = self._shared
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._paying = None
        await self._stack.aclose()

    @property
    def budget(self) -> Budget:
        """What the headers told of the bucket, and what the requests cost so far. Only while open."""
        return self._open_paying.budget

    # --- writing -----------------------------------------------------------------------------------------

    async def upsert(self, contact: Contact, *, proven: Collection[str] = ()) -> None:
        """POST /contacts/upsert: create or update one contact. 1 token (observed).

        Returns on 202: queued. Qomon applies it about 2 s later (observed), or drops it whole, without a
        trace, when it names a form, label, option, field or id the space does not have: only a read tells.
        Fields left out are kept (observed). Matching: id; else mail and given names; else surname, first
        name, birthdate and address; else a new contact, whose id is not told.

        Repeated by itself only after a 429 and when nothing left us. TransientError with `sent` says that the
        contact may have been taken: sent again at once it could become a twin unless it carries its id.
        `proven`: see `writing.upsert_document`. Raises ValueError, before anything is sent, for what Qomon
        would refuse or drop.
        Sources: Qomon API reference, "Upsert a contact"; observations by TrellisCommons/qomon-automations.
        """
        body = orjson.dumps(upsert_document(contact, proven=proven))
        await self._again(UPSERT, lambda: self._hear(post_upsert(self.wire, body)), may_repeat=_never_left)

    async def create(self, contact: Contact, forms: Forms, *, proven: Collection[str] = ()) -> Contact:
        """POST /contacts: create a contact and return it with its id, answers decoded. 5 tokens (documented).

        Nothing is matched: every call makes another contact. Hence repeated by itself only after a 429 and
        when nothing left us. TransientError with `sent` and ProtocolError with status 200 say that it may be
        there, under an id that was not told: look for it (the search lags by seconds) before the next try.

        `forms`, `proven`: see `documents.create_document`. Raises ValueError, before anything is sent, for
        what this endpoint cannot write, else the errors of this module.
        Source: Qomon API reference, "Create a contact".
        """
        document = create_document(contact, forms, proven=proven)

        async def send() -> Read:
            reply = await self._hear(routes.post_contact(self.wire, document))
            return Read(content_of(reply, CREATE), reply.rate)

        read = await self._again(CREATE, send, may_repeat=_never_left)
        return _decoded(understood(CREATE, contact_from_get, read.content), forms)

    async def replace(
        self, contact_id: int, change: ContactChange, forms: Forms, *, proven: Collection[str] = ()
    ) -> Contact:
        """PATCH /contacts/{id}: read a contact, change it, write all of it, return what is there. 7 tokens.

        In spite of the verb a full replace (documented): what is not sent is cleared. So this reads (1
        token), has `change` make of the contact what it should be, writes everything (5) and reads again (1);
        nothing is written when nothing changes. Answers get new ids; those to forms of text, number, date and
        several choices are said to be added to what was there: look at what came back.

        `change` gets the contact with its answers decoded and returns it with changes (dataclasses.replace).
        It may be called several times and must do nothing to what it has changed already: a write without an
        answer, or with 429, is never sent again as it was; the contact is read anew, and written if the
        change is not there. What others change between read and write is lost: no write is conditional.

        `forms`, `proven`: see `documents.replace_document`. Raises ValueError, before anything is written,
        for what cannot be written back and would be cleared; RejectedError with status 404 when there is no
        such contact (any more); TransientError with `sent` when it may have been written; else the errors of
        this module. Source: Qomon API reference, "Update contact by id".
        """
        path = routes.path_to("contacts", contact_id)
        ask = self._asking("get", "GET", path, may_miss=True)
        may_be_written = False

        async def write() -> Contact | None:
            nonlocal may_be_written
            read = await self._pay("get", ask)
            if read.content is None:
                raise RejectedError(routes.NO_SUCH_CONTACT, status=404, rate=read.rate)
            held = understood("get", contact_from_get, read.content)
            document = changed_document(held, change, forms, proven=proven)
            if document is None:
                return held
            try:
                await self._pay(
                    routes.REPLACE, lambda: self._hear(routes.patch_contact(self.wire, path, document))
                )
            except TransientError as error:
                may_be_written |= error.sent
                raise
            may_be_written = True
            return None

        try:
            seen = await again(write, clock=self._clock, random=self._random)
            seen = seen or await self.contact(contact_id)
        except TransientError as error:
            error.sent = may_be_written
            raise
        if seen is None:
            raise RejectedError(routes.NO_SUCH_CONTACT, status=404)
        return _decoded(seen, forms)

    async def delete(self, contact_id: int) -> bool:
        """DELETE /contacts/{id}: delete a contact for good. Cost not documented, taken for 5 tokens.

        False when there was none. Repeated like a read, as ids are not given again; a 404 that follows an
        unknown result counts as ours. Nothing more is documented, nor what it answers: 200, 202 and 204 are a
        yes. Raises as `contact`. Source: Qomon API reference, its list of pages.
        """
        path = routes.path_to("contacts", contact_id)
        may_be_deleted = False

        async def send() -> Reply:
            nonlocal may_be_deleted
            try:
                return await self._hear(routes.delete_contact(self.wire, path))
            except TransientError as error:
                may_be_deleted |= error.sent
                raise

        reply = await self._again(routes.DELETE, send)
        return may_be_deleted or not routes.is_missing(reply)

    # --- reading -----------------------------------------------------------------------------------------

    async def contact(self, contact_id: int) -> Contact | None:
        """GET /contacts/{id}: one contact, None when there is none (any more). 1 token (observed).

        Soft-deleted answers are left out; answers name forms by id until decoded with `qomon.decode`.
        Raises ValueError for an id below 1, else the errors of this module.
        Source: Qomon API reference, "Find a contact by id" (`{status, data: {contact}}`; a preview shows a
        flat spelling, which is read as well).
        """
        read = await self._read("get", "GET", routes.path_to("contacts", contact_id), may_miss=True)
        return None if read.content is None else understood("get", contact_from_get, read.content)

    async def page(
        self, query: Query = EVERYBODY, *, page: int = 0, per_page: int = PAGE_CAP, sort: str | None = None
    ) -> list[Contact]:
        """POST /search: one page of contacts, counted from 0, 1,000 at most. 1 token, about 1 s (observed).

        Pages are offsets into a result that lives: between two of them a contact can appear twice or be
        missed. `search` knows how to read everybody once. There is no total; a page that is not full is the
        last (observed, documentation silent). `sort`: surname, firstname, birthdate, gender, lastchange,
        mail, married_name or city; by UpdatedAt or id Qomon does not sort. The search lags behind writes by
        seconds. Raises RejectedError (422) for a query, a sort or a depth Qomon does not take, ValueError for
        an impossible page, else the errors of this module. Source: Qomon guide, "Search", and observations of
        TrellisCommons/qomon-automations.
        """
        if not 1 <= per_page <= PAGE_CAP or page < 0:
            raise ValueError(f"pages are counted from 0 and hold 1 to {PAGE_CAP} contacts")
        asked: dict[str, Any] = {"query": query.as_json(), "per_page": per_page, "page": page}
        if sort is not None:
            asked |= {"sort_attr": sort, "sort_asc": True}
        read = await self._read("search", "POST", "/search", {"data": {"advanced_search": asked}})
        return understood("search", contacts_from_search, read.content)

    def search(
        self,
        query: Query = EVERYBODY,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        passed: Callable[[datetime], None] | None = None,
        is_many: bool = False,
    ) -> AsyncGenerator[Contact, None]:
        """POST /search: everybody who matches, each once, also while others edit them. 1 token per page.

        Reads in windows of UpdatedAt; see `qomon.sweep` for why nobody is missed.
        `since`, `until`: only who was updated from the one to the other, both aware. `passed` is told a time
        whenever everybody last updated before it has been yielded, to go on from there another day.
        With `is_many` and an `until` that is past it counts, and costs 1.2 to 1.4 tokens per 1,000 contacts
        when there are tens of thousands (5,000: 1.8); otherwise 1.5 to 2.5, more in unlucky cases that
        `qomon.sweep` names.
        Memory: one page of contacts and 8 bytes for each id. Each contact is as it was at some moment during
        the search. Raises as `page`.
        Source: Qomon guides, "Search" and "API polling".
        """
        return sweep(
            self.page,
            query,
            since=since,
            until=until,
            per_page=PAGE_CAP,
            passed=passed,
            count=self.count if is_many else None,
        )

    async def count(self, query: Query = EVERYBODY) -> int:
        """POST /kpi: how many contacts match. Cost not documented, probably 1 token. Lags as the search does.

        Raises RejectedError (422) for a query Qomon does not take, else the errors of this module.
        Source: Qomon guide, "Search": `{"data": {"total": n}, "status": "success"}`.
        """
        asked = {"data": {"advanced_search": {"query": query.as_json()}}}
        return understood("kpi", total_from_kpi, (await self._read("kpi", "POST", "/kpi", asked)).content)

    async def forms(self, *types: str) -> Forms:
        """GET /v1/forms/type/{type}: forms with their options, of these types or all six. 1 token each.

        Types: consent, level_of_support, survey, custom_fields, tasks, presence_status. Staff can rename an
        option at any time, and an upsert that names the old one is dropped without a trace.
        Raises ValueError for another type, else the errors of this module. Source: Qomon guide, "Forms";
        `{status, data: {forms: [...]}}` as observed.
        """
        found: list[Form] = []
        for name in types or KINDS:
            if name not in KINDS:
                raise ValueError(f"{name!r} is no type of form; they are {', '.join(KINDS)}")
            read = await self._read("forms", "GET", f"/v1/forms/type/{name}")
            found += understood("forms", partial(forms_from_list, form_type=name), read.content)
        return Forms(found)

    async def form(self, form_id: int) -> Form | None:
        """GET /forms/{id}: one form, None when there is none. Cost not documented, probably 1 token.

        Its type is not told: `Form.kind` is empty. Raises as `contact`. Source: Qomon guide, "Forms";
        `data.form` as read by a Parsons fork.
        """
        read = await self._read("form", "GET", routes.path_to("forms", form_id), may_miss=True)
        return None if read.content is None else understood("form", form_from_get, read.content)

    # --- inside ------------------------------------------------------------------------------------------

    async def _read(
        self, route: str, method: str, path: str, body: object = None, *, may_miss: bool = False
    ) -> Read:
        """Send a read until it is answered. `may_miss`: a 404 means that there is no such thing."""
        return await self._again(route, self._asking(route, method, path, body, may_miss=may_miss))

    def _asking(
        self, route: str, method: str, path: str, body: object = None, *, may_miss: bool = False
    ) -> Callable[[], Awaitable[Read]]:
        """Return what sends a read once."""
        sent = None if body is None else orjson.dumps(body)

        async def send() -> Read:
            reply = await self._hear(self.wire.send(method, path, sent, most=READ_CAP))
            is_missing = may_miss and routes.is_missing(reply)
            return Read(None if is_missing else content_of(reply, route), reply.rate)

        return send

    async def _again(
        self,
        route: str,
        send: Callable[[], Awaitable[P]],
        may_repeat: Callable[[TransientError], bool] = lambda _error: True,
    ) -> P:
        """Pay and send until there is an answer, as far as it may be repeated."""
        return await again(
            lambda: self._pay(route, send), clock=self._clock, random=self._random, may_repeat=may_repeat
        )

    async def _pay(self, route: str, send: Callable[[], Awaitable[P]]) -> P:
        """Send when a connection is free and paid for, in this order: what is paid for leaves at once."""
        paying = self._open_paying
        async with self._slots:
            return await paying.send(route, send, guess=routes.FIRST_GUESSES.get(route, FIRST_GUESS))

    @property
    def _open_paying(self) -> Paying:
        if self._paying is None:
            raise RuntimeError("the client is not open: use it inside `async with QomonClient(…) as qomon:`")
        return self._paying

    async def _hear(self, answer: Awaitable[Reply]) -> Reply:
        """Note how far our clock is ahead of the server's, in seconds; its Date is whole seconds."""
        reply = await answer
        if reply.date is not None:
            now = datetime.fromtimestamp(self._clock.wall(), UTC)
            self.clock_difference = (now - reply.date).total_seconds()
        return reply


def _decoded(contact: Contact, forms: Forms) -> Contact:
    return replace(contact, answers=decode(contact.answers, forms))


def _never_left(error: TransientError) -> bool:
    return not error.sent
