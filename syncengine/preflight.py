"""What must not be sent, decided before anything is. Pure; `sync` and `plan` share it."""

from __future__ import annotations

from syncengine.identity import IdentityClass
from syncengine.problems import HOLD_REASONS
from syncengine.sections import IdentitySettings


def held_classes(wanted: IdentitySettings) -> dict[IdentityClass, str]:
    """Return the identity classes to hold, with the reason shown for each."""
    sendable = {
        IdentityClass.NONE: wanted.none == "send",
        IdentityClass.NAMES_ONLY: wanted.names_only == "send",
        IdentityClass.MAIL_ONLY: wanted.mail_only == "send",
    }
    return {identity: reason for identity, reason in HOLD_REASONS.items() if not sendable.get(identity)}


def is_mass_change(*, again: int, accepted: int, max_share: float) -> bool:
    """Say whether so many of the accepted contacts would be sent again that a mistake is likely.

    `again`: accepted before and due; `accepted`: ever accepted; only from 100 on.
    """
    return accepted >= MASS_CHANGE_FROM and again > max_share * accepted


MASS_CHANGE_FROM = 100
