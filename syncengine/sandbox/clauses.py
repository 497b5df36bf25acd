"""What SQL can say of a condition of `/search` before any contact is unpacked.

A clause keeps at least the contacts that match; an exact one keeps no others, so that counting and paging
need no look at the contacts. The text of a clause holds names and signs of this file only, every value is a
parameter.
"""

from collections.abc import Sequence
from typing import NamedTuple

import orjson

from syncengine.sandbox.operators import Interval

_FINER = 5e-7  # stored times are finer than the microseconds a client reads and sends back


class Clause(NamedTuple):
    """A condition in SQL on a table of contacts."""

    sql: str
    parameters: tuple[object, ...]
    is_exact: bool


def within_column(column: str, found: Sequence[Interval], *, is_each: bool, is_negated: bool) -> Clause:
    """Return that a column lies in one of the intervals, or in each of them."""
    parts = []
    margin = 0.0 if column == "id" else _FINER
    for low, high in found:
        bounds = [f"{column} {sign} ?" for sign, bound in ((">=", low), ("<=", high)) if bound is not None]
        margins = [
            float(bound) + side for bound, side in ((low, -margin), (high, margin)) if bound is not None
        ]
        parts.append(Clause(" AND ".join(bounds), tuple(margins), is_exact=True))
    sql, parameters, _ = _chained("AND" if is_each else "OR", parts)
    return Clause(f"NOT ({sql})" if is_negated else sql, parameters, is_exact=True)


def with_mail(folded: str) -> Clause:
    """Return that the mail is this one as the table folds it."""
    return Clause("mail = ?", (folded,), is_exact=False)


def with_parts(column: str, parts: Sequence[str]) -> Clause:
    """Return that a folded column has all of these, folded too, somewhere; who has no names at all may."""
    tests = [Clause(f"instr({column}, ?) > 0", (part,), is_exact=False) for part in parts]
    sql, parameters, _ = _chained("AND", tests)
    return Clause(f"({column} IS NULL OR {sql})", parameters, is_exact=False)


def with_text(text: str) -> Clause:
    """Return that the contact holds this text somewhere, to the letter."""
    return Clause("instr(fields, ?) > 0", (orjson.dumps(text)[1:-1],), is_exact=False)


def all_of(clauses: Sequence[Clause | None]) -> Clause:
    """Return that all of these hold; what SQL cannot say is left to be looked at."""
    known = [clause for clause in clauses if clause]
    sql, parameters, is_exact = _chained("AND", known) if known else Clause("1", (), is_exact=True)
    return Clause(sql, parameters, is_exact and len(known) == len(clauses))


def any_of(clauses: Sequence[Clause | None]) -> Clause | None:
    """Return that one of these holds, None when SQL cannot say it of each."""
    known = [clause for clause in clauses if clause]
    if len(known) < len(clauses):
        return None
    return _chained("OR", known) if known else Clause("0", (), is_exact=True)


def _chained(word: str, clauses: Sequence[Clause]) -> Clause:
    """Return the clauses joined in pairs of pairs: SQLite bounds how deep an expression may be."""
    if len(clauses) == 1:
        return clauses[0]
    half = len(clauses) // 2
    left, right = _chained(word, clauses[:half]), _chained(word, clauses[half:])
    return Clause(
        f"({left.sql} {word} {right.sql})",
        left.parameters + right.parameters,
        left.is_exact and right.is_exact,
    )
