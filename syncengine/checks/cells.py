"""Which answers the cells of the source give: all rows, streamed, against the forms of a space.

Texts are compared and forgotten: what is kept are counts, and of wrong texts their hash.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, TypeAlias

from syncengine.errors import RowRefusedError
from syncengine.mapping import ContactMapping
from syncengine.qomon.fields import ADVANCED
from syncengine.qomon.forms import Forms
from syncengine.sources import Source

SECONDS = 8.0
"""Somebody waits. A million rows of a few distinct answers took 2, of wrong ones 6."""
ROWS_BETWEEN = 1000
"""Rows between two looks at the clock."""
TEXTS_KEPT = 10_000
"""Distinct wrong texts counted for one form (its rows are counted on), and right cells remembered."""
FORMS_TOLD = 20
"""Forms with wrong answers after which nothing is read any more: in JSON each record may name others."""

Place: TypeAlias = tuple[str, str | int]
"""Kind of answers, and the form by label or id."""


@dataclass(slots=True)
class Wrong:
    """Answers to one form that Qomon would drop a contact for: in how many rows, and which texts (hashed)."""

    rows: int = 0
    texts: set[int] = field(default_factory=set, repr=False)
    last: int = 0
    """The row counted last: of several wrong answers in a row only the first counts it."""


@dataclass(slots=True)
class Answers:
    """What the rows read so far answer. `is_whole`: there are no others. `right`: forms that are answered."""

    rows: int = 0
    is_whole: bool = True
    right: set[Place] = field(default_factory=set)
    wrong: dict[Place, Wrong] = field(default_factory=dict)


def read_answers(
    source: Source,
    mapping: ContactMapping,
    forms: Forms,
    *,
    wanted: Collection[str] = (),
    clock: Callable[[], float] = time.monotonic,
) -> Answers:
    """Read all rows, but for `SECONDS` at most, and count the answers that are no option of their form.

    Rows that cannot be read exactly count as rows and answer nothing. `wanted`: the columns that all answers
    come from, if that is known; rows that repeat right cells are then passed over. Raises SourceError when
    the file turns out to be broken.
    """
    found = Answers()
    columns = source.columns or ()
    places = [place for place, column in enumerate(columns) if column in wanted]
    pick = itemgetter(*places) if places and len(places) == len(wanted) else None
    right: set[int] = set()
    options: dict[Place, frozenset[str] | None] = {}
    deadline = clock() + SECONDS
    for _, row in source.rows():
        if len(found.wrong) >= FORMS_TOLD or (found.rows % ROWS_BETWEEN == 0 and clock() > deadline):
            found.is_whole = False
            break
        found.rows += 1
        cells = None
        if pick is not None and isinstance(row, list) and len(row) == len(columns):
            cells = hash(pick(row))
        if cells in right:
            continue
        try:
            contact = mapping(row)[1]
        except RowRefusedError:
            continue
        if _compare(contact, forms, options, found) and cells is not None and len(right) < TEXTS_KEPT:
            right.add(cells)
    return found


def _compare(
    contact: Mapping[str, Any], forms: Forms, options: dict[Place, frozenset[str] | None], found: Answers
) -> bool:
    """Count the answers of a contact. Returns whether all were right."""
    is_right = True
    for kind in ADVANCED:
        for entry in contact.get(kind, ()):
            place = (kind, entry.get("id") or entry.get("label", ""))
            if place not in options:
                options[place] = _options(forms, place)
            known, text = options[place], entry["value"]
            if known is None or text in known:
                found.right.add(place)
                continue
            is_right = False
            wrong = found.wrong.setdefault(place, Wrong())
            if wrong.last != found.rows:
                wrong.last = found.rows
                wrong.rows += 1
            if len(wrong.texts) < TEXTS_KEPT:
                wrong.texts.add(hash(text))
    return is_right


def _options(forms: Forms, place: Place) -> frozenset[str] | None:
    """Return the texts that may answer a form: None for any, no text for a form that there is not."""
    try:
        form = forms.find(*place)
    except ValueError:
        return frozenset()
    if not form.has_options:
        return None
    return frozenset(text for option in form.options for text in (option.value, option.label) if text)
