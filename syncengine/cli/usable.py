"""What of the settings can be used although something in the file is wrong, or there is no file at all.

Section by section, so that a broken `[fields]` keeps nobody from looking up the forms it should name. A
section that is not sound is as if it were not there: whoever asks must look at `sections` first.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from typing import Any, NamedTuple

from syncengine.cli.call import Call
from syncengine.config import Settings
from syncengine.errors import ConfigError

SECTIONS = frozenset(Settings.model_fields)


class Usable(NamedTuple):
    """The settings of the sound `sections`, and what is wrong with the others."""

    settings: Settings
    sections: frozenset[str]
    error: ConfigError | None


def read_usable(call: Call) -> Usable:
    """Read what can be read of the settings. Never raises ConfigError."""
    try:
        return Usable(call.settings(), SECTIONS, None)
    except ConfigError as error:
        fault = error
    try:
        table = tomllib.loads(call.config.read_text("utf-8"))
    except FileNotFoundError:
        table = {}
    except (OSError, ValueError):
        return Usable(Settings(), frozenset(), fault)
    sound = frozenset(name for name in SECTIONS if _try(call, table, {name}) is not None)
    found = _try(call, table, sound)
    return Usable(Settings(), frozenset(), fault) if found is None else Usable(found, sound, fault)


def destination_of(call: Call, *, needs_file: bool) -> Settings:
    """Return settings with a sound `[destination]`; the rest need not be, nor the file unless it is needed.

    Raises ConfigError.
    """
    found = read_usable(call)
    is_there = call.config.exists() or not needs_file
    if found.error is not None and ("destination" not in found.sections or not is_there):
        raise found.error
    return found.settings


def _try(call: Call, table: Mapping[str, Any], sections: frozenset[str] | set[str]) -> Settings | None:
    """Read some sections as if there were no others, in the environment and among the flags too."""
    ours = tuple(f"SYNCENGINE_{name}_".upper() for name in sections)
    try:
        return Settings.from_mapping(
            {name: section for name, section in table.items() if name in sections},
            origin=str(call.config),
            folder=call.config.parent,
            overrides={n: text for n, text in call.overrides.items() if n.partition(".")[0] in sections},
            environ={n: text for n, text in os.environ.items() if n.startswith(ours)},
        )
    except ConfigError:
        return None
