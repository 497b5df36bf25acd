"""Guesses which columns answer which forms of a space, and what their cells mean. Pure.

A column is matched by its header, as it is or without case, accents and signs, alone or behind a kind
(`consents: Newsletter`). Texts of cells are the organisation's own data: they are proposed only as the
`values` of forms with options, and only when there are few and short ones.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from syncengine.cli.naming import field_name, is_ambiguous
from syncengine.qomon.forms import KINDS, SHAPES, Form, Forms, Option
from syncengine.qomon.guesses import letters
from syncengine.qomon.values import clean

MOST_TEXTS = 20
LONGEST_TEXT = 40
"""More or longer distinct texts than these are hardly options, and stay out of the configuration."""

UNMATCHED_SHARE = 0.2
"""A rule that would refuse more than this share of the cells is only proposed."""

SEPARATORS = ("|", ";", ",", "/")


@dataclass(frozen=True, slots=True)
class Answers:
    """How a column answers a form. `doubt`: why the rule is only a comment; `notes`: comments under it."""

    field: str
    split: str | None = None
    values: tuple[tuple[str, str], ...] = ()
    doubt: str = ""
    notes: tuple[str, ...] = ()


def match(column: str, cells: Sequence[str], forms: Forms) -> Answers | None:
    """Return how a column with these cells answers a form, None when no form is called like it."""
    found = _called(column, forms)
    if not found:
        return None
    guesses = [_answers(form, cells, forms) for form in found]
    if len(guesses) == 1:
        return guesses[0]
    fitting = [guess for form, guess in zip(found, guesses, strict=True) if form.has_options and guess.values]
    sound = [guess for guess in fitting if not guess.doubt]
    if len(sound) == 1:
        return sound[0]
    others = " or ".join(guess.field for guess in guesses[1:])
    return Answers(guesses[0].field, doubt=f"or {others}: several forms are called so")


def _called(column: str, forms: Forms) -> list[Form]:
    """Return the forms that a header means, those of exactly this label before those of nearly this one."""
    kind, label = "", column.strip()
    for sign in ":.":
        head, found, rest = label.partition(sign)
        if found and _singular(head) in _KINDS:
            kind, label = _KINDS[_singular(head)], rest.strip()
            break
    if re.fullmatch(r"#[0-9]{1,18}", label):
        return [form for form in forms if kind == form.kind and form.id == int(label[1:])]
    among = [form for form in forms if kind in {"", form.kind}]
    exact = [form for form in among if form.label == label]
    near = [form for form in among if letters(label) and letters(form.label) == letters(label)]
    return exact or near


def _answers(form: Form, cells: Sequence[str], forms: Forms) -> Answers:
    field = field_name(form, forms)
    notes = (f"{form.label!r} is the label of several forms",) if is_ambiguous(form, forms) else ()
    texts = [text for cell in cells if (text := _clean(cell))]
    if form.has_options:
        return _choices(form, field, texts, notes)
    if form.widget == "numeric" and not _mostly(SHAPES["numeric"], texts):
        return Answers(field, doubt="its cells are no numbers", notes=notes)
    if form.widget == "date" and not _mostly(SHAPES["date"], texts):
        return Answers(field, doubt="its cells are no dates such as 2026-07-16", notes=notes)
    return Answers(field, notes=notes)


def _choices(form: Form, field: str, texts: list[str], notes: tuple[str, ...]) -> Answers:
    split = _separator(form, texts) if form.is_multiple else None
    if split is not None:
        texts = [part for text in texts for part in map(_clean, text.split(split)) if part]
    counts = Counter(texts)
    chosen = {text: option for text in counts if (option := _option(form, text))}
    left = [text for text in counts if text not in chosen]
    if len(counts) > MOST_TEXTS or max(map(len, counts), default=0) > LONGEST_TEXT:
        if all(form.option(text) for text in counts):
            return Answers(field, split, notes=notes)
        doubt = f"{len(left):,} of its {len(counts):,} distinct texts are no option: map them with values"
        return Answers(field, split, doubt=doubt, notes=notes)
    values = tuple((text, option.value or option.label) for text, option in chosen.items())
    unused = [option for option in form.options if option not in chosen.values()]
    if left:
        notes += (
            f'without an option: {_listed(left)} (these rows are refused, or skipped by other = "skip")',
        )
    if unused:
        notes += (f"options without a text: {_listed([option.value or option.label for option in unused])}",)
    missed = sum(counts[text] for text in left)
    if not counts:
        return Answers(field, doubt="its cells are empty: map them with values", notes=notes)
    if not values or missed > max(1.0, UNMATCHED_SHARE * len(texts)):
        return Answers(field, split, values, "many of its cells are no option", notes)
    return Answers(field, split, values, notes=notes)


def _option(form: Form, text: str) -> Option | None:
    """Return the option a text means, by value or label, without case and accents where only one fits."""
    exact = form.option(text)
    if exact is not None or not letters(text):
        return exact
    near = [
        option for option in form.options if letters(text) in {letters(option.value), letters(option.label)}
    ]
    return near[0] if len(near) == 1 else None


def _separator(form: Form, texts: list[str]) -> str | None:
    """Return the sign that parts lists of options, None when no cell is a list."""
    for sign in SEPARATORS:
        lists = [text for text in texts if sign in text and not _option(form, text)]
        if any(_option(form, _clean(part)) for text in lists for part in text.split(sign)):
            return sign
    return None


def _mostly(shape: re.Pattern[str], texts: list[str]) -> bool:
    wrong = sum(not shape.fullmatch(text) for text in texts)
    return wrong <= UNMATCHED_SHARE * len(texts)


def _listed(texts: Sequence[str]) -> str:
    return ", ".join(repr(text) for text in texts)


def _singular(kind: str) -> str:
    return letters(kind).rstrip("s")


_KINDS = {_singular(name): kind for pair in KINDS.items() for name in pair for kind in pair[1:]}


def _clean(text: str) -> str:
    try:
        return clean(text)
    except ValueError:
        return ""
