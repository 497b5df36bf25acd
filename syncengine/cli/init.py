"""`syncengine init`: a commented configuration, filled in from a file's header."""

from __future__ import annotations

import json
import os
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from syncengine.cli.call import CONFIG, Call, with_shared_options
from syncengine.cli.output import Page
from syncengine.errors import ConfigError

if TYPE_CHECKING:
    from syncengine.cli.guessing import Guess, Guesses

EXAMPLE = "members.csv"


@click.command(short_help="Write a commented syncengine.toml, filled in from a CSV's header.")
@click.argument("source", required=False, type=click.Path(path_type=Path), metavar="[MEMBERS.csv]")
@with_shared_options
def init(call: Call, source: Path | None) -> int:
    """Write a commented configuration to ./syncengine.toml (or --config FILE).

    With a CSV or TSV file, its key and its columns are guessed from the header and the first rows; look the
    guesses over before the first sync. An existing file is never overwritten.
    """
    if os.path.lexists(call.config):
        raise ConfigError(f"{call.config}: exists already and is not overwritten; name another with --config")
    guesses = None
    if source is not None:
        from syncengine.cli.guessing import guess  # noqa: PLC0415 - not needed for --help

        guesses = guess(source)
    text = compose(guesses, _path_for(call.config, source))
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
    return call.show(found, lambda page: _tell(page, call.config, guesses))


def _tell(page: Page, config: Path, guesses: Guesses | None) -> None:
    page.line(f"Wrote {config}.", style="bold")
    if guesses is None:
        page.line("Fill in [source] and [fields], then: syncengine load")
        return
    page.fact("key", guesses.key, guesses.key_doubt)
    for guess in guesses.fields:
        if not guess.doubt:
            options = (
                [f"format {guess.form}"] if guess.form else [f"split at {guess.split}"] if guess.split else []
            )
            page.fact(guess.field, guess.column, ", ".join(options))
    doubtful = [guess for guess in guesses.fields if guess.doubt]
    left = [f"{guess.column} ({guess.field}? {guess.doubt})" for guess in doubtful] + list(guesses.others)
    if left:
        page.line(f"Left out, as comments: {', '.join(left)}")
    page.line()
    page.line(f"Look it over, then: {_command('load', config)}")


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


def compose(guesses: Guesses | None, path: str) -> str:
    """Return the text of a configuration."""
    key, doubt = ("member_id", "") if guesses is None else (guesses.key, guesses.key_doubt)
    remark = doubt or "the column that identifies a person; never sent to Qomon"
    return f"""\
# Configuration of syncengine. Relative paths are relative to this file.

[state]
path = "state.db"               # remembers what was sent; keep it, and keep it private

[source]
path = {_quoted(path)}
{f"key = {_quoted(key)}":<31} # {remark}
snapshot = true                 # the file holds everybody; nobody is ever deleted in Qomon

# Qomon field = column of the file. More: "custom_fields.Job" = "profession",
# {{ column = "optin", values = {{ "1" = "yes" }}, other = "skip" }}, {{ constant = "France" }}
[fields]
{_fields(guesses)}
[destination]
base_url = "https://incoming.qomon.app"
api_key_env = "QOMON_API_KEY"   # the environment variable that holds the API key (or api_key_file = "…")
rate = 10                       # requests a second, until Qomon says otherwise
burst = 100

[run]
in_flight = 16                  # requests at a time
# until = "06:00"               # stop sending at this local time

[identity]                      # contacts that Qomon could mistake for somebody else: "hold" or "send"
mail_only = "hold"
names_only = "hold"
none = "hold"
"""


def _fields(guesses: Guesses | None) -> str:
    if guesses is None:
        return '# firstname = "first_name"\n# surname = "last_name"\n# mail = "email"\n'
    lines = [_rule(guess) for guess in guesses.fields if not guess.doubt]
    lines += [f"# {_rule(guess)}   # {guess.doubt}" for guess in guesses.fields if guess.doubt]
    if guesses.others:
        lines.append("# Columns without a field here (they are not sent):")
        lines += [f"#   {_quoted(column)}" for column in guesses.others]
    return "".join(f"{line}\n" for line in lines)


def _rule(guess: Guess) -> str:
    name = guess.field if re.fullmatch(r"[A-Za-z0-9_-]+", guess.field) else _quoted(guess.field)
    column = _quoted(guess.column)
    if guess.form:
        return f"{name} = {{ column = {column}, format = {_quoted(guess.form)} }}"
    if guess.split:
        return f"{name} = {{ column = {column}, split = {_quoted(guess.split)} }}"
    return f"{name} = {column}"


def _quoted(text: str) -> str:
    """Return a TOML basic string, which JSON's is but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


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
