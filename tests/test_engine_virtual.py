"""A loop on which time passes only when everybody waits, and a destination in memory. And their own tests."""

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any, Self, TypeVar

import pytest

from syncengine.clock import Clock
from syncengine.errors import RateHeaders, RateLimitedError, SyncError
from syncengine.model import Change, Receipt, Result

T = TypeVar("T")

START = 1_700_000_000.0
"""The wall clock when the loop's clock stands at 0."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose clock jumps to the next timer as soon as nothing is left to do. Deterministic."""

    def __init__(self) -> None:
        self._now = 0.0
        selector = selectors.DefaultSelector()
        wait = selector.select

        def select(timeout: float | None = None) -> Any:
            if timeout is None:
                raise AssertionError("everybody waits and nobody will ever come")
            # A turn takes a microsecond: a timer set to a hair from now must not find the clock where it was.
            self._now += max(1e-6, timeout)
            return wait(0)

        selector.select = select  # type: ignore[method-assign]  # the one seam asyncio offers
        super().__init__(selector)

    def time(self) -> float:
        return self._now


class Inline(Executor):
    """An executor without threads: the work is done when it is handed in."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever asked
            future.set_exception(error)
        return future


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def now() -> float:
    return asyncio.get_running_loop().time()


def virtual_clock() -> Clock:
    """Return the clock of the virtual loop, for the engine."""
    return Clock(wall=lambda: START + now(), monotonic=now)


class ServerBucket:
    """The server's side: an exact token bucket that says what is left, as Qomon does."""

    def __init__(self, burst: int, rate: float, level: float | None = None) -> None:
        self.burst, self.rate = burst, rate
        self.level = float(burst if level is None else level)
        self._at = now()
        self.refused: list[float] = []
        self.taken: list[float] = []

    def take(self, cost: float = 1.0) -> RateHeaders:
        """Take tokens; raises RateLimitedError when there are too few."""
        self.level = min(self.burst, self.level + (now() - self._at) * self.rate)
        self._at = now()
        # The loop's timers are exact to its clock's resolution, so equality needs a little room.
        if self.level < cost - 1e-6:
            self.refused.append(now())
            raise RateLimitedError("HTTP 429", status=429, sent=False, rate=self._headers(0.0))
        self.level -= cost
        self.taken.append(now())
        return self._headers(cost)

    def _headers(self, cost: float) -> RateHeaders:
        return RateHeaders(burst=self.burst, rate=self.rate, remaining=float(int(self.level)), cost=cost)


class MemoryDestination:
    """A destination in memory. `answer` may raise or return rate headers; None: accepted without headers."""

    def __init__(self, answer: Callable[[Change], Awaitable[RateHeaders | None]]) -> None:
        self._answer = answer
        self.sent: list[tuple[float, str]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def upsert(self, change: Change) -> Receipt:
        self.sent.append((now(), change.key))
        rate = await self._answer(change)
        return Receipt(change, Result.ACCEPTED, status=202, rate=rate or RateHeaders())


def test_a_virtual_hour_takes_no_time_and_the_order_is_by_time() -> None:
    woken: list[float] = []

    async def sleeper(seconds: float) -> None:
        await asyncio.sleep(seconds)
        woken.append(now())

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for seconds in (3600.0, 1.0, 60.0):
                group.create_task(sleeper(seconds))

    run_virtual(main())
    assert woken == pytest.approx([1.0, 60.0, 3600.0], abs=0.01)


def test_waiting_for_ever_is_noticed() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(AssertionError, match="nobody will ever come"):
        run_virtual(main())


def test_errors_of_inline_work_reach_whoever_asked(tmp_path: Path) -> None:
    def fail() -> None:
        raise SyncError("no")

    with pytest.raises(SyncError):
        Inline().submit(fail).result()
