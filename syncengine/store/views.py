"""What people ask of the store: status, problems, one contact's story, changed fields. Reads only.

Functions of a reading connection (`open_for_reading`); each fetches all it needs and keeps nothing open.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from syncengine.hashing import canonical_key
from syncengine.problems import remedy
from syncengine.store.driver import Connection, open_for_reading, translating
from syncengine.store.lock import is_locked
from syncengine.store.schema import CONFIRMED, DUE, OPEN_PROBLEM, STATE
from syncengine.store.store import journal_in_use

PAGE_ROWS = 2000


@contextmanager
def reading(path: Path) -> Iterator[Connection]:
    """Open the store for reading. Raises StoreError when there is none or it is damaged."""
    connection = open_for_reading(path)
    try:
        with translating(path):
            yield connection
    finally:
        connection.close()


def running_run(connection: Connection, path: Path) -> dict[str, Any] | None:
    """Return the run in progress, None when there is none (a dead run holds no lock)."""
    row = connection.execute(
        "SELECT id, pid, started, progress FROM runs WHERE ended IS NULL ORDER BY id DESC LIMIT 1"
    ).fetchone()
    if row is None or not is_locked(path):
        return None
    progress = orjson.loads(row[3]) if row[3] else {}
    blank = {"sent": 0, "remaining": None, "rate": 0.0, "finish_at": None}
    return {"run": row[0], "pid": row[1], "started": row[2], **blank, **progress}


def count_states(connection: Connection, running: int | None) -> dict[str, int]:
    """Return contacts by state, from the indexes alone."""

    def count(condition: str) -> int:
        return int(
            connection.execute(
                f"SELECT count(*) FROM contacts WHERE {condition}",
                {"running": running},
            ).fetchone()[0]
        )

    in_flight = "n IN (SELECT n FROM intents WHERE run = :running AND open = 1)"
    states = {"in_flight": count(in_flight)}
    states |= dict(
        connection.execute(
            f"SELECT problem, count(*) FROM contacts WHERE {OPEN_PROBLEM} "
            f"AND NOT {in_flight} GROUP BY problem",
            {"running": running},
        ).fetchall()
    )
    states["changed"] = count(DUE) - count(f"{DUE} AND {in_flight}")
    states["confirmed"] = count(CONFIRMED) - count(f"{CONFIRMED} AND {in_flight}")
    total = int(connection.execute("SELECT count(*) FROM contacts").fetchone()[0])
    states["accepted"] = total - sum(states.values())
    return {state: number for state, number in states.items() if number}


def status(path: Path, *, runs: int = 10) -> dict[str, Any]:
    """Return the object of `status --json`. Times are Unix seconds."""
    with reading(path) as connection:
        running = running_run(connection, path)
        number = running["run"] if running else None
        columns = ("run", "outcome", "reason", "exit", "started", "ended", "report")
        rows = connection.execute(
            "SELECT id, outcome, reason, exit, started, ended, report FROM runs ORDER BY id DESC LIMIT ?",
            (runs,),
        ).fetchall()
        ended = []
        for row in rows:
            run = dict(zip(columns, row, strict=True))
            if run["run"] == number:
                continue
            if run["ended"] is None:
                run |= {"outcome": "interrupted", "reason": "killed"}
            report = run.pop("report")
            ended.append(run | ({"report": orjson.loads(report)} if report else {}))
        load = connection.execute(
            "SELECT state, ended, counts FROM loads ORDER BY id DESC LIMIT 1"
        ).fetchone()
        return {
            "contacts": count_states(connection, number),
            "missing": connection.execute("SELECT count(*) FROM contacts WHERE missing = 1").fetchone()[0],
            "problems_open": count_problems(connection),
            "running": running,
            "runs": ended,
            "last_load": _load(load, is_dead=load is not None and not is_locked(path)),
            "store": {"path": str(path), **journal_in_use(connection)},
        }


def _load(load: tuple[Any, ...] | None, *, is_dead: bool) -> dict[str, Any] | None:
    """Return the last load. One that nobody works on any more was interrupted, or awaits its end."""
    if load is None:
        return None
    state = "interrupted" if is_dead and load[0] == "staging" else load[0]
    return {"state": state, "ended": load[1], **(orjson.loads(load[2]) if load[2] else {})}


def accepted_total(connection: Connection) -> int:
    """Return how many contacts were ever accepted: all, less those due or with a problem that never were."""
    total = connection.execute("SELECT count(*) FROM contacts").fetchone()[0]
    for condition in (DUE, OPEN_PROBLEM):
        total -= connection.execute(
            f"SELECT count(*) - count(accepted_at) FROM contacts WHERE {condition}"
        ).fetchone()[0]
    return int(total)


def count_problems(connection: Connection) -> int:
    """Return how many problems are open: contacts and refused rows."""
    contacts = connection.execute(f"SELECT count(*) FROM contacts WHERE {OPEN_PROBLEM}").fetchone()[0]
    return int(contacts + connection.execute("SELECT count(*) FROM refused").fetchone()[0])


def problems(
    connection: Connection, *, keys: tuple[str, ...] = (), reason: str | None = None, values: bool = False
) -> list[dict[str, Any]]:
    """Return the open problems: `{key, state, reason, remedy, since}`, refused rows with their `line`.

    `keys` and `reason` (its beginning) select. `values` adds content and detail.
    """
    keys = tuple(map(canonical_key, keys))
    found = []
    shown = "problem_detail, content" if values else "NULL, NULL"
    rows = connection.execute(
        f"SELECT key, problem, problem_reason, problem_since, {shown} FROM contacts "
        f"WHERE {OPEN_PROBLEM} ORDER BY problem, problem_reason, key"
    )
    for key, state, why, since, detail, content in rows.fetchall():
        if _is_selected(key, why, keys, reason):
            problem = {
                "key": key,
                "state": state,
                "reason": why,
                "remedy": remedy(state, why),
                "since": since,
            }
            if values:
                problem |= {"detail": detail, "content": orjson.loads(content)}
            found.append(problem)
    rows = connection.execute("SELECT key, line, column_name, reason, since FROM refused ORDER BY line")
    for key, line, column, why, since in rows.fetchall():
        if _is_selected(key, why, keys, reason):
            found.append(
                {
                    "key": key,
                    "state": "refused",
                    "reason": why,
                    "remedy": remedy("refused", why),
                    "since": since,
                    "line": line,
                    "column": column,
                }
            )
    return found


def _is_selected(key: str | None, why: str, keys: tuple[str, ...], reason: str | None) -> bool:
    return (not keys or key in keys) and (reason is None or why.startswith(reason))


def explain(connection: Connection, key: str, path: Path) -> dict[str, Any] | None:
    """Return everything known of one contact, None when the store has no such key.

    `{key, state, content, accepted, confirmed, id, changed_fields, events[], …}`.
    """
    key = canonical_key(key)
    running = running_run(connection, path)
    row = connection.execute(
        f"SELECT n, {STATE}, content, accepted, accepted_hash, content_hash, applied, confirmed_hash, "
        "remote_id, loaded_at, changed_at, accepted_at, missing, in_doubt, problem, problem_reason, "
        f"problem_detail, problem_since, {OPEN_PROBLEM} FROM contacts WHERE key = :key",
        {"key": key, "running": running["run"] if running else None},
    ).fetchone()
    refused = connection.execute(
        "SELECT line, column_name, reason, since FROM refused WHERE key = ? ORDER BY line", (key,)
    ).fetchall()
    events = [
        {"at": since, "event": "row refused", "line": line, "column": column, "reason": reason}
        for line, column, reason, since in refused
    ]
    if row is None:
        if not events:
            return None
        return {
            "key": key,
            "state": "refused",
            "content": None,
            "accepted": None,
            "confirmed": None,
            "id": None,
            "changed_fields": [],
            "events": events,
        }
    (
        n,
        state,
        content,
        accepted,
        accepted_hash,
        content_hash,
        applied,
        confirmed_hash,
        remote_id,
        loaded_at,
        changed_at,
        accepted_at,
        missing,
        in_doubt,
        problem,
        reason,
        detail,
        since,
        is_open,
    ) = row
    now = orjson.loads(content)
    before = _payload(accepted, accepted_hash, content_hash, now)
    events.append({"at": loaded_at, "event": "first loaded"})
    if changed_at != loaded_at:
        events.append({"at": changed_at, "event": "content changed"})
    events += _sends(connection, n)
    if is_open:
        events.append(
            {
                "at": since,
                "event": problem,
                "reason": reason,
                "detail": detail,
                "remedy": remedy(problem, reason),
            }
        )
    return {
        "key": key,
        "state": state,
        "content": now,
        "accepted": before,
        "accepted_at": accepted_at,
        "confirmed": _payload(applied, confirmed_hash, content_hash, now),
        "id": remote_id,
        "changed_fields": sorted(differing_fields(before or {}, now)),
        "missing": bool(missing),
        "in_doubt": bool(in_doubt),
        "events": sorted(events, key=lambda event: event["at"]),
    }


def _payload(
    stored: bytes | None, stored_hash: bytes | None, content_hash: bytes, now: Mapping[str, Any]
) -> Any:
    if stored_hash is None:
        return None
    return now if stored_hash == content_hash else orjson.loads(stored or b"null")


def _sends(connection: Connection, n: int) -> list[dict[str, Any]]:
    events = [
        {"at": at, "event": f"attempt: {result}", "run": run, "status": status_, "reason": detail}
        for at, result, run, status_, detail in connection.execute(
            "SELECT at, result, run, status, detail FROM attempts WHERE n = ? ORDER BY id", (n,)
        ).fetchall()
    ]
    events += [
        {"at": at, "event": result, "run": run, "status": status_, "reason": detail}
        for at, result, run, status_, detail in connection.execute(
            "SELECT at, result, run, status, detail FROM receipts WHERE n = ? ORDER BY id", (n,)
        ).fetchall()
    ]
    events += [
        {"at": at, "event": "intent", "run": run, "reason": "no definite answer yet"}
        for at, run in connection.execute("SELECT at, run FROM intents WHERE n = ?", (n,)).fetchall()
    ]
    return events


def changed_fields(connection: Connection) -> dict[str, int]:
    """Return how many due contacts accepted before differ in each field, most frequent first."""
    counts: Counter[str] = Counter()
    after = ""
    while page := connection.execute(
        f"SELECT key, content, accepted FROM contacts WHERE {DUE} AND accepted_at IS NOT NULL "
        "AND key > ? ORDER BY key LIMIT ?",
        (after, PAGE_ROWS),
    ).fetchall():
        after = page[-1][0]
        for _, content, accepted in page:
            if accepted is not None:
                counts.update(differing_fields(orjson.loads(accepted), orjson.loads(content)))
    return dict(counts.most_common())


def differing_fields(before: Mapping[str, Any], after: Mapping[str, Any]) -> set[str]:
    """Return the names of fields that differ; address parts as `address.city`, answers as `kind.label`."""
    one, other = _flat(before), _flat(after)
    return {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)}


def _flat(contact: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in contact.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}.{part}": inner for part, inner in value.items()}
        elif isinstance(value, list) and value and "value" in value[0]:
            for answer in value:
                label = answer["label"] if "label" in answer else f"#{answer['id']}"
                flat.setdefault(f"{name}.{label}", []).append(answer["value"])
        else:
            flat[name] = value
    return flat
