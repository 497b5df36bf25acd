"""Reading everybody who matches a query, once, while others edit.

`POST /search` answers offset pages of a live result: no total, no sort by `UpdatedAt` or id, an order nobody
documents, and somebody edited between two pages shows twice or pushes another out of sight (Qomon's guides
"Search overview" and "API polling"; the shifting was observed). So the sweep reads windows of `UpdatedAt`,
the oldest first, each in ONE request:

- A page that is not full is the whole window, at one instant. The next window begins where it ended, both
  ends included, so nobody falls between; whoever is edited moves to the right, ahead of us. So everybody who
  exists all the time is met, however coarsely the server compares times, down to a second.
- A full page is cut: its contacts are kept, and a narrower window is read. Where to cut, and how far to go
  next, is guessed from the times seen; a bad guess costs a request, never a contact.
- What no cut can divide (more than a page in one instant) is read in offset pages from the LAST to the first:
  who leaves shifts the others only towards pages still to come; again, while the order hides somebody.
  `sweep` says what is taken for granted there.

The course of the windows is pure: told what a page showed, it says what to ask next. Refuses to know HTTP,
tokens and retries.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import AsyncGenerator, Awaitable, Generator, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol, TypeVar

from syncengine.errors import ProtocolError
from syncengine.qomon.query import EVERYBODY, Query

PAGE_CAP = 1000
"""The most contacts of one page (Qomon's guide "Search overview")."""

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

PASSES = 8
"""Readings of one instant's pages at most: an order wholly anew each time then hides one in 3,000."""

_ZERO = datetime.min.replace(tzinfo=UTC)
_END = (datetime.max.replace(tzinfo=UTC) - _ZERO) // timedelta(microseconds=1)


class Dated(Protocol):
    """What is read of a contact."""

    @property
    def id(self) -> int: ...  # noqa: D102 - Qomon's id
    @property
    def updated_at(self) -> datetime | None: ...  # noqa: D102 - with its zone


T = TypeVar("T", bound=Dated)
T_co = TypeVar("T_co", bound=Dated, covariant=True)


class ReadPage(Protocol[T_co]):
    """One page of a query: `POST /search`, one token. `sort`: an attribute to sort by, None for any order."""

    def __call__(  # noqa: D102 - see the class
        self, query: Query, /, *, page: int, per_page: int, sort: str | None
    ) -> Awaitable[Sequence[T_co]]: ...


async def sweep(
    read_page: ReadPage[T],
    query: Query = EVERYBODY,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    per_page: int = PAGE_CAP,
) -> AsyncGenerator[T, None]:
    """Yield everybody who matches, each once; with `since` only who was updated at that time or later.

    With `until`, rounded up to the second, only who was not updated after it. Once that time is past, whoever
    is edited leaves all windows and none grows: so there is an end, however many are edited.

    Whoever matches from the beginning to the end is met, as the first page that showed them had them; who is
    created, deleted or edited into or out of the query meanwhile may be met or not. A contact without
    `UpdatedAt` is in no window: it is met for certain only when everybody fits one page and neither end is
    given. Without `until` there is no end while half a page of contacts is edited during every request (with
    40 % of a page it was reached).

    Costs one request (one token; about a second for 1,000 contacts) when less than a page matches. Otherwise,
    counted in simulations as requests for each full page there is: 1.5 to 1.8 for even times and for half of
    60,000 in one hour; 2.1 to 2.5 for bursts days apart, 3.0 for ragged ones (2.4 for the sandbox's sample,
    which shows the oldest first); 3.5 to 5.4 for a file imported at a page or more a second, if the server
    keeps whole seconds; 3.5 to 19 if both its order and that by first name show nothing but the newest. Holds
    one page of contacts, the times and ids of two, and 8 bytes an id, twice while an instant is paged.

    Where more than a page of contacts share one instant (one second, if the server compares seconds), three
    things are taken for granted: `PASSES` readings by surname are enough to meet everybody when the order of
    equal surnames changes, nobody is edited in that very second any more, and the server goes as many pages
    deep. Its refusal is raised as `read_page` raises it, like each of its errors; ProtocolError when it shows
    one page for two numbers. Raises ValueError for a `per_page` outside 1 to 1,000 and for a time without
    zone.
    """
    if not 1 <= per_page <= PAGE_CAP:
        raise ValueError(f"a page holds 1 to {PAGE_CAP} contacts")
    if any(time is not None and time.utcoffset() is None for time in (since, until)):
        raise ValueError("since and until need their zone")
    low = None if since is None else _micros(since)
    end = None if until is None else min(-(-_micros(until) // SECOND) * SECOND, _END)
    if low is not None and end is not None and low > end:
        return
    met = _Ids()
    course = _Course(low, end, per_page).run()
    ask = next(course)
    while True:
        window = query.updated_within(_moment(ask.low), _moment(end if ask.high is None else ask.high))
        rows = await read_page(window, page=ask.page, per_page=per_page, sort=ask.sort)
        fresh = 0
        for row in rows:
            if met.add(row.id):
                fresh += 1
                yield row
        times = [_micros(row.updated_at) for row in rows if row.updated_at is not None]
        seen = _Seen(times, len(rows) >= per_page, fresh, [row.id for row in rows])
        del rows  # or two pages would be held while the next is read
        try:
            ask = course.send(seen)
        except StopIteration:
            return


def _micros(time: datetime) -> int:
    return (time - _ZERO) // timedelta(microseconds=1)


def _moment(micros: int | None) -> datetime | None:
    return None if micros is None else _ZERO + timedelta(microseconds=micros)


class _Ids:
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


class _Ask(NamedTuple):
    """A page to read: of the contacts updated from low to high, in microseconds since the year 1.

    A `high` of None is the end of all windows, wherever that is.
    """

    low: int | None
    high: int | None
    page: int = 0
    sort: str | None = None


class _Seen(NamedTuple):
    """What a page showed: the times in it, whether it was full, how many had not been met, and who."""

    times: list[int]
    is_full: bool
    fresh: int
    ids: list[int]


class _Course:
    """Which windows to read: from low on, up to high, or to the end when that is None.

    The end is that of the calendar unless an earlier one is given; no window but the last reaches it.

    Everybody left of low was met, and low only grows. All else is guessed, and only the number of requests
    depends on it. `sample`: times ahead, of which `passed` lie behind by now, while `rows` were read.
    """

    def __init__(self, low: int | None, end: int | None, per_page: int) -> None:
        self._low = low
        self._end = _END if end is None else end
        self._high: int | None = None
        self._per_page = per_page
        self._aim = max(per_page * 7 // 10, 1)
        self._sample: list[int] = []
        self._rows = self._passed = 0
        self._too_deep: int | None = None
        self._cuts = 0
        self._leap = SECOND

    def run(self) -> Generator[_Ask, _Seen, None]:
        """Yield what to ask, expect to be sent what was seen; end when everybody was met."""
        while True:
            seen = yield _Ask(self._low, self._high)
            if not seen.is_full:
                if self._high is None:
                    return
                self._go_on(self._high, seen.times)
                continue
            if self._high is None:
                # The server's own order may show one end only; a sample tells where the others are.
                sample = yield _Ask(self._low, None, sort=SAMPLE_BY)
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

    def _go_on(self, high: int, times: list[int]) -> None:
        """Choose the window right of one that was read whole."""
        self._rows += len(times)
        self._passed += self._pass_by(high)
        begin = min(times, default=high)
        if self._low is not None and not self._sample:
            begin = self._low  # near the present gaps count, too: windows too narrow fall behind the edits
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


def _pages(low: int | None, high: int | None) -> Generator[_Ask, _Seen, int]:
    """Ask for a window page by page, the last first; return how many of them were not met before.

    The last is found by doubling and halving. Once a page was not full, everybody behind it was met, and who
    leaves only moves the others towards pages still to come. When somebody shows twice in a pass, the order
    may have moved and hidden others: then all is read again, until a pass shows nobody new.
    """
    full, page = 0, 1
    last = yield _Ask(low, high, page, PAGES_BY)
    while last.is_full:
        deeper = yield _Ask(low, high, 2 * page, PAGES_BY)
        if set(deeper.ids) == set(last.ids):
            raise ProtocolError(
                f"search: page {2 * page} shows the very contacts of page {page}: the server goes no deeper, "
                "so not everybody updated in one instant can be read"
            )
        last, full, page = deeper, page, 2 * page
    while page - full > 1:
        middle = (full + page) // 2
        seen = yield _Ask(low, high, middle, PAGES_BY)
        if seen.is_full:
            full = middle
        else:
            last, page = seen, middle
    fresh = 0
    for _ in range(PASSES):
        shown = _Ids()
        is_whole = all(shown.add(id_) for id_ in last.ids)
        news = 0
        for earlier in range(page - 1, -1, -1):
            seen = yield _Ask(low, high, earlier, PAGES_BY)
            news += seen.fresh
            is_whole = all(shown.add(id_) for id_ in seen.ids) and seen.is_full and is_whole
        fresh += news
        # So many different ones as there were when the last page was read are all there were.
        if is_whole or not news:
            break
        last = yield _Ask(low, high, page, PAGES_BY)
    return fresh
