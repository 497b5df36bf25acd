"""What a fault makes of an answer."""

from typing import Literal

from syncengine.sandbox.faults import Fault
from syncengine.sandbox.wire import HTML, Answer, problem

_LET_THROUGH = frozenset(
    ("latency", "reset_after", "close_after", "slow_body", "truncated", "huge", "headers", "drop", "late")
)
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
        answer = Answer(status, b" " * options["bytes"], manner="slow", seconds=options["seconds"])
    elif fault.kind == "truncated":
        answer = Answer(status, b"{", manner="truncated", missing=options["bytes"])
    elif fault.kind == "huge":
        answer = Answer(status, b" " * options["bytes"])
    elif fault.kind == "latency":
        answer.delay = options["seconds"]
    if options.get("headers", fault.kind != "headers"):
        answer.lines += lines
    return answer


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
