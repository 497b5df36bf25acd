"""A Qomon space as the engine reads it: who is seen there, and what that and its forms mean for a content.

Owns the look-ups: which question finds a contact for the fewest tokens, and who of those found was meant. A
search finds more than was asked for (`eql` compares beginnings of words; observed) and less (conditions to
the letter tell upper and lower case apart), so questions go from the narrow to the wide, and what they find
is filtered here. Refuses to compare and to judge: `seeing` and `faults` do.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from syncengine.errors import RejectedError
from syncengine.identity import identify, normalise
from syncengine.partial import kept, merged
from syncengine.qomon import seeing
from syncengine.qomon.client import QomonClient
from syncengine.qomon.contact import Contact
from syncengine.qomon.faults import Faults
from syncengine.qomon.forms import Forms, forms_from_json, forms_to_json
from syncengine.qomon.query import Condition, Query, all_of, where
from syncengine.qomon.sweep import PAGE_CAP
from syncengine.seen import Difference, Fault, KeptForms, Seen, Wanted

T = TypeVar("T")
Question = Callable[[Wanted], tuple[Condition, ...]]
"""The conditions that find a contact, all of which it meets; none when it cannot be asked for in this way."""

CONTACTS = 50
"""Contacts asked for by one search; how many conditions Qomon takes is not documented."""

CHUNK = 250
"""Contacts handed on together: comparing them takes a few milliseconds."""


class QomonSpace:
    """An open client's space. `ignore`: names of what is not compared, see `seeing.differences`.

    Every method raises what the client does. What was learned about look-ups holds as long as the object.
    """

    def __init__(
        self, client: QomonClient, *, ignore: Collection[str] = (), forms: Forms | None = None
    ) -> None:
        self._client = client
        self._ignore = frozenset(ignore)
        self._most = 2 * CONTACTS
        self._takes_ids = True
        self._go_by(forms or Forms())

    def _go_by(self, forms: Forms) -> None:
        self._forms = forms
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

    async def updated(self, since: float | None, until: float) -> AsyncIterator[list[Seen]]:
        """POST /search in windows of UpdatedAt, 1.5 to 2.5 tokens for 1,000 contacts. See `seen.Space`.

        `until` is rounded up to the second; it ends for certain when that time is past.
        """
        low = None if since is None else datetime.fromtimestamp(since, UTC)
        high = datetime.fromtimestamp(until, UTC)
        chunk: list[Seen] = []
        async with aclosing(self._client.search(since=low, until=high)) as found:
            async for contact in found:
                chunk.append(_seen(contact))
                if len(chunk) == CHUNK:
                    yield chunk
                    chunk = []
        if chunk:
            yield chunk

    async def get(self, id_: int) -> Seen | None:
        """GET /contacts/{id}, 1 token. See `seen.Space`."""
        contact = await self._client.contact(id_)
        return None if contact is None else _seen(contact)

    async def look_up(self, wanted: Sequence[Wanted]) -> list[Seen]:
        """POST /search, 1 token for up to `CONTACTS` of those wanted. See `seen.Space`.

        Whoever has an id is asked for by it alone; others by mail to the letter, by the words of the mail, by
        the words of their names, or without mail by names to the letter and by their words, until somebody
        who fits is found. Returns, each once, whoever has an id or a mail that is wanted, or fits a content
        that is: all whom the last question asked for a contact finds, unless more than a page meets it alone.

        A space that refuses to be asked for ids, even for one alone, is asked by mail and names instead.
        Raises RejectedError when it refuses to be asked for one contact by these.
        """
        found: dict[int, Seen] = {}
        if self._takes_ids:
            most = self._most
            try:
                await self._search([one for one in wanted if one.id is not None], _by_id, found)
            except RejectedError:
                self._takes_ids, self._most = False, most
        left = [one for one in wanted if one.id is None or not self._takes_ids]
        for question in (_to_the_letter, _by_words, _by_names_at_last):
            await self._search(left, question, found)
            left = _not_found(left, found)
        return list(found.values())

    async def _search(self, wanted: Sequence[Wanted], question: Question, found: dict[int, Seen]) -> None:
        """Ask for as many at a time as the space takes and a page can show; add whoever was meant."""
        asked = [one for one in wanted if question(one)]
        waiting = [asked[n : n + CONTACTS] for n in range(0, len(asked), CONTACTS)]
        while waiting:
            few = waiting.pop()
            query = Query.any(*(all_of(*question(one)) for one in few))
            rows = await self._ask(query, is_single=len(few) == 1)
            if rows is None:
                middle = len(few) // 2
                waiting += [few[:middle], few[middle:]]
            else:
                found.update((seen.id, seen) for seen in _meant(rows, few))

    async def _ask(self, query: Query, *, is_single: bool) -> list[Contact] | None:
        """Return who meets a query, None when it has to be divided: too much to ask for, or to be shown."""
        if query.conditions > self._most and not is_single:
            return None
        try:
            rows = await self._client.page(query)
        except RejectedError:
            if is_single:
                raise
            self._most = query.conditions // 2
            return None
        return rows if is_single or len(rows) < PAGE_CAP else None

    # --- meaning

    @property
    def clock_difference(self) -> float:
        """See `seen.Space`."""
        return self._client.clock_difference or 0.0

    def fits(self, content: Mapping[str, Any], seen: Seen) -> bool:
        """See `seen.Space`."""
        return seeing.fits(content, seen.contact)

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


class _Near(Generic[T]):
    """By normalised mail and names: only who shares one of them can fit one another."""

    def __init__(self, people: Iterable[tuple[str, str, T]]) -> None:
        self._by_mail: dict[str, list[T]] = {}
        self._by_name: dict[str, list[T]] = {}
        for mail, name, one in people:
            self._by_mail.setdefault(mail, []).append(one)
            self._by_name.setdefault(name, []).append(one)

    def by_mail(self, mail: str) -> list[T]:
        return self._by_mail.get(mail, []) if mail else []

    def by_name(self, name: str) -> list[T]:
        return self._by_name.get(name, []) if name else []


def _meant(rows: Iterable[Contact], wanted: Sequence[Wanted]) -> Iterator[Seen]:
    """Yield whoever has an id or a mail that is wanted, or fits a content that is.

    By mail also whoever fits none: a contact whose names others changed is still to be seen.
    """
    ids = {one.id for one in wanted}
    given = {
        normalise(one.content.get("firstname", "")) for one in wanted if not any(identify(one.content)[1:])
    }
    near = _Near((*identify(one.content)[1:], one.content) for one in wanted)
    for contact in rows:
        seen = _seen(contact)
        is_bare = not seen.mail and not seen.name and seen.given in given
        is_meant = seen.id in ids or is_bare or near.by_mail(seen.mail)
        if is_meant or any(seeing.fits(content, contact) for content in near.by_name(seen.name)):
            yield seen


def _not_found(wanted: Iterable[Wanted], found: Mapping[int, Seen]) -> list[Wanted]:
    """Return those of whom nobody was found in the way they were asked for.

    Somebody of the same names who was found for another is not yet the contact with the mail.
    """
    near = _Near((seen.mail, seen.name, seen.contact) for seen in found.values())
    left = []
    for one in wanted:
        _, mail, name = identify(one.content)
        alike = near.by_mail(mail) if mail else near.by_name(name)
        is_found = any(seeing.fits(one.content, contact) for contact in alike)
        if not (is_found if one.id is None else one.id in found):
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
