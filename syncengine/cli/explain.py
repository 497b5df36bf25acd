"""`syncengine explain KEY`: everything known of one contact, in order."""

from __future__ import annotations

from typing import Any

import click

from syncengine.cli.call import Call, with_shared_options
from syncengine.cli.contents import flat
from syncengine.cli.output import Page
from syncengine.cli.telling import facts_in_words, seen_in_words
from syncengine.cli.words import stamp
from syncengine.errors import StoreError

STANDING = {
    "missing": "No longer in the source.",
    "in_doubt": "An earlier send got no definite answer.",
    "awaiting": "Accepted, and not seen in Qomon yet: the next sync or syncengine verify looks for it.",
}
PROBLEMS = ("held", "rejected", "dropped", "differs")
WORDS = {
    "confirmed": "confirmed: seen in Qomon as sent",
    "dropped": "accepted, then not applied",
    "retried": "tried again",
}
"""Events that are told in other words than their names."""


@click.command(short_help="Everything known of one contact, in order.")
@click.argument("key")
@with_shared_options
def explain(call: Call, key: str) -> int:
    """Tell the story of the contact with this KEY: its content, its state, what was sent and answered.

    And what Qomon was seen to hold. Shows the person's values. Only reads.
    """
    settings = call.settings()

    from syncengine.store import views  # noqa: PLC0415 - not needed for --help

    path = settings.state.path
    with views.reading(path) as connection:
        found = views.explain(connection, key, path)
    if found is None:
        raise StoreError(
            f"the state store knows no contact with the key {key!r}; keys are compared letter by letter, "
            "and a forgotten contact is known no more"
        )
    return call.show(found, lambda page: write_story(page, found))


def write_story(page: Page, found: dict[str, Any]) -> None:
    """Write a contact's story."""
    page.line(f"{found['key']}: {found['state'].replace('_', ' ')}", style="bold")
    if found["id"] is not None:
        page.fact("id in Qomon", str(found["id"]))
    for name, told in STANDING.items():
        if found.get(name):
            page.line(told, indent=2)
    if found["content"] is not None:
        page.line()
        page.line("Content, as it is sent to Qomon:")
        _write_content(page, found)
    if found["kept"]:
        page.line()
        page.line("Kept in Qomon: the source does not say it any more, and an upsert does not take it away:")
        for name, value in flat(found["kept"]):
            page.fact(name, value)
    page.line()
    page.line("What happened:")
    for event in found["events"]:
        page.line(f"{stamp(event['at'])}  {_in_words(event)}", indent=2)
        if event["event"] in PROBLEMS and "remedy" in event:
            for line in facts_in_words(found["facts"]):
                page.line(line, indent=4)
    for remedy in dict.fromkeys(event["remedy"] for event in found["events"] if "remedy" in event):
        page.line()
        page.line(f"What to do: {remedy}.")


def _write_content(page: Page, found: dict[str, Any]) -> None:
    """Write the content field by field, and of each whether it is news and what Qomon shows instead."""
    seen = {one["field"]: seen_in_words(one["seen"]) for one in found["facts"].get("fields", ())}
    changed = set(found["changed_fields"]) if found["accepted"] is not None else set()
    for name, value in flat(found["content"]):
        news = "changed since Qomon last accepted it" if name in changed else ""
        page.fact(name, value, seen.get(name, news))


def _in_words(event: dict[str, Any]) -> str:
    """Return an event in words; its remedy is told apart."""
    parts = [WORDS.get(event["event"], event["event"])]
    if event.get("status") is not None:
        parts.append(f"HTTP {event['status']}")
    if event.get("line") is not None:
        parts.append(f"line {event['line']}")
    if event.get("column"):
        parts.append(f"column {event['column']}")
    if event.get("run"):
        parts.append(f"run {event['run']}")
    text = ", ".join(parts)
    for name in ("reason", "detail"):
        if event.get(name) and event[name] != parts[0]:
            text += f": {event[name]}"
    return text
