"""Settings: every default and unit, validated once, with errors that name file, key and remedy.

A flag beats the environment (`SYNCENGINE_<SECTION>_<KEY>` for every scalar key), which beats the file, which
beats the default. Relative paths in the file are relative to it. The API key itself is never a setting:
the settings say where it is kept.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

from pydantic import Field, SecretStr, ValidationError, field_validator

from syncengine.complaints import explain, nearest
from syncengine.errors import ConfigError
from syncengine.qomon import fields as qomon
from syncengine.sections import (
    DestinationSettings,
    FieldRule,
    IdentitySettings,
    RunSettings,
    Section,
    SourceSettings,
    StateSettings,
    VerifySettings,
)

DEFAULT_PATH = Path("syncengine.toml")


LIVE = "SYNCENGINE_LIVE"
"""No setting: lets the project's contract tests send to a real test space."""


class Settings(Section):
    """All settings. Frozen; make them with `Settings.load` or `Settings.from_mapping`."""

    state: StateSettings = StateSettings()
    source: SourceSettings | None = None
    fields: dict[str, FieldRule] = Field(default_factory=dict)
    destination: DestinationSettings = DestinationSettings()
    run: RunSettings = RunSettings()
    identity: IdentitySettings = IdentitySettings()
    verify: VerifySettings = VerifySettings()

    @field_validator("fields", mode="before")
    @classmethod
    def _short_rules(cls, value: object) -> object:
        """Turn `field = "column"` into `field = { column = "column" }`, sub-tables into dotted names."""
        if not isinstance(value, Mapping):
            return value
        return {
            name: {"column": rule} if isinstance(rule, str) else rule for name, rule in _dotted(value).items()
        }

    @field_validator("fields")
    @classmethod
    def _known_fields(cls, value: dict[str, FieldRule]) -> dict[str, FieldRule]:
        for name, rule in value.items():
            try:
                qomon.check_rule(name, rule)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return value

    @field_validator("verify")
    @classmethod
    def _known_ignored(cls, value: VerifySettings) -> VerifySettings:
        for name in value.ignore:
            try:
                qomon.check_compared(name)
            except ValueError as error:
                raise ValueError(f"ignore: {name!r} {error}") from None
        return value

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str] = DEFAULT_PATH,
        *,
        overrides: Mapping[str, str] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Self:
        """Read a `syncengine.toml`, then the environment, then `overrides` (`{"run.in_flight": "8"}`).

        Raises ConfigError naming the file and the key.
        """
        file = Path(path)
        try:
            with file.open("rb") as stream:
                table = tomllib.load(stream)
        except FileNotFoundError:
            raise ConfigError(
                f"{file}: there is no such file; make one with: syncengine init --config {file}"
            ) from None
        except OSError as error:
            raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ConfigError(f"{file}: is not UTF-8 text; save it as UTF-8") from None
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{file}: is not valid TOML: {error}") from None
        return cls.from_mapping(
            table, origin=str(file), folder=file.parent, overrides=overrides, environ=environ
        )

    @classmethod
    def from_mapping(
        cls,
        table: Mapping[str, Any],
        *,
        origin: str = "settings",
        folder: Path = Path(),
        overrides: Mapping[str, str] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Self:
        """Validate a table shaped like the file. `folder`: what its relative paths are relative to.

        Raises ConfigError. `environ` defaults to the process's environment.
        """
        merged: dict[str, Any] = {
            name: dict(section) if isinstance(section, Mapping) else section
            for name, section in table.items()
        }
        environ = os.environ if environ is None else environ
        origins: dict[tuple[str, str], str] = {}
        _anchor_paths(merged, folder)
        given = _from_environment(environ) | {
            _section_and_key(name): (f"--set {name}", text) for name, text in (overrides or {}).items()
        }
        for (section, key), (place, text) in given.items():
            holder = merged.setdefault(section, {})
            if isinstance(holder, dict):
                holder[key] = _typed(_sections()[section], key, text, place)
                origins[section, key] = place
        try:
            return cls.model_validate(merged)
        except ValidationError as error:
            raise ConfigError(explain(error, origin, origins, _sections(), FieldRule)) from None

    def api_key(self, environ: Mapping[str, str] | None = None) -> SecretStr:
        """Return the API key from where the settings say it is kept.

        Raises ConfigError when it is missing, empty, or holds characters no header can carry.
        """
        wanted = self.destination
        if wanted.api_key_file is not None:
            place = f"[destination] api_key_file = {str(wanted.api_key_file)!r}"
            try:
                key = wanted.api_key_file.read_text("utf-8").strip()
            except OSError as error:
                raise ConfigError(f"{place}: cannot be read: {error.strerror}") from None
            except UnicodeDecodeError:
                raise ConfigError(f"{place}: does not hold text") from None
        else:
            # Somebody may have put the key itself there: only what looks like a variable is named.
            named = f" {wanted.api_key_env}" if wanted.api_key_env.isupper() else ""
            place = f"environment variable{named} ([destination] api_key_env)"
            key = (os.environ if environ is None else environ).get(wanted.api_key_env, "").strip(" ")
        if not key:
            raise ConfigError(
                f"{place}: holds no API key; make one in Qomon's settings and put it there "
                "(or name another place with [destination] api_key_env or api_key_file)"
            )
        if not re.fullmatch(r"[\x21-\x7e]+", key):
            raise ConfigError(
                f"{place}: the API key holds line breaks or other impossible characters; copy it again"
            )
        return SecretStr(key)

    def deadline(self, now: float) -> float | None:
        """Return `[run] until` as a Unix time: the next such local time after `now`, None without one."""
        if not self.run.until:
            return None
        hour, minute = (int(part) for part in self.run.until.split(":"))
        today = datetime.fromtimestamp(now).replace(  # noqa: DTZ006 - local time is what is asked for
            hour=hour, minute=minute, second=0, microsecond=0
        )
        # Days are counted on the wall clock, and an hour that comes twice (fold) counts twice: a day on which
        # the clocks change has 23 or 25 hours.
        moments = [
            (today + timedelta(days=days)).replace(fold=fold).timestamp()
            for days in (0, 1)
            for fold in (0, 1)
        ]
        return next(moment for moment in moments if moment > now)


def _dotted(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return `[fields]` with `address.city = …` (a TOML sub-table) spelled as one dotted name."""
    flat: dict[str, Any] = {}
    for name, rule in table.items():
        if isinstance(rule, dict) and name.partition(".")[0] in {qomon.ADDRESS, *qomon.ADVANCED}:
            if rule.keys() & {"column", "constant"}:
                flat[name] = rule
            else:
                flat |= _dotted({f"{name}.{part}": inner for part, inner in rule.items()})
        else:
            flat[name] = rule
    return flat


def _anchor_paths(table: dict[str, Any], folder: Path) -> None:
    """Make the paths of the file, and the default one, relative to its folder."""
    state = table.setdefault("state", {})
    if isinstance(state, dict):
        state.setdefault("path", str(StateSettings().path))
    for section, key in (("state", "path"), ("source", "path"), ("destination", "api_key_file")):
        holder = table.get(section)
        if (
            isinstance(holder, dict)
            and isinstance(path := holder.get(key), str)
            and path[:1] not in {"", "~"}
        ):
            holder[key] = str(folder / path)


def _sections() -> dict[str, type[Section]]:
    return {
        "state": StateSettings,
        "source": SourceSettings,
        "destination": DestinationSettings,
        "run": RunSettings,
        "identity": IdentitySettings,
        "verify": VerifySettings,
    }


def _names() -> list[str]:
    return [
        f"{section}.{key}"
        for section, model in _sections().items()
        for key, field in model.model_fields.items()
        if field.annotation != list[str]  # lists are for the file alone
    ]


def _section_and_key(name: str) -> tuple[str, str]:
    if name not in _names():
        raise ConfigError(f"--set {name}: there is no such setting{nearest(name, _names())}")
    section, _, key = name.partition(".")
    return section, key


def _from_environment(environ: Mapping[str, str]) -> dict[tuple[str, str], tuple[str, str]]:
    """Return (section, key) -> (place, text). Raises ConfigError for a variable that only looks like ours."""
    known = {f"SYNCENGINE_{name.replace('.', '_')}".upper(): name for name in _names()}
    found: dict[tuple[str, str], tuple[str, str]] = {}
    for variable, text in environ.items():
        if variable in known:
            found[_section_and_key(known[variable])] = (f"environment variable {variable}", text)
        elif variable.startswith("SYNCENGINE_") and variable != LIVE:
            raise ConfigError(
                f"environment variable {variable}: there is no such setting{nearest(variable, list(known))}"
            )
    return found


def _typed(model: type[Section], key: str, text: str, place: str) -> object:
    """Read a text from outside as the setting's type; what it may be is checked with everything else."""
    kind = model.model_fields[key].annotation
    try:
        if kind is bool:
            return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[
                text.lower()
            ]
        if kind is int:
            return int(text)
        if kind is float:
            return float(text)
    except (KeyError, ValueError):
        expected = "true or false" if kind is bool else "a whole number" if kind is int else "a number"
        raise ConfigError(f"{place}: must be {expected}") from None
    return None if text == "" and model.model_fields[key].default is None else text
