"""One run's sending: producer, queue, workers and checkpointer under one task group, and the watch over them.

The nesting is the order of the end: the pump first, then the verifier, the checkpointer last.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import replace
from random import Random

from syncengine.budget import MAX_PAUSE, Budget, BudgetClosedError
from syncengine.checkpoint import Checkpointer
from syncengine.clock import Clock, Stop
from syncengine.config import Settings
from syncengine.destination import Budgeted, Destination
from syncengine.model import Candidate, Change, Receipt, Result
from syncengine.outcome import NOT_FOUND_AGAIN
from syncengine.paying import Paying
from syncengine.producer import Producer
from syncengine.progress import Progress
from syncengine.proving import Proving
from syncengine.queue import ClosableQueue
from syncengine.retry import OUTAGE_LIMIT, Outage, Retrying
from syncengine.seen import Space
from syncengine.store import counting, sending
from syncengine.store.store import Store
from syncengine.store.thread import StoreThread
from syncengine.tally import Tally
from syncengine.worker import work

DRAIN_SECONDS = 10.0
"""How long open requests may go on after the order to stop."""
BREAKER_FROM = 50
READING_SECONDS = 30.0
"""What a read-back takes besides the deadline of the last contact."""
PROGRESS_SECONDS = 1.0
CRASHED_RUNS = 2
"""Killed runs in a row without an accepted contact after which contacts in doubt go one at a time."""


class Transfer:
    """Sends what is due in run `run`. `deadline`: Unix time by which it must have ended, None without one.

    `first` is done before anything is sent, and pays the same budget; what it raises ends the run. `space`
    opens what is read of the destination, None when it cannot be read; with `verify` what is accepted is read
    back. Counts into `tally` and `progress`; the budget holds what the requests cost.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        at: StoreThread,
        *,
        run: int,
        stop: Stop,
        clock: Clock,
        random: Random,
        tally: Tally,
        progress: Progress,
        deadline: float | None,
        first: Callable[[Paying], Awaitable[None]] | None = None,
        space: Callable[[Paying], AbstractAsyncContextManager[Space]] | None = None,
        verify: bool = True,
    ) -> None:
        self._settings = settings
        self._store = store
        self._at = at
        self._run = run
        self._stop = stop
        self._clock = clock
        self._random = random
        self._tally = tally
        self._progress = progress
        self._deadline = deadline
        self._first = first
        self._space = space
        self._verify = verify and space is not None
        self._producer: Producer | None = None
        self.proving: Proving | None = None
        self._began = clock.wall()
        self._outage = Outage(clock)
        self._queue: ClosableQueue[Change] = ClosableQueue(settings.run.in_flight)
        self._checkpointer = Checkpointer(self._commit, self._settled)
        self._sending: asyncio.Task[None] | None = None
        self._reasons: Counter[str] = Counter()
        self.budget = Budget(
            rate=settings.destination.rate,
            burst=settings.destination.burst,
            share=settings.destination.share,
            on_pause=lambda seconds: self._checkpointer.pause_until(clock.wall() + seconds),
        )
        self._paying = Paying(self.budget)

    async def run(self, destination: AbstractAsyncContextManager[Destination]) -> None:
        """Send until nothing is due that may go, or the order to stop came.

        Raises StoreError when a checkpoint cannot be committed; its receipts then count as unknown.
        """
        async with self.budget, destination as opened, self._reading() as space:
            if space is not None:
                self.proving = Proving(
                    self._settings,
                    self._store,
                    self._at,
                    space,
                    run=self._run,
                    stop=self._stop,
                    clock=self._clock,
                    tally=self._tally,
                    until=None if self._deadline is None else self._deadline - DRAIN_SECONDS,
                    verify=self._verify,
                    judge=self._judge,
                )
            sender = Retrying(
                Budgeted(opened, self._paying),
                outage=self._outage,
                stop=self._stop,
                clock=self._clock,
                random=self._random,
                note=self._checkpointer.note,
                can_read=self._verify,
            )
            await self._keep_pause()
            try:
                await self._send(sender)
            finally:
                for receipt in self._checkpointer.uncommitted:
                    self._tally.add(replace(receipt, result=Result.UNKNOWN))
        if self._producer is not None and self._producer.is_capped:
            self._stop.set("write_cap", f"max_writes = {self._settings.run.max_writes} is reached")
        elif self._producer is not None and self._producer.is_cut_short:
            self._stop_for_deadline()

    def _reading(self) -> AbstractAsyncContextManager[Space | None]:
        return nullcontext() if self._space is None else self._space(self._paying)

    def cut_off(self) -> None:
        """End open requests now."""
        if self._sending is not None:
            self._sending.cancel()

    async def _send(self, sender: Destination) -> None:
        async with asyncio.TaskGroup() as outer:
            flushed = outer.create_task(self._checkpointer.run(), name="checkpointer")
            self._sending = asyncio.create_task(self._work(sender), name="transfer")
            watch = outer.create_task(self._watch(), name="watch")
            try:
                await _ended(self._sending)
            finally:
                watch.cancel()
                self._checkpointer.close()
                await asyncio.wait({flushed})
                if not flushed.cancelled() and flushed.exception() is None:
                    await self._withdraw()

    async def _withdraw(self) -> None:
        """Close the intents that no worker took up: nothing of them left, and their notes may go again."""
        if self._producer is not None:
            unsent = [Receipt(change, Result.WITHDRAWN, requests=0) for change in self._producer.unsettled]
            await self._commit(sending.Batch(receipts=unsent))
        await self._at(sending.withdraw_open, self._store, run=self._run)

    async def _work(self, sender: Destination) -> None:
        with suppress(BudgetClosedError):  # the order to stop came first
            if self._first is not None:
                await self._first(self._paying)
            if self.proving is not None:
                self._progress.phase = "checking"
                await self.proving.prepare()
        if self._stop.is_set:
            return
        due = await self._at(counting.count_due, self._store)
        self._progress.begin_sending(due.due, self._clock.monotonic())
        if self.proving is None:
            await self._pump(sender)
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(self.proving.read_back(), name="verifier")
            try:
                await self._pump(sender)
            finally:
                self._progress.phase = "reading back"
                self.proving.close()

    async def _pump(self, sender: Destination) -> None:
        self._producer = await self._new_producer()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._producer.run(), name="producer")
            for number in range(self._settings.run.in_flight):
                group.create_task(
                    work(self._queue, sender, self._checkpointer, stop=self._stop), name=f"worker-{number}"
                )

    async def _watch(self) -> None:
        """Show progress, keep the deadline and the patience with an outage; see to the end in time."""
        stop, clock, budget = self._stop, self._clock, self.budget
        while not stop.is_set:
            self._progress.estimate(
                budget.rate, budget.remaining or 0.0, wall=clock.wall(), monotonic=clock.monotonic()
            )
            self._checkpointer.show(self._progress.as_json())
            if self._outage.is_over:
                stop.set(
                    "outage",
                    f"the destination gave no definite answer for {OUTAGE_LIMIT / 60:.0f} minutes; "
                    "everything not settled stays due. Run sync again when it answers",
                )
            elif self._deadline is not None:
                self._keep_deadline(self._deadline)
            if self.proving is not None:
                self.proving.look_at_canary()
            await stop.sleep(PROGRESS_SECONDS)
        self._progress.phase = "stopping"
        budget.close()
        await clock.sleep(DRAIN_SECONDS)
        self.cut_off()

    def _keep_deadline(self, deadline: float) -> None:
        """Stop sending early enough for the read-back to end in time; then stop altogether."""
        if self._clock.wall() >= deadline - DRAIN_SECONDS:
            self._stop_for_deadline()
        elif self._verify and self._producer is not None:
            wanted = DRAIN_SECONDS + READING_SECONDS + self._settings.verify.deadline
            if self._clock.wall() >= deadline - min(wanted, (deadline - self._began) / 2):
                self._producer.cut_short()

    def _stop_for_deadline(self) -> None:
        self._stop.set("deadline", f"stopped in time for {self._settings.run.until}; the rest stays due")

    def _settled(self, receipt: Receipt) -> None:
        self._tally.add(receipt)
        self._progress.settled(self._tally, self.budget.remaining)
        if self._producer is not None:
            self._producer.settled(receipt)
        if receipt.result is Result.REJECTED:
            self._reasons[receipt.reason] += 1
        if self.proving is not None:
            self.proving.receipt(receipt)
        self._judge()

    def _judge(self) -> None:
        """Stop when too many of those answered went wrong."""
        tally, limit = self._tally, self._settings.run.max_failed_share
        if tally.answered >= BREAKER_FROM and tally.failed_share > limit:
            reasons = self._reasons + (self.proving.reasons if self.proving is not None else Counter())
            reason, count = reasons.most_common(1)[0]
            read = tally.failed - tally[Result.REJECTED]
            what = "rejected, dropped or are seen with other values" if read else "rejected"
            self._stop.set(
                "breaker",
                f"{tally.failed} of {tally.answered} contacts were {what}, above {limit:.0%}, "
                f"most often: {reason} ({count}). More likely the mapping is wrong than so many people. "
                "Those rejected are due again: mend [fields] and run sync again",
            )

    async def _commit(self, batch: sending.Batch) -> None:
        await self._at(sending.settle, self._store, batch, run=self._run)

    async def _new_producer(self) -> Producer:
        settings, now = self._settings.run, self._clock.wall()
        recent = await self._at(sending.recent_doubts, self._store, since=now - settings.settle)
        crashes = await self._at(self._store.fruitless_crashes)
        return Producer(
            _Due(self._at, self._store, self._run, self.proving, self._settings.run.send),
            self._queue,
            clock=self._clock,
            stop=self._stop,
            settle=settings.settle,
            in_flight=settings.in_flight,
            max_writes=settings.max_writes,
            resting=[
                (candidate, min(settings.settle, at + settings.settle - now)) for candidate, at in recent
            ],
            one_by_one=crashes >= CRASHED_RUNS,
            gate=self.proving,
        )

    async def _keep_pause(self) -> None:
        """Go on with a pause that the server ordered before a restart."""
        until = await self._at(self._store.paused_until)
        left = (until or 0.0) - self._clock.wall()
        if left > 0:
            await self.budget.pause(min(left, MAX_PAUSE))


class _Due:
    """The store as the producer sees it."""

    def __init__(self, at: StoreThread, store: Store, run: int, proving: Proving | None, send: str) -> None:
        self._at, self._store, self._run, self._proving = at, store, run, proving
        self._space = proving.space if proving is not None and send == "changed" else None

    async def page(self, after: str, limit: int) -> list[Candidate]:
        return await self._at(sending.due_page, self._store, after, limit)

    async def doubtful(self, limit: int) -> list[Candidate]:
        return await self._at(sending.doubtful_page, self._store, limit)

    async def claim(self, candidates: list[Candidate]) -> list[Change]:
        claimed = await self._at(
            sending.claim,
            self._store,
            candidates,
            run=self._run,
            space=self._space,
            not_found_again=NOT_FOUND_AGAIN if self._proving is None else self._proving.not_found_again,
            creates={} if self._proving is None else self._proving.preflight.creates,
        )
        if self._proving is not None and claimed.unneeded:
            self._proving.take_verdicts(claimed.unneeded)
        return claimed.changes


async def _ended(transfer: asyncio.Task[None]) -> None:
    """Wait for the transfer. Being cut off on order is an end like any other; its errors are raised."""
    try:
        await asyncio.wait({transfer})
    except asyncio.CancelledError:
        transfer.cancel()
        await asyncio.wait({transfer})
        raise
    if not transfer.cancelled() and (error := transfer.exception()) is not None:
        raise error
