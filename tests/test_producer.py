"""The producer: intents first, one per identity, bounded, and no contact forgotten in any order of events."""

import asyncio
from dataclasses import replace
from random import Random

import pytest
from test_engine_virtual import run_virtual, virtual_clock
from test_tally import change

from syncengine.clock import Stop
from syncengine.errors import StoreError
from syncengine.identity import IdentityClass
from syncengine.model import Candidate, Change, Receipt, Result
from syncengine.producer import PASS_SECONDS, Lanes, Producer
from syncengine.queue import ClosableQueue


def candidate(n: int, *, content: bytes = b"{}", mail: str = "", name: str = "") -> Candidate:
    return Candidate(n, f"k{n:04}", content, IdentityClass.MAIL, mail or f"{n}@example.org", name, False)


class Due:
    """What is due, in memory; `edit` is called before a claim and may change it."""

    def __init__(self, candidates: list[Candidate]) -> None:
        self.due = {c.n: c for c in candidates}
        self.claims = 0
        self.fails_at = 0
        self.edits: dict[int, Candidate] = {}

    async def page(self, after: str, limit: int) -> list[Candidate]:
        await asyncio.sleep(0.001)
        rest = sorted((c for c in self.due.values() if c.key > after), key=lambda c: c.key)
        return rest[:limit]

    async def doubtful(self, limit: int) -> list[Candidate]:
        return [c for c in self.due.values() if c.in_doubt][:limit]

    async def claim(self, candidates: list[Candidate]) -> list[Change]:
        self.claims += 1
        await asyncio.sleep(0.001)
        if self.claims == self.fails_at:
            raise StoreError("full", reason="disk")
        self.due |= {c.n: self.edits.pop(c.n) for c in candidates if c.n in self.edits}
        return [
            change(c.n, c.content_hash, key=c.key, mail=c.mail, name=c.name)
            for c in candidates
            if self.due.get(c.n) == c
        ]


def deliver(
    due: Due, *, in_flight: int = 4, seed: int = 0, max_writes: int = 0, one_by_one: bool = False
) -> tuple[list[Change], Producer, Stop, int]:
    """Run a producer against workers that take random time; return what was sent and the peak of intents."""
    sent: list[Change] = []
    draw = Random(seed)
    peak = 0

    async def main() -> tuple[Producer, Stop]:
        clock = virtual_clock()
        stop = Stop(clock)
        queue: ClosableQueue[Change] = ClosableQueue(in_flight)
        producer = Producer(
            due,
            queue,
            clock=clock,
            stop=stop,
            settle=30,
            in_flight=in_flight,
            max_writes=max_writes,
            one_by_one=one_by_one,
        )

        async def worker() -> None:
            nonlocal peak
            async for one in queue:
                peak = max(peak, len(producer.unsettled))
                sent.append(one)
                await asyncio.sleep(draw.uniform(0, 0.1))
                if due.due[one.n].content_hash == one.content_hash:
                    del due.due[one.n]
                producer.settled(Receipt(one, Result.ACCEPTED))

        async with asyncio.TaskGroup() as group:
            group.create_task(producer.run())
            for _ in range(in_flight):
                group.create_task(worker())
        return producer, stop

    producer, stop = run_virtual(main())
    return sent, producer, stop, peak


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("in_flight", [1, 4, 16])
def test_everything_due_is_sent_once_and_intents_stay_bounded(seed: int, in_flight: int) -> None:
    sent, producer, _, peak = deliver(Due([candidate(n) for n in range(600)]), in_flight=in_flight, seed=seed)
    assert sorted(c.n for c in sent) == list(range(600))
    assert producer.unsettled == []
    assert peak <= 2 * in_flight


def test_a_contact_edited_between_its_page_and_its_claim_is_not_forgotten() -> None:
    due = Due([candidate(1)])
    due.edits[1] = candidate(1, content=b"newer")
    sent, _, _, _ = deliver(due)
    assert [c.content for c in sent] == [b"newer"]


def test_a_store_that_fails_stops_the_run_in_order() -> None:
    due = Due([candidate(n) for n in range(100)])
    due.fails_at = 5
    sent, producer, stop, _ = deliver(due)
    assert (stop.reason, stop.failure is not None) == ("disk", True)
    assert 0 < len(sent) < 100
    assert producer.unsettled == []


@pytest.mark.parametrize("moment", [PASS_SECONDS + n * 0.00025 for n in range(24)])
def test_an_unknown_result_that_settles_in_the_middle_of_a_pass_has_its_second_try(moment: float) -> None:
    """A pass that began while the contact was out tells nothing of it: it is no pass that found nothing."""
    due = Due([candidate(1)])
    sent: list[Change] = []

    async def main() -> None:
        clock = virtual_clock()
        queue: ClosableQueue[Change] = ClosableQueue(1)
        producer = Producer(due, queue, clock=clock, stop=Stop(clock), settle=30, in_flight=1)

        async def worker() -> None:
            async for one in queue:
                sent.append(one)
                await asyncio.sleep(moment)
                producer.settled(Receipt(one, Result.UNKNOWN))

        async with asyncio.TaskGroup() as group:
            group.create_task(producer.run())
            group.create_task(worker())

    run_virtual(main())
    assert len(sent) == 2


def test_a_chain_of_one_identity_goes_one_at_a_time_without_idling() -> None:
    due = Due([candidate(n, mail="family@example.org") for n in range(40)])
    sent, _, _, _ = deliver(due, in_flight=8)
    assert [c.n for c in sent] == list(range(40))


@pytest.mark.parametrize(("cap", "is_capped"), [(5, True), (9, True), (10, False), (11, False)])
def test_the_cap_counts_changes(cap: int, *, is_capped: bool) -> None:
    sent, producer, _, _ = deliver(Due([candidate(n) for n in range(10)]), max_writes=cap)
    assert (len(sent), producer.is_capped) == (min(cap, 10), is_capped)


def test_those_in_doubt_go_first_and_alone_after_two_fruitless_crashes() -> None:
    due = Due([candidate(n) for n in range(20)])
    for n in (7, 8, 9):
        due.due[n] = replace(due.due[n], in_doubt=True)
    sent, _, _, _ = deliver(due, one_by_one=True)
    assert [c.n for c in sent[:3]] == [7, 8, 9]
    assert len(sent) == 20


def test_an_identity_is_free_again_when_it_has_rested() -> None:
    async def main() -> None:
        lanes = Lanes(virtual_clock(), settle=30)
        first, second, other = candidate(1, mail="a"), candidate(2, mail="a"), candidate(3, mail="b")
        assert lanes.may_enter(first)
        lanes.enter(first)
        assert not lanes.may_enter(second)
        assert lanes.may_enter(other)
        lanes.leave(first, is_unknown=True)
        assert not lanes.may_enter(second)
        await asyncio.sleep(29)
        assert not lanes.may_enter(second)
        await asyncio.sleep(2)
        assert lanes.may_enter(second)

    run_virtual(main())
