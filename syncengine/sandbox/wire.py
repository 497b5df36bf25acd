"""Requests and answers as values, and how an answer is spelled in HTTP/1.1."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Literal

import orjson

from syncengine.sandbox.contact import Complaint

JSON = "application/json"
PROBLEM = "application/problem+json"
HTML = "text/html; charset=utf-8"

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}


@dataclass(slots=True)
class Request:
    """One request off the wire; `broken` is the status that refuses what cannot be read, else 0."""

    method: str
    path: str
    query: str
    authorization: str
    body: bytes
    has_keep_alive: bool
    broken: int = 0


@dataclass(slots=True)
class Answer:
    """What is sent back, and how.

    `lines` are further header lines, each with its line end. `delay` is the seconds to wait before.
    `manner` says how much of it arrives: "whole", or "slow" (the body drop by drop over `seconds`),
    "truncated" (`missing` bytes of the announced body never come), "close" and "reset" (nothing, the
    connection ends), "hang" (nothing, it ends after `seconds`).
    """

    status: int
    body: bytes = b""
    content_type: str = JSON
    lines: str = ""
    delay: float = 0.0
    manner: Literal["whole", "slow", "truncated", "close", "reset", "hang"] = "whole"
    seconds: float = 0.0
    missing: int = 0

    @property
    def status_sent(self) -> int | None:
        """The status that reaches the client, None when none does."""
        return None if self.manner in ("close", "reset", "hang") else self.status


def problem(
    status: int, detail: str, path: str, complaints: Sequence[Complaint] = (), lines: str = ""
) -> Answer:
    """Return an error in Qomon's model, problem+json (Qomon API reference, "Upsert a contact")."""
    body: Mapping[str, object] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase if status in _STATUS_LINES else "Unknown",
        "status": status,
        "detail": detail,
        "instance": path,
        "errors": [complaint._asdict() for complaint in complaints],
    }
    return Answer(status, orjson.dumps(body), PROBLEM, lines)


def head(answer: Answer, *, closes: bool) -> bytes:
    """Return the answer's head, with the present second as `Date`."""
    status = answer.status
    lines = [
        _STATUS_LINES.get(status) or f"HTTP/1.1 {status} Unknown\r\n",
        _date(int(time.time())),
        answer.lines,
    ]
    if answer.body:
        lines.append(f"Content-Type: {answer.content_type}\r\n")
    if status not in (204, 304):
        lines.append(f"Content-Length: {len(answer.body) + answer.missing}\r\n")
    lines.append("Connection: close\r\n\r\n" if closes else "\r\n")
    return "".join(lines).encode("latin-1")


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    return f"Date: {formatdate(second, usegmt=True)}\r\n"
