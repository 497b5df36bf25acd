"""What reads showed, in words: reports of runs that compared, findings about fields, facts of a problem."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from syncengine.cli.output import Page
from syncengine.cli.words import duration, number, plural

STYLES = {"done": "bold green", "problems": "bold yellow", "stopped": "bold yellow"}
KEYS_TOLD = 5
"""Other keys that a line names, unless all are asked for."""

DONE = "Done: everybody in the source is in Qomon as sent."
SETTLED = {
    "confirmed": "seen in Qomon as sent",
    "differs": "seen in Qomon with other values",
    "dropped": "accepted, then not applied",
    "unconfirmed": "Qomon took them (202); not seen yet, the next sync looks again",
}
"""What a read shows of a contact, in the order in which it is told."""


def headline(report: Mapping[str, Any], done: str = DONE) -> str:
    """Return how a run ended, in one sentence. `done`: what to say of one without problems."""
    reason = f" ({report['reason']})" if report["reason"] else ""
    match report["outcome"]:
        case "done":
            return done
        case "problems":
            return "Finished, but not everybody is in Qomon as in the source."
        case "stopped":
            return f"Stopped before the end{reason}."
        case "interrupted":
            return f"Interrupted{reason}: run the same command again, it goes on where it stopped."
        case _:
            return f"Failed{reason}."


def write_end(page: Page, report: Mapping[str, Any]) -> None:
    """Write what every run that compares ends with: findings, open problems, what it took."""
    for finding in report["findings"]:
        page.line(f"{finding_in_words(finding)}.")
    page.line(_problems(report))
    page.line(_effort(report), style="dim")


def write_settled(page: Page, counts: Mapping[str, int], *, always: Sequence[str] = ()) -> None:
    """Write contacts by what a read showed, the rare ones only when there are any, but for `always`."""
    for name, meaning in SETTLED.items():
        if counts.get(name) or name in always:
            page.fact(name, number(counts.get(name, 0)), meaning if counts.get(name) else "")


def finding_in_words(finding: Mapping[str, Any]) -> str:
    """Return a finding about a whole field; its examples are shapes, no values."""
    field, sent, shown = finding["field"], finding["sent"], finding["shown"]
    found = f"Qomon rewrites {field}: sent as {sent}, seen as {shown}"
    if shown == "nothing":
        found = f"Qomon does not show {field}: sent as {sent}, nothing is seen"
    return (
        f"{found} (in {number(finding['differs'])} of {number(finding['seen'])} contacts); "
        "name it in [verify] ignore if that is fine"
    )


def facts_in_words(facts: Mapping[str, Any], *, is_all: bool = True) -> list[str]:
    """Return what else there is to tell of a problem, a line each. `is_all`: name all other keys."""
    others = others_in_words(facts, is_all=is_all)
    return [*([others] if others else []), *differences_in_words(facts), *hints(facts)]


def others_in_words(facts: Mapping[str, Any], *, is_all: bool = True) -> str:
    """Return the keys a contact collides with, or the Qomon ids that fit it; empty without any."""
    parts = []
    if keys := facts.get("keys", ()):
        shown = keys if is_all else keys[:KEYS_TOLD]
        more = len(keys) - len(shown) + facts.get("more", 0)
        named = ", ".join(shown) + (f" and {more:,} more" if more else "")
        parts.append(f"could be {named}")
    if ids := facts.get("ids", ()):
        parts.append("ids in Qomon: " + ", ".join(map(str, ids)))
    return "; ".join(parts)


def hints(facts: Mapping[str, Any]) -> list[str]:
    """Return the hints of a problem."""
    return [*facts.get("hints", ()), *([facts["hint"]] if facts.get("hint") else [])]


def seen_in_words(seen: object) -> str:
    """Return what a read showed of a field."""
    return f"seen in Qomon: {_text(seen)}" if _text(seen) else "nothing is seen in Qomon"


def differences_in_words(facts: Mapping[str, Any]) -> list[str]:
    """Return `phone: sent 99; seen in Qomon: +99` for each differing field of which the values are given."""
    return [
        f"{one['field']}: sent {_text(one['sent']) or 'nothing, to clear it'}; {seen_in_words(one['seen'])}"
        for one in facts.get("fields", ())
        if "sent" in one
    ]


def _text(value: object) -> str:
    if value is None:
        return ""
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _problems(report: Mapping[str, Any]) -> str:
    if not report["problems_open"]:
        return "Problems: none"
    new = f"{report['problems_new']:,} of them new" if report["problems_new"] else "none of them new"
    return f"Problems: {report['problems_open']:,} open, {new}; see them with: syncengine problems"


def _effort(report: Mapping[str, Any]) -> str:
    parts = [
        f"Run {report['run']} took {duration(report['seconds'])}",
        plural(report["requests"], "request"),
        f"{number(report['tokens'])} {'token' if report['tokens'] == 1 else 'tokens'}",
    ]
    if report["throttled"]:
        parts.append(plural(report["throttled"], "answer", "answers") + " of 429")
    return ", ".join([*parts, f"exit code {report['exit']}"])
