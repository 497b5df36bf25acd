"""`syncengine sync`: load, send what changed, read it back, report. The nightly command."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import click

from syncengine.cli.call import Call, with_shared_options
from syncengine.cli.load import write_counts
from syncengine.cli.output import Page, say
from syncengine.cli.telling import DONE, STYLES, headline, write_end, write_settled
from syncengine.cli.words import number, plural, stamp

if TYPE_CHECKING:
    from syncengine.engine import Engine
    from syncengine.model import Report

NOTHING_CHANGED = "Done: nothing had changed. Everybody in the source is in Qomon as sent."
ALL_SENT = "Finished: everything was sent, but not all of it is seen in Qomon yet."
NOBODY_LOOKED = "Finished: everything was sent, but nobody looked whether Qomon applied it."


def _time_of_day(_ctx: click.Context, _parameter: click.Parameter, given: str | None) -> str | None:
    if given is not None and not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", given):
        raise click.BadParameter("must be a time of day such as 06:00")
    return given


@click.command(short_help="Load, send what changed, read it back, report: the nightly command.")
@click.option("--no-load", is_flag=True, help="Send what is due without reading the source.")
@click.option("--no-verify", is_flag=True, help="Do not look whether Qomon applied what it took.")
@click.option(
    "--max-writes", metavar="N", type=click.IntRange(min=0), help="Send at most N contacts; 0: no cap."
)
@click.option("--until", metavar="HH:MM", callback=_time_of_day, help="Stop at this local time.")
@click.option("--allow-shrink", is_flag=True, help="Take a file with less than half of the last load's rows.")
@click.option("--allow-mass-change", is_flag=True, help="Go on although most contacts would be sent again.")
@click.option("--same-space", is_flag=True, help="Say that a new API key opens the same Qomon space.")
@with_shared_options
def sync(
    call: Call,
    *,
    until: str | None,
    max_writes: int | None,
    no_load: bool,
    no_verify: bool,
    **allowed: bool,
) -> int:
    """Load the source, send every contact whose content changed, look whether Qomon applied it, and report.

    Ctrl-C or SIGTERM ends it in order, a second one at once. It may be killed at any moment: the next sync
    goes on where it stopped.
    """
    settings = call.settings({"run.until": until, "run.max_writes": max_writes})
    call.refuse_if_locked(settings)

    from syncengine.cli.running import drive  # noqa: PLC0415 - after the settings are known to be right
    from syncengine.engine import SyncOptions  # noqa: PLC0415

    deadline = settings.deadline(time.time())
    if deadline is not None:
        say(f"sending stops at {stamp(deadline)}")
    options = SyncOptions(load=not no_load, verify=not no_verify, **allowed)

    async def work(engine: Engine) -> Report:
        return await engine.sync(options)

    report = drive(settings, work)
    found = report.as_json()
    return call.show(found, lambda page: write_sync(page, found, is_verified=not no_verify), code=report.exit)


def write_sync(page: Page, report: dict[str, Any], *, is_verified: bool = True) -> None:
    """Write the report of a sync for somebody who has never seen one. `is_verified`: it read back."""
    page.line(_headline(report, is_verified=is_verified), style=STYLES.get(report["outcome"], "bold red"))
    if report["message"]:
        page.line(report["message"])
    page.line()
    if report["read"]:
        page.line(f"Source: {plural(report['read'], 'row')} read")
        write_counts(page, report)
    page.line(f"To send: {plural(report['selected'], 'contact')}")
    _write_accepted(page, report, is_verified=is_verified)
    for name, meaning in (
        ("rejected", "Qomon refused them"),
        ("held", "not sent: could hit the wrong person, or would be dropped"),
        ("remaining", "due at the next sync"),
        ("repeated", "of them sent again after an answer that never came"),
    ):
        if report[name]:
            page.fact(name, number(report[name]), meaning)
    if any(report["earlier"].values()):
        page.line("From earlier runs:")
        write_settled(page, report["earlier"])
    if doubts := _doubts(report["doubts"]):
        page.line(doubts)
    write_end(page, report)


def _headline(report: dict[str, Any], *, is_verified: bool) -> str:
    if report["outcome"] == "problems" and not report["problems_open"] and not report["remaining"]:
        return ALL_SENT if is_verified else NOBODY_LOOKED
    return headline(report, DONE if report["selected"] else NOTHING_CHANGED)


def _write_accepted(page: Page, report: dict[str, Any], *, is_verified: bool) -> None:
    """Write what became of what was accepted; a sync that does not look promises no second look either."""
    told = report if is_verified else report | {"unconfirmed": 0}
    write_settled(page, told, always=("confirmed",))
    if report["unconfirmed"] and not is_verified:
        nobody = "Qomon took them (202); nobody looked whether it applied them: run syncengine verify"
        page.fact("unconfirmed", number(report["unconfirmed"]), nobody)


def _doubts(doubts: dict[str, int]) -> str:
    """Return how contacts were settled that were sent without a definite answer; empty without any."""
    seen, again, held = (doubts.get(name, 0) for name in ("seen", "again", "held"))
    if not seen + again + held:
        return ""
    return (
        f"Without an answer: {number(seen + again + held)} were looked up: {number(seen)} seen in Qomon, "
        f"{number(again)} sent again, {number(held)} held"
    )
