"""The errors syncengine raises, sorted by what the caller should do.

::

    SyncError
    ├── ConfigError               fix the settings
    ├── SourceError               fix the file: path, line, column
    ├── StoreError                the state store is unusable
    │   └── LockHeldError         another process writes; wait for it
    └── DestinationError
        ├── TransientError        attempt again (says whether the request may have been processed)
        │   └── RateLimitedError  pause everyone, attempt again
        ├── RejectedError         record it, go on
        ├── ProtocolError         not the API we know (redirect, HTML): stop
        └── UnauthorizedError     end the run

`RowRefusedError` stands apart: it never leaves a load, which records it and reads on.

Foreign exceptions are translated at two edges only, the HTTP client and the store. Messages say what
happened, where, and what to do; they never hold a key, a body or a person's values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RateHeaders:
    """What an answer says about the bucket; None where it says nothing.

    `burst`, `remaining`, `cost` in tokens, `rate` in tokens per second, `retry_after` and `reset` (until the
    bucket is full) in seconds.
    """

    burst: float | None = None
    rate: float | None = None
    remaining: float | None = None
    cost: float | None = None
    retry_after: float | None = None
    reset: float | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """What a refusing server said: problem+json (RFC 9457), or as much of it as there was.

    `errors`: what is wrong, by place in the request (`body.data.mail`). Its words may repeat a person's
    values, so no repr shows them.
    """

    title: str = field(default="", repr=False)
    detail: str = field(default="", repr=False)
    errors: Mapping[str, str] = field(default_factory=dict, repr=False)


NO_PROBLEM = Problem()
WORDS_CHARACTERS = 500
NO_HEADERS = RateHeaders()


class SyncError(Exception):
    """Anything syncengine reports to its caller on purpose.

    `reason` is the word for the report's `reason` field and for the exit code.
    """

    reason = "failed"


class ConfigError(SyncError):
    """The settings cannot be used. Nothing was sent."""

    reason = "config"


class SourceError(SyncError):
    """The source as a whole is refused: nothing stored changes, nothing is sent.

    `path` as configured, `line` counted from 1 (None when it concerns the whole file), `column` by name.
    """

    reason = "source"

    def __init__(
        self, message: str, *, path: str = "", line: int | None = None, column: str | None = None
    ) -> None:
        self.path = path
        self.line = line
        self.column = column
        self.message = message
        place = path
        if line is not None:
            place += f", line {line}"
        if column is not None:
            place += f", column {column!r}"
        super().__init__(f"{place}: {message}" if place else message)


class RowRefusedError(SyncError):
    """One row cannot become a contact; the rest of the file loads.

    `reason` names no value of the row. `column` is the source's name, or None.
    """

    def __init__(self, reason: str, column: str | None = None) -> None:
        self.column = column
        self.reason = reason
        super().__init__(reason)


class StoreError(SyncError):
    """The state store cannot be used. `reason` is `store`, or `disk` when there is no room or no right."""

    reason = "store"

    def __init__(self, message: str, *, reason: str = "store") -> None:
        self.reason = reason
        super().__init__(message)


class LockHeldError(StoreError):
    """Another process holds the state store's lock.

    `pid` and `started` (ISO 8601, local time) are those of its holder, None when they cannot be read.
    """

    def __init__(self, message: str, *, pid: int | None, started: str | None) -> None:
        self.pid = pid
        self.started = started
        super().__init__(message, reason="lock")


class DestinationError(SyncError):
    """A request did not end in an acceptance.

    `status` is the HTTP status, None without an answer; `rate` is what that answer told of the bucket.
    `title`, `detail` and `errors` (what is wrong, by place in the request) are the server's words: they may
    repeat a person's values, so they belong into the store only, never into a log. The message, and with it
    str and repr, names status and fields alone.
    """

    reason = "destination"

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        rate: RateHeaders | None = None,
        problem: Problem = NO_PROBLEM,
    ) -> None:
        self.status = status
        self.rate = rate or NO_HEADERS
        self._problem = problem
        super().__init__(message)

    @property
    def title(self) -> str:
        """The problem's title, such as `Unprocessable Entity`; empty when the server gave none."""
        return self._problem.title

    @property
    def detail(self) -> str:
        """The problem's detail; empty when the server gave none."""
        return self._problem.detail

    @property
    def errors(self) -> Mapping[str, str]:
        """What is wrong by place in the request, such as `body.data.mail`."""
        return self._problem.errors

    @property
    def words(self) -> str:
        """All the server said, in one line of bounded length: for the store only."""
        told = [text for text in (self.title, self.detail) if text]
        told += [f"{place}: {message}" for place, message in self.errors.items()]
        return "; ".join(told)[:WORDS_CHARACTERS]


class TransientError(DestinationError):
    """No definite answer. `sent` is False only when no byte of the request can have left."""

    reason = "outage"

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        sent: bool,
        rate: RateHeaders | None = None,
        problem: Problem = NO_PROBLEM,
    ) -> None:
        self.sent = sent
        super().__init__(message, status=status, rate=rate, problem=problem)


class RateLimitedError(TransientError):
    """429: refused for its pace, not processed. Its `rate.retry_after` says for how long."""


class RejectedError(DestinationError):
    """The destination refused this contact, or this question, for good."""

    reason = "rejected"


class ProtocolError(DestinationError):
    """An answer the API does not give (redirect, HTML, another 2xx): nothing is marked, the run stops."""

    reason = "protocol"


class UnauthorizedError(DestinationError):
    """401 or 403: the key is not, or no longer, valid. No contact is blamed; the run stops."""

    reason = "unauthorized"
