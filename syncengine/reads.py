"""What the verifier asks: of the store who waits for a read, of the space who is there.

Here look-ups are kept from doing harm: whom no search is taken for is remembered, so that nobody is called
dropped who could not be looked for, and few contacts are read alone.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Mapping, Sequence
from typing import Protocol

from syncengine.seen import Seen, Space
from syncengine.store.awaiting import Awaiting, Leftover
from syncengine.store.proof import Settled

SINGLE_SHARE = 0.005
SINGLE_FLOOR = 20


class Singles:
    """Counts contacts that are read alone, a token each: few, or a run would cost twice as much."""

    def __init__(self) -> None:
        self._taken = 0

    def take(self, contacts: int) -> bool:
        """Say whether one more may be read alone, and count it.

        At most `SINGLE_SHARE` of the contacts a run is about, and at least `SINGLE_FLOOR`.
        """
        if self._taken >= max(SINGLE_FLOOR, SINGLE_SHARE * contacts):
            return False
        self._taken += 1
        return True


class LookUps:
    """Looks contacts up, and knows whom it could not look for."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._singles = Singles()
        self.refused: dict[int, str] = {}
        """Contacts nobody has seen for whom every search was refused, and why, for people."""
        self.given_up: set[int] = set()
        """Those of them who are looked for no more."""

    async def look_up(self, found: Sequence[Leftover]) -> list[Seen]:
        """Look contacts up; take note of those who could not be looked for."""
        looked = await self._space.look_up([leftover.wanted for leftover in found])
        for place, leftover in enumerate(found):
            if place in looked.refused:
                self.refused[leftover.n] = looked.refused[place]
            else:
                self.forget(leftover.n)
        return looked.seen

    async def read_alone(self, found: Sequence[Leftover], seen: list[Seen], *, of: int) -> dict[int, bool]:
        """Read some of those alone whose id is not among those seen, and add them; `of`: see `Singles`.

        Returns of each who was read whether the id is dead.
        """
        shown = {one.id for one in seen}
        is_dead: dict[int, bool] = {}
        for leftover in found:
            id_ = leftover.wanted.id
            if id_ is None or id_ in shown or not self._singles.take(of):
                continue
            one = await self._space.get(id_)
            is_dead[leftover.n] = one is None
            if one is not None:
                seen.append(one)
        return is_dead

    def give_up(self, found: Sequence[Leftover]) -> set[int]:
        """Look no more for those of these who could not be looked for; return them."""
        over = {leftover.n for leftover in found} & self.refused.keys()
        self.given_up |= over
        return over

    def forget(self, n: int) -> None:
        """Forget a contact that is settled, or accepted again with another content."""
        self.refused.pop(n, None)
        self.given_up.discard(n)


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
