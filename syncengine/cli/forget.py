"""`syncengine forget`: erases contacts from the state store for good."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from syncengine.cli.call import Call, with_shared_options
from syncengine.cli.output import Page, say
from syncengine.cli.words import plural
from syncengine.errors import StoreError
from syncengine.model import EXIT_FAILED

if TYPE_CHECKING:
    from syncengine.store.acts import Forgotten


@click.command(short_help="Erase contacts from the state store for good.")
@click.argument("keys", nargs=-1, required=True, metavar="KEY... | -")
@click.option("--yes", is_flag=True, help="Do not ask first.")
@with_shared_options
def forget(call: Call, keys: tuple[str, ...], *, yes: bool) -> int:
    """Erase the contacts with these KEYs (-: one per line on stdin) from the state store for good.

    Later loads skip the keys. Nothing is deleted in Qomon: the answer names the contact's id there, if known,
    and the exports to delete by hand.
    """
    settings = call.settings()
    wanted = _read_keys() if keys == ("-",) else list(dict.fromkeys(keys))
    if not wanted:
        raise click.UsageError("no key was given")
    path = settings.state.path
    if not path.exists():
        raise StoreError(f"{path}: there is no state store yet, so there is nobody to forget")
    if not yes and sys.stdin.isatty() and not call.is_json:
        question = f"Erase {plural(len(wanted), 'contact')} from {path} for good?"
        if not click.confirm(question, err=True):
            say("nothing was erased")
            return EXIT_FAILED

    from syncengine.store.acts import forget as erase  # noqa: PLC0415 - not needed for --help
    from syncengine.store.opened import open_store  # noqa: PLC0415

    with open_store(path) as store:
        forgotten = erase(store, wanted)
    return call.show(
        {"forgotten": [one._asdict() for one in forgotten]}, lambda page: write_forgotten(page, forgotten)
    )


def _read_keys() -> list[str]:
    lines = (line.rstrip("\r\n") for line in sys.stdin)
    return list(dict.fromkeys(line for line in lines if line.strip()))


def write_forgotten(page: Page, forgotten: list[Forgotten]) -> None:
    """Write for each key what was erased and what is left elsewhere."""
    for one in forgotten:
        page.line(f"{one.key}: {_in_words(one)}")
    exports = sorted({export for one in forgotten for export in one.exports})
    if exports:
        page.line()
        page.line("These exports may still name them; delete them by hand:")
        for export in exports:
            page.line(export, indent=2)


def _in_words(one: Forgotten) -> str:
    if not one.was_known:
        return "was not in the state store; later loads will skip this key"
    if not one.was_sent:
        return "erased; it was never sent to Qomon"
    where = f"under id {one.remote_id}" if one.remote_id is not None else "(its id there is not known)"
    return f"erased here. Qomon still holds the contact {where}: delete it there by hand"
