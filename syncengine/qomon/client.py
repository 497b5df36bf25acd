"""A client for a Qomon space: one contact in, contacts, counts and forms out, at the pace Qomon allows.

Every request pays the one budget of its key, reads and writes alike, and what the answers' headers say leads
it. A read that got no answer is repeated; an upsert only when nothing of it can have been processed.

Errors are those of `syncengine.errors`, each with `status`, `title`, `detail` and `errors` by place:
UnauthorizedError (401, 403), RejectedError (400, 409, 413, 422), RateLimitedError (429, after half an hour
of them), TransientError (no answer, 408, 425, 5xx, after four attempts), ProtocolError (redirects, HTML,
anything the API does not answer). Their str and repr hold neither the key nor a person's values.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from random import Random
from types import TracebackType
from typing import Any, Self, TypeVar

import orjson
from pydantic import SecretStr

from syncengine.budget import MOST, Budget
from syncengine.clock import Clock
from syncengine.destination import UPSERT
from syncengine.errors import ProtocolError, RateHeaders
from syncengine.paying import Answered, Paying
from syncengine.qomon.address import DEFAULT_URL, read_base_url, read_proxy
from syncengine.qomon.contact import Contact
from syncengine.qomon.destination import post_upsert
from syncengine.qomon.forms import KINDS, Form, Forms
from syncengine.qomon.query import EVERYBODY, Query
from syncengine.qomon.reading import (
    contact_from_get,
    contacts_from_search,
    form_from_get,
    forms_from_list,
    total_from_kpi,
)
from syncengine.qomon.sweep import PAGE_CAP, sweep
from syncengine.qomon.wire import READ_CAP, Reply, Wire, content_of
from syncengine.qomon.writing import upsert_document
from syncengine.retry import again

T = TypeVar("T")
P = TypeVar("P", bound=Answered)


@dataclass(frozen=True, slots=True)
class Read:
    """A read's answer: its JSON object, None for a 404, and what it told of the bucket."""

    content: dict[str, Any] | None = field(repr=False)
    rate: RateHeaders


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
        key = api_key if isinstance(api_key, SecretStr) else SecretStr(api_key)
        if not re.fullmatch(r"[\x21-\x7e]+", key.get_secret_value()):
            raise ValueError(
                "the API key is empty or holds characters that no header can carry; copy it again"
            )
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

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._paying = None
        await self._stack.__aexit__(exc_type, exc, traceback)

    @property
    def budget(self) -> Budget:
        """What the headers told of the bucket, and what the requests cost so far. Only while open."""
        return self._open_paying.budget

    # --- writing -----------------------------------------------------------------------------------------

    async def upsert(self, contact: Contact) -> None:
        """POST /contacts/upsert: create or update one contact. 1 token (observed).

        Returns on 202: queued. Qomon applies it about 2 s later (observed), or drops it whole, without a
        trace, when it names a form, label, option, field or id the space does not have: only a read tells.
        Fields left out are kept (observed). Matching: id; else mail and given names; else surname, first
        name, birthdate and address; else a new contact, whose id is not told.

        Repeated by itself only after a 429 and when nothing left us. TransientError with `sent` says that the
        contact may have been taken: sent again at once it could become a twin unless it carries its id.
        Raises ValueError, before anything is sent, for what Qomon would refuse or drop.
        Sources: Qomon API reference, "Upsert a contact"; observations by TrellisCommons/qomon-automations.
        """
        body = orjson.dumps(upsert_document(contact))

        async def send() -> Reply:
            return self._heard(await post_upsert(self.wire, body))

        await again(
            lambda: self._pay(UPSERT, send),
            clock=self._clock,
            random=self._random,
            may_repeat=lambda error: not error.sent,
        )

    # --- reading -----------------------------------------------------------------------------------------

    async def contact(self, contact_id: int) -> Contact | None:
        """GET /contacts/{id}: one contact, None when there is none (any more). 1 token (observed).

        Soft-deleted answers are left out; answers name forms by id until decoded with `qomon.decode`.
        Raises ValueError for an id below 1, else the errors of this module.
        Source: Qomon API reference, "Find a contact by id" (`{status, data: {contact}}`; a preview shows a
        flat spelling, which is read as well).
        """
        read = await self._read("get", "GET", f"/contacts/{_positive(contact_id)}", may_miss=True)
        return None if read.content is None else _understood("get", contact_from_get, read.content)

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
        return _understood("search", contacts_from_search, read.content)

    def search(
        self, query: Query = EVERYBODY, *, since: datetime | None = None, until: datetime | None = None
    ) -> AsyncGenerator[Contact, None]:
        """POST /search: everybody who matches, each once, also while others edit them. 1 token per page.

        Reads in windows of UpdatedAt, each whole in one page; see `qomon.sweep` for why nobody is missed.
        `since`, `until`: only who was updated from the one to the other, both aware. Costs 1.5 to 2.5 tokens
        per 1,000 contacts, more in unlucky cases that `qomon.sweep` names. Memory: one page of contacts and 8
        bytes for each id. Each contact is as it was at some moment during the search. Raises as `page`.
        Source: Qomon guides, "Search" and "API polling".
        """
        return sweep(self.page, query, since=since, until=until, per_page=PAGE_CAP)

    async def count(self, query: Query = EVERYBODY) -> int:
        """POST /kpi: how many contacts match. Cost not documented, probably 1 token. Lags as the search does.

        Raises RejectedError (422) for a query Qomon does not take, else the errors of this module.
        Source: Qomon guide, "Search": `{"data": {"total": n}, "status": "success"}`.
        """
        asked = {"data": {"advanced_search": {"query": query.as_json()}}}
        return _understood("kpi", total_from_kpi, (await self._read("kpi", "POST", "/kpi", asked)).content)

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
            found += _understood("forms", partial(forms_from_list, form_type=name), read.content)
        return Forms(found)

    async def form(self, form_id: int) -> Form | None:
        """GET /forms/{id}: one form, None when there is none. Cost not documented, probably 1 token.

        Its type is not told: `Form.kind` is empty. Raises as `contact`. Source: Qomon guide, "Forms";
        `data.form` as read by a Parsons fork.
        """
        read = await self._read("form", "GET", f"/forms/{_positive(form_id)}", may_miss=True)
        return None if read.content is None else _understood("form", form_from_get, read.content)

    # --- inside ------------------------------------------------------------------------------------------

    async def _read(
        self, route: str, method: str, path: str, body: object = None, *, may_miss: bool = False
    ) -> Read:
        """Send a read until it is answered. `may_miss`: a 404 means that there is no such thing."""
        sent = None if body is None else orjson.dumps(body)

        async def send() -> Read:
            reply = self._heard(await self.wire.send(method, path, sent, most=READ_CAP))
            is_missing = may_miss and reply.status == 404 and "json" in reply.content_type.lower()
            return Read(None if is_missing else content_of(reply, route), reply.rate)

        return await again(lambda: self._pay(route, send), clock=self._clock, random=self._random)

    async def _pay(self, route: str, send: Callable[[], Awaitable[P]]) -> P:
        """Send when a connection is free and paid for, in this order: what is paid for leaves at once."""
        paying = self._open_paying
        async with self._slots:
            return await paying.send(route, send)

    @property
    def _open_paying(self) -> Paying:
        if self._paying is None:
            raise RuntimeError("the client is not open: use it inside `async with QomonClient(…) as qomon:`")
        return self._paying

    def _heard(self, reply: Reply) -> Reply:
        """Note how far our clock is ahead of the server's, in seconds; its Date is whole seconds."""
        if reply.date is not None:
            now = datetime.fromtimestamp(self._clock.wall(), UTC)
            self.clock_difference = (now - reply.date).total_seconds()
        return reply


def _positive(number: int) -> int:
    if number < 1:
        raise ValueError("ids are positive whole numbers")
    return number


def _understood(route: str, read: Callable[[object], T], content: object) -> T:
    """Return what `read` makes of an answer; what it cannot read is not the API we know."""
    try:
        return read(content)
    except ValueError as error:
        message = f"the {route} route answered something unexpected: {error}"
    raise ProtocolError(message, status=200)
