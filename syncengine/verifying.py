"""A run that only reads: settles what was accepted, and looks again at everybody that was confirmed.

The space is swept whole for the latter, about 1.3 tokens for a thousand contacts; only whoever is not met is
looked up, and a few are read alone when no look-up finds them either. Of the others it is told how many there
are: only who was read alone and is not there is gone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from syncengine.clock import Clock, Stop
from syncengine.config import Settings
from syncengine.model import Verdict, VerifyReport
from syncengine.paying import Paying
from syncengine.proving import Proving
from syncengine.readonly import OpenSpace, read_only
from syncengine.reads import Singles
from syncengine.seen import Space, Wanted
from syncengine.store import awaiting
from syncengine.store.forms import keep_forms
from syncengine.store.proof import Settled, settle_drift
from syncengine.store.store import Store
from syncengine.store.thread import StoreThread
from syncengine.tally import Tally

LOOKED_UP = 500


class Verifying:
    """One such run."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        at: StoreThread,
        space: OpenSpace,
        *,
        stop: Stop,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._store = store
        self._at = at
        self._space = space
        self._stop = stop
        self._clock = clock

    async def run(
        self,
        report: VerifyReport,
        *,
        first: Callable[[Paying], Awaitable[None]] | None,
        everybody: bool,
    ) -> None:
        """Read, and fill the report in. `first` is done before anything else, and pays the same budget."""
        await read_only(
            self._settings,
            self._space,
            lambda space: self._read(report, space, everybody=everybody),
            report=report,
            stop=self._stop,
            first=first,
        )

    async def _read(self, report: VerifyReport, space: Space, *, everybody: bool) -> None:
        await self._at(keep_forms, self._store, await space.read_forms())
        proving = Proving(
            self._settings,
            self._store,
            self._at,
            space,
            run=report.run,
            stop=self._stop,
            clock=self._clock,
            tally=Tally(),
            until=None,
            verify=True,
            judge=lambda: None,
        )
        proving.close()
        await proving.read_back()
        counts = proving.earlier_counts()
        report.confirmed = counts[Verdict.CONFIRMED]
        report.differs, report.dropped = counts[Verdict.DIFFERS], counts[Verdict.DROPPED]
        report.checked = report.confirmed + report.differs + report.dropped
        report.message = proving.unable
        if everybody and not self._stop.is_set:
            await self._look_at_everybody(report, space, proving)
        report.findings = [finding.as_json() for finding in proving.findings.found()]

    async def _look_at_everybody(self, report: VerifyReport, space: Space, proving: Proving) -> None:
        met = bytearray()
        now = self._clock.wall() - space.clock_difference
        async for seen in space.updated(None, now, is_many=True):
            shown, settled = await self._at(settle_drift, self._store, space, seen, run=report.run)
            for n in shown:
                if n >= len(met):
                    met.extend(bytes(n + 1 - len(met) + 65_536))
                met[n] = 1
            report.checked += len(shown)
            self._count(report, proving, settled)
        singles = Singles()
        after = 0
        while page := await self._at(awaiting.confirmed_ids, self._store, after=after, limit=LOOKED_UP):
            after = page[-1][0]
            unmet = [(n, id_) for n, id_ in page if n >= len(met) or not met[n]]
            if unmet:
                await self._look_up(report, space, proving, unmet, singles)
        if report.unread:
            many = f"{report.unread:,} contacts" if report.unread > 1 else "1 contact"
            told = (
                f"no search shows {many} whose id is known, and so many are not read one by one: whether "
                "they are there is not known. Run verify --all again"
            )
            report.message = "; ".join(filter(None, (report.message, told)))

    async def _look_up(
        self,
        report: VerifyReport,
        space: Space,
        proving: Proving,
        unmet: list[tuple[int, int]],
        singles: Singles,
    ) -> None:
        """Look for confirmed contacts that the sweep did not show."""
        seen = (await space.look_up([Wanted(id_, {}) for _, id_ in unmet])).seen
        shown = {one.id for one in seen}
        gone = []
        for n, id_ in unmet:
            if id_ in shown:
                continue
            if not singles.take(report.checked):
                report.unread += 1
            elif (one := await space.get(id_)) is None:
                gone.append(n)
            else:
                seen.append(one)
        found, settled = await self._at(settle_drift, self._store, space, seen, run=report.run, gone=gone)
        report.checked += len(found) + len(gone)
        self._count(report, proving, settled)

    def _count(self, report: VerifyReport, proving: Proving, settled: list[Settled]) -> None:
        proving.take_verdicts(settled)
        for one in settled:
            report.confirmed += one.verdict is Verdict.CONFIRMED
            report.differs += one.verdict is Verdict.DIFFERS
            report.dropped += one.verdict is Verdict.DROPPED
