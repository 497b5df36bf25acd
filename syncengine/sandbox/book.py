"""The sandbox's memory: contacts and the history of requests, in one temporary SQLite file.

The file is created 0600 and unlinked while open, so that nothing is left behind however the process ends.
Nobody else can read it and nothing in it must last, hence one transaction that is never committed, without
a journal: SQLite spills pages when its cache is full, and memory stays flat however many requests come.
"""

import math
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from sqlite_utils.utils import sqlite3  # type: ignore[attr-defined]  # it picks the driver

from syncengine.sandbox.matching import FOLDS, Identity, identity_of

_SCHEMA = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA cache_size = -65536;
CREATE TABLE contacts (
    id INTEGER PRIMARY KEY,
    mail TEXT, names TEXT, birthdate TEXT, nationbuilderid INTEGER,
    created REAL NOT NULL, updated REAL NOT NULL, lastchange REAL NOT NULL,
    fields BLOB NOT NULL
);
CREATE INDEX contacts_mail ON contacts (mail) WHERE mail IS NOT NULL;
CREATE INDEX contacts_names ON contacts (names, birthdate) WHERE names IS NOT NULL;
CREATE INDEX contacts_nationbuilderid ON contacts (nationbuilderid) WHERE nationbuilderid IS NOT NULL;
CREATE INDEX contacts_updated ON contacts (updated, id);
CREATE TABLE history (
    seq INTEGER PRIMARY KEY,
    at REAL NOT NULL, endpoint TEXT NOT NULL, status INTEGER, body BLOB, length INTEGER NOT NULL,
    outcome TEXT NOT NULL, cause TEXT, contact_id INTEGER, applied_at REAL, fault TEXT
);
BEGIN;
"""
_CREATE = """
INSERT INTO contacts (id, mail, names, birthdate, nationbuilderid, fields, created, updated, lastchange)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_PAGE = """
SELECT id, created, updated, lastchange, fields FROM contacts ORDER BY id LIMIT :limit OFFSET :offset
"""
_PAGE_WITH_MAIL = """
SELECT id, created, updated, lastchange, fields FROM contacts WHERE mail = :mail
ORDER BY id LIMIT :limit OFFSET :offset
"""
_ORDERS = {"oldest": "id", "newest": "id DESC"}
_BUFFERED = 512  # history rows written at once; they are invisible to nobody, reads flush first


class Stored(NamedTuple):
    """A contact as it is kept; times are seconds since 1970."""

    id: int
    created: float
    updated: float
    lastchange: float
    fields: dict[str, Any]


@dataclass(slots=True)
class Entry:
    """One request in the history, from its arrival on; `status` None means that no answer was sent."""

    seq: int
    at: float
    endpoint: str
    status: int | None
    body: bytes | None
    length: int
    outcome: str = "refused"
    cause: str | None = None
    contact_id: int | None = None
    applied_at: float | None = None
    fault: str | None = None
    is_written: bool = False


class Book:
    """Contacts by id and history by order of arrival.

    `matching` says how mail and names are folded, `winner` which of several contacts comes first: answers to
    the unknowns of these names. `db` is the connection, for those who look further.
    """

    def __init__(self, matching: str = "folded", winner: str = "oldest") -> None:
        self.fold = FOLDS[matching]
        self._order = _ORDERS[winner]
        descriptor, path = tempfile.mkstemp(prefix="syncengine-sandbox-", suffix=".db")
        os.close(descriptor)
        try:
            self.db = sqlite3.connect(path, isolation_level=None)
            self.db.executescript(_SCHEMA)
        finally:
            Path(path).unlink()
        self._last_id = 0
        self._fresh: list[Entry] = []
        self._settled: list[Entry] = []

    def close(self) -> None:
        """Close the file, which frees its space."""
        self.db.close()

    def clear(self) -> None:
        """Forget all contacts, ids and history."""
        self._fresh.clear()
        self._settled.clear()
        self._last_id = 0
        for table in ("contacts", "history"):
            self.db.execute(f"DELETE FROM {table}")  # noqa: S608 - two constants

    # Contacts

    def count(self) -> int:
        """Return how many contacts there are."""
        (number,) = self.db.execute("SELECT count(*) FROM contacts").fetchone()
        return int(number)

    def stored(self, number: int) -> Stored | None:
        """Return the contact with this Qomon id."""
        row = self.db.execute(
            "SELECT id, created, updated, lastchange, fields FROM contacts WHERE id = ?", (number,)
        ).fetchone()
        return Stored(row[0], row[1], row[2], row[3], orjson.loads(row[4])) if row else None

    def identity(self, fields: Mapping[str, Any]) -> Identity:
        """Return the identity of a contact in the upsert's shape, folded as this book compares."""
        return identity_of(fields, self.fold)

    def by_id(self, number: int) -> tuple[int, dict[str, Any]] | None:
        """Return id and fields of the contact with this Qomon id, else this NationBuilder id, else None."""
        found = self._found("id = ?", number)
        return next(found, None) or next(self._found("nationbuilderid = ?", number), None)

    def with_mail(self, identity: Identity, until: float = math.inf) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the contacts with this identity's mail that were created by `until`, the winner first."""
        return self._found("mail = ? AND created <= ?", identity.mail, until)

    def with_names(self, identity: Identity, until: float = math.inf) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the contacts with this identity's names, no other birthdate and created by `until`."""
        if not identity.birthdate:
            return self._found("names = ? AND created <= ?", identity.names, until)
        return self._found(
            "names = ? AND birthdate IN ('', ?) AND created <= ?", identity.names, identity.birthdate, until
        )

    def _found(self, condition: str, *values: object) -> Iterator[tuple[int, dict[str, Any]]]:
        rows = self.db.execute(
            f"SELECT id, fields FROM contacts WHERE {condition} ORDER BY {self._order}",  # noqa: S608 - ours
            values,
        )
        return ((number, orjson.loads(fields)) for number, fields in rows)

    def create(self, fields: Mapping[str, Any], now: float) -> int:
        """Store a new contact and return its id."""
        self._last_id += 1
        self.db.execute(_CREATE, (self._last_id, *self._columns(fields), now, now, now))
        return self._last_id

    def create_many(self, people: Iterable[tuple[Mapping[str, Any], float, float, float]]) -> None:
        """Store many new contacts, each with the times it was created, updated and last changed by staff."""
        rows = (
            (number, *self._columns(fields), *times)
            for number, (fields, *times) in enumerate(people, self._last_id + 1)
        )
        self._last_id += self.db.executemany(_CREATE, rows).rowcount

    def update(self, number: int, fields: Mapping[str, Any], now: float, *, by_staff: bool = False) -> None:
        """Store the fields of an existing contact; only an edit by staff moves `lastchange`."""
        self.db.execute(
            "UPDATE contacts SET mail = ?, names = ?, birthdate = ?, nationbuilderid = ?, fields = ?,"
            " updated = ?, lastchange = iif(?, ?, lastchange) WHERE id = ?",
            (*self._columns(fields), now, by_staff, now, number),
        )

    def delete(self, number: int) -> bool:
        """Delete a contact as staff would; its id is never given again. Return whether it existed."""
        return bool(self.db.execute("DELETE FROM contacts WHERE id = ?", (number,)).rowcount)

    def contacts(self, offset: int, limit: int, mail: str | None = None) -> list[dict[str, Any]]:
        """Return contacts in order of id, with ids and times; `mail` filters by address."""
        rows = self.db.execute(
            _PAGE if mail is None else _PAGE_WITH_MAIL,
            {"mail": self.fold(mail), "limit": limit, "offset": offset},
        )
        return [
            {
                "id": number,
                "CreatedAt": stamp(created),
                "UpdatedAt": stamp(updated),
                "lastchange": stamp(changed),
            }
            | orjson.loads(fields)
            for number, created, updated, changed, fields in rows
        ]

    def _columns(self, fields: Mapping[str, Any]) -> tuple[str | None, str | None, str, int | None, bytes]:
        identity = identity_of(fields, self.fold)
        foreign = fields.get("nationbuilderid")
        return (
            identity.mail or None,
            identity.names or None,
            identity.birthdate,
            foreign if isinstance(foreign, int) and 0 < foreign < 2**63 else None,
            orjson.dumps(fields),
        )

    # History

    def record(self, entry: Entry) -> None:
        """Take a new entry into the history."""
        self._fresh.append(entry)
        if len(self._fresh) >= _BUFFERED:
            self._flush()

    def settle(self, entry: Entry) -> None:
        """Take note that an entry recorded before has changed."""
        if entry.is_written:
            self._settled.append(entry)
            if len(self._settled) >= _BUFFERED:
                self._flush()

    def history(self, after: int, limit: int) -> list[dict[str, Any]]:
        """Return the requests that arrived after number `after`, in order of arrival."""
        self._flush()
        rows = self.db.execute("SELECT * FROM history WHERE seq > ? ORDER BY seq LIMIT ?", (after, limit))
        return [
            {
                "seq": seq,
                "at": at,
                "endpoint": endpoint,
                "status": status,
                "data": orjson.loads(body)["data"] if body is not None else None,
                "length": length,
                "outcome": outcome,
                "cause": cause,
                "contact_id": contact_id,
                "applied_at": applied_at,
                "fault": fault,
            }
            for seq, at, endpoint, status, body, length, outcome, cause, contact_id, applied_at, fault in rows
        ]

    def _flush(self) -> None:
        self.db.executemany(
            "INSERT INTO history VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    entry.seq,
                    entry.at,
                    entry.endpoint,
                    entry.status,
                    entry.body,
                    entry.length,
                    entry.outcome,
                    entry.cause,
                    entry.contact_id,
                    entry.applied_at,
                    entry.fault,
                )
                for entry in self._fresh
            ],
        )
        for entry in self._fresh:
            entry.is_written = True
        self._fresh.clear()
        self.db.executemany(
            "UPDATE history SET outcome = ?, cause = ?, contact_id = ?, applied_at = ? WHERE seq = ?",
            [
                (entry.outcome, entry.cause, entry.contact_id, entry.applied_at, entry.seq)
                for entry in self._settled
            ],
        )
        self._settled.clear()


def stamp(seconds: float) -> str:
    """Return seconds since 1970 as Qomon writes times: RFC 3339 in UTC with microseconds."""
    whole = int(seconds)
    fraction = round((seconds - whole) * 1_000_000)
    if fraction == 1_000_000:
        whole, fraction = whole + 1, 0
    return f"{_second(whole)}.{fraction:06}Z"


@lru_cache(maxsize=4096)
def _second(whole: int) -> str:
    """Return a whole second without its zone: many contacts share one, and spelling it is the costly part."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
