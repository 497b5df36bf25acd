"""What a space can be asked, and what a read showed of a contact: the other half of a destination.

The engine knows a space by this protocol, as it knows a destination by `upsert`. Contents are contacts in the
upsert's shape, as the mapping makes them; how a destination spells what it shows is its own affair.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from syncengine.collisions import Traits

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class Seen:
    """A contact as a read showed it.

    `mail` and `name`: normalised as the stored ones (`identity.identify`), `given` the first name alone,
    normalised too. `created`, `updated`: Unix
    seconds, the server's clock; None when it did not say. `contact`: the destination's own.
    """

    id: int
    mail: str = dataclasses.field(repr=False)
    name: str = dataclasses.field(repr=False)
    created: float | None
    updated: float | None
    contact: Any = dataclasses.field(repr=False)
    given: str = dataclasses.field(default="", repr=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Difference:
    """A field that is not seen as it was sent. `seen` is None when nothing is there."""

    field: str
    sent: Any = dataclasses.field(repr=False)
    seen: Any = dataclasses.field(repr=False)


class Fault(NamedTuple):
    """Why a contact would be dropped in silence: words without values, and a hint that may resemble one."""

    reason: str
    hint: str


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """Whom to look up: by `id` when it is known, else by what `content` says of mail and names."""

    id: int | None
    content: Mapping[str, Any] = dataclasses.field(repr=False)


class LookedUp(NamedTuple):
    """What look-ups showed: everybody `seen` who may be one of those wanted, and others.

    `refused`: who could not be looked for, by their places among those wanted, and why, for people: every
    question for them was refused. Whether they are there is not known.
    """

    seen: list[Seen]
    refused: dict[int, str]


class Near(Generic[T]):
    """People by normalised mail and names: only who shares one of them can fit one another."""

    def __init__(self, people: Iterable[tuple[str, str, T]]) -> None:
        self._by_mail: dict[str, list[T]] = {}
        self._by_name: dict[str, list[T]] = {}
        for mail, name, one in people:
            self._by_mail.setdefault(mail, []).append(one)
            self._by_name.setdefault(name, []).append(one)

    def by_mail(self, mail: str) -> list[T]:
        """Return who has this mail; nobody for an empty one."""
        return self._by_mail.get(mail, []) if mail else []

    def by_name(self, name: str) -> list[T]:
        """Return who has these names; nobody for empty ones."""
        return self._by_name.get(name, []) if name else []

    def by_either(self, mail: str, name: str) -> list[T]:
        """Return who has this mail or these names, each once."""
        near = {id(one): one for one in (*self.by_mail(mail), *self.by_name(name))}
        return list(near.values())


class KeptForms(NamedTuple):
    """A space's forms as they can be kept: `fingerprint` changes when any form or option does."""

    fingerprint: bytes
    content: bytes


class Space(Protocol):
    """What the engine asks of the space its changes go to. Every request pays; errors as a destination's."""

    async def read_forms(self) -> KeptForms:
        """Read the forms; from then on `faults`, `differences` and `merged` go by them."""
        ...

    def use_forms(self, forms: KeptForms) -> None:
        """Go by forms that were kept."""
        ...

    async def count(self) -> int:
        """Return how many contacts the space holds."""
        ...

    def updated(
        self,
        since: float | None,
        until: float,
        *,
        passed: Callable[[float], None] | None = None,
        is_many: bool = False,
    ) -> AsyncIterator[list[Seen]]:
        """Yield, in pages, everybody updated from `since` (None: ever) up to `until`, each once.

        Unix seconds of the server's clock. `passed` is told a time now and then: everybody last updated
        before it has been yielded, and what was yielded is done with. `is_many`: thousands are expected, so
        that counting them first is worth it.
        """
        ...

    async def look_up(self, wanted: Sequence[Wanted]) -> LookedUp:
        """Return everybody who may be one of those wanted, in as few requests as possible, and others.

        A question that is refused for one of them ends the search for nobody.
        """
        ...

    async def get(self, id_: int) -> Seen | None:
        """Read one contact, None when there is none (any more)."""
        ...

    @property
    def clock_difference(self) -> float:
        """Seconds our wall clock is ahead of the server's, as last heard; 0 before."""
        ...

    def faults(self, content: Mapping[str, Any]) -> list[Fault]:
        """Return why the space would drop a contact in silence, by the forms; empty when it would not."""
        ...

    def fits(self, content: Mapping[str, Any], seen: Seen) -> bool:
        """Say whether matching by mail and names could take a contact for the one seen."""
        ...

    def traits(self, seen: Seen) -> Traits:
        """Return what matching compares of a contact that was seen."""
        ...

    def differences(self, content: Mapping[str, Any], seen: Seen) -> list[Difference]:
        """Return what of a content is not seen; harmless differences are none."""
        ...

    def merged(self, applied: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the space holds of ours once `content` is applied over `applied`."""
        ...

    def kept(self, applied: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
        """Return what of `applied` is not in `content` any more, and which an upsert does not remove."""
        ...
