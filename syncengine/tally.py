"""What became of each contact of a run, counted: every contact counts once, by its last result."""

from __future__ import annotations

from syncengine.model import Receipt, Result

_STATES = {
    Result.ACCEPTED: 1,
    Result.REJECTED: 2,
    Result.IN_DOUBT: 3,
    Result.UNKNOWN: 4,
    Result.WITHDRAWN: 5,
}
_STATE = 0x0F
_SENT = 0x10
_REPEATED = 0x20


class Tally:
    """Counts receipts by contact, in one byte per stored contact."""

    def __init__(self) -> None:
        self._marks = bytearray()
        self._counts = [0] * (max(_STATES.values()) + 1)
        self.sent = 0
        self.repeated = 0

    def add(self, receipt: Receipt) -> None:
        """Count a receipt."""
        n = receipt.change.n
        if n >= len(self._marks):
            self._marks.extend(bytes(n + 1 - len(self._marks) + 65_536))
        mark = self._marks[n]
        state = _STATES[receipt.result]
        self._counts[mark & _STATE] -= 1
        self._counts[state] += 1
        mark = (mark & ~_STATE) | state
        if receipt.requests and not mark & _SENT:
            mark |= _SENT
            self.sent += 1
        if receipt.repeats and not mark & _REPEATED:
            mark |= _REPEATED
            self.repeated += 1
        self._marks[n] = mark

    def __getitem__(self, result: Result) -> int:
        """How many contacts have this last result."""
        return self._counts[_STATES[result]]

    def was_accepted(self, n: int) -> bool:
        """Say whether a contact's last result is an acceptance."""
        return n < len(self._marks) and self._marks[n] & _STATE == _STATES[Result.ACCEPTED]

    @property
    def answered(self) -> int:
        """Contacts with a definite answer."""
        return self[Result.ACCEPTED] + self[Result.REJECTED]

    @property
    def failed_share(self) -> float:
        """Rejected contacts as a share of those answered."""
        return self[Result.REJECTED] / self.answered if self.answered else 0.0
