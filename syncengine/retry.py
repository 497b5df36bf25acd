"""Retrying: attempts again what may be attempted again, with full jitter, a budget and patience in an outage.

What may follow an outcome stands in `outcome.py`. A 429 and a request that never left charge nothing. In an
outage only one probe goes out every ten seconds, so that retries never outweigh the useful work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from syncengine.budget import BudgetClosedError
from syncengine.clock import Clock, Stop
from syncengine.destination import CutOffError, Destination
from syncengine.errors import (
    ProtocolError,
    RateLimitedError,
    RejectedError,
    TransientError,
    UnauthorizedError,
)
from syncengine.identity import IdentityClass
from syncengine.model import Attempt, Change, Receipt, Result
from syncengine.outcome import ATTEMPTS_PER_RUN, NEVER_FOUND, NOT_FOUND_AGAIN, Outcome, Step, step_after
from syncengine.problems import MAY_HAVE_BEEN_CREATED, REJECTED

T = TypeVar("T")

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


async def again(
    send: Callable[[], Awaitable[T]],
    *,
    clock: Clock,
    random: Random,
    may_repeat: Callable[[TransientError], bool] = lambda _error: True,
) -> T:
    """Repeat a single request until it is answered: for reads, which change nothing however often they come.

    After a 429 the budget says when, OUTAGE_LIMIT seconds long; without a definite answer there are
    ATTEMPTS_PER_RUN attempts with backoff, as far as `may_repeat` allows. Then the last error is raised.
    """
    began = clock.monotonic()
    failures = 0
    while True:
        try:
            return await send()
        except RateLimitedError:
            if clock.monotonic() - began > OUTAGE_LIMIT:
                raise
        except TransientError as error:
            failures += 1
            if failures == ATTEMPTS_PER_RUN or not may_repeat(error):
                raise
            await clock.sleep(backoff(failures, random))


class Outage:
    """Knows whether the destination answers; in an outage it lets one probe through at a time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures = 0
        self._next_probe = 0.0
        self._silent_since: float | None = None

    def failed(self) -> None:
        """Note an attempt without a definite answer."""
        self.throttled()
        self._failures += 1
        if self._failures == OUTAGE_FAILURES:
            self._next_probe = self._clock.monotonic() + PROBE_SECONDS

    def throttled(self) -> None:
        """Note a 429: the destination is there, but nothing gets done."""
        if self._silent_since is None:
            self._silent_since = self._clock.monotonic()

    def answered(self) -> None:
        """Note a definite answer: the destination works."""
        self._failures = 0
        self._silent_since = None

    @property
    def is_over(self) -> bool:
        """Say whether so long has passed without an answer that the run should stop."""
        since = self._silent_since
        return since is not None and self._clock.monotonic() - since > OUTAGE_LIMIT

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
                break
            if await stop.sleep(min(wait, 1.0)):
                break
        return not stop.is_set


@dataclass(slots=True)
class _Sends:
    """What left for one change: `requests` in all, `carried` of them with the content taken or unknown."""

    change: Change
    requests: int = 0
    carried: int = 0
    unknown: int = 0
    not_found_again: Collection[IdentityClass] = NOT_FOUND_AGAIN

    def count(self, outcome: Outcome) -> None:
        if outcome is Outcome.NOT_SENT:
            return
        self.requests += 1
        self.carried += outcome in {Outcome.ACCEPTED, Outcome.REJECTED, Outcome.UNKNOWN}
        self.unknown += outcome is Outcome.UNKNOWN

    def receipt(
        self,
        result: Result,
        *,
        status: int | None = None,
        reason: str = "",
        detail: str = "",
        of: Receipt | None = None,
    ) -> Receipt:
        """Return the receipt of all that left; `of`: what the destination said of the last."""
        first = 0 if self.change.is_repeat else 1
        return Receipt(
            self.change,
            result,
            status=status,
            reason=reason,
            detail=detail,
            requests=self.requests,
            repeats=max(0, self.carried - first),
            date=None if of is None else of.date,
            remote_id=None if of is None else of.remote_id,
            taken=None if of is None else of.taken,
        )

    def unsettled(self, reason: str, status: int | None = None) -> Receipt:
        """Return the receipt of a change that gets no more attempts now."""
        if not self.unknown:
            return self.receipt(Result.WITHDRAWN, status=status)
        if self.change.identity in self.not_found_again:
            return self.receipt(Result.IN_DOUBT, status=status, reason=MAY_HAVE_BEEN_CREATED, detail=reason)
        return self.receipt(Result.UNKNOWN, status=status, reason=reason)


class Retrying:
    """A destination that attempts again. Returns a receipt, whatever happens.

    An error that concerns the whole run (key refused, not the API we know) gives the order to stop, and
    blames no contact. On that order it gives up between attempts. Cancelled, it raises CutOffError with the
    receipt. `note` is told every attempt that settled nothing. `can_read`: whether contacts can be read back
    before they are sent again.
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
        can_read: bool = False,
    ) -> None:
        self._can_read = can_read
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
        sends = _Sends(change, not_found_again=self._not_found_again(change))
        try:
            return await self._send(sends)
        except asyncio.CancelledError as cut:
            if isinstance(cut, CutOffError):
                sends.count(Outcome.UNKNOWN)
            raise CutOffError(sends.unsettled("cut off at the end of the run")) from None

    async def _send(self, sends: _Sends) -> Receipt:
        unsent = 0
        while await self._outage.may_pass(self._stop):
            try:
                receipt = await self._destination.upsert(sends.change)
            except BudgetClosedError:
                break
            except RejectedError as error:
                self._outage.answered()
                sends.count(Outcome.REJECTED)
                return sends.receipt(
                    Result.REJECTED, status=error.status, reason=f"{REJECTED} ({error})", detail=error.words
                )
            except RateLimitedError as error:
                self._outage.throttled()
                self._record(sends, Outcome.THROTTLED, error)
            except TransientError as error:
                self._outage.failed()
                if not error.sent:
                    self._record(sends, Outcome.NOT_SENT, error)
                    unsent += 1
                    await self._stop.sleep(backoff(unsent, self._random))
                elif not self._may_repeat(sends):
                    sends.count(Outcome.UNKNOWN)
                    return sends.unsettled(str(error), error.status)
                else:
                    self._record(sends, Outcome.UNKNOWN, error)
                    self._retries += 1
                    await self._stop.sleep(backoff(sends.unknown, self._random))
            except (ProtocolError, UnauthorizedError) as error:
                return self._broken(sends, error)
            else:
                self._outage.answered()
                self._successes += 1
                sends.count(Outcome.ACCEPTED)
                return sends.receipt(Result.ACCEPTED, status=receipt.status, of=receipt)
        return sends.unsettled("stopped before an answer")

    def _not_found_again(self, change: Change) -> Collection[IdentityClass]:
        """Return the classes never sent again unless looked up; nothing finds what creating would double."""
        if self._can_read:
            return NEVER_FOUND
        return tuple(IdentityClass) if change.creates else NOT_FOUND_AGAIN

    def _may_repeat(self, sends: _Sends) -> bool:
        """Say whether a change may be sent again at once after one more unknown result."""
        step = step_after(
            Outcome.UNKNOWN, sends.change.identity, attempts=sends.unknown + 1, can_read=self._can_read
        )
        return step is Step.AGAIN and self._retries < max(RETRY_FLOOR, RETRY_SHARE * self._successes)

    def _record(self, sends: _Sends, outcome: Outcome, error: TransientError) -> None:
        sends.count(outcome)
        self._note(Attempt(sends.change, self._clock.wall(), outcome.value, error.status, str(error)))

    def _broken(self, sends: _Sends, error: ProtocolError | UnauthorizedError) -> Receipt:
        """Stop the run. Another 2xx may have taken the content; a redirect, a 401 or no answer has not."""
        self._stop.fail(error)
        if error.status is not None:
            is_taken = 200 <= error.status < 300
            sends.count(Outcome.UNKNOWN if is_taken else Outcome.BREACH)
        return sends.unsettled(str(error), error.status)
