"""A local Qomon with its limits and hazards, for tests, demonstrations and benchmarks.

It is the other side of the wire and imports nothing from the rest of the package. Built so far: the upsert,
the token bucket, faults, and `/_sandbox/` to look inside; an unknown route is 404.

    bytes ─ server ─▶ Request ─ api ─▶ pending ─(lag)─▶ matching, merge ─▶ book
                          └─ control (/_sandbox/…) ──────────────────────────┘
"""

from syncengine.sandbox.faults import FaultsError
from syncengine.sandbox.options import SandboxOptions
from syncengine.sandbox.sandbox import Sandbox, run, serve

__all__ = ["FaultsError", "Sandbox", "SandboxOptions", "run", "serve"]
