"""Counts of the store that a run needs at its beginning and its end. Reads only."""

from __future__ import annotations

from dataclasses import dataclass

from syncengine.store.driver import Connection
from syncengine.store.forms import needs_forms
from syncengine.store.schema import AWAITING, DUE, OPEN_PROBLEM
from syncengine.store.store import Store
from syncengine.store.views import accepted_total


@dataclass(frozen=True, slots=True)
class DueCounts:
    """How many contacts are due; of these, how many were accepted before."""

    due: int
    accepted_before: int


def count_due(store: Store) -> DueCounts:
    """Count what is due, from the partial index alone."""
    with store.reading() as connection:
        due, accepted = connection.execute(
            f"SELECT count(*), count(accepted_at) FROM contacts WHERE {DUE}"
        ).fetchone()
        return DueCounts(due, accepted)


def count_accepted(store: Store) -> int:
    """Count the contacts ever accepted."""
    with store.reading() as connection:
        return accepted_total(connection)


@dataclass(frozen=True, slots=True)
class RunCounts:
    """Where the contacts of a run stand at its end, from the rows themselves."""

    due: int
    held: int
    rejected: int
    problems_open: int
    problems_new: int
    awaiting: int


def needs_reading(store: Store, *, verify: bool) -> bool:
    """Say whether a run has to read although nothing is due: for somebody waiting, or held by the forms."""
    with store.reading() as connection:
        found = (
            verify
            and connection.execute(
                f"SELECT EXISTS (SELECT 1 FROM contacts WHERE {AWAITING}) "
                "OR EXISTS (SELECT 1 FROM contacts WHERE look_again = 1) "
                "OR EXISTS (SELECT 1 FROM intents WHERE unknown_hash IS NOT NULL)"
            ).fetchone()[0]
        )
    return bool(found) or needs_forms(store, verify=verify)


def has_begun(store: Store) -> bool:
    """Say whether the space was adopted, or anything ever accepted, or may have been."""
    with store.reading() as connection:
        return is_begun(connection)


def is_begun(connection: Connection) -> bool:
    """Say the same of the store of a connection."""
    begun = connection.execute(
        "SELECT adopted_at IS NOT NULL OR EXISTS (SELECT 1 FROM intents) FROM space"
    ).fetchone()[0]
    return bool(begun) or accepted_total(connection) > 0


def run_counts(store: Store, *, run: int) -> RunCounts:
    """Count what is due, and the problems: of this run by state, and all that are open."""
    with store.reading() as connection:
        due = connection.execute(f"SELECT count(*) FROM contacts WHERE {DUE}").fetchone()[0]
        of_run = dict(
            connection.execute(
                "SELECT problem, count(*) FROM contacts "
                f"WHERE {OPEN_PROBLEM} AND problem_run = ? GROUP BY problem",
                (run,),
            ).fetchall()
        )
        contacts = connection.execute(f"SELECT count(*) FROM contacts WHERE {OPEN_PROBLEM}").fetchone()[0]
        awaiting = connection.execute(f"SELECT count(*) FROM contacts WHERE {AWAITING}").fetchone()[0]
        rows, new_rows = connection.execute(
            "SELECT count(*), count(*) FILTER (WHERE since >= (SELECT started FROM runs WHERE id = ?)) "
            "FROM refused",
            (run,),
        ).fetchone()
    return RunCounts(
        due=due,
        held=of_run.get("held", 0),
        rejected=of_run.get("rejected", 0),
        problems_open=contacts + rows,
        problems_new=sum(of_run.values()) + new_rows,
        awaiting=awaiting,
    )


def unsettled_contacts(store: Store, *, run: int) -> list[int]:
    """Return the contacts that are due, or have an open problem of this run."""
    with store.reading() as connection:
        return [
            n
            for (n,) in connection.execute(
                f"SELECT n FROM contacts WHERE {DUE} UNION ALL "
                f"SELECT n FROM contacts WHERE {OPEN_PROBLEM} AND problem IN ('held', 'rejected') "
                "AND problem_run = ?",
                (run,),
            ).fetchall()
        ]
