"""plan: what a sync would do now, and when it would end. Sends nothing, changes nothing.

The source is gathered by the very code of a load, into a scratch database with the state store attached
read-only; the plan is then read from what is due there and what the load would change.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

import orjson

from syncengine.collisions import Held, names_another
from syncengine.config import Settings
from syncengine.destination import CREATE_TOKENS
from syncengine.identity import IdentityClass
from syncengine.load import LoadReport, OpenedSource, batches, finish_staging, open_mapped, refuse_file, stage
from syncengine.outcome import NEVER_FOUND
from syncengine.preflight import have_keys_moved, held_classes, is_mass_change
from syncengine.problems import (
    AMBIGUOUS,
    COLLIDES,
    DEAD_ID,
    MAY_HAVE_BEEN_CREATED,
    MOVED_KEY,
    NO_LONGER,
    WOULD_BE_DROPPED,
)
from syncengine.qomon.faults import Faults
from syncengine.qomon.forms import Forms, forms_from_json
from syncengine.sections import IdentitySettings
from syncengine.store.checking import Collisions
from syncengine.store.counting import is_begun
from syncengine.store.driver import Connection
from syncengine.store.forms import kept_forms
from syncengine.store.gathered import NOT_STAGED, Due, due_after_load, everybody_after_load
from syncengine.store.loading import rows_of_last_load
from syncengine.store.lock import is_locked
from syncengine.store.probes import kept
from syncengine.store.scratch import scratch
from syncengine.store.staging import Staging
from syncengine.store.views import accepted_total, differing_fields

LOOKED_AT = 10_000
"""Contacts of which it is found out together whether they collide with others."""


@dataclass(slots=True)
class Plan:
    """What a sync would do. Counts are contacts; `tokens` and `seconds` at the configured rate.

    `alone`: of the creates, those that match nobody and cost more, unless a search finds them in Qomon.

    `fields`: how many updates change each field; `holds`: how many are held for each reason; `stops`: the
    guard that would stop the sync before sending, `mass_change` or `full_space`, None without one. `forms`:
    by which forms answers were checked: `read` now, `kept` by a sync at `forms_at` (Unix time), or `unknown`;
    None without answers. `space`: `counted` (`in_space` contacts) or `unknown`; None when no sync would ask.
    """

    creates: int = 0
    alone: int = 0
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
    space: str | None = None
    in_space: int | None = None

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
            "space": self.space,
            "in_space": self.in_space,
            "load": self.load.as_json() if self.load else None,
        }


def make_plan(
    settings: Settings,
    *,
    load: bool = True,
    now: float,
    read_forms: Callable[[], Forms | None] = lambda: None,
    count: Callable[[], int | None] = lambda: None,
) -> Plan:
    """Plan a sync. `load`: as if the source (when one is configured) were loaded first.

    `read_forms`: reads the space's forms, asked once when somebody answers one; None when it cannot: then
    those the last sync read count. `count`: returns how many contacts the space holds, None when it cannot;
    asked when the sync would ask.

    Raises ConfigError, SourceError (as the load would) or StoreError.
    """
    plan = Plan()
    with scratch(settings.state.path) as connection:
        if load and settings.source is not None:
            plan.load = _gather(connection, open_mapped(settings, kept(connection)))
        is_running = is_locked(settings.state.path)
        collisions = Collisions(
            connection, settings.identity.collisions, people=everybody_after_load(connection, is_running)
        )
        due = due_after_load(connection, is_running=is_running)
        again = looked_at = 0
        answers = _Answers(connection, plan, read_forms)
        while page := list(islice(due, LOOKED_AT)):
            counted = _count(plan, page, settings.identity, collisions, answers)
            again, looked_at = again + counted.again, looked_at + counted.all
        if _have_keys_moved(connection, plan.holds[MOVED_KEY]) or is_mass_change(
            again=again, accepted=accepted_total(connection), max_share=settings.run.max_changed_share
        ):
            plan.stops = "mass_change"
        elif _is_first(connection, settings) and (looked_at or _are_held_by_forms(connection)):
            _ask_whether_it_is_full(plan, count)
    wanted = settings.destination
    plan.tokens = _tokens(plan, settings.run.max_writes)
    plan.seconds = max(0.0, plan.tokens - wanted.burst * wanted.share) / (wanted.rate * wanted.share)
    plan.finish_at = now + plan.seconds
    return plan


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


class _LookedAt(NamedTuple):
    """Contacts that the store alone does not hold; of these, those that were accepted before."""

    all: int
    again: int


def _count(
    plan: Plan,
    page: list[Due],
    identity: IdentitySettings,
    collisions: Collisions,
    answers: _Answers,
) -> _LookedAt:
    """Count due contacts; return whom a sync reads about before it sends.

    A sync looks for a mass change before it holds those about whom reading may say more.
    """
    classes = held_classes(identity)
    reasons = [_hold_reason(due, classes) for due in page]
    colliding = collisions.held(
        due.suspect
        for due, reason in zip(page, reasons, strict=True)
        if reason is None and due.identity is not IdentityClass.CONFIRMED and not due.is_released
    )
    again = looked_at = 0
    for due, early in zip(page, reasons, strict=True):
        reason, is_alone = early, False
        if early is None:
            looked_at += 1
            again += due.was_accepted
            found = colliding.get(due.suspect.key)
            is_alone = _is_alone(due, found, identity)
            reason = COLLIDES if found and not is_alone else _claim_reason(due, classes)
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
            plan.alone += is_alone
    return _LookedAt(looked_at, again)


def _hold_reason(due: Due, classes: dict[IdentityClass, str]) -> str | None:
    """Return why a sync holds a contact whatever reading may show."""
    if due.is_released:
        return DEAD_ID if due.has_dead_id else None
    if due.is_missing:
        return NO_LONGER
    if due.is_in_doubt and (due.identity in NEVER_FOUND or due.doubted in NEVER_FOUND):
        return MAY_HAVE_BEEN_CREATED
    if due.has_dead_id:
        return DEAD_ID
    if due.is_ambiguous:
        return AMBIGUOUS
    if due.identity is IdentityClass.CONFIRMED and due.known is not None:
        return MOVED_KEY if names_another(orjson.loads(due.known), orjson.loads(due.content)) else None
    return None if due.identity is IdentityClass.UNPROVEN else classes.get(due.identity)


def _is_alone(due: Due, colliding: Held | None, identity: IdentitySettings) -> bool:
    """Say whether a contact is created as one of its own, unless a search finds it."""
    if due.was_accepted or due.is_released:
        return False
    if due.identity is IdentityClass.NONE:
        return identity.none == "create"
    return colliding is not None and not colliding.hint and identity.collisions == "create"


def _tokens(plan: Plan, max_writes: int) -> int:
    """Return what the writes cost; of few that may be sent, as much as they may cost."""
    writes = plan.creates + plan.updates
    if max_writes:
        writes = min(writes, max_writes)
    return writes + min(plan.alone, writes) * (int(CREATE_TOKENS) - 1)


def _claim_reason(due: Due, classes: dict[IdentityClass, str]) -> str | None:
    """Return why a contact is held whose id the source claims, unless a read proves it."""
    is_claim = due.identity is IdentityClass.UNPROVEN and not due.is_released
    return classes.get(due.identity) if is_claim else None


def _is_first(connection: Connection, settings: Settings) -> bool:
    """Say whether a sync refuses to send anything into a space that holds people."""
    return settings.identity.existing == "adopt" and not is_begun(connection)


def _are_held_by_forms(connection: Connection) -> bool:
    """Say whether somebody is held for an answer, so that a sync reads although nothing is due."""
    return bool(
        connection.execute(
            "SELECT EXISTS (SELECT 1 FROM contacts c WHERE problem_hash = content_hash AND problem = 'held' "
            f"AND substr(problem_reason, 1, ?) = ? AND {NOT_STAGED})",
            (len(WOULD_BE_DROPPED), WOULD_BE_DROPPED),
        ).fetchone()[0]
    )


def _ask_whether_it_is_full(plan: Plan, count: Callable[[], int | None]) -> None:
    plan.in_space = count()
    plan.space = "unknown" if plan.in_space is None else "counted"
    if plan.in_space:
        plan.stops = "full_space"


def _have_keys_moved(connection: Connection, found: int) -> bool:
    """Say whether the keys of so many contacts name another person, with those held for it before."""
    before = connection.execute(
        "SELECT count(*) FROM contacts c WHERE problem_hash = content_hash AND problem = 'held' "
        f"AND problem_reason = ? AND {NOT_STAGED}",
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
