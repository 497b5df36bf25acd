"""`syncengine sync`: load, send what changed, report. The nightly command."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import click

from syncengine.cli.call import Call, with_shared_options
from syncengine.cli.load import write_counts
from syncengine.cli.output import Page, say
from syncengine.cli.words import duration, number, plural, stamp

if TYPE_CHECKING:
    from syncengine.engine import Engine
    from syncengine.model import Report

STYLES = {"done": "bold green", "problems": "bold yellow", "stopped": "bold yellow"}


def _time_of_day(_ctx: click.Context, _parameter: click.Parameter, given: str | None) -> str | None:
    if given is not None and not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", given):
        raise click.BadParameter("must be a time of day such as 06:00")
    return given


@click.command(short_help="Load, send what changed, report: the nightly command.")
@click.option("--no-load", is_flag=True, help="Send what is due without reading the source.")
@click.option(
    "--max-writes", metavar="N", type=click.IntRange(min=0), help="Send at most N contacts; 0: no cap."
)
@click.option("--until", metavar="HH:MM", callback=_time_of_day, help="Stop at this local time.")
@click.option("--allow-shrink", is_flag=True, help="Take a file with less than half of the last load's rows.")
@click.option("--allow-mass-change", is_flag=True, help="Go on although most contacts would be sent again.")
@click.option("--same-space", is_flag=True, help="Say that a new API key opens the same Qomon space.")
@with_shared_options
def sync(call: Call, *, until: str | None, max_writes: int | None, no_load: bool, **allowed: bool) -> int:
    """Load the source, send every contact whose content changed, and report.

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
    options = SyncOptions(load=not no_load, **allowed)

    async def work(engine: Engine) -> Report:
        return await engine.sync(options)

    report = drive(settings, work)
    found = report.as_json()
    return call.show(found, lambda page: write_sync(page, found), code=report.exit)


def write_sync(page: Page, report: dict[str, Any]) -> None:
    """Write the report of a sync for somebody who has never seen one."""
    page.line(_headline(report), style=STYLES.get(report["outcome"], "bold red"))
    if report["message"]:
        page.line(report["message"])
    page.line()
    if report["read"]:
        page.line(f"Source: {plural(report['read'], 'row')} read")
        write_counts(page, report)
    page.line(f"To send: {plural(report['selected'], 'contact')}")
    page.fact(
        "accepted",
        number(report["accepted"]),
        "Qomon took them (202); that it applied them is not checked yet" if report["accepted"] else "",
    )
    page.fact("rejected", number(report["rejected"]), "Qomon refused them" if report["rejected"] else "")
    page.fact(
        "held", number(report["held"]), "not sent: could hit the wrong person" if report["held"] else ""
    )
    page.fact("remaining", number(report["remaining"]), "due at the next sync" if report["remaining"] else "")
    if report["repeated"]:
        page.fact("repeated", number(report["repeated"]), "sent again after an answer that never came")
    page.line(_problems(report))
    page.line(_effort(report), style="dim")


def _headline(report: dict[str, Any]) -> str:
    reason = f" ({report['reason']})" if report["reason"] else ""
    match report["outcome"]:
        case "done":
            return "Done: nothing is left to send." if report["selected"] else "Done: nothing had changed."
        case "problems":
            return "Finished, but not everybody is in Qomon as in the source."
        case "stopped":
            return f"Stopped before the end{reason}."
        case "interrupted":
            return f"Interrupted{reason}: run the same command again, it goes on where it stopped."
        case _:
            return f"Failed{reason}."


def _problems(report: dict[str, Any]) -> str:
    if not report["problems_open"]:
        return "Problems: none"
    new = f"{report['problems_new']:,} of them new" if report["problems_new"] else "none of them new"
    return f"Problems: {report['problems_open']:,} open, {new}; see them with: syncengine problems"


def _effort(report: dict[str, Any]) -> str:
    parts = [
        f"Run {report['run']} took {duration(report['seconds'])}",
        plural(report["requests"], "request"),
        f"{number(report['tokens'])} tokens",
    ]
    if report["throttled"]:
        parts.append(plural(report["throttled"], "answer", "answers") + " of 429")
    return ", ".join([*parts, f"exit code {report['exit']}"])
