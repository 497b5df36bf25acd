"""Asks a space something for a command: bounded in time, and its errors in words for whoever waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from syncengine.config import Settings
from syncengine.errors import TransientError, UnauthorizedError
from syncengine.qomon.address import REGIONS
from syncengine.space import client_of

if TYPE_CHECKING:
    from syncengine.qomon import QomonClient

SECONDS = 60.0
"""Somebody waits for the answer: longer than a full bucket needs, shorter than an outage."""

NETWORK = "check the network, [destination] base_url, and proxy if this network needs one"

T = TypeVar("T")


def ask(settings: Settings, work: Callable[[QomonClient], Awaitable[T]]) -> T:
    """Open the configured space and do `work` with its client.

    Raises ConfigError without a key, and DestinationError with what to do.
    """
    return asyncio.run(_ask(settings, work))


async def _ask(settings: Settings, work: Callable[[QomonClient], Awaitable[T]]) -> T:
    try:
        async with patience(SECONDS), client_of(settings, settings.api_key()) as client:
            return await work(client)
    except UnauthorizedError as error:
        told, remedy = key_refused(settings, error)
        raise UnauthorizedError(f"{told}; {remedy}", status=error.status) from None
    except TransientError as error:
        where = settings.destination.base_url
        raise TransientError(f"{where}: {error}; {NETWORK}", status=error.status, sent=error.sent) from None


@asynccontextmanager
async def patience(seconds: float) -> AsyncIterator[None]:
    """Raise TransientError when the block takes longer."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise TransientError(f"no answer within {seconds:g} s", sent=True) from None


def place_of_key(settings: Settings) -> str:
    """Say where the API key comes from. Somebody may have put the key itself there: then it is not named."""
    wanted = settings.destination
    if wanted.api_key_file is not None:
        return str(wanted.api_key_file)
    name = wanted.api_key_env
    return f"the environment variable {name}" if name.isupper() else "the variable api_key_env names"


def key_refused(settings: Settings, error: UnauthorizedError) -> tuple[str, str]:
    """Return what a 401 or 403 means, and what to do."""
    told = f"Qomon refused the API key (HTTP {error.status}); it comes from {place_of_key(settings)}"
    remedy = "check in the space's settings that the key is valid"
    others = [url for url in REGIONS if url != settings.destination.base_url]
    if settings.destination.base_url in REGIONS:
        remedy += f"; a space of the other region answers at {', '.join(others)} ([destination] base_url)"
    return told, remedy
