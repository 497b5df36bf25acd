"""Which windows and pages a sweep asks for, one after the other. Pure: told what a page showed, what is next.

Everybody left of the window was met, whatever is guessed of what comes: a bad guess costs a request, never a
contact. `sweep` tells why.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, TypeAlias

from syncengine.errors import ProtocolError

PAGES_BY = "surname"
"""The order of offset pages: one that does not move when `UpdatedAt` does."""

SAMPLE_BY = "firstname"
"""The order of a sample: one in which hardly any file is imported, so that it shows times of every age."""

SECOND = 1_000_000
"""In microseconds, as all times here; the coarsest in which the server is believed to compare times."""

PATIENCE = 10
"""Cuts of one window at times that were seen; then it is halved, which ends whatever the pages show."""

SHARE = 95
"""Percent of a page that is kept when it is cut and came oldest first: then it is all there is so far."""

DEEP = 10
"""Offset pages of a wide window at most: many a server shows 10,000 rows and no more."""

FEW = 3
"""Pages below which a wide window costs as much as narrow ones: one in two is not full, and it is counted."""

FILL = 90
"""Percent of its pages that a wide window is meant to fill at most: the sample errs by some eight."""

LATE = 900 * SECOND
"""How long before the end wide windows end: no edit is found so late, so that nobody comes into them more."""

PASSES = 8
"""Readings of one instant's pages at most: an order wholly anew each time then hides one in 3,000."""

ZERO = datetime.min.replace(tzinfo=UTC)
END = (datetime.max.replace(tzinfo=UTC) - ZERO) // timedelta(microseconds=1)


class Ids:
    """A set of ids that only grows, at 8 bytes an id: sorted runs, and a small set of the latest."""

    RUN = 65_536

    def __init__(self) -> None:
        self._runs: list[array[int]] = []
        self._latest: set[int] = set()

    def add(self, id_: int) -> bool:
        """Add an id; say whether it is new."""
        if id_ in self._latest or any(_is_in(run, id_) for run in self._runs):
            return False
        self._latest.add(id_)
        if len(self._latest) == self.RUN:
            self._runs.append(array("q", sorted(self._latest)))
            self._latest.clear()
        return True


def _is_in(run: array[int], id_: int) -> bool:
    at = bisect_left(run, id_)
    return at < len(run) and run[at] == id_


class Ask(NamedTuple):
    """A page to read: of the contacts updated from low to high, in microseconds since the year 1.

    A `high` of None is the end of all windows, wherever that is. `is_trial`: it may be refused.
    `is_count`: not a page is asked for, but how many there are.
    """

    low: int | None
    high: int | None
    page: int = 0
    sort: str | None = None
    is_trial: bool = False
    is_count: bool = False


class Shown(NamedTuple):
    """What a page showed: the times in it, whether it was full, how many had not been met, and who."""

    times: list[int]
    is_full: bool
    fresh: int
    ids: list[int]


Heard: TypeAlias = Shown | int | None
"""What a page showed, or how many were counted; None when a trial was refused."""


class Course:
    """Which windows to read: from low on, up to high, or to the end when that is None.

    The end is that of the calendar unless an earlier one is given; no window but the last reaches it.

    Everybody left of low was met, and low only grows. All else is guessed, and only the number of requests
    depends on it. `is_wide`: try wide windows first, which have to be counted. `sample`: times ahead, of
    which `passed` lie behind by now, while `rows` were read.
    """

    def __init__(self, low: int | None, end: int | None, per_page: int, *, is_wide: bool) -> None:
        self._low = low
        self._is_wide = is_wide
        self._end = END if end is None else end
        self._high: int | None = None
        self._per_page = per_page
        self._aim = max(per_page * 7 // 10, 1)
        self._sample: list[int] = []
        self._rows = self._passed = 0
        self._too_deep: int | None = None
        self._cuts = 0
        self._leap = SECOND

    def run(self) -> Generator[Ask, Heard, None]:
        """Yield what to ask, expect to be sent what was heard; end when everybody was met."""
        if self._is_wide and (yield from self._run_wide()):
            return
        while True:
            seen = _page((yield Ask(self._low, self._high)))
            if not seen.is_full:
                if self._high is None:
                    return
                self._go_on(self._high, seen.times)
                continue
            if self._high is None:
                # The server's own order may show one end only; a sample tells where the others are.
                sample = _page((yield Ask(self._low, None, sort=SAMPLE_BY)))
                self._sample = sorted(sample.times)
            cut = self._cut(seen.times)
            if cut is not None:
                self._too_deep, self._high, self._cuts = self._high, cut, self._cuts + 1
                continue
            low, high = self._indivisible()
            fresh = yield from _pages(low, high)
            if high is None:
                return
            self._leap = SECOND if fresh else 2 * self._leap
            self._low, self._cuts = high, 0
            self._pass_by(high)
            self._high = self._next_by_sample()

    def _run_wide(self) -> Generator[Ask, Heard, bool]:
        """Read windows of several pages, as far as that goes well; say whether everybody was met.

        A window that was not shown whole is left for one of half as many pages.
        """
        sample = _page((yield Ask(self._low, None, sort=SAMPLE_BY)))
        if not sample.is_full:
            return True
        left = yield from self._count(None)
        ends = self._wide_ends(sample.times)
        later = len(sample.times) - len(ends)
        before = left / len(sample.ids)  # contacts that a time of the sample stands for
        deep = deepest = DEEP
        while deep >= FEW and left > self._per_page and ends:
            # Half by all that is left, half by the last window: a sample is seldom a fair one.
            each = (left / (len(ends) + later) + before) / 2
            chosen = yield from self._choose_wide(ends, each, left, deep)
            if chosen is None:
                break
            high, count = chosen
            is_whole = yield from self._read_wide(high, count, deep)
            if is_whole:
                passed = bisect_right(ends, high)
                self._low, left, before = high, left - count, count / passed
                del ends[:passed]
                deep = min(2 * deep, deepest)
                continue
            deep //= 2
            if is_whole is None:
                deepest = deep
        return False

    def _wide_ends(self, times: list[int]) -> list[int]:
        """Return where wide windows may end: by the sample, at the end of a second, which nobody enters.

        That is before the latest time seen, too, in case the end is still to come.
        """
        low = -1 if self._low is None else self._low
        last = min(self._end - LATE, max(times, default=0) // SECOND * SECOND) - 1
        ends = sorted(time // SECOND * SECOND + SECOND - 1 for time in times if time > low)
        return ends[: bisect_right(ends, last)]

    def _choose_wide(
        self, ends: list[int], each: float, left: int, deep: int
    ) -> Generator[Ask, Heard, tuple[int, int] | None]:
        """Choose where a wide window ends; return that and how many it holds, None when there is no good one.

        `below`: how many of the ends it passes at least; `above`: at most.
        """
        most = deep * self._per_page
        goal = left / -(-left * 100 // (most * FILL))  # windows of one size, and none that is left over
        below, above = 0, len(ends)
        best, is_first = (0, 0), True
        guess = int(goal / each)
        while below < above:
            guess = min(max(guess, below + 1), above)
            high = ends[guess - 1]
            count = yield from self._count(high)
            if count >= most:
                above = bisect_left(ends, high)
            else:
                best, below = (high, count), bisect_right(ends, high)
                if 2 * count >= goal:
                    break
            guess = int(guess * goal / max(count, 1)) if is_first else (below + above + 1) // 2
            is_first = False
        return best if best[1] >= self._per_page else None

    def _read_wide(self, high: int, count: int, deep: int) -> Generator[Ask, Heard, bool | None]:
        """Read a window page by page, the last first; say whether that showed everybody, None when refused.

        It did when it showed as many different contacts as there were when its last page was read: since
        nobody comes in, these are all, in whatever order. That page was the last one when it was not full,
        and the count agrees but for a percent: some servers show nothing, or too little, below their depth.
        """
        page = count // self._per_page
        last = yield Ask(self._low, high, page, PAGES_BY, is_trial=True)
        if isinstance(last, Shown) and last.is_full and page + 1 < deep:
            page += 1
            last = yield Ask(self._low, high, page, PAGES_BY, is_trial=True)
        if not isinstance(last, Shown):
            return None
        there = page * self._per_page + len(last.ids)
        if last.is_full or 100 * abs(count - there) > (count if last.ids else 0):
            return False
        shown = set(last.ids)
        while len(shown) == there - page * self._per_page:
            if page == 0:
                return True
            page -= 1
            seen = yield Ask(self._low, high, page, PAGES_BY, is_trial=True)
            if not isinstance(seen, Shown):
                return None
            shown.update(seen.ids)
        return False

    def _count(self, high: int | None) -> Generator[Ask, Heard, int]:
        """Return how many there are up to a time, 0 when the server does not count."""
        count = yield Ask(self._low, high, is_trial=True, is_count=True)
        return count if isinstance(count, int) else 0

    def _go_on(self, high: int, times: list[int]) -> None:
        """Choose the window right of one that was read whole."""
        self._rows += len(times)
        self._passed += self._pass_by(high)
        begin = min(times, default=high)
        if self._low is not None and not self._sample:
            # Near the present gaps count, too: windows too narrow fall behind the edits.
            begin = min(begin, self._low)
        self._low, self._cuts = high, 0
        width = (high - begin) * self._aim // max(len(times), 1)
        if 4 * len(times) < self._per_page or width < 1:
            self._high = self._next_by_sample()
        else:
            self._high = self._within(high + width)  # as dense as this one was

    def _pass_by(self, time: int) -> int:
        """Forget the sample up to a time; return how much of it that was."""
        passed = bisect_right(self._sample, time)
        del self._sample[:passed]
        return passed

    def _next_by_sample(self) -> int | None:
        """Return where the next window ends, when what is behind says nothing of what comes."""
        assert self._low is not None
        ahead = max(self._aim * self._passed // max(self._rows, 1), 1)
        high = self._sample[ahead - 1] if len(self._sample) >= ahead else None
        if self._too_deep is not None and self._too_deep > self._low:
            high = self._too_deep if high is None else min(high, self._too_deep)
        return self._within(high)

    def _within(self, time: int | None) -> int | None:
        """Return a time, None when the end comes before."""
        return None if time is None or time >= self._end else time

    def _cut(self, times: list[int]) -> int | None:
        """Return a new end for a window too deep, strictly inside it; None when it cannot be divided."""
        low = -1 if self._low is None else self._low
        high = self._end + 1 if self._high is None else self._high
        inside = sorted(time for time in times if low < time < high)
        # Contacts from outside a window this narrow: the server compares seconds, or its index is late.
        is_coarse = high - low <= SECOND and any(not low <= time <= high for time in times)
        if inside and not is_coarse and self._cuts < PATIENCE:
            if times[0] < times[-1] and times == sorted(times):
                # Oldest first, so this page seems to be all there is up to its end.
                return inside[(len(inside) - 1) * SHARE // 100]
            known = self._sample[bisect_right(self._sample, low) : bisect_left(self._sample, high)]
            return _median(known if len(known) > 1 else inside)
        is_at_low = self._high is None and 0 <= low // SECOND * SECOND <= max(times, default=-1)
        if is_at_low or high - low <= SECOND:
            return None
        if high in times and self._cuts < PATIENCE:
            return high // SECOND * SECOND - 1  # leave that second alone, to be read by pages
        return (low + high) // 2

    def _indivisible(self) -> tuple[int | None, int | None]:
        """Return the window to read by pages: to the end of a second, however coarsely the server compares.

        Not up to its last microsecond but up to the next second: a server that cuts off the fractions of the
        ends it is given would find nobody between.
        """
        low = -1 if self._low is None else self._low
        return self._low, self._within((low + 1) // SECOND * SECOND + self._leap)


def _median(times: list[int]) -> int:
    return times[(len(times) - 1) // 2]


def _page(heard: Heard) -> Shown:
    assert isinstance(heard, Shown), "only a trial may be refused"
    return heard


def _pages(low: int | None, high: int | None) -> Generator[Ask, Heard, int]:
    """Ask for a window page by page, the last first; return how many of them were not met before.

    The last is found by doubling and halving. Once a page was not full, everybody behind it was met, and who
    leaves only moves the others towards pages still to come. When somebody shows twice in a pass, the order
    may have moved and hidden others: then all is read again, until a pass shows nobody new.
    """
    full, page = 0, 1
    last = _page((yield Ask(low, high, page, PAGES_BY)))
    while last.is_full:
        deeper = _page((yield Ask(low, high, 2 * page, PAGES_BY)))
        if set(deeper.ids) == set(last.ids):
            raise ProtocolError(
                f"search: page {2 * page} shows the very contacts of page {page}: the server goes no deeper, "
                "so not everybody updated in one instant can be read"
            )
        last, full, page = deeper, page, 2 * page
    while page - full > 1:
        middle = (full + page) // 2
        seen = _page((yield Ask(low, high, middle, PAGES_BY)))
        if seen.is_full:
            full = middle
        else:
            last, page = seen, middle
    fresh = 0
    for _ in range(PASSES):
        shown = Ids()
        is_whole = all(shown.add(id_) for id_ in last.ids)
        news = 0
        for earlier in range(page - 1, -1, -1):
            seen = _page((yield Ask(low, high, earlier, PAGES_BY)))
            news += seen.fresh
            is_whole = all(shown.add(id_) for id_ in seen.ids) and seen.is_full and is_whole
        fresh += news
        # So many different ones as there were when the last page was read are all there were.
        if is_whole or not news:
            break
        last = _page((yield Ask(low, high, page, PAGES_BY)))
    return fresh
