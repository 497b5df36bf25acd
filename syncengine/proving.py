"""The reading side of a run: preflight, canary, verifier, and what their findings mean for the run.

The pump sends; here it is decided by reading what must not be sent, whether the first ones arrived well, and
what became of the rest. `Transfer` runs both.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from syncengine.budget import BudgetClosedError
from syncengine.canary import PARTIAL, WHOLE, Canary
from syncengine.clock import Clock, Stop
from syncengine.config import Settings
from syncengine.errors import DestinationError, TransientError
from syncengine.findings import Findings
from syncengine.identity import IdentityClass
from syncengine.model import Candidate, Receipt, Result, Verdict
from syncengine.outcome import NEVER_FOUND, NOT_FOUND_AGAIN
from syncengine.preflight import Preflight
from syncengine.seen import Seen, Space
from syncengine.store import awaiting, canaries
from syncengine.store.awaiting import Awaiting, Leftover
from syncengine.store.proof import Settled, settle_seen
from syncengine.store.store import Store
from syncengine.store.thread import StoreThread
from syncengine.tally import Tally
from syncengine.verdict import Claim
from syncengine.verifier import LATE_LIMIT, Verifier

LOST_LIMIT = 3
"""Values that were not sent, were seen before and are gone, after which a run stops: Qomon clears fields."""

FORMS_SECONDS = 60.0
"""At least so long between two readings of the forms because of drops; doubled when they had not changed."""


class Proving:
    """What a run reads. `space` must be open; `until`: Unix time by which reading must have ended.

    `judge` is called after verdicts were counted. Counts into `tally`, and by itself what earlier runs left.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        at: StoreThread,
        space: Space,
        *,
        run: int,
        stop: Stop,
        clock: Clock,
        tally: Tally,
        until: float | None,
        verify: bool,
        judge: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._store = store
        self._at = at
        self._run = run
        self._stop = stop
        self._clock = clock
        self._tally = tally
        self._verify = verify
        self._judge = judge
        self.space = space
        self.preflight = Preflight(settings, store, at, space, run=run, can_read=verify)
        self.canary = Canary({WHOLE, PARTIAL})
        self.findings = Findings()
        self.earlier: Counter[str] = Counter()
        self.doubts: Counter[str] = Counter()
        self._doubts_held: set[int] = set()
        self.reasons: Counter[str] = Counter()
        self._lost: Counter[str] = Counter()
        self._looked_up: dict[int, bytes] = {}
        self._unknown: dict[int, bytes] = {}
        self._mapping = ""
        self._canary_since = math.inf
        self._passes: list[str] = []
        self._suspects_forms = False
        self._forms_at = -math.inf
        self._forms_pause = FORMS_SECONDS
        self._news = asyncio.Event()
        self._reads = _Reads(at, store, space, run)
        self._verifier = Verifier(
            space,
            self._reads,
            clock=clock,
            stop=stop,
            deadline=settings.verify.deadline,
            settled=self.take_verdicts,
            until=until,
        )

    # --- before and beside the pump

    async def prepare(self) -> None:
        """Look at everything that is due before any of it goes."""
        await self.preflight.run()
        if self._verify:
            self._mapping, passed = await self._at(canaries.passed, self._store)
            self.canary = Canary(passed)

    async def read_back(self) -> None:
        """Read what was accepted until `close` and everybody is settled."""
        if not self._verify:
            return
        try:
            watch = asyncio.create_task(self._watch(), name="proving")
            try:
                await self._verifier.run()
            finally:
                watch.cancel()
                await asyncio.wait({watch})
            if not watch.cancelled() and (error := watch.exception()) is not None:
                raise error
            await self._note_passes()
        except DestinationError as error:
            self._stop.fail(error)
        if self._verifier.is_unable and self.canary.is_waiting:
            self._stop.set(
                "breaker",
                f"the first contacts could not be looked for: {self._verifier.is_unable}. The rest stays "
                "due. Run sync again, or sync --no-verify to send without proof",
            )

    async def _watch(self) -> None:
        """Write passed canaries down; read the forms again when a drop says that they may have changed."""
        while True:
            await self._news.wait()
            self._news.clear()
            await self._note_passes()
            if self._suspects_forms and self._clock.monotonic() - self._forms_at >= self._forms_pause:
                self._suspects_forms, self._forms_at = False, self._clock.monotonic()
                with suppress(TransientError, BudgetClosedError):
                    has_changed = await self.preflight.check_forms()
                    self._forms_pause = FORMS_SECONDS if has_changed else 2 * self._forms_pause

    async def _note_passes(self) -> None:
        passes, self._passes = self._passes, []
        if passes:
            await self._at(canaries.note_passed, self._store, self._mapping, passes)

    @property
    def not_found_again(self) -> tuple[IdentityClass, ...]:
        """The classes that are never sent again after an attempt without a definite answer."""
        return NEVER_FOUND if self._verify else NOT_FOUND_AGAIN

    def close(self) -> None:
        """Take note that nothing more is sent."""
        self._verifier.close()

    @property
    def unable(self) -> str:
        """What could not be read back and why, for people; empty when all could."""
        refused = self._verifier.look_ups.refused
        told = [self._verifier.is_unable] if self._verifier.is_unable else []
        if refused:
            ((why, _),) = Counter(refused.values()).most_common(1)
            many = f"{len(refused):,} contact{'s' if len(refused) > 1 else ''}"
            told.append(
                f"{many} could not be looked for: Qomon refuses every search for them ({why}), so whether "
                "they arrived is not known"
            )
        return "; ".join(told)

    # --- what the pump asks and tells

    def kind(self, candidate: Candidate) -> str:
        """Return the canary's kind of a contact to be sent."""
        is_partial = candidate.identity is IdentityClass.CONFIRMED and self._settings.run.send == "changed"
        return PARTIAL if is_partial else WHOLE

    def may_go(self, candidate: Candidate) -> bool:
        """Say whether a contact may go now: the canary lets it, and it was looked for if it is in doubt."""
        if self._verify and candidate.in_doubt and candidate.n not in self._looked_up:
            return False
        return self.canary.may_go(self.kind(candidate))

    def go(self, candidate: Candidate) -> None:
        """Take note that a contact is about to be sent."""
        self.canary.go(candidate.n, self.kind(candidate))
        self._verifier.quiet(self.canary.is_waiting)

    def stay(self, candidate: Candidate) -> None:
        """Take note that a contact was not sent after all."""
        self.canary.come_back(candidate.n)

    @property
    def is_shut(self) -> bool:
        """Say whether the canary lets nobody go now."""
        return self.canary.is_shut

    def is_given_up(self, candidate: Candidate) -> bool:
        """Say whether a contact stays due in this run: it is in doubt, and could not be looked for."""
        return self._unknown.get(candidate.n) == candidate.content_hash

    async def look_first(self, candidates: Sequence[Candidate]) -> None:
        """Look for contacts that were sent without a definite answer, before they are sent again."""
        wanted = [
            candidate.n
            for candidate in candidates
            if self._looked_up.get(candidate.n) != candidate.content_hash and not self.is_given_up(candidate)
        ]
        if not wanted or not self._verify:
            return
        leftovers = await self._at(awaiting.wanted_of, self._store, wanted)
        try:
            seen = await self._verifier.look_ups.look_up(leftovers)
        except TransientError:
            return  # they are kept back: see may_go
        settled = await self._reads.settle(seen, also=wanted)
        self.take_verdicts(settled)
        found = {one.n for one in settled if one.claim is Claim.DOUBT}
        for candidate in candidates:
            if candidate.n not in wanted:
                continue
            if candidate.n in self._verifier.look_ups.refused:
                self._unknown[candidate.n] = candidate.content_hash
            else:
                self._looked_up[candidate.n] = candidate.content_hash
                self.doubts["again"] += candidate.n not in found

    def receipt(self, receipt: Receipt) -> None:
        """Take note of what became of a send."""
        self._verifier.accepted(receipt)
        n = receipt.change.n
        if receipt.result is Result.ACCEPTED and self.canary.has(n):
            self.canary.accept(n, self._server_time() if receipt.date is None else receipt.date)
            if not self.canary.is_probing(n):
                self._canary_since = self._clock.monotonic()
        if receipt.result is Result.REJECTED:
            self._judge_canary(n, is_good=False)
        elif receipt.result is not Result.ACCEPTED:
            self.canary.come_back(n)
            self._looked_up.pop(n, None)
        if receipt.result is Result.IN_DOUBT:
            self._doubts_held.add(n)
            self.doubts["held"] = len(self._doubts_held)

    # --- verdicts

    def take_verdicts(self, settled: Sequence[Settled]) -> None:
        """Count verdicts, and stop the run when they say so."""
        self._verifier.note(settled)
        for one in settled:
            if one.is_of_earlier(self._run):
                self.earlier[one.verdict.value] += 1
            else:
                self._tally.settle(one.n, one.verdict)
            if one.claim is Claim.DOUBT:
                self.doubts["seen"] += 1
                self._doubts_held.discard(one.n)
                self.doubts["held"] = len(self._doubts_held)
            if one.verdict is not Verdict.DROPPED:
                self.findings.add(one.names, one.differences)
            elif one.has_answers:
                self._suspects_forms = True
                self._news.set()
            if one.reason:
                self.reasons[one.reason] += 1
            if self._settings.run.send == "changed":
                self._lost.update(one.lost)
            if one.claim is Claim.UNNEEDED:
                self.canary.come_back(one.n)
            else:
                self._judge_canary(one.n, is_good=one.verdict is Verdict.CONFIRMED)
        if self._lost.total() >= LOST_LIMIT:
            fields = ", ".join(sorted(self._lost))
            self._stop.set(
                "breaker",
                f"{self._lost.total()} values were lost in Qomon although they were not sent ({fields}): it "
                "seems to clear what is left out. Look at these contacts with syncengine problems; with "
                '[run] send = "whole" contacts are sent whole',
            )
        self._verifier.quiet(self.canary.is_waiting)
        self._judge()

    def earlier_counts(self) -> dict[str, int]:
        """Return what became of contacts that earlier runs got accepted."""
        return {verdict.value: self.earlier[verdict.value] for verdict in Verdict}

    def most_frequent(self) -> str:
        """Return the most frequent reason of verdicts that are problems, with how many have it."""
        return "".join(f"{reason} ({count})" for reason, count in self.reasons.most_common(1))

    def _judge_canary(self, n: int, *, is_good: bool) -> None:
        passed = self.canary.settle(n, is_good=is_good)
        if passed is not None:
            self._passes.append(passed)
            self._news.set()
        if self.canary.has_failed:
            self._stop_for_canary()
        elif not self.canary.is_waiting:
            self._canary_since = math.inf

    def _stop_for_canary(self) -> None:
        most = self.most_frequent()
        self._stop.set(
            "breaker",
            f"of the first contacts sent {self.canary.failed} were rejected, dropped, could not be looked "
            f"for or are seen with other values{f', most often: {most}' if most else ''}; the rest was not "
            "sent and stays due. See "
            "syncengine problems; mend [fields] or name a field that Qomon rewrites in [verify] ignore",
        )

    def _server_time(self) -> float:
        return self._clock.wall() - self.space.clock_difference

    def look_at_canary(self) -> None:
        """Send a probe after contacts of the canary that wait for long, or give up waiting for them.

        Given up are those who cannot be looked for, and all when the destination is late beyond all patience.
        """
        if not self.canary.is_waiting:
            return
        for n in self._verifier.look_ups.given_up:
            self._judge_canary(n, is_good=False)
        self.canary.probe(
            before=self._server_time() - self._settings.verify.deadline, seen=self._verifier.latest_seen
        )
        if self.canary.is_waiting and self._clock.monotonic() - self._canary_since > LATE_LIMIT:
            self.canary.give_up()
            if self.canary.has_failed:
                self._stop.set(
                    "breaker",
                    "nothing of the first contacts sent was seen in Qomon for "
                    f"{LATE_LIMIT / 60:.0f} minutes; the rest was not sent and stays due. "
                    "Run sync again when Qomon works off its queue",
                )


class _Reads:
    """The store as the verifier sees it."""

    def __init__(self, at: StoreThread, store: Store, space: Space, run: int) -> None:
        self._at, self._store, self._space, self._run = at, store, space, run

    async def settle(
        self,
        seen: Sequence[Seen],
        *,
        also: Sequence[int] = (),
        final: Mapping[int, bool] | None = None,
        until: float = math.inf,
    ) -> list[Settled]:
        return await self._at(
            settle_seen, self._store, self._space, seen, run=self._run, also=also, final=final, until=until
        )

    async def leftovers(self, *, until: float, after: tuple[float, int], limit: int) -> list[Leftover]:
        return await self._at(awaiting.leftovers, self._store, until=until, after=after, limit=limit)

    async def dropped_before(self, *, after: int, limit: int) -> list[Leftover]:
        return await self._at(awaiting.dropped_before, self._store, after=after, limit=limit)

    async def looked_again(self, contacts: Sequence[int]) -> None:
        await self._at(awaiting.looked_again, self._store, contacts)

    async def awaiting(self) -> Awaiting:
        return await self._at(awaiting.awaiting, self._store)
