"""`syncengine demo`: the whole job on this machine, against a local Qomon, with proof."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from syncengine.cli.output import Page, say, write_json
from syncengine.cli.words import duration, number, plural
from syncengine.errors import ConfigError
from syncengine.model import EXIT_DONE, EXIT_FAILED

if TYPE_CHECKING:
    from syncengine.cli.child import Sandbox
    from syncengine.cli.proof import Proof

RATE, BURST = 1000, 100
QOMON_RATE, QOMON_BURST = 10, 100
CHANGES, JOINS = 37, 3


@click.command(short_help="See the whole job on this machine in under a minute.")
@click.option("--contacts", metavar="N", type=click.IntRange(100, 500_000), default=10_000, show_default=True,
              help="How many people to invent.")  # fmt: skip
@click.option(
    "--keep", metavar="DIR", type=click.Path(path_type=Path), help="Work in this new directory and keep it."
)
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object and nothing else on stdout.")
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of a bug.")
@click.option("--config", hidden=True, expose_value=False)
def demo(*, contacts: int, keep: Path | None, is_json: bool) -> int:
    """Show the whole job: a file of invented people, a local Qomon, load, sync, proof, changes, sync again.

    Nothing leaves this machine. Exit code 0 only if the local Qomon held exactly what the file
    says, each time.
    """
    from syncengine.cli.child import StepFailedError, sandbox  # noqa: PLC0415 - not needed for --help

    with _folder(keep) as folder, sandbox("--rate", str(RATE), "--burst", str(BURST)) as running:
        show = _Demonstration(folder, running, is_json=is_json)
        try:
            is_proven = show.run(contacts)
        except StepFailedError as error:
            show.found["error"] = str(error)
            is_proven = False
            say(str(error))
        code = EXIT_DONE if is_proven else EXIT_FAILED
        if is_json:
            write_json(show.found | {"proven": is_proven, "seconds": round(show.seconds, 1), "exit": code})
        else:
            show.conclude(is_proven=is_proven, keep=keep)
    return code


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="syncengine-demo-") as made:
            yield Path(made)
        return
    try:
        keep.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        raise ConfigError(f"{keep}: exists already; name a new directory") from None
    except OSError as error:
        raise ConfigError(f"{keep}: cannot be made: {error.strerror}") from None
    yield keep.absolute()


class _Demonstration:
    """Its steps, and what they found, for `--json`."""

    def __init__(self, folder: Path, sandbox: Sandbox, *, is_json: bool) -> None:
        self.folder = folder
        self.sandbox = sandbox
        self.is_json = is_json
        self.found: dict[str, Any] = {"syncs": [], "proofs": []}
        self._started = time.monotonic()
        self._step = 0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def run(self, contacts: int) -> bool:
        """Do all steps. Return whether every proof held and every sync sent and saw what it should."""
        from syncengine.cli import people  # noqa: PLC0415 - not needed for --help
        from syncengine.cli.load import write_load  # noqa: PLC0415
        from syncengine.cli.plan import write_plan  # noqa: PLC0415
        from syncengine.cli.sync import write_sync  # noqa: PLC0415

        file = self.folder / "members.csv"
        rows = people.invent(contacts)
        self._tell(
            f"A list of {plural(len(rows), 'invented member')} and a local Qomon",
            f"Qomon's upsert takes one contact per request. This one allows {RATE:,} a second, the real one "
            f"{QOMON_RATE}; it knows nobody yet.",
            f"syncengine sandbox --rate {RATE} --burst {BURST}",
        )
        people.write(file, rows)

        self._tell("A configuration, guessed from the file's header", "", "syncengine init members.csv")
        self._run("init", "members.csv")
        self._show(self._write_config)

        self._tell(
            "Load: the file into the state store",
            "The state store is one SQLite file. It remembers what was sent, so that only changes are.",
            "syncengine load",
        )
        self.found["load"] = loaded = self._run("load")
        self._show(lambda page: write_load(page, loaded))

        self._tell("Plan: what a sync would do", "Nothing is sent.", "syncengine plan")
        self.found["plan"] = plan = self._run("plan", *self._pace())
        self._show(lambda page: write_plan(page, plan, RATE))
        self.found["seconds_at_qomon"] = at_qomon = max(0, contacts - QOMON_BURST) / QOMON_RATE
        self._say(f"At Qomon's {QOMON_RATE} a second the same takes {duration(at_qomon)}.")

        self._tell(
            "Sync: send it, and look in Qomon for everybody",
            "Qomon answers 202 before it applies anything, so each contact is read back. May be killed at "
            "any moment; it goes on where it stopped.",
            "syncengine sync",
        )
        first = self._sync()
        self._show(lambda page: write_sync(page, first))
        is_good = self._prove() and self._did(first, contacts)

        people.edit(rows, CHANGES, JOINS)
        people.write(file, rows)
        self._tell(
            f"{CHANGES} members move house, {JOINS} join: sync again",
            f"{plural(len(rows), 'row')} are read again; {CHANGES + JOINS} are to be sent.",
            "syncengine sync",
        )
        second = self._sync()
        self._tell_sent(second, CHANGES + JOINS)
        is_good = self._prove() and self._did(second, CHANGES + JOINS) and is_good

        self._tell("Nothing changed: sync once more", "", "syncengine sync")
        third = self._sync()
        self._tell_sent(third, 0)
        return self._prove() and self._did(third, 0) and is_good

    def conclude(self, *, is_proven: bool, keep: Path | None) -> None:
        """Write the last words."""
        page = Page()
        page.line()
        page.line("Report", style="bold")
        for what, one in zip(
            ("first sync", "after changes", "without changes"), self.found["syncs"], strict=False
        ):
            page.fact(
                what,
                f"{number(one['sent'])} sent",
                f"{number(one['confirmed'])} confirmed, {plural(one['repeated'], 'repeat')}, "
                f"{plural(one['throttled'], 'answer')} of 429, {duration(one['seconds'])}",
                room=14,
            )
        equal = sum(proof["expected"] == proof["held"] == proof["equal"] for proof in self.found["proofs"])
        page.fact("proofs", f"{equal} of {len(self.found['proofs'])} hold")
        page.fact("took", duration(self.seconds))
        page.line()
        if is_proven:
            page.line("The local Qomon held exactly what the file says, each time.", style="bold green")
        else:
            page.line("The demonstration failed: see above what differed.", style="bold red")
        if keep is not None:
            page.line(f"File, configuration and state store are kept in {keep}")
        page.line("With your own file: syncengine init members.csv")
        page.write()

    def _pace(self) -> tuple[str, ...]:
        return "--set", f"destination.rate={RATE}", "--set", f"destination.burst={BURST}"

    def _run(self, *arguments: str) -> dict[str, Any]:
        from syncengine.cli.child import command  # noqa: PLC0415

        return command(
            *arguments,
            folder=self.folder,
            environment={
                "SYNCENGINE_DESTINATION_BASE_URL": self.sandbox.base_url,
                "QOMON_API_KEY": self.sandbox.api_key,
            },
        )

    def _sync(self) -> dict[str, Any]:
        report = self._run("sync", *self._pace())
        self.found["syncs"].append(report)
        return report

    def _prove(self) -> bool:
        from syncengine.cli.proof import prove  # noqa: PLC0415
        from syncengine.config import Settings  # noqa: PLC0415

        proof: Proof = prove(
            self.sandbox.base_url, Settings.load(self.folder / "syncengine.toml", environ={})
        )
        self.found["proofs"].append(proof.as_json())
        equal = (
            f"{number(proof.equal)} of {number(proof.expected)} contacts in the local Qomon equal the file"
        )
        if proof.holds:
            self._say(f"Proof: {equal}, field by field; it holds nobody else.", style="green")
        else:
            fields = ", ".join(f"{name} ({count})" for name, count in sorted(proof.differing_fields.items()))
            self._say(
                f"Proof failed: {equal}; it holds {number(proof.held)}; differing: {fields}", style="red"
            )
        return proof.holds

    def _tell(self, title: str, words: str, shown: str) -> None:
        self._step += 1

        def write(page: Page) -> None:
            page.line()
            page.line(f"{self._step}. {title}", style="bold cyan")
            if words:
                page.line(words)
            page.line(f"$ {shown}", style="dim")

        self._show(write)

    def _tell_sent(self, report: dict[str, Any], wanted: int) -> None:
        sent, seen = number(report["sent"]), number(report["confirmed"])
        told = f", {'all ' * (sent == seen)}{seen} seen in Qomon as sent" if report["sent"] else ""
        self._say(
            f"Sent {sent}{told}, unchanged {number(report['unchanged'])}, in {duration(report['seconds'])}."
        )
        if not self._did(report, wanted):
            self._say(f"Wrong: {number(wanted)} should have been sent and seen.", style="red")

    def _did(self, report: dict[str, Any], wanted: int) -> bool:
        """Say whether a sync sent as many contacts as it should, and saw all of them in Qomon."""
        did: tuple[str, int, int] = report["outcome"], report["sent"], report["confirmed"]
        return did == ("done", wanted, wanted)

    def _say(self, text: str, style: str | None = None) -> None:
        self._show(lambda page: page.line(text, style=style))

    def _write_config(self, page: Page) -> None:
        lines = (self.folder / "syncengine.toml").read_text("utf-8").splitlines()
        start = lines.index("[fields]")
        for line in lines[start : lines.index("", start)]:
            page.line(line, indent=2)

    def _show(self, write: Callable[[Page], None]) -> None:
        if not self.is_json:
            page = Page()
            write(page)
            page.write()
