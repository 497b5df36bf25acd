"""How surely a contact of the source is one seen in a space: what `adopt` and a live plan go by. Pure.

The documented rules (Qomon guide, "Create and update contacts") take the first that applies: id, mail with
the names that are given, surname and first name with birthdate or address. Read literally the last one takes
namesakes for one person where nothing tells them apart: such a fit is told, and never acted upon.
"""

from __future__ import annotations

from enum import IntEnum

from syncengine.collisions import Traits, collide


class Fit(IntEnum):
    """How surely, the surest first. Stored by number: never renumber."""

    CLAIMED = 0  # the source names this id, and mail or surname agree
    SAME = 1  # one mail, and every name that the source gives
    MAIL = 2  # one mail, and no name that conflicts
    NAMES = 3  # surname and first name, with birthdate or address
    UNSURE = 4  # matching might take one for the other, and nothing shows that they are


def fit(ours: Traits, theirs: Traits) -> Fit | None:
    """Return how surely a contact of the source is the one seen, None when no rule could match them.

    A mail without a name may be anybody's on that mailbox: unsure. So is another surname with the same mail
    and first name: no rule matches it, and it may be the same person, married since.
    """
    if not collide(ours, theirs):
        has_one_mail = bool(ours.mail) and ours.mail == theirs.mail
        is_renamed = has_one_mail and bool(ours.firstname) and ours.firstname == theirs.firstname
        return Fit.UNSURE if is_renamed else None
    if ours.mail and ours.mail == theirs.mail:
        return _fit_by_mail(ours, theirs)
    has_one_birthdate = bool(ours.birthdate) and ours.birthdate == theirs.birthdate
    if has_one_birthdate:
        return Fit.NAMES
    if ours.mail and theirs.mail:
        return Fit.UNSURE
    places = ((ours.city, theirs.city), (ours.postalcode, theirs.postalcode))
    has_one_place = any(one and one == other for one, other in places)
    return Fit.NAMES if has_one_place and ours.firstname else Fit.UNSURE


def _fit_by_mail(ours: Traits, theirs: Traits) -> Fit:
    given = [(one, other) for one, other in _names(ours, theirs) if one]
    if not given:
        return Fit.UNSURE
    return Fit.SAME if all(one == other for one, other in given) else Fit.MAIL


def _names(ours: Traits, theirs: Traits) -> list[tuple[str, str]]:
    return [(ours.surname, theirs.surname), (ours.firstname, theirs.firstname)]
