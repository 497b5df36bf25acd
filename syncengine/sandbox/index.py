"""What `/search` and `/kpi` look at: the contacts as they are, or as they were a moment ago.

Observed in live spaces: a search lags behind the writes. With a lag it looks at a copy of the table, brought
up to date at each search with what had changed until the lag before. A contact that was changed again
meanwhile stays as it was in the copy until its last change is old enough. Emptying the whole space, as a
reset does, shows at once.

Pages are offsets into what matches at that moment (observed): in the usual order, where a contact that is
edited moves to the end, an edit between two pages lets the one behind it slip past the second.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, cast

import orjson

from syncengine.sandbox.book import Stored
from syncengine.sandbox.clauses import Clause
from syncengine.sandbox.conditions import Node
from syncengine.sandbox.matching import fold
from syncengine.sandbox.search import Search
from syncengine.sandbox.space import Space

_COPY = (
    "CREATE TABLE searchable AS SELECT * FROM contacts",
    "CREATE UNIQUE INDEX searchable_id ON searchable (id)",
    "CREATE INDEX searchable_updated ON searchable (updated, id)",
    "CREATE INDEX searchable_mail ON searchable (mail) WHERE mail IS NOT NULL",
    "CREATE TABLE copied (until REAL NOT NULL)",
    "CREATE TABLE gone (id INTEGER PRIMARY KEY, at REAL NOT NULL)",
    """
    CREATE TRIGGER contact_gone AFTER DELETE ON contacts BEGIN
        INSERT OR REPLACE INTO gone VALUES (old.id, (julianday('now') - 2440587.5) * 86400.0);
    END
    """,
    """
    CREATE TRIGGER all_gone AFTER DELETE ON contacts WHEN NOT EXISTS (SELECT 1 FROM contacts) BEGIN
        DELETE FROM searchable;
        DELETE FROM gone;
    END
    """,
)
_REFRESH = (
    "DELETE FROM searchable WHERE id IN (SELECT id FROM gone WHERE at <= :until)",
    "DELETE FROM gone WHERE at <= :until",
    """
    INSERT OR REPLACE INTO searchable SELECT * FROM contacts
    WHERE updated > (SELECT until FROM copied) AND updated <= :until
    """,
    "UPDATE copied SET until = :until",
)
_ORDERS = {"indexed": "updated, id", "id": "id", "newest": "updated DESC, id DESC"}
_ROW = "id, created, updated, lastchange, fields"


class Index:
    """Finds the contacts of one space, at the moment `now`."""

    def __init__(self, space: Space, now: float) -> None:
        self._db = space.book.db
        self._lag = space.options.search_lag
        self._now = now
        self._order = _ORDERS[space.options.unknowns.search_order]
        self._table = "searchable" if self._lag else "contacts"

    def open(self) -> None:
        """Begin to keep the copy: what is there now shows at once. Once per space."""
        if self._lag:
            for statement in _COPY:
                self._db.execute(statement)
            self._db.execute("INSERT INTO copied VALUES (?)", (self._now,))

    def count(self, query: Node) -> int:
        """Return how many contacts match."""
        self._refresh()
        clause = _clause_of(query)
        if clause.is_exact:
            return int(next(self._select("count(*)", clause, ""))[0])
        return sum(1 for _ in self._matching(query, clause, "id"))

    def page(self, search: Search) -> list[Stored]:
        """Return the contacts of one page."""
        self._refresh()
        first = search.page * search.per_page
        query, clause = search.query, _clause_of(search.query)
        order = self._order
        if search.sort_attr == "lastchange":
            order = "lastchange, id" if search.is_ascending else "lastchange DESC, id DESC"
        elif search.sort_attr:
            return self._sorted_page(search, clause, first)
        if clause.is_exact:
            rows = self._select(_ROW, clause, f"ORDER BY {order} LIMIT ? OFFSET ?", search.per_page, first)
            return [_stored(row) for row in rows]
        return list(itertools.islice(self._matching(query, clause, order), first, first + search.per_page))

    def _refresh(self) -> None:
        """Bring the copy up to date, but for the lag."""
        if self._lag:
            for statement in _REFRESH:
                self._db.execute(statement, {"until": self._now - self._lag})

    def _sorted_page(self, search: Search, clause: Clause, first: int) -> list[Stored]:
        """Return a page in the order of a text; who has none comes last either way."""
        with_text: list[tuple[str, int]] = []
        without: list[int] = []
        for stored in self._matching(search.query, clause, "id"):
            text = _sort_text(stored.fields, search.sort_attr)
            if text:
                with_text.append((text, stored.id))
            else:
                without.append(stored.id)
        with_text.sort(reverse=not search.is_ascending)
        ids = [number for _, number in with_text] + without
        page = ids[first : first + search.per_page]
        found = Clause("id IN (SELECT value FROM json_each(?))", (orjson.dumps(page),), is_exact=True)
        by_id = {row[0]: _stored(row) for row in self._select(_ROW, found, "")}
        return [by_id[number] for number in page]

    def _matching(self, query: Node, clause: Clause, order: str) -> Iterator[Stored]:
        for row in self._select(_ROW, clause, f"ORDER BY {order}"):
            stored = _stored(row)
            if clause.is_exact or query.matches(stored):
                yield stored

    def _select(self, what: str, clause: Clause, end: str, *more: int) -> Iterator[Sequence[Any]]:
        statement = f"SELECT {what} FROM {self._table} WHERE {clause.sql} {end}"  # noqa: S608 - our constants
        return cast("Iterator[Sequence[Any]]", self._db.execute(statement, (*clause.parameters, *more)))


def _clause_of(query: Node) -> Clause:
    return query.clause or Clause("1", (), is_exact=False)


def _stored(row: Sequence[Any]) -> Stored:
    number, created, updated, lastchange, fields = row
    return Stored(number, created, updated, lastchange, orjson.loads(fields))


def _sort_text(fields: dict[str, Any], sort_attr: str) -> str:
    holder = fields.get("address") or {} if sort_attr == "city" else fields
    return fold(holder.get(sort_attr))
