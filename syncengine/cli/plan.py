"""`syncengine plan`: what a sync would do now, and when it would end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeVar

import click

from syncengine.cli.call import Call, with_shared_options
from syncengine.cli.load import write_counts
from syncengine.cli.output import Page
from syncengine.cli.words import clock, duration, number, plural, stamp
from syncengine.errors import ConfigError, DestinationError
from syncengine.problems import MOVED_KEY

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from syncengine.config import Settings
    from syncengine.qomon import QomonClient
    from syncengine.qomon.forms import Forms

FIELDS_LISTED = 12
T = TypeVar("T")


@click.command(short_help="What a sync would do now, and when it would end; sends nothing.")
@click.option("--no-load", is_flag=True, help="Plan for what is in the state store; do not read the source.")
@with_shared_options
def plan(call: Call, *, no_load: bool) -> int:
    """Show what a sync would do now: how many contacts, which fields, how long. Sends and changes nothing."""
    settings = call.settings()

    from syncengine.plan import make_plan  # noqa: PLC0415 - not needed for --help

    qomon = _Qomon(settings)
    found = make_plan(
        settings, load=not no_load, now=time.time(), read_forms=qomon.forms, count=qomon.count
    ).as_json()
    rate = settings.destination.rate * settings.destination.share
    return call.show(found, lambda page: write_plan(page, found, rate))


class _Qomon:
    """Answers what a plan asks of the space, None when it cannot be asked; it is not waited for twice."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._is_silent = False

    def forms(self) -> Forms | None:
        return self._ask(lambda client: client.forms())

    def count(self) -> int | None:
        return self._ask(lambda client: client.count())

    def _ask(self, work: Callable[[QomonClient], Awaitable[T]]) -> T | None:
        from syncengine.cli.asking import ask  # noqa: PLC0415 - most plans ask nothing

        if self._is_silent:
            return None
        try:
            return ask(self._settings, work)
        except (ConfigError, DestinationError):
            self._is_silent = True
            return None


def write_plan(page: Page, found: dict[str, Any], rate: float) -> None:
    """Write a plan in words."""
    to_send = found["creates"] + found["updates"]
    page.line(f"A sync now would send {plural(to_send, 'contact')}.", style="bold")
    page.line(_how_long(found, rate))
    if found["stops"]:
        page.line(_why_it_stops(found), style="bold yellow")
    page.line()
    if found["load"]:
        page.line(f"Source: {plural(found['load']['read'], 'row')} would be loaded")
        write_counts(page, found["load"])
    for note in (_space(found), _forms(found)):
        if note:
            page.line(note)
    page.line("To send:")
    page.fact("never sent before", number(found["creates"]))
    page.fact("sent before, changed", number(found["updates"]))
    if found["held"]:
        page.fact("held", number(found["held"]), "would not be sent")
        for reason, count in found["holds"].items():
            page.fact(f"  {reason}", number(count), width=max(24, len(reason) + 4))
    if found["fields"]:
        page.line("Fields that changed:")
        for name, count in list(found["fields"].items())[:FIELDS_LISTED]:
            page.fact(name, number(count))


def _why_it_stops(found: dict[str, Any]) -> str:
    told = f"It would stop before sending anything ({found['stops']}): "
    if found["stops"] == "full_space":
        return (
            f"{told}Qomon already holds {plural(found['in_space'], 'contact')} that syncengine has not "
            "matched with the source. Two ways on: syncengine adopt finds who is whom and sends nothing; or "
            '[identity] existing = "match" lets Qomon match by mail and names, and overwrite'
        )
    most = "most of the contacts accepted so far would be sent again"
    if moved := found["holds"].get(MOVED_KEY):
        return (
            f"{told}the keys of {plural(moved, 'contact')} now name other people, as when keys were "
            f"renumbered, or {most}. syncengine sync --allow-mass-change overrides the latter alone"
        )
    return f"{told}{most}. If that is meant: syncengine sync --allow-mass-change"


def _space(found: dict[str, Any]) -> str:
    """Say whether a first sync would find the space empty, as far as that is known."""
    if found.get("space") == "unknown":
        return (
            "Whether Qomon holds anybody already is not known: it could not be asked. Into a space that "
            "does, a first sync sends nothing. syncengine doctor says why."
        )
    return "Qomon holds no contact yet." if found.get("in_space") == 0 else ""


def _forms(found: dict[str, Any]) -> str:
    """Say by which forms the answers were checked."""
    match found.get("forms"):
        case "kept":
            return (
                f"Answers were checked by the forms of {stamp(found['forms_at'])}: Qomon could not be asked."
            )
        case "unknown":
            return "Answers were not checked: Qomon could not be asked. syncengine doctor says why."
    return ""


def _how_long(found: dict[str, Any], rate: float) -> str:
    if not found["tokens"]:
        return "That takes no time at all."
    if found["seconds"] < 1:
        return "The tokens of a full bucket are enough for that: it takes about a second."
    return (
        f"At {number(rate)} a second that takes about {duration(found['seconds'])}: "
        f"started now, it ends at {clock(found['finish_at'])}."
    )
