"""The engine: wires the data path, guards it, stops it in order, and reports.

::

    lock ─▶ store ─▶ load ─▶ preflight ─▶ producer ─▶ queue ─▶ workers ─▶ destination
                                                                  └─▶ checkpointer ─▶ store
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from random import Random
from types import TracebackType
from typing import Self

from pydantic import SecretStr

from syncengine.budget import MAX_PAUSE, Budget
from syncengine.checkpoint import Checkpointer
from syncengine.clock import Clock, Stop
from syncengine.config import Settings
from syncengine.destination import Budgeted, Destination
from syncengine.errors import ConfigError, StoreError, SyncError
from syncengine.load import LoadReport, LoadStopped, OpenedSource, load, open_mapped
from syncengine.mapping import compile_mapping
from syncengine.model import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_PROBLEMS,
    EXIT_SIGINT,
    EXIT_SIGTERM,
    EXIT_STOPPED,
    Candidate,
    Change,
    Receipt,
    Report,
    Result,
)
from syncengine.outcome import NOT_FOUND_AGAIN
from syncengine.preflight import MASS_CHANGE_FROM, held_classes, is_mass_change
from syncengine.producer import Producer
from syncengine.progress import Progress
from syncengine.qomon.client import QomonDestination
from syncengine.queue import ClosableQueue
from syncengine.retry import OUTAGE_LIMIT, Outage, Retrying
from syncengine.store import sending
from syncengine.store.lock import RunLock
from syncengine.store.store import Store
from syncengine.store.thread import StoreThread
from syncengine.store.views import changed_fields
from syncengine.tally import Tally
from syncengine.worker import work

DRAIN_SECONDS = 10.0
"""How long open requests may go on after the order to stop."""
BREAKER_FROM = 50
PROGRESS_SECONDS = 1.0
CRASHED_RUNS = 2
"""Killed runs in a row without an accepted contact after which contacts in doubt go one at a time."""

STOPPED_REASONS = frozenset({"deadline", "write_cap", "breaker", "mass_change", "outage"})
FAILED_REASONS = frozenset({"source", "store", "disk", "unauthorized", "protocol"})
SIGNAL_EXITS = {"sigint": EXIT_SIGINT, "sigterm": EXIT_SIGTERM}


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """What one sync does differently from the settings."""

    load: bool = True
    allow_shrink: bool = False
    allow_mass_change: bool = False
    same_space: bool = False


class Engine:
    """One state store and one destination, held while the context is open.

    Takes the run lock on entry (LockHeldError when another process has it). `destination` replaces Qomon;
    `clock`, `random` and `executor` (one thread) replace time, chance and the store's thread.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        destination: AbstractAsyncContextManager[Destination] | None = None,
        clock: Clock | None = None,
        random: Random | None = None,
        executor: Executor | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.settings = settings
        self.progress = Progress()
        self._destination = destination
        self._clock = clock or Clock()
        self._random = random or Random()  # noqa: S311 - jitter, not secrets
        self._executor = executor
        self._environ = environ
        self._was_edited = False
        self._transfer: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            executor = self._executor or stack.enter_context(
                ThreadPoolExecutor(max_workers=1, thread_name_prefix="syncengine-store")
            )
            self._at = StoreThread(executor)
            self._stop = Stop(self._clock)
            lock = stack.enter_context(RunLock(self.settings.state.path))
            self.store = await self._at(Store, self.settings.state.path, lock=lock, now=self._clock.wall)
            stack.push_async_callback(self._at, self.store.close)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.__aexit__(exc_type, exc, traceback)

    def stop(self, reason: str = "sigint") -> None:
        """Order the run to end: nothing new leaves, open requests may end. A second order cuts them off."""
        if self._stop.is_set and self._transfer is not None:
            self._transfer.cancel()
        self._stop.set(reason)

    async def put(self, rows: Iterable[Mapping[str, object]]) -> None:
        """Map and store single rows, also during a sync. They stay due until sent with this content.

        Rows are mappings from source column to value, as in JSON Lines. Raises RowRefusedError.
        """
        source = self.settings.source
        if source is None:
            raise ConfigError("no [source] is configured: its key names the column that identifies a row")
        mapping = compile_mapping(self.settings.fields, source.key, None)
        contacts = [mapping(dict(row)) for row in rows]
        self._was_edited = True
        await self._at(sending.put, self.store, contacts)

    async def load(self, *, allow_shrink: bool = False) -> LoadReport:
        """Load the configured source into the store."""
        return await self._load(open_mapped(self.settings), allow_shrink=allow_shrink, run=None)

    async def sync(self, options: SyncOptions | None = None) -> Report:
        """Load, send what is due, and report.

        Raises ConfigError or StoreError only before the run begins; afterwards every end, good or bad, is
        a report.
        """
        options = options or SyncOptions()
        opened = open_mapped(self.settings) if options.load and self.settings.source else None
        key = self.settings.api_key(self._environ) if self._destination is None else None
        if key is not None:
            await self._at(
                self.store.bind,
                self.settings.destination.base_url,
                key.get_secret_value(),
                same_space=options.same_space,
            )
        run = await self._at(self.store.begin_run, "sync")
        started = self._clock.monotonic()
        report = Report(run=run)
        self._run_number = run
        self._tally = Tally()
        self._deadline = self.settings.deadline(self._clock.wall())
        try:
            await self._run(report, options, opened, self._destination or self._qomon(key))
        except SyncError as error:
            self._stop.set(error.reason, str(error))
        except BaseExceptionGroup as group:
            errors = _leaves(group)
            if any(not isinstance(error, SyncError) for error in errors):
                raise
            self._stop.set(errors[0].reason, str(errors[0]))  # type: ignore[attr-defined]
        report.seconds = self._clock.monotonic() - started
        await self._conclude(report)
        return report

    def _qomon(self, key: SecretStr | None) -> QomonDestination:
        assert key is not None
        return QomonDestination(
            self.settings.destination.base_url,
            key,
            in_flight=self.settings.run.in_flight,
            timeout=self.settings.run.timeout,
        )

    # --- the run -----------------------------------------------------------------------------------------

    async def _run(
        self,
        report: Report,
        options: SyncOptions,
        opened: OpenedSource | None,
        destination: AbstractAsyncContextManager[Destination],
    ) -> None:
        if opened is not None:
            self.progress.phase = "loading"
            with contextlib.suppress(LoadStopped):
                loaded = await self._load(opened, allow_shrink=options.allow_shrink, run=report.run)
                for name, count in loaded.counts().items():
                    setattr(report, name, count)
        if self._stop.is_set:
            return
        await self._preflight(report.run)
        if not options.allow_mass_change and await self._is_mass_change(report):
            return
        due = await self._at(sending.count_due, self.store)
        self.progress.begin_sending(due.due, self._clock.monotonic())
        if due.due:
            await self._send(report, destination)

    async def _load(self, opened: OpenedSource, *, allow_shrink: bool, run: int | None) -> LoadReport:
        def note(rows: int) -> None:
            self.progress.read = rows

        return await self._at(
            load,
            self.store,
            opened,
            allow_shrink=allow_shrink,
            run=run,
            should_stop=lambda: self._stop.is_set,
            progress=note,
        )

    async def _preflight(self, run: int) -> None:
        """Hold what must not go."""
        classes = held_classes(self.settings.identity)
        await self._at(sending.hold_doubtful, self.store, NOT_FOUND_AGAIN, run=run)
        await self._at(sending.hold_without_identity, self.store, classes, run=run)

    async def _is_mass_change(self, report: Report) -> bool:
        due = await self._at(sending.count_due, self.store)
        share = self.settings.run.max_changed_share
        if due.accepted_before <= share * MASS_CHANGE_FROM:
            return False  # whatever the total is: it need not be counted
        accepted = await self._at(sending.count_accepted, self.store)
        if not is_mass_change(again=due.accepted_before, accepted=accepted, max_share=share):
            return False
        report.fields = await self._at(changed_fields, self.store.connection)
        shown = ", ".join(f"{name} ({count})" for name, count in list(report.fields.items())[:5])
        self._stop.set(
            "mass_change",
            f"{due.accepted_before} of {accepted} contacts already accepted would be sent again, more than "
            f"{share:.0%}; nothing was sent. Changed fields: {shown}. If this is meant, run sync "
            "--allow-mass-change",
        )
        return True

    async def _send(self, report: Report, destination: AbstractAsyncContextManager[Destination]) -> None:
        settings, stop, clock = self.settings, self._stop, self._clock
        outage = Outage(clock)
        queue: ClosableQueue[Change] = ClosableQueue(settings.run.in_flight)
        checkpointer = Checkpointer(lambda batch: self._at(sending.settle, self.store, batch, run=report.run))
        async with AsyncExitStack() as stack:
            budget = await stack.enter_async_context(
                Budget(
                    rate=settings.destination.rate,
                    burst=settings.destination.burst,
                    share=settings.destination.share,
                    on_pause=lambda seconds: checkpointer.pause_until(clock.wall() + seconds),
                )
            )
            sender = Retrying(
                Budgeted(await stack.enter_async_context(destination), budget),
                outage=outage,
                stop=stop,
                clock=clock,
                random=self._random,
                note=checkpointer.note,
            )
            producer = await self._producer(queue)

            def settled(receipt: Receipt) -> None:
                self._tally.add(receipt)
                self.progress.settled(self._tally, budget.remaining)
                producer.settled(receipt)
                self._check_breaker()

            async def transfer() -> None:
                async with asyncio.TaskGroup() as group:
                    group.create_task(producer.run(), name="producer")
                    for number in range(settings.run.in_flight):
                        group.create_task(
                            work(queue, sender, checkpointer, stop=stop, settled=settled),
                            name=f"worker-{number}",
                        )

            try:
                await self._keep_pause(budget)
                async with asyncio.TaskGroup() as outer:
                    outer.create_task(checkpointer.run(), name="checkpointer")
                    self._transfer = asyncio.create_task(transfer(), name="transfer")
                    watch = outer.create_task(self._watch(budget, outage, checkpointer), name="watch")
                    try:
                        await _ended(self._transfer)
                    finally:
                        watch.cancel()
                        checkpointer.close()
            finally:
                report.requests, report.throttled = budget.requests, budget.throttled
                report.tokens = budget.tokens
        await self._at(sending.withdraw_open, self.store, run=report.run)
        if producer.is_capped:
            stop.set("write_cap", f"max_writes = {settings.run.max_writes} is reached")

    async def _producer(self, queue: ClosableQueue[Change]) -> Producer:
        settle, now = self.settings.run.settle, self._clock.wall()
        recent = await self._at(sending.recent_doubts, self.store, since=now - settle)
        crashes = await self._at(self.store.fruitless_crashes)
        return Producer(
            _Due(self._at, self.store, self._run_number),
            queue,
            clock=self._clock,
            stop=self._stop,
            settle=settle,
            in_flight=self.settings.run.in_flight,
            max_writes=self.settings.run.max_writes,
            resting=[(candidate, min(settle, at + settle - now)) for candidate, at in recent],
            one_by_one=crashes >= CRASHED_RUNS,
        )

    async def _keep_pause(self, budget: Budget) -> None:
        """Go on with a pause that the server ordered before a restart."""
        until = await self._at(self.store.paused_until)
        left = (until or 0.0) - self._clock.wall()
        if left > 0:
            await budget.pause(min(left, MAX_PAUSE))

    async def _watch(self, budget: Budget, outage: Outage, checkpointer: Checkpointer) -> None:
        """Show progress, keep the deadline and the patience with an outage; see to the end in time."""
        stop, clock = self._stop, self._clock
        while not stop.is_set:
            self.progress.estimate(
                budget.rate, budget.remaining or 0.0, wall=clock.wall(), monotonic=clock.monotonic()
            )
            checkpointer.show(self.progress.as_json())
            if outage.is_over:
                stop.set(
                    "outage",
                    f"the destination gave no definite answer for {OUTAGE_LIMIT / 60:.0f} minutes; "
                    "everything not settled stays due. Run sync again when it answers",
                )
            elif self._deadline is not None and clock.wall() >= self._deadline - DRAIN_SECONDS:
                stop.set("deadline", f"it is {self.settings.run.until}; the rest stays due")
            await stop.sleep(PROGRESS_SECONDS)
        self.progress.phase = "stopping"
        budget.close()
        await clock.sleep(DRAIN_SECONDS)
        if self._transfer is not None:
            self._transfer.cancel()

    def _check_breaker(self) -> None:
        tally, limit = self._tally, self.settings.run.max_failed_share
        if tally.answered >= BREAKER_FROM and tally.failed_share > limit:
            self._stop.set(
                "breaker",
                f"{tally[Result.REJECTED]} of {tally.answered} contacts were rejected, "
                f"more than {limit:.0%}: more likely the mapping is wrong than so many people. They are due again; look at one with "
                "explain, mend [fields] and run sync again",
            )

    # --- the end -----------------------------------------------------------------------------------------

    async def _conclude(self, report: Report) -> None:
        """Close the run's record; outcome, exit code and stored record agree."""
        reason = self._stop.reason
        try:
            if reason == "breaker":
                await self._at(sending.put_back_rejections, self.store, run=report.run)
            await self._count(report)
        except StoreError as error:
            self._stop.set(error.reason, str(error))
            reason = reason if reason in FAILED_REASONS else error.reason
        report.reason, report.message = reason, self._stop.message
        if reason in SIGNAL_EXITS:
            report.outcome, report.exit = "interrupted", SIGNAL_EXITS[reason]
        elif reason in STOPPED_REASONS:
            report.outcome, report.exit = "stopped", EXIT_STOPPED
        elif reason is not None:
            report.outcome, report.exit = "failed", EXIT_FAILED
        elif report.problems_open or report.remaining:
            report.outcome, report.exit = "problems", EXIT_PROBLEMS
        else:
            report.outcome, report.exit = "done", EXIT_DONE
        with contextlib.suppress(StoreError):  # a full disk has been reported already
            await self._at(
                self.store.end_run,
                report.run,
                outcome=report.outcome,
                reason=report.reason,
                code=report.exit,
                report=report.as_json(),
            )
        self.progress.phase = "done"

    async def _count(self, report: Report) -> None:
        tally = self._tally
        report.sent, report.repeated = tally.sent, tally.repeated
        counts = await self._at(sending.run_counts, self.store, run=report.run)
        report.held, report.rejected, report.remaining = counts.held, counts.rejected, counts.due
        report.problems_open, report.problems_new = counts.problems_open, counts.problems_new
        report.accepted = tally[Result.ACCEPTED]
        if self._was_edited:
            unsettled = await self._at(sending.unsettled_contacts, self.store, run=report.run)
            report.accepted -= sum(tally.was_accepted(n) for n in unsettled)
        report.selected = report.accepted + report.rejected + report.held + report.remaining


class _Due:
    """The store as the producer sees it."""

    def __init__(self, at: StoreThread, store: Store, run: int) -> None:
        self._at, self._store, self._run = at, store, run

    async def page(self, after: str, limit: int) -> list[Candidate]:
        return await self._at(sending.due_page, self._store, after, limit)

    async def doubtful(self, limit: int) -> list[Candidate]:
        return await self._at(sending.doubtful_page, self._store, limit)

    async def claim(self, candidates: list[Candidate]) -> list[Change]:
        return await self._at(sending.claim, self._store, candidates, run=self._run)


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


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    leaves: list[BaseException] = []
    for error in group.exceptions:
        leaves += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return leaves


async def sync(
    settings: Settings,
    options: SyncOptions | None = None,
    *,
    destination: AbstractAsyncContextManager[Destination] | None = None,
) -> Report:
    """Do the nightly job once: load the source, send what is due, report.

    Raises ConfigError, LockHeldError or StoreError before anything is sent.
    """
    async with Engine(settings, destination=destination) as engine:
        return await engine.sync(options)
