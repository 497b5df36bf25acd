"""What the pump reads and writes in the store: pages of what is due, intents, receipts, holds.

Functions of an open `Store`; each is one transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson

from syncengine.hashing import canonical, content_hash
from syncengine.identity import IdentityClass, identify
from syncengine.model import Attempt, Candidate, Change, Receipt, Result
from syncengine.outcome import NOT_FOUND_AGAIN
from syncengine.partial import changed, kept, united
from syncengine.problems import MAY_HAVE_BEEN_CREATED
from syncengine.seen import Space
from syncengine.store.driver import Connection
from syncengine.store.holding import DOUBTFUL, close_problems, close_returned, hold_dead, hold_where
from syncengine.store.ids import take_ids
from syncengine.store.intents import close_intents, withdraw
from syncengine.store.loading import apply_staged, clear_staging, finish_load
from syncengine.store.notes import note_digests
from syncengine.store.proof import Settled, settle_unneeded
from syncengine.store.schema import DUE, UNKNOWN, WEAKEST
from syncengine.store.staging import key_digest
from syncengine.store.store import Store

_CANDIDATE = (
    "n, key, content_hash, identity, mail, name, in_doubt, "
    "CASE WHEN awaiting = 1 AND remote_id IS NULL THEN accepted_at END"
)
_CLAIMED = (
    "content, remote_id, in_doubt, released_hash IS content_hash, accepted, accepted_hash, applied, "
    "applied_hash, awaiting, dead_id"
)
NOTHING = canonical({})
"""A partial send that would carry nothing."""


def _candidate(row: Sequence[Any]) -> Candidate:
    n, key, content_hash_, identity, mail, name, in_doubt, accepted_at = row[:8]
    return Candidate(n, key, content_hash_, IdentityClass(identity), mail, name, bool(in_doubt), accepted_at)


def due_page(store: Store, after: str, limit: int) -> list[Candidate]:
    """Return up to `limit` due contacts with keys above `after`, in key order."""
    with store.reading() as connection:
        rows = connection.execute(
            f"SELECT {_CANDIDATE} FROM contacts WHERE {DUE} AND key > ? ORDER BY key LIMIT ?",
            (after, limit),
        ).fetchall()
    return [_candidate(row) for row in rows]


def doubtful_page(store: Store, limit: int) -> list[Candidate]:
    """Return up to `limit` due contacts in doubt, in key order."""
    with store.reading() as connection:
        rows = connection.execute(
            f"SELECT {_CANDIDATE} FROM contacts WHERE {DUE} AND {DOUBTFUL} ORDER BY key LIMIT ?",
            (limit,),
        ).fetchall()
    return [_candidate(row) for row in rows]


def recent_doubts(store: Store, *, since: float) -> list[tuple[Candidate, float]]:
    """Return contacts with an unanswered attempt after `since` (Unix time), and when it was made."""
    with store.reading() as connection:
        rows = connection.execute(
            f"SELECT {_CANDIDATE}, unknown_at FROM contacts JOIN "
            "(SELECT n AS doubtful, unknown_at FROM intents WHERE unknown_at > ?) ON doubtful = n",
            (since,),
        ).fetchall()
    return [(_candidate(row), row[-1]) for row in rows]


class Claimed(NamedTuple):
    """What became of candidates: changes to send, and contacts settled because nothing was left to send."""

    changes: list[Change]
    unneeded: list[Settled]


def claim(
    store: Store,
    candidates: Iterable[Candidate],
    *,
    run: int,
    space: Space | None = None,
    not_found_again: Collection[IdentityClass] = NOT_FOUND_AGAIN,
    creates: Mapping[int, bytes] = MappingProxyType({}),
) -> Claimed:
    """Write the intents of candidates that are still due with that content; return their changes.

    Durable when it returns: from here on their requests may leave. `space`: contacts with a confirmed id
    carry only what changed since it was last seen applied; None: always the whole contact.
    `not_found_again`: classes that are not sent again after an attempt without a definite answer. `creates`:
    contacts to be created, by number, each with the content that is, as long as their id is not known.
    """
    claimed = Claimed([], [])
    with store.writing() as connection:
        last = connection.execute("SELECT coalesce(max(rank), 0) FROM intents WHERE open = 1").fetchone()[0]
        for rank, candidate in enumerate(candidates, last + 1):
            row = connection.execute(
                f"SELECT {_CLAIMED} FROM contacts WHERE n = ? AND content_hash = ? AND {DUE}",
                (candidate.n, candidate.content_hash),
            ).fetchone()
            if row is None:
                continue
            content, remote_id, in_doubt, is_released = row[:4]
            if row[9]:  # found dead, or edited, during the run
                hold_dead(connection, run=run, now=store.now(), n=candidate.n)
                continue
            unknown_hash = _unknown_hash(connection, candidate.n) if in_doubt else None
            if in_doubt and candidate.identity in not_found_again and not is_released:
                where = f"n = {candidate.n}"  # edited during the run, so that no hold was looked at
                hold_where(connection, MAY_HAVE_BEEN_CREATED, where, run=run, now=store.now())
                continue
            partial = None
            if space is not None and remote_id is not None and unknown_hash in (None, candidate.content_hash):
                partial = _partial(content, candidate.content_hash, row[4:9])
            notes = _fresh_notes(connection, candidate.n, content)
            is_unseen = bool(row[8]) and row[5] != candidate.content_hash
            if partial == NOTHING and is_unseen:
                partial = None  # another content was accepted and not seen: only a send and a read settle it
            if partial == NOTHING and space is not None and not notes and not in_doubt:
                claimed.unneeded.append(settle_unneeded(connection, space, candidate.n, run, store.now()))
                continue
            connection.executemany(
                "INSERT INTO notes_sent VALUES (?, ?)", [(candidate.n, note) for note in notes]
            )
            connection.execute(
                "INSERT INTO intents (n, run, content_hash, identity, rank, at, open, notes) "
                "VALUES (?, ?, ?, ?, ?, ?, 1, ?) "
                "ON CONFLICT (n) DO UPDATE SET run = excluded.run, content_hash = excluded.content_hash, "
                "identity = excluded.identity, rank = excluded.rank, at = excluded.at, open = 1, "
                "notes = excluded.notes",
                (
                    candidate.n,
                    run,
                    candidate.content_hash,
                    candidate.identity.value,
                    rank,
                    store.now(),
                    b"".join(notes),
                ),
            )
            claimed.changes.append(
                Change(
                    n=candidate.n,
                    key=candidate.key,
                    content=content,
                    content_hash=candidate.content_hash,
                    identity=candidate.identity,
                    mail=candidate.mail,
                    name=candidate.name,
                    remote_id=remote_id,
                    is_repeat=unknown_hash == candidate.content_hash,
                    notes=notes,
                    partial=partial,
                    creates=remote_id is None and creates.get(candidate.n) == candidate.content_hash,
                )
            )
    return claimed


def _partial(content: bytes, digest: bytes, sent: Sequence[Any]) -> bytes | None:
    """Return what a partial send carries, None when nothing was ever seen applied.

    Compared with what was last seen applied, never with the merely accepted alone: that may be dropped, or
    applied yet, so what differs from it goes as well.
    """
    accepted, accepted_hash, applied, applied_hash, is_awaiting = sent
    if applied_hash is None:
        return None
    now = orjson.loads(content)
    carried = changed(now if applied is None else orjson.loads(applied), now)
    if is_awaiting and accepted_hash != digest and accepted is not None:
        carried = united(carried, changed(orjson.loads(accepted), now))
    return canonical(carried)


@dataclass(slots=True)
class Batch:
    """What one checkpoint commits."""

    receipts: list[Receipt] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    progress: dict[str, Any] | None = None
    paused_until: float | None = None

    def __bool__(self) -> bool:
        return bool(self.receipts or self.attempts or self.progress or self.paused_until)


def settle(store: Store, batch: Batch, *, run: int) -> None:
    """Commit a checkpoint: accepted hashes, rejections, doubts, attempts and progress in one transaction."""
    now = store.now()
    by: dict[Result, list[Receipt]] = {result: [] for result in Result}
    for receipt in batch.receipts:
        by[receipt.result].append(receipt)
    with store.writing() as connection:
        many = connection.executemany
        _keep_unseen(connection, by[Result.ACCEPTED])
        many(
            "UPDATE contacts SET accepted = CASE WHEN content_hash = ?1 THEN NULL ELSE ?2 END, "
            "accepted_hash = ?1, accepted_at = ?3, accepted_date = ?4, accepted_run = ?5, in_doubt = 0, "
            "awaiting = 1, look_again = 0, released_hash = NULL WHERE n = ?6",
            [
                (
                    r.change.content_hash if r.taken is None else content_hash(r.taken),
                    r.change.content if r.taken is None else r.taken,
                    now,
                    now if r.date is None else r.date,
                    run,
                    r.change.n,
                )
                for r in by[Result.ACCEPTED]
            ],
        )
        many("DELETE FROM intents WHERE n = ?", [(r.change.n,) for r in by[Result.ACCEPTED]])
        take_ids(connection, [(r.change.n, r.remote_id) for r in by[Result.ACCEPTED] if r.remote_id])
        many(
            "UPDATE contacts SET problem = ?, problem_hash = content_hash, problem_reason = ?, "
            "problem_detail = ?, problem_facts = NULL, problem_since = ?, problem_run = ?, "
            "released_hash = NULL "
            "WHERE n = ? AND content_hash = coalesce(?, content_hash)",
            [
                (
                    "rejected" if r.result is Result.REJECTED else "held",
                    r.reason,
                    r.detail or None,
                    now,
                    run,
                    r.change.n,
                    # a doubt is of the contact, whatever its content has become meanwhile
                    r.change.content_hash if r.result is Result.REJECTED else None,
                )
                for r in (*by[Result.REJECTED], *by[Result.IN_DOUBT])
            ],
        )
        unknown = [r.change.n for r in (*by[Result.UNKNOWN], *by[Result.IN_DOUBT])]
        many(
            f"UPDATE intents SET unknown_hash = {UNKNOWN}, unknown_at = ?, "
            f"unknown_identity = {WEAKEST}, open = 0 WHERE n = ?",
            [(now, n) for n in unknown],
        )
        many("UPDATE contacts SET in_doubt = 1, released_hash = NULL WHERE n = ?", [(n,) for n in unknown])
        back = (*by[Result.REJECTED], *by[Result.WITHDRAWN])
        close_intents(connection, [r.change.n for r in back])
        many(
            "DELETE FROM notes_sent WHERE n = ? AND note = ?",
            [(r.change.n, note) for r in back if not r.repeats for note in r.change.notes],
        )
        many(
            "INSERT INTO receipts (n, run, at, content_hash, result, status, detail) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (r.change.n, run, now, r.change.content_hash, r.result.value, r.status, r.reason or None)
                for r in batch.receipts
                if r.result is not Result.WITHDRAWN
            ],
        )
        many(
            "INSERT INTO attempts (n, run, at, result, status, detail) VALUES (?, ?, ?, ?, ?, ?)",
            [(a.change.n, run, a.at, a.result, a.status, a.detail or None) for a in batch.attempts],
        )
        connection.execute(
            "UPDATE runs SET accepted = accepted + ? WHERE id = ?", (len(by[Result.ACCEPTED]), run)
        )
        if batch.paused_until is not None:
            connection.execute("UPDATE space SET paused_until = ?", (batch.paused_until,))
        if batch.progress is not None:
            connection.execute(
                "UPDATE runs SET progress = ? WHERE id = ?", (orjson.dumps(batch.progress).decode(), run)
            )


def _keep_unseen(connection: Connection, accepted: Iterable[Receipt]) -> None:
    """Keep of earlier accepted contents, which no read has shown, what these do not carry."""
    by_contact = {receipt.change.n: receipt.change for receipt in accepted}
    rows = connection.execute(
        "SELECT c.n, coalesce(c.accepted, c.content), c.unseen FROM json_each(?) j "
        "CROSS JOIN contacts c ON c.n = j.value WHERE c.awaiting = 1",
        (orjson.dumps(list(by_contact)).decode(),),
    ).fetchall()
    left = []
    for n, earlier, unseen in rows:
        both = united(orjson.loads(unseen or b"{}"), orjson.loads(earlier))
        not_carried = kept(both, orjson.loads(by_contact[n].content), lambda _kind, _entry: True)
        left.append((canonical(not_carried) if not_carried else None, n))
    connection.executemany("UPDATE contacts SET unseen = ? WHERE n = ?", left)


def withdraw_open(store: Store, *, run: int) -> None:
    """Close the run's intents that no worker took up: nothing of them left."""
    with store.writing() as connection:
        rows = connection.execute(
            "SELECT n, notes FROM intents WHERE run = ? AND open = 1", (run,)
        ).fetchall()
        withdraw(connection, rows)


def put_back_rejections(store: Store, *, run: int) -> int:
    """Make this run's rejections due again (the breaker found the run at fault); return how many."""
    with store.writing() as connection:
        return close_problems(connection, "problem = 'rejected' AND problem_run = ?", (run,))


def put(store: Store, contacts: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    """Store contacts one by one, outside any load (library use). Forgotten keys are skipped.

    A contact in flight keeps the send it is in; its new content stays due.
    """
    finish_load(store)  # one that an error cut short in this process
    secret = store.secret()
    with store.writing() as connection:
        rows = []
        for line, (key, contact) in enumerate(contacts, 1):
            if not _is_forgotten(connection, key_digest(secret, key)):
                content = canonical(contact)
                rows.append((line, key, content_hash(content), *identify(contact), content))
        connection.executemany(
            "INSERT INTO staged (line, key, content_hash, identity, mail, name, content) "
            "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET "
            "content_hash = excluded.content_hash, identity = excluded.identity, mail = excluded.mail, "
            "name = excluded.name, content = excluded.content",
            rows,
        )
        connection.execute(
            "UPDATE contacts SET missing = 0 WHERE missing = 1 AND key IN (SELECT key FROM staged)"
        )
        close_returned(connection)
        apply_staged(connection, now=store.now(), limit=len(rows))
        clear_staging(connection)


def _is_forgotten(connection: Connection, digest: bytes) -> bool:
    found = connection.execute("SELECT 1 FROM tombstones WHERE digest = ?", (digest,)).fetchone()
    return found is not None


def _unknown_hash(connection: Connection, n: int) -> bytes | None:
    row = connection.execute("SELECT unknown_hash FROM intents WHERE n = ?", (n,)).fetchone()
    return row[0] if row else None


def _fresh_notes(connection: Connection, n: int, content: bytes) -> tuple[bytes, ...]:
    """Return the digests of the notes that were never sent."""
    wanted = note_digests(content)
    if not wanted:
        return ()
    sent = {
        bytes(row[0])
        for row in connection.execute("SELECT note FROM notes_sent WHERE n = ?", (n,)).fetchall()
    }
    return tuple(dict.fromkeys(note for note in wanted if note not in sent))
