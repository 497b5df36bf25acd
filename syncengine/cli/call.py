"""What every command takes: `--config`, `--json`, `--set`, `--debug`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from syncengine.cli.output import Page, write_json
from syncengine.model import EXIT_DONE, EXIT_FAILED

if TYPE_CHECKING:
    from syncengine.config import Settings

CONFIG = "syncengine.toml"


class Interrupted(BaseException):
    """A signal ended a command that has no report of its own. `code` is its exit code."""

    def __init__(self, code: int, message: str = "interrupted") -> None:
        self.code = code
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Call:
    """How a command was called."""

    config: Path
    is_json: bool
    overrides: Mapping[str, str]

    def settings(self, flags: Mapping[str, object] | None = None) -> Settings:
        """Read the settings. `flags`: setting -> value of a command's own flag, None when not given."""
        from syncengine.config import Settings  # noqa: PLC0415 - not needed for --help

        given = {name: str(value) for name, value in (flags or {}).items() if value is not None}
        return Settings.load(self.config, overrides={**self.overrides, **given})

    def refuse_if_locked(self, settings: Settings) -> None:
        """Raise LockHeldError at once when another process writes, before the engine is even imported."""
        from syncengine.store.lock import RunLock, is_locked  # noqa: PLC0415 - not needed for --help

        if is_locked(settings.state.path):
            with RunLock(settings.state.path):  # raises, naming its holder
                pass

    def show(
        self, content: Mapping[str, Any], write: Callable[[Page], None], *, code: int = EXIT_DONE
    ) -> int:
        """Write the result, for a program or for people, and return the exit code."""
        if self.is_json:
            is_written = write_json(content)
        else:
            page = Page()
            write(page)
            is_written = page.write()
        return code if is_written else code or EXIT_FAILED


def with_shared_options(function: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options that all have; it is called with a `Call` first."""

    @click.option(
        "--config",
        metavar="FILE",
        default=CONFIG,
        type=click.Path(path_type=Path, readable=False),
        help=f"The configuration (./{CONFIG}).",
    )
    @click.option("--json", "is_json", is_flag=True, help="Print one JSON object and nothing else on stdout.")
    @click.option(
        "--set",
        "overrides",
        metavar="SECTION.KEY=VALUE",
        multiple=True,
        callback=_read_overrides,
        help="Replace one setting; may be repeated.",
    )
    @click.option("--debug", is_flag=True, help="Show the traceback of a bug (may show people's values).")
    @functools.wraps(function)
    def run(
        *args: Any, config: Path, is_json: bool, overrides: dict[str, str], debug: bool, **kwargs: Any
    ) -> int:
        del debug  # read in `exits`
        return function(Call(config, is_json, overrides), *args, **kwargs)

    return run


def _read_overrides(
    _ctx: click.Context, _parameter: click.Parameter, given: tuple[str, ...]
) -> dict[str, str]:
    overrides = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise click.BadParameter("must look like run.in_flight=8")
        overrides[name.strip()] = value
    return overrides
