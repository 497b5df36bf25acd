"""What a fault makes of an answer.

Faults of the body keep what they can of the true one: `truncated` cuts it, `slow_body` drips it, `huge` and
the gzip kinds blow it up with blanks, so that it stays valid JSON. An answer without a body gets blanks.
"""

import gzip
import zlib
from functools import lru_cache
from typing import Literal

from syncengine.sandbox.faults import Fault
from syncengine.sandbox.wire import HTML, Answer, problem

_LET_THROUGH = frozenset(
    (
        "latency", "reset_after", "close_after", "slow_body", "truncated", "huge", "gzip_bomb",
        "gzip_members", "headers", "drop", "late",
    )
)  # fmt: skip
_ENDINGS: dict[str, Literal["hang", "reset", "close"]] = {
    "hang": "hang",
    "reset_after": "reset",
    "close_after": "close",
}
_PAGE = b"<!doctype html><html><head><title>One moment</title></head><body>One moment, please</body></html>"


def lets_through(fault: Fault) -> bool:
    """Say whether the request reaches its endpoint although the fault hits it."""
    return fault.kind in _LET_THROUGH or bool(fault.parameters.get("apply"))


def disturbed(fault: Fault, path: str, answer: Answer, lines: str) -> Answer:
    """Return what is left of `answer` under the fault; `lines` are the token headers."""
    options = fault.parameters
    status = answer.status
    if fault.kind in _ENDINGS:
        answer = Answer(status, manner=_ENDINGS[fault.kind], seconds=options.get("seconds", 0.0))
    elif fault.kind in ("status", "redirect", "html"):
        answer = _instead(fault, path)
    elif fault.kind == "slow_body":
        answer.body = answer.body or b" " * options["bytes"]
        answer.manner, answer.seconds = "slow", options["seconds"]
    elif fault.kind == "truncated":
        _truncate(answer, options["bytes"])
    elif fault.kind == "huge":
        answer.body = answer.body.ljust(options["bytes"])
    elif fault.kind in ("gzip_bomb", "gzip_members"):
        is_bomb = fault.kind == "gzip_bomb"
        more = _bomb(options["bytes"]) if is_bomb else gzip.compress(b" ", mtime=0) * options["members"]
        answer.body = gzip.compress(answer.body, mtime=0) + more
        answer.lines += "Content-Encoding: gzip\r\n"
    elif fault.kind == "latency":
        answer.delay = options["seconds"]
    if options.get("headers", fault.kind != "headers"):
        answer.lines += lines
    return answer


def _truncate(answer: Answer, missing: int) -> None:
    """Hold back the last bytes of the body, all but the first at most; without a body `{` opens one."""
    whole = answer.body
    answer.body = whole[: max(1, len(whole) - missing)] or b"{"
    answer.manner, answer.missing = "truncated", len(whole) - len(answer.body) if whole else missing


@lru_cache(maxsize=2)
def _bomb(size: int) -> bytes:
    """Return a gzip member of `size` blanks, a thousandth of it long; made piece by piece."""
    packer = zlib.compressobj(wbits=31)
    piece = b" " * min(size, 1_000_000)
    whole, rest = divmod(size, len(piece))
    packed = [packer.compress(piece) for _ in range(whole)]
    return b"".join((*packed, packer.compress(piece[:rest]), packer.flush()))


def _instead(fault: Fault, path: str) -> Answer:
    """Return the answer that takes the place of the true one."""
    options = fault.parameters
    status = options["status"]
    if fault.kind == "redirect":
        return Answer(status, lines=f"Location: {options['location']}\r\n")
    if fault.kind == "html" or options["html"]:
        answer = Answer(status, _PAGE, HTML)
    elif status < 400:
        answer = Answer(status)
    else:
        answer = problem(status, "fault", path)
    if options.get("retry_after"):
        answer.lines += f"Retry-After: {options['retry_after']}\r\n"
    return answer
