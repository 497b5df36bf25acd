"""A content beside a contact that was read: may it be the same person, and is what was sent seen? Pure.

Sources: Qomon guide, "Create and update contacts" (matching rules 2 and 3; how texts are compared is not
documented, so `fits` errs towards yes); reads show other spellings than were sent: numbers for texts, days as
times, phones in E.164, what geocoding adds. Such differences are harmless and none here.

Only what a content holds is compared: whatever else Qomon shows is left alone. Contents are contacts in the
upsert's shape, canonical; contacts as the readers make them, decoded or not.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from syncengine.collisions import Traits, collide, traits_of
from syncengine.qomon.contact import Answer, Contact
from syncengine.qomon.fields import ADDRESS, DATE, IDS, MAIL, NOTES, TAGS
from syncengine.qomon.forms import SHAPES, Form, Forms
from syncengine.seen import Difference

PHONE_DIGITS = 6
"""Digits in which a number and the same with its country must agree at least."""

COORDINATE = 0.0005
"""Degrees, about 50 m: coordinates are compared to three decimals."""

_DAY = re.compile(r"(\d{4}-\d\d-\d\d)(?:[Tt ].*)?", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
_NO_DIGITS = re.compile(r"\(0\)|[^0-9]")


def fits(content: Mapping[str, Any], seen: Contact) -> bool:
    """Say whether rule 2 or 3, read literally, could take a content for the contact seen."""
    return collide(traits_of(content), traits(seen))


def traits(seen: Contact) -> Traits:
    """Return what matching compares of a contact that was read."""
    shown = {name: getattr(seen, name) or "" for name in (MAIL, "surname", "firstname", DATE)}
    return traits_of({**shown, ADDRESS: seen.address})


def differences(
    content: Mapping[str, Any], seen: Contact, forms: Forms, ignore: Collection[str] = ()
) -> list[Difference]:
    """Return what of a content is not seen, one for each field, address part and form.

    Empty texts, 0 and false are seen where nothing is. Of tags, notes and the answers to one form all of ours
    must be seen, others are left alone; a choice is compared by the option chosen, whether it was named by
    value or label. `sent` and `seen` are for people: answers in words, days as days, several as a list.

    `ignore`: names of what is not compared: fields, `address`, kinds of answers, or one of them such as
    `address.city`, `custom_fields.Job`.
    """
    found: list[Difference] = []
    for name, sent in content.items():
        if name in IDS or name in ignore:
            continue
        if isinstance(sent, list):
            if name == TAGS:
                found += _unseen_texts(name, [tag["name"] for tag in sent], seen.tags)
            elif name == NOTES:
                found += _unseen_notes([note["content"] for note in sent], seen)
            else:
                found += _unseen_answers(name, sent, seen.answers, forms, ignore)
        elif name == ADDRESS:
            for part, text in sent.items():
                held = seen.address.get(part)
                if not _is_same(part, text, held) and f"{ADDRESS}.{part}" not in ignore:
                    found.append(Difference(f"{ADDRESS}.{part}", text, held or None))
        else:
            held = getattr(seen, name)
            if not _is_same(name, sent, held):
                found.append(Difference(name, _shown(name, sent), _shown(name, held) or None))
    return found


def is_multiple(forms: Forms) -> Callable[[str, Mapping[str, Any]], bool]:
    """Return the function from kind and answer to whether its form can have several; False if not known."""

    def is_of_several(kind: str, entry: Mapping[str, Any]) -> bool:
        form = forms.of(Answer(kind, _form_of(entry)))
        return form is not None and form.is_multiple

    return is_of_several


def meaning(forms: Forms) -> Callable[[str, Mapping[str, Any]], tuple[Hashable, Hashable]]:
    """Return the function from kind and answer to its form and option, however they are named.

    So that a mapping may come to name a form by its id, or an option by its value, without leaving behind
    what looks like another answer. What is not known is as it is spelled.
    """

    def means(kind: str, entry: Mapping[str, Any]) -> tuple[Hashable, Hashable]:
        named, text = _form_of(entry), entry["value"]
        form = forms.of(Answer(kind, named))
        if form is None:
            return named, text
        return form.id, (form.option(text) if form.has_options else None) or text

    return means


# --- one value


def _is_same(name: str, sent: Any, seen: Any) -> bool:
    if sent == seen:
        return True
    if not sent or not seen:
        return not sent and not seen
    compare = _COMPARED.get(name)
    return compare(sent, seen) if compare is not None else _is_same_text(str(sent), str(seen))


def _is_same_text(sent: str, seen: str) -> bool:
    return _folded(sent) == _folded(seen) or _is_same_number(sent, seen, _NUMBER)


def _is_same_number(sent: str, seen: str, shape: re.Pattern[str]) -> bool:
    """Compare numbers exactly: a membership number may have more digits than a float."""
    return bool(shape.fullmatch(sent) and shape.fullmatch(seen)) and Decimal(sent) == Decimal(seen)


def _is_same_mail(sent: str, seen: str) -> bool:
    return _composed(sent) == _composed(seen)


def _is_same_day(sent: str, seen: str) -> bool:
    day = _day(sent)
    return day == _day(seen) if day else _is_same_text(sent, seen)


def _is_same_phone(sent: str, seen: str) -> bool:
    """Compare digits: `06 12 34 56 78`, `+33 (0)6 12 34 56 78` and `0033612345678` are one number."""
    short, long = sorted((_digits(sent), _digits(seen)), key=len)
    if not short:
        return _is_same_text(sent, seen)
    return short == long or (len(short) >= PHONE_DIGITS and long.endswith(short))


def _is_same_coordinate(sent: str, seen: str) -> bool:
    try:
        one, other = float(sent), float(seen)
    except ValueError:
        return _is_same_text(sent, seen)
    return round(one, 3) == round(other, 3) or abs(one - other) <= COORDINATE


_COMPARED: Mapping[str, Callable[[str, str], bool]] = {
    MAIL: _is_same_mail,
    DATE: _is_same_day,
    "phone": _is_same_phone,
    "mobile": _is_same_phone,
    "latitude": _is_same_coordinate,
    "longitude": _is_same_coordinate,
}
"""Fields and address parts that are more than texts."""


def _folded(text: str) -> str:
    """Return a text without its case, its way of composing letters and the number of its blanks."""
    if not text.isascii():
        text = unicodedata.normalize("NFD", text)
    return " ".join(text.casefold().split())


def _composed(mail: str) -> str:
    return unicodedata.normalize("NFC", mail.lower()).strip()


def _digits(text: str) -> str:
    return _NO_DIGITS.sub("", text).lstrip("0")


def _day(text: str) -> str:
    """Return the day of a date or time as written, whatever its zone; empty for another text."""
    match = _DAY.fullmatch(text.strip())
    return match[1] if match else ""


def _shown(name: str, value: Any) -> Any:
    return (_day(value) or value) if name == DATE and value else value


# --- several values


def _unseen_texts(name: str, sent: Sequence[str], seen: Sequence[str]) -> Iterator[Difference]:
    if not set(sent).issubset(seen) and not {_folded(text) for text in sent}.issubset(map(_folded, seen)):
        yield Difference(name, list(sent), list(seen) or None)


def _unseen_notes(sent: Sequence[str], seen: Contact) -> Iterator[Difference]:
    """Yield the difference in notes: what is seen of ours alone, other notes are none of our business."""
    held = {_folded(note.content) for note in seen.notes}
    ours = [text for text in sent if _folded(text) in held]
    if len(ours) < len(sent):
        yield Difference(NOTES, list(sent), ours or None)


def _unseen_answers(
    kind: str,
    entries: Iterable[Mapping[str, Any]],
    answers: Sequence[Answer],
    forms: Forms,
    ignore: Collection[str],
) -> Iterator[Difference]:
    sent: dict[int | str, list[str]] = {}
    for entry in entries:
        sent.setdefault(_form_of(entry), []).append(entry["value"])
    for named, texts in sent.items():
        form = forms.of(Answer(kind, named))
        if ignore and _is_ignored(kind, named, form, ignore):
            continue
        number = named if form is None else form.id
        given = [answer for answer in answers if answer.form == number]
        if not all(any(_is_given(text, answer, form, forms) for answer in given) for text in texts):
            ours = [Answer(kind, named, text) for text in texts]
            yield Difference(
                _field(kind, named), _words(ours, form, forms), _words(given, form, forms) or None
            )


def _is_given(text: str, answer: Answer, form: Form | None, forms: Forms) -> bool:
    """Say whether an answer that was read says what was sent."""
    if form is None:
        return _is_same_text(text, answer.value)
    if form.has_options and (option := form.option(text)) is not None:
        return forms.chosen(form, answer) == option
    if text == answer.value:
        return True
    if form.widget == "date":
        return _is_same_day(text, answer.value)
    return _is_same_text(text, answer.value) or (
        form.widget == "numeric" and _is_same_number(text, answer.value, SHAPES["numeric"])
    )


def _words(answers: Iterable[Answer], form: Form | None, forms: Forms) -> list[str]:
    texts = (answer.value if form is None else forms.text(form, answer) for answer in answers)
    if form is not None and form.widget == "date":
        texts = (_day(text) or text for text in texts)
    return list(dict.fromkeys(texts))


def _is_ignored(kind: str, named: int | str, form: Form | None, ignore: Collection[str]) -> bool:
    names: tuple[int | str, ...] = (named,) if form is None else (named, form.id, form.label)
    return any(_field(kind, name) in ignore for name in names)


def _form_of(entry: Mapping[str, Any]) -> int | str:
    named: int | str = entry["id"] if "id" in entry else entry["label"]
    return named


def _field(kind: str, named: int | str) -> str:
    return f"{kind}.#{named}" if isinstance(named, int) else f"{kind}.{named}"
