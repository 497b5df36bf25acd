"""Questions about fields: kept, cleared, added to, or dropped with the contact."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from syncengine.probes.asking import DROPPED, Answer, Question
from syncengine.qomon.contact import Answer as FormAnswer
from syncengine.qomon.contact import Contact, Note
from syncengine.qomon.forms import Form, Forms, decode
from syncengine.qomon.trial import MARK, NotShownError, Trial
from syncengine.store.probes import KEPT

TAGS = ("syncengine-probe-a", "syncengine-probe-b")
STREET = {"street": "Probe Street 1", "postalcode": "69001", "city": "Lyon"}
PHONE = "06 11 22 33 44"
DATES = {
    "RFC 3339": ("1980-05-01T00:00:00Z", "1980-05-01"),
    "YYYY-MM-DD": ("1981-06-02", "1981-06-02"),
    "DD/MM/YYYY": ("03/07/1982", "03/07/1982"),
}
"""Formats: what is sent, and how what a read shows of it begins."""

Judge = Callable[[Contact], Answer]


async def _changed(trial: Trial, before: Contact, fields: Mapping[str, Any], judge: Judge) -> Answer:
    """Create `before`, upsert `fields` on it, and judge what is there then."""
    made = await trial.create(before)
    seen = await trial.apply({"id": made.id, **fields}, on=made.id)
    return DROPPED if seen is None else judge(seen)


async def _unlisted(trial: Trial, *, field: str, value: str) -> Answer:
    def judge(seen: Contact) -> Answer:
        if getattr(seen, field) == value:
            return Answer(KEPT, "a read showed the value that was sent")
        return Answer("ignored", "the rest of the upsert was applied, the value was not there")

    return await _changed(trial, trial.person(), {field: value}, judge)


async def _tags(trial: Trial) -> Answer:
    def judge(seen: Contact) -> Answer:
        match tuple(tag in seen.tags for tag in TAGS):
            case (True, True):
                return Answer("add", "the tag of before stands beside the new one")
            case (False, True):
                return Answer("replace", "only the new tag is there")
            case _:
                return Answer("ignored", "the new tag is not there")

    return await _changed(trial, trial.person(tags=TAGS[:1]), {"tags": [{"name": TAGS[1]}]}, judge)


async def _notes(trial: Trial) -> Answer:
    made = await trial.create(trial.person(notes=(Note("probe a"),)))
    found: tuple[str, ...] = ()
    for text in ("probe a", "probe b"):
        seen = await trial.apply({"id": made.id, "notes": [{"content": text}]}, on=made.id)
        if seen is None:
            return DROPPED
        found = tuple(sorted(note.content for note in seen.notes))
        if found == ("probe a", "probe a"):
            return Answer("append", "the same text sent again is there twice")
    return {
        ("probe a", "probe b"): Answer("once", "the same text sent again is there once, another was added"),
        ("probe b",): Answer("replace", "another text is there alone"),
    }.get(found, Answer("ignored", "the new text is not there"))


def _left(is_there: bool, *, kept: str, gone: str) -> Answer:
    if is_there:
        return Answer(kept, "the value of before is still there")
    return Answer(gone, "the value of before is gone")


async def _blank(trial: Trial, *, value: str | None) -> Answer:
    return await _changed(
        trial,
        trial.person(nationality="Probe"),
        {"nationality": value},
        lambda seen: _left(bool(seen.nationality), kept="ignored", gone="clears"),
    )


async def _empty_list(trial: Trial) -> Answer:
    return await _changed(
        trial,
        trial.person(tags=TAGS[:1]),
        {"tags": []},
        lambda seen: _left(bool(seen.tags), kept="keeps", gone="clears"),
    )


async def _address(trial: Trial) -> Answer:
    return await _changed(
        trial,
        trial.person(address=STREET),
        {"address": {"city": "Lyon", "postalcode": "69002"}},
        lambda seen: _left(bool(seen.address.get("street")), kept="merge", gone="replace"),
    )


async def _phones(trial: Trial) -> Answer:
    def judge(seen: Contact) -> Answer:
        if seen.phone == PHONE:
            return Answer("as sent", "a read showed the digits and blanks that were sent")
        return Answer("rewritten" if seen.phone else "ignored", "a read did not show what was sent")

    return await _changed(trial, trial.person(), {"phone": PHONE}, judge)


async def _geocoding(trial: Trial) -> Answer:
    def judge(seen: Contact) -> Answer:
        if seen.address.get("city") != "LYON" or seen.address.get("latitude"):
            return Answer("on", "the city was rewritten or has coordinates that nobody sent")
        return Answer("off", "nothing was rewritten as long as the contact was watched")

    return await _changed(trial, trial.person(), {"address": {"city": "LYON", "postalcode": "69001"}}, judge)


async def _birthdates(trial: Trial) -> Answer:
    taken = []
    for name, (sent, shown) in DATES.items():
        made = await trial.create(trial.person())
        seen = await trial.apply({"id": made.id, "birthdate": sent}, on=made.id)
        if seen is not None and str(seen.birthdate or seen.more.get("birthdate")).startswith(shown):
            taken.append(name)
    return Answer(", ".join(taken) or "none", "a read showed the day that was sent in these formats")


async def _noop(trial: Trial) -> Answer:
    made = await trial.create(trial.person())
    fields = {"id": made.id, "nationality": "Probe"}
    before = await trial.apply(fields, on=made.id)
    if before is None or before.updated_at is None:
        raise NotShownError("the contact showed no UpdatedAt to begin with")
    at = before.updated_at
    await trial.upsert({**fields, MARK: before.married_name})

    async def look() -> Contact | None:
        seen = await trial.client.contact(made.id)
        return seen if seen is not None and seen.updated_at and seen.updated_at > at else None

    if await trial.wait(look):
        return Answer("moves", "UpdatedAt moved though nothing else did")
    return Answer("stays", "UpdatedAt is as before, while something written later is there")


# --- answers to forms


def _form_of(forms: Forms, *, is_multiple: bool) -> Form:
    """Return a form to try: of several choices, or of free text. Raises NotShownError without one."""
    for form in forms:
        is_fit = len(form.options) > 1 if is_multiple else not form.has_options and form.widget == "text"
        if form.kind and form.is_multiple == is_multiple and is_fit:
            return form
    kind = "of several choices with two options" if is_multiple else "of free text"
    raise NotShownError(f"the space has no form {kind}")


def _values(form: Form, *, is_multiple: bool) -> tuple[str, str]:
    if not is_multiple:
        return "probe a", "probe b"
    first, second = form.options[:2]
    return first.value or first.label, second.value or second.label


def _judge_answers(trial: Trial, form: Form, values: tuple[str, str], seen: Contact) -> Answer:
    found = [answer for answer in decode(seen.answers, trial.forms) if answer.form == form.id]
    held = [any(value in {one.value, one.stored} for one in found) for value in values]
    if all(held):
        return Answer("add", "the answer of before stands beside the new one")
    if held[1]:
        return Answer("replace", "only the new answer is there")
    return Answer("ignored", "the new answer is not there")


async def _answered(trial: Trial, *, is_multiple: bool) -> Answer:
    form = _form_of(trial.forms, is_multiple=is_multiple)
    values = _values(form, is_multiple=is_multiple)
    return await _changed(
        trial,
        trial.person(answers=(FormAnswer(form.kind, form.id, values[0]),)),
        {form.kind: [{"id": form.id, "value": values[1]}]},
        partial(_judge_answers, trial, form, values),
    )


async def _replaced(trial: Trial) -> Answer:
    form = _form_of(trial.forms, is_multiple=False)
    values = _values(form, is_multiple=False)
    made = await trial.create(trial.person(answers=(FormAnswer(form.kind, form.id, values[0]),)))
    wanted = (FormAnswer(form.kind, form.id, values[1]),)
    seen = await trial.client.replace(made.id, lambda held: _writable(held, answers=wanted), trial.forms)
    return _judge_answers(trial, form, values, seen)


async def _lastchange(trial: Trial) -> Answer:
    made = await trial.create(trial.person())
    before = await trial.client.contact(made.id)
    seen = await trial.client.replace(made.id, lambda held: _writable(held, nationality="Probe"), trial.forms)
    if before is None or seen.nationality != "Probe":
        raise NotShownError("the replace did not show")
    if seen.last_change == before.last_change:
        return Answer("stays", "lastchange is as before the replace")
    return Answer("moves", "lastchange moved with the replace")


def _writable(held: Contact, **changes: Any) -> Contact:
    """Return a contact with changes, without what a replace cannot write: it is thrown away anyway."""
    return replace(held, gender=None, external_id=None, more={}, **changes)


QUESTIONS = (
    Question("gender", "Is gender kept?", partial(_unlisted, field="gender", value="F")),
    Question("external_id", "Is external_id kept?", partial(_unlisted, field="external_id", value="probe-1")),
    Question("tags", "Are tags of an upsert added, or do they replace?", _tags),
    Question("notes", "A note on each upsert: appended, replacing, or once per text?", _notes),
    Question("empty", "What does an empty text do to a stored value?", partial(_blank, value="")),
    Question("null", "What does null do to a stored value?", partial(_blank, value=None)),
    Question("empty_list", "What does an empty list do to stored tags?", _empty_list),
    Question(
        "checkboxes",
        "Further options of a form of several choices: added, or replacing?",
        partial(_answered, is_multiple=True),
    ),
    Question(
        "texts",
        "A further answer to a form of free text: replaces, or is added?",
        partial(_answered, is_multiple=False),
    ),
    Question("address", "Is a partial address merged part by part?", _address),
    Question("noop", "Does an upsert that changes nothing move UpdatedAt?", _noop),
    Question("birthdates", "Which formats of a birthdate are taken?", _birthdates),
    Question("phones", "Are phone numbers kept as sent, or rewritten?", _phones),
    Question("geocoding", "Does geocoding rewrite an address?", _geocoding),
    Question("replaced", "Answers of free text in a replace: added, or all that is left?", _replaced),
    Question("lastchange", "Does a replace move lastchange?", _lastchange),
)
