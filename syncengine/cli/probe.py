"""`syncengine probe`: finds out what a space made for testing does with what is sent to it."""

from __future__ import annotations

import asyncio
import secrets
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from syncengine.cli.call import Call, with_shared_options
from syncengine.cli.output import Page, say
from syncengine.cli.words import duration, number, plural
from syncengine.errors import ConfigError
from syncengine.model import EXIT_FAILED, SIGNAL_EXITS

if TYPE_CHECKING:
    from pydantic import SecretStr

    from syncengine.config import Settings
    from syncengine.probing import Probed
    from syncengine.qomon import QomonClient
    from syncengine.store.store import Store

MOST_CONTACTS = 300
"""A space with more is taken for one that people work with."""
SIGNALS = {signal.SIGINT: "sigint", signal.SIGTERM: "sigterm"}


@click.command(short_help="Find out what a test space does, with throw-away contacts.")
@click.option("--yes", is_flag=True, help="Do not ask first.")
@click.option(
    "--in-a-full-space",
    is_flag=True,
    help=f"With --yes: go on in a space that holds more than {MOST_CONTACTS} contacts.",
)
@with_shared_options
def probe(call: Call, *, yes: bool, in_a_full_space: bool) -> int:
    """Answer the open questions about Qomon with throw-away contacts, in a space made for testing.

    Are gender and external_id kept? Tags added or replaced? What does an empty text do? The contacts have
    invented names and mails in .example; all are deleted at the end, also when it is interrupted. The answers
    are stored, and what depends on them goes by them. Takes some 300 tokens: half a minute, and the lag.
    """
    settings = call.settings()
    call.refuse_if_locked(settings)

    from syncengine.probing import CONTACTS  # noqa: PLC0415 - not needed for --help

    if not yes:
        if not sys.stdin.isatty() or call.is_json:
            raise click.UsageError(
                "this writes throw-away contacts into the space, and nobody is there to be asked; say --yes"
            )
        where = settings.destination.base_url
        if not click.confirm(
            f"This writes about {CONTACTS} throw-away contacts into the space at {where}, and deletes them "
            "afterwards. It is meant for a space made for testing. Go on?",
            err=True,
        ):
            say("nothing was written")
            return EXIT_FAILED
    probed, reason = _run(settings, may_be_full=yes and in_a_full_space)
    if reason is not None:
        probed.exit = SIGNAL_EXITS[reason]
    found = probed.as_json()
    return call.show(found, lambda page: write_probed(page, found), code=probed.exit)


def _run(settings: Settings, *, may_be_full: bool) -> tuple[Probed, str | None]:
    """Hold the state store, ask, and store what was found; return it, and the signal that ended it."""
    from syncengine.store import probes  # noqa: PLC0415 - not needed for --help
    from syncengine.store.lock import RunLock  # noqa: PLC0415
    from syncengine.store.store import Store  # noqa: PLC0415

    key = settings.api_key()
    with RunLock(settings.state.path) as lock:
        store = Store(settings.state.path, lock=lock)
        try:
            bound = store.bind(settings.destination.base_url, key.get_secret_value())
            is_new = bound.needs_proof or bound.group_id is None
            probed, reason = asyncio.run(_probe(settings, key, store, may_be_full=may_be_full, is_new=is_new))
            probes.note(store, probed.found)
        finally:
            store.close()
    return probed, reason


async def _probe(
    settings: Settings, key: SecretStr, store: Store, *, may_be_full: bool, is_new: bool
) -> tuple[Probed, str | None]:
    from syncengine.budget import Budget  # noqa: PLC0415 - not needed for --help
    from syncengine.clock import Clock  # noqa: PLC0415
    from syncengine.paying import Paying  # noqa: PLC0415
    from syncengine.probing import probe as ask  # noqa: PLC0415
    from syncengine.qomon.trial import Trial  # noqa: PLC0415
    from syncengine.space import client_of  # noqa: PLC0415

    began = time.monotonic()
    wanted = settings.destination
    async with Budget(rate=wanted.rate, burst=wanted.burst, share=wanted.share) as budget:
        paying = Paying(budget)
        async with client_of(settings, key, paying=paying) as client:
            await _check(client, store, key, may_be_full=may_be_full, is_new=is_new)
            token = f"z{secrets.token_hex(4)}"
            trial = Trial(client, paying, await client.forms(), token=token, clock=Clock())
            with _ordered_to_stop() as (stop, orders):
                probed = await ask(trial, paying, stop)
    probed.requests, probed.tokens = budget.requests, budget.tokens
    probed.seconds = time.monotonic() - began
    return probed, orders[0] if orders else None


@contextmanager
def _ordered_to_stop() -> Iterator[tuple[asyncio.Event, list[str]]]:
    """First SIGINT or SIGTERM: ask no more, and delete; second: leave even that, and tell who is left."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    stop, orders = asyncio.Event(), list[str]()

    def order(reason: str) -> None:
        orders.append(reason)
        if stop.is_set():
            task.cancel()
        else:
            say("asking no more; deleting the throw-away contacts")
        stop.set()

    for signum, reason in SIGNALS.items():
        loop.add_signal_handler(signum, order, reason)
    try:
        yield stop, orders
    finally:
        for signum in SIGNALS:  # the end has come: its report must still get out
            loop.remove_signal_handler(signum)
            signal.signal(signum, signal.SIG_IGN)


async def _check(
    client: QomonClient, store: Store, key: SecretStr, *, may_be_full: bool, is_new: bool
) -> None:
    """Raise ConfigError for another space than the file's, and for one that is too full for a test space."""
    from syncengine.space import seen_group  # noqa: PLC0415 - not needed for --help

    if is_new:
        store.bind_group(key.get_secret_value(), await seen_group(client))
    count = await client.count()
    if count > MOST_CONTACTS and not may_be_full:
        raise ConfigError(
            f"the space holds {plural(count, 'contact')}, so that it is hardly one made for testing; nothing "
            "was written. If it is one, say --yes --in-a-full-space"
        )


def write_probed(page: Page, found: dict[str, Any]) -> None:
    """Write the questions with their answers, what it cost, and who is left behind."""
    if found["message"]:
        page.line(f"Not finished: {found['message']}", style="bold red")
        page.line()
    for one in found["questions"]:
        page.line(one["text"], style="bold")
        page.line(f"{one['answer'] or 'not found out'}: {one['how']}", indent=2)
    page.line()
    cost = f"{plural(found['requests'], 'request')}, {number(found['tokens'])} tokens"
    page.line(f"That took {cost} and {duration(found['seconds'])}.", style="dim")
    if found["left_behind"]:
        ids = ", ".join(map(str, found["left_behind"]))
        count = plural(len(found["left_behind"]), "throw-away contact")
        page.line(f"{count} could not be deleted; delete by hand: {ids}", style="bold red")
    else:
        page.line("All throw-away contacts were deleted.")
