"""Why a space would drop a contact in silence: every answer of a content, held against the forms. Pure.

Reasons name forms and their options, so that equal mistakes of many contacts are told as one; what resembles
a person's value is in the hint alone. Which answers are right is known by `forms`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from syncengine.qomon.fields import ADVANCED
from syncengine.qomon.forms import Form, Forms, Option
from syncengine.seen import Fault

REMEMBERED = 10_000
"""Answers of which it is remembered what is wrong: contacts repeat their choices, but not free texts."""

OPTIONS_SHOWN = 12
"""Options that a reason lists; of a form with more, the hint names the nearest."""


class _Judged(NamedTuple):
    """What there is to say of one answer: its fault; or what it chooses, and the fault of a second choice."""

    fault: Fault | None
    option: Option | None = None
    second: Fault | None = None


class Faults:
    """What is wrong by these forms; for other forms make another."""

    def __init__(self, forms: Forms) -> None:
        self._forms = forms
        self._judged: dict[tuple[str, str | int, str], _Judged] = {}

    def of(self, content: Mapping[str, Any]) -> list[Fault]:
        """Return the faults of a contact in the upsert's shape, each once, in the order of its answers."""
        found: dict[Fault, None] = {}
        for kind in ADVANCED:
            chosen: dict[Fault, Option | None] = {}
            for entry in content.get(kind, ()):
                named = entry["id"] if "id" in entry else entry["label"]
                fault, option, second = self._judge(kind, named, entry["value"])
                if second is not None and chosen.setdefault(second, option) != option:
                    fault = second
                if fault is not None:
                    found[fault] = None
        return list(found)

    def _judge(self, kind: str, named: str | int, value: str) -> _Judged:
        answer = (kind, named, value)
        judged = self._judged.get(answer)
        if judged is None:
            if len(self._judged) >= REMEMBERED:
                self._judged.clear()
            judged = self._judged[answer] = self._look_at(kind, named, value)
        return judged

    def _look_at(self, kind: str, named: str | int, value: str) -> _Judged:
        try:
            form = self._forms.find(kind, named)
        except ValueError as error:
            return _Judged(Fault(str(error), ""))
        found = self._forms.fault(kind, named, value)
        if found is not None:
            return _Judged(_fault(form, value, *found))
        if not form.has_options or form.is_multiple:
            return _Judged(None)
        second = Fault(
            f"{kind} {form.label!r} (#{form.id}) takes one answer, and the contact has several", ""
        )
        return _Judged(None, form.option(value), second)


def _fault(form: Form, value: str, reason: str, near: str) -> Fault:
    if not form.has_options:
        return Fault(reason, f"{value!r:.100} is no answer to {form.label!r}")
    names = list(dict.fromkeys(option.label or option.value for option in form.options))
    shown = f" (its options: {', '.join(names)})" if 0 < len(names) <= OPTIONS_SHOWN and all(names) else ""
    return Fault(reason + shown, f"{value!r:.100} is not an option of {form.label!r}{near}")
