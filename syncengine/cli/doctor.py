"""`syncengine doctor`: is everything in order for a sync, and if not, what to do."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import click

from syncengine.cli.call import Call, with_shared_options
from syncengine.cli.output import Page, printable
from syncengine.cli.words import number, plural
from syncengine.model import EXIT_DONE, EXIT_FAILED

if TYPE_CHECKING:
    from syncengine.checks import Check
    from syncengine.cli.examining import Examined

MARKS = {True: "ok", False: "do", None: "–"}  # noqa: RUF001 - a dash, as in a table
STYLES = {True: "green", False: "bold yellow", None: "dim"}


@click.command(short_help="Check everything a sync needs; say what to do.")
@with_shared_options
def doctor(call: Call) -> int:
    """Check everything a sync needs, and say what to do where something is not in order.

    Reads one contact and the forms of the space, for 7 tokens; writes and sends nothing. Every check is made
    that can be, whatever is wrong elsewhere. Ends with 1 when there is something to do, else with 0.
    """
    from syncengine.cli.examining import examine  # noqa: PLC0415 - not needed for --help

    found = examine(call)
    code = EXIT_DONE if found.is_well else EXIT_FAILED
    return call.show(found.as_json(), lambda page: write_doctor(page, found), code=code)


def write_doctor(page: Page, found: Examined) -> None:
    """Write a line for each check: what is in order, and what to do."""
    width = max(len(check.name) for check in found.checks)
    for check in found.checks:
        _write_check(page, check, width)
    page.line()
    faults = sum(check.ok is False for check in found.checks)
    if faults:
        page.line(f"{plural(faults, 'thing')} to do.", style="bold yellow")
    elif any(check.ok is None for check in found.checks):
        page.line("Nothing to do, as far as could be checked.", style="bold green")
    else:
        page.line("All is well.", style="bold green")
    if found.look.requests:
        tokens = found.look.tokens
        cost = f"{plural(found.look.requests, 'request')}, {number(tokens)} token{'' if tokens == 1 else 's'}"
        page.line(f"That took {cost}; nothing was written.", style="dim")


def _write_check(page: Page, check: Check, width: int) -> None:
    lines = _wrapped(page, check.message, width)
    if check.remedy:
        lines += [
            f"{'→ ' if place == 0 else '  '}{line}"
            for place, line in enumerate(_wrapped(page, check.remedy, width))
        ]
    for place, line in enumerate(lines):
        mark = MARKS[check.ok] if place == 0 else ""
        page.console.print(f"{mark:<4}", style=STYLES[check.ok], end="")
        page.console.print(f"{check.name if place == 0 else '':<{width}}  {line}", soft_wrap=True)


def _wrapped(page: Page, text: str, width: int) -> list[str]:
    room = max(30, page.width - width - 8)
    return textwrap.wrap(printable(text), room, break_long_words=False, break_on_hyphens=False)
