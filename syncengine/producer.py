"""The producer: pages through what is due, writes the intents, puts changes on the queue.

It goes through the due contacts by key, pass after pass, until a pass finds nothing that may still go.
Position is never stored: what is due follows from the rows themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Protocol

from syncengine.checkpoint import Watermark
from syncengine.clock import Clock, Stop
from syncengine.model import Candidate, Change, Receipt, Result
from syncengine.queue import ClosableQueue

PAGE = 256
PASS_SECONDS = 0.5
"""At most so long between two looks at contacts that have to wait."""
UNKNOWN_TRIES = 2
"""Sends of one content without a definite answer before a run leaves it to the next."""


class DueStore(Protocol):
    """What the producer asks of the store."""

    def page(self, after: str, limit: int) -> Awaitable[list[Candidate]]:
        """Return due contacts with keys above `after`, in key order."""
        ...

    def doubtful(self, limit: int) -> Awaitable[list[Candidate]]:
        """Return due contacts in doubt."""
        ...

    def claim(self, candidates: list[Candidate]) -> Awaitable[list[Change]]:
        """Make the intents of candidates durable and return the changes of those still due."""
        ...


class Lanes:
    """At most one contact in flight per identity, and none while an unknown result of it settles.

    An identity is a normalised mail or a normalised name; a contact may have both.
    """

    def __init__(self, clock: Clock, settle: float) -> None:
        self._clock = clock
        self._settle = settle
        self._busy: set[str | int] = set()
        self._until: dict[str | int, float] = {}

    def may_enter(self, candidate: Candidate) -> bool:
        """Say whether the candidate may be sent now."""
        now = self._clock.monotonic()
        for lane in _lanes(candidate):
            if lane in self._busy:
                return False
            until = self._until.get(lane)
            if until is not None:
                if now < until:
                    return False
                del self._until[lane]
        return True

    def enter(self, candidate: Candidate) -> None:
        """Keep the candidate's identity for it."""
        self._busy.update(_lanes(candidate))

    def leave(self, change: Candidate | Change, *, is_unknown: bool) -> None:
        """Free the identity; after an unknown result only when it has settled."""
        lanes = _lanes(change)
        self._busy.difference_update(lanes)
        if is_unknown:
            self.rest(change, self._settle)

    def rest(self, contact: Candidate | Change, seconds: float) -> None:
        """Let the identity rest for so long from now."""
        until = self._clock.monotonic() + seconds
        for lane in _lanes(contact):
            self._until[lane] = max(until, self._until.get(lane, 0.0))


def _lanes(contact: Candidate | Change) -> tuple[str | int, ...]:
    lanes: list[str | int] = [contact.n]
    if contact.mail:
        lanes.append("mail " + contact.mail)
    if contact.name:
        lanes.append("name " + contact.name)
    return tuple(lanes)


class Producer:
    """Feeds the queue.

    `in_flight`: how many contacts the workers handle at once; at most twice as many intents are open.
    `max_writes`: changes to send at most, 0 without a limit. `resting`: contacts an earlier run left in
    doubt, and for how many seconds they still have to settle. `one_by_one`: send those in doubt first, each
    alone (two runs were killed without getting anywhere).
    """

    def __init__(
        self,
        store: DueStore,
        queue: ClosableQueue[Change],
        *,
        clock: Clock,
        stop: Stop,
        settle: float,
        in_flight: int,
        max_writes: int = 0,
        resting: Iterable[tuple[Candidate, float]] = (),
        one_by_one: bool = False,
    ) -> None:
        self._store = store
        self._queue = queue
        self._stop = stop
        self._in_flight = in_flight
        self._max_writes = max_writes
        self._one_by_one = one_by_one
        self._lanes = Lanes(clock, settle)
        for candidate, seconds in resting:
            self._lanes.rest(candidate, seconds)
        self._open: dict[int, int] = {}  # contact -> its number in the watermark
        self._watermark = Watermark()
        self._tries: dict[int, tuple[int, bytes]] = {}  # unknown results: how many, of which content
        self._written = 0
        self.is_capped = False
        """Whether `max_writes` kept a contact back that could have gone."""
        self._moved = asyncio.Event()

    async def run(self) -> None:
        """Feed the queue until nothing that is due may still go, then close it."""
        if self._one_by_one:
            await self._send_doubts_alone()
        while not self._stop.is_set and not self.is_capped:
            before = self._watermark.high
            is_waiting = await self._pass()
            is_settled = self._watermark.low == self._watermark.high
            if not is_waiting and is_settled and self._watermark.high == before:
                break  # a whole pass, begun after everything had settled, found nothing
            if is_waiting or not is_settled:
                await self._sleep()
        await self._queue.close()

    def settled(self, receipt: Receipt) -> None:
        """Learn that the receipt of a change is committed."""
        change = receipt.change
        self._watermark.close(self._open.pop(change.n))
        is_unknown = receipt.result in {Result.UNKNOWN, Result.IN_DOUBT}
        if is_unknown:
            tries, content = self._tries.get(change.n, (0, change.content_hash))
            again = tries + 1 if content == change.content_hash else 1
            self._tries[change.n] = (again, change.content_hash)
        self._lanes.leave(change, is_unknown=is_unknown)
        self._moved.set()

    async def _pass(self) -> bool:
        """Go once through what is due; say whether anybody was passed over who may go later."""
        after, is_waiting = "", False
        while not self._stop.is_set and not self.is_capped:
            page = await self._store.page(after, PAGE)
            if not page:
                break
            after = page[-1].key
            rest = [c for c in page if c.n not in self._open and not self._is_spent(c)]
            is_waiting |= await self._send(rest)
        return is_waiting

    async def _send(self, candidates: list[Candidate]) -> bool:
        """Claim and queue those whose identity is free; say whether some were not."""
        passed_over = False
        chosen: list[Candidate] = []
        for candidate in candidates:
            if not self._lanes.may_enter(candidate):
                passed_over = True
                continue
            if self._max_writes and self._written + len(chosen) >= self._max_writes:
                self.is_capped = True
                break
            self._lanes.enter(candidate)
            chosen.append(candidate)
            if len(chosen) == self._chunk:
                await self._claim(chosen)
                chosen = []
                if self._stop.is_set:
                    break
        await self._claim(chosen)
        return passed_over

    @property
    def _chunk(self) -> int:
        """Contacts per intent commit: enough to keep the commits few, few enough to stay ahead."""
        return max(1, self._in_flight // 2)

    async def _claim(self, chosen: list[Candidate]) -> None:
        """Wait for room, make the intents durable, queue the changes."""
        while self._watermark.outstanding + len(chosen) > 2 * self._in_flight and not self._stop.is_set:
            await self._sleep()
        changes = [] if self._stop.is_set or not chosen else await self._store.claim(chosen)
        claimed = {change.n for change in changes}
        for candidate in chosen:
            if candidate.n not in claimed:  # edited or settled since its page was read
                self._lanes.leave(candidate, is_unknown=False)
        for change in changes:
            self._open[change.n] = self._watermark.open()
            self._written += 1
        for change in changes:
            await self._queue.put(change)

    async def _send_doubts_alone(self) -> None:
        for candidate in await self._store.doubtful(PAGE):
            while not self._stop.is_set and not self._lanes.may_enter(candidate):
                await self._sleep()
            if self._stop.is_set:
                return
            self._lanes.enter(candidate)
            await self._claim([candidate])
            while candidate.n in self._open and not self._stop.is_set:
                await self._sleep()

    def _is_spent(self, candidate: Candidate) -> bool:
        """Say whether this run has given the contact up: two unknown results of one content."""
        tries, content = self._tries.get(candidate.n, (0, b""))
        return tries >= UNKNOWN_TRIES and content == candidate.content_hash

    async def _sleep(self) -> None:
        """Wait until something settles, or a moment has passed."""
        self._moved.clear()
        await self._stop.sleep(PASS_SECONDS, until=self._moved)
