"""plan: what a sync would do now, and when it would end. Sends nothing, changes nothing.

The source is gathered by the very code of a load, into a scratch database with the state store attached
read-only; the plan is then read from what is due there and what the load would change.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.parse import quote

import orjson
from sqlite_utils import Database

from syncengine.config import Settings
from syncengine.hashing import HASH_VERSION
from syncengine.identity import IdentityClass
from syncengine.load import LoadReport, OpenedSource, batches, finish_staging, open_mapped, refuse_file, stage
from syncengine.outcome import NOT_FOUND_AGAIN
from syncengine.preflight import held_classes, is_mass_change
from syncengine.problems import MAY_HAVE_BEEN_CREATED, NO_LONGER
from syncengine.store.driver import Connection, open_for_reading, sqlite3, translating
from syncengine.store.file import create
from syncengine.store.loading import rows_of_last_load
from syncengine.store.lock import is_locked
from syncengine.store.schema import DUE, MAY_BE_SENT, STAGING, WEAKEST, migrations
from syncengine.store.staging import Staging
from syncengine.store.views import accepted_total, differing_fields

PAGE_ROWS = 2000


@dataclass(slots=True)
class Plan:
    """What a sync would do. Counts are contacts; `tokens` and `seconds` at the configured rate.

    `fields`: how many updates change each field; `holds`: how many are held for each reason; `stops`: the
    guard that would stop the sync before sending, None without one.
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
            "load": self.load.as_json() if self.load else None,
        }


def make_plan(settings: Settings, *, load: bool = True, now: float) -> Plan:
    """Plan a sync. `load`: as if the source (when one is configured) were loaded first.

    Raises ConfigError, SourceError (as the load would) or StoreError.
    """
    plan = Plan()
    with _scratch(settings) as connection:
        if load and settings.source is not None:
            plan.load = _gather(connection, open_mapped(settings))
        classes = held_classes(settings.identity)
        again = 0
        for row in _due_after_load(connection, is_running=is_locked(settings.state.path)):
            again += _count(plan, row, classes)
        if is_mass_change(
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
    """A contact that would be due: what the holds and the changed fields depend on."""

    identity: IdentityClass
    content: bytes
    before: bytes | None
    was_accepted: bool
    is_missing: bool
    is_in_doubt: bool
    doubted: IdentityClass | None
    is_released: bool


def _count(plan: Plan, due: _Due, classes: dict[IdentityClass, str]) -> bool:
    """Count one due contact; say whether it was accepted before and would be sent again."""
    reason = _hold_reason(due, classes)
    if reason is not None:
        plan.held += 1
        plan.holds[reason] += 1
    elif due.was_accepted:
        plan.updates += 1
        if due.before is not None:
            plan.fields.update(differing_fields(orjson.loads(due.before), orjson.loads(due.content)))
        return True
    else:
        plan.creates += 1
    return False


def _hold_reason(due: _Due, classes: dict[IdentityClass, str]) -> str | None:
    if due.is_released:
        return None
    if due.is_missing:
        return NO_LONGER
    if due.is_in_doubt and (due.identity in NOT_FOUND_AGAIN or due.doubted in NOT_FOUND_AGAIN):
        return MAY_HAVE_BEEN_CREATED
    return classes.get(due.identity)


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


def _due_after_load(connection: Connection, *, is_running: bool) -> Iterator[_Due]:
    """Yield what would be due: staged rows that differ from the accepted content, and the rest of the due.

    Intents that a killed run left open will be in doubt once a sync has opened the store.
    """
    killed_with_it = "0" if is_running else f"c.n IN (SELECT n FROM ({MAY_BE_SENT}))"
    in_doubt = f"(c.in_doubt = 1 OR {killed_with_it})"
    doubted = "(SELECT unknown_identity FROM intents i WHERE i.n = c.n)"
    if not is_running:
        doubted = (
            f"(SELECT CASE WHEN open = 1 THEN {WEAKEST} ELSE unknown_identity END "
            "FROM intents i WHERE i.n = c.n)"
        )
    staged = (
        "SELECT s.n, s.identity, s.content, c.accepted_hash, c.accepted, c.content, c.content_hash, 0, "
        f"{in_doubt}, 0, c.remote_id, c.accepted_at, {doubted} "
        "FROM staged s LEFT JOIN contacts c ON c.n = s.contact "
        f"WHERE s.n > ? AND (c.accepted_hash IS NOT s.content_hash OR {in_doubt}) ORDER BY s.n LIMIT ?"
    )
    stored = (
        "SELECT c.key, c.identity, c.content, c.accepted_hash, c.accepted, c.content, c.content_hash, "
        "coalesce((SELECT p.missing FROM presence p WHERE p.n = c.n), c.missing), "
        f"{in_doubt}, c.released_hash IS c.content_hash AND NOT ({killed_with_it}), c.remote_id, "
        f"c.accepted_at, {doubted} FROM contacts c "
        "WHERE {} AND c.key > ? "
        "AND NOT EXISTS (SELECT 1 FROM staged s WHERE s.contact IS NOT NULL AND s.key = c.key) "
        "ORDER BY c.key LIMIT ?"
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
    remote_id, accepted_at, doubted = row[10:]
    before = stored if accepted_hash is not None and accepted_hash == stored_hash else accepted
    return _Due(
        identity=IdentityClass.CONFIRMED if remote_id is not None else IdentityClass(identity),
        content=content,
        before=before,
        was_accepted=accepted_at is not None,
        is_missing=bool(missing),
        is_in_doubt=bool(in_doubt),
        doubted=None if doubted is None else IdentityClass(doubted),
        is_released=bool(released),
    )


@contextmanager
def _scratch(settings: Settings) -> Iterator[Connection]:
    """Open a scratch database that nobody else sees and that is gone when it is closed, however that is.

    With a state store its tables are read through it; without one, it holds empty ones. It lies beside the
    store, because it holds the same people's data.
    """
    path = settings.state.path
    if path.exists():
        open_for_reading(path).close()  # is it a state store?
    connection = _open_scratch(path.with_name(f"{path.name}.plan-{token_hex(8)}"))
    try:
        with translating(path):
            if path.exists():
                connection.execute("ATTACH ? AS state", (f"file:{quote(str(path.absolute()))}?mode=ro",))
                for statement in STAGING:
                    connection.execute(statement)
            else:
                migrations.apply(Database(connection, execute_plugins=False, recursive_triggers=False))
                connection.execute(
                    "INSERT INTO space (only, secret, hash_version) VALUES (1, zeroblob(32), ?)",
                    (HASH_VERSION,),
                )
            yield connection
    finally:
        connection.close()


def _open_scratch(path: Path) -> Connection:
    """Open a new file and take its name away."""
    create(path)
    try:
        with translating(path):
            connection = sqlite3.connect(
                f"file:{quote(str(path.absolute()))}?mode=rw", uri=True, isolation_level=None
            )
            try:
                connection.execute("PRAGMA journal_mode = OFF").fetchone()
                connection.execute("PRAGMA temp_store = MEMORY")
                connection.execute("PRAGMA synchronous = OFF")
                connection.execute("CREATE TABLE opened (x)")  # the file is there before its name goes
                connection.execute("DROP TABLE opened")
            except BaseException:
                connection.close()
                raise
    finally:
        path.unlink()
    return connection
