"""Checks of the mapping against a space's forms: what would make Qomon drop a contact without a trace.

Sources: Qomon guides "Forms overview" and "Create and update contacts". What a cell holds is only counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TypeAlias

from syncengine.checks import Check
from syncengine.checks.source import Sample
from syncengine.qomon.fields import ADVANCED, Field, known_field
from syncengine.qomon.forms import CHOICE, KINDS, Forms
from syncengine.qomon.values import clean
from syncengine.sections import FieldRule

LIST = "syncengine forms lists what there is"

Place: TypeAlias = tuple[str, str | int]
"""Kind of answers, and the form by label or id."""


def check_forms(forms: Forms) -> Check:
    """Say how many forms of each type there are."""
    if not len(forms):
        return Check("forms", True, "the space has none; they are made in its settings, not by API")
    counts = Counter(form.type for form in forms)
    told = ", ".join(f"{name} {counts[name]:,}" for name in KINDS if counts[name])
    return Check("forms", True, f"{len(forms):,}: {told}")


def check_mapping(fields: Mapping[str, FieldRule], sample: Sample | None, forms: Forms) -> list[Check]:
    """Check every rule that answers a form, and what the first rows of the source would answer."""
    checks: list[Check] = []
    columns: dict[Place, str | None] = {}
    broken: set[Place] = set()
    for name, rule in fields.items():
        field = known_field(name)
        if field is None or field.kind != "advanced":
            continue
        columns[field.name, field.form] = rule.column
        faults = list(_faults(name, rule, field, forms))
        if faults:
            broken.add((field.name, field.form))
            checks += faults
    places = set(columns)
    if sample is not None:
        places |= {place for _, place, _ in _answers(sample)}
        checks += _check_cells(sample, columns, broken, forms)
    if checks:
        return checks
    if not places:
        return [Check("mapping", True, "no form is answered")]
    told = "the form that is answered exists" if len(places) == 1 else f"all {len(places)} forms exist"
    return [Check("mapping", True, f"{told}, with every option that is used")]


def _faults(name: str, rule: FieldRule, field: Field, forms: Forms) -> Iterator[Check]:
    """Yield what is wrong with a rule itself. Its options are the configuration's own words."""
    try:
        form = forms.find(field.name, field.form)
    except ValueError as error:
        told, _, hint = str(error).partition("; ")
        yield Check("mapping", False, f"[fields] {name!r}: {told}", hint or LIST)
        return
    targets = [*(rule.values or {}).values(), *filter(None, [rule.constant])]
    for target in dict.fromkeys(map(clean, targets)):
        reason = forms.check(field.name, field.form, target)
        if reason:
            told, _, hint = reason.partition("; ")
            yield Check("mapping", False, f"[fields] {name!r}, {target!r}: {told}", hint or LIST)
    if rule.split is not None and form.widget in CHOICE and not form.is_multiple:
        yield Check(
            "mapping",
            False,
            f"[fields] {name!r} has split, but a form of the widget {form.widget} takes one answer",
            "remove split, or choose a checkbox form",
        )


def _answers(sample: Sample) -> Iterator[tuple[int, Place, object]]:
    """Yield each answer of the first rows: row, form, value."""
    for row, contact in enumerate(sample.contacts):
        for kind in ADVANCED:
            for entry in contact.get(kind, ()):
                yield row, (kind, entry.get("id") or entry.get("label", "")), entry["value"]


def _check_cells(
    sample: Sample, columns: Mapping[Place, str | None], broken: set[Place], forms: Forms
) -> Iterator[Check]:
    """Yield what is wrong with the answers of the first rows, form by form: how many, never which."""
    wrong: dict[Place, tuple[set[int], set[object]]] = {}
    for row, place, value in _answers(sample):
        if place not in broken and forms.reason(*place, value):
            rows, texts = wrong.setdefault(place, (set(), set()))
            rows.add(row)
            texts.add(value)
    for place, (rows, texts) in wrong.items():
        kind, form = place
        name = f"{kind}.{form}" if isinstance(form, str) else f"{kind}.#{form}"
        share = f"{len(rows):,} of {sample.rows:,} rows"
        try:
            forms.find(kind, form)
        except ValueError as error:
            # Only a header is sure to name a form; in a JSON record the label is a value.
            told = str(error) if name in (sample.columns or ()) else f"{kind} has no such form"
            yield Check("mapping", False, f"{share}: {told}", LIST)
            continue
        column = columns.get(place)
        where = f"column {column!r}" if column else "the source"
        count = "one text that is" if len(texts) == 1 else f"{len(texts):,} distinct texts that are"
        yield Check(
            "mapping",
            False,
            f"{where} holds {count} no option of {name!r}, in {share}",
            f'give the rule values = {{ "text" = "option" }}; syncengine forms --kind {kind} lists them',
        )
