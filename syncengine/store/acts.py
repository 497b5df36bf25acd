"""What a person does to single contacts: forget them for good, try problems again, release, rematch."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from syncengine.errors import StoreError
from syncengine.hashing import canonical, canonical_key, content_hash
from syncengine.identity import identify
from syncengine.partial import without
from syncengine.problems import DEAD_ID, UNPROVEN_ID
from syncengine.store.driver import Connection
from syncengine.store.file import real_path
from syncengine.store.holding import close_problems
from syncengine.store.schema import DEAD, OPEN_PROBLEM
from syncengine.store.staging import key_digest
from syncengine.store.store import Store

PAGE_ROWS = 2000


class Forgotten(NamedTuple):
    """What `forget` did for one key: whether the store knew it, its Qomon id, exports that may hold it."""

    key: str
    was_known: bool
    was_sent: bool
    remote_id: int | None
    exports: list[str]


def forget(store: Store, keys: Iterable[str]) -> list[Forgotten]:
    """Erase contacts for good; only a keyed tombstone stays, so that later loads skip their keys.

    When it returns, no byte of them is left in the file or its journal: the file is written anew, which
    takes as long as copying it, once for all keys. Qomon still holds them.
    """
    exports = _exports(store.path)
    secret = store.secret()
    forgotten = []
    with store.writing() as connection:
        for key in dict.fromkeys(map(canonical_key, keys)):
            row = connection.execute(
                "SELECT n, remote_id, loaded_at, accepted_at IS NOT NULL OR in_doubt = 1 FROM contacts "
                "WHERE key = ?",
                (key,),
            ).fetchone()
            connection.execute(
                "INSERT OR IGNORE INTO tombstones VALUES (?, ?)", (key_digest(secret, key), store.now())
            )
            connection.execute("DELETE FROM refused WHERE key = ?", (key,))
            if row is None:
                forgotten.append(Forgotten(key, was_known=False, was_sent=False, remote_id=None, exports=[]))
                continue
            n, remote_id, loaded_at, was_sent = row
            connection.execute("DELETE FROM matches WHERE n = ?", (n,))
            connection.execute("DELETE FROM contacts WHERE n = ?", (n,))
            since = [path for path, at in exports if at >= loaded_at]
            forgotten.append(
                Forgotten(key, was_known=True, was_sent=bool(was_sent), remote_id=remote_id, exports=since)
            )
    store.rewrite()
    return forgotten


def retry(store: Store, keys: Iterable[str] = (), reason: str | None = None) -> int:
    """Close the selected problems of contacts (all, without a selection); return how many.

    Nothing is overridden: the next sync checks them again and sends what passes. Of a contact that differs
    exactly the differing fields go. What sending cannot settle (twins, a consent, a dead id) is read again.
    """
    condition, parameters = _selection([canonical_key(key) for key in keys], reason)
    selected = f"{OPEN_PROBLEM} AND {condition}"
    with store.writing() as connection:
        connection.execute(
            "INSERT INTO receipts (n, run, at, content_hash, result, detail) "
            "SELECT n, 0, ?, content_hash, 'retried', 'by hand, was: ' || problem_reason "
            f"FROM contacts WHERE {selected}",
            (store.now(), *parameters),
        )
        _send_differing_again(connection, selected, parameters)
        connection.execute(  # the id is proven first: a body for an id that is dead could make somebody
            "UPDATE contacts SET accepted_hash = content_hash, accepted = NULL "
            f"WHERE problem = 'dropped' AND problem_reason = ? AND {selected}",
            (DEAD_ID, *parameters),
        )
        connection.execute(  # what was seen of it is looked for, since its present content was never sent
            "UPDATE contacts SET accepted_hash = applied_hash, accepted = applied, awaiting = 1, "
            "accepted_date = coalesce(accepted_date, accepted_at, ?) WHERE applied_hash IS NOT NULL "
            f"AND problem = 'held' AND problem_reason = ? AND {selected}",
            (store.now(), DEAD_ID, *parameters),
        )
        connection.execute(  # dropped, although all of it was seen before: then that is not so any more
            "UPDATE contacts SET accepted_hash = NULL, accepted = NULL, applied_hash = NULL, applied = NULL "
            "WHERE problem = 'dropped' AND problem_reason <> ? AND accepted_hash = content_hash "
            f"AND {selected}",
            (DEAD_ID, *parameters),
        )
        connection.execute(
            "UPDATE contacts SET awaiting = 1, accepted_date = coalesce(accepted_date, accepted_at, ?) "
            f"WHERE problem IN ('dropped', 'differs') AND accepted_hash = content_hash AND {selected}",
            (store.now(), *parameters),
        )
        return close_problems(connection, condition, parameters)


def _send_differing_again(connection: Connection, selected: str, parameters: Sequence[object]) -> None:
    """Make contacts that differ due with the differing fields alone: these count as never seen applied."""
    after = 0
    while rows := connection.execute(
        "SELECT n, content_hash, coalesce(applied, content), problem_facts FROM contacts "
        "WHERE problem = 'differs' AND problem_facts IS NOT NULL AND applied_hash IS NOT NULL "
        f"AND {selected} AND n > ? ORDER BY n LIMIT ?",
        (*parameters, after, PAGE_ROWS),
    ).fetchall():
        after = rows[-1][0]
        for n, present_hash, applied, facts in rows:
            fields = orjson.loads(facts).get("fields", ())
            left = canonical(_as_seen(orjson.loads(applied), fields))
            digest = content_hash(left)
            if digest == present_hash:
                continue
            connection.execute(
                "UPDATE contacts SET applied = ?1, applied_hash = ?2, accepted = ?1, accepted_hash = ?2 "
                "WHERE n = ?3",
                (left, digest, n),
            )
            connection.executemany(
                "DELETE FROM notes_sent WHERE n = ? AND note = ?",
                [(n, content_hash(text.encode())) for text in _missing_notes(fields)],
            )


def _as_seen(applied: Mapping[str, Any], fields: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what was seen applied without the differing fields; a text to be cleared stays what it is."""
    left = without(applied, {one["field"] for one in fields})
    for one in fields:
        if one["sent"] == "" and isinstance(one["seen"], str):
            name, _, part = one["field"].partition(".")
            left[name] = {**left.get(name, {}), part: one["seen"]} if part else one["seen"]
    return left


def _missing_notes(fields: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the texts of notes that were sent and are not seen."""
    return [
        text
        for one in fields
        if one["field"] == "notes"
        for text in one["sent"] or ()
        if text not in (one["seen"] or ())
    ]


class Released(NamedTuple):
    """What `release` did for one key, and why not."""

    key: str
    released: bool
    why: str


def release(store: Store, keys: Iterable[str]) -> list[Released]:
    """Let held contacts be sent once, for exactly their present content."""
    released = []
    with store.writing() as connection:
        for key in map(canonical_key, keys):
            row = connection.execute(
                f"SELECT n, problem, problem_reason FROM contacts WHERE key = ? AND {OPEN_PROBLEM}", (key,)
            ).fetchone()
            if why := _unreleasable(row):
                released.append(Released(key, released=False, why=why))
                continue
            connection.execute("UPDATE contacts SET released_hash = content_hash WHERE n = ?", (row[0],))
            connection.execute(
                "INSERT INTO receipts (n, run, at, content_hash, result, detail) "
                "SELECT n, 0, ?, content_hash, 'released', 'by hand, was held: ' || problem_reason "
                "FROM contacts WHERE n = ?",
                (store.now(), row[0]),
            )
            close_problems(connection, "n = ?", (row[0],))
            released.append(Released(key, released=True, why=""))
    return released


def _unreleasable(row: tuple[int, str, str] | None) -> str:
    if row is None or row[1] != "held":
        return "it is not held"
    if row[2] == UNPROVEN_ID:
        return "an id is sent only after a read has shown that it is this person's"
    if row[2] == DEAD_ID:
        return "nobody has its id any more; problems --rematch forgets the id"
    return ""


class Rematched(NamedTuple):
    """What `rematch` did for one key, and why not."""

    key: str
    rematched: bool
    why: str


def rematch(store: Store, keys: Iterable[str]) -> list[Rematched]:
    """Forget dead Qomon ids, so that the contacts are matched by mail and names again, as if never sent."""
    rematched = []
    with store.writing() as connection:
        for key in map(canonical_key, keys):
            row = connection.execute(
                f"SELECT n, content FROM contacts WHERE key = ? AND {DEAD}", (key,)
            ).fetchone()
            if row is None:
                rematched.append(Rematched(key, rematched=False, why="no dead id is known of it"))
                continue
            n, content = row
            connection.execute(
                "INSERT INTO receipts (n, run, at, content_hash, result, detail) "
                "SELECT n, 0, ?, content_hash, 'rematched', 'by hand, its id was ' || remote_id "
                "FROM contacts WHERE n = ?",
                (store.now(), n),
            )
            connection.execute(
                "UPDATE contacts SET remote_id = NULL, applied = NULL, applied_hash = NULL, "
                "confirmed_hash = NULL, accepted = NULL, accepted_hash = NULL, accepted_at = NULL, "
                "accepted_date = NULL, awaiting = 0, look_again = 0, unseen = NULL, dead_id = 0, "
                "identity = ? WHERE n = ?",
                (identify(orjson.loads(content)).identity.value, n),
            )
            close_problems(connection, "n = ?", (n,))
            rematched.append(Rematched(key, rematched=True, why=""))
    return rematched


def _selection(keys: list[str], reason: str | None) -> tuple[str, list[object]]:
    condition, parameters = "1", list[object]()
    if keys:
        condition += " AND key IN (SELECT value FROM json_each(?))"
        parameters.append(orjson.dumps(keys).decode())
    if reason is not None:
        condition += " AND substr(problem_reason, 1, length(?)) = ?"
        parameters += [reason, reason]
    return condition, parameters


# --- exports: a list beside the store, because writing them down needs no lock ---------------------------


def export_list(store: Path) -> Path:
    """Return the path of the list of exports that `problems --export` wrote."""
    store = real_path(store)
    return store.with_name(store.name + ".exports")


def note_export(store: Path, file: Path) -> None:
    """Remember that `file` holds contacts of this store, so that `forget` can name it."""
    line = orjson.dumps({"path": str(file.absolute()), "at": file.stat().st_mtime}) + b"\n"
    try:
        descriptor = os.open(
            export_list(store), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StoreError(
            f"{export_list(store)}: cannot be written: {error.strerror}", reason="disk"
        ) from None


def _exports(store: Path) -> list[tuple[str, float]]:
    try:
        lines = export_list(store).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"{export_list(store)}: cannot be read: {error.strerror}", reason="disk") from None
    entries = [entry for line in lines if (entry := _entry(line)) is not None]
    return [(path, at) for path, at in entries if Path(path).exists()]


def _entry(line: bytes) -> tuple[str, float] | None:
    try:
        entry = orjson.loads(line)
    except ValueError:  # half a line: a kill while it was written
        return None
    return entry["path"], entry["at"]
