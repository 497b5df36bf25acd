"""Upserts that were accepted and wait to be applied: in order of their due time, then of their arrival.

One after the other, so that the second of two upserts for one new person finds the first.
"""

import heapq
import time
from typing import Any

import orjson

from syncengine.sandbox.book import Book, Entry
from syncengine.sandbox.contact import merge, unknown_field
from syncengine.sandbox.matching import identity_of, is_same_by_mail, is_same_by_names
from syncengine.sandbox.stats import Stats


class Pending:
    """The queue between 202 and the contacts; due times are seconds of `time.monotonic`."""

    def __init__(self, book: Book, stats: Stats) -> None:
        self._book = book
        self._stats = stats
        self._queue: list[tuple[float, int, Entry]] = []

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def due(self) -> float:
        """When the first of the queue is due; the queue must not be empty."""
        return self._queue[0][0]

    def add(self, entry: Entry, due: float) -> None:
        """Queue an accepted upsert."""
        entry.outcome = "queued"
        heapq.heappush(self._queue, (due, entry.seq, entry))

    def clear(self) -> None:
        """Forget what is queued."""
        self._queue.clear()

    def apply(self, until: float, most: int | None = None) -> int:
        """Apply what is due at `until`, at most so many; return how many."""
        applied = 0
        while self._queue and self._queue[0][0] <= until and applied != most:
            self._apply(heapq.heappop(self._queue)[2])
            applied += 1
        return applied

    def _apply(self, entry: Entry) -> None:
        assert entry.body is not None
        sent = orjson.loads(entry.body)["data"]
        now = time.time()
        outcome, entry.contact_id, entry.cause = self._outcome(sent, now, is_dropped=entry.fault == "drop")
        self._stats.outcomes["queued"] -= 1
        self._stats.outcomes[outcome] += 1
        entry.outcome = outcome
        entry.applied_at = now
        self._book.settle(entry)

    def _outcome(
        self, sent: dict[str, Any], now: float, *, is_dropped: bool
    ) -> tuple[str, int | None, str | None]:
        if is_dropped:
            return "dropped", None, "fault"
        unknown = unknown_field(sent)
        if unknown is not None:
            return "dropped", None, f"unknown field {unknown}"
        if sent.get("id"):
            found = self._book.by_id(sent["id"])
            if found is None:
                return "dropped", None, f"no contact has id {sent['id']}"
        else:
            found = self._match(sent)
        if found is None:
            return "created", self._book.create(merge({}, sent), now), None
        number, stored = found
        self._book.update(number, merge(stored, sent), now)
        return "updated", number, None

    def _match(self, sent: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        identity = identity_of(sent)
        if identity.mail:
            for number, stored in self._book.with_mail(identity):
                if is_same_by_mail(identity, identity_of(stored)):
                    return number, stored
        if identity.surname:
            for number, stored in self._book.with_names(identity):
                if is_same_by_names(identity, identity_of(stored)):
                    return number, stored
        return None
