"""What a sandbox can be told before it starts, by the command line or by a test."""

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from syncengine.sandbox.faults import ENDPOINTS
from syncengine.sandbox.unknowns import Unknowns

BUCKETS = ("key", "space")
ACTS = ("edit", "merge", "delete", "rename_option", "remove_option")
"""What staff does to contacts and forms, see `sandbox.staff`."""
MOST_ACTS = 1000  # a second: more would leave no time for answers


@dataclass(frozen=True, slots=True)
class SandboxOptions:
    """How a sandbox behaves; durations are float seconds.

    `port` 0 takes any free port. `burst` tokens are there at the start and `rate` tokens come back each
    second (Qomon guide, "Rate limits"); `unlimited` announces a million of each instead. An upsert is applied
    `lag` seconds after it was accepted, and every API answer waits `latency` seconds. `retry_after` is sent
    as it stands with each 429 (Qomon documents no such header, hence none by default). `contacts` synthetic
    people are there from the start. `seed` decides the people, the keys, the faults and the staff; `faults`
    is a TOML file, see `sandbox.faults`. `spaces` spaces have `keys` keys each; `bucket` says whose each
    bucket is, "key" or "space". `costs` are tokens by endpoint, where they differ from the usual. `forms` is
    a JSON file of the forms each space has, see `sandbox.forms`; without it there is a small set. `/search`
    shows a change `search_lag` seconds after it was applied. `unknowns` answers what nobody knows of Qomon.
    `staff` is how often a second, on average, each of `ACTS` happens; those not named never do.
    """

    host: str = "127.0.0.1"
    port: int = 0
    burst: int = 100
    rate: float = 10.0
    unlimited: bool = False
    lag: float = 2.0
    latency: float = 0.0
    seed: int = 0
    contacts: int = 0
    faults: Path | None = None
    api_key: str | None = None
    retry_after: str | None = None
    spaces: int = 1
    keys: int = 1
    bucket: str = "key"
    costs: Mapping[str, int] = field(default_factory=dict)
    forms: Path | None = None
    search_lag: float = 1.0
    unknowns: Unknowns = field(default_factory=Unknowns)
    staff: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what cannot be meant, with a ValueError of one line."""
        if self.burst < 1:
            raise ValueError(f"burst is {self.burst}: at least one token is needed")
        if not 0 < self.rate < math.inf:
            raise ValueError(f"rate is {self.rate}: it must be above 0 tokens per second")
        if not self.lag >= 0 or not self.latency >= 0 or not self.search_lag >= 0:
            raise ValueError("lag, search_lag and latency are seconds, 0 or more")
        if self.contacts < 0:
            raise ValueError(f"contacts is {self.contacts}: it must be 0 or more")
        for name, text in (("api_key", self.api_key), ("retry_after", self.retry_after)):
            if text and not (text.isascii() and text.isprintable()):
                raise ValueError(f"{name} goes into a header: it must be plain ASCII")
        if self.spaces < 1 or self.keys < 1:
            raise ValueError("spaces and keys are numbers from 1 on")
        if self.bucket not in BUCKETS:
            raise ValueError(f"bucket is {self.bucket!r}: it must be {' or '.join(BUCKETS)}")
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port is {self.port}: it must be 0 to 65535")
        _check_costs(self.costs)
        _check_staff(self.staff)

    def key(self, space: int = 0, turn: int = 0) -> str:
        """Return an API key: the given one is the first, the others follow from the seed."""
        if self.api_key and space == turn == 0:
            return self.api_key
        number = f" {space}.{turn}" if space or turn else ""
        draw = random.Random(f"{self.seed} key{number}")  # noqa: S311 - it opens nothing but a sandbox
        return f"sandbox-{draw.getrandbits(64):016x}"


def _check_costs(costs: Mapping[str, int]) -> None:
    known = [name for name in ENDPOINTS if name != "*"]
    for endpoint, cost in costs.items():
        if endpoint not in known:
            raise ValueError(f"cost of {endpoint!r}: there is no such endpoint, only {', '.join(known)}")
        if cost < 0:
            raise ValueError(f"cost of {endpoint} is {cost}: it must be 0 tokens or more")


def _check_staff(staff: Mapping[str, float]) -> None:
    for act, rate in staff.items():
        if act not in ACTS:
            raise ValueError(f"staff cannot {act!r}, only {', '.join(ACTS)}")
        if not 0 <= rate <= MOST_ACTS:
            raise ValueError(f"staff {act} is {rate}: it must be 0 to {MOST_ACTS} a second")
