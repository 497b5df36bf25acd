"""Questions about whom an upsert means: ids, mail, names, and two at once."""

from __future__ import annotations

import asyncio
from typing import Any

from syncengine.probes.asking import Answer, Question
from syncengine.qomon.contact import Contact
from syncengine.qomon.trial import MARK, NotShownError, Trial

TWIN_ATTEMPTS = 3


def _named(contact: Contact, **fields: Any) -> dict[str, Any]:
    """Return what an upsert without an id is matched by."""
    names = {"mail": contact.mail, "firstname": contact.firstname, "surname": contact.surname}
    return names | fields


async def _dead_id(trial: Trial) -> Answer:
    dead = await trial.create(trial.person())
    await trial.delete(dead.id)
    alive = trial.person()
    made = await trial.create(alive)
    if await trial.apply(_named(alive, id=dead.id), on=made.id):
        return Answer("match", "the contact of the same mail and names was updated")

    async def look() -> bool | None:
        return sum(one.mail == alive.mail for one in await trial.everybody()) > 1 or None

    if await trial.wait(look, by_search=True):
        return Answer("create", "another contact of the same mail and names is there")
    return Answer("drop", "the contact of the same mail and names was not touched, and no other was made")


async def _matching(trial: Trial) -> Answer:
    """Names spelled otherwise under the same mail: in capitals between blanks, then without an accent."""
    folded, loose = trial.person(), trial.person(surname=f"Probé {trial.token} loose")
    is_same = []
    for person, spelled in (
        (folded, f" {(folded.surname or '').upper()} "),
        (loose, (loose.surname or "").replace("é", "e")),
    ):
        made = await trial.create(person)
        is_same.append(await trial.apply(_named(person, surname=spelled), on=made.id) is not None)
    match is_same:
        case [True, True]:
            return Answer("loose", "capitals, outer blanks and accents make no difference")
        case [True, False]:
            return Answer("folded", "capitals and outer blanks make no difference, an accent does")
        case [False, True]:
            return Answer("accents", "accents make no difference, capitals or outer blanks do")
        case _:
            return Answer("exact", "capitals or outer blanks make a difference, and so does an accent")


async def _mail_case(trial: Trial) -> Answer:
    person = trial.person()
    made = await trial.create(person)
    if await trial.apply({"mail": (person.mail or "").upper()}, on=made.id):
        return Answer("folded", "a mail in capitals meant the same contact")
    return Answer("exact", "a mail in capitals did not mean the same contact")


async def _twins(trial: Trial) -> Answer:
    for _ in range(TWIN_ATTEMPTS):
        began, person = trial.now(), trial.person()
        async with asyncio.TaskGroup() as group:
            for _ in range(2):
                group.create_task(trial.upsert(_named(person)))
        were_together = trial.now() - began < trial.lag
        if await _are_twins(trial, person):
            return Answer("yes", "two upserts of one new person, sent together, made two contacts")
        if were_together:
            return Answer("no", "two upserts of one new person, sent together, made one contact")
    raise NotShownError("two upserts could not be sent before the first of them was applied")


async def _are_twins(trial: Trial, person: Contact) -> bool:
    async def look() -> bool | None:
        return sum(one.mail == person.mail for one in await trial.everybody()) > 1 or None

    return bool(await trial.wait(look, by_search=True))


async def _winner(trial: Trial) -> Answer:
    person = trial.person()
    older, newer = (await trial.create(person)).id, (await trial.create(person)).id
    mark = trial.mark()
    await trial.upsert(_named(person, **{MARK: mark}))

    async def look() -> str | None:
        for name, contact_id in (("oldest", older), ("newest", newer)):
            if await trial.marked(contact_id, mark):
                return name
        return None

    won = await trial.wait(look)
    return Answer(won or "none", "of two contacts with the same mail and names this one was updated")


QUESTIONS = (
    Question("dead_id", "An id that does not exist: dropped, or matched by mail and names?", _dead_id),
    Question("matching", "How are names compared?", _matching),
    Question("mail_case", "Is a mail in capitals the same?", _mail_case),
    Question("twins", "Do two upserts of one new person at once make two contacts?", _twins),
    Question("winner", "Which of two matching contacts is updated?", _winner),
)
