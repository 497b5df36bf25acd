"""The store's own thread.

SQLite blocks: it lives in a single-thread executor, never on the loop and never in the default pool, which
name look-ups use too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class StoreThread:
    """Runs store calls one after the other in `executor` (which must have exactly one thread)."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    async def __call__(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `function` in the store's thread.

        A cancelled caller still waits for the end of the call: a write cannot be recalled, and whoever
        cancels must not go on beside it.
        """
        call = asyncio.get_running_loop().run_in_executor(self._executor, lambda: function(*args, **kwargs))
        try:
            return await asyncio.shield(call)
        except asyncio.CancelledError:
            while not call.done():
                with suppress(asyncio.CancelledError):  # cancelled again: still, not before it ends
                    await asyncio.wait({call})
            raise
