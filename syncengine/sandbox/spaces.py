"""The spaces of one sandbox and the keys that open them: one key is one space, one key is one bucket.

Whether a bucket belongs to the key or to the space is undocumented; option `bucket` chooses.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from syncengine.sandbox.bucket import Bucket
from syncengine.sandbox.options import SandboxOptions
from syncengine.sandbox.space import Space
from syncengine.sandbox.staff import Staff

FIRST_GROUP = 1001
_UNLIMITED = 1_000_000  # tokens, and tokens per second: more than any client can send


@dataclass(slots=True)
class Key:
    """An API key: the space it opens, the bucket it pays from."""

    token: str
    space: Space
    bucket: Bucket
    is_revoked: bool = False


class Spaces:
    """All spaces and keys; the first space is the one meant when none is named."""

    def __init__(self, options: SandboxOptions, wake: Callable[[], None]) -> None:
        self._spaces: dict[int, Space] = {}
        self._staff: dict[int, Staff] = {}
        self._keys: dict[str, Key] = {}
        for number in range(options.spaces):
            group_id = FIRST_GROUP + number
            space = self._spaces[group_id] = Space(options, group_id, options.seed + number, wake)
            self._staff[group_id] = Staff(space, options.seed + number)
            shared = _bucket(options)
            for turn in range(options.keys):
                token = options.key(number, turn)
                bucket = shared if options.bucket == "space" or turn == 0 else _bucket(options)
                self._keys[f"Bearer {token}"] = Key(token, space, bucket)

    def __iter__(self) -> Iterator[Space]:
        return iter(self._spaces.values())

    @property
    def first(self) -> Space:
        """The space that is meant when none is named."""
        return self._spaces[FIRST_GROUP]

    @property
    def keys(self) -> list[Key]:
        """All keys, those of the first space first."""
        return list(self._keys.values())

    def key(self, authorization: str) -> Key | None:
        """Return the key of an Authorization header, None when there is no such key."""
        return self._keys.get(authorization)

    def space(self, group_id: int) -> Space | None:
        """Return the space of this number."""
        return self._spaces.get(group_id)

    def staff(self, space: Space) -> Staff:
        """Return the staff of a space."""
        return self._staff[space.group_id]

    def reset(self, space: Space) -> None:
        """Empty a space, fill its buckets, make its keys valid again and let its staff begin anew."""
        space.reset()
        self.staff(space).restart()
        for key in self._keys.values():
            if key.space is space:
                key.is_revoked = False
                key.bucket.refill()

    def apply(self, until: float, most: int | None = None) -> None:
        """Apply what is due in every space, at most so many upserts in each."""
        for space in self:
            space.pending.apply(until, most)

    @property
    def due(self) -> float | None:
        """When the first queued upsert is due, None when nothing is queued."""
        return min((space.pending.due for space in self if space.pending), default=None)

    def work(self, until: float, most: int) -> None:
        """Let the staff of every space do what is due, at most so many acts each."""
        for staff in self._staff.values():
            staff.work(until, most)

    @property
    def next_act(self) -> float | None:
        """When the first act of staff is due, None when nobody does anything."""
        return min((staff.due for staff in self._staff.values() if staff.due is not None), default=None)

    def close(self) -> None:
        """Let go of the temporary files."""
        for space in self:
            space.close()


def _bucket(options: SandboxOptions) -> Bucket:
    burst, rate = (_UNLIMITED, _UNLIMITED) if options.unlimited else (options.burst, options.rate)
    return Bucket(burst, rate, time.monotonic, options.unknowns.reset_header)
