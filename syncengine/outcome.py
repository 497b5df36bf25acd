"""The outcome table: what an answer means, and what may be done next with an upsert. Pure.

In one place, because retry policy depends on identity: an upsert is idempotent only for a contact that the
destination finds again.
"""

from __future__ import annotations

from enum import StrEnum

from syncengine.identity import IdentityClass

ACCEPTED_STATUS = 202
REJECTING = frozenset({400, 409, 413, 422})
UNAUTHORIZED = frozenset({401, 403})
GATEWAY_LIKE = frozenset({408, 425})
"""Like every 5xx but 501, these may follow a request that was processed."""

ATTEMPTS_PER_RUN = 4


class Outcome(StrEnum):
    """What became of one attempt."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    THROTTLED = "throttled"
    NOT_SENT = "not sent"
    UNKNOWN = "unknown"
    UNAUTHORIZED = "unauthorized"
    BREACH = "protocol breach"


class Step(StrEnum):
    """What happens to the contact next."""

    DONE = "done"
    REJECT = "reject"
    AGAIN_FREE = "again, nothing charged"
    AGAIN = "again, charged"
    LATER = "due again after the settle time"
    HOLD = "hold: may have been created"
    STOP = "stop the run, blame nobody"


def outcome_of(status: int, *, is_plain: bool, expected: int = ACCEPTED_STATUS) -> Outcome:
    """Return the outcome of an answered attempt.

    `expected`: the one status with which the route says yes. `is_plain`: the answer has no body, or one that
    an API may send (no HTML, no `{"status": "fail"}`): a captive portal or a proxy's login page answers 202
    as well.
    """
    if status == expected:
        return Outcome.ACCEPTED if is_plain else Outcome.BREACH
    if status in REJECTING:
        return Outcome.REJECTED
    if status in UNAUTHORIZED:
        return Outcome.UNAUTHORIZED
    if status == 429:
        return Outcome.THROTTLED
    if status in GATEWAY_LIKE or (500 <= status < 600 and status != 501):
        return Outcome.UNKNOWN
    return Outcome.BREACH


def step_after(outcome: Outcome, identity: IdentityClass, *, attempts: int, can_read: bool = False) -> Step:
    """Return what happens after an attempt; `attempts`: how many of this run were charged, this one included.

    Unknown results: repeated at once only for a contact with a confirmed id; later for one that matching
    finds again; never for one it does not. Names alone count as such unless the contact can be read back
    first (`can_read`).
    """
    match outcome:
        case Outcome.ACCEPTED:
            return Step.DONE
        case Outcome.REJECTED:
            return Step.REJECT
        case Outcome.THROTTLED | Outcome.NOT_SENT:
            return Step.AGAIN_FREE
        case Outcome.UNAUTHORIZED | Outcome.BREACH:
            return Step.STOP
        case Outcome.UNKNOWN:
            if identity in (NEVER_FOUND if can_read else NOT_FOUND_AGAIN):
                return Step.HOLD
            if identity is IdentityClass.CONFIRMED and attempts < ATTEMPTS_PER_RUN:
                return Step.AGAIN
            return Step.LATER


NOT_FOUND_AGAIN = (IdentityClass.NONE, IdentityClass.NAMES_ONLY)
"""Classes whose unknown results are held: a second send could make a twin, or hit a homonym."""

NEVER_FOUND = (IdentityClass.NONE,)
"""The same where a contact can be looked up before it is sent again."""
