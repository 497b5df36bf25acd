"""Holding contacts before they are sent, and closing problems: one place that writes what is open.

Functions of a writing connection or an open `Store`. Why somebody is held is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import orjson

from syncengine.identity import IdentityClass
from syncengine.problems import CRASHES, DEAD_ID, MAY_HAVE_BEEN_CREATED, NO_LONGER
from syncengine.store.driver import Connection
from syncengine.store.schema import CRASHES_ALONE, DEAD, DUE

if TYPE_CHECKING:
    from syncengine.store.store import Store

DOUBTFUL = "n IN (SELECT n FROM intents WHERE unknown_hash IS NOT NULL)"
"""Contacts with an attempt that got no definite answer."""


def set_problem(
    connection: Connection,
    contacts: Iterable[int],
    state: str,
    reason: str,
    *,
    run: int | None,
    now: float,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Open a problem of contacts, for their present content. `facts`: what else there is to tell, as JSON."""
    told = orjson.dumps(facts).decode() if facts else None
    connection.executemany(
        "UPDATE contacts SET problem = ?, problem_hash = content_hash, problem_reason = ?, "
        "problem_detail = NULL, problem_facts = ?, problem_since = ?, problem_run = ? WHERE n = ?",
        [(state, reason, told, now, run, n) for n in contacts],
    )


def hold_where(
    connection: Connection,
    reason: str,
    condition: str,
    *,
    run: int | None,
    now: float,
    parameters: Iterable[object] = (),
    also_released: bool = False,
) -> int:
    """Hold contacts that meet an SQL condition of ours, unless released; return how many."""
    if not also_released:
        condition += " AND released_hash IS NOT content_hash"
    return int(
        connection.execute(
            "UPDATE contacts SET problem = 'held', problem_hash = content_hash, problem_reason = ?, "
            "problem_detail = NULL, problem_facts = NULL, problem_since = ?, problem_run = ? "
            f"WHERE {condition}",
            (reason, now, run, *parameters),
        ).rowcount
    )


def hold_without_identity(
    store: Store, classes: Mapping[IdentityClass, str], *, run: int, passing: Collection[int] = ()
) -> int:
    """Hold due contacts of the given identity classes (class -> reason); return how many.

    A contact released by a person for exactly this content passes, and so do those of these numbers. Missing
    contacts are held too.
    """
    others = f"{DUE} AND n NOT IN (SELECT value FROM json_each(?))"
    with store.writing() as connection:
        held = hold_missing(connection, run=run, now=store.now())
        for identity, reason in classes.items():
            held += hold_where(
                connection,
                reason,
                f"{others} AND identity = {identity.value}",
                run=run,
                now=store.now(),
                parameters=(orjson.dumps(list(passing)).decode(),),
            )
        return held


def hold_doubtful(store: Store, classes: Collection[IdentityClass], *, run: int) -> int:
    """Hold due contacts in doubt that nothing can find again, and those that crash us; return how many.

    `classes`: of what was sent without a definite answer, or of what would be sent now.
    """
    numbers = ", ".join(str(identity.value) for identity in classes)
    sent = f"n IN (SELECT n FROM intents WHERE unknown_identity IN ({numbers}))"
    doubtful = f"{DOUBTFUL} AND (identity IN ({numbers}) OR {sent}) AND {DUE}"
    crashing = f"n IN (SELECT n FROM intents WHERE crashes >= {CRASHES_ALONE}) AND {DUE}"
    with store.writing() as connection:
        return hold_where(connection, CRASHES, crashing, run=run, now=store.now()) + hold_where(
            connection, MAY_HAVE_BEEN_CREATED, doubtful, run=run, now=store.now()
        )


def hold_dead_ids(store: Store, *, run: int) -> int:
    """Hold due contacts whose Qomon id is dead, whatever they hold by now; return how many.

    Released ones too: what is sent to an id that is dead could make somebody. Only a rematch lets them go.
    """
    with store.writing() as connection:
        return hold_dead(connection, run=run, now=store.now())


def hold_dead(connection: Connection, *, run: int, now: float, n: int | None = None) -> int:
    """Do so in an open transaction. `n`: this contact alone."""
    only = "" if n is None else f" AND n = {n}"
    return hold_where(connection, DEAD_ID, f"{DEAD} AND {DUE}{only}", run=run, now=now, also_released=True)


def hold_missing(connection: Connection, *, run: int | None, now: float) -> int:
    """Hold every due contact that the last snapshot lacks, unless released; return how many."""
    return hold_where(connection, NO_LONGER, f"missing = 1 AND {DUE}", run=run, now=now)


def close_returned(connection: Connection) -> int:
    """Make due again who was held for being missing and is back; return how many."""
    return close_problems(connection, "problem = 'held' AND problem_reason = ? AND missing = 0", (NO_LONGER,))


def close_problems(connection: Connection, condition: str, parameters: Iterable[object]) -> int:
    """Forget the open problems that meet an SQL condition of ours; return how many there were."""
    return int(
        connection.execute(
            "UPDATE contacts SET problem = NULL, problem_hash = NULL, problem_reason = NULL, "
            "problem_detail = NULL, problem_facts = NULL, problem_since = NULL, problem_run = NULL, "
            "look_again = 0 "
            f"WHERE problem_hash = content_hash AND {condition}",
            tuple(parameters),
        ).rowcount
    )
