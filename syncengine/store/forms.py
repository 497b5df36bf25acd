"""The space's forms as last read, and whom they would make the space drop. A store knows no form: only bytes.

Functions of an open `Store`. Which answers are wrong is decided by whoever is passed as `faults`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import orjson

from syncengine.problems import WOULD_BE_DROPPED
from syncengine.seen import Fault, KeptForms
from syncengine.store.driver import Connection
from syncengine.store.holding import close_problems, set_problem
from syncengine.store.schema import DUE, OPEN_PROBLEM
from syncengine.store.store import Store

PAGE_ROWS = 2000

_ANSWERS = "instr({}, x'2276616C7565223A') > 0"

HAS_ANSWERS = _ANSWERS.format("content")
"""Holds `"value":`, which in canonical JSON only the answers to a form do."""

HAD_ANSWERS = f"({' OR '.join(map(_ANSWERS.format, ('content', 'applied', 'accepted', 'unseen')))})"
"""Holds answers, or held some when it was last seen applied, or when it was accepted."""

_FORM_PROBLEM = f"problem = 'held' AND substr(problem_reason, 1, {len(WOULD_BE_DROPPED)}) = ?"


def kept_forms(connection: Connection) -> tuple[KeptForms, float] | None:
    """Return the forms as last read, and when (Unix time); None before."""
    row = connection.execute("SELECT fingerprint, content, at FROM forms").fetchone()
    return None if row is None else (KeptForms(bytes(row[0]), bytes(row[1])), row[2])


def keep_forms(store: Store, forms: KeptForms) -> int:
    """Keep the forms just read. If they changed, close the problems they gave; return how many."""
    with store.writing() as connection:
        kept = kept_forms(connection)
        connection.execute(
            "INSERT INTO forms (only, at, fingerprint, content) VALUES (1, ?, ?, ?) "
            "ON CONFLICT (only) DO UPDATE SET at = excluded.at, fingerprint = excluded.fingerprint, "
            "content = excluded.content",
            (store.now(), forms.fingerprint, forms.content),
        )
        if kept is not None and kept[0].fingerprint == forms.fingerprint:
            return 0
        return close_problems(connection, _FORM_PROBLEM, (WOULD_BE_DROPPED,))


def needs_forms(store: Store, *, verify: bool) -> bool:
    """Say whether somebody answers forms who is due, held because of them, or (`verify`) to be read back."""
    with store.reading() as connection:
        return any(
            connection.execute(f"SELECT 1 FROM contacts WHERE {condition} LIMIT 1", parameters).fetchone()
            for condition, parameters in (
                (f"{DUE} AND {HAD_ANSWERS}", ()),
                (f"{'awaiting = 1' if verify else '0'} AND {HAD_ANSWERS}", ()),
                (f"{OPEN_PROBLEM} AND {_FORM_PROBLEM}", (WOULD_BE_DROPPED,)),
            )
        )


def hold_faulty(
    store: Store,
    faults: Callable[[Mapping[str, Any]], list[Fault]],
    *,
    run: int,
    keys: Collection[str] | None = None,
) -> int:
    """Hold due contacts that the space would drop for an answer, unless released; return how many.

    `keys`: of these alone; None: of all.
    """
    held = 0
    for page in _answering(store, keys):
        found = [(n, faults(orjson.loads(content))) for n, content in page]
        wrong = [(n, fault) for n, fault in found if fault]
        if not wrong:
            continue
        with store.writing() as connection:
            for n, told in wrong:
                set_problem(
                    connection,
                    [n],
                    "held",
                    f"{WOULD_BE_DROPPED}: {told[0].reason}",
                    run=run,
                    now=store.now(),
                    facts={"hints": [fault.hint or fault.reason for fault in told]},
                )
        held += len(wrong)
    return held


def _answering(store: Store, keys: Collection[str] | None) -> Iterator[list[tuple[int, bytes]]]:
    """Yield, in pages, the due contacts that answer forms and were not released."""
    after = ""
    only = "" if keys is None else "AND key IN (SELECT value FROM json_each(:keys))"
    asked = orjson.dumps(sorted(keys or ())).decode()
    while True:
        with store.reading() as connection:
            rows = connection.execute(
                f"SELECT n, content, key FROM contacts WHERE {DUE} AND {HAS_ANSWERS} "
                "AND released_hash IS NOT content_hash "
                f"AND n NOT IN (SELECT n FROM intents WHERE open = 1) {only} AND key > :after "
                "ORDER BY key LIMIT :page",
                {"after": after, "page": PAGE_ROWS, "keys": asked},
            ).fetchall()
        if not rows:
            return
        after = rows[-1][2]
        yield [(n, content) for n, content, _ in rows]
