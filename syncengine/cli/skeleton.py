"""The lines of `[fields]` that `syncengine init` writes: rules, and as comments what it could not tell."""

from __future__ import annotations

import re
from collections.abc import Iterator

from syncengine.cli.guessing import Guess, Guesses
from syncengine.cli.naming import entry, quoted
from syncengine.qomon.forms import Form, Option

LONGEST_LINE = 110
FORMS_LISTED = 100
OPTIONS_LISTED = 8


def fields_of(guesses: Guesses | None) -> str:
    """Return the content of `[fields]`; rules too long for one line come last, as tables of their own."""
    if guesses is None:
        return '# firstname = "first_name"\n# surname = "last_name"\n# mail = "email"\n'
    rules = [(guess, _rule(guess)) for guess in guesses.fields if not guess.doubt]
    lines: list[str] = []
    for guess, rule in rules:
        if len(rule) <= LONGEST_LINE:
            lines += [rule, *_remarks(guess)]
    for guess in guesses.fields:
        if guess.doubt:
            lines += [f"# {_rule(guess)}   # {guess.doubt}", *_remarks(guess)]
    if guesses.others:
        lines.append("# Columns without a field here (they are not sent):")
        lines += [f"#   {quoted(column)}" for column in guesses.others]
    lines += _unanswered(guesses.forms)
    for guess, rule in rules:
        if len(rule) > LONGEST_LINE:
            lines += ["", *_table(guess), *_remarks(guess)]
    return "".join(f"{line}\n" for line in lines)


def _rule(guess: Guess) -> str:
    name = guess.field if re.fullmatch(r"[A-Za-z0-9_-]+", guess.field) else quoted(guess.field)
    options = _options(guess)
    if guess.values:
        pairs = ", ".join(f"{quoted(text)} = {quoted(option)}" for text, option in guess.values)
        options.append(f"values = {{ {pairs} }}")
    column = quoted(guess.column)
    return (
        f"{name} = {{ {', '.join([f'column = {column}', *options])} }}" if options else f"{name} = {column}"
    )


def _options(guess: Guess) -> list[str]:
    given = {"format": guess.form, "split": guess.split}
    return [f"{name} = {quoted(value)}" for name, value in given.items() if value is not None]


def _table(guess: Guess) -> Iterator[str]:
    yield f"[fields.{quoted(guess.field)}]"
    yield f"column = {quoted(guess.column)}"
    yield from _options(guess)
    yield f"[fields.{quoted(guess.field)}.values]"
    for text, option in guess.values:
        yield f"{quoted(text)} = {quoted(option)}"


def _remarks(guess: Guess) -> list[str]:
    return [f"#   {note}" for note in guess.notes]


def _unanswered(forms: tuple[tuple[str, Form], ...]) -> Iterator[str]:
    """Yield the forms that no column answers, each under the name to use."""
    if not forms:
        return
    yield "# Forms of the space without a column here, and what they take:"
    for name, form in forms[:FORMS_LISTED]:
        options = form.options if form.has_options else ()
        told = ", ".join(
            [*map(_option, options[:OPTIONS_LISTED]), *(["…"] if len(options) > OPTIONS_LISTED else [])]
        )
        label = "" if name.endswith(f".{form.label}") else f" ({form.label!r})"
        yield f"#   {quoted(name)}{label}: {entry(form)} {told}".rstrip()
    if len(forms) > FORMS_LISTED:
        yield f"#   … and {len(forms) - FORMS_LISTED} more: syncengine forms"


def _option(option: Option) -> str:
    """Return an option's value, with its label when that says more."""
    value = option.value or option.label
    return quoted(value) if option.label in {"", value} else f"{quoted(value)} ({option.label!r})"
