"""Looks at the configured space for `syncengine doctor`: a few reads, and all that their answers told.

What was learned before something went wrong is kept; the error is part of the finding.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from pydantic import SecretStr

from syncengine.budget import Budget
from syncengine.cli.asking import patience
from syncengine.config import Settings
from syncengine.errors import NO_HEADERS, DestinationError, RateHeaders
from syncengine.paying import FIRST_GUESS, Answered, Paying
from syncengine.qomon.forms import Forms
from syncengine.space import client_of, seen_group

SECONDS = 12.0
"""For all reads together: a dead host is found out while somebody waits."""
REQUEST_SECONDS = 5.0

T = TypeVar("T", bound=Answered)


@dataclass(slots=True)
class Look:
    """What a space showed. `group_id` is None too while the space is empty.

    `is_open`: a page of contacts was read, so the key is valid. `error`: what ended the look early.
    `clock_difference`: seconds that our clock is ahead.
    """

    is_open: bool = False
    group_id: int | None = None
    forms: Forms | None = None
    heard: RateHeaders = NO_HEADERS
    clock_difference: float | None = None
    requests: int = 0
    tokens: float = 0
    throttled: int = 0
    error: DestinationError | None = None


class Listening(Paying):
    """Pays, and keeps what the last answer told of the bucket, or the last attempt's error."""

    heard = NO_HEADERS
    failed: DestinationError | None = None

    async def send(self, route: str, request: Callable[[], Awaitable[T]], *, guess: float = FIRST_GUESS) -> T:
        """Pay, then send, and listen to the answer, whatever it is."""

        async def ask() -> T:
            try:
                answer = await request()
            except DestinationError as error:
                self.heard, self.failed = error.rate, error
                raise
            self.heard, self.failed = answer.rate, None
            return answer

        return await super().send(route, ask, guess=guess)


async def look(settings: Settings, key: SecretStr, *, seconds: float = SECONDS) -> Look:
    """Read one contact and all forms: 7 requests of one token each (observed), in so many seconds at most."""
    found = Look()
    wanted = settings.destination
    run = settings.run.model_copy(update={"timeout": min(settings.run.timeout, REQUEST_SECONDS)})
    async with Budget(rate=wanted.rate, burst=wanted.burst, share=wanted.share) as budget:
        paying = Listening(budget)
        client = client_of(settings.model_copy(update={"run": run}), key, paying=paying)
        try:
            async with patience(seconds), client:
                found.group_id = await seen_group(client)
                found.is_open = True
                found.forms = await client.forms()
        except DestinationError as error:
            found.error = paying.failed or error  # when patience ends, the last attempt tells why
        found.heard, found.clock_difference = paying.heard, client.clock_difference
        found.requests, found.tokens, found.throttled = budget.requests, budget.tokens, budget.throttled
    return found
