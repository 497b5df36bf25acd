"""Qomon as the engine's destination: one change, one request, one attempt."""

from __future__ import annotations

from syncengine.destination import CREATE, UPSERT
from syncengine.errors import RejectedError
from syncengine.model import Change, Receipt, Result
from syncengine.outcome import ACCEPTED_STATUS
from syncengine.qomon.bodies import upsert_body
from syncengine.qomon.creating import creation_of
from syncengine.qomon.forms import Forms
from syncengine.qomon.reading import contact_from_get
from syncengine.qomon.routes import post_contact
from syncengine.qomon.wire import Reply, Wire, check, content_of, understood


class ReadForms:
    """The forms of a space as last read: whoever reads them puts them here for whoever sends."""

    def __init__(self) -> None:
        self.forms = Forms()


class QomonDestination:
    """Qomon's writing routes, over an open wire. `read`: the forms that answers are created by."""

    def __init__(self, wire: Wire, read: ReadForms | None = None) -> None:
        self._wire = wire
        self._read = read or ReadForms()

    async def upsert(self, change: Change) -> Receipt:
        """POST /contacts/upsert: one attempt. Costs 1 token (observed), async: 202 means queued.

        A change that creates goes by POST /contacts instead: 5 tokens (documented), 200 tells the id.

        Raises TransientError, RateLimitedError, RejectedError, ProtocolError or UnauthorizedError.
        """
        if change.creates:
            return await self._create(change)
        reply = await post_upsert(self._wire, upsert_body(change))
        return Receipt(change, Result.ACCEPTED, status=reply.status, rate=reply.rate, date=_date(reply))

    async def _create(self, change: Change) -> Receipt:
        """Create a contact. A 200 that does not tell its id is a protocol breach: it may be there.

        Dated when Qomon says that it was updated: its answer is given after that, and may be a second later.
        """
        try:
            document, taken = creation_of(change, self._read.forms)
        except ValueError as error:
            raise RejectedError(f"it cannot be created: {error}") from None
        reply = await post_contact(self._wire, document)
        created = understood(CREATE, contact_from_get, content_of(reply, CREATE))
        date = _date(reply)
        if created.updated_at is not None:
            updated = created.updated_at.timestamp()
            date = updated if date is None else min(date, updated)
        return Receipt(
            change,
            Result.ACCEPTED,
            status=reply.status,
            rate=reply.rate,
            date=date,
            remote_id=created.id,
            taken=taken,
        )


def _date(reply: Reply) -> float | None:
    return None if reply.date is None else reply.date.timestamp()


async def post_upsert(wire: Wire, body: bytes) -> Reply:
    """Send one upsert and return the 202 it got; raise what any other answer means.

    Source: Qomon API reference, "Upsert a contact". The 202 may come without a body (observed), and says
    nothing of what becomes of the contact.
    """
    reply = await wire.send("POST", "/contacts/upsert", body)
    check(reply, UPSERT, expected=ACCEPTED_STATUS)
    return reply
