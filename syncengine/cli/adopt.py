"""`syncengine adopt`: a space that is already full: find who is whom, and mark what is right already."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from syncengine.cli.call import Call, with_shared_options
from syncengine.cli.load import write_counts
from syncengine.cli.output import Page
from syncengine.cli.telling import STYLES, headline, write_end
from syncengine.cli.words import number, plural

if TYPE_CHECKING:
    from syncengine.engine import Engine
    from syncengine.model import AdoptReport
    from syncengine.store.store import Store

FIELDS_LISTED = 12
COLUMNS = ("found", "key", "qomon_ids", "other_keys", "fields")


@click.command(short_help="A space that is already full: find who is whom; send nothing.")
@click.option("--dry-run", is_flag=True, help="Show what it would do; nothing takes effect.")
@click.option("--no-load", is_flag=True, help="Match what is in the state store; do not read the source.")
@click.option("--allow-shrink", is_flag=True, help="Take a file with less than half of the last load's rows.")
@click.option("--same-space", is_flag=True, help="Say that a new API key opens the same Qomon space.")
@click.option(
    "--export",
    metavar="FILE.csv",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write who was found how, and the ids in Qomon that nobody in the source has.",
)
@with_shared_options
def adopt(
    call: Call, *, dry_run: bool, no_load: bool, allow_shrink: bool, same_space: bool, export: Path | None
) -> int:
    """Read the Qomon space once and find who is whom; send nothing.

    Contacts that are in Qomon as in the source are marked as confirmed and never sent; those that differ are
    sent by their id, with what differs alone, at the next sync. Whoever may be several people is held.
    Reading takes about 1.3 tokens for a thousand contacts; killed, the same command goes on where it stopped.
    """
    settings = call.settings()
    call.refuse_if_locked(settings)

    from syncengine.cli.export import refuse_existing, write_table  # noqa: PLC0415 - not for --help
    from syncengine.cli.running import drive  # noqa: PLC0415
    from syncengine.engine import AdoptOptions  # noqa: PLC0415
    from syncengine.store.acts import note_export  # noqa: PLC0415

    options = AdoptOptions(
        load=not no_load, dry_run=dry_run, allow_shrink=allow_shrink, same_space=same_space
    )
    if export is not None:
        refuse_existing(export)

    def write_file(store: Store) -> None:
        assert export is not None
        write_table(export, COLUMNS, _rows(store))
        note_export(settings.state.path, export)

    async def work(engine: Engine) -> AdoptReport:
        return await engine.adopt(options, gathered=None if export is None else write_file)

    report = drive(settings, work)
    found = report.as_json()
    return call.show(found, lambda page: write_adopt(page, found, export), code=report.exit)


def _rows(store: Store) -> Iterator[dict[str, str]]:
    from syncengine.store.adoption import (  # noqa: PLC0415 - not needed for --help
        absent_page,
        ambiguous_page,
        pair_page,
        stranger_page,
    )

    with store.reading() as connection:
        after = 0
        while pairs := pair_page(connection, after):
            after = pairs[-1].n
            for pair in pairs:
                fields = ", ".join(one["field"] for one in pair.theirs)
                how = "different" if fields else "equal"
                yield {"found": how, "key": pair.key, "qomon_ids": str(pair.id), "fields": fields}
        after = 0
        while doubtful := ambiguous_page(connection, after):
            after = doubtful[-1].n
            for one in doubtful:
                ids, keys = ", ".join(map(str, one.ids)), ", ".join(one.keys)
                yield {"found": "ambiguous", "key": one.key, "qomon_ids": ids, "other_keys": keys}
        key = ""
        while absent := absent_page(connection, key):
            key = absent[-1]
            yield from ({"found": "not in Qomon", "key": one} for one in absent)
        after = 0
        while strangers := stranger_page(connection, after):
            after = strangers[-1]
            yield from ({"found": "only in Qomon", "qomon_ids": str(one)} for one in strangers)


def write_adopt(page: Page, report: dict[str, Any], export: Path | None) -> None:
    """Write what an adoption found, and what comes next."""
    page.line(_headline(report), style=STYLES.get(report["outcome"], "bold red"))
    if report["message"]:
        page.line(report["message"])
    page.line()
    if report["read"]:
        page.line(f"Source: {plural(report['read'], 'row')} read")
        write_counts(page, report)
    known = f", {number(report['known'])} of them known before" if report["known"] else ""
    page.line(f"Qomon: {plural(report['contacts'], 'contact')} read{known}")
    if report["is_whole"]:
        _write_found(page, report)
    if export is not None and export.exists():
        page.line(f"Wrote {export}. It names people: delete it when it is no longer needed.")
    write_end(page, report | {"findings": []})


def _headline(report: dict[str, Any]) -> str:
    if report["outcome"] == "problems":
        return "Finished; whoever may be several people is held."
    done = "Done: nothing was sent. The next sync sends what differs and who is not in Qomon."
    return headline(
        report, "Nothing has taken effect: this is what it would do." if report["dry_run"] else done
    )


def _write_found(page: Page, report: dict[str, Any]) -> None:
    for name, meaning in (
        ("equal", "in Qomon as in the source: never sent"),
        ("different", "in Qomon with other values: what differs is sent by id"),
        ("ambiguous", "several fit, or only the names: held, see syncengine problems"),
        ("absent", "not in Qomon: sent as new"),
    ):
        page.fact(name, number(report[name]), meaning if report[name] else "")
    if report["unproven"]:
        page.fact(
            "unproven", number(report["unproven"]), "claim an id that is not theirs: held at the next sync"
        )
    if report["fields"]:
        page.line("Fields that differ:")
        for name, count in list(report["fields"].items())[:FIELDS_LISTED]:
            page.fact(name, number(count))
    page.line(f"Only in Qomon: {plural(report['strangers'], 'contact')}; left alone")
