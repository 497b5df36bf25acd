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
- Where contacts can be counted, windows of several such pages are read first, as far as they end so early
  that nobody comes into them. One is believed when its pages showed as many different contacts as there were
  when the last was read: then these are all, in whatever order they came. Otherwise a narrower one is read.

Which windows to ask for is decided in `course`. Refuses to know HTTP, tokens and retries.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from syncengine.errors import RejectedError
from syncengine.qomon.course import END, SECOND, ZERO, Ask, Course, Heard, Ids, Shown
from syncengine.qomon.query import EVERYBODY, Query

PAGE_CAP = 1000
"""The most contacts of one page (Qomon's guide "Search overview")."""


class Dated(Protocol):
    """What is read of a contact."""

    @property
    def id(self) -> int: ...  # noqa: D102 - Qomon's id
    @property
    def updated_at(self) -> datetime | None: ...  # noqa: D102 - with its zone


V = TypeVar("V")
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
    passed: Callable[[datetime], None] | None = None,
    count: Callable[[Query], Awaitable[int]] | None = None,
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
    one page for two numbers.

    `count` tells how many match. With it, and an `until` that is past, windows have up to `DEEP` pages. Taken
    for granted is only that nobody comes into one that ends `LATE` before `until`: no edit is found later
    than that, nobody is restored with an old time, nobody begins to match without being edited. Costs, counts
    included: 1.2 to 1.3 requests for each full page, for 60,000 evenly or unevenly spread or in bursts as for
    the sandbox's 50,000 to 90,000; 1.4 for a file imported at a page or more a second; 1.5 if pages go 5,000
    rows deep. When an order that changes, a wrong count, the sample or the depth allow no wide windows, 10
    requests more than without. With an edit during every third request among fifty pages it costs what narrow
    windows do, with more of them up to a quarter more. Holds the ids of one such window as well.

    `passed` is told times, each later than the one before: everybody updated earlier was yielded. None is
    still to come, and all are full seconds: who is edited later, is met by whoever goes on from there.

    Raises ValueError for a `per_page` outside 1 to 1,000 and for a time without zone.
    """
    if not 1 <= per_page <= PAGE_CAP:
        raise ValueError(f"a page holds 1 to {PAGE_CAP} contacts")
    if any(time is not None and time.utcoffset() is None for time in (since, until)):
        raise ValueError("since and until need their zone")
    low = None if since is None else _micros(since)
    end = None if until is None else min(-(-_micros(until) // SECOND) * SECOND, END)
    if low is not None and end is not None and low > end:
        return
    met = Ids()
    told = -1 if low is None else low
    latest = -1
    course = Course(low, end, per_page, is_wide=count is not None and end is not None).run()
    ask = next(course)
    while True:
        window = query.updated_within(_moment(ask.low), _moment(end if ask.high is None else ask.high))
        heard: Heard
        if ask.is_count:
            assert count is not None
            heard = await _unless_refused(count(window), ask)
        elif (
            rows := await _unless_refused(
                read_page(window, page=ask.page, per_page=per_page, sort=ask.sort), ask
            )
        ) is None:
            heard = None
        else:
            fresh = 0
            for row in rows:
                if met.add(row.id):
                    fresh += 1
                    yield row
            times = [_micros(row.updated_at) for row in rows if row.updated_at is not None]
            heard = Shown(times, len(rows) >= per_page, fresh, [row.id for row in rows])
            latest = max([latest, *times])
            del rows  # or two pages would be held while the next is read
        try:
            ask = course.send(heard)
        except StopIteration:
            return
        # Not in a second that others may still be edited in, nor in the future where a window may end.
        behind = -1 if ask.low is None else min(ask.low, latest) // SECOND * SECOND
        if passed is not None and behind > told:
            told = behind
            passed(ZERO + timedelta(microseconds=told))


async def _unless_refused(answer: Awaitable[V], ask: Ask) -> V | None:
    """Return an answer, None when it is refused and may be."""
    try:
        return await answer
    except RejectedError:
        if not ask.is_trial:
            raise
        return None


def _micros(time: datetime) -> int:
    return (time - ZERO) // timedelta(microseconds=1)


def _moment(micros: int | None) -> datetime | None:
    return None if micros is None else ZERO + timedelta(microseconds=micros)
