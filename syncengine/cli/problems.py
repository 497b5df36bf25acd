"""`syncengine problems`: who is not in Qomon as in the source, why, and what to do."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from syncengine.cli.call import Call, with_shared_options
from syncengine.cli.contents import flat
from syncengine.cli.output import Page
from syncengine.cli.words import plural, stamp

if TYPE_CHECKING:
    from syncengine.config import Settings

KEYS_LISTED = 20
STATES = {
    "held": "Held by syncengine",
    "rejected": "Rejected by Qomon",
    "refused": "Refused rows",
    "dropped": "Dropped by Qomon",
    "differs": "Different in Qomon",
}


@click.command(short_help="Open problems, why, and what to do about them.")
@click.argument("keys", nargs=-1, metavar="[KEY]...")
@click.option("--reason", metavar="TEXT", help="Only problems whose reason begins so.")
@click.option("--values", is_flag=True, help="Show the people's values and what Qomon answered.")
@click.option(
    "--all", "is_all", is_flag=True, help=f"List all keys, not the first {KEYS_LISTED} of a reason."
)
@click.option(
    "--export", metavar="FILE.csv", type=click.Path(path_type=Path), help="Write them to a new CSV file."
)
@click.option("--retry", "is_retry", is_flag=True, help="Let the next sync check the selected again.")
@click.option("--release", "is_release", is_flag=True, help="Let the named held contacts go once.")
@with_shared_options
def problems(
    call: Call,
    keys: tuple[str, ...],
    *,
    reason: str | None,
    values: bool,
    is_all: bool,
    export: Path | None,
    is_retry: bool,
    is_release: bool,
) -> int:
    """List open problems by reason, or those of the given KEYs.

    --retry overrides nothing: what still is a problem at the next sync stays one. --release KEY... lets a
    held contact go once, for exactly its present content.
    """
    if is_retry + is_release + (export is not None) > 1:
        raise click.UsageError("--retry, --release and --export go one at a time")
    if is_release and (not keys or reason):
        raise click.UsageError("--release needs the keys of the contacts, and no --reason")
    settings = call.settings()
    if is_retry:
        return _retry(call, settings, keys, reason)
    if is_release:
        return _release(call, settings, keys)
    return _list(call, settings, keys, reason, values=values, is_all=is_all, export=export)


def _list(
    call: Call,
    settings: Settings,
    keys: tuple[str, ...],
    reason: str | None,
    *,
    values: bool,
    is_all: bool,
    export: Path | None,
) -> int:
    from syncengine.store import views  # noqa: PLC0415 - not needed for --help

    path = settings.state.path
    with views.reading(path) as connection:
        found = views.problems(connection, keys=keys, reason=reason, values=values)
    if export is None:
        return call.show({"problems": found}, lambda page: write_problems(page, found, is_all=is_all))

    from syncengine.cli.export import write_export  # noqa: PLC0415
    from syncengine.store.acts import note_export  # noqa: PLC0415

    write_export(export, found)
    note_export(path, export)
    return call.show(
        {"problems": found, "export": str(export)},
        lambda page: page.line(
            f"Wrote {plural(len(found), 'problem')} to {export}. It names people: delete it when it is no "
            "longer needed (syncengine forget reminds you)"
        ),
    )


def _retry(call: Call, settings: Settings, keys: tuple[str, ...], reason: str | None) -> int:
    from syncengine.store.acts import retry  # noqa: PLC0415
    from syncengine.store.opened import open_store  # noqa: PLC0415

    with open_store(settings.state.path) as store:
        count = retry(store, keys, reason)
    return call.show(
        {"retried": count},
        lambda page: page.line(
            f"{plural(count, 'problem')} closed: the next sync checks them again and sends what passes."
        ),
    )


def _release(call: Call, settings: Settings, keys: tuple[str, ...]) -> int:
    from syncengine.store.acts import release  # noqa: PLC0415
    from syncengine.store.opened import open_store  # noqa: PLC0415

    with open_store(settings.state.path) as store:
        released = release(store, keys)

    def write(page: Page) -> None:
        for one in released:
            page.line(
                f"{one.key}: " + ("sent by the next sync" if one.released else f"not released: {one.why}")
            )

    return call.show({"released": [one._asdict() for one in released]}, write)


def write_problems(page: Page, found: list[dict[str, Any]], *, is_all: bool) -> None:
    """Write the problems grouped by state and reason, the largest group first."""
    if not found:
        page.line("No open problems.")
        return
    ordered = sorted(found, key=_group)
    groups = [list(group) for _, group in itertools.groupby(ordered, key=_group)]
    page.line(f"{plural(len(found), 'open problem')}, by reason:", style="bold")
    for group in sorted(groups, key=len, reverse=True):
        first = group[0]
        page.line()
        page.line(
            f"{STATES.get(first['state'], first['state'])}: {first['reason']} ({len(group):,})", style="bold"
        )
        page.line(f"What to do: {first['remedy']}.", indent=2)
        listed = group if is_all else group[:KEYS_LISTED]
        if first["state"] == "refused":
            _write_rows(page, listed)
        elif "content" in first:
            _write_values(page, listed)
        else:
            page.line("Keys: " + ", ".join(problem["key"] for problem in listed), indent=2)
        if len(listed) < len(group):
            page.line(f"… and {len(group) - len(listed):,} more: add --all, or --export FILE.csv", indent=2)
    page.line()
    page.line("The story of one contact: syncengine explain KEY", style="dim")


def _group(problem: dict[str, Any]) -> tuple[str, str]:
    return problem["state"], problem["reason"]


def _write_rows(page: Page, rows: list[dict[str, Any]]) -> None:
    page.table(
        ["line", "key", "column", "since"],
        [[str(row["line"]), row["key"] or "", row["column"] or "", stamp(row["since"])] for row in rows],
        right=frozenset({0}),
    )


def _write_values(page: Page, group: list[dict[str, Any]]) -> None:
    for problem in group:
        page.line(f"{problem['key']}, since {stamp(problem['since'])}", indent=2)
        if problem["detail"]:
            page.line(f"Qomon said: {problem['detail']}", indent=4)
        for name, value in flat(problem["content"]):
            page.line(f"{name}: {value}", indent=4)
