"""Whom a contact can be matched to: its identity class and its normalised identity.

Pure functions of a contact, nothing is read. The destination matches by rules, in order: id; mail with the
names that are given; surname and firstname with birthdate or address; otherwise it creates (Qomon guide
"Create and update contacts"). The class says which of these rules can find the contact again, and hence
what may be done after an unknown result.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from enum import IntEnum
from functools import lru_cache
from typing import Any, NamedTuple


class IdentityClass(IntEnum):
    """The strongest matching rule that applies. Stored by number: never renumber."""

    NONE = 0  # neither mail nor surname: always creates, sent twice it makes twins
    NAMES_ONLY = 1  # surname without birthdate or address: may hit a homonym
    MAIL_ONLY = 2  # mail without a name: hits anybody on that mailbox
    NAMES = 3  # surname and firstname with birthdate or address
    MAIL = 4  # mail with at least one name
    CONFIRMED = 5  # an id that a read has shown to be this contact's
    UNPROVEN = 6  # an id claimed by the source that no read has shown yet


class Identity(NamedTuple):
    """The stored identity columns: class, normalised mail (`""` without) and name (`""` without surname)."""

    identity: IdentityClass
    mail: str
    name: str


REMEMBERED = 128
"""Characters of the longest text whose normal form is remembered: bounds what 65,536 of them can take."""

_LETTERS = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ħ": "h", "ŧ": "t", "\u0131": "i"}
    | {"æ": "ae", "œ": "oe", "þ": "th"}
)
"""Letters that people write without their stroke or ligature and that Unicode does not decompose."""


def normalise(text: str) -> str:
    """Fold case, accents and spaces, so that normalised values err towards being equal.

    Spaces and invisible characters go altogether: `de la Cruz` and `Delacruz` may be one person.
    """
    return _fold_remembered(text) if len(text) <= REMEMBERED else _fold(text)


def _fold(text: str) -> str:
    if text.isascii():
        return "".join(text.lower().split())
    # Twice: folding the case of a decomposed character can give one that decomposes again.
    for _ in range(2):
        decomposed = unicodedata.normalize("NFKD", text).casefold()
        text = "".join(
            c for c in decomposed if not unicodedata.combining(c) and unicodedata.category(c) != "Cf"
        )
    return "".join(text.translate(_LETTERS).split())


_fold_remembered = lru_cache(maxsize=65536)(_fold)


def identify(contact: Mapping[str, Any], *, confirmed: bool = False) -> Identity:
    """Return the identity of a contact in the upsert's shape.

    `confirmed`: a read has shown the contact's id, so matching no longer depends on its values.
    """
    mail = normalise(contact.get("mail", ""))
    surname = normalise(contact.get("surname", ""))
    firstname = normalise(contact.get("firstname", ""))
    name = f"{surname}\x1f{firstname}" if surname else ""
    return Identity(_classify(contact, mail, surname, firstname, confirmed=confirmed), mail, name)


def _classify(
    contact: Mapping[str, Any], mail: str, surname: str, firstname: str, *, confirmed: bool
) -> IdentityClass:
    if confirmed:
        return IdentityClass.CONFIRMED
    if "id" in contact or "nationbuilderid" in contact:
        return IdentityClass.UNPROVEN
    if mail:
        return IdentityClass.MAIL if surname or firstname else IdentityClass.MAIL_ONLY
    if not surname:
        return IdentityClass.NONE
    address = contact.get("address", {})
    located = bool(address.get("city") or address.get("postalcode"))
    if firstname and (contact.get("birthdate") or located):
        return IdentityClass.NAMES
    return IdentityClass.NAMES_ONLY
