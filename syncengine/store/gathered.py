"""What would be stored, and what would be due, if a load that was only gathered took effect: for `plan`.

Functions of a scratch database with the state store attached, see `scratch`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from syncengine.identity import IdentityClass
from syncengine.problems import NO_LONGER
from syncengine.store.checking import Suspect
from syncengine.store.driver import Connection
from syncengine.store.schema import DUE, MAY_BE_SENT, WEAKEST

PAGE_ROWS = 2000

NOT_STAGED = "NOT EXISTS (SELECT 1 FROM staged s WHERE s.contact IS NOT NULL AND s.key = c.key)"
"""SQL condition of a stored contact `c`: the load leaves its content as it is."""

_IS_AMBIGUOUS = "c.remote_id IS NULL AND c.n IN (SELECT n FROM ambiguous)"


@dataclass(frozen=True, slots=True)
class Due:
    """A contact that would be due: what the holds and the changed fields depend on.

    `before`: what was last accepted; `known`: what was last seen applied, else `before`.
    """

    suspect: Suspect = field(repr=False)
    identity: IdentityClass
    content: bytes = field(repr=False)
    before: bytes | None = field(repr=False)
    known: bytes | None = field(repr=False)
    was_accepted: bool
    is_missing: bool
    is_in_doubt: bool
    doubted: IdentityClass | None
    is_released: bool
    has_dead_id: bool
    is_ambiguous: bool


def _killed_with_it(is_running: bool) -> str:
    """Return the SQL condition of those that a killed run may have sent: in doubt once a sync has begun."""
    return "0" if is_running else f"c.n IN (SELECT n FROM ({MAY_BE_SENT}))"


def everybody_after_load(connection: Connection, is_running: bool) -> tuple[str, str]:
    """Return who would be stored after the load, as `Collisions` asks for them."""
    for column in ("mail", "name"):
        connection.execute(f"CREATE INDEX staged_{column} ON staged ({column}) WHERE {column} <> ''")
    killed = _killed_with_it(is_running)
    has_id = "c.remote_id IS NOT NULL AS has_id"
    was_accepted = f"(c.accepted_at IS NOT NULL OR c.in_doubt = 1 OR {killed}) AS was_accepted"
    stored = (
        f"SELECT c.key, c.mail, c.name, c.content, {has_id}, {was_accepted}, "
        "coalesce((SELECT p.missing FROM presence p WHERE p.n = c.n), c.missing) = 1 "
        f"AND (c.released_hash IS NOT c.content_hash OR {killed}) AS is_gone "
        f"FROM contacts c WHERE {NOT_STAGED}"
    )
    staged = (
        f"SELECT s.key, s.mail, s.name, s.content, {has_id}, {was_accepted}, 0 AS is_gone "
        "FROM staged s LEFT JOIN contacts c ON c.n = s.contact"
    )
    return stored, staged


def due_after_load(connection: Connection, *, is_running: bool) -> Iterator[Due]:
    """Yield what would be due: staged rows that differ from the accepted content, and the rest of the due.

    Intents that a killed run left open will be in doubt once a sync has opened the store.
    """
    killed_with_it = _killed_with_it(is_running)
    in_doubt = f"(c.in_doubt = 1 OR {killed_with_it})"
    doubted = "(SELECT unknown_identity FROM intents i WHERE i.n = c.n)"
    if not is_running:
        doubted = (
            f"(SELECT CASE WHEN open = 1 THEN {WEAKEST} ELSE unknown_identity END "
            "FROM intents i WHERE i.n = c.n)"
        )
    staged = (
        "SELECT s.n, s.identity, s.content, c.accepted_hash, c.accepted, c.content, c.content_hash, 0, "
        f"{in_doubt}, 0, c.remote_id, c.accepted_at, {doubted}, "
        f"s.key, s.mail, s.name, c.applied, c.applied_hash, c.dead_id, {_IS_AMBIGUOUS} "
        "FROM staged s LEFT JOIN contacts c ON c.n = s.contact "
        f"WHERE s.n > ? AND (c.accepted_hash IS NOT s.content_hash OR {in_doubt}) ORDER BY s.n LIMIT ?"
    )
    stored = (
        "SELECT c.key, c.identity, c.content, c.accepted_hash, c.accepted, c.content, c.content_hash, "
        "coalesce((SELECT p.missing FROM presence p WHERE p.n = c.n), c.missing), "
        f"{in_doubt}, c.released_hash IS c.content_hash AND NOT ({killed_with_it}), c.remote_id, "
        f"c.accepted_at, {doubted}, c.key, c.mail, c.name, c.applied, c.applied_hash, c.dead_id, "
        f"{_IS_AMBIGUOUS} FROM contacts c "
        f"WHERE {{}} AND c.key > ? AND {NOT_STAGED} ORDER BY c.key LIMIT ?"
    )
    returned = (
        f"problem_hash = content_hash AND problem_reason = '{NO_LONGER}' "
        f"AND (accepted_hash IS NOT content_hash OR {in_doubt}) "
        "AND c.n IN (SELECT n FROM presence WHERE missing = 0)"
    )
    killed = (
        "problem_hash IS NOT content_hash AND accepted_hash IS content_hash AND in_doubt = 0 "
        f"AND {killed_with_it}"
    )
    starts: list[tuple[str, int | str]] = [
        (staged, 0),
        (stored.format(DUE), ""),
        (stored.format(returned), ""),
    ]
    if not is_running:
        starts.append((stored.format(killed), ""))
    for statement, start in starts:
        after = start
        while page := connection.execute(statement, (after, PAGE_ROWS)).fetchall():
            after = page[-1][0]
            for row in page:
                yield _due(row)


def _due(row: tuple[Any, ...]) -> Due:
    _, identity, content, accepted_hash, accepted, stored, stored_hash, missing, in_doubt, released = row[:10]
    remote_id, accepted_at, doubted, key, mail, name, applied, applied_hash, dead_id, is_ambiguous = row[10:]
    before = stored if accepted_hash is not None and accepted_hash == stored_hash else accepted
    seen = stored if applied is None else applied
    return Due(
        suspect=Suspect(key, mail, name),
        identity=IdentityClass.CONFIRMED if remote_id is not None else IdentityClass(identity),
        content=content,
        before=before,
        known=before if applied_hash is None else seen,
        was_accepted=accepted_at is not None,
        is_missing=bool(missing),
        is_in_doubt=bool(in_doubt),
        doubted=None if doubted is None else IdentityClass(doubted),
        is_released=bool(released),
        has_dead_id=bool(dead_id),
        is_ambiguous=bool(is_ambiguous),
    )
