"""The verifier: reads back in bulk what was accepted, while the run goes on and until the last is settled.

Reading goes in three ways, the cheapest first:

- *Windows* of `UpdatedAt`, all pages of each: 1,000 contacts for a token. A window begins where contacts
  still wait for a read, but at most `OVERLAP` seconds before the end of the last one, because a search shows
  a change later than it happens. While the pump runs one is read when it is due to settle enough to be worth
  its tokens; once nothing more is sent, by and by.
- *Look-ups* of whoever the windows have not shown, 50 to a search: once, when the deadline is over and
  something accepted later was seen. Only then a contact counts as dropped: while nothing accepted later is
  seen the destination is late.
- *Single reads* only of contacts whose id no look-up found: a dead id.

What a sight means is decided by `verdict.judge` and written down by `store.proof`; here it is decided when to
read, and whose wait is over. The pump never waits for the verifier but at the budget, and for a canary.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from syncengine.budget import BudgetClosedError
from syncengine.clock import Clock, Stop
from syncengine.errors import RejectedError, TransientError
from syncengine.model import Receipt, Result
from syncengine.reads import ProofStore
from syncengine.seen import Seen, Space
from syncengine.store.awaiting import Leftover
from syncengine.store.proof import Settled
from syncengine.waiting import Waiting

OVERLAP = 60.0
"""Seconds that a window may reach back before the end of the last one."""

TOKENS_PER_CONTACT = 0.0017
"""What reading a window costs: a sweep fills its pages to six tenths."""

SHARE = 0.004
"""Tokens for windows while the pump runs, as a share of the writes."""

FIRST_LOOK = 0.5
LONGEST_WAIT = 60.0
"""Seconds until the first window once nothing more is sent, doubled each time up to this."""

WHILE_APPLIED = 8.0
"""The same while each window shows somebody: the end is near."""

SECONDS_PER_CONTACT = 0.0005
"""A window that shows many contacts is worth waiting a little longer for, so that it shows all of them."""

DATE_SECONDS = 1.0
"""An answer's `Date` is a whole second: what it dates may be so much younger."""

LATE_LIMIT = 900.0
"""Seconds after the last acceptance for which a late destination is waited for."""

REST = 5.0
"""Seconds between seeing something accepted later and the last look: its neighbours may be a moment later."""

ONE_SEARCH = 50
"""Look-ups of so many fill a search; while the pump runs fewer wait for others."""

LOOKED_UP = 500
"""Contacts looked up between two looks at everything else."""

MANY = 200
"""Contacts left by earlier runs from which on a window is cheaper than look-ups."""

SINGLE_SHARE = 0.005
SINGLE_FLOOR = 20
"""Single reads are at most this share of the run's contacts, and at least so many."""


class Verifier:
    """Reads back what was accepted, and tells `settled` what became of it.

    `deadline`: seconds after acceptance. `until`: Unix time by which it must have ended, None without one.
    `told`: the verdicts, one call for each read.
    """

    def __init__(
        self,
        space: Space,
        store: ProofStore,
        *,
        clock: Clock,
        stop: Stop,
        deadline: float,
        settled: Callable[[list[Settled]], None],
        until: float | None = None,
    ) -> None:
        self._space = space
        self._store = store
        self._clock = clock
        self._stop = stop
        self._deadline = deadline + DATE_SECONDS
        self._settled = settled
        self._until = until
        self._waiting = Waiting()
        self._read_up_to: float | None = None
        self._new = 0  # accepted since the last window
        self._last_accepted = 0.0
        self._seen_dates: deque[tuple[float, float]] = deque([(-math.inf, -math.inf)])
        self._is_quiet = True
        self._is_over = False
        self._pause = FIRST_LOOK
        self._next_window = 0.0
        self._singles = 0
        self._looked_at: dict[int, float] = {}  # contacts with an id that is not dead, and their acceptance
        self._moved = asyncio.Event()
        stop.wakes(self._moved)
        self._dates: dict[int, float] = {}  # whoever waits for a read, and when it was accepted
        self._windows_from = -math.inf  # who was accepted before is only looked up
        self.is_unable = ""
        """Why nothing could be read, for people; empty while it can be."""

    # --- what the pump tells

    def accepted(self, receipt: Receipt) -> None:
        """Take note of a receipt."""
        if receipt.result is not Result.ACCEPTED:
            return
        date = self._server_time() if receipt.date is None else receipt.date
        if self._is_quiet and not self._waiting.waiting:
            self._look_soon()
        self._forget(receipt.change.n)  # accepted before, with another content: only the last one counts
        self._dates[receipt.change.n] = date
        self._waiting.add(date)
        self._last_accepted = max(self._last_accepted, date)
        self._new += 1

    def note(self, settled: Sequence[Settled]) -> None:
        """Take note of contacts that are settled, whoever found it out."""
        latest = self._seen_dates[-1][1]
        for one in settled:
            self._forget(one.n)
            if one.shows_progress:
                latest = max(latest, one.date)
        if latest > self._seen_dates[-1][1]:
            self._seen_dates.append((self._clock.monotonic(), latest))
            while len(self._seen_dates) > 2 and self._seen_dates[1][0] <= self._clock.monotonic() - REST:
                self._seen_dates.popleft()

    def _forget(self, n: int) -> None:
        date = self._dates.pop(n, None)
        if date is not None and date >= self._windows_from:
            self._waiting.settle(date)

    def quiet(self, is_quiet: bool) -> None:
        """Take note whether nothing is being sent now: then the rest is read by and by, as it is applied."""
        is_quiet |= self._is_over
        if is_quiet != self._is_quiet:
            self._is_quiet = is_quiet
            self._look_soon()
            self._moved.set()

    def close(self) -> None:
        """Take note that nothing more will be sent: end when the last is settled, or its wait over."""
        self._is_over = True
        self.quiet(True)
        self._moved.set()

    def _look_soon(self) -> None:
        """Let the next window be read soon: the sooner the smaller it is."""
        self._pause = max(FIRST_LOOK, SECONDS_PER_CONTACT * self._window()[1])
        self._next_window = self._clock.monotonic() + self._pause

    # --- the work

    async def run(self) -> None:
        """Read until closed and everybody is settled, or nobody who is left can be. Errors pass through."""
        try:
            await self._settle_what_was_left()
            while not self._stop.is_set and not self._is_done():
                await self._step()
        except BudgetClosedError:
            pass  # the order to stop came first
        except RejectedError as error:
            self.is_unable = f"Qomon refused to be read ({error})"

    async def _settle_what_was_left(self) -> None:
        """Settle what earlier runs left, however long it takes until it can be read."""
        while not self._stop.is_set:
            try:
                await self._settle_earlier()
                while await self._look_up_overdue():
                    pass
            except TransientError as error:
                if self._is_over:
                    self.is_unable = f"Qomon could not be read ({error})"
                    return
                await self._stop.sleep(LONGEST_WAIT, until=self._moved)
            else:
                return

    async def _step(self) -> None:
        try:
            if self._is_window_due():
                await self._read_window()
            if await self._look_up_overdue():
                return
            await self._look_for_dead_ids()
        except TransientError as error:
            if self._is_given_up():
                self.is_unable = f"Qomon could not be read ({error})"
                self._is_over = True
                self._last_accepted = -math.inf
                return
            self._next_window = self._clock.monotonic() + LONGEST_WAIT
        await self._rest()

    async def _rest(self) -> None:
        """Wait until something happens, or it is time to look."""
        self._moved.clear()
        wait = LONGEST_WAIT / 60
        if self._is_quiet:
            wait = min(max(0.05, self._next_window - self._clock.monotonic()), LONGEST_WAIT / 60)
        await self._stop.sleep(wait, until=self._moved)

    def _is_done(self) -> bool:
        if not self._is_over:
            return False
        return not self._dates or self._is_given_up()

    def _is_given_up(self) -> bool:
        """Say whether whoever is left cannot be settled in this run any more."""
        if self._until is not None and self._clock.wall() >= self._until:
            return True
        is_late = self._server_time() > self._last_accepted + LATE_LIMIT
        return self._is_over and is_late and self._clock.monotonic() > self._seen_dates[-1][0] + 2 * REST

    def _server_time(self) -> float:
        return self._clock.wall() - self._space.clock_difference

    # --- windows

    def _is_window_due(self) -> bool:
        if not self._waiting.waiting:
            return False
        if self._is_quiet:
            return self._clock.monotonic() >= self._next_window
        _, shown = self._window()
        return bool(shown) and self._new * SHARE >= 1 + shown * TOKENS_PER_CONTACT

    def _window(self) -> tuple[float, int]:
        low = 0.0 if self._read_up_to is None else self._read_up_to - OVERLAP
        return self._waiting.window(low)

    async def _read_window(self) -> None:
        self._pause = min(2 * self._pause, LONGEST_WAIT)
        self._next_window = self._clock.monotonic() + self._pause
        low, _ = self._window()
        if low == math.inf:
            return  # look-ups are cheaper
        high = self._server_time()
        self._new = 0
        has_settled = False
        async for page in self._space.updated(low, high):
            has_settled |= bool(await self._settle(page))
        self._read_up_to = high
        self._waiting.forget_before(high - OVERLAP)
        if has_settled:  # it goes on being applied
            self._pause = min(self._pause, WHILE_APPLIED)
            self._next_window = self._clock.monotonic() + self._pause

    # --- look-ups

    async def _look_up_overdue(self) -> bool:
        """Look up some of those whose deadline is over; say whether there may be more."""
        until = min(self._server_time() - self._deadline, self._surely_passed())
        if not self._dates or until <= 0:
            return False
        found = await self._store.leftovers(until=until, after=(-math.inf, 0), limit=LOOKED_UP)
        if not found:
            return False
        waits = self._server_time() - self._deadline - found[0].date
        if not self._is_quiet and len(found) < ONE_SEARCH and waits < LONGEST_WAIT / 2:
            return False
        await self._settle_finally(found, until)
        return len(found) == LOOKED_UP

    async def _look_for_dead_ids(self) -> None:
        """Settle contacts of which not even the id exists any more: no patience brings them back."""
        until = self._server_time() - self._deadline
        if not self._is_quiet or not self._dates:
            return
        overdue = await self._store.leftovers(until=until, after=(-math.inf, 0), limit=LOOKED_UP)
        suspects = [
            one for one in overdue if one.wanted.id is not None and self._looked_at.get(one.n) != one.date
        ]
        if not suspects:
            return
        seen = await self._space.look_up([one.wanted for one in suspects])
        shown = {one.id for one in seen}
        dead: dict[int, bool] = {}
        for one in suspects:
            self._looked_at[one.n] = one.date
            assert one.wanted.id is not None
            if one.wanted.id not in shown and self._may_read_single():
                self._singles += 1
                if await self._space.get(one.wanted.id) is None:
                    dead[one.n] = True
        await self._settle(seen, also=[one.n for one in suspects], final=dead, until=until)

    def _surely_passed(self) -> float:
        """Return up to which acceptance everything should be seen: something later was, a moment ago."""
        moment = self._clock.monotonic() - REST
        passed = -math.inf
        for seen_at, date in self._seen_dates:
            if seen_at <= moment:
                passed = date
        return passed

    async def _settle_finally(self, found: Sequence[Leftover], until: float) -> None:
        """Look contacts up that were accepted by `until`, and settle them, whatever is seen."""
        seen = await self._space.look_up([leftover.wanted for leftover in found])
        shown = {one.id for one in seen}
        final: dict[int, bool] = {leftover.n: False for leftover in found}
        for leftover in found:
            id_ = leftover.wanted.id
            if id_ is None or id_ in shown or not self._may_read_single():
                continue
            self._singles += 1
            one = await self._space.get(id_)
            if one is None:
                final[leftover.n] = True
            else:
                seen.append(one)
        await self._settle(seen, also=list(final), final=final, until=until)

    def _may_read_single(self) -> bool:
        return self._singles < max(SINGLE_FLOOR, SINGLE_SHARE * self._waiting.accepted)

    async def _settle_earlier(self) -> None:
        """Settle what earlier runs left: contacts still waiting, and dropped ones, once more."""
        after = 0
        while found := await self._store.dropped_before(after=after, limit=LOOKED_UP):
            after = found[-1].n
            seen = await self._space.look_up([leftover.wanted for leftover in found])
            await self._settle(seen, also=[leftover.n for leftover in found])
            await self._store.looked_again([leftover.n for leftover in found])
        left = await self._store.awaiting()
        self._last_accepted = left.last
        self._windows_from = self._server_time() - LATE_LIMIT
        if left.seen:
            self._seen_dates.append((-math.inf, left.seen))
        if left.total > MANY:
            async for seen in self._space.updated(left.first - 1, left.last + OVERLAP):
                await self._settle(seen)
        place, until = (-math.inf, 0), self._server_time()
        while page := await self._store.leftovers(until=until, after=place, limit=LOOKED_UP):
            place = (page[-1].date, page[-1].n)
            for leftover in page:
                if leftover.n not in self._dates and leftover.date >= self._windows_from:
                    self._waiting.add(leftover.date)
                self._dates[leftover.n] = leftover.date
            # Of many, those accepted just now are shown by windows as well, and cheaper.
            asked = [one for one in page if left.total <= MANY or one.date < self._windows_from]
            if asked:
                seen = await self._space.look_up([leftover.wanted for leftover in asked])
                await self._settle(seen, also=[leftover.n for leftover in asked])

    # --- verdicts

    async def _settle(
        self,
        seen: Sequence[Seen],
        *,
        also: Sequence[int] = (),
        final: Mapping[int, bool] | None = None,
        until: float = math.inf,
    ) -> int:
        """Settle who is among those seen; return how many."""
        settled = await self._store.settle(seen, also=also, final=final, until=until)
        if settled:
            self._settled(settled)
        return len(settled)
