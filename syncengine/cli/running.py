"""Runs the engine for a command: signals, and the progress line on stderr.

First SIGINT or SIGTERM: the engine stops in order; second: it cuts off. On a terminal one live line;
elsewhere a plain line every few seconds and at each new phase, from a thread of its own: a stderr that
nobody reads must not stop a sync.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

from syncengine.cli.call import Interrupted
from syncengine.cli.words import clock, duration, number, plural
from syncengine.engine import Engine
from syncengine.load import LoadStopped
from syncengine.model import SIGNAL_EXITS
from syncengine.transfer import DRAIN_SECONDS

if TYPE_CHECKING:
    from rich.console import RenderableType

    from syncengine.config import Settings
    from syncengine.progress import Progress

SIGNALS = {signal.SIGINT: "sigint", signal.SIGTERM: "sigterm"}
STOPPED_LOAD = "interrupted; nothing of this load took effect"
LINE_SECONDS = 5.0
SAME_SECONDS = 60.0
"""Between two lines that say the same: a read-back may wait for minutes."""
LOOK_SECONDS = 0.2

T = TypeVar("T")


def drive(settings: Settings, work: Callable[[Engine], Awaitable[T]]) -> T:
    """Open the engine, do `work` with it, and stop it when a signal says so."""
    _keep_logs_plain()
    return asyncio.run(_drive(settings, work))


async def _drive(settings: Settings, work: Callable[[Engine], Awaitable[T]]) -> T:
    loop = asyncio.get_running_loop()
    engine = Engine(settings)
    orders: list[str] = []
    is_open = False

    def order(reason: str) -> None:
        orders.append(reason)
        if is_open:
            engine.stop(reason)

    for signum, reason in SIGNALS.items():
        loop.add_signal_handler(signum, order, reason)
    try:
        async with engine:
            is_open = True
            for reason in orders:
                engine.stop(reason)
            with _watching(engine.progress):
                return await work(engine)
    except LoadStopped:
        raise Interrupted(SIGNAL_EXITS[orders[0]], STOPPED_LOAD) from None
    finally:
        for signum in SIGNALS:  # the end has come: its report must still get out
            loop.remove_signal_handler(signum)
            signal.signal(signum, signal.SIG_IGN)


def _keep_logs_plain() -> None:
    """Let our own log lines reach stderr. Other libraries' stay out: they may hold a request's values."""
    lines = logging.StreamHandler()
    lines.setFormatter(logging.Formatter("syncengine: %(levelname)s: %(message)s"))
    logging.getLogger("syncengine").addHandler(lines)
    logging.getLogger().addHandler(logging.NullHandler())


@contextmanager
def _watching(progress: Progress) -> Iterator[None]:
    """Show the progress on stderr while the block runs."""
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        from rich.console import Console  # noqa: PLC0415 - only for a terminal
        from rich.live import Live  # noqa: PLC0415

        console = Console(stderr=True, markup=False, highlight=False)
        with Live(
            console=console,
            get_renderable=lambda: _render(progress),
            refresh_per_second=5,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        ):
            yield
        return
    ended = threading.Event()
    threading.Thread(target=_write_lines, args=(progress, ended), name="progress", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _write_lines(progress: Progress, ended: threading.Event) -> None:
    phase, line, waited = "", "", 0.0
    while not ended.wait(LOOK_SECONDS):
        waited += LOOK_SECONDS
        if progress.phase == phase and waited < LINE_SECONDS:
            continue
        told = progress_line(progress)
        if told == line and waited < SAME_SECONDS:
            continue
        phase, line, waited = progress.phase, told, 0.0
        if phase not in {"starting", "done"}:
            with suppress(OSError):
                os.write(2, f"syncengine: {line}\n".encode())


def progress_line(progress: Progress) -> str:
    """Return where a run stands, in one line of counts."""
    return ": ".join(part for part in (progress.phase, _details(progress)) if part)


def _details(progress: Progress) -> str:
    match progress.phase:
        case "loading":
            return f"{plural(progress.read, 'row')} read"
        case "sending":
            parts = [f"{number(progress.sent)} of {number(progress.due)} sent"]
            if progress.rate:
                parts.append(f"{number(round(progress.rate, 1 if progress.rate < 10 else 0))}/s")
            if progress.tokens_left is not None:
                parts.append(f"{number(int(progress.tokens_left))} tokens left")
            parts.append(plural(progress.problems, "problem"))
            if progress.finish_at is not None and progress.sent:
                parts.append(f"ends about {clock(progress.finish_at)}")
            return ", ".join(parts)
        case "checking":
            return "what must not be sent is held before anything goes"
        case "reading the space":
            return f"{number(progress.read)} of {plural(progress.due, 'contact')} read"
        case "reading back":
            what = plural(progress.accepted, "accepted contact") if progress.accepted else "what was accepted"
            return f"looking in Qomon for {what}"
        case "stopping":
            return f"open requests may end, at most {duration(DRAIN_SECONDS)}; a second signal cuts them off"
        case _:
            return ""


def _render(progress: Progress) -> RenderableType:
    from rich.progress_bar import ProgressBar  # noqa: PLC0415 - only for a terminal
    from rich.spinner import Spinner  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    row: list[RenderableType] = [progress.phase.capitalize()]
    if progress.phase == "sending" and progress.due:
        done = progress.due - progress.remaining
        row.append(ProgressBar(total=progress.due, completed=done, width=20))
    line = Table.grid(padding=(0, 1))
    line.add_row(Spinner("dots"), *row, _details(progress))
    return line
