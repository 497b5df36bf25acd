"""Everything that is spelled Qomon's way: fields, bodies, answers, searches, forms.

The client is of use on its own::

    from syncengine.qomon import QomonClient, Query, where

    async with QomonClient(key) as qomon:
        async for contact in qomon.search(Query.all(where("address.city").eql("Lyon"))):
            ...
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from syncengine.errors import (
        DestinationError,
        ProtocolError,
        RateLimitedError,
        RejectedError,
        TransientError,
        UnauthorizedError,
    )
    from syncengine.qomon.client import QomonClient
    from syncengine.qomon.contact import Answer, Contact, Note
    from syncengine.qomon.forms import Form, Forms, Option, decode
    from syncengine.qomon.query import (
        EVERYBODY,
        Query,
        all_of,
        any_of,
        custom_field,
        form,
        server_time,
        where,
    )

__all__ = [
    "EVERYBODY",
    "Answer",
    "Contact",
    "DestinationError",
    "Form",
    "Forms",
    "Note",
    "Option",
    "ProtocolError",
    "QomonClient",
    "Query",
    "RateLimitedError",
    "RejectedError",
    "TransientError",
    "UnauthorizedError",
    "all_of",
    "any_of",
    "custom_field",
    "decode",
    "form",
    "server_time",
    "where",
]

_ERRORS = (
    "DestinationError",
    "ProtocolError",
    "RateLimitedError",
    "RejectedError",
    "TransientError",
    "UnauthorizedError",
)
_HOMES = {
    **dict.fromkeys(_ERRORS, "syncengine.errors"),
    "QomonClient": f"{__name__}.client",
    **dict.fromkeys(("Answer", "Contact", "Note"), f"{__name__}.contact"),
    **dict.fromkeys(("Form", "Forms", "Option", "decode"), f"{__name__}.forms"),
    **dict.fromkeys(
        ("EVERYBODY", "Query", "all_of", "any_of", "custom_field", "form", "server_time", "where"),
        f"{__name__}.query",
    ),
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: a mapping needs no HTTP."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
