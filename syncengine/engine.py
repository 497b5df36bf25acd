"""The engine: wires the data path, guards it, stops it in order, and reports.

::

    lock ─▶ store ─▶ load ─▶ preflight ─▶ producer ─▶ queue ─▶ workers ─▶ destination
                                                        ▲          └─▶ checkpointer ─▶ store
                                                     canary ◀─ verifier ◀─ bulk read-back
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from random import Random
from types import TracebackType
from typing import Any, Self

from syncengine.access import Access
from syncengine.adopting import Adopting
from syncengine.clock import Clock, Stop
from syncengine.conclusion import conclude, count_reading, count_sync
from syncengine.config import Settings
from syncengine.destination import Destination
from syncengine.errors import ConfigError, SourceError, StoreError, SyncError
from syncengine.guards import Guards
from syncengine.load import LoadReport, LoadStopped, OpenedSource, load, open_for
from syncengine.mapping import compile_mapping
from syncengine.model import AdoptOptions, AdoptReport, ReadingReport, Report, SyncOptions, VerifyReport
from syncengine.progress import Progress
from syncengine.proving import Proving
from syncengine.store import counting, probes, sending
from syncengine.store.lock import RunLock
from syncengine.store.store import Store
from syncengine.store.thread import StoreThread
from syncengine.tally import Tally
from syncengine.transfer import Transfer
from syncengine.verifying import Verifying

__all__ = ["AdoptOptions", "Engine", "SyncOptions", "sync"]


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
        self._run_number: int | None = None
        self._was_edited = False
        self._transfer: Transfer | None = None

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            executor = self._executor or stack.enter_context(
                ThreadPoolExecutor(max_workers=1, thread_name_prefix="syncengine-store")
            )
            self._at = StoreThread(executor)
            self._stop = Stop(self._clock)
            lock = await self._at(stack.enter_context, RunLock(self.settings.state.path))
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
            self._transfer.cut_off()
        self._stop.set(reason)

    async def put(self, rows: Iterable[Mapping[str, object]]) -> None:
        """Map and store single rows, also during a sync. They stay due until sent with this content.

        Rows are mappings from source column to value, as in JSON Lines. Raises RowRefusedError.
        """
        source = self.settings.source
        if source is None:
            raise ConfigError("no [source] is configured: its key names the column that identifies a row")
        proven = await self._at(probes.kept_by, self.store)
        mapping = compile_mapping(self.settings.fields, source.key, None, proven=proven)
        contacts = [mapping(dict(row)) for row in rows]
        self._was_edited = True
        await self._at(self._put, contacts)

    def _put(self, contacts: list[tuple[str, dict[str, Any]]]) -> None:
        """Store, and hold what must not go before the producer can see it (in one turn of the thread)."""
        sending.put(self.store, contacts)
        if self._run_number is not None:
            proving = self._transfer.proving if self._transfer is not None else None
            guards = partial(self._guards().hold, self._run_number)
            hold = guards if proving is None else proving.preflight.hold_now
            hold({key for key, _ in contacts})

    async def load(self, *, allow_shrink: bool = False) -> LoadReport:
        """Load the configured source into the store. Raises StoreError while a sync runs; `put` may then."""
        self._refuse_beside_a_run()
        opened = await self._at(open_for, self.store, self.settings)
        return await self._load(opened, allow_shrink=allow_shrink, run=None)

    async def sync(self, options: SyncOptions | None = None) -> Report:
        """Load, send what is due, and report.

        Raises ConfigError or StoreError only before the run begins; afterwards every end, good or bad, is
        a report. Cancelled, it closes the run as interrupted and raises.
        """
        options = options or SyncOptions()
        self._refuse_beside_a_run()
        opened = await self._open_source() if options.load and self.settings.source else None
        report = Report(run=await self._begin("sync", same_space=options.same_space))
        started = self._clock.monotonic()
        self._tally = Tally()
        self._deadline = self.settings.deadline(self._clock.wall())
        try:
            await self._run_to_an_end(report, options, opened)
        finally:
            report.seconds = self._clock.monotonic() - started
            await self._conclude(report)
        return report

    async def verify(self, *, everybody: bool = False) -> VerifyReport:
        """Read back what was accepted and not settled; with `everybody` also what was confirmed before.

        Raises ConfigError or StoreError only before the run begins; afterwards every end is a report.
        """
        self._refuse_beside_a_run()
        report = VerifyReport(run=await self._begin("verify"))
        async with self._reading_run(report):
            verifying = Verifying(
                self.settings,
                self.store,
                self._at,
                self._access.readable(),
                stop=self._stop,
                clock=self._clock,
            )
            await verifying.run(report, first=await self._access.check(), everybody=everybody)
        return report

    async def adopt(
        self, options: AdoptOptions | None = None, *, gathered: Callable[[Store], None] | None = None
    ) -> AdoptReport:
        """Read the space, find who is whom, and mark what is right already; send nothing.

        `gathered` may look at what was found before it takes effect, in the store's thread. Raises
        ConfigError or StoreError only before the run begins; afterwards every end is a report.
        """
        options = options or AdoptOptions()
        self._refuse_beside_a_run()
        opened = await self._open_source() if options.load and self.settings.source else None
        report = AdoptReport(run=await self._begin("adopt", same_space=options.same_space))
        async with self._reading_run(report):
            if isinstance(opened, SourceError):
                raise opened
            if opened is not None:
                await self._load_into(report, opened, allow_shrink=options.allow_shrink)
            if not self._stop.is_set:
                self.progress.phase = "reading the space"
                adopting = Adopting(
                    self.settings,
                    self.store,
                    self._at,
                    self._access.readable(),
                    stop=self._stop,
                    clock=self._clock,
                    progress=self.progress,
                    gathered=partial(gathered, self.store) if gathered is not None else None,
                )
                first = await self._access.check()
                await adopting.run(report, first=first, dry_run=options.dry_run)
        return report

    @contextlib.asynccontextmanager
    async def _reading_run(self, report: ReadingReport) -> AsyncIterator[None]:
        """Run what is inside; the errors that end a run become its reason, and its record is closed."""
        started = self._clock.monotonic()
        try:
            yield
        except SyncError as error:
            self._stop.fail(error)
        except asyncio.CancelledError:
            self._stop.set("sigint", "the task that ran it was cancelled")
            raise
        finally:
            report.seconds = self._clock.monotonic() - started
            await self._conclude(report)

    async def _begin(self, kind: str, *, same_space: bool = False) -> int:
        """Bind the file to the space and begin a run; return its number."""
        if self._stop.failure is not None:
            raise StoreError(f"{self.settings.state.path}: failed during an earlier run; open it again")
        self._access = await Access.bind(
            self.settings,
            self.store,
            self._at,
            instead=self._destination,
            environ=self._environ,
            clock=self._clock,
            random=self._random,
            same_space=same_space,
        )
        self._proving: Proving | None = None
        self._refuse_beside_a_run()
        self._run_number = 0
        try:
            run = await self._at(self.store.begin_run, kind, in_flight=self.settings.run.in_flight)
        except BaseException:
            self._run_number = None
            raise
        self._run_number = run
        return run

    def _refuse_beside_a_run(self) -> None:
        if self._run_number is not None:
            raise StoreError(
                f"{self.settings.state.path}: a sync is running in this engine; wait for its end"
            )

    async def _open_source(self) -> OpenedSource | SourceError:
        """Open the source; one that is refused ends the run with a report, like one refused later."""
        try:
            return await self._at(open_for, self.store, self.settings)
        except SourceError as error:
            return error

    async def _run_to_an_end(
        self,
        report: Report,
        options: SyncOptions,
        opened: OpenedSource | SourceError | None,
    ) -> None:
        """Run; the errors that end a run become its reason."""
        try:
            try:
                await self._run(report, options, opened)
            except* SyncError as group:
                self._stop.fail(_first(group))
        except asyncio.CancelledError:
            self._stop.set("sigint", "the task that ran it was cancelled")
            raise
        except BaseException:
            self._stop.set("error", "syncengine made a mistake; the traceback says where")
            raise

    def _guards(self) -> Guards:
        return Guards(self.settings, self.store, self._stop, can_read=self._access.space is not None)

    # --- the run -----------------------------------------------------------------------------------------

    async def _run(
        self, report: Report, options: SyncOptions, opened: OpenedSource | SourceError | None
    ) -> None:
        if isinstance(opened, SourceError):
            raise opened
        if opened is not None:
            await self._load_into(report, opened, allow_shrink=options.allow_shrink)
        if self._stop.is_set:
            return
        guards = self._guards()
        await self._at(guards.hold, report.run)
        if await self._at(guards.have_keys_moved):
            return
        if not options.allow_mass_change and await self._at(guards.is_mass_change, report):
            return
        due = await self._at(counting.count_due, self.store)
        self.progress.begin_sending(due.due, self._clock.monotonic())
        is_read = self._access.space is not None and await self._at(
            counting.needs_reading, self.store, verify=options.verify
        )
        if due.due or self._access.needs_proof or is_read:
            await self._send(report, options)

    async def _load_into(
        self, report: Report | AdoptReport, opened: OpenedSource, *, allow_shrink: bool
    ) -> None:
        """Load, and fill the counts in; an order to stop ends it without effect."""
        self.progress.phase = "loading"
        with contextlib.suppress(LoadStopped):
            loaded = await self._load(opened, allow_shrink=allow_shrink, run=report.run)
            for name, count in loaded.counts().items():
                setattr(report, name, count)

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

    async def _send(self, report: Report, options: SyncOptions) -> None:
        self._transfer = transfer = Transfer(
            self.settings,
            self.store,
            self._at,
            run=report.run,
            stop=self._stop,
            clock=self._clock,
            random=self._random,
            tally=self._tally,
            progress=self.progress,
            deadline=self._deadline,
            first=await self._access.check(),
            space=self._access.space,
            verify=options.verify,
        )
        try:
            await transfer.run(self._access.destination())
        finally:
            self._transfer = None
            if transfer.proving is not None:
                self._proving = transfer.proving
            budget = transfer.budget
            report.requests, report.throttled, report.tokens = (
                budget.requests,
                budget.throttled,
                budget.tokens,
            )

    # --- the end -----------------------------------------------------------------------------------------

    async def _conclude(self, report: Report | ReadingReport) -> None:
        """Close the run's record, and be ready for another one."""

        async def count() -> bool:
            if not isinstance(report, Report):
                return await count_reading(report, store=self.store, at=self._at)
            return await count_sync(
                report,
                self._tally,
                self._proving,
                store=self.store,
                at=self._at,
                was_edited=self._was_edited,
            )

        await conclude(report, count, store=self.store, at=self._at, stop=self._stop)
        self.progress.phase = "done"
        self._run_number = None
        if not isinstance(self._stop.failure, StoreError):
            self._stop = Stop(self._clock)


def _first(group: BaseExceptionGroup[SyncError]) -> SyncError:
    error: SyncError | BaseExceptionGroup[SyncError] = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


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
