"""`python -m syncengine.sandbox`: a sandbox of its own process. Here stand all its flags."""

import argparse
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from syncengine.sandbox.faults import ENDPOINTS
from syncengine.sandbox.options import ACTS, BUCKETS, SandboxOptions
from syncengine.sandbox.sandbox import run
from syncengine.sandbox.unknowns import QUESTIONS, Unknowns

PROGRAM = "python -m syncengine.sandbox"
SHORT = {"rename": "rename_option", "remove": "remove_option"}
"""Acts of staff by the short names that `--staff` takes too."""

_WIDTH = 100
_ENDPOINTS = f"another price of {', '.join(name for name in ENDPOINTS if name != '*')}; may be repeated"
_SEARCH_LAG = "from applied to seen by /search (%(default)s)"
_ACTS = f"what people do meanwhile: {', '.join(ACTS)} (default: nothing)"
_UNKNOWN = "answer one of the open questions below; may be repeated"


class FlagsError(ValueError):
    """The flags cannot be used; one line names the flag and what was meant."""


class Flags(argparse.ArgumentParser):
    """A parser that raises FlagsError instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong."""
        raise FlagsError(message)


def flags(prog: str) -> Flags:
    """Return the parser of all flags; their names are the fields of SandboxOptions."""
    usual = SandboxOptions()
    parser = Flags(
        prog=prog,
        usage="%(prog)s [flags]",
        description="Run a local Qomon: its limits, its matching rules and its silence, and nothing of its\n"
        "space. Prints one JSON line with base_url and api_key when it is ready; runs until Ctrl-C\n"
        "or SIGTERM. GET /_sandbox/stats, /_sandbox/contacts and /_sandbox/history show what it holds.",
        epilog=_questions(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    listen = parser.add_argument_group("where it listens")
    listen.add_argument("--host", default=usual.host, help="address (%(default)s)")
    listen.add_argument("--port", type=int, default=usual.port, metavar="N", help="0: any free one (0)")

    limits = parser.add_argument_group("tokens and keys")
    limit = limits.add_argument
    limit("--burst", type=int, default=usual.burst, metavar="TOKENS", help="in a full bucket (%(default)s)")
    limit("--rate", type=float, default=usual.rate, metavar="TOKENS", help="back per second (%(default)s)")
    limit("--unlimited", action="store_true", help="announce a million of each instead")
    limit("--cost", dest="costs", action="append", default=[], metavar="ENDPOINT=TOKENS", help=_ENDPOINTS)
    limit("--retry-after", metavar="TEXT", help="Retry-After header of a 429 (default: none)")
    limit("--api-key", metavar="KEY", help="of the first space (default: one made from the seed)")
    limit("--spaces", type=int, default=usual.spaces, metavar="N", help="how many (%(default)s)")
    limit("--keys", type=int, default=usual.keys, metavar="N", help="of each space (%(default)s)")
    limit("--bucket", choices=BUCKETS, default=usual.bucket, help="whose each bucket is (%(default)s)")

    time = parser.add_argument_group("times, in seconds").add_argument
    time("--lag", type=float, default=usual.lag, metavar="S", help="from 202 to applied (%(default)s)")
    time("--search-lag", type=float, default=usual.search_lag, metavar="S", help=_SEARCH_LAG)
    time("--latency", type=float, default=usual.latency, metavar="S", help="before an answer (%(default)s)")

    hold = parser.add_argument_group("what it holds, and what befalls it").add_argument
    hold("--seed", type=int, default=usual.seed, metavar="N", help="of all that is drawn (%(default)s)")
    hold("--contacts", type=int, default=usual.contacts, metavar="N", help="to start with (%(default)s)")
    hold("--forms", type=Path, metavar="FILE", help="JSON file of forms (default: a few)")
    hold("--faults", type=Path, metavar="FILE", help="TOML file of faults (default: none)")
    hold("--staff", default="", metavar="ACT=PER_SECOND,...", help=_ACTS)
    hold("--unknown", dest="unknowns", action="append", default=[], metavar="NAME=ANSWER", help=_UNKNOWN)
    return parser


def read(arguments: Sequence[str] | None, prog: str = PROGRAM) -> SandboxOptions:
    """Return the options that the flags ask for. Raises FlagsError; `--help` raises SystemExit."""
    given = vars(flags(prog).parse_args(arguments))
    try:
        given["costs"] = {name: _whole("--cost", text) for name, text in _pairs("--cost", given["costs"])}
        acts = _pairs("--staff", [part for part in given["staff"].split(",") if part])
        given["staff"] = {SHORT.get(act, act): _real("--staff", text) for act, text in acts}
        given["unknowns"] = Unknowns.read(dict(_pairs("--unknown", given["unknowns"])))
        return SandboxOptions(**given)
    except FlagsError:
        raise
    except ValueError as error:
        raise FlagsError(str(error)) from None


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the flags and run until SIGTERM or SIGINT."""
    try:
        options = read(arguments)
    except FlagsError as error:
        print(f"{PROGRAM}: {error}; see {PROGRAM} --help", file=sys.stderr)
        raise SystemExit(2) from None
    run(options)


def _pairs(flag: str, given: Sequence[str]) -> list[tuple[str, str]]:
    pairs = []
    for text in given:
        name, sign, value = text.partition("=")
        if not sign:
            raise FlagsError(f"argument {flag}: {text!r} has no '='")
        pairs.append((name.strip(), value.strip()))
    return pairs


def _whole(flag: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise FlagsError(f"argument {flag}: {text!r} is no whole number") from None


def _real(flag: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise FlagsError(f"argument {flag}: {text!r} is no number") from None


def _questions() -> str:
    """Return the open questions of `--unknown` with their answers, the usual one first."""
    usual = Unknowns()
    lines = ["open questions of --unknown, with their answers; the default comes first:"]
    for name, question in QUESTIONS.items():
        default = getattr(usual, name)
        others = [choice for choice in question.choices if choice != default]
        answers = (
            " | ".join(map(str, [default, *others])) if question.choices else f"{default}, or any number"
        )
        lines.append(f"  {name} = {answers}")
        lines += textwrap.wrap(
            question.text, _WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6, break_on_hyphens=False
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
