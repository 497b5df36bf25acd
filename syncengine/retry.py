"""Retrying: attempts again what may be attempted again, with full jitter, a budget and patience in an outage.

What may follow an outcome stands in `outcome.py`. A 429 and a request that never left charge nothing. In an
outage only one probe goes out every ten seconds, so that retries never outweigh the useful work.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

from syncengine.budget import BudgetClosedError
from syncengine.clock import Clock, Stop
from syncengine.destination import Destination
from syncengine.errors import RateLimitedError, RejectedError, TransientError
from syncengine.model import Attempt, Change, Receipt, Result
from syncengine.outcome import Outcome, Step, step_after
from syncengine.problems import MAY_HAVE_BEEN_CREATED, REJECTED

BACKOFF_BASE = 0.5
BACKOFF_CAP = 20.0
RETRY_SHARE = 0.1
RETRY_FLOOR = 10
"""Charged retries are at most this share of the successes, and always at least so many."""
OUTAGE_FAILURES = 5
"""Failures in a row, of all workers together, that make an outage."""
PROBE_SECONDS = 10.0
OUTAGE_LIMIT = 1800.0
"""Seconds without a definite answer after which the run stops (reason `outage`)."""


def backoff(attempt: int, random: Random) -> float:
    """Return the seconds before attempt `attempt + 1`: full jitter (AWS Builders' Library)."""
    return random.uniform(0.0, min(BACKOFF_CAP, BACKOFF_BASE * 2.0 ** min(attempt, 10)))


class Outage:
    """Knows whether the destination answers; in an outage it lets one probe through at a time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures = 0
        self._next_probe = 0.0
        self._last_answer = clock.monotonic()

    def failed(self) -> None:
        """Note an attempt without a definite answer."""
        self._failures += 1
        if self._failures == OUTAGE_FAILURES:
            self._next_probe = self._clock.monotonic() + PROBE_SECONDS

    def answered(self) -> None:
        """Note a definite answer: the destination works."""
        self._failures = 0
        self._last_answer = self._clock.monotonic()

    @property
    def is_over(self) -> bool:
        """Say whether so long has passed without an answer that the run should stop."""
        return bool(self._failures) and self.silent_for > OUTAGE_LIMIT

    @property
    def silent_for(self) -> float:
        """Seconds since the last definite answer."""
        return self._clock.monotonic() - self._last_answer

    @property
    def is_on(self) -> bool:
        """Say whether there is an outage."""
        return self._failures >= OUTAGE_FAILURES

    async def may_pass(self, stop: Stop) -> bool:
        """Wait for permission to send; False when the order to stop came instead."""
        while self.is_on:
            wait = self._next_probe - self._clock.monotonic()
            if wait <= 0:
                self._next_probe = self._clock.monotonic() + PROBE_SECONDS
                return not stop.is_set
            if await stop.sleep(min(wait, 1.0)):
                return False
        return not stop.is_set


class Retrying:
    """A destination that attempts again. Raises only what must stop the run.

    `note` is told every attempt that settled nothing. On the order to stop it gives up between attempts.
    """

    def __init__(
        self,
        destination: Destination,
        *,
        outage: Outage,
        stop: Stop,
        clock: Clock,
        random: Random,
        note: Callable[[Attempt], None],
    ) -> None:
        self._destination = destination
        self._outage = outage
        self._stop = stop
        self._clock = clock
        self._random = random
        self._note = note
        self._successes = 0
        self._retries = 0

    async def upsert(self, change: Change) -> Receipt:
        """Send until there is a result; `requests` of the receipt counts what left us."""
        requests = charged = waits = 0
        while True:
            if not await self._outage.may_pass(self._stop):
                return self._give_up(change, requests, is_charged=charged > 0)
            try:
                receipt = await self._destination.upsert(change)
            except BudgetClosedError:
                return self._give_up(change, requests, is_charged=charged > 0)
            except RejectedError as error:
                self._outage.answered()
                return Receipt(
                    change,
                    Result.REJECTED,
                    status=error.status,
                    reason=f"{REJECTED} ({error})",
                    detail=error.detail,
                    requests=requests + 1,
                    repeats=charged,
                )
            except RateLimitedError as error:
                self._record(change, Outcome.THROTTLED, error)
                requests += 1
                continue
            except TransientError as error:
                self._outage.failed()
                if not error.sent:
                    self._record(change, Outcome.NOT_SENT, error)
                    waits += 1
                    if await self._stop.sleep(backoff(waits, self._random)):
                        return self._give_up(change, requests, is_charged=charged > 0)
                    continue
                requests += 1
                charged += 1
                step = step_after(Outcome.UNKNOWN, change.identity, attempts=charged)
                if step is Step.AGAIN and self._may_retry():
                    self._record(change, Outcome.UNKNOWN, error)
                    self._retries += 1
                    if await self._stop.sleep(backoff(charged, self._random)):
                        return self._give_up(change, requests, is_charged=True)
                    continue
                return _unanswered(change, step, error, requests)
            self._outage.answered()
            self._successes += 1
            return replace(receipt, requests=requests + 1, repeats=charged)

    def _may_retry(self) -> bool:
        return self._retries < max(RETRY_FLOOR, RETRY_SHARE * self._successes)

    def _record(self, change: Change, outcome: Outcome, error: TransientError) -> None:
        self._note(Attempt(change, self._clock.wall(), outcome.value, error.status, str(error)))

    @staticmethod
    def _give_up(change: Change, requests: int, *, is_charged: bool) -> Receipt:
        result = Result.UNKNOWN if is_charged else Result.WITHDRAWN
        return Receipt(
            change, result, reason="stopped before an answer" if is_charged else "", requests=requests
        )


def _unanswered(change: Change, step: Step, error: TransientError, requests: int) -> Receipt:
    if step is Step.HOLD:
        return Receipt(
            change,
            Result.IN_DOUBT,
            status=error.status,
            reason=MAY_HAVE_BEEN_CREATED,
            detail=str(error),
            requests=requests,
        )
    return Receipt(change, Result.UNKNOWN, status=error.status, reason=str(error), requests=requests)
