"""syncengine: keeps a Qomon space in step with an organisation's own list of people.

::

    source ──load──▶ store ──diff──▶ producer ──queue──▶ workers ──▶ destination (Qomon)
                       ▲                                    │               │
                       ├────────── checkpointer ◀── receipts ┘               │
                       └────────── verifier ◀───── bulk read-back (/search) ─┘

Use it from Python::

    from syncengine import Settings, sync

    report = await sync(Settings.load("syncengine.toml"))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from syncengine.config import Settings
    from syncengine.engine import Engine, sync
    from syncengine.model import Report

__all__ = ["Engine", "Report", "Settings", "__version__", "sync"]

_HOMES = {"Settings": ".config", "Engine": ".engine", "sync": ".engine", "Report": ".model"}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: `syncengine sandbox` needs none of them."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
