"""How a form is called in `[fields]`, and what an answer to it may be, in words."""

from __future__ import annotations

import json

from syncengine.qomon.fields import known_field
from syncengine.qomon.forms import CHOICE, FREE, Form, Forms

ENTRIES = {"text": "text", "numeric": "a number", "date": "a date", "": "text"}


def quoted(text: str) -> str:
    """Return a TOML basic string, which JSON's is but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def field_name(form: Form, forms: Forms) -> str:
    """Return `custom_fields.Job`, or `custom_fields.#12` where the label is not enough or looks odd."""
    name = f"{form.kind}.{form.label}"
    field = known_field(name)
    is_plain = name.isprintable() and quoted(name) == f'"{name}"'
    if is_plain and field is not None and field.form == form.label and not is_ambiguous(form, forms):
        return name
    return f"{form.kind}.#{form.id}"


def is_ambiguous(form: Form, forms: Forms) -> bool:
    """Say whether another form of the same kind has the same label."""
    return any(
        other.id != form.id and other.kind == form.kind and other.label == form.label for other in forms
    )


def entry(form: Form) -> str:
    """Say what an answer to a form is."""
    if not form.has_options:
        return ENTRIES.get(form.widget, f"text ({form.widget})")
    words = "any of" if form.is_multiple else "one of"
    return words if form.widget in CHOICE | FREE or not form.widget else f"{words} ({form.widget})"
