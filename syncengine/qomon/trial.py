"""Throw-away contacts in a space made for testing: written raw, waited for, and deleted again.

An upsert is asked to do one thing and to leave a mark beside it, so that a read which shows the mark shows
all that became of it. One that never shows is given up only when a control, written after it, is there:
Qomon drops in silence, and applies late. Names are plainly invented and mails end in `.example`; all hold the
token of their trial, by which everybody is found again, whoever made them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from random import Random
from typing import Any, TypeVar

import orjson

from syncengine.clock import Clock
from syncengine.destination import UPSERT
from syncengine.errors import DestinationError
from syncengine.paying import Paying
from syncengine.qomon.client import QomonClient
from syncengine.qomon.contact import Contact
from syncengine.qomon.destination import post_upsert
from syncengine.qomon.forms import Forms
from syncengine.qomon.query import Query, where
from syncengine.qomon.wire import READ_CAP, Reply, check
from syncengine.retry import again

MARK = "married_name"
"""A plain text that no rule of matching looks at."""
PAUSE_GROWTH = 1.5
LONGEST_PAUSE = 2.0
CLEANING_ROUNDS = 5

T = TypeVar("T")


class NotShownError(Exception):
    """A question could not be answered; its text says why."""


class Trial:
    """A round of questions to one space. `begin` first, `clean` last, whatever happened between.

    `token`: lower case letters and digits that nobody's name holds. `deadline` bounds each wait and `pause`
    is the first of its pauses, in seconds. `lag` is how long the first write took until a read showed it;
    `left` are the ids of throw-away contacts that are there still; `control` is one that shows how far Qomon
    has come.
    """

    def __init__(
        self,
        client: QomonClient,
        paying: Paying,
        forms: Forms,
        *,
        token: str,
        clock: Clock,
        deadline: float = 30.0,
        pause: float = 0.25,
    ) -> None:
        self.client = client
        self.forms = forms
        self.token = token
        self.lag = 0.0
        self.left: set[int] = set()
        self.control = 0
        self._paying = paying
        self._clock = clock
        self._deadline = deadline
        self._pause = pause
        self._people = 0
        self._marks = 0
        self._deleted: set[int] = set()

    async def begin(self) -> None:
        """Write the control once and learn the lag. Raises NotShownError when it never shows."""
        self.control = (await self.create(self.person())).id
        began = self.now()
        mark = await self._write_control()
        while not await self._shows_control(mark, self._pause):
            if self.now() - began > self._deadline:
                raise NotShownError(f"nothing that was written showed within {self._deadline:g} s")
        self.lag = self.now() - began

    def now(self) -> float:
        """Return the seconds of a clock that only grows."""
        return self._clock.monotonic()

    def person(self, **fields: Any) -> Contact:
        """Return somebody new, invented, with names and a mail that nobody else has."""
        self._people += 1
        names = {"firstname": "Throwaway", "surname": f"Probe {self.token} {self._people}"}
        mail = f"probe.{self.token}.{self._people}@syncengine.example"
        return Contact(**{**names, "mail": mail, **fields})

    # --- writing -----------------------------------------------------------------------------------------

    async def create(self, contact: Contact) -> Contact:
        """Create a throw-away contact and return it with its id."""
        made = await self.client.create(contact, self.forms)
        self.left.add(made.id)
        return made

    async def delete(self, contact_id: int) -> None:
        """Delete a throw-away contact."""
        await self.client.delete(contact_id)
        self.left.discard(contact_id)
        self._deleted.add(contact_id)

    async def upsert(self, fields: Mapping[str, Any]) -> None:
        """Send an upsert as it is, of whatever it holds. Raises RejectedError when it is refused at once."""
        body = orjson.dumps({"kind": "contact", "data": fields})
        await again(
            lambda: self._paying.send(UPSERT, lambda: post_upsert(self.client.wire, body)),
            clock=self._clock,
            random=Random(),  # noqa: S311 - jitter
            may_repeat=lambda error: not error.sent,
        )

    async def apply(self, fields: Mapping[str, Any], *, on: int) -> Contact | None:
        """Upsert, and return the contact `on` as soon as it shows that; None when it was not touched."""
        mark = self.mark()
        await self.upsert({MARK: mark, **fields})
        return await self.wait(lambda: self.marked(on, mark))

    def mark(self) -> str:
        """Return a text that nobody bears yet."""
        self._marks += 1
        return f"Mark {self.token} {self._marks}"

    # --- reading -----------------------------------------------------------------------------------------

    async def read(self, path: str, *, route: str) -> Reply:
        """GET a path and return the answer as it came."""

        async def send() -> Reply:
            reply = await self.client.wire.send("GET", path, most=READ_CAP)
            check(reply, route, expected=HTTPStatus.OK)
            return reply

        jitter = Random()  # noqa: S311 - no secret
        return await again(lambda: self._paying.send(route, send), clock=self._clock, random=jitter)

    async def marked(self, contact_id: int, mark: str) -> Contact | None:
        """Return a contact when it bears this mark."""
        seen = await self.client.contact(contact_id)
        return seen if seen is not None and seen.married_name == mark else None

    async def everybody(self) -> list[Contact]:
        """Return all throw-away contacts of this trial that a search shows."""
        attributes = where("mail"), where("surname")
        query = Query.any(
            *(attribute.contains(self.token) for attribute in attributes),
            *(attribute.eql(self.token) for attribute in attributes),
        )
        found = await self.client.page(query)
        return [one for one in found if self.token in f"{one.mail} {one.surname}".lower()]

    async def wait(self, look: Callable[[], Awaitable[T | None]], *, by_search: bool = False) -> T | None:
        """Look until something is seen; None when a control written later is, and this not.

        `by_search`: the control must show in a search, which lags more than a read by id. Raises
        NotShownError when neither shows by the deadline.
        """
        began = self.now()
        control, pause = "", self._pause
        while self.now() - began < self._deadline:
            if not control and self.now() - began >= self.lag:
                control = await self._write_control()
            is_over = False
            if control:
                is_over = await self._shows_control(control, pause, by_search=by_search)
            else:
                await self._clock.sleep(pause)
            if is_over:  # what is applied out of order gets as long again
                await self._clock.sleep(max(self.now() - began, self.lag))
            seen = await look()
            if seen is not None or is_over:
                return seen
            pause = min(pause * PAUSE_GROWTH, LONGEST_PAUSE)
        raise NotShownError(f"neither this nor what was written later showed within {self._deadline:g} s")

    async def _write_control(self) -> str:
        mark = self.mark()
        await self.upsert({"id": self.control, MARK: mark})
        return mark

    async def _shows_control(self, mark: str, pause: float, *, by_search: bool = False) -> bool:
        """Pause, and say whether the control bears this mark or one of those written after it."""
        await self._clock.sleep(pause)
        if by_search:
            seen = next((one for one in await self.everybody() if one.id == self.control), None)
        else:
            seen = await self.client.contact(self.control)
        return seen is not None and _number(seen.married_name) >= _number(mark)

    # --- the end -----------------------------------------------------------------------------------------

    async def clean(self) -> None:
        """Delete everybody of this trial, whoever made them; `left` are those that could not be."""
        with suppress(DestinationError, NotShownError):
            if self.control:  # what is still under way shows before this
                await self.wait(_nothing, by_search=True)
        quiet = 0
        for _ in range(CLEANING_ROUNDS):
            with suppress(DestinationError):
                found = {one.id for one in await self.everybody()} - self._deleted
                self.left |= found
                quiet = 0 if found else quiet + 1
            for contact_id in sorted(self.left):
                with suppress(DestinationError):
                    await self.delete(contact_id)
            if quiet > 1:
                return
            await self._clock.sleep(max(self.lag, self._pause))


async def _nothing() -> None:
    return None


def _number(mark: str | None) -> int:
    """Return the place of a mark among all, 0 for another text."""
    last = (mark or "").rpartition(" ")[2]
    return int(last) if last.isdigit() else 0
