"""Makes the checks of `syncengine doctor` in order, each that can be, whatever is wrong elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from syncengine.checks import Check, fault, not_checked
from syncengine.checks.answers import check_forms, check_mapping
from syncengine.checks.machine import check_disk, check_lock, check_permissions, check_sqlite, check_state
from syncengine.checks.source import NO_FIELDS, check_source
from syncengine.checks.space import check_clock, check_limits, check_space, limits_of
from syncengine.cli.asking import NETWORK, key_refused, place_of_key
from syncengine.cli.call import Call
from syncengine.cli.looking import Look, look
from syncengine.cli.usable import Usable, read_usable
from syncengine.config import Settings
from syncengine.errors import ConfigError, RejectedError, TransientError, UnauthorizedError
from syncengine.load import OpenedSource
from syncengine.qomon.address import region
from syncengine.store.glance import Glance


@dataclass(frozen=True, slots=True)
class Examined:
    """All checks, and what the space showed."""

    checks: list[Check]
    look: Look
    limits: dict[str, float | None]

    @property
    def is_well(self) -> bool:
        """Whether there is nothing to do."""
        return all(check.ok is not False for check in self.checks)

    def as_json(self) -> dict[str, Any]:
        """Return the object of `doctor --json`."""
        tokens = float(self.look.tokens)
        return {
            "ok": self.is_well,
            "checks": [check.as_json() for check in self.checks],
            "limits": self.limits,
            "group_id": self.look.group_id,
            "clock_difference": self.look.clock_difference,
            "tokens": int(tokens) if tokens.is_integer() else round(tokens, 3),
            "requests": self.look.requests,
        }


def examine(call: Call) -> Examined:
    """Make all checks; the space is read for 7 tokens. What is wrong ends in a check, never in an error."""
    usable = read_usable(call)
    opened: OpenedSource | None = None
    machine, known = _check_machine(usable)
    source = [not_checked("source", _broken("source")), not_checked("columns", _broken("source"))]
    if "source" in usable.sections:
        source, opened = check_source(
            usable.settings,
            has_fields="fields" in usable.sections,
            proven=known.kept if known is not None else (),
        )
    key = _key(usable)
    seen = asyncio.run(look(usable.settings, key)) if isinstance(key, SecretStr) else Look()
    space = list(space_checks(usable, key, seen, known, opened))
    limits = limits_of(seen.heard, usable.settings.destination)
    return Examined([_configuration(call.config, usable), *source, *space, *machine], seen, limits)


def _broken(section: str) -> str:
    return f"[{section}] cannot be used"


def _configuration(config: Path, usable: Usable) -> Check:
    if usable.error is not None:
        return fault("configuration", usable.error)
    return Check("configuration", True, f"{config} can be used")


# --- the space


def _key(usable: Usable) -> SecretStr | Check:
    """Return the API key, or the check that says why there is none."""
    if "destination" not in usable.sections:
        return not_checked("key", _broken("destination"))
    try:
        return usable.settings.api_key()
    except ConfigError as error:
        return fault("key", error)


def space_checks(
    usable: Usable, key: SecretStr | Check, seen: Look, known: Glance | None, opened: OpenedSource | None
) -> Iterator[Check]:
    """Yield what a look at the space says. `key`: or why there is none; `known`: by the state file."""
    settings = usable.settings
    wanted = settings.destination
    if isinstance(key, Check):
        why = "there is no key" if key.ok is False else _broken("destination")
        yield from (key, not_checked("connection", why))
    else:
        why = "the key was refused" if isinstance(seen.error, UnauthorizedError) else "no answer"
        yield from _check_answer(settings, seen)
    if seen.is_open or seen.heard.rate is not None:
        yield check_limits(seen.heard, wanted, known.due if known else 0)
    else:
        yield not_checked("limits", why)
    yield not_checked("clock", why) if seen.clock_difference is None else check_clock(seen.clock_difference)
    if "destination" in usable.sections:
        is_refused = isinstance(seen.error, UnauthorizedError)
        yield check_space(
            settings.state.path,
            known,
            wanted.base_url,
            None if is_refused or isinstance(key, Check) else key.get_secret_value(),
            seen=seen.group_id,
            why=None if seen.is_open else why,
        )
    else:
        yield not_checked("space", why)
    if seen.forms is None:
        is_unread = seen.is_open and seen.error is not None
        yield _unread_forms(seen) if is_unread else not_checked("forms", why)
        yield not_checked("mapping", "the forms are not known")
        return
    yield check_forms(seen.forms)
    if "fields" in usable.sections:
        yield from check_mapping(settings.fields, opened, seen.forms)
    else:
        yield not_checked("mapping", NO_FIELDS)


def _check_answer(settings: Settings, seen: Look) -> Iterator[Check]:
    """Yield what the first read says of the key and of the way to the space."""
    error = None if seen.is_open else seen.error
    url = settings.destination.base_url
    where = f"{url} ({region(url)})"
    if isinstance(error, UnauthorizedError):
        yield Check("key", False, *key_refused(settings, error))
    elif error is not None:
        yield not_checked("key", "no answer")
    else:
        yield Check("key", True, f"valid; from {place_of_key(settings)}")
    if error is None or isinstance(error, UnauthorizedError):
        yield Check("connection", True, f"{where} answers")
    elif seen.throttled:
        remedy = (
            "another program spends this key's tokens: let it end, or give us a part with [destination] share"
        )
        yield Check("connection", False, f"{where} answers only that the tokens are spent (HTTP 429)", remedy)
    elif isinstance(error, TransientError):
        yield Check("connection", False, f"{where}: {error}", NETWORK)
    elif isinstance(error, RejectedError):
        told = f"{where} refused the simplest search ({error})"
        yield Check("connection", False, told, "report it: the API is not as syncengine knows it")
    else:
        told, _, remedy = str(error).partition(". Check ")
        yield Check("connection", False, f"{where}: {told}", f"check {remedy}" if remedy else NETWORK)


def _unread_forms(seen: Look) -> Check:
    if isinstance(seen.error, UnauthorizedError):
        told = f"the key may not read them (HTTP {seen.error.status})"
        return Check("forms", False, told, "give it the right to in the space's settings")
    return Check("forms", False, f"they cannot be read: {seen.error}", "try again in a while")


# --- this machine


def _check_machine(usable: Usable) -> tuple[list[Check], Glance | None]:
    settings, why = usable.settings, _broken("state")
    if "state" not in usable.sections:
        names = ("state", "lock", "permissions", "disk")
        return [*(not_checked(name, why) for name in names), check_sqlite()], None
    path = settings.state.path
    state, known = check_state(path)
    source = settings.source.path if settings.source is not None else None
    return [
        state,
        check_lock(path),
        check_permissions(path, settings.destination.api_key_file),
        check_disk(path, source),
        check_sqlite(),
    ], known
