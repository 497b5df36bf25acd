"""What is wrong with the settings, in one line: file, section, key, what, remedy.

Pydantic's words are for programmers; here they become words for whoever edits `syncengine.toml`. No message
holds the value that was given: it may be a key in the wrong place.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "finite": "a number",
    "bool": "true or false",
    "string": "text in quotes",
    "path": "text in quotes",
}
"""The first word of pydantic's error type -> what is expected."""

_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"),
}
_WHOLE = {
    "missing": "is missing; add it",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "must be the name of an environment variable, never the key itself",
}


def nearest(name: str, known: Sequence[str]) -> str:
    """Return `"; did you mean 'X'?"` for the nearest known name, or an empty string."""
    lowered = {candidate.lower(): candidate for candidate in known}
    match = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)
    return f"; did you mean {lowered[match[0]]!r}?" if match else ""


def explain(
    error: ValidationError,
    origin: str,
    origins: Mapping[tuple[str, str], str],
    sections: Mapping[str, type[BaseModel]],
    rule: type[BaseModel],
) -> str:
    """Say the first fault. `origins`: (section, key) -> where a setting from outside the file was given."""
    message = _first_fault(error, origin, origins, sections, rule)
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in message)


def _first_fault(
    error: ValidationError,
    origin: str,
    origins: Mapping[tuple[str, str], str],
    sections: Mapping[str, type[BaseModel]],
    rule: type[BaseModel],
) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    where = [str(part) for part in first["loc"]]
    kind, context = first["type"], first.get("ctx", {})
    if kind == "extra_forbidden":
        return f"{origin}: {_unknown(where, sections, rule)}"
    section, key = where[0], where[1:]
    place = origins.get((section, ".".join(key)), f"{origin}: [{section}] {'.'.join(key)}".rstrip())
    if kind in {"model_type", "model_attributes_type", "dict_type"}:
        return f"{place}: {_no_table(section, key)}"
    if kind == "value_error":
        reason = str(context["error"])
        return f"{place} {reason}" if section == "fields" and not key else f"{place}: {reason}"
    return f"{place}: {_plainly(kind, context, key)}"


def _plainly(kind: str, context: Mapping[str, Any], key: list[str]) -> str:
    if kind in _BOUNDS:
        words, name = _BOUNDS[kind]
        limit = context[name]
        return f"must be {words} {int(limit) if limit == int(limit) else limit:,}"
    if kind == "literal_error":
        return f"must be {context['expected']}".replace("'", '"')
    if key == ["until"]:
        return 'must be a time of day such as "06:00", or ""'
    if kind in _WHOLE:
        return _WHOLE[kind]
    expected = _TYPES.get(kind.partition("_")[0])
    return f"must be {expected}" if expected else "has a value that cannot be used"


def _no_table(section: str, key: list[str]) -> str:
    if section == "fields" and len(key) == 1:
        return 'must be a column in quotes, or a table such as { column = "…" }'
    if key:
        return 'must be a table such as { "1" = "yes" }'
    return f"must be a table, written as [{section}] on a line of its own"


def _unknown(where: list[str], sections: Mapping[str, type[BaseModel]], rule: type[BaseModel]) -> str:
    if len(where) == 1:
        known = [*sections, "fields"]
        return f"[{where[0]}] is no section{nearest(where[0], known) or '; known are ' + ', '.join(known)}"
    section, key = where[0], where[-1]
    if (section, key) == ("destination", "api_key"):
        return (
            "[destination] api_key: a key does not belong into this file; "
            "say where it is kept with api_key_env or api_key_file"
        )
    known = list((rule if section == "fields" else sections[section]).model_fields)
    inside = ".".join(where[1:-1])
    place = f"[{section}] {inside}: {key}" if inside else f"[{section}] {key}:"
    return f"{place} is no setting{nearest(key, known) or '; known are ' + ', '.join(known)}"
