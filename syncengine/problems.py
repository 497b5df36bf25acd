"""Reasons and remedies: why a contact or a row is not on its way, and what to do about it. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from syncengine.identity import IdentityClass

NO_IDENTITY = "neither mail nor surname"
NAMES_ONLY = "names alone"
MAIL_ONLY = "mail alone"
UNPROVEN_ID = "unproven id"
MAY_HAVE_BEEN_CREATED = "may have been created"
CRASHES = "alone in flight in three crashes"
NO_LONGER = "no longer in the source"
COLLIDES = "could be the same person as another key"
MOVED_KEY = "its key now names another person"
IDENTITY_CHANGED = "identity changed before its id was known"
REJECTED = "rejected by Qomon"
DROPPED = "accepted, then not applied"
DEAD_ID = "its Qomon id does not exist any more"
DIFFERS = "other values in Qomon"
TWINS = "twins in Qomon"
AMBIGUOUS = "several contacts may be the same person in Qomon"
CONSENT_KEPT = "consent withdrawn in the source, still given in Qomon"
WOULD_BE_DROPPED = "Qomon would drop it"
"""How the reasons begin that the space's forms give."""

HOLD_REASONS = {
    IdentityClass.NONE: NO_IDENTITY,
    IdentityClass.NAMES_ONLY: NAMES_ONLY,
    IdentityClass.MAIL_ONLY: MAIL_ONLY,
    IdentityClass.UNPROVEN: UNPROVEN_ID,
}

_REMEDIES = {
    NO_IDENTITY: (
        "Qomon can never find this contact again, so each send makes another one. "
        'Add a mail or a surname in the source; or set [identity] none = "send", or "create", which looks '
        "for it first, and run problems --retry; or release it once"
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
    COLLIDES: (
        "Qomon matches by mail and names, so one could overwrite the other. One person: keep one row in the "
        "source. Two people: tell them apart there (mail with both names, birthdate, address), or release "
        'them once you are sure. [identity] collisions = "first" and problems --retry send the first of '
        'them; with "create" those that are not in Qomon become contacts of their own'
    ),
    MOVED_KEY: (
        "its mail and names are those of somebody else, whom Qomon would be told to become. If the source "
        "gave the key to another person, correct the key there; if the person changed, release it"
    ),
    IDENTITY_CHANGED: (
        "Qomon was not seen to hold it under its old mail and names, so sending it could make a twin. Look "
        "for the person in Qomon: if it is not there, release it; if it is, correct it there and release it"
    ),
    NO_LONGER: "nothing to do if the person left; put the row back into the source to send it",
    DROPPED: (
        "Qomon took it with a 202 and did not apply it, without a word. Compare its answers with "
        "syncengine forms; then run problems --retry. The next sync looks for it once more"
    ),
    DEAD_ID: (
        "the contact was merged or deleted in the web application. Run problems --rematch KEY to send it "
        "by mail and names again, or leave it if the person is to stay deleted"
    ),
    DIFFERS: (
        "somebody changed it in Qomon, or Qomon rewrites it. If Qomon is right, correct the source; if the "
        "source is right, run problems --retry; if it does not matter, name the field in [verify] ignore"
    ),
    AMBIGUOUS: (
        "several people fit, or one that nothing but the names tells: sending could overwrite the wrong one. "
        "Look at the ids in Qomon: merge twins there, or add what tells people apart (mail, birthdate, "
        "address) there or in the source, then run syncengine adopt again"
    ),
    TWINS: "merge them in Qomon's web application, then run problems --retry",
    CONSENT_KEPT: (
        "an upsert cannot take a consent back. Withdraw it in Qomon's web application, "
        "then run problems --retry"
    ),
    WOULD_BE_DROPPED: (
        "an answer names a form or an option the space does not have. Correct [fields] or the source, or "
        "add the option in Qomon; the next sync checks again. syncengine forms lists what there is"
    ),
    REJECTED: "correct the value in the source (a changed contact is sent again), or run problems --retry",
}

_REFUSED = "correct the row in the source and load again"


def differs_in(fields: Iterable[str]) -> str:
    """Return the reason of a contact of which these fields are seen with other values."""
    return f"{DIFFERS}: {', '.join(sorted(dict.fromkeys(fields)))}"


def remedy(state: str, reason: str) -> str:
    """Return what to do about a problem of this state and reason."""
    if state == "refused":
        return _REFUSED
    for known, text in _REMEDIES.items():
        if reason.startswith(known):
            return text
    return "run explain on its key to see what happened"
