"""The engine: wires the data path, guards it, stops it in order, and reports.

::

    lock ─▶ store ─▶ load ─▶ preflight ─▶ producer ─▶ queue ─▶ workers ─▶ destination
                                                                  └─▶ checkpointer ─▶ store
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from functools import partial
from random import Random
from types import TracebackType
from typing import Any, Self

from syncengine.clock import Clock, Stop
from syncengine.config import Settings
from syncengine.destination import Destination
from syncengine.errors import ConfigError, SourceError, StoreError, SyncError
from syncengine.load import LoadReport, LoadStopped, OpenedSource, load, open_mapped
from syncengine.mapping import compile_mapping
from syncengine.model import STOPPED_ON_PURPOSE, Report, Result, ending
from syncengine.outcome import NOT_FOUND_AGAIN
from syncengine.paying import Paying
from syncengine.preflight import MASS_CHANGE_FROM, held_classes, is_mass_change
from syncengine.progress import Progress
from syncengine.space import check_space, open_destination
from syncengine.store import sending
from syncengine.store.lock import RunLock
from syncengine.store.store import Bound, Store
from syncengine.store.thread import StoreThread
from syncengine.store.views import changed_fields
from syncengine.tally import Tally
from syncengine.transfer import Transfer

__all__ = ["Engine", "SyncOptions", "sync"]


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
        mapping = compile_mapping(self.settings.fields, source.key, None)
        contacts = [mapping(dict(row)) for row in rows]
        self._was_edited = True
        await self._at(self._put, contacts)

    def _put(self, contacts: list[tuple[str, dict[str, Any]]]) -> None:
        """Store, and hold what must not go before the producer can see it (in one turn of the thread)."""
        sending.put(self.store, contacts)
        if self._run_number is not None:
            self._hold(self._run_number)

    async def load(self, *, allow_shrink: bool = False) -> LoadReport:
        """Load the configured source into the store. Raises StoreError while a sync runs; `put` may then."""
        self._refuse_beside_a_run()
        return await self._load(open_mapped(self.settings), allow_shrink=allow_shrink, run=None)

    async def sync(self, options: SyncOptions | None = None) -> Report:
        """Load, send what is due, and report.

        Raises ConfigError or StoreError only before the run begins; afterwards every end, good or bad, is
        a report. Cancelled, it closes the run as interrupted and raises.
        """
        options = options or SyncOptions()
        self._refuse_beside_a_run()
        if self._stop.failure is not None:
            raise StoreError(f"{self.settings.state.path}: failed during an earlier run; open it again")
        opened = await self._open_source() if options.load and self.settings.source else None
        key = self.settings.api_key(self._environ) if self._destination is None else None
        self._key = key
        self._bound = Bound(None, needs_proof=False)
        if key is not None:
            self._bound = await self._at(
                self.store.bind,
                self.settings.destination.base_url,
                key.get_secret_value(),
                same_space=options.same_space,
            )
        self._refuse_beside_a_run()
        self._run_number = 0
        try:
            run = await self._at(self.store.begin_run, "sync", in_flight=self.settings.run.in_flight)
        except BaseException:
            self._run_number = None
            raise
        report = Report(run=run)
        started = self._clock.monotonic()
        self._run_number = report.run
        self._tally = Tally()
        self._deadline = self.settings.deadline(self._clock.wall())
        try:
            await self._run_to_an_end(report, options, opened, self._destination or self._qomon())
        finally:
            report.seconds = self._clock.monotonic() - started
            await self._conclude(report)
        return report

    def _refuse_beside_a_run(self) -> None:
        if self._run_number is not None:
            raise StoreError(
                f"{self.settings.state.path}: a sync is running in this engine; wait for its end"
            )

    async def _open_source(self) -> OpenedSource | SourceError:
        """Open the source; one that is refused ends the run with a report, like one refused later."""
        try:
            return await self._at(open_mapped, self.settings)
        except SourceError as error:
            return error

    async def _run_to_an_end(
        self,
        report: Report,
        options: SyncOptions,
        opened: OpenedSource | SourceError | None,
        destination: AbstractAsyncContextManager[Destination],
    ) -> None:
        """Run; the errors that end a run become its reason."""
        try:
            try:
                await self._run(report, options, opened, destination)
            except* SyncError as group:
                self._stop.fail(_first(group))
        except asyncio.CancelledError:
            self._stop.set("sigint", "the task that ran it was cancelled")
            raise
        except BaseException:
            self._stop.set("error", "syncengine made a mistake; the traceback says where")
            raise

    def _qomon(self) -> AbstractAsyncContextManager[Destination]:
        assert self._key is not None
        return open_destination(self.settings, self._key)

    # --- the run -----------------------------------------------------------------------------------------

    async def _run(
        self,
        report: Report,
        options: SyncOptions,
        opened: OpenedSource | SourceError | None,
        destination: AbstractAsyncContextManager[Destination],
    ) -> None:
        if isinstance(opened, SourceError):
            raise opened
        if opened is not None:
            self.progress.phase = "loading"
            with contextlib.suppress(LoadStopped):
                loaded = await self._load(opened, allow_shrink=options.allow_shrink, run=report.run)
                for name, count in loaded.counts().items():
                    setattr(report, name, count)
        if self._stop.is_set:
            return
        await self._at(self._hold, report.run)
        if not options.allow_mass_change and await self._is_mass_change(report):
            return
        due = await self._at(sending.count_due, self.store)
        self.progress.begin_sending(due.due, self._clock.monotonic())
        if due.due or self._bound.needs_proof:
            await self._send(report, destination, options)

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

    def _hold(self, run: int) -> None:
        """Hold what must not go."""
        sending.hold_doubtful(self.store, NOT_FOUND_AGAIN, run=run)
        sending.hold_without_identity(self.store, held_classes(self.settings.identity), run=run)

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

    async def _send(
        self,
        report: Report,
        destination: AbstractAsyncContextManager[Destination],
        options: SyncOptions,
    ) -> None:
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
            first=await self._space_check(options),
        )
        try:
            await transfer.run(destination)
        finally:
            self._transfer = None
            budget = transfer.budget
            report.requests, report.throttled, report.tokens = (
                budget.requests,
                budget.throttled,
                budget.tokens,
            )

    async def _space_check(self, options: SyncOptions) -> Callable[[Paying], Awaitable[None]] | None:
        """Return what shows that this is the file's space, None when there is nothing to show.

        Needed for another key. Otherwise done once, as soon as there are contacts that a read could find.
        """
        key, bound = self._key, self._bound
        if key is None or (bound.group_id is not None and not bound.needs_proof):
            return None
        accepted = await self._at(sending.count_accepted, self.store)
        if not bound.needs_proof and not accepted:
            return None

        async def bind(group_id: int | None) -> None:
            await self._at(
                self.store.bind_group, key.get_secret_value(), group_id, same_space=options.same_space
            )

        return partial(
            check_space,
            self.settings,
            key,
            bind,
            clock=self._clock,
            random=self._random,
            is_needed=bound.needs_proof,
        )

    # --- the end -----------------------------------------------------------------------------------------

    async def _conclude(self, report: Report) -> None:
        """Close the run's record; outcome, exit code and stored record agree."""
        stop = self._stop
        try:
            if stop.reason == "breaker":
                await self._at(sending.put_back_rejections, self.store, run=report.run)
            await self._count(report)
        except StoreError as error:
            stop.fail(error)
        report.reason, report.message = stop.reason, stop.message
        if stop.failure is not None and stop.reason in STOPPED_ON_PURPOSE:
            report.reason, report.message = stop.failure.reason, str(stop.failure)
        report.outcome, report.exit = ending(
            report.reason, has_problems=bool(report.problems_open or report.remaining)
        )
        try:
            await self._at(
                self.store.end_run,
                report.run,
                outcome=report.outcome,
                reason=report.reason,
                code=report.exit,
                report=report.as_json(),
            )
        except StoreError as error:  # what cannot be written down is not done
            stop.fail(error)
            if report.reason in {None, *STOPPED_ON_PURPOSE}:
                report.reason, report.message = error.reason, str(error)
                report.outcome, report.exit = ending(error.reason, has_problems=False)
        self.progress.phase = "done"
        self._run_number = None
        if not isinstance(stop.failure, StoreError):
            self._stop = Stop(self._clock)

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
