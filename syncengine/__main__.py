"""`python -m syncengine` and the `syncengine` command."""

import sys


def main() -> None:
    """Run the command line and exit with its code."""
    from syncengine.cli.exits import run  # noqa: PLC0415 - nothing is imported before main is called

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
