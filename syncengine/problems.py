"""Reasons and remedies: why a contact or a row is not on its way, and what to do about it. Pure."""

from __future__ import annotations

from syncengine.identity import IdentityClass

NO_IDENTITY = "neither mail nor surname"
NAMES_ONLY = "names alone"
MAIL_ONLY = "mail alone"
UNPROVEN_ID = "unproven id"
MAY_HAVE_BEEN_CREATED = "may have been created"
CRASHES = "alone in flight in three crashes"
NO_LONGER = "no longer in the source"
REJECTED = "rejected by Qomon"

HOLD_REASONS = {
    IdentityClass.NONE: NO_IDENTITY,
    IdentityClass.NAMES_ONLY: NAMES_ONLY,
    IdentityClass.MAIL_ONLY: MAIL_ONLY,
    IdentityClass.UNPROVEN: UNPROVEN_ID,
}

_REMEDIES = {
    NO_IDENTITY: (
        "Qomon can never find this contact again, so each send makes another one. "
        'Add a mail or a surname in the source; or set [identity] none = "send", or release it once'
    ),
    NAMES_ONLY: (
        "with a surname but no mail, birthdate or address it may hit a homonym. Add one of them in the "
        'source; or set [identity] names_only = "send" and run problems --retry, or release it once'
    ),
    MAIL_ONLY: (
        "a mail without a name hits anybody on that mailbox. Add a name in the source; "
        'or set [identity] mail_only = "send" and run problems --retry, or release it once'
    ),
    UNPROVEN_ID: (
        "the source claims a Qomon id that no read has shown to be this person's. "
        "Remove id from [fields] to match by mail and names"
    ),
    MAY_HAVE_BEEN_CREATED: (
        "a send got no answer, and sending again could make a twin. Look for the person in Qomon: "
        "if it is not there, release it; if it is, leave it held"
    ),
    CRASHES: "the program was killed three times while sending this contact alone; look at its content",
    NO_LONGER: "nothing to do if the person left; put the row back into the source to send it",
    REJECTED: "correct the value in the source (a changed contact is sent again), or run problems --retry",
}

_REFUSED = "correct the row in the source and load again"


def remedy(state: str, reason: str) -> str:
    """Return what to do about a problem of this state and reason."""
    if state == "refused":
        return _REFUSED
    for known, text in _REMEDIES.items():
        if reason.startswith(known):
            return text
    return "run explain on its key to see what happened"
