"""`syncengine explain KEY`: everything known of one contact, in order."""

from __future__ import annotations

from typing import Any

import click

from syncengine.cli.call import Call, with_shared_options
from syncengine.cli.contents import flat
from syncengine.cli.output import Page
from syncengine.cli.words import stamp
from syncengine.errors import StoreError


@click.command(short_help="Everything known of one contact, in order.")
@click.argument("key")
@with_shared_options
def explain(call: Call, key: str) -> int:
    """Tell the story of the contact with this KEY: its content, its state, what was sent and answered.

    Shows the person's values. Only reads.
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
    if found.get("missing"):
        page.line("No longer in the source.", indent=2)
    if found.get("in_doubt"):
        page.line("An earlier send got no definite answer.", indent=2)
    if found["content"] is not None:
        page.line()
        page.line("Content, as it is sent to Qomon:")
        changed = set(found["changed_fields"])
        for name, value in flat(found["content"]):
            is_changed = found["accepted"] is not None and name in changed
            page.fact(name, value, "changed since Qomon last accepted it" if is_changed else "")
    page.line()
    page.line("What happened:")
    for event in found["events"]:
        page.line(f"{stamp(event['at'])}  {_in_words(event)}", indent=2)


def _in_words(event: dict[str, Any]) -> str:
    parts = [event["event"]]
    if event.get("status") is not None:
        parts.append(f"HTTP {event['status']}")
    if event.get("line") is not None:
        parts.append(f"line {event['line']}")
    if event.get("column"):
        parts.append(f"column {event['column']}")
    if event.get("run") is not None:
        parts.append(f"run {event['run']}")
    text = ", ".join(parts)
    for name in ("reason", "detail", "remedy"):
        if event.get(name):
            text += f". {event[name]}" if name == "remedy" else f": {event[name]}"
    return text
