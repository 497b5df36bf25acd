"""Contacts a read may settle, as they are stored, and everybody a read showed: who may be whom."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import orjson

from syncengine.identity import identify, normalise
from syncengine.partial import united
from syncengine.seen import Seen, Space
from syncengine.store.driver import Connection
from syncengine.store.schema import BARE
from syncengine.verdict import Claim, Unsettled

UNSETTLED = (
    "c.n, c.key, c.remote_id, c.content, c.content_hash, c.accepted, c.accepted_hash, c.applied, "
    "c.applied_hash, c.accepted_date, c.awaiting, c.in_doubt, c.look_again, "
    "c.problem_hash IS c.content_hash, c.unseen, c.dead_id, i.unknown_hash, i.unknown_at, "
    "c.mail <> '' AND (SELECT count(*) FROM (SELECT 1 FROM contacts o WHERE o.mail = c.mail AND o.mail <> '' "
    "LIMIT 2)) > 1"
)
SETTLED_BEFORE = (
    "c.awaiting = 0 AND c.in_doubt = 0 AND c.accepted_hash = c.content_hash "
    "AND (c.problem_hash IS NOT c.content_hash OR c.problem = 'differs')"
)
TO_SETTLE = "(c.awaiting = 1 OR c.in_doubt = 1 OR c.look_again = 1)"
WITH_INTENT = "LEFT JOIN intents i ON i.n = c.n AND i.open = 0"


DOUBT_SECONDS = 60.0
"""What was created so long before a send was found to be without an answer may be its work."""

BARE_COMPARED = 5000
"""Contacts without mail and surname that are compared with those seen: by default none is ever sent."""


class Row:
    """An unsettled contact as stored, and what its reads may settle."""

    def __init__(self, row: Sequence[Any]) -> None:
        (
            self.n,
            self.key,
            self.remote_id,
            self.content,
            self.content_hash,
            accepted,
            self.accepted_hash,
            applied,
            self.applied_hash,
            self.date,
            self.is_awaiting,
            self.in_doubt,
            self.looks_again,
            self.has_problem,
            unseen,
            self.is_dead,
            unknown_hash,
            self.unknown_at,
            self.shares_mail,
            self.run,
        ) = row
        self.accepted = self.content if accepted is None else accepted
        self.shown: Mapping[str, Any] = {}
        if self.applied_hash is not None:
            self.shown = orjson.loads(self.content if applied is None else applied)
        self._unseen: Mapping[str, Any] = orjson.loads(unseen or b"{}")
        self.is_doubt = bool(self.in_doubt and unknown_hash == self.content_hash)

    def claims(self) -> list[Unsettled]:
        """Return what a read may settle, the newest first."""
        found = []
        if self.is_doubt:
            found.append(self.unsettled(Claim.DOUBT, self.content, self.unknown_at, is_current=True))
        if self.is_awaiting:
            is_current = self.accepted_hash == self.content_hash
            found.append(self.unsettled(Claim.AWAITING, self.accepted, self.date, is_current=is_current))
        elif self.looks_again:
            found.append(self.unsettled(Claim.DROPPED, self.content, self.date, is_current=True))
        return found

    def unseen(self, claim: Claim) -> Mapping[str, Any]:
        """Return what was accepted, carried by nothing since, and shown by no read before this claim's."""
        if claim is Claim.DOUBT and self.is_awaiting:
            return united(self._unseen, orjson.loads(self.accepted))
        return self._unseen

    def unsettled(self, claim: Claim, content: bytes, date: float | None, *, is_current: bool) -> Unsettled:
        """Return this contact as one of which `content` waits for a read."""
        return Unsettled(
            self.n,
            self.key,
            claim,
            self.remote_id,
            orjson.loads(content),
            self.shown,
            date or 0.0,
            is_current,
        )


class Sights:
    """Everybody seen, by id, mail and name; `owned`: the ids that belong to a key already."""

    def __init__(self, seen: Iterable[Seen], owned: Collection[int]) -> None:
        self._by_id = {one.id: one for one in seen}
        self._by_mail: dict[str, list[Seen]] = defaultdict(list)
        self._by_name: dict[str, list[Seen]] = defaultdict(list)
        self._by_given: dict[str, list[Seen]] = defaultdict(list)
        for one in self._by_id.values():
            if one.id not in owned:
                if one.mail:
                    self._by_mail[one.mail].append(one)
                if one.name:
                    self._by_name[one.name].append(one)
                elif not one.mail:
                    self._by_given[one.given].append(one)
        self.taken: set[int] = set()

    def of(self, contact: Unsettled, space: Space) -> list[Seen]:
        """Return who may be this contact."""
        if contact.remote_id is not None:
            found = self._by_id.get(contact.remote_id)
            return [] if found is None else [found]
        _, mail, name = identify(contact.content)
        if not mail and not name:
            return self._created(contact, space)
        near = {one.id: one for one in (*self._by_mail.get(mail, ()), *self._by_name.get(name, ()))}
        return [
            one
            for one in near.values()
            if one.id not in self.taken
            and not (mail and one.mail and one.mail != mail)  # a namesake, not what this send made
            and space.fits(contact.content, one)
        ]

    def _created(self, contact: Unsettled, space: Space) -> list[Seen]:
        """Return whom a contact that nothing identifies can have created: equal in everything, and new.

        Of several equal ones any will do: each send creates one.
        """
        given = normalise(contact.content.get("firstname", ""))
        since = int(contact.date) - (DOUBT_SECONDS if contact.claim is Claim.DOUBT else 0)
        equal = (
            one
            for one in self._by_given.get(given, ())
            if one.id not in self.taken
            and one.created is not None
            and one.created >= since
            and not space.differences(contact.content, one)
        )
        return list(islice(equal, 1))

    def renamed(self, contact: Unsettled) -> list[Seen]:
        """Return who was created with the mail of this contact since, and shares one of its names.

        Staff may have changed the other before it was read back, so that no rule matches it any more.
        """
        _, mail, name = identify(contact.content)
        surname, _, firstname = name.partition("\x1f")
        return [
            one
            for one in self._by_mail.get(mail, ())
            if one.id not in self.taken
            and one.created is not None
            and one.created >= int(contact.date)
            and {surname, firstname} & set(one.name.split("\x1f")) - {""}
        ]

    def free(self) -> list[Seen]:
        """Return who belongs to no key, and was taken for nobody."""
        free = {
            one.id: one for ones in (self._by_mail, self._by_name) for group in ones.values() for one in group
        }
        return [one for one in free.values() if one.id not in self.taken]


def rows_of(connection: Connection, seen: Sequence[Seen], also: Collection[int]) -> dict[int, Row]:
    """Return the contacts to settle that those seen may be, by number."""
    found: dict[int, Row] = {}
    if any(not one.mail and not one.name for one in seen):
        for row in connection.execute(
            f"SELECT {UNSETTLED}, c.accepted_run FROM (SELECT n FROM contacts WHERE {BARE} LIMIT ?) b "
            f"CROSS JOIN contacts c ON c.n = b.n {WITH_INTENT}",
            (BARE_COMPARED,),
        ).fetchall():
            found[row[0]] = Row(row)
    for column, values in (
        ("remote_id", [one.id for one in seen]),
        ("mail", sorted({one.mail for one in seen if one.mail})),
        ("name", sorted({one.name for one in seen if one.name})),
        ("n", sorted(also)),
    ):
        if not values:
            continue
        rows = connection.execute(
            f"SELECT {UNSETTLED}, c.accepted_run FROM json_each(?) j CROSS JOIN contacts c "
            f"ON c.{column} = j.value {'' if column in ('remote_id', 'n') else 'AND c.remote_id IS NULL'} "
            f"{filled(column)} {WITH_INTENT} WHERE {TO_SETTLE}",
            (orjson.dumps(values).decode(),),
        ).fetchall()
        for row in rows:
            if row[0] not in found:
                found[row[0]] = Row(row)
    return dict(sorted(found.items()))


def filled(column: str) -> str:
    """Return what lets SQLite use the partial index of a column."""
    return f"AND c.{column} <> ''" if column in ("mail", "name") else f"AND c.{column} IS NOT NULL"


def owned_ids(connection: Connection, ids: Sequence[int]) -> set[int]:
    """Return which of these ids belong to a key."""
    rows = connection.execute(
        "SELECT c.remote_id FROM json_each(?) j CROSS JOIN contacts c "
        "ON c.remote_id = j.value AND c.remote_id IS NOT NULL",
        (orjson.dumps(list(ids)).decode(),),
    ).fetchall()
    return {row[0] for row in rows}
