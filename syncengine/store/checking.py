"""Whom to hold before sending because of who else is stored: collisions, moved keys, changed identities.

Functions of an open `Store`, but for `Collisions`, which asks any connection: `plan` has a scratch database
whose rows a load would bring in. What is read at once is bounded, whatever the store holds. Nobody is held
here whom a person released for exactly this content.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from syncengine.collisions import LISTED, Held, Neighbours, Person, is_lost, names_another, traits_of
from syncengine.problems import COLLIDES, MOVED_KEY
from syncengine.store.driver import Connection
from syncengine.store.holding import set_problem
from syncengine.store.schema import DUE, OPEN_PROBLEM
from syncengine.store.store import Store

PAGE_ROWS = 50_000
"""Due contacts looked at together. Large, because a big group is read once for each page that meets it."""

READ_ROWS = 2000
"""Contents looked at together."""

GROUP_CAP = 5000
"""Contacts of one mail, or of one surname and firstname, that are compared one by one."""

MEMBERS = 20_000
"""Contacts compared at once, in so far as single groups are no bigger: about 40 MB."""

STORED = (
    """SELECT key, mail, name, content, remote_id IS NOT NULL AS has_id,
        accepted_at IS NOT NULL OR in_doubt = 1 OR n IN (SELECT n FROM intents) AS was_accepted,
        missing = 1 AND released_hash IS NOT content_hash AS is_gone FROM contacts""",
)
"""Everybody in a store, as `Collisions` asks for them.

`is_gone`: not sent while the source lacks it, so that nobody meets it who was never accepted.
"""

_UNRELEASED = "released_hash IS NOT content_hash"
_COUNTS = "(p.has_id OR p.was_accepted OR NOT p.is_gone)"


class Suspect(NamedTuple):
    """A contact that is to be sent without an id, and what may collide: normalised mail and name."""

    key: str
    mail: str
    name: str


class Collisions:
    """Finds those who collide with contacts to be sent, among everybody in `people`.

    `people`: selects with the columns of `STORED`, which no key is in twice. They must find a mail or a name
    by an index. The answers depend on nobody being held, hence not on the pages that are asked for.
    """

    def __init__(
        self,
        connection: Connection,
        how: str,
        *,
        people: Sequence[str] = STORED,
        cap: int = GROUP_CAP,
        members: int = MEMBERS,
    ) -> None:
        self._connection = connection
        self._how = how
        self._people = people
        self._cap = cap
        self._members = members
        self._crowds: dict[tuple[str, str], Held | None] = {}

    def held(self, suspects: Iterable[Suspect]) -> dict[str, Held]:
        """Return who must not be sent, by key, and with whom each of them collides."""
        suspects = sorted(suspects, key=lambda suspect: (suspect.name, suspect.mail))
        sizes = {
            column: self._sizes(column, {value for one in suspects if (value := getattr(one, column))})
            for column in ("mail", "name")
        }
        held: dict[str, Held] = {}
        near: list[Suspect] = []
        for one in suspects:
            crowd = None
            for column, value in (("mail", one.mail), ("name", one.name)):
                if crowd is None and sizes[column].get(value, 0) > self._cap:
                    crowd = self._crowd(column, value)
            if crowd is not None:
                keys = [key for key in crowd.keys if key != one.key][:LISTED]
                held[one.key] = Held(tuple(keys), crowd.more - 1 - len(keys), crowd.hint)
            elif max(sizes["mail"].get(one.mail, 0), sizes["name"].get(one.name, 0)) > 1:
                near.append(one)
        for few in self._few(near, sizes):
            people = self._meet(few)
            neighbours = Neighbours(people.values())
            for one in few:
                found = neighbours.held_by(people[one.key], self._how) if one.key in people else None
                if found is not None:
                    held[one.key] = found
        return held

    def _sizes(self, column: str, values: Iterable[str]) -> dict[str, int]:
        """Count who shares a mail or a name, up to one more than the cap."""
        sizes: dict[str, int] = {}
        asked = _json(values)
        for people in self._people:
            rows = self._connection.execute(
                "SELECT j.value, (SELECT count(*) FROM (SELECT 1 "
                f"FROM ({people}) p WHERE p.{column} = j.value AND p.{column} <> '' LIMIT ?)) "
                "FROM json_each(?) j",
                (self._cap + 1, asked),
            ).fetchall()
            for value, size in rows:
                sizes[value] = sizes.get(value, 0) + size
        return sizes

    def _crowd(self, column: str, value: str) -> Held | None:
        """Return the first keys of a group above the cap and the count of all, None when it is none."""
        if (column, value) not in self._crowds:
            keys: list[str] = []
            count = 0
            for people in self._people:
                share = f"FROM ({people}) p WHERE p.{column} = ? AND p.{column} <> '' AND {_COUNTS}"
                execute = self._connection.execute
                count += execute(f"SELECT count(*) {share}", (value,)).fetchone()[0]
                first = f"SELECT p.key {share} ORDER BY p.key LIMIT ?"
                keys += [key for (key,) in execute(first, (value, LISTED + 1)).fetchall()]
            hint = f"more than {self._cap} contacts share its {column}; they were not compared one by one"
            found = Held(tuple(sorted(keys)[: LISTED + 1]), count, hint) if count > self._cap else None
            self._crowds[column, value] = found
        return self._crowds[column, value]

    def _few(
        self, suspects: Iterable[Suspect], sizes: Mapping[str, Mapping[str, int]]
    ) -> Iterator[list[Suspect]]:
        """Split suspects, those of one name together, so that the groups they are in stay few enough."""
        few: list[Suspect] = []
        groups: set[tuple[str, str]] = set()
        members = 0
        for one in suspects:
            new = {("mail", one.mail), ("name", one.name)} - groups
            more = sum(sizes[column].get(value, 0) for column, value in new)
            if few and members + more > self._members:
                yield few
                few, groups, members = [], set(), 0
                new = {("mail", one.mail), ("name", one.name)}
                more = sum(sizes[column].get(value, 0) for column, value in new)
            few.append(one)
            groups |= new
            members += more
        if few:
            yield few

    def _meet(self, suspects: Sequence[Suspect]) -> dict[str, Person]:
        """Read everybody with the mail or the name of these, themselves included, by key."""
        found: dict[str, Person] = {}
        for column in ("mail", "name"):
            asked = _json({getattr(one, column) for one in suspects})
            for people in self._people:
                rows = self._connection.execute(
                    "SELECT p.key, p.content, p.has_id, p.was_accepted FROM json_each(?) j "
                    f"CROSS JOIN ({people}) p WHERE p.{column} = j.value AND p.{column} <> '' AND {_COUNTS}",
                    (asked,),
                ).fetchall()
                for key, content, has_id, was_accepted in rows:
                    if key not in found:
                        traits = traits_of(orjson.loads(content))
                        found[key] = Person(key, traits, bool(has_id), bool(was_accepted))
        return found


def hold_collisions(
    store: Store,
    how: str,
    *,
    run: int,
    keys: Collection[str] | None = None,
    page: int = PAGE_ROWS,
    cap: int = GROUP_CAP,
    members: int = MEMBERS,
    passing: Collection[int] = (),
) -> int:
    """Hold due contacts without an id that could be taken for another contact; return how many.

    `how`: the setting `[identity] collisions`. All who collide are held, each with the keys of the others; of
    more than `cap` contacts with one mail or one name all are, without a look at each. Whoever is in flight
    is let go, and counts as accepted. `keys`: look at these alone, and at those they are found to collide
    with: what was edited during a run. `passing`: contacts that are let go whatever they collide with.
    """
    collisions = Collisions(store.connection, how, cap=cap, members=members)
    held = _hold_colliding(store, collisions, run=run, page=page, keys=keys, passing=passing)
    if keys is None:
        return sum(map(len, held))
    looked_at = [one for found in held for one in found.values()]
    met = {key for one in looked_at for key in one.keys} - set(keys)
    also = _hold_colliding(store, collisions, run=run, page=page, keys=met, passing=passing)
    return len(looked_at) + sum(map(len, also))


def _hold_colliding(
    store: Store,
    collisions: Collisions,
    *,
    run: int,
    page: int,
    keys: Collection[str] | None,
    passing: Collection[int],
) -> Iterator[dict[str, Held]]:
    """Hold whoever is due and collides; yield, page by page, who was held."""
    for found in _colliding(store, collisions, page=page, keys=keys):
        held = {key: held for n, key, held in found if n not in passing}
        with store.writing() as connection:
            for n, key, _ in found:
                if key in held:
                    facts = held[key].facts()
                    set_problem(connection, [n], "held", COLLIDES, run=run, now=store.now(), facts=facts)
        yield held


def _colliding(
    store: Store, collisions: Collisions, *, page: int, keys: Collection[str] | None
) -> Iterator[list[tuple[int, str, Held]]]:
    """Yield, page by page, number and key of whoever is due and collides, and with whom."""
    condition = (
        "remote_id IS NULL AND missing = 0 AND (mail <> '' OR name <> '') "
        "AND n NOT IN (SELECT n FROM intents WHERE open = 1)"
    )
    for rows in _pages(store, "key, n, mail, name", condition, page, keys=keys):
        with store.reading():
            held = collisions.held(Suspect(key, mail, name) for key, _, mail, name in rows)
        if held:
            yield [(n, key, held[key]) for key, n, _, _ in rows if key in held]


def colliding(store: Store) -> list[int]:
    """Return, in key order, due contacts that collide with others, but for those in too large a group."""
    found = _colliding(store, Collisions(store.connection, "create"), page=PAGE_ROWS, keys=None)
    return [n for page in found for n, _, held in page if not held.hint]


def hold_moved_keys(store: Store, *, run: int, keys: Collection[str] | None = None) -> int:
    """Hold due contacts with an id whose content now names another person; return how many.

    Compared with what a read has shown applied, else with what was last accepted. `keys`: these alone.
    """
    held = 0
    before = (
        "CASE WHEN applied_hash IS NOT NULL THEN coalesce(applied, content) "
        "WHEN accepted_hash IS NOT NULL THEN coalesce(accepted, content) END"
    )
    for rows in _pages(store, f"key, n, {before}, content", "remote_id IS NOT NULL", READ_ROWS, keys=keys):
        moved = [n for _, n, old, new in rows if old is not None and old != new and _names_another(old, new)]
        held += hold(store, moved, MOVED_KEY, run=run)
    return held


def moved_keys(store: Store) -> tuple[int, int]:
    """Return how many contacts are held because their key names another person; how many have an id."""
    with store.reading() as connection:
        moved = connection.execute(
            f"SELECT count(*) FROM contacts WHERE {OPEN_PROBLEM} AND problem = 'held' AND problem_reason = ?",
            (MOVED_KEY,),
        ).fetchone()[0]
        with_id = connection.execute("SELECT count(*) FROM contacts WHERE remote_id IS NOT NULL").fetchone()
        return moved, with_id[0]


@dataclass(frozen=True, slots=True)
class ChangedIdentity:
    """A contact whose id is not known, and whose content would not be matched to what was accepted."""

    n: int
    key: str = field(repr=False)
    accepted: Mapping[str, Any] = field(repr=False)
    content: Mapping[str, Any] = field(repr=False)


def changed_identities(
    store: Store, after: str, limit: int, *, keys: Collection[str] | None = None
) -> list[ChangedIdentity]:
    """Return due contacts with keys above `after` whose identity changed before their id was known.

    Up to `limit`, in key order; none at the end. `keys`: of these alone.
    """
    found: list[ChangedIdentity] = []
    condition = (
        "remote_id IS NULL AND accepted_at IS NOT NULL AND accepted IS NOT NULL "
        "AND accepted_hash IS NOT content_hash"
    )
    columns = "key, n, accepted, content"
    pages = _pages(store, columns, condition, READ_ROWS, after=after, keys=keys, also_released=True)
    for rows in pages:
        for key, n, accepted, content in rows:
            one = ChangedIdentity(n, key, orjson.loads(accepted), orjson.loads(content))
            if is_lost(one.accepted, one.content):
                found.append(one)
        if len(found) >= limit:
            break
    return found[:limit]


def hold(
    store: Store,
    contacts: Iterable[int],
    reason: str,
    *,
    run: int,
    facts: Mapping[str, Any] | None = None,
) -> int:
    """Hold these contacts, but for the released ones; return how many."""
    asked = _json(contacts)
    if asked == "[]":
        return 0
    with store.writing() as connection:
        numbers = [
            n
            for (n,) in connection.execute(
                f"SELECT c.n FROM json_each(?) j CROSS JOIN contacts c ON c.n = j.value WHERE {_UNRELEASED}",
                (asked,),
            ).fetchall()
        ]
        set_problem(connection, numbers, "held", reason, run=run, now=store.now(), facts=facts)
    return len(numbers)


def _pages(
    store: Store,
    columns: str,
    condition: str,
    page: int,
    *,
    after: str = "",
    keys: Collection[str] | None = None,
    also_released: bool = False,
) -> Iterator[list[tuple[Any, ...]]]:
    """Yield, in pages by key, due contacts that meet an SQL condition of ours. `columns` begin with `key`."""
    if not also_released:
        condition += f" AND {_UNRELEASED}"
    if keys is not None:
        condition += " AND key IN (SELECT value FROM json_each(:keys))"
    while True:
        with store.reading() as connection:
            rows = connection.execute(
                f"SELECT {columns} FROM contacts WHERE {DUE} AND {condition} AND key > :after "
                "ORDER BY key LIMIT :page",
                {"after": after, "page": page, "keys": _json(keys or ())},
            ).fetchall()
        if not rows:
            return
        after = rows[-1][0]
        yield rows


def _names_another(before: bytes, now: bytes) -> bool:
    return names_another(orjson.loads(before), orjson.loads(now))


def _json(values: Iterable[str] | Iterable[int]) -> str:
    """Return a list as a parameter of `json_each`."""
    return orjson.dumps(list(values)).decode()
