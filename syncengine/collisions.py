"""Who could be taken for whom: collisions between contacts, and contents that name another person. Pure.

The destination matches by rules that tell people apart only by what both sides have (Qomon guide "Create and
update contacts", rules 2 and 3). Here the rules err towards taking two contacts for one: what collides is
held, and what is held can be released.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import nsmallest
from itertools import product
from typing import Any, Final, Literal

from syncengine.identity import normalise

How = Literal["hold", "first", "create"]
"""The setting `[identity] collisions`: hold everybody who collides, let the first one go, or create them.

The last is up to whoever can look them up first; here it is as `hold`."""

LISTED = 20
"""Keys that are listed of those who collide with a contact; of the others there is a count."""

_DAY = re.compile(r"\d{4}-\d\d-\d\d(?=t|$)", re.ASCII)
_ANY: Final = None


@dataclass(frozen=True, slots=True)
class Traits:
    """What matching compares of a contact: normalised texts, `""` without; of a birthdate its day."""

    mail: str = field(repr=False)
    surname: str = field(repr=False)
    firstname: str = field(repr=False)
    birthdate: str = field(repr=False)
    city: str = field(repr=False)
    postalcode: str = field(repr=False)
    street: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Person:
    """A contact among those it may collide with.

    `has_id`: a read has shown its id. `was_accepted`: accepted before, in doubt, or in flight.
    """

    key: str = field(repr=False)
    traits: Traits
    has_id: bool
    was_accepted: bool

    @property
    def rank(self) -> tuple[bool, str]:
        """Who goes first: whoever may be in Qomon already, then by key."""
        return not (self.has_id or self.was_accepted), self.key


@dataclass(frozen=True, slots=True)
class Held:
    """Why a contact is held: the first keys that collide with it, and how many more there are.

    `hint`: a word on how this was found out, empty when they were compared one by one.
    """

    keys: tuple[str, ...] = field(repr=False)
    more: int
    hint: str = ""

    def facts(self) -> dict[str, Any]:
        """Return what the store keeps of it."""
        told: dict[str, Any] = {"keys": list(self.keys), "more": self.more}
        return told | {"hint": self.hint} if self.hint else told


def traits_of(contact: Mapping[str, Any]) -> Traits:
    """Return the traits of a contact in the upsert's shape."""
    address = contact.get("address") or {}
    birthdate = normalise(contact.get("birthdate", ""))
    day = _DAY.match(birthdate)
    return Traits(
        normalise(contact.get("mail", "")),
        normalise(contact.get("surname", "")),
        normalise(contact.get("firstname", "")),
        day[0] if day else birthdate,
        normalise(address.get("city", "")),
        normalise(address.get("postalcode", "")),
        normalise(address.get("street", "")),
    )


def collide(one: Traits, other: Traits) -> bool:
    """Say whether rule 2 or rule 3 could match one contact to the other. Symmetric."""
    return _is_same_by_mail(one, other) or _is_same_by_names(one, other)


def _is_same_by_mail(one: Traits, other: Traits) -> bool:
    return (
        one.mail != ""
        and one.mail == other.mail
        and not _differ(one.surname, other.surname)
        and not _differ(one.firstname, other.firstname)
    )


def _is_same_by_names(one: Traits, other: Traits) -> bool:
    if not one.surname or (one.surname, one.firstname) != (other.surname, other.firstname):
        return False
    if _differ(one.birthdate, other.birthdate):
        return False
    if _differ(one.city, other.city) and _differ(one.postalcode, other.postalcode):
        return False
    return bool(one.birthdate and other.birthdate) or not _differ(one.street, other.street)


def _differ(one: str, other: str) -> bool:
    """Say whether both are given, and are not the same."""
    return one != other and bool(one and other)


def names_another(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Say whether a content replaces the identity of the one before: the key has moved to another person.

    The mail and a name are both different; or surname, firstname and, where both give it, birthdate are.
    """
    one, other = traits_of(before), traits_of(now)
    names = [_differ(one.surname, other.surname), _differ(one.firstname, other.firstname)]
    if _differ(one.mail, other.mail):
        return any(names)
    return all(names) and not (one.birthdate and one.birthdate == other.birthdate)


def is_lost(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Say whether matching a content could miss the contact made of the one before.

    Mail, names and birthdate are its identity, and without a mail the address where rule 3 tells it apart.
    """
    one, other = traits_of(before), traits_of(now)
    identity = (one.mail, one.surname, one.firstname, one.birthdate)
    if identity != (other.mail, other.surname, other.firstname, other.birthdate):
        return True
    return not one.mail and bool(one.surname) and not _is_same_by_names(one, other)


@dataclass(frozen=True, slots=True)
class _Circle:
    """Everybody of exactly the same traits, and who collides with them, themselves included."""

    first: Person
    keys: tuple[str, ...] = field(repr=False)
    count: int


class Neighbours:
    """The people that some contacts may collide with, found by what they share and not pair by pair.

    Made of everybody with the mail or the names of those who will be asked about, themselves included.
    """

    def __init__(self, people: Iterable[Person]) -> None:
        self._by_mail: dict[tuple[str | None, ...], list[Person]] = defaultdict(list)
        self._by_age: dict[tuple[str | None, ...], list[Person]] = defaultdict(list)
        self._by_place: dict[tuple[str, ...], list[Person]] = defaultdict(list)
        self._circles: dict[Traits, _Circle] = {}
        for person in people:
            self._add(person)

    def held_by(self, person: Person, how: str) -> Held | None:
        """Return who keeps a contact from being sent, None when it may go.

        A contact with a confirmed id may always. With `first`, so may whoever goes first of all it collides
        with: whoever may be in Qomon already, then by key.
        """
        if person.has_id:
            return None
        circle = self._circles.get(person.traits) or self._draw(person.traits)
        if circle is None or circle.count == 1 or (how == "first" and circle.first.key == person.key):
            return None
        keys = [key for key in circle.keys if key != person.key][:LISTED]
        return Held(tuple(keys), circle.count - 1 - len(keys))

    def _add(self, person: Person) -> None:
        one = person.traits
        if one.mail:
            for names in product((one.surname, _ANY), (one.firstname, _ANY)):
                self._by_mail[one.mail, *names].append(person)
        if one.surname:
            for age in product((one.birthdate, _ANY), (one.street, _ANY)):
                self._by_age[one.surname, one.firstname, *age].append(person)
            self._by_place[one.surname, one.firstname, "city", one.city].append(person)
            self._by_place[one.surname, one.firstname, "postalcode", one.postalcode].append(person)

    def _draw(self, traits: Traits) -> _Circle | None:
        """Find who collides with somebody of these traits."""
        found = {
            other.key: other
            for people in (*self._near_by_mail(traits), *self._near_by_names(traits))
            for other in people
            if collide(traits, other.traits)
        }
        if not found:
            return None
        circle = self._circles[traits] = _Circle(
            first=min(found.values(), key=lambda other: other.rank),
            keys=tuple(nsmallest(LISTED + 1, found)),
            count=len(found),
        )
        return circle

    def _near_by_mail(self, one: Traits) -> Iterator[list[Person]]:
        if one.mail:
            for names in product(_alike(one.surname), _alike(one.firstname)):
                yield self._by_mail.get((one.mail, *names), [])

    def _near_by_names(self, one: Traits) -> list[list[Person]]:
        """Return the fewest among whom everybody is whom rule 3 could match."""
        if not one.surname:
            return []
        ages: list[tuple[str | None, str | None]] = [
            (birthdate, street)
            for birthdate in ([""] if one.birthdate else [_ANY])
            for street in _alike(one.street)
        ]
        if one.birthdate:
            ages.append((one.birthdate, _ANY))
        near = [self._by_age.get((one.surname, one.firstname, *age), []) for age in ages]
        if one.city and one.postalcode:
            places = [("city", one.city), ("city", ""), ("postalcode", one.postalcode), ("postalcode", "")]
            by_place = [self._by_place.get((one.surname, one.firstname, *place), []) for place in places]
            return min(near, by_place, key=lambda lists: sum(map(len, lists)))
        return near


def _alike(text: str) -> tuple[str | None, ...]:
    """Return what a text does not conflict with: itself and nothing; nothing conflicts with no text."""
    return (text, "") if text else (_ANY,)
