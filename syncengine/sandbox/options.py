"""What a sandbox can be told before it starts, by the command line or by a test."""

import random
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SandboxOptions:
    """How a sandbox behaves; durations are float seconds.

    `port` 0 takes any free port. `burst` tokens are there at the start and `rate` tokens come back each
    second (Qomon guide, "Rate limits"); `unlimited` announces a million of each instead. An upsert is applied
    `lag` seconds after it was accepted, and every API answer waits `latency` seconds. `retry_after` is sent
    as it stands with each 429 (Qomon documents no such header, hence none by default). `contacts` synthetic
    people are there from the start. `seed` decides the people, the key and the faults; `faults` is a TOML
    file, see `sandbox.faults`.
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

    def __post_init__(self) -> None:
        """Refuse what cannot be meant, with a ValueError of one line."""
        if self.burst < 1:
            raise ValueError(f"burst is {self.burst}: at least one token is needed")
        if not self.rate > 0:
            raise ValueError(f"rate is {self.rate}: it must be above 0 tokens per second")
        if not self.lag >= 0 or not self.latency >= 0:
            raise ValueError("lag and latency are seconds, 0 or more")
        if self.contacts < 0:
            raise ValueError(f"contacts is {self.contacts}: it must be 0 or more")
        for name, text in (("api_key", self.api_key), ("retry_after", self.retry_after)):
            if text and not (text.isascii() and text.isprintable()):
                raise ValueError(f"{name} goes into a header: it must be plain ASCII")
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port is {self.port}: it must be 0 to 65535")

    def key(self) -> str:
        """Return the API key clients must send: the given one, else one that follows from the seed."""
        if self.api_key:
            return self.api_key
        draw = random.Random(f"{self.seed} key")  # noqa: S311 - it opens nothing but a sandbox
        return f"sandbox-{draw.getrandbits(64):016x}"
