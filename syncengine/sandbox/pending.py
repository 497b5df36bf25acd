"""Upserts that were accepted and wait to be applied: in order of their due time, then of their arrival.

One after the other. But whom an upsert means is a matter of the moment it was accepted: a contact created
since is not found by mail or names, so two upserts of one new person that wait together make twins (unknown
`twins`: nothing is documented, and this does more harm). An upsert that need not wait finds everybody.
"""

import heapq
import math
import time
from typing import Any

import orjson

from syncengine.sandbox.book import Book, Entry
from syncengine.sandbox.contact import answers_in, cause_of_drop, merge
from syncengine.sandbox.forms import Forms
from syncengine.sandbox.matching import is_same_by_mail, is_same_by_names
from syncengine.sandbox.stats import Stats
from syncengine.sandbox.unknowns import Unknowns


class Pending:
    """The queue between 202 and the contacts; due times are seconds of `time.monotonic`."""

    def __init__(self, book: Book, stats: Stats, forms: Forms, unknowns: Unknowns) -> None:
        self._book = book
        self._stats = stats
        self._forms = forms
        self._unknowns = unknowns
        self._queue: list[tuple[float, int, Entry, float, str | None]] = []

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def due(self) -> float:
        """When the first of the queue is due; the queue must not be empty."""
        return self._queue[0][0]

    def add(self, entry: Entry, wait: float, cause: str | None = None) -> None:
        """Queue an accepted upsert for so many seconds; with a `cause` it will be dropped for that."""
        entry.outcome = "queued"
        seen = entry.at if wait > 0 and self._unknowns.twins == "yes" else math.inf
        heapq.heappush(self._queue, (time.monotonic() + wait, entry.seq, entry, seen, cause))

    def clear(self) -> None:
        """Forget what is queued."""
        self._queue.clear()

    def apply(self, until: float, most: int | None = None) -> int:
        """Apply what is due at `until`, at most so many; return how many."""
        applied = 0
        while self._queue and self._queue[0][0] <= until and applied != most:
            _, _, entry, seen, cause = heapq.heappop(self._queue)
            self._apply(entry, seen, "fault" if entry.fault == "drop" else cause)
            applied += 1
        return applied

    def _apply(self, entry: Entry, seen: float, cause: str | None) -> None:
        now = time.time()
        if cause is None:
            assert entry.body is not None
            sent = orjson.loads(entry.body)["data"]
            outcome, entry.contact_id, entry.cause = self._outcome(sent, now, seen)
        else:
            outcome, entry.cause = "dropped", cause
        self._stats.outcomes["queued"] -= 1
        self._stats.outcomes[outcome] += 1
        entry.outcome = outcome
        entry.applied_at = now
        self._book.settle(entry)

    def _outcome(self, sent: dict[str, Any], now: float, seen: float) -> tuple[str, int | None, str | None]:
        """Apply a contact, matched against what was created by `seen`; return outcome, id and cause."""
        forms, unknowns = self._forms, self._unknowns
        answers = answers_in(sent, forms)
        cause = cause_of_drop(sent, forms, unknowns, answers)
        if cause is not None:
            return "dropped", None, cause
        found = self._book.by_id(sent["id"]) if sent.get("id") else None
        if found is None:
            if sent.get("id") and unknowns.dead_id == "drop":
                return "dropped", None, f"no contact has id {sent['id']}"
            found = self._match(sent, seen)
        if found is None:
            fields = merge({}, sent, forms, unknowns, now, answers=answers)
            return "created", self._book.create(fields, now), None
        number, stored = found
        fields = merge(stored, sent, forms, unknowns, now, answers=answers)
        if unknowns.noop == "moves" or fields != stored:
            self._book.update(number, fields, now)
        return "updated", number, None

    def _match(self, sent: dict[str, Any], seen: float) -> tuple[int, dict[str, Any]] | None:
        book = self._book
        identity = book.identity(sent)
        if identity.mail:
            for number, stored in book.with_mail(identity, seen):
                if is_same_by_mail(identity, book.identity(stored)):
                    return number, stored
        if identity.surname:
            for number, stored in book.with_names(identity, seen):
                if is_same_by_names(identity, book.identity(stored)):
                    return number, stored
        return None
