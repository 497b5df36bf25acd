"""What became of each contact of a run, counted: every contact counts once, by its last result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from syncengine.model import Receipt, Result, Verdict

_STATES = {
    Result.ACCEPTED: 1,
    Result.REJECTED: 2,
    Result.IN_DOUBT: 3,
    Result.UNKNOWN: 4,
    Result.WITHDRAWN: 5,
}
_VERDICTS = {Verdict.CONFIRMED: 6, Verdict.DIFFERS: 7, Verdict.DROPPED: 8}
_ACCEPTED = frozenset({_STATES[Result.ACCEPTED], *_VERDICTS.values()})
_STATE = 0x0F
_SENT = 0x10
_REPEATED = 0x20


class Tally:
    """Counts receipts by contact, in one byte per stored contact."""

    def __init__(self) -> None:
        self._marks = bytearray()
        self._counts = [0] * (max(_VERDICTS.values()) + 1)
        self.sent = 0
        self.repeated = 0

    def add(self, receipt: Receipt) -> None:
        """Count a receipt."""
        n = receipt.change.n
        mark = self._move(n, _STATES[receipt.result])
        if receipt.requests and not mark & _SENT:
            mark |= _SENT
            self.sent += 1
        if receipt.repeats and not mark & _REPEATED:
            mark |= _REPEATED
            self.repeated += 1
        self._marks[n] = mark

    def settle(self, n: int, verdict: Verdict) -> None:
        """Count what a read showed of a contact of this run, or that nothing was left to send of it."""
        self._marks[n] = self._move(n, _VERDICTS[verdict])

    def _move(self, n: int, state: int) -> int:
        """Count a contact under another state; return its mark, which the caller writes down."""
        if n >= len(self._marks):
            self._marks.extend(bytes(n + 1 - len(self._marks) + 65_536))
        mark = self._marks[n]
        self._counts[mark & _STATE] -= 1
        self._counts[state] += 1
        return (mark & ~_STATE) | state

    def __getitem__(self, state: Result | Verdict) -> int:
        """How many contacts have this last result, or were settled so: then no result any more."""
        return self._counts[_STATES[state] if isinstance(state, Result) else _VERDICTS[state]]

    def was_accepted(self, n: int) -> bool:
        """Say whether a contact's last result is an acceptance, whatever a read showed since."""
        return n < len(self._marks) and self._marks[n] & _STATE in _ACCEPTED

    def of_these(self, contacts: Iterable[int]) -> Counter[Result | Verdict]:
        """Count how some contacts stand, of those that were accepted."""
        states: dict[int, Result | Verdict] = {number: result for result, number in _STATES.items()}
        states |= {number: verdict for verdict, number in _VERDICTS.items()}
        marks = (self._marks[n] & _STATE for n in contacts if self.was_accepted(n))
        return Counter(states[mark] for mark in marks)

    @property
    def accepted(self) -> int:
        """Contacts that were accepted, whatever a read showed since."""
        return sum(self._counts[state] for state in _ACCEPTED)

    @property
    def answered(self) -> int:
        """Contacts with a definite answer."""
        return self.accepted + self[Result.REJECTED]

    @property
    def failed(self) -> int:
        """Contacts rejected, dropped or differing."""
        return self[Result.REJECTED] + self[Verdict.DIFFERS] + self[Verdict.DROPPED]

    @property
    def failed_share(self) -> float:
        """Rejected, dropped and differing contacts as a share of those answered."""
        return self.failed / self.answered if self.answered else 0.0
