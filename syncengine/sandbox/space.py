"""The state of one simulated Qomon space: what it holds, what it counts, what it still has to do."""

import time

from syncengine.sandbox.book import Book
from syncengine.sandbox.bucket import Bucket
from syncengine.sandbox.faults import Faults
from syncengine.sandbox.options import SandboxOptions
from syncengine.sandbox.pending import Pending
from syncengine.sandbox.sample import sample_contacts
from syncengine.sandbox.stats import Stats

_UNLIMITED = 1_000_000  # tokens, and tokens per second: more than any client can send


class Space:
    """One space with its one key and its one bucket."""

    def __init__(self, options: SandboxOptions) -> None:
        self.options = options
        self.key = options.key()
        self.is_revoked = False
        self.faults = Faults(options.faults, options.seed)
        self.stats = Stats()
        self.book = Book()
        self.book.create_many(sample_contacts(options.contacts, options.seed), time.time())
        self.pending = Pending(self.book, self.stats)
        self.bucket = (
            Bucket(_UNLIMITED, _UNLIMITED, time.monotonic)
            if options.unlimited
            else Bucket(options.burst, options.rate, time.monotonic)
        )
        self._seq = 0

    def next_seq(self) -> int:
        """Return the number of the request that has just arrived, counted from 1."""
        self._seq += 1
        return self._seq

    def reset(self) -> None:
        """Empty the space: no contacts, history or counts, a full bucket, a valid key, all faults to come."""
        self._seq = 0
        self.is_revoked = False
        self.pending.clear()
        self.book.clear()
        self.stats.clear()
        self.bucket.refill()
        self.faults.restart()

    def close(self) -> None:
        """Let go of the temporary file."""
        self.book.close()
