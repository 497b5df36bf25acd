"""Read-back on a virtual clock, against a model of Qomon: late queues, patience, deadlines, cost."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
from test_engine_virtual import START, Inline, MemoryDestination, now, run_virtual, virtual_clock
from test_engine_world import person

from syncengine.collisions import Traits
from syncengine.config import Settings
from syncengine.engine import Engine, SyncOptions
from syncengine.errors import RateHeaders
from syncengine.identity import identify, normalise
from syncengine.model import Change, Receipt, Report, Result
from syncengine.partial import kept, merged
from syncengine.paying import Paying
from syncengine.qomon import seeing
from syncengine.qomon.bodies import upsert_body
from syncengine.qomon.contact import Contact
from syncengine.qomon.forms import Forms
from syncengine.seen import Difference, Fault, KeptForms, LookedUp, Near, Seen, Space, Wanted

PAGE = 1000
SEARCH_LAG = 1.0


class _Answer:
    rate = RateHeaders(cost=1.0)


class MemoryQomon(MemoryDestination):
    """A space in memory: applies what it accepts `lag` seconds later, shows it a second after that.

    `lag` of a change: None drops it. `slow`: seconds that each read takes.
    """

    def __init__(self, lag: Callable[[Change], float | None]) -> None:
        super().__init__(self._accept)
        self._lag = lag
        self._queue: list[tuple[float, dict[str, Any]]] = []
        self.people: dict[int, tuple[dict[str, Any], float]] = {}
        self.reads = 0
        self.compared = 0
        self.slow = 0.0
        self._shown: dict[int, tuple[float, Seen]] = {}

    async def _accept(self, change: Change) -> RateHeaders | None:
        lag = self._lag(change)
        if lag is not None:
            self._queue.append((now() + lag, orjson.loads(upsert_body(change))["data"]))
        return None

    async def upsert(self, change: Change) -> Receipt:
        await super().upsert(change)
        return Receipt(change, Result.ACCEPTED, status=202, date=float(int(START + now())))

    def _apply(self) -> None:
        due = sorted((each for each in self._queue if each[0] <= now()), key=lambda each: each[0])
        self._queue = [each for each in self._queue if each[0] > now()]
        for at, data in due:
            fields = {name: value for name, value in data.items() if name != "id"}
            number = data.get("id") or len(self.people) + 1
            before = self.people.get(number, ({}, 0.0))[0]
            self.people[number] = (before | fields, START + at)

    def open_space(self, paying: Paying) -> AbstractAsyncContextManager[Space]:
        @asynccontextmanager
        async def opened() -> AsyncIterator[Space]:
            yield MemorySpace(self, paying)

        return opened()

    def shown(self) -> list[Seen]:
        self._apply()
        visible = START + now() - SEARCH_LAG
        found = []
        for number, (fields, at) in self.people.items():
            if at <= visible:
                if self._shown.get(number, (0.0,))[0] != at:
                    self._shown[number] = at, _seen(number, fields, at)
                found.append(self._shown[number][1])
        return found


class MemorySpace:
    """What is read of it; every request is paid and counted."""

    clock_difference = 0.0

    def __init__(self, qomon: MemoryQomon, paying: Paying) -> None:
        self._qomon = qomon
        self._paying = paying

    async def _pay(self, requests: int = 1) -> None:
        async def ask() -> _Answer:
            await asyncio.sleep(self._qomon.slow)
            return _Answer()

        for _ in range(requests):
            self._qomon.reads += 1
            await self._paying.send("search", ask)

    async def read_forms(self) -> KeptForms:
        await self._pay(6)
        return KeptForms(b"", b"[]")

    def use_forms(self, forms: KeptForms) -> None:
        pass

    async def count(self) -> int:
        await self._pay()
        return len(self._qomon.shown())

    async def updated(self, since: float | None, until: float, **_: Any) -> AsyncIterator[list[Seen]]:
        await self._pay()
        rows = [one for one in self._qomon.shown() if (since or 0.0) <= (one.updated or 0.0) <= until]
        pages = [rows[start : start + PAGE] for start in range(0, len(rows), PAGE)]
        further = len(rows) * 17 // 10 // PAGE
        for number, page in enumerate(pages):
            await self._pay((number + 1) * further // len(pages) - number * further // len(pages))
            yield page

    async def look_up(self, wanted: Sequence[Wanted]) -> LookedUp:
        await self._pay(-(-len(wanted) // 50))
        shown = self._qomon.shown()
        ids = {each.id for each in wanted}
        found = {one.id: one for one in shown if one.id in ids}
        near = Near((one.mail, one.name, one) for one in shown)
        for each in wanted:
            _, mail, name = identify(each.content)
            fitting = (one for one in near.by_either(mail, name) if seeing.fits(each.content, one.contact))
            found.update((one.id, one) for one in fitting)
        return LookedUp(list(found.values()), {})

    async def get(self, id_: int) -> Seen | None:
        await self._pay()
        return next((one for one in self._qomon.shown() if one.id == id_), None)

    def faults(self, content: Mapping[str, Any]) -> list[Fault]:
        return []

    def traits(self, seen: Seen) -> Traits:
        return seeing.traits(seen.contact)

    def fits(self, content: Mapping[str, Any], seen: Seen) -> bool:
        self._qomon.compared += 1
        return seeing.fits(content, seen.contact)

    def differences(self, content: Mapping[str, Any], seen: Seen) -> list[Difference]:
        return seeing.differences(content, seen.contact, Forms())

    def merged(self, applied: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
        return merged(applied, content, lambda *_: False)

    def kept(self, applied: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
        return kept(applied, content, lambda *_: False)


def _seen(number: int, fields: Mapping[str, Any], at: float) -> Seen:
    plain: dict[str, Any] = {name: value for name, value in fields.items() if isinstance(value, str)}
    time = datetime.fromtimestamp(at, UTC)
    contact = Contact(id=number, created_at=time, updated_at=time, **plain)
    _, mail, name = identify(plain)
    return Seen(number, mail, name, at, at, contact, normalise(plain.get("firstname", "")))


def night(
    folder: Path,
    count: int,
    lag: Callable[[Change], float | None],
    *,
    rate: float = 10.0,
    **sections: Any,
) -> tuple[Report, MemoryQomon, float]:
    """Sync so many people on virtual time; return the report, the space, and the seconds it took."""
    source = folder / "people.jsonl"
    source.write_bytes(b"".join(orjson.dumps(person(number)) + b"\n" for number in range(count)))
    table = {
        "state": {"path": str(folder / "state.db")},
        "source": {"path": str(source), "key": "member_id"},
        "destination": {"rate": rate, "burst": 100.0},
        **sections,
    }
    settings = Settings.from_mapping(table, environ={})

    async def main() -> tuple[Report, MemoryQomon, float]:
        qomon = MemoryQomon(lag)
        async with Engine(settings, destination=qomon, clock=virtual_clock(), executor=Inline()) as engine:
            report = await engine.sync()
        return report, qomon, now()

    return run_virtual(main())


@pytest.mark.parametrize("late", [150.0, 600.0])
def test_a_late_queue_drops_nobody(tmp_path: Path, late: float) -> None:
    report, qomon, seconds = night(tmp_path, 400, lambda _change: late)
    assert (report.outcome, report.confirmed, report.dropped) == ("done", 400, 0)
    assert late < seconds
    assert qomon.reads <= 60


def test_a_queue_later_than_all_patience_leaves_them_unconfirmed(tmp_path: Path) -> None:
    report, _, seconds = night(tmp_path, 15, lambda _change: 3600.0)
    assert (report.outcome, report.exit) == ("problems", 3)
    assert (report.dropped, report.unconfirmed) == (0, 15)
    assert 900 < seconds < 1200


def test_a_canary_that_nobody_sees_stops_the_run_in_the_end(tmp_path: Path) -> None:
    report, qomon, _ = night(tmp_path, 500, lambda _change: 7200.0)
    assert (report.reason, report.exit) == ("breaker", 4)
    assert len(qomon.sent) == 20


def test_the_last_contact_dropped_is_unconfirmed_not_dropped(tmp_path: Path) -> None:
    """Nothing accepted later is seen, so Qomon may be late; the next run tells."""
    report, _, _ = night(tmp_path, 1, lambda _change: None)
    assert (report.dropped, report.unconfirmed, report.exit) == (0, 1, 3)


def test_dropped_ones_are_named_after_the_deadline_and_the_rest_is_confirmed(tmp_path: Path) -> None:
    gone = {f"m{number:05}" for number in range(30, 1000, 50)}
    report, _, seconds = night(tmp_path, 1000, lambda change: None if change.key in gone else 2.0)
    assert (report.dropped, report.confirmed) == (len(gone), 1000 - len(gone))
    assert seconds < 1000 / 10 + 2 * 120 + 30


def test_reading_costs_half_a_percent_of_the_writes_and_twenty_tokens(tmp_path: Path) -> None:
    report, qomon, seconds = night(tmp_path, 4000, lambda _change: 2.0)
    assert (report.outcome, report.confirmed) == ("done", 4000)
    assert qomon.reads <= 0.005 * 4000 + 20
    assert seconds < 4000 / 10 * 1.02 + 30


def test_a_canary_of_five_drops_stops_the_run(tmp_path: Path) -> None:
    report, qomon, _ = night(
        tmp_path, 500, lambda change: None if int(change.key[1:]) in range(5, 10) else 2.0
    )
    assert (report.reason, report.exit) == ("breaker", 4)
    assert len(qomon.sent) == 20
    assert report.dropped == 5


# --- a canary whose last contact is dropped


SLOWLY = {"rate": 1.0, "burst": 1.0}
"""One contact a second, so that nobody else is accepted in the second of the last of a canary."""


def number_of(change: Change) -> int:
    return int(change.key[1:])


def gaps(qomon: MemoryQomon) -> list[float]:
    """Return the seconds between one send and the next, from the last of the canary on."""
    times = [at for at, _ in qomon.sent[19:]]
    return [later - at for at, later in pairwise(times)]


def test_a_canary_whose_last_contact_is_dropped_is_settled_by_a_probe(tmp_path: Path) -> None:
    report, qomon, seconds = night(
        tmp_path, 60, lambda change: None if number_of(change) == 19 else 2.0, destination=SLOWLY
    )
    assert (report.outcome, report.dropped, report.confirmed) == ("problems", 1, 59)
    assert seconds < 2 * 120 + 60  # a minute to send them
    before, after, *others = gaps(qomon)
    assert 120 < before < 125
    assert after < 25  # the probe is seen, and a moment later the dropped one is known to be
    assert max(others) < 5


def test_a_probe_that_is_dropped_too_is_followed_by_another(tmp_path: Path) -> None:
    report, qomon, seconds = night(
        tmp_path, 60, lambda change: None if number_of(change) in {18, 19, 20} else 2.0, destination=SLOWLY
    )
    assert (report.outcome, report.dropped, report.confirmed) == ("problems", 3, 57)
    assert seconds < 3 * 120 + 60
    first, second, *_ = gaps(qomon)
    assert first > 120 < second


def test_of_a_canary_with_probes_five_failures_stop_the_run(tmp_path: Path) -> None:
    report, qomon, _ = night(
        tmp_path, 60, lambda change: None if 16 <= number_of(change) <= 20 else 2.0, destination=SLOWLY
    )
    assert (report.reason, report.exit, report.dropped) == ("breaker", 4, 5)
    assert len(qomon.sent) == 22


def test_after_a_queue_that_stopped_nothing_more_than_the_probes_goes(tmp_path: Path) -> None:
    """The first ten are applied, then Qomon rests for an hour: it is late, and drops nobody."""
    report, qomon, seconds = night(
        tmp_path, 60, lambda change: 2.0 if number_of(change) < 10 else 3600.0, destination=SLOWLY
    )
    assert (report.reason, report.exit) == ("breaker", 4)
    assert (report.confirmed, report.dropped, report.unconfirmed) == (10, 0, 13)
    assert len(qomon.sent) == 20 + 3
    assert all(gap > 120 for gap in gaps(qomon))
    assert 900 < seconds < 900 + 60


def test_a_queue_that_goes_on_after_the_probes_drops_nobody(tmp_path: Path) -> None:
    report, qomon, _ = night(
        tmp_path,
        60,
        lambda change: 2.0 if number_of(change) < 10 else max(2.0, 600.0 - now()),
        destination=SLOWLY,
    )
    assert (report.outcome, report.confirmed, report.dropped) == ("done", 60, 0)
    assert sum(gap > 60 for gap in gaps(qomon)) == 4  # three probes, and the rest at once


# --- a run after many without a look


def two_nights(
    folder: Path,
    first: Sequence[Mapping[str, Any]],
    second: Sequence[Mapping[str, Any]],
    lag: Callable[[Change], float | None],
    *,
    slow: float = 0.0,
) -> tuple[Report, MemoryQomon, list[float]]:
    """Sync the first people without a look, and an hour later the second with one, `slow` as reads are then.

    Returns the report of the latter, the space, and when those of the latter were sent.
    """
    source = folder / "people.jsonl"
    table = {
        "state": {"path": str(folder / "state.db")},
        "source": {"path": str(source), "key": "member_id"},
        "destination": {"rate": 1000.0, "burst": 1000.0},
        "run": {"max_failed_share": 1.0, "max_changed_share": 1.0},
    }
    settings = Settings.from_mapping(table, environ={})

    async def main() -> tuple[Report, MemoryQomon, list[float]]:
        qomon = MemoryQomon(lag)
        async with Engine(settings, destination=qomon, clock=virtual_clock(), executor=Inline()) as engine:
            source.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in first))
            await engine.sync(SyncOptions(verify=False))
            await asyncio.sleep(3600)
            source.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in second))
            sent, qomon.slow, qomon.compared = len(qomon.sent), slow, 0
            report = await engine.sync()
        return report, qomon, [at for at, _ in qomon.sent[sent:]]

    return run_virtual(main())


def after_a_backlog(
    folder: Path, lag: Callable[[Change], float | None], *, slow: float, backlog: int = 2_500
) -> tuple[Report, MemoryQomon, list[float]]:
    """Sync so many without a look, of whom every second is dropped, and sixty more with one."""
    rows = [person(number) for number in range(backlog + 60)]

    def applied(change: Change) -> float | None:
        number = number_of(change)
        return (None if number % 2 else 2.0) if number < backlog else lag(change)

    return two_nights(folder, rows[:backlog], rows, applied, slow=slow)


@pytest.mark.parametrize("lag", [2.0, 40.0])  # while what was left is swept, and while it is looked up
def test_a_canary_waits_for_no_backlog(tmp_path: Path, lag: float) -> None:
    slow = 3.0
    report, qomon, sent = after_a_backlog(tmp_path, lambda _change: lag, slow=slow)
    assert (report.confirmed, report.earlier["confirmed"], report.earlier["dropped"]) == (60, 1250, 1250)
    assert sent[20] - sent[19] < lag + 15 * slow  # ten look-ups are one page
    assert qomon.reads < 150


def test_a_drop_in_a_canary_is_found_beside_a_backlog(tmp_path: Path) -> None:
    slow = 10.0
    report, _, sent = after_a_backlog(
        tmp_path, lambda change: None if number_of(change) == 2_505 else 2.0, slow=slow
    )
    assert (report.confirmed, report.dropped, report.earlier["dropped"]) == (59, 1, 1250)
    assert sent[20] - sent[19] < 120 + 15 * slow


def test_people_whose_mail_changed_before_they_were_seen_are_not_compared_with_everybody(
    tmp_path: Path,
) -> None:
    count = 300
    before = [person(number) for number in range(count)]
    after = [person(number, mail=f"new{number}@canary.example") for number in range(count)]
    report, qomon, _ = two_nights(tmp_path, before, after, lambda _change: 2.0)
    assert (report.held, report.confirmed, len(qomon.people)) == (0, count, count)
    assert qomon.compared < 10 * count


def test_sending_stops_early_enough_for_the_read_back_to_end_in_time(tmp_path: Path) -> None:
    at = datetime.fromtimestamp(START).replace(second=0)  # noqa: DTZ006 - local time is what is asked for
    minutes = at.hour * 60 + at.minute + 8
    until = f"{minutes // 60 % 24:02}:{minutes % 60:02}"
    report, _, seconds = night(tmp_path, 8_000, lambda _change: 2.0, run={"until": until})
    assert (report.reason, report.exit) == ("deadline", 4)
    assert report.unconfirmed == 0
    assert report.remaining == 8_000 - report.confirmed
    assert seconds <= 8 * 60
    assert report.confirmed > 3000
