"""`syncengine init`: a commented configuration, filled in from a file's header."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from syncengine.cli.call import CONFIG, Call, with_shared_options
from syncengine.cli.output import Page
from syncengine.cli.words import plural
from syncengine.errors import ConfigError

if TYPE_CHECKING:
    from syncengine.cli.guessing import Guess, Guesses
    from syncengine.qomon import Forms, QomonClient
    from syncengine.sections import DestinationSettings

EXAMPLE = "members.csv"


@click.command(short_help="Write a commented syncengine.toml, filled in from a CSV's header.")
@click.argument("source", required=False, type=click.Path(path_type=Path), metavar="[MEMBERS.csv]")
@click.option("--from-space", is_flag=True, help="Match the columns with the forms of the space as well.")
@with_shared_options
def init(call: Call, source: Path | None, *, from_space: bool) -> int:
    """Write a commented configuration to ./syncengine.toml (or --config FILE).

    With a CSV or TSV file, its key and its columns are guessed from the header and the first rows; look the
    guesses over before the first sync. An existing file is never overwritten.

    With --from-space the space's forms are read (6 tokens; its address and key as for syncengine forms), and
    columns called like a form answer it. For forms with options the cells' few texts are matched with them.
    """
    if os.path.lexists(call.config):
        raise ConfigError(f"{call.config}: exists already and is not overwritten; name another with --config")
    if from_space and source is None:
        raise click.UsageError(
            "--from-space needs the file whose columns it matches", click.get_current_context()
        )
    forms, destination = _read_forms(call) if from_space else (None, None)
    guesses = None
    if source is not None:
        from syncengine.cli.guessing import guess  # noqa: PLC0415 - not needed for --help

        guesses = guess(source, forms)
    key_file = destination.api_key_file if destination is not None else None
    text = compose(
        guesses,
        _path_for(call.config, source),
        destination,
        _path_for(call.config, key_file) if key_file is not None else "",
    )
    _check(text, call.config)
    _write(call.config, text)
    mapped = [] if guesses is None else [one for one in guesses.fields if not one.doubt]
    found = {
        "config": str(call.config),
        "key": guesses and guesses.key,
        "fields": {one.field: one.column for one in mapped},
        "unmapped": []
        if guesses is None
        else [one.column for one in guesses.fields if one.doubt] + [*guesses.others],
    }
    if from_space and guesses is not None:
        found["forms"] = [name for name, _ in guesses.forms]
    then = "doctor" if from_space else "load"
    return call.show(found, lambda page: _tell(page, call.config, guesses, then))


def _read_forms(call: Call) -> tuple[Forms, DestinationSettings]:
    from syncengine.cli.asking import ask  # noqa: PLC0415 - only here a space is asked
    from syncengine.cli.usable import destination_of  # noqa: PLC0415 - as above

    async def read(client: QomonClient) -> Forms:
        return await client.forms()

    settings = destination_of(call, needs_file=False)
    return ask(settings, read), settings.destination


def _tell(page: Page, config: Path, guesses: Guesses | None, then: str) -> None:
    page.line(f"Wrote {config}.", style="bold")
    if guesses is None:
        page.line("Fill in [source] and [fields], then: syncengine load")
        return
    mapped = [guess for guess in guesses.fields if not guess.doubt]
    width = max([24, *(len(guess.field) + 2 for guess in mapped)])
    room = max([10, *(len(guess.column) + 2 for guess in mapped if _options(guess))])
    page.fact("key", guesses.key, guesses.key_doubt, width=width)
    for guess in mapped:
        page.fact(guess.field, guess.column, ", ".join(_options(guess)), width=width, room=room)
    doubtful = [guess for guess in guesses.fields if guess.doubt]
    left = [f"{guess.column} ({guess.field}? {guess.doubt})" for guess in doubtful] + list(guesses.others)
    if left:
        page.line(f"Left out, as comments: {', '.join(left)}")
    if guesses.forms:
        page.line(f"Forms without a column, as comments: {', '.join(name for name, _ in guesses.forms)}")
    page.line()
    page.line(f"Look it over, then: {_command(then, config)}")


def _options(guess: Guess) -> list[str]:
    told = []
    if guess.form:
        told.append(f"format {guess.form}")
    if guess.split:
        told.append(f"split at {guess.split}")
    if guess.values:
        told.append(plural(len(guess.values), "text") + " matched with options")
    return told


def _command(name: str, config: Path) -> str:
    return f"syncengine {name}" + ("" if config == Path(CONFIG) else f" --config {config}")


def _path_for(config: Path, source: Path | None) -> str:
    """Return the source's path as the configuration's folder sees it, absolute when it is not below it."""
    if source is None:
        return EXAMPLE
    try:
        return str(source.absolute().relative_to(config.absolute().parent))
    except ValueError:
        return str(source.absolute())


def compose(
    guesses: Guesses | None, path: str, destination: DestinationSettings | None = None, key_file: str = ""
) -> str:
    """Return the text of a configuration. `destination`: the space that was asked; `key_file`: of its key."""
    from syncengine.cli.naming import quoted  # noqa: PLC0415 - not needed for --help
    from syncengine.cli.skeleton import fields_of  # noqa: PLC0415 - as above
    from syncengine.sections import DestinationSettings  # noqa: PLC0415 - as above

    key, doubt = ("member_id", "") if guesses is None else (guesses.key, guesses.key_doubt)
    remark = doubt or "the column that identifies a person; never sent to Qomon"
    space = destination or DestinationSettings()
    key_place = f"api_key_env = {quoted(space.api_key_env)}"
    key_remark = 'the environment variable that holds the API key (or api_key_file = "…")'
    if key_file:
        key_place, key_remark = f"api_key_file = {quoted(key_file)}", "holds the API key and nothing else"
    proxy = f"\nproxy = {quoted(space.proxy)}" if space.proxy else ""
    return f"""\
# Configuration of syncengine. Relative paths are relative to this file.

[state]
path = "state.db"               # remembers what was sent; keep it, and keep it private

[source]
path = {quoted(path)}
{f"key = {quoted(key)}":<31} # {remark}
snapshot = true                 # the file holds everybody; nobody is ever deleted in Qomon

# Qomon field = column of the file. More: "custom_fields.Job" = "profession",
# {{ column = "optin", values = {{ "1" = "yes" }}, other = "skip" }}, {{ constant = "France" }}
[fields]
{fields_of(guesses)}
[destination]
base_url = {quoted(space.base_url)}
{key_place:<31} # {key_remark}
rate = 10                       # requests a second, until Qomon says otherwise
burst = 100{proxy}

[run]
in_flight = 16                  # requests at a time
# until = "06:00"               # stop sending at this local time

[identity]                      # contacts that Qomon could mistake for somebody else: "hold" or "send"
mail_only = "hold"
names_only = "hold"
none = "hold"
"""


def _check(text: str, config: Path) -> None:
    """Make sure that what is about to be written can be read."""
    from syncengine.config import Settings  # noqa: PLC0415 - not needed for --help

    Settings.from_mapping(tomllib.loads(text), origin=str(config), environ={})


def _write(path: Path, text: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None
