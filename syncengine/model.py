"""What travels along the data path: a change, its receipt, and the report of a run. No I/O."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from syncengine.errors import NO_HEADERS, ConfigError, RateHeaders
from syncengine.identity import IdentityClass


class Verdict(StrEnum):
    """What a read showed of what was accepted."""

    CONFIRMED = "confirmed"  # seen as sent
    DIFFERS = "differs"  # seen with other values
    DROPPED = "dropped"  # accepted, then not applied


class Result(StrEnum):
    """What became of a change in one send."""

    ACCEPTED = "accepted"  # a 2xx, directly, to exactly this content
    REJECTED = "rejected"  # refused for good
    UNKNOWN = "unknown"  # may have been processed; due again
    IN_DOUBT = "in doubt"  # may have created a contact that nothing can find again: held
    WITHDRAWN = "withdrawn"  # nothing left us: as before


@dataclass(frozen=True, slots=True)
class Candidate:
    """A due contact as the producer first meets it: enough to decide whether it may go now.

    `accepted_at`: when an earlier content of it was accepted, Unix seconds, as long as its id is not known
    and no read has settled it; else None.
    """

    n: int
    key: str = field(repr=False)
    content_hash: bytes
    identity: IdentityClass
    mail: str = field(repr=False)
    name: str = field(repr=False)
    in_doubt: bool
    accepted_at: float | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One contact to send, its intent already durable.

    `content`: canonical JSON in the upsert's shape. `remote_id`: confirmed id or None. `is_repeat`: this
    very content was sent before without a definite answer. `notes`: digests of the notes that go with this
    send, and only with it. `partial`: canonical JSON of the fields to carry, None for the whole contact.
    `creates`: makes a contact of its own and matches nobody; a read has shown that there is none.
    """

    n: int
    key: str = field(repr=False)
    content: bytes = field(repr=False)
    content_hash: bytes
    identity: IdentityClass
    mail: str = field(repr=False)
    name: str = field(repr=False)
    remote_id: int | None
    is_repeat: bool
    notes: tuple[bytes, ...] = ()
    partial: bytes | None = field(default=None, repr=False)
    creates: bool = False


@dataclass(frozen=True, slots=True)
class Receipt:
    """The result of one send of a change.

    `status`: HTTP status, None without an answer. `reason`: for people, names no value. `detail`: what the
    server said. `requests`: how many left us; `repeats`: how many
    of them sent the content again after an unknown result. `rate`: what its last answer told of the bucket.
    `date`: when it was answered, Unix seconds of the server's clock; None when it did not say. `remote_id`:
    the id of the contact it created, where the answer told; `taken`: canonical JSON of what was taken when
    that is less than the content, whose rest stays due.
    """

    change: Change
    result: Result
    status: int | None = None
    reason: str = ""
    detail: str = ""
    requests: int = 1
    repeats: int = 0
    rate: RateHeaders = NO_HEADERS
    date: float | None = None
    remote_id: int | None = None
    taken: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt that settled nothing: a 429, a request that never left, an unknown result."""

    change: Change
    at: float
    result: str
    status: int | None
    detail: str


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """What one sync does differently from the settings."""

    load: bool = True
    verify: bool = True
    allow_shrink: bool = False
    allow_mass_change: bool = False
    same_space: bool = False


@dataclass(frozen=True, slots=True)
class AdoptOptions:
    """What one adoption does. `dry_run`: it shows what it would do, and nothing takes effect."""

    load: bool = True
    dry_run: bool = False
    allow_shrink: bool = False
    same_space: bool = False


@dataclass(slots=True)
class ReadingReport:
    """What the reports of runs that only read have in common, as in `Report`."""

    run: int = 0
    outcome: str = ""
    reason: str | None = None
    problems_open: int = 0
    problems_new: int = 0
    requests: int = 0
    tokens: float = 0
    throttled: int = 0
    seconds: float = 0.0
    exit: int = 1
    message: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the object that `--json` prints."""
        return asdict(self) | {"tokens": _tokens(self.tokens), "seconds": round(self.seconds, 3)}


@dataclass(slots=True)
class AdoptReport(ReadingReport):
    """What `adopt --json` prints. Counts contacts of the source, but for `contacts`, `strangers`, the effort.

    `contacts`: of the space, read in this run; `known`: of these, whose id was known before; `strangers`:
    those that are nobody's in the source. `equal`, `different`, `ambiguous`, `absent` (not there): of those
    never sent before, found so; `unproven`: whose claimed id is nobody of that mail or surname; `fields`: how
    many of the different ones differ in each field.
    `is_whole`: everybody was read.
    """

    dry_run: bool = False
    is_whole: bool = False
    read: int = 0
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    refused: int = 0
    forgotten: int = 0
    missing: int = 0
    contacts: int = 0
    known: int = 0
    equal: int = 0
    different: int = 0
    ambiguous: int = 0
    absent: int = 0
    unproven: int = 0
    strangers: int = 0
    fields: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class VerifyReport(ReadingReport):
    """What `verify --json` prints.

    `checked`: contacts compared with what Qomon shows; `unconfirmed`: those of all that still wait; `unread`:
    those whose id is known, that no search shows, and that were not read one by one.
    """

    checked: int = 0
    confirmed: int = 0
    differs: int = 0
    dropped: int = 0
    unconfirmed: int = 0
    unread: int = 0
    findings: list[dict[str, Any]] = field(default_factory=list)


def _tokens(tokens: float) -> float:
    return int(tokens) if float(tokens).is_integer() else round(tokens, 3)


EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_PROBLEMS = 3
EXIT_STOPPED = 4
EXIT_LOCKED = 5
EXIT_SIGINT = 130
EXIT_SIGTERM = 143


SIGNAL_EXITS = {"sigint": EXIT_SIGINT, "sigterm": EXIT_SIGTERM}
STOPPED_ON_PURPOSE = frozenset({"deadline", "write_cap", "breaker", "mass_change", "outage"})


def ending(reason: str | None, *, has_problems: bool) -> tuple[str, int]:
    """Return outcome and exit code of a run that ended for `reason` (None: it came to its end)."""
    if reason is None:
        return ("problems", EXIT_PROBLEMS) if has_problems else ("done", EXIT_DONE)
    if reason in SIGNAL_EXITS:
        return "interrupted", SIGNAL_EXITS[reason]
    if reason in STOPPED_ON_PURPOSE:
        return "stopped", EXIT_STOPPED
    if reason == ConfigError.reason:
        return "failed", EXIT_USAGE
    return "failed", EXIT_FAILED


@dataclass(slots=True)
class Report:
    """What `sync --json` prints. All count contacts but the last four.

    `read = new + changed + unchanged + refused + forgotten`;
    `selected = accepted + rejected + held + remaining`;
    `accepted = confirmed + differs + dropped + unconfirmed`. `earlier`: contacts that an earlier run got
    accepted, by what became of them in this one. `doubts`: contacts sent without a definite answer, `seen` in
    Qomon when read back, sent `again`, or `held`. `findings`: fields that differ in nearly everybody.
    `requests`: every request that left; `tokens`: the sum of the cost headers; `throttled`: answers of 429;
    `seconds`: of the whole run.
    """

    run: int = 0
    outcome: str = ""
    reason: str | None = None
    read: int = 0
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    refused: int = 0
    forgotten: int = 0
    missing: int = 0
    selected: int = 0
    sent: int = 0
    accepted: int = 0
    confirmed: int = 0
    differs: int = 0
    dropped: int = 0
    unconfirmed: int = 0
    rejected: int = 0
    held: int = 0
    remaining: int = 0
    repeated: int = 0
    earlier: dict[str, int] = field(default_factory=dict)
    doubts: dict[str, int] = field(default_factory=dict)
    problems_open: int = 0
    problems_new: int = 0
    requests: int = 0
    tokens: float = 0
    throttled: int = 0
    seconds: float = 0.0
    exit: int = EXIT_FAILED
    message: str = ""
    fields: dict[str, int] = field(default_factory=dict)
    findings: list[dict[str, Any]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return the object of `sync --json`; `fields` only where a guard shows them."""
        shown: dict[str, Any] = {
            name: getattr(self, name)
            for name in self.__dataclass_fields__
            if name not in {"fields", "tokens", "seconds"}
        }
        shown |= {"tokens": _tokens(self.tokens), "seconds": round(self.seconds, 3)}
        if self.fields:
            shown["fields"] = dict(self.fields)
        return shown
