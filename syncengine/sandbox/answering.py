"""Answers of one contact to forms: what a further answer does to those that are there.

An answer is stored as Qomon shows it: `{id, form_id, form_ref_id, data, date, created_at, updated_at,
deleted_at}`, times in RFC 3339, `deleted_at` null while it counts. `form_ref_id` is the option's id, `data`
its value or the text. The date is when Qomon applied the answer, whatever was asked for (observed).

Sources: Qomon API reference, "Update contact by id", for what the synchronous replace does; for the upsert
it is only observed that a single choice is replaced without a trace. The rest is `unknowns`, and our choices:
the same answer again changes nothing, not even its date; what is taken away and not replaced is soft-deleted.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from syncengine.sandbox.book import stamp
from syncengine.sandbox.forms import Forms, Resolved
from syncengine.sandbox.unknowns import Unknowns

ADDING = Unknowns(texts="add", checkboxes="add")

Answer = dict[str, Any]


def answered(
    stored: Sequence[Answer], sent: Iterable[Resolved], forms: Forms, unknowns: Unknowns, now: float
) -> list[Answer]:
    """Return the answers that an upsert leaves; none of `stored` is changed.

    Radio and select hold one value. So do texts, numbers and dates, unless unknown `texts` adds to them. A
    checkbox holds whatever was ever ticked or, by unknown `checkboxes`, the options of this upsert only.
    """
    answers = list(stored)
    ticked: dict[int, set[int]] = {}
    for resolved in sent:
        form = resolved.form
        live = [answer for answer in answers if answer["form_id"] == form.id and not answer["deleted_at"]]
        is_there = any(_says(answer, resolved) for answer in live)
        if form.widget == "checkbox":
            ticked.setdefault(form.id, set()).add(resolved.option.id)
        if form.widget == "checkbox" or (not form.is_choice and unknowns.texts == "add"):
            if not is_there:
                answers.append(new_answer(forms, resolved, now))
        elif not live:
            answers.append(new_answer(forms, resolved, now))
        elif len(live) > 1 or not is_there:
            first, *others = (answer["id"] for answer in live)
            answers = [
                _changed(answer, resolved, now) if answer["id"] == first else answer
                for answer in answers
                if answer["id"] not in others
            ]
    if unknowns.checkboxes == "replace":
        for form_id, options in ticked.items():
            answers = [
                _deleted(answer, now)
                if answer["form_id"] == form_id and answer["form_ref_id"] not in options
                else answer
                for answer in answers
            ]
    return answers


def withdrawn(stored: Sequence[Answer], form_type: str, forms: Forms, now: float) -> list[Answer]:
    """Return the answers with all those to forms of a type soft-deleted."""
    ids = {form.id for form in forms.of_type(form_type)}
    return [_deleted(answer, now) if answer["form_id"] in ids else answer for answer in stored]


def recreated(
    stored: Sequence[Answer], sent: Sequence[Resolved], forms: Forms, unknowns: Unknowns, now: float
) -> list[Answer]:
    """Return the answers that a full replace leaves: all of `stored` soft-deleted, and new ones.

    Documented: new ids at every call; forms left out end with nothing; of the forms that are sent, radio
    holds what was sent, checkbox and text, number and date hold that beside what they held before. The same
    page also says that a changed answer is updated: by unknown `replaced` only what was sent is left.
    """
    said = {resolved.form.id: [each for each in sent if each.form is resolved.form] for resolved in sent}
    kept = [
        answer | {"id": forms.next_answer()}
        for answer in stored
        if unknowns.replaced == "add"
        and not answer["deleted_at"]
        and answer["form_id"] in said
        and not any(_says(answer, resolved) for resolved in said[answer["form_id"]])
    ]
    return [_deleted(answer, now) for answer in stored] + answered(kept, sent, forms, ADDING, now)


def new_answer(forms: Forms, resolved: Resolved, now: float) -> Answer:
    """Return an answer given now."""
    at = stamp(now)
    return {
        "id": forms.next_answer(),
        "form_id": resolved.form.id,
        "form_ref_id": resolved.option.id,
        "data": resolved.data,
        "date": resolved.date or at,
        "created_at": at,
        "updated_at": at,
        "deleted_at": None,
    }


def _says(answer: Answer, resolved: Resolved) -> bool:
    is_same_option = bool(answer["form_ref_id"] == resolved.option.id)
    return is_same_option and (resolved.form.is_choice or answer["data"] == resolved.data)


def _changed(answer: Answer, resolved: Resolved, now: float) -> Answer:
    at = stamp(now)
    return answer | {
        "form_ref_id": resolved.option.id,
        "data": resolved.data,
        "date": resolved.date or at,
        "updated_at": at,
    }


def _deleted(answer: Answer, now: float) -> Answer:
    return answer if answer["deleted_at"] else answer | {"deleted_at": stamp(now)}
