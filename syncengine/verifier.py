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

What earlier runs left is read first; however much that is, what this run sends is looked at in between.

What a sight means is decided by `verdict.judge` and written down by `store.proof`; here it is decided when to
read, and whose wait is over. The pump never waits for the verifier but at the budget, and for a canary.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence

from syncengine.budget import BudgetClosedError
from syncengine.clock import Clock, Stop
from syncengine.errors import RejectedError, TransientError
from syncengine.model import Receipt, Result
from syncengine.reads import LookUps, ProofStore
from syncengine.seen import Seen, Space
from syncengine.store.awaiting import Leftover
from syncengine.store.proof import Settled
from syncengine.waiting import REST, Passed, Waiting

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

ONE_SEARCH = 50
"""Look-ups of so many fill a search; while the pump runs fewer wait for others."""

LOOKED_UP = 500
"""Contacts looked up between two looks at everything else."""

MANY = 200
"""Contacts left by earlier runs from which on a window is cheaper than look-ups."""


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
        self._first_accepted = math.inf
        self._last_accepted = 0.0
        self._passed = Passed()
        self._is_quiet = True
        self._is_over = False
        self._pause = FIRST_LOOK
        self._next_window = 0.0
        self.look_ups = LookUps(space)
        self._looked_at: dict[int, float] = {}  # contacts with an id that is not dead, and their acceptance
        self._moved = asyncio.Event()
        stop.wakes(self._moved)
        self._dates: dict[int, float] = {}  # whoever waits for a read, and when it was accepted
        self._only_looked_up: set[int] = set()  # of these, who was accepted too long ago for windows
        self._windows_from = -math.inf
        self.is_unable = ""
        """Why nothing could be read, for people; empty while it can be."""

    # --- what the pump tells

    def accepted(self, receipt: Receipt) -> None:
        """Take note of a receipt."""
        if receipt.result is not Result.ACCEPTED:
            return
        date = self._server_time() if receipt.date is None else receipt.date
        if self._is_quiet:
            self._look_soon(is_first=not self._waiting.waiting)
        self._forget(receipt.change.n)  # accepted before, with another content: only the last one counts
        self._dates[receipt.change.n] = date
        self._waiting.add(date)
        self._first_accepted = min(self._first_accepted, date)
        self._last_accepted = max(self._last_accepted, date)
        self._new += 1

    def note(self, settled: Sequence[Settled]) -> None:
        """Take note of contacts that are settled, whoever found it out."""
        now = self._clock.monotonic()
        for one in settled:
            self._forget(one.n)
            if one.shows_progress:
                self._passed.see(one.date, now)

    @property
    def latest_seen(self) -> float:
        """The latest acceptance that a read showed applied; minus infinity before."""
        return self._passed.latest

    def _forget(self, n: int) -> None:
        self.look_ups.forget(n)
        self._wait_no_more(n)

    def _wait_no_more(self, n: int) -> None:
        date = self._dates.pop(n, None)
        if n in self._only_looked_up:
            self._only_looked_up.discard(n)
        elif date is not None:
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

    def _look_soon(self, *, is_first: bool = True) -> None:
        """Let the next window be read soon, the sooner the smaller it is; for a further contact in time."""
        now = self._clock.monotonic()
        if not is_first:
            self._pause = min(self._pause, WHILE_APPLIED / 2)
            self._next_window = min(self._next_window, now + WHILE_APPLIED)
            return
        self._pause = max(FIRST_LOOK, SECONDS_PER_CONTACT * self._window()[1])
        self._next_window = now + self._pause

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
                    await self._look_between()
            except TransientError as error:
                if self._is_over:
                    self.is_unable = f"Qomon could not be read ({error})"
                    return
                await self._stop.sleep(LONGEST_WAIT, until=self._moved)
            else:
                return

    async def _step(self) -> None:
        try:
            await self._read_window_if_due()
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
        return self._is_over and is_late and self._clock.monotonic() > self._passed.at + 2 * REST

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

    async def _read_window_if_due(self) -> None:
        if self._is_window_due():
            await self._read_window()

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

    async def _look_up_overdue(self, after: tuple[float, int] = (-math.inf, 0)) -> bool:
        """Look up some of those whose deadline is over; say whether there may be more.

        `after`: only those accepted since, by date and number.
        """
        passed = self._passed.up_to(self._clock.monotonic())
        until = min(self._server_time() - self._deadline, passed)
        if not self._dates or until <= 0 or until < after[0]:
            return False
        found, is_all = await self._overdue(until, after)
        if not found:
            return False
        waits = self._server_time() - self._deadline - found[0].date
        if not self._is_quiet and len(found) < ONE_SEARCH and waits < LONGEST_WAIT / 2:
            return False
        await self._settle_finally(found, until)
        return not is_all

    async def _overdue(self, until: float, after: tuple[float, int]) -> tuple[list[Leftover], bool]:
        """Return some of those accepted by `until` who can be looked for, and whether these are all."""
        while True:
            page = await self._store.leftovers(until=until, after=after, limit=LOOKED_UP)
            is_all = len(page) < LOOKED_UP
            found = [one for one in page if one.n not in self.look_ups.given_up]
            if found or is_all:
                return found, is_all
            after = (page[-1].date, page[-1].n)

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
        seen = await self.look_ups.look_up(suspects)
        alone = await self.look_ups.read_alone(suspects, seen, of=self._waiting.accepted)
        self._looked_at.update((one.n, one.date) for one in suspects)
        dead = {n: True for n, is_dead in alone.items() if is_dead}
        await self._settle(seen, also=[one.n for one in suspects], final=dead, until=until)

    async def _settle_finally(self, found: Sequence[Leftover], until: float) -> None:
        """Look contacts up that were accepted by `until`, and settle them, whatever is seen.

        But for those who could not be looked for: of them nothing is known, and no patience tells more.
        """
        seen = await self.look_ups.look_up(found)
        final = await self.look_ups.read_alone(found, seen, of=self._waiting.accepted)
        for leftover in found:
            if leftover.n not in self.look_ups.refused:
                final.setdefault(leftover.n, False)
        await self._settle(seen, also=[leftover.n for leftover in found], final=final, until=until)
        for n in self.look_ups.give_up(found):
            self._wait_no_more(n)

    async def _look_between(self) -> None:
        """Look at what this run sends while much is read that was left before: a canary must not wait."""
        await self._read_window_if_due()
        await self._look_up_overdue(after=(self._first_accepted, 0))

    async def _settle_earlier(self) -> None:
        """Settle what earlier runs left: contacts still waiting, and dropped ones, once more."""
        left = await self._store.awaiting()
        self._last_accepted = max(self._last_accepted, left.last)
        if self._windows_from == -math.inf:
            self._windows_from = self._server_time() - LATE_LIMIT
        if left.seen:
            self._passed.see(left.seen, -math.inf)
        after = 0
        while found := await self._store.dropped_before(after=after, limit=LOOKED_UP):
            after = found[-1].n
            looked = await self._space.look_up([leftover.wanted for leftover in found])
            await self._settle(looked.seen, also=[leftover.n for leftover in found])
            await self._store.looked_again(
                [leftover.n for place, leftover in enumerate(found) if place not in looked.refused]
            )
            await self._look_between()
        if left.total > MANY:
            async for seen in self._space.updated(left.first - 1, left.last + OVERLAP):
                await self._settle(seen)
                await self._look_between()
        place, until = (-math.inf, 0), self._server_time()
        while page := await self._store.leftovers(until=until, after=place, limit=LOOKED_UP):
            place = (page[-1].date, page[-1].n)
            for leftover in page:
                if leftover.n not in self._dates:
                    self._dates[leftover.n] = leftover.date
                    if leftover.date >= self._windows_from:
                        self._waiting.add(leftover.date)
                    else:
                        self._only_looked_up.add(leftover.n)
            # Of many, those accepted just now are shown by windows as well, and cheaper.
            asked = [one for one in page if left.total <= MANY or one.date < self._windows_from]
            if asked:
                seen = await self.look_ups.look_up(asked)
                await self._settle(seen, also=[leftover.n for leftover in asked])
            await self._look_between()

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
