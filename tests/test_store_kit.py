"""What the tests of the state store share, and the tests of exactly that."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from syncengine.config import Settings
from syncengine.load import LoadReport, load, open_mapped
from syncengine.model import Change, Receipt, Result
from syncengine.store import sending
from syncengine.store.lock import RunLock
from syncengine.store.store import Store

SUFFIXES = ("", "-wal", "-shm", "-journal")

FIELDS = {
    "firstname": "first",
    "surname": "last",
    "mail": "mail",
    "birthdate": {"column": "born", "format": "%d/%m/%Y"},
    "phone": "phone",
}
COLUMNS = ("id", "first", "last", "mail", "born", "phone")


class Wall:
    """A clock that moves when it is told to."""

    def __init__(self, at: float = 1_700_000_000.0) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


@contextmanager
def opened(path: Path, now: Wall | None = None) -> Iterator[Store]:
    with RunLock(path) as lock:
        store = Store(path, lock=lock, now=now or Wall())
        try:
            yield store
        finally:
            store.close()


def row(key: str, **cells: str) -> dict[str, str]:
    """Return a CSV row of a person with a mail and names, so that nothing holds it."""
    plain = {
        "first": "Ada",
        "last": f"Last{key}",
        "mail": f"{key.lower()}@example.org",
        "born": "",
        "phone": "",
    }
    return {"id": key, **plain, **cells}


def write_csv(path: Path, rows: list[dict[str, str]]) -> Path:
    lines = [",".join(COLUMNS)] + [",".join(row[name] for name in COLUMNS) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def settings_for(state: Path, source: Path | None, *, snapshot: bool = False, **sections: Any) -> Settings:
    table: dict[str, Any] = {"state": {"path": str(state)}, "fields": FIELDS, **sections}
    if source is not None:
        table["source"] = {"path": str(source), "key": "id", "snapshot": snapshot}
    return Settings.from_mapping(table, environ={})


def load_rows(
    store: Store, rows: list[dict[str, str]], *, snapshot: bool = False, allow_shrink: bool = False
) -> LoadReport:
    source = write_csv(store.path.with_name("people.csv"), rows)
    settings = settings_for(store.path, source, snapshot=snapshot)
    return load(store, open_mapped(settings), allow_shrink=allow_shrink)


def person(name: str, **fields: Any) -> dict[str, Any]:
    return {"firstname": "Ada", "surname": f"Last{name}", "mail": f"{name.lower()}@example.org", **fields}


def claim_due(store: Store, run: int, limit: int = 1000) -> list[Change]:
    return sending.claim(store, sending.due_page(store, "", limit), run=run).changes


def settle_all(store: Store, run: int, changes: list[Change], result: Result = Result.ACCEPTED) -> None:
    receipts = [Receipt(change, result, reason="because") for change in changes]
    sending.settle(store, sending.Batch(receipts=receipts), run=run)


def send_due(store: Store, result: Result = Result.ACCEPTED) -> int:
    """Send everything that is due, in a run of its own that ends."""
    run = store.begin_run("sync")
    changes = claim_due(store, run)
    settle_all(store, run, changes, result)
    store.end_run(run, outcome="done", reason=None, code=0, report={})
    return len(changes)


def due_keys(store: Store) -> list[str]:
    return [candidate.key for candidate in sending.due_page(store, "", 100_000)]


def contents(store: Store, columns: str = "*") -> dict[str, tuple[Any, ...]]:
    """Return the contacts as they stand, by key."""
    with store.reading() as connection:
        rows = connection.execute(f"SELECT key, {columns} FROM contacts ORDER BY key").fetchall()
    return {row[0]: tuple(row[1:]) for row in rows}


def crash(store: Store) -> None:
    """Leave the store as a killed process leaves it: nothing is closed in order but the descriptor."""
    store.connection.close()


def raw_bytes(path: Path) -> bytes:
    """Read the store's files from another process: a close in this one would drop SQLite's locks."""
    code = (
        "import sys, pathlib\n"
        "for suffix in ('', '-wal', '-shm', '-journal', '.new', '.new-wal', '.new-journal'):\n"
        "    file = pathlib.Path(sys.argv[1] + suffix)\n"
        "    if file.exists(): sys.stdout.buffer.write(file.read_bytes())\n"
    )
    return subprocess.run([sys.executable, "-c", code, str(path)], check=True, capture_output=True).stdout


def child(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a Python process that runs `code`."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(Path(__file__).parent)},
    )


def counts_of(report: LoadReport) -> Mapping[str, int]:
    """Return the counts of a load that are not zero."""
    return {name: count for name, count in report.counts().items() if count}


def test_a_row_of_the_kit_is_due_and_held_by_nothing(tmp_path: Path) -> None:
    with opened(tmp_path / "state.db") as store:
        assert counts_of(load_rows(store, [row("A"), row("B")])) == {"read": 2, "new": 2}
        assert due_keys(store) == ["A", "B"]
        assert send_due(store) == 2
        assert due_keys(store) == []
