"""Checks of the mapping against a space's forms: what would make Qomon drop a contact without a trace.

Sources: Qomon guides "Forms overview" and "Create and update contacts". What a cell holds is only counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from syncengine.checks import Check, fault, not_checked
from syncengine.checks.cells import TEXTS_KEPT, Answers, Place, read_answers
from syncengine.errors import SourceError
from syncengine.load import OpenedSource
from syncengine.mapping import compile_mapping
from syncengine.qomon.fields import Field, known_field
from syncengine.qomon.forms import CHOICE, KINDS, SHAPES, Forms
from syncengine.qomon.values import clean
from syncengine.sections import FieldRule

LIST = "syncengine forms lists what there is"


def check_forms(forms: Forms) -> Check:
    """Say how many forms of each type there are."""
    if not len(forms):
        return Check("forms", True, "the space has none; they are made in its settings, not by API")
    counts = Counter(form.type for form in forms)
    told = ", ".join(f"{name} {counts[name]:,}" for name in KINDS if counts[name])
    return Check("forms", True, f"{len(forms):,}: {told}")


def check_mapping(fields: Mapping[str, FieldRule], opened: OpenedSource | None, forms: Forms) -> list[Check]:
    """Check every rule that answers a form, and what the cells of the whole source answer.

    Cells are read where they may hold anything: not for a constant, for `values`, whose options are the
    configuration's own, nor for forms of free text. `opened`: None when there is no source to be read.
    """
    rules = list(_answering(fields or _by_header(opened)))
    checks: list[Check] = []
    broken: set[Place] = set()
    if fields:  # what a header names counts only once it answers something
        for name, rule, field in rules:
            faults = list(_faults(name, rule, field, forms))
            if faults:
                broken.add((field.name, field.form))
                checks += faults
    elif opened is None:
        return [not_checked("mapping", "without [fields] the source's names count, and it was not read")]
    unsure = {
        name: rule
        for name, rule, field in rules
        if (field.name, field.form) not in broken and _is_unsure(rule, field, forms)
    }
    found = Answers()
    if opened is not None and (unsure or (not fields and opened.source.columns is None)):
        try:
            found = _read(opened, unsure, forms)
        except SourceError as error:
            return [*checks, fault("mapping", error)]
        checks += _wrong_cells(found, rules, opened.source.columns, forms)
    if checks:
        return checks
    exist = {(field.name, field.form) for _, _, field in rules if _exists(field, forms)} | found.right
    return [_in_order(len(exist), found, is_unread=opened is None and bool(unsure))]


def _in_order(exist: int, found: Answers, *, is_unread: bool) -> Check:
    """Say that nothing wrong was found, and where nobody looked."""
    told = "the form that is answered exists" if exist == 1 else f"all {exist:,} forms exist"
    if is_unread:
        told += "; which options the cells use was not checked, as the source was not read"
        return Check("mapping", None, told)
    if not found.is_whole:
        told += f"; so does every option used in the first {found.rows:,} rows, the others were not read"
        return Check("mapping", None, told)
    if not exist:
        return Check("mapping", True, "no form is answered")
    return Check("mapping", True, f"{told}, with every option that is used")


def _answering(rules: Mapping[str, FieldRule]) -> Iterator[tuple[str, FieldRule, Field]]:
    """Yield the rules that answer a form."""
    for name, rule in rules.items():
        field = known_field(name)
        if field is not None and field.kind == "advanced":
            yield name, rule, field


def _by_header(opened: OpenedSource | None) -> dict[str, FieldRule]:
    """Return the rules that a header makes where there are no `[fields]`."""
    columns = opened.source.columns if opened is not None else None
    return {column: FieldRule(column=column) for column in columns or ()}


def _is_unsure(rule: FieldRule, field: Field, forms: Forms) -> bool:
    """Say whether a cell may give an answer that its form does not take."""
    if rule.constant is not None or rule.values is not None:
        return False
    if not _exists(field, forms):
        return True
    form = forms.find(field.name, field.form)
    return form.has_options or form.widget in SHAPES


def _exists(field: Field, forms: Forms) -> bool:
    try:
        forms.find(field.name, field.form)
    except ValueError:
        return False
    return True


def _read(opened: OpenedSource, unsure: Mapping[str, FieldRule], forms: Forms) -> Answers:
    """Read the source with the unsure rules alone, which is faster; without any, by the records' names."""
    source = opened.source
    if not unsure:
        return read_answers(source, opened.mapping, forms)
    mapping = compile_mapping(unsure, opened.settings.key, source.columns, path=source.path)
    wanted = {rule.column.strip() for rule in unsure.values() if rule.column is not None}
    return read_answers(source, mapping, forms, wanted=wanted)


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


def _wrong_cells(
    found: Answers,
    rules: Iterable[tuple[str, FieldRule, Field]],
    header: tuple[str, ...] | None,
    forms: Forms,
) -> Iterator[Check]:
    """Yield what is wrong with the cells, form by form: how many, never which."""
    columns = {(field.name, field.form): rule.column for _, rule, field in rules}
    for place, wrong in found.wrong.items():
        kind, form = place
        name = f"{kind}.{form}" if isinstance(form, str) else f"{kind}.#{form}"
        share = f"{wrong.rows:,} of {'' if found.is_whole else 'the first '}{found.rows:,} rows"
        try:
            forms.find(kind, form)
        except ValueError as error:
            # Only a header is sure to name a form; in a JSON record the label is a value.
            told = str(error) if name in (header or ()) else f"{kind} has no such form"
            yield Check("mapping", False, f"{share}: {told}", LIST)
            continue
        column = columns.get(place)
        where = f"column {column!r}" if column else "the source"
        least = "at least " if len(wrong.texts) == TEXTS_KEPT else ""
        many = f"{least}{len(wrong.texts):,} distinct texts that are"
        count = "one text that is" if len(wrong.texts) == 1 else many
        yield Check(
            "mapping",
            False,
            f"{where} holds {count} no option of {name!r}, in {share}",
            f'give the rule values = {{ "text" = "option" }}; syncengine forms --kind {kind} lists them',
        )
