"""plan: what a sync would do now, and when it would end. Sends nothing, changes nothing.

The source is gathered by the very code of a load, into a scratch database with the state store attached
read-only; the plan is then read from what is due there and what the load would change.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import orjson

from syncengine.collisions import names_another
from syncengine.config import Settings
from syncengine.identity import IdentityClass
from syncengine.load import LoadReport, OpenedSource, batches, finish_staging, open_mapped, refuse_file, stage
from syncengine.outcome import NEVER_FOUND
from syncengine.preflight import have_keys_moved, held_classes, is_mass_change
from syncengine.problems import (
    COLLIDES,
    DEAD_ID,
    MAY_HAVE_BEEN_CREATED,
    MOVED_KEY,
    NO_LONGER,
    WOULD_BE_DROPPED,
)
from syncengine.qomon.faults import Faults
from syncengine.qomon.forms import Forms, forms_from_json
from syncengine.store.checking import Collisions, Suspect
from syncengine.store.driver import Connection
from syncengine.store.forms import kept_forms
from syncengine.store.loading import rows_of_last_load
from syncengine.store.lock import is_locked
from syncengine.store.schema import DUE, MAY_BE_SENT, WEAKEST
from syncengine.store.scratch import scratch
from syncengine.store.staging import Staging
from syncengine.store.views import accepted_total, differing_fields

PAGE_ROWS = 2000
LOOKED_AT = 10_000
"""Contacts of which it is found out together whether they collide with others."""

_NOT_STAGED = "NOT EXISTS (SELECT 1 FROM staged s WHERE s.contact IS NOT NULL AND s.key = c.key)"


@dataclass(slots=True)
class Plan:
    """What a sync would do. Counts are contacts; `tokens` and `seconds` at the configured rate.

    `fields`: how many updates change each field; `holds`: how many are held for each reason; `stops`: the
    guard that would stop the sync before sending, None without one. `forms`: by which forms answers were
    checked: `read` now, `kept` by a sync at `forms_at` (Unix time), or `unknown`; None without answers.
    """

    creates: int = 0
    updates: int = 0
    held: int = 0
    tokens: int = 0
    seconds: float = 0.0
    finish_at: float = 0.0
    stops: str | None = None
    fields: Counter[str] = field(default_factory=Counter)
    holds: Counter[str] = field(default_factory=Counter)
    load: LoadReport | None = None
    forms: str | None = None
    forms_at: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the object of `plan --json`. `finish_at`: Unix time."""
        return {
            "selected": self.creates + self.updates + self.held,
            "creates": self.creates,
            "updates": self.updates,
            "held": self.held,
            "tokens": self.tokens,
            "seconds": round(self.seconds, 1),
            "finish_at": self.finish_at,
            "fields": dict(self.fields.most_common()),
            "holds": dict(self.holds.most_common()),
            "stops": self.stops,
            "forms": self.forms,
            "forms_at": self.forms_at,
            "load": self.load.as_json() if self.load else None,
        }


def make_plan(
    settings: Settings,
    *,
    load: bool = True,
    now: float,
    read_forms: Callable[[], Forms | None] = lambda: None,
) -> Plan:
    """Plan a sync. `load`: as if the source (when one is configured) were loaded first.

    `read_forms`: reads the space's forms, asked once when somebody answers one; None when it cannot: then
    those the last sync read count.

    Raises ConfigError, SourceError (as the load would) or StoreError.
    """
    plan = Plan()
    with scratch(settings.state.path) as connection:
        if load and settings.source is not None:
            plan.load = _gather(connection, open_mapped(settings))
        is_running = is_locked(settings.state.path)
        collisions = Collisions(
            connection, settings.identity.collisions, people=_everybody_after_load(connection, is_running)
        )
        due = _due_after_load(connection, is_running=is_running)
        again = 0
        classes = held_classes(settings.identity)
        answers = _Answers(connection, plan, read_forms)
        while page := list(islice(due, LOOKED_AT)):
            again += _count(plan, page, classes, collisions, answers)
        if _have_keys_moved(connection, plan.holds[MOVED_KEY]) or is_mass_change(
            again=again, accepted=accepted_total(connection), max_share=settings.run.max_changed_share
        ):
            plan.stops = "mass_change"
    wanted = settings.destination
    plan.tokens = plan.creates + plan.updates
    if settings.run.max_writes:
        plan.tokens = min(plan.tokens, settings.run.max_writes)
    plan.seconds = max(0.0, plan.tokens - wanted.burst * wanted.share) / (wanted.rate * wanted.share)
    plan.finish_at = now + plan.seconds
    return plan


@dataclass(frozen=True, slots=True)
class _Due:
    """A contact that would be due: what the holds and the changed fields depend on.

    `before`: what was last accepted; `known`: what was last seen applied, else `before`.
    """

    suspect: Suspect = field(repr=False)
    identity: IdentityClass
    content: bytes = field(repr=False)
    before: bytes | None = field(repr=False)
    known: bytes | None = field(repr=False)
    was_accepted: bool
    is_missing: bool
    is_in_doubt: bool
    doubted: IdentityClass | None
    is_released: bool
    has_dead_id: bool


class _Answers:
    """Whom the space would drop for an answer, by its forms: read now, else those that were kept."""

    def __init__(self, connection: Connection, plan: Plan, read_forms: Callable[[], Forms | None]) -> None:
        self._connection = connection
        self._plan = plan
        self._read_forms = read_forms
        self._faults: Faults | None = None

    def reason(self, content: bytes) -> str | None:
        """Return why a contact would be held for its answers, None when it would not, or nobody knows."""
        if b'"value":' not in content:
            return None
        if self._plan.forms is None:
            self._faults = self._read()
        if self._faults is None:
            return None
        found = self._faults.of(orjson.loads(content))
        return f"{WOULD_BE_DROPPED}: {found[0].reason}" if found else None

    def _read(self) -> Faults | None:
        forms = self._read_forms()
        if forms is not None:
            self._plan.forms = "read"
            return Faults(forms)
        kept = kept_forms(self._connection)
        if kept is None:
            self._plan.forms = "unknown"
            return None
        self._plan.forms, self._plan.forms_at = "kept", kept[1]
        return Faults(forms_from_json(kept[0].content))


def _count(
    plan: Plan,
    page: list[_Due],
    classes: dict[IdentityClass, str],
    collisions: Collisions,
    answers: _Answers,
) -> int:
    """Count due contacts; return how many were accepted before and would be sent again.

    A sync looks for a mass change before it holds those about whom reading may say more.
    """
    reasons = [_hold_reason(due, classes) for due in page]
    colliding = collisions.held(
        due.suspect
        for due, reason in zip(page, reasons, strict=True)
        if reason is None and due.identity is not IdentityClass.CONFIRMED and not due.is_released
    )
    again = 0
    for due, early in zip(page, reasons, strict=True):
        reason = early
        if early is None:
            again += due.was_accepted
            reason = COLLIDES if due.suspect.key in colliding else _claim_reason(due, classes)
            if reason is None and not due.is_released:
                reason = answers.reason(due.content)
        if reason is not None:
            plan.held += 1
            plan.holds[reason] += 1
        elif due.was_accepted:
            plan.updates += 1
            if due.before is not None:
                plan.fields.update(differing_fields(orjson.loads(due.before), orjson.loads(due.content)))
        else:
            plan.creates += 1
    return again


def _hold_reason(due: _Due, classes: dict[IdentityClass, str]) -> str | None:
    """Return why a sync holds a contact whatever reading may show."""
    if due.is_released:
        return DEAD_ID if due.has_dead_id else None
    if due.is_missing:
        return NO_LONGER
    if due.is_in_doubt and (due.identity in NEVER_FOUND or due.doubted in NEVER_FOUND):
        return MAY_HAVE_BEEN_CREATED
    if due.has_dead_id:
        return DEAD_ID
    if due.identity is IdentityClass.CONFIRMED and due.known is not None:
        return MOVED_KEY if names_another(orjson.loads(due.known), orjson.loads(due.content)) else None
    return None if due.identity is IdentityClass.UNPROVEN else classes.get(due.identity)


def _claim_reason(due: _Due, classes: dict[IdentityClass, str]) -> str | None:
    """Return why a contact is held whose id the source claims, unless a read proves it."""
    is_claim = due.identity is IdentityClass.UNPROVEN and not due.is_released
    return classes.get(due.identity) if is_claim else None


def _have_keys_moved(connection: Connection, found: int) -> bool:
    """Say whether the keys of so many contacts name another person, with those held for it before."""
    before = connection.execute(
        "SELECT count(*) FROM contacts c WHERE problem_hash = content_hash AND problem = 'held' "
        f"AND problem_reason = ? AND {_NOT_STAGED}",
        (MOVED_KEY,),
    ).fetchone()[0]
    with_ids = connection.execute("SELECT count(*) FROM contacts WHERE remote_id IS NOT NULL").fetchone()[0]
    return have_keys_moved(moved=before + found, with_ids=with_ids)


def _gather(connection: Connection, opened: OpenedSource) -> LoadReport:
    report = LoadReport()
    secret = bytes(connection.execute("SELECT secret FROM space").fetchone()[0])
    tombstones = frozenset(bytes(row[0]) for row in connection.execute("SELECT digest FROM tombstones"))
    staging = Staging(connection, secret=secret, tombstones=tombstones)
    for rows, refusals, count in batches(opened):
        connection.execute("BEGIN")
        stage(staging, report, rows, refusals, count)
        connection.execute("COMMIT")
    finish_staging(staging, report, opened)
    refuse_file(report, opened, rows_of_last_load(connection), allow_shrink=False)
    return report


def _killed_with_it(is_running: bool) -> str:
    """Return the SQL condition of those that a killed run may have sent: in doubt once a sync has begun."""
    return "0" if is_running else f"c.n IN (SELECT n FROM ({MAY_BE_SENT}))"


def _everybody_after_load(connection: Connection, is_running: bool) -> tuple[str, str]:
    """Return who would be stored after the load, as `Collisions` asks for them."""
    for column in ("mail", "name"):
        connection.execute(f"CREATE INDEX staged_{column} ON staged ({column}) WHERE {column} <> ''")
    killed = _killed_with_it(is_running)
    has_id = "c.remote_id IS NOT NULL AS has_id"
    was_accepted = f"(c.accepted_at IS NOT NULL OR c.in_doubt = 1 OR {killed}) AS was_accepted"
    stored = (
        f"SELECT c.key, c.mail, c.name, c.content, {has_id}, {was_accepted}, "
        "coalesce((SELECT p.missing FROM presence p WHERE p.n = c.n), c.missing) = 1 "
        f"AND (c.released_hash IS NOT c.content_hash OR {killed}) AS is_gone "
        f"FROM contacts c WHERE {_NOT_STAGED}"
    )
    staged = (
        f"SELECT s.key, s.mail, s.name, s.content, {has_id}, {was_accepted}, 0 AS is_gone "
        "FROM staged s LEFT JOIN contacts c ON c.n = s.contact"
    )
    return stored, staged


def _due_after_load(connection: Connection, *, is_running: bool) -> Iterator[_Due]:
    """Yield what would be due: staged rows that differ from the accepted content, and the rest of the due.

    Intents that a killed run left open will be in doubt once a sync has opened the store.
    """
    killed_with_it = _killed_with_it(is_running)
    in_doubt = f"(c.in_doubt = 1 OR {killed_with_it})"
    doubted = "(SELECT unknown_identity FROM intents i WHERE i.n = c.n)"
    if not is_running:
        doubted = (
            f"(SELECT CASE WHEN open = 1 THEN {WEAKEST} ELSE unknown_identity END "
            "FROM intents i WHERE i.n = c.n)"
        )
    staged = (
        "SELECT s.n, s.identity, s.content, c.accepted_hash, c.accepted, c.content, c.content_hash, 0, "
        f"{in_doubt}, 0, c.remote_id, c.accepted_at, {doubted}, "
        "s.key, s.mail, s.name, c.applied, c.applied_hash, c.dead_id "
        "FROM staged s LEFT JOIN contacts c ON c.n = s.contact "
        f"WHERE s.n > ? AND (c.accepted_hash IS NOT s.content_hash OR {in_doubt}) ORDER BY s.n LIMIT ?"
    )
    stored = (
        "SELECT c.key, c.identity, c.content, c.accepted_hash, c.accepted, c.content, c.content_hash, "
        "coalesce((SELECT p.missing FROM presence p WHERE p.n = c.n), c.missing), "
        f"{in_doubt}, c.released_hash IS c.content_hash AND NOT ({killed_with_it}), c.remote_id, "
        f"c.accepted_at, {doubted}, c.key, c.mail, c.name, c.applied, c.applied_hash, c.dead_id "
        "FROM contacts c "
        f"WHERE {{}} AND c.key > ? AND {_NOT_STAGED} ORDER BY c.key LIMIT ?"
    )
    returned = (
        f"problem_hash = content_hash AND problem_reason = '{NO_LONGER}' "
        f"AND (accepted_hash IS NOT content_hash OR {in_doubt}) "
        "AND c.n IN (SELECT n FROM presence WHERE missing = 0)"
    )
    killed = (
        "problem_hash IS NOT content_hash AND accepted_hash IS content_hash AND in_doubt = 0 "
        f"AND {killed_with_it}"
    )
    starts: list[tuple[str, int | str]] = [
        (staged, 0),
        (stored.format(DUE), ""),
        (stored.format(returned), ""),
    ]
    if not is_running:
        starts.append((stored.format(killed), ""))
    for statement, start in starts:
        after = start
        while page := connection.execute(statement, (after, PAGE_ROWS)).fetchall():
            after = page[-1][0]
            for row in page:
                yield _due(row)


def _due(row: tuple[Any, ...]) -> _Due:
    _, identity, content, accepted_hash, accepted, stored, stored_hash, missing, in_doubt, released = row[:10]
    remote_id, accepted_at, doubted, key, mail, name, applied, applied_hash, dead_id = row[10:]
    before = stored if accepted_hash is not None and accepted_hash == stored_hash else accepted
    seen = stored if applied is None else applied
    return _Due(
        suspect=Suspect(key, mail, name),
        identity=IdentityClass.CONFIRMED if remote_id is not None else IdentityClass(identity),
        content=content,
        before=before,
        known=before if applied_hash is None else seen,
        was_accepted=accepted_at is not None,
        is_missing=bool(missing),
        is_in_doubt=bool(in_doubt),
        doubted=None if doubted is None else IdentityClass(doubted),
        is_released=bool(released),
        has_dead_id=bool(dead_id),
    )
