"""Who of a space may be whom of the store: pairs of contacts and sights, and what each pair shows.

Whoever compares a whole space keeps the pairs in tables, since neither side need fit in memory: `adopt` in
the state store, to go on after a kill; a live plan in its scratch database. Of sights that are nobody's only
the id and keyed digests of mail and names are kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson

from syncengine.collisions import Traits, traits_of
from syncengine.hashing import canonical
from syncengine.matching import Fit, fit
from syncengine.partial import without
from syncengine.seen import Seen, Space
from syncengine.store.driver import Connection

CROWD = 1000
"""Contacts of one mail, or of one surname and first name, above which it tells nobody apart."""

REMEMBERED = 100_000
"""Contacts of which it is remembered what matching compares, about 50 MB at most."""


def match_digest(secret: bytes, text: str) -> int:
    """Return the keyed digest of a normalised mail or name, 64 bits; 0 for none.

    Two that are equal by chance cost a look-up, no more.
    """
    if not text:
        return 0
    return int.from_bytes(hashlib.blake2b(text.encode(), key=secret, digest_size=8).digest(), signed=True)


class Matches:
    """Pairs sights with the contacts of `people` that they may be, in the tables of `connection`.

    `people`: selects n, mail, name, content and content_hash, and finds n, a mail or a name by an index.
    `claims`: selects n and the id that the source claims for it; these are compared with that id alone.
    """

    def __init__(
        self, connection: Connection, space: Space, *, people: str, claims: str = "", secret: bytes
    ) -> None:
        self._connection = connection
        self._space = space
        self._people = people
        self._claims = claims
        self._secret = secret
        self._traits: dict[int, Traits] = {}

    def note(self, seen: Sequence[Seen]) -> None:
        """Pair those seen, in the transaction that is open; whoever was seen before counts as seen now."""
        execute, many = self._connection.execute, self._connection.executemany
        execute(
            "DELETE FROM matches WHERE id IN (SELECT value FROM json_each(?))",
            (_json(one.id for one in seen),),
        )
        many(
            "INSERT OR REPLACE INTO strangers VALUES (?, ?, ?)",
            [
                (one.id, match_digest(self._secret, one.mail), match_digest(self._secret, one.name))
                for one in seen
            ],
        )
        pairs = list(self._pairs(seen))
        sure = self._read({n for _, n, how in pairs if how is not Fit.UNSURE})
        many(
            "INSERT OR REPLACE INTO matches VALUES (?, ?, ?, ?, ?, ?)",
            [
                (n, one.id, how.value, *(self._shown(*sure[n], one) if n in sure else _NOTHING_SHOWN))
                for one, n, how in pairs
            ],
        )

    def _pairs(self, seen: Sequence[Seen]) -> Iterator[tuple[Seen, int, Fit]]:
        by_mail, by_name = self._near("mail", seen), self._near("name", seen)
        claimed = self._claimed(seen)
        for one in seen:
            theirs = self._space.traits(one)
            for n in claimed.get(one.id, ()):
                ours = self._traits[n]
                has_mail = bool(ours.mail) and ours.mail == theirs.mail
                if has_mail or (ours.surname and ours.surname == theirs.surname):
                    yield one, n, Fit.CLAIMED
            ages = by_name.get(one.name, {})
            same_name = (
                {*ages.get(theirs.birthdate, ()), *ages.get("", ())}
                if theirs.birthdate
                else {n for group in ages.values() for n in group}
            )
            same_mail = {n for group in by_mail.get(one.mail, {}).values() for n in group}
            for n in same_mail | same_name:
                how = fit(self._traits[n], theirs)
                if how is not None:
                    yield one, n, how

    def _near(self, column: str, seen: Sequence[Seen]) -> dict[str, dict[str, list[int]]]:
        """Return who shares a mail or a name with those seen, by that and by birthdate, but for crowds."""
        values = sorted({value for one in seen if (value := getattr(one, column))})
        rows = self._connection.execute(
            "SELECT j.value, p.n FROM (SELECT value FROM json_each(?) "
            f"WHERE (SELECT count(*) FROM (SELECT 1 FROM ({self._people}) q WHERE q.{column} = value "
            f"AND q.{column} <> '' LIMIT {CROWD + 1})) <= {CROWD}) j "
            f"CROSS JOIN ({self._people}) p WHERE p.{column} = j.value AND p.{column} <> ''",
            (_json(values),),
        ).fetchall()
        self._know(n for _, n in rows)
        near: dict[str, dict[str, list[int]]] = {}
        for value, n in rows:
            near.setdefault(value, {}).setdefault(self._traits[n].birthdate, []).append(n)
        return near

    def _claimed(self, seen: Sequence[Seen]) -> dict[int, list[int]]:
        claimed: dict[int, list[int]] = {}
        if self._claims:
            rows = self._connection.execute(
                f"SELECT p.id, p.n FROM json_each(?) j CROSS JOIN ({self._claims}) p WHERE p.id = j.value",
                (_json(one.id for one in seen),),
            ).fetchall()
            self._know(n for _, n in rows)
            for id_, n in rows:
                claimed.setdefault(id_, []).append(n)
        return claimed

    def _know(self, contacts: Iterable[int]) -> None:
        """Read what matching compares of these, unless it is remembered."""
        wanted = set(contacts)
        if len(self._traits) + len(wanted) > REMEMBERED:
            self._traits.clear()
        for n, (content, _) in self._read(wanted - self._traits.keys()).items():
            self._traits[n] = traits_of(content)

    def _read(self, contacts: Iterable[int]) -> dict[int, tuple[dict[str, Any], bytes]]:
        rows = self._connection.execute(
            "SELECT c.n, c.content, c.content_hash FROM json_each(?) j "
            "CROSS JOIN contacts c ON c.n = j.value",
            (_json(sorted(contacts)),),
        ).fetchall()
        return {n: (orjson.loads(content), digest) for n, content, digest in rows}

    def _shown(self, content: dict[str, Any], digest: bytes, one: Seen) -> tuple[bytes, bytes, str | None]:
        differences = self._space.differences(content, one)
        if not differences:
            return digest, canonical(content), None
        left = without(content, {difference.field for difference in differences})
        told = [{"field": each.field, "sent": each.sent, "seen": each.seen} for each in differences]
        return digest, canonical(left), orjson.dumps(told).decode()


_NOTHING_SHOWN = (b"", b"", None)
"""What is kept of a pair that nobody is sure of: that it is one."""


def keep_the_surest(connection: Connection) -> None:
    """Forget, of each contact's pairs, those that are less sure than another one of it."""
    connection.execute(
        "DELETE FROM matches WHERE fit > (SELECT min(m.fit) FROM matches m WHERE m.n = matches.n)"
    )


SINGLE = (
    f"m.fit < {Fit.UNSURE.value} "
    "AND (SELECT count(*) FROM (SELECT 1 FROM matches o WHERE o.n = m.n LIMIT 2)) = 1 "
    "AND (SELECT count(*) FROM (SELECT 1 FROM matches o WHERE o.id = m.id LIMIT 2)) = 1"
)
"""SQL condition of a pair `m` that is the only one of both its sides, once only the surest are left."""


def _json(values: Iterable[str] | Iterable[int]) -> str:
    return orjson.dumps(list(values)).decode()
