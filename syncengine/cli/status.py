"""`syncengine status`: where things stand, also while a sync runs elsewhere."""

from __future__ import annotations

import time
from typing import Any

import click

from syncengine.cli.call import Call, with_shared_options
from syncengine.cli.output import Page
from syncengine.cli.words import clock, duration, number, plural, stamp

STATES = {
    "in_flight": "on their way now",
    "changed": "to be sent by the next sync",
    "accepted": "Qomon took them (202); not seen there yet, the next sync or verify looks",
    "confirmed": "seen in Qomon as sent",
    "held": "not sent: see syncengine problems",
    "rejected": "refused by Qomon: see syncengine problems",
    "dropped": "accepted, then not applied: see syncengine problems",
    "differs": "seen in Qomon with other values: see syncengine problems",
}


@click.command(short_help="Contacts by state, the run in progress, the last runs.")
@with_shared_options
def status(call: Call) -> int:
    """Show contacts by state, the run in progress (from any shell), and the last runs. Only reads."""
    settings = call.settings()

    from syncengine.store import views  # noqa: PLC0415 - not needed for --help

    found = views.status(settings.state.path)
    return call.show(found, lambda page: write_status(page, found))


def write_status(page: Page, found: dict[str, Any]) -> None:
    """Write where things stand."""
    store, contacts = found["store"], found["contacts"]
    page.line(f"{store['path']}: {plural(sum(contacts.values()), 'contact')}", style="bold")
    for state, meaning in STATES.items():
        if contacts.get(state):
            page.fact(state, number(contacts[state]), meaning)
    if found["missing"]:
        page.fact("missing", number(found["missing"]), "no longer in the source; counted above as well")
    page.line()
    _write_running(page, found["running"])
    problems = found["problems_open"]
    page.line(f"Problems: {problems:,} open; see syncengine problems" if problems else "Problems: none")
    if load := found["last_load"]:
        rows = f", {plural(load['read'], 'row')}" if "read" in load else ""
        page.line(f"Last load: {stamp(load['ended']) or 'under way'}, {load['state']}{rows}")
    if found["runs"]:
        page.line()
        page.line("Runs, newest first:")
        _write_runs(page, found["runs"])


def _write_running(page: Page, run: dict[str, Any] | None) -> None:
    if run is None:
        page.line("Running: nothing")
        return
    parts = ["reading back"] if run["kind"] == "verify" else [f"{number(run['sent'])} sent"]
    if run["remaining"] is not None:
        is_over = run["sent"] and not run["remaining"]
        parts.append("reading back" if is_over else f"{number(run['remaining'])} to go")
    if run["rate"]:
        parts.append(f"{number(run['rate'])}/s")
    if run["finish_at"] and run["remaining"]:
        parts.append(f"ends about {clock(run['finish_at'])}")
    since = duration(max(0.0, time.time() - run["started"]))
    page.line(
        f"Running: run {run['run']} (process {run['pid']}) for {since}: {', '.join(parts)}", style="cyan"
    )


def _write_runs(page: Page, runs: list[dict[str, Any]]) -> None:
    rows = []
    for run in runs:
        report = run.get("report", {})
        took = duration(run["ended"] - run["started"]) if run["ended"] else ""
        outcome = run["outcome"] + (f" ({run['reason']})" if run["reason"] else "")
        code = "" if run["exit"] is None else str(run["exit"])
        counts = [
            number(report[name]) if name in report else "" for name in ("sent", "confirmed", "remaining")
        ]
        rows.append([str(run["run"]), run["kind"], stamp(run["started"]), took, outcome, code, *counts])
    page.table(
        ["run", "what", "started", "took", "outcome", "exit", "sent", "confirmed", "remaining"],
        rows,
        right=frozenset({0, 5, 6, 7, 8}),
    )
