"""The running sandbox: its spaces behind one listening socket, and the clock that applies what is due."""

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
from syncengine.sandbox.form import FormsError
from syncengine.sandbox.options import SandboxOptions
from syncengine.sandbox.server import Connection
from syncengine.sandbox.spaces import Key, Spaces
from syncengine.sandbox.wire import Answer, Request

_TICK = 0.01  # seconds between two looks at the queue while something is in it
_SLICE = 256  # upserts applied, or acts of staff done, between two looks at the sockets


class Sandbox:
    """A local Qomon: `async with Sandbox(options) as sandbox`, then `sandbox.base_url` and `sandbox.api_key`.

    Everything happens on the running loop, SQLite included: its file is a cache, not a promise. Entering
    raises `FaultsError` or `FormsError` for an unusable file and OSError when the address is taken.
    """

    def __init__(self, options: SandboxOptions | None = None) -> None:
        self._options = options or SandboxOptions()
        self._connections: set[Connection] = set()
        self._tick: asyncio.Handle | None = None
        self._act: asyncio.Handle | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._spaces = spaces = Spaces(self._options, self._wake)
        self._api = Api(spaces)
        self._control = Control(spaces)
        try:
            self._server = await self._loop.create_server(
                lambda: Connection(self._answer, spaces.first.stats, self._connections),
                self._options.host,
                self._options.port,
                backlog=1024,
            )
        except BaseException:
            spaces.close()
            raise
        host, port = self._server.sockets[0].getsockname()[:2]
        self.base_url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self.keys: list[Key] = spaces.keys
        self.api_key = self.keys[0].token
        self._work()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for connection in tuple(self._connections):
            connection.abort()
        for timer in (self._tick, self._act):
            if timer:
                timer.cancel()
        while self._connections:  # noqa: ASYNC110 - they are gone a turn or two later
            await asyncio.sleep(0)
        self._spaces.close()

    def _answer(self, request: Request) -> Answer:
        if request.path.startswith(PREFIX):
            return self._control.answer(request)
        return self._api.answer(request)

    def _wake(self) -> None:
        if self._tick is None:
            self._tick = self._loop.call_later(_TICK, self._apply)

    def _apply(self) -> None:
        self._tick = None
        self._spaces.apply(time.monotonic(), _SLICE)
        due = self._spaces.due
        if due is not None:
            is_behind = due <= time.monotonic()
            self._tick = self._loop.call_later(0 if is_behind else _TICK, self._apply)

    def _work(self) -> None:
        self._spaces.work(time.monotonic(), _SLICE)
        due = self._spaces.next_act
        if due is not None:
            self._act = self._loop.call_later(max(0, due - time.monotonic()), self._work)


async def serve(options: SandboxOptions, *, ready: Callable[[Sandbox], None]) -> None:
    """Run a sandbox until cancelled; `ready` is called once when it listens."""
    async with Sandbox(options) as sandbox:
        ready(sandbox)
        await asyncio.Event().wait()


def run(options: SandboxOptions) -> None:
    """Print one JSON line with `base_url` and `api_key`, then run until SIGTERM or SIGINT.

    With several keys the line lists them all under `keys`, each with the `group_id` of its space.

    Exits with 2 when the file of faults or of forms is unusable and with 1 when it cannot listen, each with
    one line on stderr.
    """
    try:
        asyncio.run(_serve_until_signalled(options))
    except (FaultsError, FormsError) as error:
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


def _print_ready(sandbox: Sandbox) -> None:
    line: dict[str, object] = {"base_url": sandbox.base_url, "api_key": sandbox.api_key}
    if len(sandbox.keys) > 1:
        line["keys"] = [{"api_key": key.token, "group_id": key.space.group_id} for key in sandbox.keys]
    sys.stdout.write(orjson.dumps(line).decode() + "\n")
    sys.stdout.flush()
