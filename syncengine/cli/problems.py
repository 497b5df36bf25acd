"""`syncengine problems`: who is not in Qomon as in the source, why, and what to do."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from syncengine.cli.call import Call, with_shared_options
from syncengine.cli.contents import flat
from syncengine.cli.output import Page
from syncengine.cli.telling import facts_in_words, finding_in_words, others_in_words
from syncengine.cli.words import plural, stamp

if TYPE_CHECKING:
    from syncengine.config import Settings
    from syncengine.store.store import Store

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
@click.option(
    "--rematch", "is_rematch", is_flag=True, help="Forget the dead Qomon ids of the named contacts."
)
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
    is_rematch: bool,
) -> int:
    """List open problems by reason, or those of the given KEYs.

    --retry overrides nothing: what still is a problem at the next sync stays one; of a contact that differs
    the differing fields are sent again. --release KEY... lets a held contact go once, for exactly its present
    content. --rematch KEY... forgets an id that Qomon does not know any more: the next sync sends the
    contact as if for the first time, to be matched by mail and names.
    """
    if is_retry + is_release + is_rematch + (export is not None) > 1:
        raise click.UsageError("--retry, --release, --rematch and --export go one at a time")
    for flag, is_given in (("--release", is_release), ("--rematch", is_rematch)):
        if is_given and (not keys or reason):
            raise click.UsageError(f"{flag} needs the keys of the contacts, and no --reason")
    settings = call.settings()
    if is_retry:
        return _retry(call, settings, keys, reason)
    if is_release or is_rematch:
        return _act(call, settings, keys, "released" if is_release else "rematched")
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
        findings = views.findings(connection)
    told = {"problems": found, "findings": findings}
    if export is None:
        shown = [] if keys or reason else findings
        return call.show(told, lambda page: write_problems(page, found, shown, is_all=is_all))

    from syncengine.cli.export import write_export  # noqa: PLC0415
    from syncengine.store.acts import note_export  # noqa: PLC0415

    write_export(export, found)
    note_export(path, export)
    return call.show(
        told | {"export": str(export)},
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


def _act(call: Call, settings: Settings, keys: tuple[str, ...], act: str) -> int:
    """Release or rematch contacts, and say of each key what came of it."""
    from syncengine.store import acts  # noqa: PLC0415
    from syncengine.store.opened import open_store  # noqa: PLC0415

    does: Callable[[Store, Sequence[str]], Sequence[acts.Released | acts.Rematched]]
    does = acts.release if act == "released" else acts.rematch
    with open_store(settings.state.path) as store:
        done = [one._asdict() for one in does(store, keys)]

    def write(page: Page) -> None:
        for one in done:
            told = "sent by the next sync" if one[act] else f"not {act}: {one['why']}"
            page.line(f"{one['key']}: {told}")

    return call.show({act: done}, write)


def write_problems(
    page: Page,
    found: list[dict[str, Any]],
    findings: Sequence[dict[str, Any]] = (),
    *,
    is_all: bool = False,
) -> None:
    """Write findings about fields, then the problems grouped by state and reason, the largest group first."""
    for finding in findings:
        page.line(f"{finding_in_words(finding)}.")
    if findings:
        page.line()
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
        _write_group(page, listed, is_all=is_all)
        if len(listed) < len(group):
            page.line(f"… and {len(group) - len(listed):,} more: add --all, or --export FILE.csv", indent=2)
    page.line()
    page.line("The story of one contact: syncengine explain KEY", style="dim")


def _group(problem: dict[str, Any]) -> tuple[str, str]:
    return problem["state"], problem["reason"]


def _write_group(page: Page, group: list[dict[str, Any]], *, is_all: bool) -> None:
    """Write who has a problem: rows by line, people with their values, or keys and whom they are like."""
    if group[0]["state"] == "refused":
        _write_rows(page, group)
    elif "content" in group[0]:
        _write_values(page, group)
    elif any(others_in_words(problem["facts"]) for problem in group):
        for problem in group:
            page.line(f"{problem['key']}: {others_in_words(problem['facts'], is_all=is_all)}", indent=2)
    else:
        page.line("Keys: " + ", ".join(problem["key"] for problem in group), indent=2)


def _write_rows(page: Page, rows: list[dict[str, Any]]) -> None:
    page.table(
        ["line", "key", "column", "since"],
        [[str(row["line"]), row["key"] or "", row["column"] or "", stamp(row["since"])] for row in rows],
        right=frozenset({0}),
    )


def _write_values(page: Page, group: list[dict[str, Any]]) -> None:
    for problem in group:
        page.line(f"{problem['key']}, since {stamp(problem['since'])}", indent=2)
        for line in facts_in_words(problem["facts"]):
            page.line(line, indent=4)
        if problem["detail"]:
            page.line(f"Qomon said: {problem['detail']}", indent=4)
        for name, value in flat(problem["content"]):
            page.line(f"{name}: {value}", indent=4)
