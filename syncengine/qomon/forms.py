"""A space's forms: what may be answered, what would drop a contact, and what a stored answer says. Pure.

Sources: Qomon guides "Forms overview" (types, routes) and "Create and update contacts" (answers are named by
form id or by a label that is unique; the value of a form with options must be one of them). An answer that
breaks this drops its whole contact silently after a 202, so it is found here, before a token is spent.
Options can be renamed or removed in the web application at any time: `Forms.fingerprint` tells.

Reasons name forms and options of the configuration, never the value that was given.
"""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import MappingProxyType

from syncengine.hashing import content_hash
from syncengine.qomon.contact import Answer
from syncengine.qomon.fields import ADVANCED, UNPROVEN

KINDS = MappingProxyType(
    {
        "consent": "consents",
        "level_of_support": "status",
        "survey": "forms",
        "custom_fields": "custom_fields",
        "tasks": "actions",
        "presence_status": "name_presences",
    }
)
"""Type of form, as `GET /v1/forms/type/{type}` takes it -> the upsert's field for answers to it."""

SHAPES = {
    "numeric": re.compile(r"[+-]?[0-9]+(\.[0-9]+)?"),
    "date": re.compile(r"\d{4}-\d\d-\d\d(T.+)?", re.ASCII),
}
"""What an answer to a free form other than text must look like. Our inference: nothing is documented."""
_SHAPE_WORDS = {"numeric": "a number such as 12.5", "date": "a date such as 2026-07-16"}

FREE = frozenset({"text", "numeric", "date"})
MULTIPLE = frozenset({"checkbox"})
CHOICE = frozenset({"radio", "select"}) | MULTIPLE
"""Widgets that integrators have seen. Others exist; whether they have options is seen from the form."""

NEAR_ENOUGH = 0.6
LONGEST_COMPARED = 100
"""Characters: comparing two texts for likeness costs the product of their lengths."""


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a form (`refvalue`): an answer stores its `id` and `value`, people see its `label`."""

    id: int
    label: str = ""
    value: str = ""


@dataclass(frozen=True, slots=True)
class Form:
    """One form. `type`: one of `KINDS`, or empty when the answer of Qomon did not say; `widget` likewise."""

    id: int
    label: str
    type: str = ""
    widget: str = ""
    options: tuple[Option, ...] = field(default=(), repr=False)

    @property
    def kind(self) -> str:
        """The upsert's field for answers to this form, empty when the type is not known."""
        return KINDS.get(self.type, "")

    @property
    def has_options(self) -> bool:
        """Whether an answer must be an option. Forms of free text have a nameless one that means nothing."""
        if self.widget in FREE:
            return False
        return self.widget in CHOICE or any(option.label or option.value for option in self.options)

    @property
    def is_multiple(self) -> bool:
        """Whether a contact may have several answers at once."""
        return self.widget in MULTIPLE

    def option(self, text: str) -> Option | None:
        """Return the option of this value, else of this label (the upsert takes either; observed)."""
        if not text:
            return None
        by_value = next((option for option in self.options if option.value == text), None)
        return by_value or next((option for option in self.options if option.label == text), None)


class Forms:
    """What may be answered in a space: its forms, each once, by id (unique in a space) and by kind and label.

    Of two forms with one id the first counts, or the first whose type is known.
    """

    def __init__(self, forms: Iterable[Form] = ()) -> None:
        self._by_id: dict[int, Form] = {}
        for form in forms:
            known = self._by_id.get(form.id)
            if known is None or (form.type and not known.type):
                self._by_id[form.id] = form
        self._by_label: dict[tuple[str, str], list[Form]] = {}
        for form in self:
            self._by_label.setdefault((form.kind, form.label), []).append(form)
        self._options = {(form.id, option.id): option for form in self for option in form.options}
        self._texts = {(form.id, option): text for form in self for option, text in _texts(form)}

    def __iter__(self) -> Iterator[Form]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    @property
    def fingerprint(self) -> bytes:
        """16 bytes that change when a form or an option is added, renamed or removed; not with the order."""
        rows = sorted(
            [
                form.type,
                form.id,
                form.label,
                form.widget,
                sorted([option.id, option.label, option.value] for option in form.options),
            ]
            for form in self
        )
        return content_hash(json.dumps(rows).encode())

    def find(self, kind: str, form: int | str) -> Form:
        """Return the form of this kind with this id (`12` or `"#12"`) or label.

        Raises ValueError: an unknown form, with the nearest; a label that several forms have, with their ids.
        """
        check_kind(kind)
        named = form_named(form)
        found = self._named(kind, named)
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(f"#{form.id}" for form in found)
            raise ValueError(f"{kind} {named!r} is the label of several forms ({ids}); name one by its id")
        raise ValueError(f"{kind} has no form {self._nearest(kind, named)}")

    def of(self, answer: Answer) -> Form | None:
        """Return the form an answer belongs to, None when it is not (or not clearly) one of these."""
        try:
            named = form_named(answer.form)
        except ValueError:
            return None
        if answer.kind:
            found = self._named(answer.kind, named)
            return found[0] if len(found) == 1 else None
        return self._by_id.get(named) if isinstance(named, int) else None

    def chosen(self, form: Form, answer: Answer) -> Option | None:
        """Return the option an answer to this form chooses: by its `ref_id`, else by what it says."""
        if not form.has_options:
            return None
        option = self._options.get((form.id, answer.ref_id)) if answer.ref_id else None
        return option or form.option(answer.value)

    def text(self, form: Form, answer: Answer) -> str:
        """Return what an answer to this form says: sent back, it chooses the same option again.

        The label of the option chosen when no other option goes by it, else its value when that is no earlier
        option's, else the answer's own text; that text too for an answer that is no option (any more).
        """
        option = self.chosen(form, answer)
        return (option and self._texts.get((form.id, option))) or answer.value

    def check(self, kind: str, form: int | str, value: object) -> str | None:
        """Return why Qomon would silently drop a contact with this answer, None when it would not.

        For people who set the mapping up: where an option is wrong it names the nearest right one, which may
        resemble a person's value. `reason` does not.
        """
        fault = self.fault(kind, form, value)
        return "".join(fault) if fault else None

    def reason(self, kind: str, form: int | str, value: object) -> str | None:
        """Return what `check` does without its hint: words that can be logged."""
        fault = self.fault(kind, form, value)
        return fault[0] if fault else None

    def fault(self, kind: str, form: int | str, value: object) -> tuple[str, str] | None:
        """Return what `reason` does, and the hint that `check` adds: empty, or `; did you mean …?`."""
        try:
            found = self.find(kind, form)
        except ValueError as error:
            return str(error), ""
        name = f"{kind} {found.label!r} (#{found.id})"
        if not isinstance(value, str):
            return f"{name} takes only text, even for numbers and flags", ""
        if not value:
            return f"{name} cannot be answered with an empty text", ""
        if found.widget in SHAPES and not SHAPES[found.widget].fullmatch(value):
            return f"{name} takes only {_SHAPE_WORDS[found.widget]}", ""
        if not found.has_options or found.option(value):
            return None
        names = dict.fromkeys(text for option in found.options for text in (option.value, option.label))
        if not any(names):
            return f"{name} has no options to choose from", ""
        return f"{name} has no such option", _hint(value, {text: repr(text) for text in names})

    def _named(self, kind: str, named: int | str) -> list[Form]:
        if isinstance(named, int):
            form = self._by_id.get(named)
            return [form] if form is not None and form.kind == kind else []
        return self._by_label.get((kind, named), [])

    def _nearest(self, kind: str, named: int | str) -> str:
        """Return the name that was not found, and what may have been meant."""
        if isinstance(named, int):
            return f"#{named}{_elsewhere(self._by_id.get(named))}"
        other = next((form for form in self if form.label == named), None)
        labels = {form.label: f"{form.label!r} (#{form.id})" for form in self if form.kind == kind}
        return f"{named!r}{_elsewhere(other) or _hint(named, labels)}"


def forms_to_json(forms: Forms) -> bytes:
    """Return forms, whole and in their order, as they can be kept and read again by `forms_from_json`."""
    rows = [
        {
            "id": form.id,
            "label": form.label,
            "type": form.type,
            "widget": form.widget,
            "options": [[option.id, option.label, option.value] for option in form.options],
        }
        for form in forms
    ]
    return json.dumps(rows).encode()


def forms_from_json(content: bytes) -> Forms:
    """Return the forms that were kept. Raises ValueError when they cannot be read."""
    try:
        return Forms(
            Form(
                id=row["id"],
                label=row["label"],
                type=row["type"],
                widget=row["widget"],
                options=tuple(Option(*option) for option in row["options"]),
            )
            for row in json.loads(content)
        )
    except (ValueError, KeyError, TypeError):
        raise ValueError("the kept forms cannot be read") from None


def decode(answers: Iterable[Answer], forms: Forms) -> tuple[Answer, ...]:
    """Fill in what the forms tell of answers: kind, form id and label, and the label of the option chosen.

    Where another option goes by that label, as its own or as its value, `value` is the option's value: a
    decoded answer that is sent back chooses the option it was read with. An answer that was decoded before
    stays as it is, and so do one to a form that is not among them and a value that is no option (any more).
    """
    return tuple(_decode(answer, forms) for answer in answers)


def _decode(answer: Answer, forms: Forms) -> Answer:
    form = None if answer.label else forms.of(answer)
    if form is None:
        return answer
    return Answer(
        kind=form.kind,
        form=form.id,
        value=forms.text(form, answer),
        label=form.label,
        ref_id=answer.ref_id,
        stored=answer.stored,
        id=answer.id,
        answered_at=answer.answered_at,
        survey_id=answer.survey_id,
    )


def _texts(form: Form) -> Iterator[tuple[Option, str]]:
    """Yield each option of a form that a text names alone, with that text."""
    # Which of several options of one label Qomon would take is not known: not even the first is named by it.
    shared = Counter(text for option in form.options for text in (option.value, option.label))
    by_value: dict[str, Option] = {}
    for option in form.options:
        first = by_value.setdefault(option.value, option)
        if option.label and shared[option.label] == 1:
            yield option, option.label
        elif first is option:
            yield option, option.value


def check_kind(kind: str) -> None:
    """Raise ValueError unless this is a field of the upsert for answers; name the nearest, and say why."""
    if kind in ADVANCED:
        return
    if kind in UNPROVEN:
        raise ValueError(f"{kind} cannot be sent: {UNPROVEN[kind]}")
    match = difflib.get_close_matches(kind.lower(), [*ADVANCED, *KINDS], n=1, cutoff=NEAR_ENOUGH)
    hint = f"did you mean {KINDS.get(match[0], match[0])!r}?" if match else f"they are {', '.join(ADVANCED)}"
    raise ValueError(f"{kind!r} is no kind of answers; {hint}")


def form_named(form: int | str) -> int | str:
    """Return the id that `12` or `"#12"` is, else the label. Raises ValueError for what is neither."""
    if isinstance(form, int) and not isinstance(form, bool):
        if form > 0:
            return form
    elif isinstance(form, str):
        if re.fullmatch("#[0-9]{1,18}", form) and int(form[1:]):
            return int(form[1:])
        if form.strip() and not form.startswith("#"):
            return form
    raise ValueError("a form is named by its label or its id (#12)")


def _elsewhere(form: Form | None) -> str:
    return f"; #{form.id} {form.label!r} belongs to {form.kind}" if form is not None and form.kind else ""


def _hint(given: str, known: dict[str, str]) -> str:
    """Return `; did you mean …?` for the nearest of `known` (a name -> how to show it), or nothing."""
    lowered = {name.lower()[:LONGEST_COMPARED]: shown for name, shown in known.items() if name}
    match = difflib.get_close_matches(given.lower()[:LONGEST_COMPARED], lowered, n=1, cutoff=NEAR_ENOUGH)
    return f"; did you mean {lowered[match[0]]}?" if match else ""
