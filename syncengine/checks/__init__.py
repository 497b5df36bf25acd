"""What `syncengine doctor` looks at: each check tells whether something is in order, or what to do.

`source` reads the list, `answers` and `cells` compare the mapping and its cells with a space's forms, `space`
judges what a space told, `machine` looks at files, disk and SQLite. Nothing here sends, writes or creates
anything; messages name files, fields, columns and counts, never a key or a person's value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from syncengine.errors import SyncError

MEND = "mend that, then run doctor again"
"""What to do where the error says all there is to know."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. `ok` is None when it could not be, or when nothing certain can be said of it."""

    name: str
    ok: bool | None
    message: str
    remedy: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the check as `doctor --json` shows it; without a remedy it is null."""
        return {"name": self.name, "ok": self.ok, "message": self.message, "remedy": self.remedy or None}


def fault(name: str, error: SyncError) -> Check:
    """Return the check that an error failed. Our messages say what happened, then `; ` and what to do."""
    message, _, remedy = str(error).partition("; ")
    return Check(name, False, message, remedy or MEND)


def not_checked(name: str, why: str) -> Check:
    """Return a check that something in its way kept from being made."""
    return Check(name, None, f"not checked: {why}")
