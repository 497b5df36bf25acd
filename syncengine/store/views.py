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
from syncengine.partial import kept
from syncengine.problems import remedy
from syncengine.store.driver import Connection, open_for_reading, translating
from syncengine.store.lock import is_locked
from syncengine.store.schema import CONFIRMED, DUE, OPEN_PROBLEM, STATE
from syncengine.store.store import journal_in_use

PAGE_ROWS = 2000
RUNS_LOOKED_AT = 100
"""Runs among which the last one is looked for that compared anybody."""

_STORED = (
    "n", "content", "content_hash", "accepted", "accepted_hash", "applied", "applied_hash", "confirmed_hash",
    "confirmed_at", "remote_id", "loaded_at", "changed_at", "accepted_at", "missing", "in_doubt", "awaiting",
    "problem", "problem_reason", "problem_detail", "problem_facts", "problem_since",
)  # fmt: skip


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
        "SELECT id, kind, pid, started, progress FROM runs WHERE ended IS NULL ORDER BY id DESC LIMIT 1"
    ).fetchone()
    if row is None or not is_locked(path):
        return None
    progress = orjson.loads(row[4]) if row[4] else {}
    blank = {"sent": 0, "remaining": None, "rate": 0.0, "finish_at": None}
    return {"run": row[0], "kind": row[1], "pid": row[2], "started": row[3], **blank, **progress}


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
        columns = ("run", "kind", "outcome", "reason", "exit", "started", "ended", "report")
        rows = connection.execute(
            "SELECT id, kind, outcome, reason, exit, started, ended, report FROM runs "
            "ORDER BY id DESC LIMIT ?",
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
    """Return the open problems: `{key, state, reason, remedy, since, facts}`, refused rows with their `line`.

    `keys` and `reason` (its beginning) select. `values` adds content, detail, and values to the facts.
    """
    wanted = frozenset(map(canonical_key, keys))
    found = []
    shown = "problem_detail, content" if values else "NULL, NULL"
    rows = connection.execute(
        f"SELECT key, problem, problem_reason, problem_since, problem_facts, {shown} FROM contacts "
        f"WHERE {OPEN_PROBLEM} ORDER BY problem, problem_reason, key"
    )
    for key, state, why, since, told, detail, content in rows.fetchall():
        if _is_selected(key, why, wanted, reason):
            problem = {
                "key": key,
                "state": state,
                "reason": why,
                "remedy": remedy(state, why),
                "since": since,
                "facts": facts(told, values=values),
            }
            if values:
                problem |= {"detail": detail, "content": orjson.loads(content)}
            found.append(problem)
    rows = connection.execute("SELECT key, line, column_name, reason, since FROM refused ORDER BY line")
    for key, line, column, why, since in rows.fetchall():
        if _is_selected(key, why, wanted, reason):
            found.append(
                {
                    "key": key,
                    "state": "refused",
                    "reason": why,
                    "remedy": remedy("refused", why),
                    "since": since,
                    "facts": {},
                    "line": line,
                    "column": column,
                }
            )
    return found


def facts(stored: str | None, *, values: bool) -> dict[str, Any]:
    """Return what there is to tell of a problem: `{keys, more, ids, fields}`, each where there is any.

    `fields`: `[{field}]`; with `values` also what was `sent` and `seen`, and `hint` or `hints`.
    """
    told: dict[str, Any] = orjson.loads(stored) if stored else {}
    if values:
        return told
    shown: dict[str, Any] = {name: told[name] for name in ("keys", "more", "ids") if name in told}
    if "fields" in told:
        shown["fields"] = [{"field": one["field"]} for one in told["fields"]]
    return shown


def findings(connection: Connection) -> list[dict[str, Any]]:
    """Return the findings about whole fields of the last ended run that compared anybody with Qomon."""
    rows = connection.execute(
        "SELECT report FROM runs WHERE ended IS NOT NULL AND report IS NOT NULL ORDER BY id DESC LIMIT ?",
        (RUNS_LOOKED_AT,),
    )
    for (stored,) in rows.fetchall():
        report = orjson.loads(stored)
        counts = (report, report.get("earlier") or {})
        if any(count.get(verdict) for count in counts for verdict in ("confirmed", "differs")):
            found: list[dict[str, Any]] = report.get("findings") or []
            return found
    return []


def _is_selected(key: str | None, why: str, keys: frozenset[str], reason: str | None) -> bool:
    return (not keys or key in keys) and (reason is None or why.startswith(reason))


def explain(connection: Connection, key: str, path: Path) -> dict[str, Any] | None:
    """Return everything known of one contact, None when the store has no such key.

    `{key, state, content, accepted, confirmed, id, changed_fields, kept, facts, events[], …}`. `confirmed`:
    what of ours Qomon was last seen to hold; `kept`: what of that the source took away and Qomon still has;
    `facts`: of the open problem. Times are Unix seconds.
    """
    key = canonical_key(key)
    running = running_run(connection, path)
    found = connection.execute(
        f"SELECT {', '.join(_STORED)}, {STATE}, {OPEN_PROBLEM} FROM contacts WHERE key = :key",
        {"key": key, "running": running["run"] if running else None},
    ).fetchone()
    refused = _refused(connection, key)
    if found is None:
        return _of_rows_alone(key, refused) if refused else None
    row = dict(zip(_STORED, found, strict=False))
    state, is_open = found[len(_STORED) :]
    content = orjson.loads(row["content"])
    accepted = _payload(row, "accepted", content)
    applied = _payload(row, "applied", content)
    is_confirmed = row["confirmed_hash"] == row["content_hash"]
    confirmed = content if is_confirmed else applied
    events = [*refused, {"at": row["loaded_at"], "event": "first loaded"}]
    if row["changed_at"] != row["loaded_at"]:
        events.append({"at": row["changed_at"], "event": "content changed"})
    events += _sends(connection, row["n"])
    if row["confirmed_at"] is not None:
        _add(events, {"at": row["confirmed_at"], "event": "confirmed"})
    if is_open:
        _add(events, _problem(row))
    return {
        "key": key,
        "state": state,
        "content": content,
        "accepted": accepted,
        "accepted_at": row["accepted_at"],
        "confirmed": None if row["confirmed_hash"] is None else confirmed,
        "confirmed_at": row["confirmed_at"],
        "id": row["remote_id"],
        "changed_fields": sorted(differing_fields(accepted or {}, content)),
        "kept": kept(applied or {}, content, lambda *_: True) if is_confirmed else {},
        "facts": facts(row["problem_facts"], values=True) if is_open else {},
        "missing": bool(row["missing"]),
        "in_doubt": bool(row["in_doubt"]),
        "awaiting": bool(row["awaiting"]),
        "events": sorted(events, key=lambda event: event["at"]),
    }


def _of_rows_alone(key: str, refused: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the story of a key of which no row was ever loaded."""
    blank = dict.fromkeys(("content", "accepted", "confirmed", "id"))
    return {
        "key": key,
        "state": "refused",
        **blank,
        "changed_fields": [],
        "kept": {},
        "facts": {},
        "events": refused,
    }


def _refused(connection: Connection, key: str) -> list[dict[str, Any]]:
    rows = connection.execute(
        "SELECT line, column_name, reason, since FROM refused WHERE key = ? ORDER BY line", (key,)
    ).fetchall()
    return [
        {
            "at": since,
            "event": "row refused",
            "line": line,
            "column": column,
            "reason": reason,
            "remedy": remedy("refused", reason),
        }
        for line, column, reason, since in rows
    ]


def _payload(row: Mapping[str, Any], name: str, content: Mapping[str, Any]) -> Any:
    """Return the accepted or the applied payload, None when there is none."""
    digest = row[f"{name}_hash"]
    if digest is None:
        return None
    return content if digest == row["content_hash"] else orjson.loads(row[name] or b"null")


def _problem(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "at": row["problem_since"],
        "event": row["problem"],
        "reason": row["problem_reason"],
        "detail": row["problem_detail"],
        "remedy": remedy(row["problem"], row["problem_reason"]),
    }


def _add(events: list[dict[str, Any]], event: dict[str, Any]) -> None:
    """Add an event, to the receipt of the same moment where there is one."""
    place = event["at"], event["event"]
    known = next((one for one in events if (one["at"], one["event"]) == place), None)
    if known is None:
        events.append(event)
    else:
        known.update(event)


def _sends(connection: Connection, n: int) -> list[dict[str, Any]]:
    """Return attempts and receipts, and what became of a contact by hand (run 0)."""
    events = [
        {"at": at, "event": f"attempt: {result}", "run": run, "status": status, "reason": detail}
        for at, result, run, status, detail in connection.execute(
            "SELECT at, result, run, status, detail FROM attempts WHERE n = ? ORDER BY id", (n,)
        ).fetchall()
    ]
    events += [
        {"at": at, "event": result, "run": run, "status": status, "reason": detail}
        for at, result, run, status, detail in connection.execute(
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
