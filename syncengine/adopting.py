"""A run that adopts a space: reads it once, finds who is whom, marks what is right already. Sends nothing.

Reading goes by `UpdatedAt`, the oldest first, and is written down as it goes on: killed, the next run goes on
where this one stopped, and only looks up whoever the source has changed meanwhile.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from syncengine.clock import Clock, Stop
from syncengine.config import Settings
from syncengine.model import AdoptReport
from syncengine.paying import Paying
from syncengine.progress import Progress
from syncengine.readonly import OpenSpace, read_only
from syncengine.seen import Seen, Space
from syncengine.store import adoption
from syncengine.store.forms import keep_forms, needs_forms
from syncengine.store.matches import Matches
from syncengine.store.store import Store
from syncengine.store.thread import StoreThread

LOOKED_UP = 500

NOTED = 2000
"""Contacts seen that are noted together: namesakes of the source are read once for all of them."""

OVERLAP = 60.0
"""Seconds read again where an adoption goes on: a search shows a change later than it happens."""


class Adopting:
    """One such run. `gathered` is called when everything is found and before any of it takes effect."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        at: StoreThread,
        space: OpenSpace,
        *,
        stop: Stop,
        clock: Clock,
        progress: Progress,
        gathered: Callable[[], None] | None = None,
    ) -> None:
        self._settings = settings
        self._store = store
        self._at = at
        self._space = space
        self._stop = stop
        self._clock = clock
        self._progress = progress
        self._gathered = gathered

    async def run(
        self, report: AdoptReport, *, first: Callable[[Paying], Awaitable[None]] | None, dry_run: bool
    ) -> None:
        """Read, and fill the report in. `dry_run`: nothing takes effect. `first`: see `read_only`."""
        report.dry_run = dry_run
        await read_only(
            self._settings,
            self._space,
            lambda space: self._adopt(report, space),
            report=report,
            stop=self._stop,
            first=first,
        )
        self._progress.phase = "adopting"
        if report.is_whole and not self._stop.is_set:
            if self._gathered is not None:
                await self._at(self._gathered)
            if not dry_run:
                date = self._clock.wall() - self._ahead
                await self._at(adoption.take_effect, self._store, run=report.run, date=date, is_whole=True)
        if dry_run:
            await self._at(adoption.drop, self._store)

    async def _adopt(self, report: AdoptReport, space: Space) -> None:
        if await self._at(needs_forms, self._store, verify=True):
            await self._at(keep_forms, self._store, await space.read_forms())
        begun = await self._at(adoption.begin, self._store)
        matches = await self._at(adoption.matches_of, self._store, space, claims=True)
        await self._read(report, space, matches, begun.read_up_to)
        if begun.since is not None and not await self._look_up_changed(space, matches, begun.since):
            await self._at(adoption.drop, self._store)  # then everybody is read anew
            await self._at(adoption.begin, self._store)
            report.contacts = report.known = 0
            await self._read(report, space, matches, None)
        self._ahead = space.clock_difference
        await self._at(adoption.choose, self._store)
        found = await self._at(adoption.count, self._store)
        report.equal, report.different, report.ambiguous = found.equal, found.different, found.ambiguous
        report.absent, report.unproven, report.strangers = found.absent, found.unproven, found.strangers
        report.fields = dict(found.fields.most_common())
        report.is_whole = True

    async def _read(
        self, report: AdoptReport, space: Space, matches: Matches, read_up_to: float | None
    ) -> None:
        """Note everybody in the space: whoever was there, then whoever was updated while that was read."""
        self._progress.due = await space.count()
        until = self._clock.wall() - space.clock_difference
        reached: list[float] = []
        pages = space.updated(
            None if read_up_to is None else read_up_to - OVERLAP,
            until,
            passed=reached.append,
            is_many=True,
        )
        waiting: list[Seen] = []
        async for seen in pages:
            if len(waiting) >= NOTED:  # what is told to be passed was yielded before this page
                await self._note(report, matches, waiting, reached[-1] if reached else None)
                waiting = []
            del reached[:-1]
            waiting += seen
        await self._note(report, matches, waiting, until)
        async for seen in space.updated(until - OVERLAP, self._clock.wall() - space.clock_difference):
            await self._at(adoption.note_page, self._store, matches, seen, read_up_to=until)

    async def _note(
        self, report: AdoptReport, matches: Matches, seen: list[Seen], read_up_to: float | None
    ) -> None:
        known = await self._at(adoption.note_page, self._store, matches, seen, read_up_to=read_up_to)
        report.contacts += len(seen)
        report.known += known
        self._progress.read = report.contacts

    async def _look_up_changed(self, space: Space, matches: Matches, since: float) -> bool:
        """Look up whoever was loaded since the adoption was begun: earlier pages were not compared.

        Returns whether all of them could be looked for.
        """
        after = 0
        while page := await self._at(
            adoption.changed_since, self._store, since, after=after, limit=LOOKED_UP
        ):
            after = page[-1][0]
            found = await space.look_up([wanted for _, wanted in page])
            if found.refused:
                return False
            await self._at(adoption.note_page, self._store, matches, found.seen, read_up_to=None)
        return True
