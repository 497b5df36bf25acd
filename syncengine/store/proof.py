"""What reads show of what was accepted, written down: confirmed, differs, dropped; ids learned.

Functions of an open `Store`; each is one transaction. What a sight means is decided by `verdict.judge`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from syncengine.hashing import canonical, content_hash
from syncengine.identity import IdentityClass
from syncengine.model import Verdict
from syncengine.partial import without
from syncengine.problems import CONSENT_KEPT, DEAD_ID, DROPPED, IDENTITY_CHANGED, TWINS, differs_in
from syncengine.seen import Difference, Seen, Space
from syncengine.store.driver import Connection
from syncengine.store.holding import close_problems, set_problem
from syncengine.store.store import Store
from syncengine.store.unsettled import (
    SETTLED_BEFORE,
    UNSETTLED,
    WITH_INTENT,
    Row,
    Sights,
    filled,
    owned_ids,
    rows_of,
)
from syncengine.verdict import Claim, Judgement, Unsettled, has_moved, judge, names_of

WITHDRAWABLE = frozenset({"consents", "black_list"})
"""Fields whose removal in the source is a problem as long as Qomon still shows them."""


@dataclass(frozen=True, slots=True)
class Settled:
    """A contact a read has settled. `date`: of its acceptance, by the server's clock.

    `run`: the run that got it accepted, None for one that no 2xx answered. `names`: of what it holds;
    `lost`: those that were seen before, were not sent, and are gone. `reason`: why it is a problem.
    """

    n: int
    verdict: Verdict
    claim: Claim
    date: float
    run: int | None
    names: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()
    lost: tuple[str, ...] = ()
    reason: str = ""
    has_answers: bool = False
    has_moved: bool = False

    @property
    def shows_progress(self) -> bool:
        """Whether it shows that what was accepted with it is applied by now."""
        return self.claim is Claim.AWAITING and self.has_moved

    def is_of_earlier(self, run: int) -> bool:
        """Say whether an earlier run than this got it accepted."""
        if self.claim is Claim.DROPPED:
            return True
        return self.claim in (Claim.AWAITING, Claim.TWIN, Claim.DRIFT) and self.run != run


def settle_seen(
    store: Store,
    space: Space,
    seen: Sequence[Seen],
    *,
    run: int,
    also: Collection[int] = (),
    final: Mapping[int, bool] | None = None,
    until: float = math.inf,
) -> list[Settled]:
    """Settle who is among those seen; return them.

    `also`: contacts to compare besides those found by id, mail and name. `final`: contacts whose wait is
    over if they were accepted by `until`: settled now whatever was seen; True for one whose id is dead.
    """
    final = final or {}
    now = store.now()
    settled: list[Settled] = []
    with store.writing() as connection:
        rows = rows_of(connection, seen, {*also, *final})
        owned = {row.remote_id for row in rows.values() if row.remote_id is not None}
        owned |= owned_ids(connection, [one.id for one in seen])
        sights = Sights(seen, owned)
        writer = _Writer(connection, space, run=run, now=now)
        done: set[int] = set()
        for is_equal in (True, False):  # who is seen as sent first: nobody else may take their contacts
            for row in rows.values():
                for claim in () if row.n in done else row.claims():
                    is_final = row.n in final and claim.date <= until
                    judgement = _judged(row, claim, sights, space, is_final=is_final)
                    if judgement is None or (is_equal and judgement.verdict is not Verdict.CONFIRMED):
                        continue
                    if judgement.seen is not None:
                        sights.taken.add(judgement.seen.id)
                    is_dead = final.get(row.n, False)
                    settled.append(writer.write(row, claim, judgement, is_dead=is_dead))
                    done.add(row.n)
                    break
        shown = {one.id for one in seen}
        _revive(connection, [row.n for row in rows.values() if row.is_dead and row.remote_id in shown])
        if free := sights.free():
            settled += writer.list_twins(free)
        connection.execute(
            "UPDATE space SET seen_date = max(coalesce(seen_date, 0), ?)",
            (max((one.date for one in settled if one.shows_progress), default=0.0),),
        )
    return settled


def _revive(connection: Connection, contacts: Sequence[int]) -> None:
    """Let contacts go by their id again: it was taken for dead, a person asked again, and a read shows it."""
    for n in contacts:
        connection.execute("UPDATE contacts SET dead_id = 0 WHERE n = ?", (n,))
        close_problems(connection, "n = ? AND problem_reason = ?", (n, DEAD_ID))


def _judged(row: Row, claim: Unsettled, sights: Sights, space: Space, *, is_final: bool) -> Judgement | None:
    found = sights.of(claim, space)
    if row.remote_id is None and not found and not is_final:
        return None
    is_lost = is_final and not found and claim.claim is Claim.AWAITING and row.remote_id is None
    if is_lost and not row.shares_mail and len(renamed := sights.renamed(claim)) == 1:
        differences = tuple(space.differences(claim.content, renamed[0]))
        return Judgement(Verdict.DIFFERS, renamed[0], differences)
    judgement = judge(claim, found, space, is_final=is_final)
    if judgement is not None and judgement.verdict is Verdict.DROPPED and claim.claim is not Claim.AWAITING:
        return None
    return judgement


class _Writer:
    """Writes verdicts down, in the transaction of `connection`."""

    def __init__(self, connection: Connection, space: Space, *, run: int, now: float) -> None:
        self._connection = connection
        self._execute = connection.execute
        self._space = space
        self._run = run
        self._now = now

    def write(self, row: Row, claim: Unsettled, judgement: Judgement, *, is_dead: bool = False) -> Settled:
        """Write one verdict."""
        verdict = judgement.verdict
        if verdict is Verdict.DROPPED:
            reason = DEAD_ID if is_dead else DROPPED
            self._drop(row, claim, reason, is_dead=is_dead)
        elif judgement.twins:
            reason = TWINS
            self._settle(row, claim, reason, {"ids": sorted(judgement.twins)})
        else:
            reason = self._apply(row, claim, judgement)
            verdict = Verdict.DIFFERS if reason else Verdict.CONFIRMED
        if verdict is not Verdict.CONFIRMED or claim.claim not in (Claim.AWAITING, Claim.DRIFT):
            self._note(row, verdict, reason)
        return Settled(
            row.n,
            verdict,
            claim.claim,
            claim.date,
            row.run if claim.claim in (Claim.AWAITING, Claim.TWIN, Claim.DRIFT) else None,
            tuple(names_of(claim.content)),
            judgement.differences,
            judgement.lost,
            reason,
            has_answers(claim.content),
            judgement.seen is not None and has_moved(judgement.seen, claim.date),
        )

    def list_twins(self, seen: Sequence[Seen]) -> list[Settled]:
        """Make it a problem of confirmed contacts when there is another one that nothing tells apart."""
        found = []
        by_name = {one.name: one for one in seen if one.name}
        rows = self._execute(
            f"SELECT {UNSETTLED}, c.accepted_run, c.mail, c.name FROM json_each(?) j CROSS JOIN contacts c "
            f"ON c.name = j.value AND c.name <> '' {WITH_INTENT} "
            "WHERE c.remote_id IS NOT NULL AND c.awaiting = 0 AND c.in_doubt = 0 "
            "AND c.accepted_hash = c.content_hash AND c.problem_hash IS NOT c.content_hash",
            (orjson.dumps(list(by_name)).decode(),),
        ).fetchall()
        for *columns, mail, name in rows:
            one = by_name[name]
            row = Row(columns)
            content = orjson.loads(row.content)
            if one.mail != mail or not self._space.fits(content, one):
                continue
            if not mail and self._space.differences(content, one):
                continue  # names alone are no proof
            claim = row.unsettled(Claim.TWIN, row.content, row.date, is_current=True)
            twins = (row.remote_id or 0, one.id)
            found.append(self.write(row, claim, Judgement(Verdict.DIFFERS, twins=twins)))
        return found

    def _drop(self, row: Row, claim: Unsettled, reason: str, *, is_dead: bool) -> None:
        """Put the accepted content back to what was seen applied; where nobody is any more, to nothing."""
        self._execute(
            "UPDATE contacts SET accepted_hash = CASE WHEN NOT ?3 THEN applied_hash END, "
            "accepted = CASE WHEN NOT ?3 THEN applied END, dead_id = max(dead_id, ?3), awaiting = 0, "
            "confirmed_hash = CASE WHEN ?1 THEN nullif(confirmed_hash, content_hash) "
            "ELSE confirmed_hash END, look_again = ?1 WHERE n = ?2",
            (claim.is_current, row.n, is_dead),
        )
        self._set_problem(row, claim, "dropped", reason, {})

    def _settle(self, row: Row, claim: Unsettled, reason: str, facts: Mapping[str, Any]) -> None:
        """Settle a contact of which no read can say which one it is, or that it holds what was sent."""
        self._execute("UPDATE contacts SET awaiting = 0, confirmed_hash = NULL WHERE n = ?", (row.n,))
        self._set_problem(row, claim, "differs", reason, facts)

    def _apply(self, row: Row, claim: Unsettled, judgement: Judgement) -> str:
        """Take note of what was seen applied; return why it is a problem, or an empty text."""
        before = self._shown_before(row, claim, judgement.seen)
        kept = self._still_kept(before, claim, judgement.seen)
        merged = self._space.merged(kept, claim.content)
        applied = canonical(merged)
        digest = content_hash(applied)
        sent = content_hash(canonical(claim.content))
        is_confirmed = judgement.verdict is Verdict.CONFIRMED
        self._execute(
            "UPDATE contacts SET remote_id = coalesce(remote_id, ?1), "
            f"identity = CASE WHEN ?1 IS NULL THEN identity ELSE {IdentityClass.CONFIRMED.value} END, "
            "applied_hash = ?2, applied = CASE WHEN content_hash = ?2 THEN NULL ELSE ?3 END, "
            "confirmed_hash = ?4, confirmed_at = CASE WHEN ?4 IS NULL THEN confirmed_at ELSE ?5 END, "
            "awaiting = 0, look_again = 0, unseen = CASE WHEN ?1 IS NULL THEN unseen END WHERE n = ?6",
            (
                judgement.seen.id if judgement.seen is not None else None,
                digest,
                applied,
                sent if is_confirmed else None,
                self._now,
                row.n,
            ),
        )
        if claim.claim not in (Claim.AWAITING, Claim.DRIFT):
            self._take_as_accepted(row, claim)
        close_problems(self._connection, "n = ? AND problem_reason = ?", (row.n, IDENTITY_CHANGED))
        if claim.is_current:
            which = "" if claim.claim is Claim.DOUBT else "AND problem IN ('dropped', 'differs')"
            close_problems(self._connection, f"n = ? {which}", (row.n,))
        if judgement.differences:
            reason = differs_in([difference.field for difference in judgement.differences])
            facts = [
                {"field": difference.field, "sent": difference.sent, "seen": difference.seen}
                for difference in judgement.differences
            ]
            self._set_problem(row, claim, "differs", reason, {"fields": facts})
            return reason
        if WITHDRAWABLE & kept.keys():
            self._set_problem(row, claim, "differs", CONSENT_KEPT, {})
            return CONSENT_KEPT
        return ""

    def _shown_before(self, row: Row, claim: Unsettled, seen: Seen | None) -> Mapping[str, Any]:
        """Return all of ours that a read showed before this content, or shows of earlier ones only now."""
        unseen = self._space.kept(row.unseen(claim.claim), claim.content)
        if not unseen or seen is None:
            return claim.applied
        return self._space.merged(claim.applied, self._seen_of(unseen, seen))

    def _still_kept(
        self, before: Mapping[str, Any], claim: Unsettled, seen: Seen | None
    ) -> Mapping[str, Any]:
        """Return what the source took away and the destination still has, as far as a read can tell."""
        kept = self._space.kept(before, claim.content)
        return self._seen_of(kept, seen) if kept and seen is not None else kept

    def _seen_of(self, content: Mapping[str, Any], seen: Seen) -> dict[str, Any]:
        return without(content, {difference.field for difference in self._space.differences(content, seen)})

    def _take_as_accepted(self, row: Row, claim: Unsettled) -> None:
        """Take a content as accepted that no 2xx answered: a read shows it, or nothing was left to send."""
        self._execute(
            "UPDATE contacts SET accepted_hash = content_hash, accepted = NULL, in_doubt = 0, "
            "accepted_at = coalesce(accepted_at, ?), accepted_date = ?, accepted_run = ?, "
            "released_hash = NULL WHERE n = ?",
            (self._now, claim.date, self._run, row.n),
        )
        self._execute("DELETE FROM intents WHERE n = ? AND open = 0", (row.n,))

    def _set_problem(
        self, row: Row, claim: Unsettled, state: str, reason: str, facts: Mapping[str, Any]
    ) -> None:
        if claim.is_current:
            set_problem(self._connection, [row.n], state, reason, run=self._run, now=self._now, facts=facts)

    def _note(self, row: Row, verdict: Verdict, reason: str) -> None:
        self._execute(
            "INSERT INTO receipts (n, run, at, content_hash, result, detail) VALUES (?, ?, ?, ?, ?, ?)",
            (
                row.n,
                self._run,
                self._now,
                row.accepted_hash or row.content_hash,
                verdict.value,
                reason or None,
            ),
        )


def settle_drift(
    store: Store, space: Space, seen: Sequence[Seen], *, run: int, gone: Collection[int] = ()
) -> tuple[list[int], list[Settled]]:
    """Compare contacts that were settled before with what is seen of them now.

    Returns who was among those seen, and of whom that changed anything: who differs now, or does not any
    more. `gone`: contacts whose id is dead.
    """
    settled: list[Settled] = []
    by_id = {one.id: one for one in seen}
    with store.writing() as connection:
        rows = [
            Row(row)
            for column, values in (("remote_id", list(by_id)), ("n", list(gone)))
            for row in connection.execute(
                f"SELECT {UNSETTLED}, c.accepted_run FROM json_each(?) j CROSS JOIN contacts c "
                f"ON c.{column} = j.value {filled(column)} {WITH_INTENT} "
                f"WHERE {SETTLED_BEFORE}",
                (orjson.dumps(values).decode(),),
            ).fetchall()
        ]
        writer = _Writer(connection, space, run=run, now=store.now())
        for row in rows:
            one = by_id.get(row.remote_id or 0)
            claim = row.unsettled(Claim.DRIFT, row.content, row.date, is_current=True)
            if one is None:
                judgement = Judgement(Verdict.DROPPED)
                settled.append(writer.write(row, claim, judgement, is_dead=True))
                continue
            differences = tuple(space.differences(claim.content, one))
            if differences and not row.has_problem:
                settled.append(writer.write(row, claim, Judgement(Verdict.DIFFERS, one, differences)))
            elif not differences and row.has_problem:
                settled.append(writer.write(row, claim, Judgement(Verdict.CONFIRMED, one)))
        if free := Sights(seen, owned_ids(connection, list(by_id))).free():
            settled += writer.list_twins(free)
    return [row.n for row in rows if row.remote_id in by_id], settled


def settle_unneeded(connection: Connection, space: Space, n: int, run: int, now: float) -> Settled:
    """Settle a contact of which everything was seen applied before, so that there is nothing to send."""
    row = Row(
        connection.execute(
            f"SELECT {UNSETTLED}, c.accepted_run FROM contacts c {WITH_INTENT} WHERE c.n = ?", (n,)
        ).fetchone()
    )
    claim = row.unsettled(Claim.UNNEEDED, row.content, now, is_current=True)
    return _Writer(connection, space, run=run, now=now).write(row, claim, Judgement(Verdict.CONFIRMED))


def has_answers(content: Mapping[str, Any]) -> bool:
    """Say whether a contact answers forms."""
    return any(isinstance(value, list) and value and "value" in value[0] for value in content.values())
