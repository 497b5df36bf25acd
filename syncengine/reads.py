"""What the verifier asks of the store: who waits for a read, and what becomes of those seen."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Mapping, Sequence
from typing import Protocol

from syncengine.seen import Seen
from syncengine.store.awaiting import Awaiting, Leftover
from syncengine.store.proof import Settled


class ProofStore(Protocol):
    """What the verifier asks of the store."""

    def settle(
        self,
        seen: Sequence[Seen],
        *,
        also: Sequence[int] = (),
        final: Mapping[int, bool] | None = None,
        until: float = math.inf,
    ) -> Awaitable[list[Settled]]:
        """Settle who is among those seen, and those whose wait is over."""
        ...

    def leftovers(self, *, until: float, after: tuple[float, int], limit: int) -> Awaitable[list[Leftover]]:
        """Return contacts accepted by `until` that wait for a read."""
        ...

    def dropped_before(self, *, after: int, limit: int) -> Awaitable[list[Leftover]]:
        """Return contacts found dropped by an earlier run, to be looked for once more."""
        ...

    def looked_again(self, contacts: Sequence[int]) -> Awaitable[None]:
        """Take note that they were."""
        ...

    def awaiting(self) -> Awaitable[Awaiting]:
        """Return who waits for a read."""
        ...
