"""What a space can be asked, and what a read showed of a contact: the other half of a destination.

The engine knows a space by this protocol, as it knows a destination by `upsert`. Contents are contacts in the
upsert's shape, as the mapping makes them; how a destination spells what it shows is its own affair.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol


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

    def updated(self, since: float | None, until: float) -> AsyncIterator[list[Seen]]:
        """Yield, in pages, everybody updated from `since` (None: ever) up to `until`, each once.

        Unix seconds of the server's clock.
        """
        ...

    async def look_up(self, wanted: Sequence[Wanted]) -> list[Seen]:
        """Return everybody who may be one of those wanted, in as few requests as possible, and others."""
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

    def differences(self, content: Mapping[str, Any], seen: Seen) -> list[Difference]:
        """Return what of a content is not seen; harmless differences are none."""
        ...

    def merged(self, applied: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the space holds of ours once `content` is applied over `applied`."""
        ...

    def kept(self, applied: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
        """Return what of `applied` is not in `content` any more, and which an upsert does not remove."""
        ...
