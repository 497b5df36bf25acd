"""The demonstration's proof: what the sandbox holds, compared field by field with the source."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import orjson

from syncengine.config import Settings
from syncengine.load import batches, open_mapped

PAGE = 1000
PATIENCE = 30.0
"""Seconds for the sandbox to apply what it accepted."""
BOOKKEEPING = frozenset({"id", "CreatedAt", "UpdatedAt", "lastchange"})
"""What Qomon adds to a contact by itself."""


@dataclass(slots=True)
class Proof:
    """`equal` of `expected` contacts are in the sandbox exactly as in the source; `held` are there in all."""

    expected: int = 0
    held: int = 0
    equal: int = 0
    differing_fields: dict[str, int] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Say whether destination and source are the same."""
        return self.expected == self.held == self.equal

    def as_json(self) -> dict[str, Any]:
        """Return the counts; fields are named, never a value."""
        return {
            "expected": self.expected,
            "held": self.held,
            "equal": self.equal,
            "differing_fields": self.differing_fields,
        }


def prove(base_url: str, settings: Settings) -> Proof:
    """Wait until the sandbox has applied everything, then compare all of it with the configured source."""
    wanted = {
        row.contact["mail"]: row.contact for rows, _, _ in batches(open_mapped(settings)) for row in rows
    }
    proof = Proof(expected=len(wanted))
    connection = http.client.HTTPConnection(urlsplit(base_url).netloc, timeout=10)
    try:
        _settle(connection)
        for contact in _pages(connection):
            proof.held += 1
            _compare(proof, wanted.get(contact.get("mail"), {}), contact)
    finally:
        connection.close()
    return proof


def _compare(proof: Proof, wanted: Mapping[str, Any], contact: dict[str, Any]) -> None:
    there = {name: _unordered(value) for name, value in contact.items() if name not in BOOKKEEPING}
    here = {name: _unordered(value) for name, value in wanted.items()}
    differing = [name for name in there.keys() | here.keys() if there.get(name) != here.get(name)]
    if not differing:
        proof.equal += 1
    for name in differing:
        proof.differing_fields[name] = proof.differing_fields.get(name, 0) + 1


def _unordered(value: object) -> object:
    return sorted(value, key=orjson.dumps) if isinstance(value, list) else value


def _settle(connection: http.client.HTTPConnection) -> None:
    end = time.monotonic() + PATIENCE
    while _get(connection, "/_sandbox/stats")["queued"] and time.monotonic() < end:
        time.sleep(0.1)


def _pages(connection: http.client.HTTPConnection) -> Iterator[dict[str, Any]]:
    offset: int | None = 0
    while offset is not None:
        page = _get(connection, f"/_sandbox/contacts?offset={offset}&limit={PAGE}")
        yield from page["contacts"]
        offset = page["next"]


def _get(connection: http.client.HTTPConnection, path: str) -> Any:
    connection.request("GET", path)
    return orjson.loads(connection.getresponse().read())
