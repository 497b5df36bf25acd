"""`syncengine load`: the source into the state store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from syncengine.cli.call import Call, with_shared_options
from syncengine.cli.output import Page
from syncengine.cli.words import number, plural
from syncengine.model import EXIT_DONE, EXIT_PROBLEMS

if TYPE_CHECKING:
    from syncengine.engine import Engine
    from syncengine.load import LoadReport

ERRORS_LISTED = 20


@click.command(short_help="Read the source into the state store; send nothing.")
@click.argument("path", required=False, type=click.Path(path_type=Path))
@click.option("--allow-shrink", is_flag=True, help="Take a file with less than half of the last load's rows.")
@with_shared_options
def load(call: Call, path: Path | None, *, allow_shrink: bool) -> int:
    """Read the source into the state store; send nothing.

    PATH replaces [source] path. Only rows whose content changed are written. Exit code 3: some rows are
    refused, the others are loaded.
    """
    settings = call.settings({"source.path": path and path.absolute()})
    call.refuse_if_locked(settings)

    from syncengine.cli.running import drive  # noqa: PLC0415 - after the settings are known to be right

    async def work(engine: Engine) -> LoadReport:
        engine.progress.phase = "loading"
        return await engine.load(allow_shrink=allow_shrink)

    report = drive(settings, work)
    code = EXIT_PROBLEMS if report.refused else EXIT_DONE
    return call.show(report.as_json(), lambda page: write_load(page, report.as_json()), code=code)


def write_load(page: Page, report: dict[str, Any]) -> None:
    """Write what a load did."""
    page.line(f"Loaded {plural(report['read'], 'row')}.", style="bold")
    page.line()
    write_counts(page, report)
    if report["ignored"]:
        page.line()
        page.line("Columns that are no Qomon field and were ignored: " + ", ".join(report["ignored"]))
    if report["errors"]:
        page.line()
        page.line("Refused rows (their contacts stay as they were; mend the file and load again):")
        rows = [
            [str(error["line"]), error["column"] or "", error["reason"]]
            for error in report["errors"][:ERRORS_LISTED]
        ]
        page.table(["line", "column", "reason"], rows, right=frozenset({0}))
        left = report["refused"] - len(rows)
        if left > 0:
            page.line(
                f"… and {plural(left, 'more row', 'more rows')}: syncengine problems lists them", indent=2
            )


def write_counts(page: Page, report: dict[str, Any]) -> None:
    """Write the counts of a load, the rare ones only when there are any."""
    notes = {
        "new": "",
        "changed": "",
        "unchanged": "",
        "refused": "see syncengine problems",
        "forgotten": "erased by syncengine forget, hence skipped",
        "missing": "known, but no longer in the source; nothing is deleted in Qomon",
    }
    for name, note in notes.items():
        if report[name] or name in {"new", "changed", "unchanged"}:
            page.fact(name, number(report[name]), note if report[name] else "")
