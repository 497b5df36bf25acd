"""The running sandbox: one space behind one listening socket, and the clock that applies what is due."""

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Callable
from typing import Self

import orjson

from syncengine.sandbox.api import Api
from syncengine.sandbox.control import PREFIX, Control
from syncengine.sandbox.faults import FaultsError
from syncengine.sandbox.options import SandboxOptions
from syncengine.sandbox.server import Connection
from syncengine.sandbox.space import Space
from syncengine.sandbox.wire import Answer, Request

_TICK = 0.01  # seconds between two looks at the queue while something is in it
_SLICE = 256  # upserts applied between two looks at the sockets


class Sandbox:
    """A local Qomon: `async with Sandbox(options) as sandbox`, then `sandbox.base_url` and `sandbox.api_key`.

    Everything happens on the running loop, SQLite included: its file is a cache, not a promise. Entering
    raises `FaultsError` for an unusable faults file and OSError when the address is taken.
    """

    def __init__(self, options: SandboxOptions | None = None) -> None:
        self._options = options or SandboxOptions()
        self._connections: set[Connection] = set()
        self._tick: asyncio.Handle | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._space = space = Space(self._options)
        self._api = Api(space, self._wake)
        self._control = Control(space)
        try:
            self._server = await self._loop.create_server(
                lambda: Connection(self._answer, space.stats, self._connections),
                self._options.host,
                self._options.port,
                backlog=1024,
            )
        except BaseException:
            space.close()
            raise
        host, port = self._server.sockets[0].getsockname()[:2]
        self.base_url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self.api_key = space.key
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for connection in tuple(self._connections):
            connection.abort()
        if self._tick:
            self._tick.cancel()
        while self._connections:  # noqa: ASYNC110 - they are gone a turn or two later
            await asyncio.sleep(0)
        self._space.close()

    def _answer(self, request: Request) -> Answer:
        if request.path.startswith(PREFIX):
            return self._control.answer(request)
        return self._api.answer(request)

    def _wake(self) -> None:
        if self._tick is None:
            self._tick = self._loop.call_later(_TICK, self._apply)

    def _apply(self) -> None:
        self._tick = None
        pending = self._space.pending
        pending.apply(time.monotonic(), _SLICE)
        if pending:
            is_behind = pending.due <= time.monotonic()
            self._tick = self._loop.call_later(0 if is_behind else _TICK, self._apply)


async def serve(options: SandboxOptions, *, ready: Callable[[str, str], None]) -> None:
    """Run a sandbox until cancelled; `ready` is called once with its base URL and API key."""
    async with Sandbox(options) as sandbox:
        ready(sandbox.base_url, sandbox.api_key)
        await asyncio.Event().wait()


def run(options: SandboxOptions) -> None:
    """Print one JSON line with `base_url` and `api_key`, then run until SIGTERM or SIGINT.

    Exits with 2 when the faults file is unusable and with 1 when it cannot listen, each with one line on
    stderr.
    """
    try:
        asyncio.run(_serve_until_signalled(options))
    except FaultsError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    except OSError as error:
        print(f"the sandbox cannot run: {error}", file=sys.stderr)
        raise SystemExit(1) from None


async def _serve_until_signalled(options: SandboxOptions) -> None:
    task = asyncio.current_task()
    assert task
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await serve(options, ready=_print_ready)


def _print_ready(base_url: str, api_key: str) -> None:
    sys.stdout.write(orjson.dumps({"base_url": base_url, "api_key": api_key}).decode() + "\n")
    sys.stdout.flush()
