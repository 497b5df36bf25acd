"""The state of one simulated Qomon space: what it holds, what it counts, what it still has to do."""

import time
from collections.abc import Callable

from syncengine.sandbox.book import Book
from syncengine.sandbox.faults import Faults
from syncengine.sandbox.forms import Forms
from syncengine.sandbox.options import SandboxOptions
from syncengine.sandbox.pending import Pending
from syncengine.sandbox.sample import sample_contacts
from syncengine.sandbox.stats import Stats


class Space:
    """One space: its contacts, forms, queue, history and faults. `wake` is called when it has work.

    Raises FaultsError or FormsError for an unusable file.
    """

    def __init__(self, options: SandboxOptions, group_id: int, seed: int, wake: Callable[[], None]) -> None:
        self.options = options
        self.group_id = group_id
        self.wake = wake
        self.faults = Faults(options.faults, seed)
        self.stats = Stats()
        self.forms = Forms.read(options.forms) if options.forms else Forms.sample()
        self.book = Book(options.unknowns.matching, options.unknowns.winner)
        self.book.create_many(sample_contacts(options.contacts, seed, self.forms, time.time()))
        self.pending = Pending(self.book, self.stats, self.forms, options.unknowns)
        self._seq = 0

    def next_seq(self) -> int:
        """Return the number of the request that has just arrived, counted from 1."""
        self._seq += 1
        return self._seq

    def reset(self) -> None:
        """Empty the space: no contacts, history or counts, all faults to come, the forms as at the start."""
        self._seq = 0
        self.pending.clear()
        self.book.clear()
        self.stats.clear()
        self.faults.restart()
        self.forms.restart()

    def close(self) -> None:
        """Let go of the temporary file."""
        self.book.close()
