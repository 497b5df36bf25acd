"""`python -m syncengine.sandbox`: a sandbox of its own process."""

import argparse
from pathlib import Path

from syncengine.sandbox import SandboxOptions, run


def main(arguments: list[str] | None = None) -> None:
    """Read the flags and run until SIGTERM or SIGINT."""
    defaults = SandboxOptions()
    parser = argparse.ArgumentParser(prog="python -m syncengine.sandbox", description="A local Qomon.")
    parser.add_argument("--host", default=defaults.host, help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=defaults.port, help="0: any free port (%(default)s)")
    parser.add_argument(
        "--burst", type=int, default=defaults.burst, help="tokens in a full bucket (%(default)s)"
    )
    parser.add_argument("--rate", type=float, default=defaults.rate, help="tokens per second (%(default)s)")
    parser.add_argument("--unlimited", action="store_true", help="announce a million of each instead")
    parser.add_argument(
        "--lag", type=float, default=defaults.lag, help="seconds from 202 to applied (%(default)s)"
    )
    parser.add_argument(
        "--latency", type=float, default=defaults.latency, help="seconds before each answer (%(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=defaults.seed, help="of people, key and faults (%(default)s)"
    )
    parser.add_argument(
        "--contacts",
        type=int,
        default=defaults.contacts,
        metavar="N",
        help="people to start with (%(default)s)",
    )
    parser.add_argument("--faults", type=Path, metavar="FILE", help="TOML file of faults")
    parser.add_argument("--api-key", help="the key clients must send (default: one made from the seed)")
    parser.add_argument("--retry-after", metavar="TEXT", help="Retry-After header of a 429 (default: none)")
    try:
        options = SandboxOptions(**vars(parser.parse_args(arguments)))
    except ValueError as error:
        parser.error(str(error))
    run(options)


if __name__ == "__main__":
    main()
