"""`syncengine sandbox`: a local Qomon to try things on. Its flags stand in `syncengine.sandbox.__main__`."""

from __future__ import annotations

import click


@click.command(
    short_help="Run a local Qomon to try things on.",
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    add_help_option=False,
)
@click.option("--json", "_json", is_flag=True, expose_value=False, help="Its first line is JSON in any case.")
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of a bug.")
@click.option("--config", hidden=True, expose_value=False)
@click.pass_context
def sandbox(context: click.Context) -> int:
    """Run a local Qomon: what is not an option of ours goes to the sandbox, `--help` too."""
    from syncengine.sandbox import run  # noqa: PLC0415 - it needs none of the other commands
    from syncengine.sandbox.__main__ import FlagsError, read  # noqa: PLC0415 - as above

    try:
        options = read(context.args, prog=context.command_path)
    except FlagsError as error:
        raise click.UsageError(str(error), context) from None
    except SystemExit:  # its help was asked for and shown
        return 0
    run(options)
    return 0
