"""A contact's content as names and texts."""

from __future__ import annotations

from typing import Any


def flat(content: dict[str, Any]) -> list[tuple[str, str]]:
    """Return a contact's fields; address parts as `address.city`, answers as `kind.label`."""
    lines: list[tuple[str, str]] = []
    for name, value in content.items():
        if isinstance(value, dict):
            lines += [(f"{name}.{part}", str(inner)) for part, inner in value.items()]
        elif isinstance(value, list) and value and "value" in value[0]:
            for answer in value:
                form = answer["label"] if "label" in answer else f"#{answer['id']}"
                lines.append((f"{name}.{form}", answer["value"]))
        elif isinstance(value, list):
            lines.append((name, ", ".join(str(next(iter(entry.values()), "")) for entry in value)))
        else:
            lines.append((name, str(value)))
    return lines
