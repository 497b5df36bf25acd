"""What must not be sent, found out before anything is: by the store alone, and by reading the space.

The pure part is shared with `plan`; `Preflight` is the step of a sync.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from syncengine.config import Settings
from syncengine.creating import Creating
from syncengine.errors import ConfigError
from syncengine.identity import IdentityClass, identify
from syncengine.outcome import NEVER_FOUND, NOT_FOUND_AGAIN
from syncengine.problems import AMBIGUOUS, HOLD_REASONS, IDENTITY_CHANGED
from syncengine.sections import IdentitySettings
from syncengine.seen import Near, Space, Wanted
from syncengine.store import adoption
from syncengine.store.checking import changed_identities, hold, hold_collisions, hold_moved_keys
from syncengine.store.counting import has_begun
from syncengine.store.forms import hold_faulty, keep_forms, needs_forms
from syncengine.store.holding import hold_dead_ids, hold_doubtful, hold_without_identity
from syncengine.store.ids import claimed_ids, learn_ids
from syncengine.store.store import Store
from syncengine.store.thread import StoreThread

LOOKED_UP = 500
"""Contacts looked up together: ten searches."""

MASS_CHANGE_FROM = 100

MOVED_KEYS = 20
MOVED_SHARE = 0.01
"""More contacts with ids than these whose keys name another person: the keys have moved."""


def held_classes(wanted: IdentitySettings) -> dict[IdentityClass, str]:
    """Return the identity classes to hold, with the reason shown for each; not those to be created."""
    sendable = {
        IdentityClass.NONE: wanted.none != "hold",
        IdentityClass.NAMES_ONLY: wanted.names_only == "send",
        IdentityClass.MAIL_ONLY: wanted.mail_only == "send",
    }
    return {identity: reason for identity, reason in HOLD_REASONS.items() if not sendable.get(identity)}


def is_mass_change(*, again: int, accepted: int, max_share: float) -> bool:
    """Say whether so many of the accepted contacts would be sent again that a mistake is likely.

    `again`: accepted before and due; `accepted`: ever accepted; only from 100 on.
    """
    return accepted >= MASS_CHANGE_FROM and again > max_share * accepted


def have_keys_moved(*, moved: int, with_ids: int) -> bool:
    """Say whether so many keys name another person that they must have been renumbered."""
    return moved > MOVED_KEYS or moved > MOVED_SHARE * with_ids


def hold_all(
    store: Store,
    identity: IdentitySettings,
    *,
    run: int,
    not_found_again: Collection[IdentityClass],
    may_be_proven: bool = False,
    may_be_created: bool = False,
    keys: Collection[str] | None = None,
    passing: Collection[int] = (),
) -> None:
    """Hold whom the store alone tells to hold.

    `may_be_proven`: leave those alone of whom a read may show the id, or whether they have arrived;
    `may_be_created`: those who are created once a read shows nobody. `keys`: compare only these with others;
    None: everybody. `passing`: those whom a read has shown to be nobody.
    """
    classes = held_classes(identity)
    if identity.none == "create" and not (may_be_proven or may_be_created):
        classes[IdentityClass.NONE] = HOLD_REASONS[IdentityClass.NONE]
    if may_be_proven:
        classes.pop(IdentityClass.UNPROVEN, None)
    elif not (may_be_created and identity.collisions == "create"):
        hold_collisions(store, identity.collisions, run=run, keys=keys, passing=passing)
    hold_doubtful(store, not_found_again, run=run)
    adoption.hold_ambiguous(store, run=run)
    hold_without_identity(store, classes, run=run, passing=passing)
    hold_dead_ids(store, run=run)
    hold_moved_keys(store, run=run, keys=keys)


class Preflight:
    """What a sync finds out before it sends anything, by reading the space; holds whom it must.

    `can_read`: whether doubts are settled by reading (not with --no-verify). Raises ConfigError when the
    space is full of people nobody has matched yet.
    """

    def __init__(
        self, settings: Settings, store: Store, at: StoreThread, space: Space, *, run: int, can_read: bool
    ) -> None:
        self._settings = settings
        self._store = store
        self._at = at
        self._space = space
        self._run = run
        self._verify = can_read
        self._fingerprint = b""
        self._not_found_again = NEVER_FOUND if can_read else NOT_FOUND_AGAIN
        self._creating = Creating(settings.identity, store, at, space, run=run, can_read=can_read)

    async def run(self) -> None:
        """Look at everything that is due. Errors of the space pass through."""
        await self._refuse_a_full_space()
        await self._prove_ids()
        await self._find_by_accepted_identity()
        await self._read_forms()
        await self._find_newcomers()
        await self._hold_or_create()

    @property
    def creates(self) -> Mapping[int, bytes]:
        """Who is created when it goes, by number, each with the content that nobody was found for."""
        return self._creating.let_go

    async def _hold_or_create(self) -> None:
        """Hold whom the store and the forms tell to hold; look up those who may be created, last."""
        if self._creating.is_on:
            await self._at(self.hold, may_be_created=True)
            await self._at(hold_faulty, self._store, self._space.faults, run=self._run)
            await self._creating.choose()
        await self._at(self.hold)
        await self._at(hold_faulty, self._store, self._space.faults, run=self._run)

    def hold(self, keys: Collection[str] | None = None, *, may_be_created: bool = False) -> None:
        """Hold whom the store alone tells to hold, among these keys or all (in the store's thread)."""
        hold_all(
            self._store,
            self._settings.identity,
            run=self._run,
            not_found_again=self._not_found_again,
            may_be_created=may_be_created,
            keys=keys,
            passing=self._creating.keep(),
        )

    def hold_now(self, keys: Collection[str]) -> None:
        """Hold what was edited during the run and must not go (in the store's thread)."""
        self.hold(keys)
        after = ""
        while page := changed_identities(self._store, after, LOOKED_UP, keys=keys):
            after = page[-1].key
            hold(self._store, [changed.n for changed in page], IDENTITY_CHANGED, run=self._run)
        hold_faulty(self._store, self._space.faults, run=self._run, keys=keys)

    async def check_forms(self) -> bool:
        """Read the forms again and hold whom the space would drop; say whether any form had changed."""
        before = self._fingerprint
        if await self._read_forms():
            await self._hold_or_create()  # whoever is due again may have to be held for something else
        else:
            await self._at(hold_faulty, self._store, self._space.faults, run=self._run)
        return self._fingerprint != before

    async def _read_forms(self) -> int:
        """Read the forms, if anybody answers one; return how many of the problems they gave are closed."""
        if not await self._at(needs_forms, self._store, verify=self._verify):
            return 0
        forms = await self._space.read_forms()
        self._fingerprint = forms.fingerprint
        return await self._at(keep_forms, self._store, forms)

    async def _refuse_a_full_space(self) -> None:
        if self._settings.identity.existing == "match" or await self._at(has_begun, self._store):
            return
        count = await self._space.count()
        if count:
            raise ConfigError(
                f"the space already holds {count:,} contacts that syncengine has not matched with the "
                "source; nothing was sent. Two ways on: syncengine adopt reads the space, finds who is whom "
                'and sends nothing (--dry-run shows it first); or [identity] existing = "match" lets Qomon '
                "match by mail and names, and overwrite"
            )

    async def _prove_ids(self) -> None:
        """Learn the ids the source claims, where a read shows that mail or surname agree."""
        after = ""
        while page := await self._at(claimed_ids, self._store, after, LOOKED_UP):
            after = page[-1].key
            looked = await self._space.look_up([claim.wanted for claim in page])
            seen = {one.id: one for one in looked.seen}
            proven = [
                (claim.n, one.id)
                for claim in page
                if (one := seen.get(claim.wanted.id or 0)) is not None and claim.agrees(one)
            ]
            await self._at(learn_ids, self._store, proven)

    async def _find_newcomers(self) -> None:
        """Find whom of an adopted space contacts never sent before may be, rather than let Qomon match them.

        Looked for are those of whom somebody there has the mail or the names. Whoever is found for certain is
        sent by id from now on, or not at all when it is equal; the others are held.
        """
        after = ""
        matches = await self._at(adoption.matches_of, self._store, self._space, claims=False)
        while page := await self._at(adoption.newcomers, self._store, after, LOOKED_UP):
            after = page[-1].key
            looked = await self._space.look_up([newcomer.wanted for newcomer in page])
            await self._at(adoption.note_page, self._store, matches, looked.seen, read_up_to=None)
            refused = [page[place].n for place in looked.refused]
            await self._at(hold, self._store, refused, AMBIGUOUS, run=self._run)
        if after:
            date = self._store.now() - self._space.clock_difference
            await self._at(adoption.choose, self._store)
            await self._at(adoption.take_effect, self._store, run=self._run, date=date, is_whole=False)

    async def _find_by_accepted_identity(self) -> None:
        """Find contacts whose identity changed before their id was known by what they were accepted with."""
        after = ""
        while page := await self._at(changed_identities, self._store, after, LOOKED_UP):
            after = page[-1].key
            looked = await self._space.look_up([Wanted(None, changed.accepted) for changed in page])
            near = Near((one.mail, one.name, one) for one in looked.seen)
            found: list[tuple[int, int]] = []
            lost: list[int] = []
            for changed in page:
                _, mail, name = identify(changed.accepted)
                fitting = [
                    one for one in near.by_either(mail, name) if self._space.fits(changed.accepted, one)
                ]
                if len(fitting) == 1:
                    found.append((changed.n, fitting[0].id))
                else:
                    lost.append(changed.n)
            learned = await self._at(learn_ids, self._store, found)
            lost += [n for n, _ in found if n not in learned]
            await self._at(hold, self._store, lost, IDENTITY_CHANGED, run=self._run)
