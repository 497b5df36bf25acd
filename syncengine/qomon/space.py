"""A Qomon space as the engine reads it: who is seen there, and what that and its forms mean for a content.

Owns the look-ups: which question finds a contact for the fewest tokens, and who of those found was meant. A
search finds more than was asked for (`eql` compares beginnings of words; observed) and less (conditions to
the letter tell upper and lower case apart), so questions go from the narrow to the wide, and what they find
is filtered here. Refuses to compare and to judge: `seeing` and `faults` do.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from syncengine.collisions import Traits
from syncengine.errors import RejectedError
from syncengine.identity import identify, normalise
from syncengine.partial import kept, merged
from syncengine.qomon import seeing
from syncengine.qomon.client import QomonClient
from syncengine.qomon.contact import Contact
from syncengine.qomon.destination import ReadForms
from syncengine.qomon.faults import Faults
from syncengine.qomon.forms import Forms, forms_from_json, forms_to_json
from syncengine.qomon.query import Condition, Query, all_of, where
from syncengine.qomon.sweep import PAGE_CAP
from syncengine.seen import Difference, Fault, KeptForms, LookedUp, Near, Seen, Wanted

Question = Callable[[Wanted], tuple[Condition, ...]]
"""The conditions that find a contact, all of which it meets; none when it cannot be asked for in this way."""

CONTACTS = 50
"""Contacts asked for by one search; how many conditions Qomon takes is not documented."""

REFUSALS = 10
"""Contacts for whom a question is refused, one by one, before any search of its kind was taken, after which
it is asked for nobody: then it is the question that is not taken, and not what is asked with it."""

CHUNK = 250
"""Contacts handed on together: comparing them takes a few milliseconds."""


class QomonSpace:
    """An open client's space. `ignore`: names of what is not compared, see `seeing.differences`.

    `read`: where whoever sends finds the forms.

    Every method raises what the client does. What was learned about look-ups holds as long as the object.
    """

    def __init__(
        self,
        client: QomonClient,
        *,
        ignore: Collection[str] = (),
        forms: Forms | None = None,
        read: ReadForms | None = None,
    ) -> None:
        self._client = client
        self._ignore = frozenset(ignore)
        self._most = 2 * CONTACTS
        self._is_taken: set[Question] = set()
        self._refusals: dict[Question, list[str]] = {}
        self._read_by = read or ReadForms()
        self._go_by(forms or Forms())

    def _go_by(self, forms: Forms) -> None:
        self._forms = self._read_by.forms = forms
        self._faults = Faults(forms)
        self._is_multiple = seeing.is_multiple(forms)
        self._meaning = seeing.meaning(forms)

    # --- forms

    async def read_forms(self) -> KeptForms:
        """GET /v1/forms/type/{type}: all six types, 1 token each. See `seen.Space`."""
        self._go_by(await self._client.forms())
        return KeptForms(self._forms.fingerprint, forms_to_json(self._forms))

    def use_forms(self, forms: KeptForms) -> None:
        """See `seen.Space`. Raises ValueError when they cannot be read."""
        self._go_by(forms_from_json(forms.content))

    def faults(self, content: Mapping[str, Any]) -> list[Fault]:
        """See `seen.Space`: one for each answer that names what is not there, or is one too many."""
        return self._faults.of(content)

    # --- contacts

    async def count(self) -> int:
        """POST /kpi, probably 1 token. See `seen.Space`."""
        return await self._client.count()

    async def updated(
        self,
        since: float | None,
        until: float,
        *,
        passed: Callable[[float], None] | None = None,
        is_many: bool = False,
    ) -> AsyncIterator[list[Seen]]:
        """POST /search in windows of UpdatedAt, 1.5 to 2.5 tokens for 1,000 contacts, 1.3 of many.

        `until` is rounded up to the second; it ends for certain when that time is past.
        """
        low = None if since is None else datetime.fromtimestamp(since, UTC)
        high = datetime.fromtimestamp(until, UTC)
        chunk: list[Seen] = []
        reached: list[datetime] = []
        search = self._client.search(since=low, until=high, passed=reached.append, is_many=is_many)
        async with aclosing(search) as found:
            async for contact in found:
                chunk.append(_seen(contact))
                if len(chunk) == CHUNK:
                    behind = reached[-1:]
                    yield chunk
                    chunk = []
                    if passed is not None and behind:
                        passed(behind[0].timestamp())
                    del reached[:-1]
        if chunk:
            yield chunk

    async def get(self, id_: int) -> Seen | None:
        """GET /contacts/{id}, 1 token. See `seen.Space`."""
        contact = await self._client.contact(id_)
        return None if contact is None else _seen(contact)

    async def look_up(self, wanted: Sequence[Wanted]) -> LookedUp:
        """POST /search, 1 token for up to `CONTACTS` of those wanted. See `seen.Space`.

        Whoever has an id is asked for by it alone; others by mail to the letter, by the words of the mail, by
        the words of their names, or without mail by names to the letter and by their words, until somebody
        who fits is found. Returns, each once, whoever has an id or a mail that is wanted, or fits a content
        that is: all whom the last question asked for a contact finds, a token a page when they are many.

        A question that is refused for a contact alone is passed over for it; whoever is refused by id is
        asked for by mail and names as well. One that is refused for each of several and taken for nobody is
        asked no more, as long as the object lives.
        """
        found: dict[int, Seen] = {}
        sought = [_Sought(one) for one in wanted]
        await self._search([one for one in sought if one.wanted.id is not None], _by_id, found)
        left = [one for one in sought if not one.is_answered]
        for question in (_to_the_letter, _by_words, _by_names_at_last):
            await self._search(left, question, found)
            left = _not_found(left, found)
        refused = {
            place: one.refusal for place, one in enumerate(sought) if one.refusal and not one.is_answered
        }
        return LookedUp(list(found.values()), refused)

    async def _search(self, sought: Sequence[_Sought], question: Question, found: dict[int, Seen]) -> None:
        """Ask for as many at a time as the space takes and a page can show; add whoever was meant."""
        asked = [one for one in sought if question(one.wanted)]
        for start in range(0, len(asked), CONTACTS):
            await self._ask(asked[start : start + CONTACTS], question, found)

    async def _ask(self, few: Sequence[_Sought], question: Question, found: dict[int, Seen]) -> bool:
        """Ask for a few at once, or in halves; say whether somebody alone was refused among them."""
        query = Query.any(*(all_of(*question(one.wanted)) for one in few))
        is_single = len(few) == 1
        is_refused = False
        if is_single or query.conditions <= self._most:
            if why := self._why_not(question):
                for one in few:
                    one.refusal = why
                return True
            try:
                if await self._read(query, few, found, is_single=is_single):
                    self._is_taken.add(question)
                    for one in few:
                        one.is_answered = True
                    return False
            except RejectedError as error:
                if is_single:
                    few[0].refusal = str(error)
                    self._refusals.setdefault(question, []).append(str(error))
                    return True
                is_refused = True
        middle = len(few) // 2
        halves = [await self._ask(half, question, found) for half in (few[:middle], few[middle:])]
        if is_refused and not any(halves):  # it was too long, and nobody's fault
            self._most = min(self._most, query.conditions // 2)
        return any(halves)

    def _why_not(self, question: Question) -> str:
        """Return why a question is asked no more; empty while it is."""
        refusals = self._refusals.get(question, ())
        most = 1 if question is _by_id else REFUSALS  # ids are numbers: none is worse than another
        is_closed = question not in self._is_taken and len(refusals) >= most
        return list(refusals)[-1] if is_closed else ""

    async def _read(
        self, query: Query, few: Sequence[_Sought], found: dict[int, Seen], *, is_single: bool
    ) -> bool:
        """Add whoever meets a query and was meant; say False when a page cannot show them.

        Of one contact, whom nothing divides, all pages are read.
        """
        meant = _Meant([one.wanted for one in few])
        rows = await self._client.page(query)
        is_full = len(rows) >= PAGE_CAP
        if is_full and not is_single:
            return False
        found.update((contact.id, _seen(contact)) for contact in rows if meant.has(contact))
        if is_full:
            async with aclosing(self._client.search(query)) as everybody:
                async for contact in everybody:
                    if meant.has(contact):
                        found[contact.id] = _seen(contact)
        return True

    # --- meaning

    @property
    def clock_difference(self) -> float:
        """See `seen.Space`."""
        return self._client.clock_difference or 0.0

    def fits(self, content: Mapping[str, Any], seen: Seen) -> bool:
        """See `seen.Space`."""
        return seeing.fits(content, seen.contact)

    def traits(self, seen: Seen) -> Traits:
        """See `seen.Space`."""
        return seeing.traits(seen.contact)

    def differences(self, content: Mapping[str, Any], seen: Seen) -> list[Difference]:
        """See `seen.Space`."""
        return seeing.differences(content, seen.contact, self._forms, self._ignore)

    def merged(self, applied: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
        """See `seen.Space`."""
        return merged(applied, content, self._is_multiple, self._meaning)

    def kept(self, applied: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
        """See `seen.Space`."""
        return kept(applied, content, self._is_multiple, self._meaning)


# --- questions


def _by_id(one: Wanted) -> tuple[Condition, ...]:
    return () if one.id is None else (where("id").eql(str(one.id)),)  # all values in the guides are texts


def _to_the_letter(one: Wanted) -> tuple[Condition, ...]:
    if mail := one.content.get("mail"):
        return (where("mail").eql_strict(mail),)
    return tuple(where(name).eql_strict(text) for name, text in _names(one.content))


def _by_words(one: Wanted) -> tuple[Condition, ...]:
    if mail := one.content.get("mail"):
        return (where("mail").eql(mail),)
    return tuple(where(name).eql(text) for name, text in _names(one.content))


def _by_names_at_last(one: Wanted) -> tuple[Condition, ...]:
    if not one.content.get("mail"):
        return ()
    return tuple(where(name).eql(text) for name, text in _names(one.content))


def _names(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the names that are given; without a surname also what else may tell a person from others.

    Matching has no rule for such a contact, so it was created by the very send that is looked for.
    """
    names = ("surname", "firstname") if content.get("surname") else ("firstname", "phone", "mobile")
    return [(name, text) for name in names if (text := content.get(name))]


# --- answers


@dataclass(slots=True, eq=False)
class _Sought:
    """Somebody to look up: whether any search for them was taken, and why the last refused one was not."""

    wanted: Wanted
    is_answered: bool = False
    refusal: str = ""


class _Meant:
    """Whoever has an id or a mail that is wanted, or fits a content that is.

    By mail also whoever fits none: a contact whose names others changed is still to be seen.
    """

    def __init__(self, wanted: Sequence[Wanted]) -> None:
        self._ids = {one.id for one in wanted}
        self._given = {
            normalise(one.content.get("firstname", ""))
            for one in wanted
            if not any(identify(one.content)[1:])
        }
        self._near = Near((*identify(one.content)[1:], one.content) for one in wanted)

    def has(self, contact: Contact) -> bool:
        """Say whether a contact that was found is one of them."""
        seen = _seen(contact)
        is_bare = not seen.mail and not seen.name and seen.given in self._given
        if seen.id in self._ids or is_bare or self._near.by_mail(seen.mail):
            return True
        return any(seeing.fits(content, contact) for content in self._near.by_name(seen.name))


def _not_found(sought: Iterable[_Sought], found: Mapping[int, Seen]) -> list[_Sought]:
    """Return those of whom nobody was found in the way they were asked for.

    Somebody of the same names who was found for another is not yet the contact with the mail.
    """
    near = Near((seen.mail, seen.name, seen.contact) for seen in found.values())
    left = []
    for one in sought:
        _, mail, name = identify(one.wanted.content)
        alike = near.by_mail(mail) if mail else near.by_name(name)
        is_found = any(seeing.fits(one.wanted.content, contact) for contact in alike)
        if not (is_found if one.wanted.id is None else one.wanted.id in found):
            left.append(one)
    return left


def _seen(contact: Contact) -> Seen:
    shown = {name: getattr(contact, name) or "" for name in ("mail", "surname", "firstname")}
    _, mail, name = identify(shown)
    return Seen(
        id=contact.id,
        mail=mail,
        name=name,
        created=None if contact.created_at is None else contact.created_at.timestamp(),
        updated=None if contact.updated_at is None else contact.updated_at.timestamp(),
        contact=contact,
        given=normalise(shown["firstname"]),
    )
