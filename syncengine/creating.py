"""Who is created as a contact of its own: whoever would otherwise be held, once a search shows nobody.

That is `create` of the settings `[identity] collisions` and `none`. A creation matches nothing, so that it
overwrites nobody and makes a twin of whoever is there already. Hence everybody is looked up first, in this
run: nobody there, created; one there who can only be this contact, sent by that id; anything else, held.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from enum import Enum, auto

from syncengine.collisions import Traits
from syncengine.identity import normalise
from syncengine.matching import Fit, fit
from syncengine.problems import AMBIGUOUS, COLLIDES, MAY_HAVE_BEEN_CREATED, NO_IDENTITY
from syncengine.sections import IdentitySettings
from syncengine.seen import LookedUp, Near, Seen, Space, Wanted
from syncengine.store.checking import colliding, hold
from syncengine.store.creating import (
    Creatable,
    Rival,
    creatable,
    owners,
    rivals,
    still_these,
    without_identity,
)
from syncengine.store.ids import learn_ids
from syncengine.store.store import Store
from syncengine.store.thread import StoreThread

LOOKED_UP = 250
"""Contacts looked up together: ten searches, as most are looked up by mail and by names."""

SEARCHED = ("firstname", "phone", "mobile")
"""What a contact with neither mail nor surname can be looked up by."""

Rivals = Callable[[str, str], list[Rival] | None]
"""(normalised mail, normalised names) -> who else may be somebody who has them, None for a crowd."""


class Whose(Enum):
    """Whose a contact is that was seen and belongs to no key."""

    OURS = auto()
    THEIRS = auto()  # another key's, whose id is not known yet
    UNSURE = auto()


class Creating:
    """Decides, by reading the space, who is created. `can_read`: whether doubts are settled by reading."""

    def __init__(
        self,
        identity: IdentitySettings,
        store: Store,
        at: StoreThread,
        space: Space,
        *,
        run: int,
        can_read: bool,
    ) -> None:
        self._of_collisions = identity.collisions == "create"
        self._of_none = identity.none == "create"
        self._store = store
        self._at = at
        self._space = space
        self._run = run
        self._can_read = can_read
        self.let_go: dict[int, bytes] = {}
        """Contacts to be created, by number, with the content that nobody was found for."""
        self._bare: set[bytes] = set()  # contents without identity that were let go
        self._near: dict[tuple[str, str], list[Rival] | None] = {}  # of the page that is decided about

    @property
    def is_on(self) -> bool:
        """Whether anybody is to be created."""
        return self._of_collisions or self._of_none

    async def choose(self) -> None:
        """Look up whoever is due and collides, or has no identity; hold some, learn ids, let the rest go.

        Whoever else must not go has to be held already. Errors of the space pass through.
        """
        for is_on, find in ((self._of_collisions, colliding), (self._of_none, without_identity)):
            numbers = await self._at(find, self._store) if is_on else []
            numbers = [n for n in numbers if n not in self.let_go]
            for start in range(0, len(numbers), LOOKED_UP):
                page = await self._at(creatable, self._store, numbers[start : start + LOOKED_UP])
                looked = await self._space.look_up([wanted for one in page for wanted in _wanted(one)])
                await self._at(self._decide, page, looked)

    def keep(self) -> Collection[int]:
        """Return whom to let go, without those edited since they were looked up (in the store's thread)."""
        self.let_go = still_these(self._store, self.let_go)
        return self.let_go

    def _decide(self, page: Sequence[Creatable], looked: LookedUp) -> None:
        with self._store.reading() as connection:
            sights = _Sights(self._space, looked.seen, owners(connection, [one.id for one in looked.seen]))
        refused = _refused(page, looked)
        self._near.clear()
        for one in page:
            if one.mail or one.name:
                self._decide_colliding(one, sights, is_refused=one.n in refused)
            else:
                self._decide_bare(one, sights, is_refused=one.n in refused)

    def _decide_colliding(self, one: Creatable, sights: _Sights, *, is_refused: bool) -> None:
        alike = self._alike(one)
        owned, found = sights.of(one, self._rivals)
        if owned:
            self._hold(one, COLLIDES, ids=owned, keys=[sights.owners[id_] for id_ in owned])
        elif found:
            surest = min(how for _, how, _ in found)
            ids = [seen.id for seen, how, _ in found if how is surest]
            is_sure = surest < Fit.UNSURE and len(ids) == 1
            is_ours = is_sure and all(whose is Whose.OURS for _, how, whose in found if how is surest)
            if is_ours and learn_ids(self._store, [(one.n, ids[0])]):
                sights.owners[ids[0]] = one.key
            else:
                self._hold(one, AMBIGUOUS, ids=ids)
        elif alike is None or alike or is_refused or one.is_awaiting:
            self._hold(one, COLLIDES, keys=[other.key for other in alike or ()])
        elif one.in_doubt and not self._can_read:
            self._hold(one, MAY_HAVE_BEEN_CREATED)
        else:
            self.let_go[one.n] = one.content_hash

    def _decide_bare(self, one: Creatable, sights: _Sights, *, is_refused: bool) -> None:
        equal = sights.equal(one)
        is_repeated = one.content_hash in self._bare
        if equal:
            self._hold(one, AMBIGUOUS, ids=equal)
        elif is_repeated or is_refused or not any(one.content.get(name) for name in SEARCHED):
            self._hold(one, NO_IDENTITY)
        else:
            self._bare.add(one.content_hash)
            self.let_go[one.n] = one.content_hash

    def _alike(self, one: Creatable) -> list[Rival] | None:
        """Return who is as good as the same person and goes first, None when they are too many to tell."""
        others = self._rivals(one.mail, one.name)
        if others is None:
            return None
        return [
            other
            for other in others
            if other.n != one.n
            and (other.was_accepted or other.n in self.let_go)
            and is_alike(other.traits, one.traits)
        ]

    def _rivals(self, mail: str, name: str) -> list[Rival] | None:
        if (mail, name) not in self._near:
            with self._store.reading() as connection:
                self._near[mail, name] = rivals(connection, mail, name)
        return self._near[mail, name]

    def _hold(
        self, one: Creatable, reason: str, *, ids: Iterable[int] = (), keys: Iterable[str] = ()
    ) -> None:
        facts = {"ids": sorted(ids), "keys": sorted(keys)}
        told = {name: value for name, value in facts.items() if value}
        hold(self._store, [one.n], reason, run=self._run, facts=told)


def is_alike(one: Traits, other: Traits) -> bool:
    """Say whether two contacts are as good as the same person, so that one is not created beside the other.

    With a mail: mail and names are the same, and birthdates do not differ. Without one: everything that
    matching compares is the same.
    """
    if not one.mail or one.mail != other.mail:
        return one == other
    has_one_name = (one.surname, one.firstname) == (other.surname, other.firstname)
    return has_one_name and (one.birthdate == other.birthdate or not (one.birthdate and other.birthdate))


class _Sights:
    """Everybody a look-up showed. `owners`: the keys that have some of them, by id."""

    def __init__(self, space: Space, seen: Sequence[Seen], owned: dict[int, str]) -> None:
        self._space = space
        self._near = Near((one.mail, one.name, one) for one in seen)
        self._bare = [one for one in seen if not one.mail and not one.name]
        self.owners = owned

    def of(self, one: Creatable, rivals_of: Rivals) -> tuple[list[int], list[tuple[Seen, Fit, Whose]]]:
        """Return who of those seen is as good as this contact and another key's; and who else may be it."""
        owned: list[int] = []
        found: list[tuple[Seen, Fit, Whose]] = []
        for seen in self._near.by_either(one.mail, one.name):
            theirs = self._space.traits(seen)
            how = fit(one.traits, theirs)
            if how is None:
                continue
            if seen.id in self.owners:
                owned += [seen.id] if is_alike(one.traits, theirs) else []
                continue
            whose = _whose(one, theirs, rivals_of(seen.mail, seen.name))
            if whose is not Whose.THEIRS:
                found.append((seen, how, whose))
        return owned, found

    def equal(self, one: Creatable) -> list[int]:
        """Return who has no identity either, and all that this contact has."""
        given = normalise(one.content.get("firstname", ""))
        return [
            seen.id
            for seen in self._bare
            if seen.given == given and not self._space.differences(one.content, seen)
        ]


def _whose(one: Creatable, theirs: Traits, near: Sequence[Rival] | None) -> Whose:
    """Say whose a contact is that was seen: the key's that is alike, else the only one's that surely fits."""
    if near is None:
        return Whose.UNSURE
    others = [other.traits for other in near if other.n != one.n]
    is_ours = is_alike(one.traits, theirs)
    if any(is_alike(other, theirs) for other in others):
        return Whose.UNSURE if is_ours else Whose.THEIRS
    if is_ours:
        return Whose.OURS
    fits = (fit(other, theirs) for other in others)
    return Whose.UNSURE if any(how is not None and how < Fit.UNSURE for how in fits) else Whose.OURS


def _wanted(one: Creatable) -> list[Wanted]:
    """Return how a contact is looked up: a search by mail asks for no names once somebody fits."""
    wanted = [Wanted(None, one.content)]
    if one.mail and one.name:
        wanted.append(Wanted(None, {name: value for name, value in one.content.items() if name != "mail"}))
    return wanted


def _refused(page: Sequence[Creatable], looked: LookedUp) -> set[int]:
    """Return who could not be looked for in all ways."""
    asked = [one.n for one in page for _ in _wanted(one)]
    return {asked[place] for place in looked.refused}
