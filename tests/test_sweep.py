"""The sweep: everybody who exists all the time is met once, whatever others do and the server leaves open."""

from __future__ import annotations

import heapq
import random
import weakref
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncengine.errors import ProtocolError
from syncengine.qomon.course import PAGES_BY, PASSES, PATIENCE, SECOND, Ids
from syncengine.qomon.query import EVERYBODY, Query, where
from syncengine.qomon.sweep import PAGE_CAP, sweep

START = datetime(2023, 3, 1, tzinfo=UTC)
DAY = 86_400 * SECOND
YEAR = 365 * DAY

Order: TypeAlias = str
"""In which a page shows contacts: `oldest`, `newest`, `id` or `any`."""


def moment(micros: int) -> datetime:
    """Return a time so many microseconds after the start."""
    return START + timedelta(microseconds=micros)


@dataclass(frozen=True)
class Contact:
    """What a page shows of a contact."""

    id: int
    updated_at: datetime | None


@dataclass
class Person:
    """A contact at the server: its time as shown and as found by, in microseconds, and its place by name."""

    id: int
    shown: int | None
    found: float | None
    name: float


@dataclass
class Request:
    """What was asked: the window in microseconds, the page, the order; and how many were shown."""

    low: int | None
    high: int | None
    page: int
    sort: str | None
    query: Query
    shown: int = 0


@dataclass
class Server:
    """A space that others edit between any two requests.

    `precision`: microseconds to which times are cut off before they are compared; `cuts`: whether those of
    the contacts, of the ends of a window, or both. `lag`: requests after which an edit is found. `last_page`:
    the page shown for all deeper ones. `namesakes`: how many share a surname, in another order each time.
    """

    order: Order = "any"
    precision: int = 1
    cuts: frozenset[str] = frozenset({"contacts", "ends"})
    lag: int = 0
    edit: Callable[[Server], None] = lambda _: None
    is_blind: bool = False
    deepest: int | None = None
    last_page: int | None = None
    namesakes: int = 1
    people: dict[int, Person] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    chance: random.Random = field(default_factory=lambda: random.Random(20_260_716))
    now: int = 0

    def add(self, times: Iterable[int | None]) -> None:
        """Add contacts updated so many microseconds after the start."""
        for time in times:
            self.create(time)

    def create(self, time: int | None) -> None:
        self._last += 1
        self.people[self._last] = Person(self._last, time, time, self.chance.random())

    def touch(self, ids: Iterable[int]) -> None:
        """Edit contacts now, names included; found so after the lag."""
        for id_ in ids:
            person = self.people[id_]
            person.shown = self.now
            if not self.lag:
                person.found, person.name = self.now, self.chance.random()
            else:
                self._late.append((len(self.requests) + self.lag, id_, self.now))

    def delete(self, ids: Iterable[int]) -> None:
        """Delete contacts."""
        for id_ in ids:
            del self.people[id_]

    def __post_init__(self) -> None:
        self._late: list[tuple[int, int, int]] = []
        self._last = 0

    async def read_page(
        self, query: Query, /, *, page: int, per_page: int, sort: str | None
    ) -> list[Contact]:
        """Answer one page, then let the others edit."""
        request = Request(*_window(query), page, sort, query)
        self.requests.append(request)
        if self.deepest is not None and page * per_page >= self.deepest:
            raise TooDeepError
        page = page if self.last_page is None else min(page, self.last_page)
        for due, id_, time in self._late:
            if due <= len(self.requests) and id_ in self.people:
                person = self.people[id_]
                person.found, person.name = max(person.found or 0, time), self.chance.random()
        self._late = [each for each in self._late if each[0] > len(self.requests)]
        found = self._found(request, (page + 1) * per_page)[page * per_page :]
        request.shown = len(found)
        answer = [Contact(each.id, None if each.shown is None else moment(each.shown)) for each in found]
        self.now += 2 * SECOND + self.chance.randrange(SECOND)
        self.edit(self)
        return answer

    def _found(self, request: Request, count: int) -> list[Person]:
        low = self._cut("ends", request.low)
        high = self._cut("ends", request.high)
        matching = (person for person in self.people.values() if self._is_within(person, low, high))
        return heapq.nsmallest(count, matching, key=self._place(request.sort))

    def _is_within(self, person: Person, low: float | None, high: float | None) -> bool:
        if self.is_blind or (low is None and high is None):
            return True
        time = self._cut("contacts", person.found)
        return time is not None and (low is None or time >= low) and (high is None or time <= high)

    def _cut(self, what: str, time: float | None) -> float | None:
        return time if time is None or what not in self.cuts else time // self.precision * self.precision

    def _place(self, sort: str | None) -> Callable[[Person], Any]:
        if sort == PAGES_BY and self.namesakes > 1:
            return lambda person: (person.id // self.namesakes, self.chance.random())
        if sort is not None:
            return lambda person: person.name * 7 % 1 if sort != PAGES_BY else person.name
        return {
            "oldest": lambda person: (person.found or 0, person.id),
            "newest": lambda person: (-(person.found or 0), person.id),
            "id": lambda person: person.id,
            "any": lambda person: hash((person.id, 7)) * 2_654_435_761 % 2**32,
        }[self.order]

    async def swept(self, query: Query = EVERYBODY, **options: Any) -> list[int]:
        """Sweep; return the ids met, in order. Nobody may be met twice."""
        met = [contact.id async for contact in sweep(self.read_page, query, **options)]
        assert len(met) == len(set(met))
        return met


class TooDeepError(Exception):
    """The server goes no deeper."""


def _window(query: Query) -> tuple[int | None, int | None]:
    """Return the ends of the window a query asks for: it is its last group."""
    ends: dict[str, int] = {}
    for group in query.as_json()["$all"][-1:]:
        for each in group["$all"]:
            condition = each["$condition"]
            if condition["attr"] == "UpdatedAt":
                time = datetime.fromisoformat(condition["value"])
                ends[condition["ope"]] = (time - START) // timedelta(microseconds=1)
    return ends.get("gte"), ends.get("lte")


# --- a page, and a little more


@pytest.mark.parametrize("count", [0, 1, 9])
async def test_less_than_a_page_costs_one_request_without_window(count: int) -> None:
    server = Server()
    server.add(range(count))
    assert sorted(await server.swept(per_page=10)) == list(range(1, count + 1))
    assert [(each.low, each.high, each.page, each.sort) for each in server.requests] == [
        (None, None, 0, None)
    ]


async def test_since_asks_only_for_who_was_updated_from_then_on() -> None:
    server = Server()
    server.add(day * DAY for day in range(100))
    assert sorted(await server.swept(since=moment(40 * DAY), per_page=7)) == list(range(41, 101))
    assert min(each.low for each in server.requests if each.low is not None) == 40 * DAY
    assert all(each.low is not None for each in server.requests)


async def test_a_full_page_is_kept_and_then_divided() -> None:
    server = Server()
    server.add(day * DAY for day in range(10))
    sweeping = sweep(server.read_page, per_page=10)
    async with aclosing(sweeping):
        first = {(await anext(sweeping)).id for _ in range(10)}
    assert len(first) == 10
    assert len(server.requests) == 1
    server.requests.clear()
    assert sorted(await server.swept(per_page=10)) == list(range(1, 11))
    assert len(server.requests) <= 7


async def test_the_query_goes_along_with_every_window() -> None:
    server = Server()
    server.add(day * DAY for day in range(50))
    query = Query.all(where("mail").exists())
    await server.swept(query, per_page=10)
    for each in server.requests:
        low = None if each.low is None else moment(each.low)
        high = None if each.high is None else moment(each.high)
        assert each.query == query.updated_within(low, high)


@pytest.mark.parametrize("per_page", [0, -1, PAGE_CAP + 1])
async def test_a_page_the_server_does_not_have_is_refused(per_page: int) -> None:
    with pytest.raises(ValueError, match="1 to 1000"):
        await Server().swept(per_page=per_page)


async def test_a_time_without_zone_is_refused() -> None:
    bare = datetime(2026, 1, 1)  # noqa: DTZ001 - that is the point
    with pytest.raises(ValueError, match="zone"):
        await Server().swept(since=bare)
    with pytest.raises(ValueError, match="zone"):
        await Server().swept(until=bare)


# --- up to a time


async def test_until_asks_only_for_who_was_updated_up_to_then() -> None:
    server = Server()
    server.add(day * DAY for day in range(100))
    assert sorted(await server.swept(until=moment(40 * DAY), per_page=7)) == list(range(1, 42))
    assert max(each.high for each in server.requests if each.high is not None) == 40 * DAY
    assert all(each.high is not None for each in server.requests)


async def test_less_than_a_page_between_two_times_costs_one_request() -> None:
    server = Server()
    server.add(day * DAY for day in range(100))
    met = await server.swept(since=moment(40 * DAY), until=moment(45 * DAY), per_page=7)
    assert sorted(met) == list(range(41, 47))
    assert [(each.low, each.high) for each in server.requests] == [(40 * DAY, 45 * DAY)]


async def test_until_is_rounded_up_to_the_second_as_servers_may_cut_it_off() -> None:
    server = Server(precision=SECOND, cuts=frozenset({"ends"}))
    server.add([5 * DAY + 300_000, 5 * DAY + SECOND, 5 * DAY + SECOND + 1])
    assert sorted(await server.swept(until=moment(5 * DAY + 400_000), per_page=7)) == [1, 2]


async def test_an_instant_right_at_both_ends_is_read_by_pages() -> None:
    server = Server()
    server.add([4 * DAY] * 9 + [5 * DAY] * 40 + [6 * DAY] * 9)
    met = await server.swept(since=moment(5 * DAY), until=moment(5 * DAY), per_page=10)
    assert sorted(met) == list(range(10, 50))
    assert len(server.requests) <= 12


async def test_between_a_time_and_an_earlier_one_there_is_nobody_to_ask_for() -> None:
    server = Server()
    server.add([5 * DAY])
    assert await server.swept(since=moment(7 * DAY), until=moment(3 * DAY)) == []
    assert server.requests == []


@pytest.mark.parametrize("end", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
async def test_until_may_be_an_end_of_the_calendar(end: datetime) -> None:
    server = Server()
    server.add(day * DAY for day in range(23))
    met = await server.swept(until=end, per_page=5)
    assert len(met) == (0 if end.year == 1 else 23)


async def test_nobody_from_after_until_is_read_though_all_times_shown_are() -> None:
    """A late index: found by the times of before, shown with those of edits since."""
    server = Server()
    server.add(day * DAY for day in range(100))
    for person in server.people.values():
        person.shown = 200 * DAY
    assert sorted(await server.swept(until=moment(40 * DAY), per_page=7)) == list(range(1, 42))
    assert all(each.high is not None and each.high <= 40 * DAY for each in server.requests)


@pytest.mark.parametrize("order", ["oldest", "newest", "id", "any"])
@pytest.mark.parametrize("edited", [20, 60])
async def test_with_until_the_end_is_reached_while_pages_are_edited_during_every_request(
    order: Order, edited: int
) -> None:
    """Without it there is none: whoever is edited is to be met again, and again."""

    def edit(server: Server) -> None:
        assert len(server.requests) < 200
        server.touch(server.chance.sample(sorted(server.people), edited))

    chance = random.Random(5)
    server = Server(order, edit=edit, now=3 * YEAR + DAY)
    server.add(chance.randrange(3 * YEAR) for _ in range(1_200))
    met = await server.swept(until=moment(3 * YEAR), per_page=20)
    stayed = {person.id for person in server.people.values() if (person.found or 0) <= 3 * YEAR}
    assert stayed <= set(met)
    assert edited == 60 or len(stayed) > 50
    assert len(server.requests) < 150


async def test_with_until_a_window_that_still_grows_is_left_at_last() -> None:
    """The time is still to come when the sweep begins: a second passes during every request, and more."""

    def edit(server: Server) -> None:
        assert len(server.requests) < 400
        server.touch(server.chance.sample(sorted(server.people), 20))

    chance = random.Random(6)
    server = Server(edit=edit, now=3 * YEAR)
    server.add(chance.randrange(3 * YEAR) for _ in range(600))
    until = 3 * YEAR + 60 * SECOND
    met = await server.swept(until=moment(until), per_page=20)
    assert {person.id for person in server.people.values() if (person.found or 0) <= until} <= set(met)


# --- others edit meanwhile


EDITS: dict[str, Callable[[Server, list[int]], None]] = {
    "touch": lambda server, ids: server.touch(ids),
    "delete": lambda server, ids: server.delete(ids),
    "create": lambda server, ids: server.add([server.now] * len(ids)),
}


@st.composite
def spaces(draw: st.DrawFn) -> list[int]:
    """Draw times: scattered over years, in bursts, or at one and the same instant."""
    times: list[int] = []
    for _ in range(draw(st.integers(0, 6))):
        begin, count = draw(st.integers(0, 3 * YEAR)), draw(st.integers(1, 25))
        spread = draw(st.sampled_from([0, 5, 1_500, SECOND, 600 * SECOND, 40 * DAY]))
        times += [begin + draw(st.integers(0, spread)) for _ in range(count)]
    return times


@settings(derandomize=True, deadline=None, max_examples=150)
@given(
    times=spaces(),
    per_page=st.integers(3, 10),
    order=st.sampled_from(["oldest", "newest", "id", "any"]),
    precision=st.sampled_from([1, 1_000, SECOND]),
    cuts=st.sampled_from([{"contacts"}, {"ends"}, {"contacts", "ends"}]),
    lag=st.integers(0, 3),
    edits=st.lists(st.none() | st.tuples(st.sampled_from(sorted(EDITS)), st.integers(1, 8)), max_size=25),
    seed=st.integers(0, 10**6),
)
async def test_whoever_exists_all_the_time_is_met_once(
    *,
    times: list[int],
    per_page: int,
    order: Order,
    precision: int,
    cuts: set[str],
    lag: int,
    edits: list[tuple[str, int] | None],
    seed: int,
) -> None:
    chance, script = random.Random(seed), iter(edits)

    def edit(server: Server) -> None:
        step = next(script, None)
        if step is not None:
            what, count = step
            EDITS[what](server, chance.sample(sorted(server.people), min(count, len(server.people))))

    chance.shuffle(times)
    server = Server(order, precision, frozenset(cuts), lag, edit, now=3 * YEAR + 50 * DAY)
    server.add(times)
    there = set(server.people)
    met = await server.swept(per_page=per_page)
    assert there & set(server.people) <= set(met)
    assert len(server.requests) <= most_requests(len(times) + 8 * len(edits), per_page)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(
    times=spaces(),
    ends=st.tuples(st.integers(0, 3 * YEAR), st.integers(0, 3 * YEAR)).map(sorted),
    per_page=st.integers(3, 10),
    order=st.sampled_from(["oldest", "newest", "id", "any"]),
    precision=st.sampled_from([1, 1_000, SECOND]),
    cuts=st.sampled_from([{"contacts"}, {"ends"}, {"contacts", "ends"}]),
    lag=st.integers(0, 3),
    edited=st.integers(0, 25),
)
async def test_whoever_stays_between_two_times_is_met_once(
    *,
    times: list[int],
    ends: list[int],
    per_page: int,
    order: Order,
    precision: int,
    cuts: set[str],
    lag: int,
    edited: int,
) -> None:
    def edit(server: Server) -> None:
        server.touch(server.chance.sample(sorted(server.people), min(edited, len(server.people))))

    since, until = ends[0] // SECOND * SECOND, ends[1]
    server = Server(order, precision, frozenset(cuts), lag, edit, now=3 * YEAR + 50 * DAY)
    server.add(times)
    met = await server.swept(since=moment(since), until=moment(until), per_page=per_page)
    stayed = {person.id for person in server.people.values() if since <= (person.found or 0) <= until}
    assert stayed <= set(met)
    first = {n for n, time in enumerate(times, start=1) if since - SECOND < time < until + 2 * SECOND}
    assert set(met) <= first
    assert len(server.requests) <= most_requests(len(times), per_page)


def most_requests(count: int, per_page: int) -> int:
    """Return twice the 2.5 requests a page stated for bursts, and what it takes to find two instants.

    That is halving all the calendar: paid twice here, not for each page, since pages this small are few.
    """
    halvings = (3000 * YEAR // 1_000).bit_length()
    return 5 * (count // per_page + 1) + 2 * (PATIENCE + halvings)


@pytest.mark.parametrize("order", ["oldest", "newest", "any"])
async def test_the_end_is_reached_while_two_fifths_of_a_page_are_edited_during_every_request(
    order: Order,
) -> None:
    def edit(server: Server) -> None:
        assert len(server.requests) < 400
        server.touch(server.chance.sample(sorted(server.people), 8))

    chance = random.Random(5)
    server = Server(order, edit=edit, now=3 * YEAR)
    server.add(chance.randrange(3 * YEAR) for _ in range(600))
    assert sorted(await server.swept(per_page=20)) == list(range(1, 601))


async def test_one_page_is_held_at_a_time() -> None:
    server = Server()
    server.add(day * DAY for day in range(100))
    shown: list[weakref.ref[Contact]] = []

    async def read_page(query: Query, /, *, page: int, per_page: int, sort: str | None) -> Sequence[Contact]:
        assert sum(contact() is not None for contact in shown) <= 2  # the last one, here and there
        answer = await server.read_page(query, page=page, per_page=per_page, sort=sort)
        shown[:] = map(weakref.ref, answer)
        return answer

    assert len([contact.id async for contact in sweep(read_page, per_page=10)]) == 100


# --- more than a page in one instant


async def test_one_instant_is_read_by_surname_from_the_last_page_to_the_first() -> None:
    server = Server()
    server.add([5 * DAY + 700_000] * 37)
    assert sorted(await server.swept(per_page=5)) == list(range(1, 38))
    pages = [each.page for each in server.requests if each.sort == PAGES_BY]
    assert pages == [1, 2, 4, 8, 6, 7, 6, 5, 4, 3, 2, 1, 0]  # found by doubling and halving, then backwards
    paged = next(each for each in server.requests if each.sort == PAGES_BY)
    assert paged.high == 5 * DAY + SECOND
    assert server.requests[-1].low == paged.high


@pytest.mark.parametrize("leave", ["touch", "delete"])
async def test_who_leaves_an_instant_while_it_is_read_pushes_nobody_out_of_sight(leave: str) -> None:
    def edit(server: Server) -> None:
        if server.requests[-1].sort == PAGES_BY:
            there = (person for person in server.people.values() if person.found == 5 * DAY)
            first = min(there, key=lambda person: person.name, default=None)
            if first:
                gone.add(first.id)
                EDITS[leave](server, [first.id])

    gone: set[int] = set()
    server = Server(edit=edit, now=50 * DAY)
    server.add([5 * DAY] * 60)
    met = await server.swept(per_page=5)
    assert len(gone) > 10
    assert set(met) >= (set(range(1, 61)) if leave == "touch" else set(server.people))


@pytest.mark.parametrize(("cuts", "most"), [({"contacts"}, 64), ({"ends"}, 72), ({"contacts", "ends"}, 64)])
async def test_a_server_that_compares_seconds_shows_everybody_of_a_second(cuts: set[str], most: int) -> None:
    server = Server(precision=SECOND, cuts=frozenset(cuts))
    server.add(9 * DAY + n * 40_000 for n in range(100))  # 25 in every second
    server.add(n * DAY + n for n in range(20))
    assert sorted(await server.swept(per_page=10)) == list(range(1, 121))
    assert len(server.requests) <= most


async def test_what_can_be_divided_is_never_read_by_pages() -> None:
    server = Server()
    server.add(9 * DAY + n * 150 for n in range(1_000))  # 6,667 a second
    assert len(await server.swept(per_page=50)) == 1_000
    assert not [each for each in server.requests if each.page]


async def test_an_instant_right_at_since_is_not_looked_for() -> None:
    server = Server()
    server.add([5 * DAY] * 40)
    assert len(await server.swept(since=moment(5 * DAY), per_page=10)) == 40
    assert len(server.requests) <= 12


async def test_a_server_that_goes_no_deeper_is_heard() -> None:
    server = Server(deepest=30)
    server.add([5 * DAY] * 100)
    with pytest.raises(TooDeepError):
        await server.swept(per_page=5)


@pytest.mark.parametrize("namesakes", [500, 60])
async def test_equal_surnames_in_another_order_each_time_hide_nobody(namesakes: int) -> None:
    server = Server(namesakes=namesakes)
    server.add([5 * DAY] * 500)
    assert sorted(await server.swept(per_page=20)) == list(range(1, 501))
    pages = [each for each in server.requests if each.sort == PAGES_BY]
    assert len(pages) <= 2 * 6 + PASSES * 26


@pytest.mark.parametrize("last_page", [0, 1, 5])
async def test_a_server_that_shows_one_page_for_all_deeper_ones_is_found_out(last_page: int) -> None:
    server = Server(last_page=last_page, deepest=10_000_000)
    server.add([5 * DAY] * 100)
    with pytest.raises(ProtocolError, match=r"page .* shows the very contacts of page") as caught:
        await server.swept(per_page=5)
    assert caught.value.reason == "protocol"
    assert max(each.page for each in server.requests) <= 16


# --- times that keep no promise


async def test_contacts_without_time_are_met_when_everybody_fits_a_page() -> None:
    server = Server()
    server.add([None, 3 * DAY, None])
    assert sorted(await server.swept(per_page=4)) == [1, 2, 3]


async def test_contacts_without_time_put_nobody_else_out_of_sight() -> None:
    """They come first, on whole pages, and a place by name changes with every edit."""
    server = Server("id", edit=lambda server: server.touch([server.chance.randrange(31, 91)]), now=100 * DAY)
    server.add([None] * 30 + [day * DAY for day in range(60)])
    met = set(await server.swept(per_page=5))
    assert met >= set(range(31, 91))
    assert not [each for each in server.requests if each.page]


async def test_when_nobody_has_a_time_the_end_is_found() -> None:
    server = Server()
    server.add([None] * 30)
    assert len(await server.swept(per_page=5)) >= 5
    assert len(server.requests) == 4


async def test_times_finer_than_those_shown_fall_between_no_two_windows() -> None:
    server = Server("newest", cuts=frozenset())
    server.add(9 * DAY + n // 6 * 150 for n in range(200))
    for person in server.people.values():
        person.found = (person.found or 0) + 0.5
    assert len(await server.swept(per_page=10)) == 200


@pytest.mark.parametrize("end", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
async def test_the_ends_of_the_calendar_are_times_like_any_other(end: datetime) -> None:
    server = Server()
    server.add([(end - START) // timedelta(microseconds=1)] * 23)
    server.add(day * DAY for day in range(23))
    assert sorted(await server.swept(per_page=5)) == list(range(1, 47))


@settings(derandomize=True, deadline=None, max_examples=60)
@given(spaces(), spaces(), st.integers(2, 10), st.sampled_from(["oldest", "newest", "id", "any"]))
async def test_times_shown_may_be_any_others_than_those_found_by(
    found: list[int], shown: list[int], per_page: int, order: Order
) -> None:
    server = Server(order)
    server.add(found)
    for person, time in zip(server.people.values(), shown, strict=False):
        person.shown = time
    assert sorted(await server.swept(per_page=per_page)) == list(range(1, len(found) + 1))
    assert len(server.requests) <= most_requests(len(found), per_page)
    server.requests.clear()
    met = await server.swept(per_page=per_page, until=moment(2 * YEAR))
    assert sorted(met) == [n for n, time in enumerate(found, start=1) if time <= 2 * YEAR]
    assert len(server.requests) <= most_requests(len(found), per_page)


async def test_a_server_that_knows_no_windows_is_read_once_and_the_end_is_found() -> None:
    server = Server(is_blind=True)
    server.add(day * DAY for day in range(40))
    assert sorted(await server.swept(per_page=10)) == list(range(1, 41))
    assert len(server.requests) <= 4_000


# --- what it costs


NIGHTS = [
    ("newest", "any", 225),
    ("any", "any", 215),
    ("oldest", "any", 195),
    ("oldest", "oldest", 220),
    ("newest", "newest", 900),
]


class Archive:
    """Contacts nobody edits: many, and quick to find."""

    def __init__(self, times: list[int], order: Order, names: Order = "any") -> None:
        chance = random.Random(7)
        self._people = sorted((time, n) for n, time in enumerate(times))
        self._times = [time for time, _ in self._people]
        self._names = [chance.random() for _ in times]
        self._order, self._by_name = order, names
        self.requests = 0

    async def read_page(
        self, query: Query, /, *, page: int, per_page: int, sort: str | None
    ) -> list[Contact]:
        self.requests += 1
        assert page == 0
        low, high = _window(query)
        begin = 0 if low is None else bisect_left(self._times, low)
        end = len(self._times) if high is None else bisect_right(self._times, high)
        found = self._people[begin:end]
        order = self._order if sort is None else self._by_name
        if order in ("oldest", "newest"):
            shown = found[:per_page] if order == "oldest" else found[: -per_page - 1 : -1]
        elif order == "id":
            shown = heapq.nsmallest(per_page, found, key=lambda person: person[1])
        else:
            shown = heapq.nsmallest(per_page, found, key=lambda person: self._names[person[1]])
        return [Contact(n, moment(time)) for time, n in shown]


@pytest.mark.parametrize("order", ["oldest", "newest", "id", "any"])
async def test_sixty_thousand_spread_unevenly_cost_less_than_two_requests_a_page(order: Order) -> None:
    """Half of them within one hour of three years. Counted: 93 requests, oldest first, otherwise 105."""
    chance = random.Random(3)
    times = [chance.randrange(3 * YEAR) for _ in range(30_000)]
    times += [2 * YEAR + chance.randrange(DAY // 24) for _ in range(30_000)]
    archive = Archive(times, order)
    met = [contact.id async for contact in sweep(archive.read_page)]
    assert sorted(met) == list(range(60_000))
    print(f"{archive.requests} requests, {order} first")
    assert archive.requests <= (98 if order == "oldest" else 110)


@pytest.mark.parametrize(("order", "names", "most"), NIGHTS)
async def test_bursts_and_silence_between_cost_few_requests_more(
    order: Order, names: Order, most: int
) -> None:
    """As in a space that files are loaded into: 30 bursts of 300 within an hour, days apart; 90 full pages.

    The last is the worst there is: the server and the sample both show only the newest.
    """
    chance = random.Random(4)
    times = [night * DAY * 9 + chance.randrange(DAY // 24) for night in range(30) for _ in range(300)]
    archive = Archive(times, order, names)
    assert len([contact async for contact in sweep(archive.read_page, per_page=100)]) == 9_000
    print(f"{archive.requests} requests, {order} first, {names} by name")
    assert archive.requests <= most


# --- the ids met


@given(st.lists(st.integers(1, 40) | st.integers(1, 2**63 - 1)))
@settings(derandomize=True, deadline=None)
def test_an_id_is_new_once(numbers: list[int]) -> None:
    ids, plain = Ids(), set[int]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ids, "RUN", 4)
        for number in numbers:
            assert ids.add(number) == (number not in plain)
            plain.add(number)


def test_ids_are_kept_at_eight_bytes_each() -> None:
    ids = Ids()
    for number in range(1, 4 * Ids.RUN + 1):
        ids.add(7 * number)
    assert sum(run.itemsize * len(run) for run in ids._runs) == 8 * 4 * Ids.RUN
    assert not ids._latest
