"""Faults as a TOML file says: which requests they hit and what goes wrong.

    [[fault]]
    endpoint = "upsert"         # one of `ENDPOINTS`; default "*", every one
    kind = "status"
    share = 0.05                # of the requests that are concerned, drawn from the seed; default 1
    after = 100                 # only from the endpoint's request number 100 on, counted from 1
    count = 10                  # at most so many times
    where = { surname = "Doe" } # only requests whose contact has these values, compared as in matching
    status = 503                # the kind's own parameters, see `PARAMETERS`

The first table that hits a request decides. Only requests with a valid key that find a token in the bucket
are concerned, and each table draws from its own stream, so the same requests in the same order meet the same
faults. A request that sends no contact, such as a search, is never hit by a table with `where`; `drop` and
`late` are about the upsert and hit nothing else.
"""

import difflib
import random
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from syncengine.sandbox.contact import TEXTS
from syncengine.sandbox.matching import fold

ENDPOINTS = ("upsert", "create", "replace", "get", "delete", "search", "kpi", "forms", "form", "*")
"""The names of the routes, and all of them."""
_REQUIRED = object()

# Per kind: its parameters with their defaults.
PARAMETERS: dict[str, dict[str, Any]] = {
    "status": {"status": _REQUIRED, "retry_after": "", "html": False, "apply": False, "headers": True},
    "latency": {"seconds": _REQUIRED},
    "hang": {"seconds": 3600.0, "apply": False},
    "reset_before": {},
    "reset_after": {},
    "close_after": {},
    "redirect": {"location": _REQUIRED, "status": 302, "apply": False, "headers": True},
    "html": {"status": 200, "apply": False, "headers": True},
    "slow_body": {"seconds": 5.0, "bytes": 50},
    "truncated": {"bytes": 1000},
    "huge": {"bytes": 10_000_000},
    "gzip_bomb": {"bytes": 10_000_000},
    "gzip_members": {"members": 10_000},
    "headers": {},
    "drop": {},
    "late": {"seconds": _REQUIRED},
    "revoke": {},
}
_OF_THE_UPSERT = ("drop", "late")
_SELECTORS = ("endpoint", "kind", "share", "after", "count", "where")
_REDIRECTS = (301, 302, 303, 307, 308)


class FaultsError(ValueError):
    """The faults file cannot be used; one line names file, table number, key and what was meant."""


@dataclass(slots=True)
class Fault:
    """One table of the file, with its stream of draws and how often it has hit."""

    endpoint: str
    kind: str
    share: float
    after: int
    count: int | None
    where: Mapping[str, str]
    parameters: Mapping[str, Any]
    stream: random.Random
    hits: int = 0

    def is_hit(self, endpoint: str, number: int, contact: Mapping[str, Any] | None) -> bool:
        """Say whether the endpoint's request `number`, with this contact, is hit; draws if concerned."""
        is_concerned = (
            self.endpoint in ("*", endpoint)
            and (endpoint == "upsert" or self.kind not in _OF_THE_UPSERT)
            and number >= self.after
            and (self.count is None or self.hits < self.count)
            and (not self.where or (contact is not None and self._is_about(contact)))
        )
        if not is_concerned or (self.share < 1 and self.stream.random() >= self.share):
            return False
        self.hits += 1
        return True

    def _is_about(self, contact: Mapping[str, Any]) -> bool:
        return all(fold(contact.get(name)) == text for name, text in self.where.items())


class Faults:
    """The faults of one sandbox, in the file's order."""

    def __init__(self, path: Path | None, seed: int) -> None:
        self._tables = _read(path) if path else []
        self._path = path
        self._seed = seed
        self.restart()

    def restart(self) -> None:
        """Begin anew: no request counted, no fault spent, every stream at its start."""
        self._numbers: dict[str, int] = {}
        self._faults = [
            _fault(f"{self._path}: fault {number}", table, random.Random(f"{self._seed} fault {number}"))  # noqa: S311
            for number, table in enumerate(self._tables, start=1)
        ]

    def draw(self, endpoint: str, contact: Mapping[str, Any] | None) -> Fault | None:
        """Count a request, with the contact it sends if any, and return the fault that hits it, if any."""
        if not self._faults:
            return None
        number = self._numbers[endpoint] = self._numbers.get(endpoint, 0) + 1
        for fault in self._faults:
            if fault.is_hit(endpoint, number, contact):
                return fault
        return None


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise FaultsError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FaultsError(f"{path}: not TOML: {error}") from None
    _known(str(path), document, ("fault",))
    tables = document.get("fault", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise FaultsError(f"{path}: fault must be written as [[fault]] tables")
    return tables


def _fault(where: str, table: Mapping[str, Any], stream: random.Random) -> Fault:
    kind = table.get("kind")
    if not isinstance(kind, str):
        raise FaultsError(f"{where}: kind is missing, one of {', '.join(PARAMETERS)}")
    _one_of(f"{where}: kind", kind, tuple(PARAMETERS))
    _known(where, table, (*_SELECTORS, *PARAMETERS[kind]), f" of kind {kind}")
    endpoint = table.get("endpoint", "*")
    _one_of(f"{where}: endpoint", endpoint, ENDPOINTS)
    if kind in _OF_THE_UPSERT and endpoint not in ("upsert", "*"):
        raise FaultsError(f"{where}: endpoint is {endpoint!r}: kind {kind} is about the upsert")
    share = table.get("share", 1.0)
    if type(share) not in (int, float) or not 0 <= share <= 1:
        raise FaultsError(f"{where}: share is {share!r}: it must be a number from 0 to 1")
    after, count = table.get("after", 1), table.get("count")
    for name, number in (("after", after), ("count", count)):
        if number is not None and (type(number) is not int or number < 1):
            raise FaultsError(f"{where}: {name} is {number!r}: it must be a whole number from 1 on")
    conditions = table.get("where", {})
    if not isinstance(conditions, dict) or not all(isinstance(text, str) for text in conditions.values()):
        raise FaultsError(f'{where}: where must be a table of texts such as {{ mail = "a@example.org" }}')
    _known(f"{where}: where", conditions, sorted(TEXTS))
    return Fault(
        endpoint=endpoint,
        kind=kind,
        share=float(share),
        after=after,
        count=count,
        where={name: fold(text) for name, text in conditions.items()},
        parameters={name: _parameter(where, table, kind, name) for name in PARAMETERS[kind]},
        stream=stream,
    )


def _parameter(where: str, table: Mapping[str, Any], kind: str, name: str) -> Any:
    default = PARAMETERS[kind][name]
    value = table.get(name, default)
    if value is _REQUIRED:
        raise FaultsError(f"{where}: {name} is missing, kind {kind} needs it")
    if name == "seconds":
        is_right = type(value) in (int, float) and 0 <= value <= 86400
        wanted = "a number of seconds, 0 to 86400"
    elif name == "status" and kind == "redirect":
        is_right, wanted = value in _REDIRECTS, "301, 302, 303, 307 or 308"
    elif name == "status":
        is_right, wanted = type(value) is int and 200 <= value <= 599, "a status from 200 to 599"
    elif name == "bytes":
        is_right, wanted = (
            type(value) is int and 1 <= value <= 1_000_000_000,
            "a whole number from 1 to 1000000000",
        )
    elif name == "members":
        is_right, wanted = type(value) is int and 1 <= value <= 1_000_000, "a whole number from 1 to 1000000"
    elif name in ("retry_after", "location"):
        is_right, wanted = (
            isinstance(value, str) and value.isprintable() and value.isascii(),
            "a text in plain ASCII",
        )
    else:
        is_right, wanted = isinstance(value, bool), "true or false"
    if not is_right:
        raise FaultsError(f"{where}: {name} is {value!r}: it must be {wanted}")
    return value


def _known(where: str, table: Mapping[str, Any], names: Sequence[str], of: str = "") -> None:
    for name in table:
        if name not in names:
            raise FaultsError(f"{where}: unknown key {name}{of}{_nearest(name, names)}")


def _one_of(where: str, value: object, names: Sequence[str]) -> None:
    if value not in names:
        raise FaultsError(f"{where} is {value!r}: unknown{_nearest(str(value), names)}")


def _nearest(name: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    return f", did you mean {near[0]}?" if near else f", known are {', '.join(names)}"
