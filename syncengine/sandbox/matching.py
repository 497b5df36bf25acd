"""Whom an upsert means: Qomon's matching rules 2 and 3 as pure predicates.

Source: Qomon guide, "Create and update contacts". The rules are tried in order: the id; else the same mail
with the given names; else the same surname and first name, told apart by birthdate and address; else the
contact is new. How texts are compared is undocumented, hence `FOLDS`; of birthdates that are dates or times
in ISO 8601 the day counts, which is our choice.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Fold = Callable[[object], str]

_DAY = re.compile(r"\d{4}-\d\d-\d\d(?=[Tt ])", re.ASCII)


class Identity(NamedTuple):
    """The texts that matching compares, each folded; empty when absent."""

    mail: str
    firstname: str
    surname: str
    birthdate: str
    city: str
    postalcode: str
    street: str
    has_address: bool

    @property
    def names(self) -> str:
        """Surname and first name as one key, empty without a surname."""
        return f"{self.surname}\x1f{self.firstname}" if self.surname else ""


def exact(text: object) -> str:
    """Return a text as it is; anything else is empty."""
    return text if isinstance(text, str) else ""


def fold(text: object) -> str:
    """Return a text without outer blanks and case; anything but a text is empty."""
    return text.strip().casefold() if isinstance(text, str) else ""


def loose(text: object) -> str:
    """Return a text without outer blanks, case and accents; anything but a text is empty."""
    folded = fold(text)
    if folded.isascii():
        return folded
    letters = unicodedata.normalize("NFD", folded)
    return "".join(letter for letter in letters if not unicodedata.combining(letter)).strip()


FOLDS: Mapping[str, Fold] = {"exact": exact, "folded": fold, "loose": loose}
"""How texts are compared, by the answer to unknown `matching`: what folds to one text is the same."""


def identity_of(fields: Mapping[str, Any], fold: Fold = fold) -> Identity:
    """Return the identity of a contact in the upsert's shape, its texts folded by `fold`."""
    get = fields.get
    address = get("address") or {}
    city, postalcode, street = (
        fold(address.get("city")),
        fold(address.get("postalcode")),
        fold(address.get("street")),
    )
    return Identity(
        fold(get("mail")),
        fold(get("firstname")),
        fold(get("surname")),
        _birthdate(fold(get("birthdate"))),
        city,
        postalcode,
        street,
        bool(city or postalcode or street) or any(fold(part) for part in address.values()),
    )


def _birthdate(text: str) -> str:
    day = _DAY.match(text) if len(text) > 10 else None
    return day[0] if day else text


def is_same_by_mail(sent: Identity, stored: Identity) -> bool:
    """Rule 2: the same mail, and each name that is sent and not empty is the same."""
    return (
        bool(sent.mail)
        and sent.mail == stored.mail
        and sent.firstname in ("", stored.firstname)
        and sent.surname in ("", stored.surname)
    )


def is_same_by_names(sent: Identity, stored: Identity) -> bool:
    """Rule 3: the same surname and first name, and nothing that both sides have tells them apart.

    Birthdates must be equal. Of addresses the city or the postal code must agree, and the street too when no
    birthdates were compared; two empty streets agree.
    """
    if not sent.surname or sent.surname != stored.surname or sent.firstname != stored.firstname:
        return False
    has_birthdates = bool(sent.birthdate and stored.birthdate)
    if has_birthdates and sent.birthdate != stored.birthdate:
        return False
    if not (sent.has_address and stored.has_address):
        return True
    is_same_place = (sent.city != "" and sent.city == stored.city) or (
        sent.postalcode != "" and sent.postalcode == stored.postalcode
    )
    return is_same_place and (has_birthdates or sent.street == stored.street)
