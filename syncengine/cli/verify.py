"""`syncengine verify`: read back what was accepted, and with `--all` everybody confirmed before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from syncengine.cli.call import Call, with_shared_options
from syncengine.cli.output import Page
from syncengine.cli.telling import STYLES, headline, write_end, write_settled
from syncengine.cli.words import number, plural

if TYPE_CHECKING:
    from syncengine.engine import Engine
    from syncengine.model import VerifyReport


@click.command(short_help="Look in Qomon for what it accepted; send nothing.")
@click.option("--all", "is_all", is_flag=True, help="Re-check confirmed contacts for drift too.")
@with_shared_options
def verify(call: Call, *, is_all: bool) -> int:
    """Look in Qomon for what was accepted and not confirmed yet; send nothing.

    --all reads the whole space once and compares everybody whose id is known: who was changed or deleted in
    the web application since. That takes about 1.3 tokens for a thousand contacts.
    """
    settings = call.settings()
    call.refuse_if_locked(settings)

    from syncengine.cli.running import drive  # noqa: PLC0415 - after the settings are known to be right

    async def work(engine: Engine) -> VerifyReport:
        engine.progress.phase = "reading back"
        return await engine.verify(everybody=is_all)

    report = drive(settings, work)
    found = report.as_json()
    return call.show(found, lambda page: write_verify(page, found), code=report.exit)


def write_verify(page: Page, report: dict[str, Any]) -> None:
    """Write what a read-back showed."""
    page.line(headline(report), style=STYLES.get(report["outcome"], "bold red"))
    if report["message"]:
        page.line(report["message"])
    page.line()
    page.line(f"Compared with Qomon: {plural(report['checked'], 'contact')}")
    write_settled(page, report)
    same = report["checked"] - report["confirmed"] - report["differs"] - report["dropped"]
    if same > 0:
        page.fact("as before", number(same), "nothing has changed since they were last seen")
    write_end(page, report)
