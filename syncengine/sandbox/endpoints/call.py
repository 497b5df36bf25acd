"""A route, and one request that has been routed: what an endpoint's function gets."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from syncengine.sandbox.book import Entry
from syncengine.sandbox.faults import Fault
from syncengine.sandbox.space import Space
from syncengine.sandbox.wire import Answer, Request

UNREAD = object()
"""The document of a request whose body is not JSON."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request: `document` is its JSON (or UNREAD), `parts` the variable parts of its path by name."""

    space: Space
    request: Request
    document: Any
    parts: Mapping[str, str]
    entry: Entry
    fault: Fault | None


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path such as `/contacts/{id}`.

    `name` in faults, stats and history, `cost` in tokens, `act` is what it does.
    """

    method: str
    path: str
    name: str
    cost: int
    act: Callable[[Call], Answer]
