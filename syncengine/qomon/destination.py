"""Qomon as the engine's destination: one change, one upsert, one attempt."""

from __future__ import annotations

from syncengine.destination import UPSERT
from syncengine.model import Change, Receipt, Result
from syncengine.outcome import ACCEPTED_STATUS
from syncengine.qomon.bodies import upsert_body
from syncengine.qomon.wire import Reply, Wire, check


class QomonDestination:
    """Qomon's upsert route, over an open wire."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def upsert(self, change: Change) -> Receipt:
        """POST /contacts/upsert: one attempt. Costs 1 token (observed), async: 202 means queued.

        Raises TransientError, RateLimitedError, RejectedError, ProtocolError or UnauthorizedError.
        """
        reply = await post_upsert(self._wire, upsert_body(change))
        date = None if reply.date is None else reply.date.timestamp()
        return Receipt(change, Result.ACCEPTED, status=reply.status, rate=reply.rate, date=date)


async def post_upsert(wire: Wire, body: bytes) -> Reply:
    """Send one upsert and return the 202 it got; raise what any other answer means.

    Source: Qomon API reference, "Upsert a contact". The 202 may come without a body (observed), and says
    nothing of what becomes of the contact.
    """
    reply = await wire.send("POST", "/contacts/upsert", body)
    check(reply, UPSERT, expected=ACCEPTED_STATUS)
    return reply
