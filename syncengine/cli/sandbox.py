"""`syncengine sandbox`: a local Qomon to try things on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.command(short_help="Run a local Qomon to try things on.")
@click.option("--host", help="Address to listen on (127.0.0.1).")
@click.option("--port", type=click.IntRange(0, 65535), help="Port; 0: any free one (0).")
@click.option("--burst", metavar="TOKENS", type=int, help="Tokens in a full bucket (100).")
@click.option("--rate", metavar="PER_SECOND", type=float, help="Tokens per second (10).")
@click.option("--unlimited", is_flag=True, default=None, help="Announce a million of each instead.")
@click.option("--lag", metavar="SECONDS", type=float, help="From the 202 to the contact being applied (2).")
@click.option("--latency", metavar="SECONDS", type=float, help="Before each answer (0).")
@click.option("--seed", metavar="N", type=int, help="Of people, API key and faults (0).")
@click.option("--contacts", metavar="N", type=int, help="People that are there from the start (0).")
@click.option("--faults", metavar="FILE", type=click.Path(path_type=Path), help="TOML file of faults.")
@click.option("--json", "_json", is_flag=True, expose_value=False, help="Its first line is JSON in any case.")
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of a bug.")
@click.option("--config", hidden=True, expose_value=False)
def sandbox(**given: Any) -> int:
    """Run a local Qomon: its limits, its matching rules and its silence, and nothing of its space.

    Prints one JSON line with base_url and api_key when it is ready; runs until Ctrl-C or SIGTERM.
    GET /_sandbox/stats, /_sandbox/contacts and /_sandbox/history show what it holds.
    """
    from syncengine.sandbox import SandboxOptions, run  # noqa: PLC0415 - it needs none of the other commands

    try:
        options = SandboxOptions(**{name: value for name, value in given.items() if value is not None})
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    run(options)
    return 0
