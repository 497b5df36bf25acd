"""Checkpoints: receipts committed in groups, and how far everything before has settled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from syncengine.model import Attempt, Receipt
from syncengine.store.sending import Batch


class Watermark:
    """Below which number everything has settled, when things settle out of order. Pure.

    Numbers are handed out in order by `open`; `low` is the lowest one not closed yet, `high` the next to be
    handed out.
    """

    def __init__(self) -> None:
        self.low = 0
        self.high = 0
        self._closed: set[int] = set()

    def open(self) -> int:
        """Hand out the next number."""
        self.high += 1
        return self.high - 1

    def close(self, number: int) -> None:
        """Settle a number that `open` handed out, once."""
        if not self.low <= number < self.high or number in self._closed:
            raise ValueError(f"{number} is not open")
        self._closed.add(number)
        while self.low in self._closed:
            self._closed.remove(self.low)
            self.low += 1

    @property
    def outstanding(self) -> int:
        """How many numbers are open."""
        return self.high - self.low - len(self._closed)


class Checkpointer:
    """Commits receipts in groups: while one group is being written, the next gathers.

    `commit` writes one batch durably; `settled` is then told each of its receipts. A receipt is recorded
    without waiting; whoever recorded it waits until it is committed: until then its contact is in flight.
    """

    def __init__(
        self,
        commit: Callable[[Batch], Awaitable[None]],
        settled: Callable[[Receipt], None] = lambda _receipt: None,
    ) -> None:
        self._commit = commit
        self._settled = settled
        self._batch = Batch()
        self._waiting: list[asyncio.Future[None]] = []
        self._wake = asyncio.Event()
        self._is_closed = False
        self._has_ended = False

    def record(self, receipt: Receipt) -> asyncio.Future[None]:
        """Take a receipt; the future is done when it is committed, cancelled when it never will be."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._batch.receipts.append(receipt)
        if self._has_ended:
            done.cancel()
        else:
            self._waiting.append(done)
            self._wake.set()
        return done

    @property
    def uncommitted(self) -> list[Receipt]:
        """Receipts not committed; after the end of `run` they never will be."""
        return self._batch.receipts

    def note(self, attempt: Attempt) -> None:
        """Take an attempt that settled nothing; committed with the next group."""
        self._batch.attempts.append(attempt)
        self._wake.set()

    def show(self, progress: dict[str, object]) -> None:
        """Let the next group also write the run's progress."""
        self._batch.progress = progress
        self._wake.set()

    def pause_until(self, moment: float) -> None:
        """Let the next group also remember until when (Unix time) the server ordered a pause."""
        self._batch.paused_until = moment
        self._wake.set()

    def close(self) -> None:
        """Let `run` end after what was recorded is committed."""
        self._is_closed = True
        self._wake.set()

    async def run(self) -> None:
        """Commit until closed. A failed commit ends it; what it held stays open in the store as intents."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._batch:
                    await self._commit_group()
                if self._is_closed:
                    return
        finally:
            self._has_ended = True
            for done in self._waiting:
                done.cancel()

    async def _commit_group(self) -> None:
        batch, self._batch = self._batch, Batch()
        waiting, self._waiting = self._waiting, []
        try:
            await self._commit(batch)
        except BaseException:
            self._batch.receipts[:0] = batch.receipts
            self._waiting[:0] = waiting
            raise
        for receipt, done in zip(batch.receipts, waiting, strict=True):
            self._settled(receipt)
            if not done.done():
                done.set_result(None)
