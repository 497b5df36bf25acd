"""The routes that write one contact while one waits: one request, one attempt; what each costs and answers.

Sources: Qomon API reference, "Create a contact" and "Update contact by id" (200, 5 tokens each); of
`DELETE /contacts/{id}` only the existence is documented. Every function raises what a `wire.check` does.
"""

from __future__ import annotations

from http import HTTPStatus
from types import MappingProxyType
from typing import Any

import orjson

from syncengine.destination import CREATE, CREATE_TOKENS
from syncengine.errors import RejectedError
from syncengine.qomon.wire import READ_CAP, Reply, Wire, check

REPLACE = "replace"
DELETE = "delete"
"""The routes' names where their cost is learned; `CREATE` is the engine's."""

FIRST_GUESSES = MappingProxyType({CREATE: CREATE_TOKENS, REPLACE: 5.0, DELETE: 5.0})
"""Tokens until an answer tells. The deletion's are not documented: taken for as dear as the other two, since
too dear a guess waits half a second once, and too cheap a one is refused or overdraws the bucket."""

DELETED = frozenset({HTTPStatus.OK, HTTPStatus.ACCEPTED, HTTPStatus.NO_CONTENT})
"""What a deletion may answer: nothing is documented."""

NO_SUCH_CONTACT = "there is no such contact (any more)"


async def post_contact(wire: Wire, document: dict[str, Any]) -> Reply:
    """POST /contacts: return the answer, whose 200 holds `{status, data: {contact: {…}}}`."""
    return await wire.send("POST", "/contacts", orjson.dumps(document), most=READ_CAP)


async def patch_contact(wire: Wire, path: str, document: dict[str, Any]) -> Reply:
    """PATCH /contacts/{id}: return the 200; RejectedError with status 404 when there is no such contact."""
    reply = await wire.send("PATCH", path, orjson.dumps(document), most=READ_CAP)
    if is_missing(reply):
        raise RejectedError(NO_SUCH_CONTACT, status=reply.status, rate=reply.rate)
    check(reply, REPLACE, expected=HTTPStatus.OK)
    return reply


async def delete_contact(wire: Wire, path: str) -> Reply:
    """DELETE /contacts/{id}: return the answer, which is a 404 when there was no such contact."""
    reply = await wire.send("DELETE", path)
    if not is_missing(reply):
        check(reply, DELETE, expected=reply.status if reply.status in DELETED else HTTPStatus.OK)
    return reply


def path_to(things: str, number: int) -> str:
    """Return the path of a thing, such as `/contacts/7`. Raises ValueError for an id below 1."""
    if number < 1:
        raise ValueError("ids are positive whole numbers")
    return f"/{things}/{number}"


def is_missing(reply: Reply) -> bool:
    """Say whether the API says that there is no such thing: another 404 is that of a wrong base URL."""
    return reply.status == HTTPStatus.NOT_FOUND and "json" in reply.content_type.lower()
