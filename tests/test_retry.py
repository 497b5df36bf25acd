"""Retrying and patience: what is attempted again, how often, and what the receipt says of it."""

import asyncio
from collections.abc import Sequence
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_engine_virtual import MemoryDestination, now, run_virtual, virtual_clock
from test_tally import change

from syncengine.budget import BudgetClosedError
from syncengine.clock import Stop
from syncengine.destination import CutOffError
from syncengine.errors import (
    NO_HEADERS,
    Problem,
    ProtocolError,
    RateHeaders,
    RateLimitedError,
    RejectedError,
    SyncError,
    TransientError,
    UnauthorizedError,
)
from syncengine.identity import IdentityClass
from syncengine.model import Attempt, Change, Receipt, Result
from syncengine.retry import (
    BACKOFF_BASE,
    BACKOFF_CAP,
    OUTAGE_FAILURES,
    OUTAGE_LIMIT,
    PROBE_SECONDS,
    RETRY_FLOOR,
    Outage,
    Retrying,
    backoff,
)

LOST = TransientError("no answer", sent=True)
UNSENT = TransientError("could not connect", sent=False)
LIMITED = RateLimitedError("HTTP 429", status=429, sent=False)
CONFIRMED = change(1, identity=IdentityClass.CONFIRMED)


def follow(script: Sequence[SyncError | None], one: Change) -> tuple[Receipt, list[Attempt], Stop]:
    """Send one change against answers in this order (None: accepted), on virtual time."""
    answers = iter(script)
    notes: list[Attempt] = []

    async def answer(_: Change) -> RateHeaders:
        error = next(answers)
        if error is not None:
            raise error
        return NO_HEADERS

    async def main() -> tuple[Receipt, Stop]:
        clock = virtual_clock()
        stop = Stop(clock)
        sender = Retrying(
            MemoryDestination(answer),
            outage=Outage(clock),
            stop=stop,
            clock=clock,
            random=Random(0),
            note=notes.append,
        )
        return await sender.upsert(one), stop

    receipt, stop = run_virtual(main())
    return receipt, notes, stop


@settings(derandomize=True, deadline=None)
@given(st.integers(0, 10_000), st.integers())
def test_backoff_is_jittered_and_bounded(attempt: int, seed: int) -> None:
    seconds = backoff(attempt, Random(seed))
    assert 0 <= seconds <= min(BACKOFF_CAP, BACKOFF_BASE * 2.0 ** min(attempt, 30))


@settings(derandomize=True, deadline=None, max_examples=150)
@given(
    script=st.lists(st.sampled_from([LOST, UNSENT, LIMITED]), max_size=6),
    identity=st.sampled_from(IdentityClass),
    is_repeat=st.booleans(),
)
def test_requests_and_repeats_are_what_really_left(
    script: list[TransientError], identity: IdentityClass, *, is_repeat: bool
) -> None:
    receipt, _, _ = follow([*script, None], change(1, identity=identity, is_repeat=is_repeat))
    limit = 4 if identity is IdentityClass.CONFIRMED else 1
    seen: list[TransientError | None] = []
    for answer in [*script, None]:
        seen.append(answer)
        if answer is None or seen.count(LOST) == limit:
            break
    carried = seen.count(LOST) + seen.count(None)
    assert receipt.requests == len(seen) - seen.count(UNSENT)
    assert receipt.repeats == max(0, carried - (0 if is_repeat else 1))
    if seen[-1] is None:
        assert receipt.result is Result.ACCEPTED
    elif identity in {IdentityClass.NONE, IdentityClass.NAMES_ONLY}:
        assert receipt.result is Result.IN_DOUBT
    else:
        assert receipt.result is Result.UNKNOWN


def test_every_attempt_that_settled_nothing_is_noted() -> None:
    _, notes, _ = follow([UNSENT, LIMITED, LOST, None], CONFIRMED)
    assert [note.result for note in notes] == ["not sent", "throttled", "unknown"]


def test_a_rejection_after_an_unknown_result_is_a_repeat() -> None:
    receipt, _, _ = follow(
        [LOST, RejectedError("HTTP 422", status=422, problem=Problem(detail="d"))], CONFIRMED
    )
    assert (receipt.result, receipt.requests, receipt.repeats) == (Result.REJECTED, 2, 1)


@pytest.mark.parametrize(
    "error",
    [UnauthorizedError("no", status=401), ProtocolError("what", status=302), ProtocolError("tls")],
)
def test_an_error_of_the_whole_run_stops_it_and_blames_nobody(error: SyncError) -> None:
    receipt, _, stop = follow([error], CONFIRMED)
    assert receipt.result is Result.WITHDRAWN
    assert (stop.reason, stop.failure) == (error.reason, error)


def test_a_strange_2xx_leaves_the_contact_in_doubt() -> None:
    receipt, _, stop = follow([ProtocolError("what", status=200)], CONFIRMED)
    assert (receipt.result, stop.reason) == (Result.UNKNOWN, "protocol")


def test_an_unknown_result_is_not_forgotten_by_what_ends_the_run() -> None:
    for error in (UnauthorizedError("no", status=401), BudgetClosedError("the run ends")):
        receipt, _, _ = follow([LOST, error], CONFIRMED)
        assert receipt.result is Result.UNKNOWN


def test_retries_stay_below_a_share_of_the_successes() -> None:
    sent = 0

    async def answer(_: Change) -> RateHeaders:
        nonlocal sent
        sent += 1
        await asyncio.sleep(0.01)
        raise LOST

    async def main() -> None:
        clock = virtual_clock()
        stop, outage = Stop(clock), Outage(clock)
        sender = Retrying(
            MemoryDestination(answer), outage=outage, stop=stop, clock=clock, random=Random(0), note=_ignore
        )
        for n in range(50):
            outage.answered()
            await sender.upsert(change(n, identity=IdentityClass.CONFIRMED))

    run_virtual(main())
    assert sent == 50 + RETRY_FLOOR


def _ignore(_: Attempt) -> None:
    pass


def test_cut_off_it_says_what_is_known() -> None:
    async def hang(_: Change) -> RateHeaders:
        await asyncio.sleep(1e6)
        return NO_HEADERS

    async def main() -> list[Receipt | None]:
        clock = virtual_clock()
        receipts: list[Receipt | None] = []
        for script in ("out", "waiting"):
            outage = Outage(clock)
            sender = Retrying(
                MemoryDestination(hang),
                outage=outage,
                stop=Stop(clock),
                clock=clock,
                random=Random(0),
                note=_ignore,
            )
            if script == "waiting":
                for _ in range(OUTAGE_FAILURES):
                    outage.failed()
            task = asyncio.create_task(sender.upsert(CONFIRMED))
            await asyncio.sleep(0.5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError) as cut:
                await task
            assert isinstance(cut.value, CutOffError)
            receipts.append(cut.value.receipt)
        return receipts

    out, waiting = run_virtual(main())
    # Without the budget between them, nothing tells a request that is out from one that never was.
    assert out is not None
    assert waiting is not None
    assert (waiting.result, waiting.requests) == (Result.WITHDRAWN, 0)


def test_in_an_outage_one_probe_passes_every_ten_seconds() -> None:
    passed: list[float] = []

    async def main() -> None:
        clock = virtual_clock()
        outage, stop = Outage(clock), Stop(clock)
        for _ in range(OUTAGE_FAILURES):
            outage.failed()

        async def prober() -> None:
            while await outage.may_pass(stop):
                passed.append(now())
                outage.failed()

        async with asyncio.TaskGroup() as group:
            for _ in range(16):
                group.create_task(prober())
            await asyncio.sleep(100)
            stop.set("sigint")

    run_virtual(main())
    assert 9 <= len(passed) <= 10
    assert min(b - a for a, b in pairwise(passed)) >= PROBE_SECONDS - 0.01


def test_an_outage_is_over_after_half_an_hour_of_silence_and_not_of_idleness() -> None:
    async def main() -> None:
        outage = Outage(virtual_clock())
        await asyncio.sleep(2 * OUTAGE_LIMIT)
        assert not outage.is_over
        outage.throttled()
        await asyncio.sleep(OUTAGE_LIMIT + 1)
        assert outage.is_over
        outage.answered()
        assert not outage.is_over

    run_virtual(main())
