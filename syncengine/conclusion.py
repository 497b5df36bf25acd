"""The end of a run: counts, outcome, exit code and the stored record, which agree whatever happened."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from syncengine.clock import Stop
from syncengine.errors import StoreError
from syncengine.model import STOPPED_ON_PURPOSE, ReadingReport, Report, Result, Verdict, VerifyReport, ending
from syncengine.proving import Proving
from syncengine.store import counting, sending
from syncengine.store.store import Store
from syncengine.store.thread import StoreThread
from syncengine.tally import Tally


async def conclude(
    report: Report | ReadingReport,
    count: Callable[[], Awaitable[bool]],
    *,
    store: Store,
    at: StoreThread,
    stop: Stop,
) -> None:
    """Fill in how the run ended, and close its record.

    `count` fills in the counts and says whether somebody is not in the destination as in the source.
    """
    is_incomplete = False
    try:
        if stop.reason == "breaker":
            await at(sending.put_back_rejections, store, run=report.run)
        is_incomplete = await count()
    except StoreError as error:
        stop.fail(error)
    report.reason, report.message = stop.reason, stop.message or report.message
    if stop.failure is not None and stop.reason in STOPPED_ON_PURPOSE:
        report.reason, report.message = stop.failure.reason, str(stop.failure)
    report.outcome, report.exit = ending(report.reason, has_problems=is_incomplete)
    try:
        await at(
            store.end_run,
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


async def count_sync(
    report: Report,
    tally: Tally,
    proving: Proving | None,
    *,
    store: Store,
    at: StoreThread,
    was_edited: bool,
) -> bool:
    """Fill in the counts of a sync. `was_edited`: contacts changed during the run, so some count anew."""
    report.sent, report.repeated = tally.sent, tally.repeated
    counts = await at(counting.run_counts, store, run=report.run)
    report.held, report.rejected, report.remaining = counts.held, counts.rejected, counts.due
    report.problems_open, report.problems_new = counts.problems_open, counts.problems_new
    report.confirmed, report.differs = tally[Verdict.CONFIRMED], tally[Verdict.DIFFERS]
    report.dropped, report.unconfirmed = tally[Verdict.DROPPED], tally[Result.ACCEPTED]
    if was_edited:
        again = tally.of_these(await at(counting.unsettled_contacts, store, run=report.run))
        report.confirmed -= again[Verdict.CONFIRMED]
        report.differs -= again[Verdict.DIFFERS]
        report.dropped -= again[Verdict.DROPPED]
        report.unconfirmed -= again[Result.ACCEPTED]
    report.accepted = report.confirmed + report.differs + report.dropped + report.unconfirmed
    report.selected = report.accepted + report.rejected + report.held + report.remaining
    earlier = proving.earlier_counts() if proving is not None else {verdict.value: 0 for verdict in Verdict}
    report.earlier = {**earlier, "unconfirmed": max(0, counts.awaiting - report.unconfirmed)}
    if proving is not None:
        report.doubts = {name: count for name, count in proving.doubts.items() if count}
        report.findings = [finding.as_json() for finding in proving.findings.found()]
        report.message = proving.unable
    return bool(counts.problems_open or counts.due or counts.awaiting)


async def count_reading(report: ReadingReport, *, store: Store, at: StoreThread) -> bool:
    """Fill in the counts of a run that only read; after an adoption it is no problem that others are due."""
    counts = await at(counting.run_counts, store, run=report.run)
    report.problems_open, report.problems_new = counts.problems_open, counts.problems_new
    if not isinstance(report, VerifyReport):
        return bool(counts.problems_open)
    report.unconfirmed = counts.awaiting
    return bool(counts.problems_open or counts.due or counts.awaiting or report.unread)
