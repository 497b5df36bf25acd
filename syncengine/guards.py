"""The guards that need no request: whom to hold, and whether so much changed that a mistake is likely."""

from __future__ import annotations

from collections.abc import Collection

from syncengine.clock import Stop
from syncengine.config import Settings
from syncengine.model import Report
from syncengine.outcome import NEVER_FOUND, NOT_FOUND_AGAIN
from syncengine.preflight import MASS_CHANGE_FROM, have_keys_moved, hold_all, is_mass_change
from syncengine.store import checking, counting
from syncengine.store.store import Store
from syncengine.store.views import changed_fields


class Guards:
    """What is looked at in the store before a run asks the destination anything. In the store's thread.

    `can_read`: whether the space can be asked, so that some are left for `Preflight` to decide about.
    """

    def __init__(self, settings: Settings, store: Store, stop: Stop, *, can_read: bool) -> None:
        self._settings = settings
        self._store = store
        self._stop = stop
        self._can_read = can_read

    def hold(self, run: int, keys: Collection[str] | None = None) -> None:
        """Hold whom the store alone tells to hold, but for those about whom reading may say more."""
        hold_all(
            self._store,
            self._settings.identity,
            run=run,
            not_found_again=NEVER_FOUND if self._can_read else NOT_FOUND_AGAIN,
            may_be_proven=self._can_read,
            keys=keys,
        )

    def have_keys_moved(self) -> bool:
        """Stop when the keys of so many contacts name other people that they must have been renumbered."""
        moved, with_ids = checking.moved_keys(self._store)
        if not have_keys_moved(moved=moved, with_ids=with_ids):
            return False
        self._stop.set(
            "mass_change",
            f"the keys of {moved} of {with_ids} contacts known in Qomon now name other people; nothing was "
            "sent. More likely the keys were renumbered than so many people changed name and mail: restore "
            "the old keys in the source, or start anew with another [state] path. Those that are right can "
            "be let go with syncengine problems --release KEY",
        )
        return True

    def is_mass_change(self, report: Report) -> bool:
        """Stop when most of what was accepted would be sent again; the report then shows the fields."""
        due = counting.count_due(self._store)
        share = self._settings.run.max_changed_share
        if due.accepted_before <= share * MASS_CHANGE_FROM:
            return False  # whatever the total is: it need not be counted
        accepted = counting.count_accepted(self._store)
        if not is_mass_change(again=due.accepted_before, accepted=accepted, max_share=share):
            return False
        report.fields = changed_fields(self._store.connection)
        shown = ", ".join(f"{name} ({count})" for name, count in list(report.fields.items())[:5])
        self._stop.set(
            "mass_change",
            f"{due.accepted_before} of {accepted} contacts already accepted would be sent again, more than "
            f"{share:.0%}; nothing was sent. Changed fields: {shown}. If this is meant, run sync "
            "--allow-mass-change",
        )
        return True
