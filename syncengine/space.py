"""The space the settings name: a client for it, and whether it is the one the state file belongs to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random

from pydantic import SecretStr

from syncengine.clock import Clock
from syncengine.config import Settings
from syncengine.errors import ProtocolError, RejectedError, TransientError, UnauthorizedError
from syncengine.paying import Paying
from syncengine.qomon.client import QomonClient
from syncengine.qomon.destination import QomonDestination, ReadForms
from syncengine.qomon.space import QomonSpace
from syncengine.qomon.wire import Wire

__all__ = ["ReadForms", "check_space", "client_of", "open_destination", "open_space", "seen_group"]

UNNEEDED_SECONDS = 30.0
"""How long a night waits for a read that can be done another night."""


@asynccontextmanager
async def open_destination(
    settings: Settings, key: SecretStr, *, forms: ReadForms | None = None
) -> AsyncIterator[QomonDestination]:
    """Open the configured space for sending, for as many requests at a time as there are workers.

    `forms`: where the space, opened with the same, puts its forms.
    """
    wanted = settings.destination
    async with Wire(
        wanted.base_url,
        key,
        in_flight=settings.run.in_flight,
        timeout=settings.run.timeout,
        proxy=wanted.proxy or None,
    ) as wire:
        yield QomonDestination(wire, forms)


def client_of(
    settings: Settings,
    key: SecretStr,
    *,
    paying: Paying | None = None,
    clock: Clock | None = None,
    random: Random | None = None,
) -> QomonClient:
    """Return a client for the configured space, to be opened; `paying`: somebody else's budget to share."""
    wanted = settings.destination
    return QomonClient(
        key,
        base_url=wanted.base_url,
        timeout=settings.run.timeout,
        rate=wanted.rate,
        burst=wanted.burst,
        share=wanted.share,
        proxy=wanted.proxy or None,
        paying=paying,
        clock=clock,
        random=random,
    )


@asynccontextmanager
async def open_space(
    settings: Settings,
    key: SecretStr,
    paying: Paying,
    *,
    clock: Clock,
    random: Random,
    forms: ReadForms | None = None,
) -> AsyncIterator[QomonSpace]:
    """Open the configured space for reading, beside whoever else pays the same budget.

    `forms`: where whoever sends finds its forms.
    """
    async with client_of(settings, key, paying=paying, clock=clock, random=random) as client:
        yield QomonSpace(client, ignore=settings.verify.ignore, read=forms)


async def seen_group(client: QomonClient) -> int | None:
    """Return the space's `group_id` as a contact shows it, None while the space is empty.

    One page of one contact: POST /search, 1 token.
    """
    return next((contact.group_id for contact in await client.page(per_page=1)), None)


async def check_space(
    settings: Settings,
    key: SecretStr,
    bind: Callable[[int | None], Awaitable[None]],
    paying: Paying,
    *,
    clock: Clock,
    random: Random,
    is_needed: bool,
) -> None:
    """Read which group the key opens and give it to `bind`, which raises ConfigError when it is another one.

    A read that fails, or takes long, matters only when the proof `is_needed`; a 401 always does.
    """
    try:
        async with (
            asyncio.timeout(None if is_needed else UNNEEDED_SECONDS),
            client_of(settings, key, paying=paying, clock=clock, random=random) as client,
        ):
            group_id = await seen_group(client)
    except (RejectedError, ProtocolError, TransientError, TimeoutError):
        if is_needed:
            raise
        return  # it can be shown another night
    except UnauthorizedError as error:
        if is_needed or error.status != 403:
            raise
        return  # a key that may write and not search: whether it is good the first upsert shows
    await bind(group_id)
