"""A local Qomon with its limits and hazards, for tests, demonstrations and benchmarks.

It is the other side of the wire and imports nothing from the rest of the package. README.md in this folder
lists what it does, on whose word, and how to change it.

    bytes ─ server ─▶ Request ─┬ api: key, tokens, fault ─▶ endpoints ─┬──────────▶ book ◀─ staff
                               │                             upsert ─▶ pending ─(lag)┘│
                               └ control (/_sandbox/…)       search ◀─ index ◀─(lag)──┘
"""

from syncengine.sandbox.faults import FaultsError
from syncengine.sandbox.form import FormsError
from syncengine.sandbox.options import SandboxOptions
from syncengine.sandbox.sandbox import Sandbox, run, serve
from syncengine.sandbox.unknowns import Unknowns

__all__ = ["FaultsError", "FormsError", "Sandbox", "SandboxOptions", "Unknowns", "run", "serve"]
