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
from syncengine.errors import StoreError
from syncengine.model import Candidate, Change, Receipt, Result
from syncengine.queue import ClosableQueue

PAGE = 256
PASS_SECONDS = 0.5
"""At most so long between two looks at contacts that have to wait."""
DOUBTS = 4096
"""More than a killed run can leave in doubt: two intents for each of 1,024 in flight."""
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


class Gate(Protocol):
    """What the producer asks before a contact goes, besides whether its identity is free."""

    def may_go(self, candidate: Candidate) -> bool:
        """Say whether it may go now."""
        ...

    def go(self, candidate: Candidate) -> None:
        """Take note that it goes."""
        ...

    def stay(self, candidate: Candidate) -> None:
        """Take note that it did not go after all."""
        ...

    @property
    def is_shut(self) -> bool:
        """Say whether nobody at all may go now."""
        ...

    def is_given_up(self, candidate: Candidate) -> bool:
        """Say whether it may not go in this run at all."""
        ...

    def look_first(self, candidates: list[Candidate]) -> Awaitable[None]:
        """Look for contacts that may have arrived already; those that have are not due any more."""
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
        else:
            for lane in lanes:  # it could be entered, so whatever it rested for is over
                self._until.pop(lane, None)

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
    alone (two runs were killed without getting anywhere). `gate`: who else is asked.
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
        gate: Gate | None = None,
    ) -> None:
        self._gate = gate
        self._store = store
        self._queue = queue
        self._stop = stop
        self._in_flight = in_flight
        self._max_writes = max_writes
        self._one_by_one = one_by_one
        self._clock = clock
        self._settle = settle
        self._lanes = Lanes(clock, settle)
        for candidate, seconds in resting:
            self._lanes.rest(candidate, seconds)
        self._open: dict[int, tuple[int, Change]] = {}  # contact -> its number in the watermark, its change
        self._watermark = Watermark()
        self._tries: dict[int, tuple[int, bytes]] = {}  # unknown results: how many, of which content
        self._written = 0
        self.is_capped = False
        """Whether `max_writes` kept a contact back that could have gone."""
        self.is_cut_short = False
        """Whether contacts that could have gone were left because of `cut_short`."""
        self._is_ending = False
        self._settled = 0
        self._kept_back = 0  # times the gate let nobody through
        self._moved = asyncio.Event()
        stop.wakes(self._moved)

    @property
    def unsettled(self) -> list[Change]:
        """Changes whose intents are durable and whose receipts are not."""
        return [change for _, change in self._open.values()]

    async def run(self) -> None:
        """Feed the queue until nothing that is due may still go, then close it.

        A store that fails gives the order to stop: requests that are out may end.
        """
        try:
            if self._one_by_one:
                await self._send_doubts_alone()
            await self._send_all()
        except StoreError as error:
            self._stop.fail(error)
        await self._queue.close()

    def cut_short(self) -> None:
        """Send nothing more, but let what is queued go."""
        self._is_ending = True
        self._moved.set()

    def settled(self, receipt: Receipt) -> None:
        """Learn that the receipt of a change is committed."""
        change = receipt.change
        number, _ = self._open.pop(change.n)
        self._watermark.close(number)
        is_unknown = receipt.result in {Result.UNKNOWN, Result.IN_DOUBT}
        if is_unknown:
            tries, content = self._tries.get(change.n, (0, change.content_hash))
            again = tries + 1 if content == change.content_hash else 1
            self._tries[change.n] = (again, change.content_hash)
        else:
            self._tries.pop(change.n, None)
        self._lanes.leave(change, is_unknown=is_unknown)
        self._settled += 1
        self._moved.set()

    async def _send_all(self) -> None:
        while not self._stop.is_set and not self.is_capped and not self.is_cut_short:
            before, settled = self._watermark.high, self._settled
            was_settled = self._watermark.low == before
            is_waiting = await self._pass()
            if was_settled and not is_waiting and self._watermark.high == before:
                return  # a whole pass, begun after everything had settled, found nothing
            is_settled = self._watermark.low == self._watermark.high
            if (is_waiting or not is_settled) and self._settled == settled:
                await self._rest()

    async def _pass(self) -> bool:
        """Go once through what is due; say whether anybody was passed over who may go later."""
        after, is_waiting = "", False
        while not self._stop.is_set and not self.is_capped:
            page = await self._store.page(after, PAGE)
            if not page:
                break
            if self._is_ending:
                self.is_cut_short = True
                return True
            after = page[-1].key
            kept_back = self._kept_back
            is_waiting |= await self._send(page)
            if self._kept_back - kept_back == len(page) or (self._gate is not None and self._gate.is_shut):
                return True  # whoever comes next would be kept back as well
        return is_waiting

    async def _send(self, page: list[Candidate]) -> bool:
        """Claim and queue those who may go; say whether some were passed over."""
        passed_over = False
        chosen: list[Candidate] = []
        await self._look_first(page)
        for candidate in page:
            if self._is_ending:
                passed_over = True
                break
            if candidate.n in self._open or self._is_spent(candidate):
                continue
            if self._max_writes and self._written + len(chosen) >= self._max_writes:
                self.is_capped = True
                break
            if not self._may_go(candidate):
                passed_over = True
                continue
            self._lanes.enter(candidate)
            if self._gate is not None:
                self._gate.go(candidate)
            chosen.append(candidate)
            if len(chosen) == self._in_flight:  # a commit for as many as may be out at once
                passed_over |= await self._claim(chosen)
                chosen = []
                if self._stop.is_set:
                    break
        return await self._claim(chosen) or passed_over

    async def _claim(self, chosen: list[Candidate]) -> bool:
        """Wait for room, make the intents durable, queue the changes; say whether some were not to be had."""
        while self._watermark.outstanding + len(chosen) > 2 * self._in_flight and not self._stop.is_set:
            self._moved.clear()
            await self._moved.wait()
        changes = [] if self._stop.is_set or not chosen else await self._store.claim(chosen)
        for change in changes:
            self._open[change.n] = (self._watermark.open(), change)
        self._written += len(changes)
        for candidate in chosen:
            if candidate.n not in self._open:  # edited since its page was read
                self._lanes.leave(candidate, is_unknown=False)
                if self._gate is not None:
                    self._gate.stay(candidate)
        for change in changes:
            await self._queue.put(change)
        return len(changes) < len(chosen)

    async def _look_first(self, page: list[Candidate]) -> None:
        """Let those in doubt who might go now be looked for, all of the page at once."""
        if self._gate is not None:
            doubtful = [
                candidate
                for candidate in page
                if candidate.in_doubt and candidate.n not in self._open and self._lanes.may_enter(candidate)
            ]
            if doubtful:
                await self._gate.look_first(doubtful)

    async def _send_doubts_alone(self) -> None:
        for candidate in await self._store.doubtful(DOUBTS):
            while not self._stop.is_set and not self._lanes.may_enter(candidate):
                await self._rest()
            await self._send([candidate])
            while candidate.n in self._open and not self._stop.is_set:
                await self._rest()

    def _may_go(self, candidate: Candidate) -> bool:
        if not self._lanes.may_enter(candidate):
            return False
        since = candidate.accepted_at
        if since is not None and self._clock.wall() < since + self._settle:
            return False  # what was accepted may still be queued, and would be created twice
        if self._gate is None or self._gate.may_go(candidate):
            return True
        self._kept_back += 1
        return False

    def _is_spent(self, candidate: Candidate) -> bool:
        """Say whether this run has given the contact up: two unknown results of one content, or the gate."""
        if self._gate is not None and self._gate.is_given_up(candidate):
            return True
        tries, content = self._tries.get(candidate.n, (0, b""))
        return tries >= UNKNOWN_TRIES and content == candidate.content_hash

    async def _rest(self) -> None:
        """Wait until something settles, or a moment has passed in which an identity may have rested."""
        self._moved.clear()
        await self._stop.sleep(PASS_SECONDS, until=self._moved)
