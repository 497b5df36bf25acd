"""The shape of the code: imports point one way, files stay small, words are the contract's."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "syncengine"
FILES = {
    ".".join(("syncengine", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}

LONGEST = 400
UNCLEAR = {"manager", "handler", "helper", "util", "utils", "common", "base", "service", "processor"}
SYNONYMS = {
    "deadletter": "rejected, or held",
    "dlq": "rejected, or held",
    "quarantine": "held",
    "quarantined": "held",
    "pending": "changed, or due",
    "deferred": "remaining",
    "superseded": "changed again",
    "unverified": "dropped, or unconfirmed",
    "synced": "accepted, or confirmed",
    "dirty": "due",
    "customer": "contact",
    "job": "run",
    "batchjob": "run",
    "cursor": "page, or watermark",
    "quota": "budget",
    "throttler": "budget",
}
"""Words for what the project calls otherwise."""
THE_OTHER_SIDE = {"pending"}
"""Words the sandbox may use: what a server has queued is not ours."""


def _imports(name: str) -> set[str]:
    """Return the modules of ours that a module imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {module for module in found if module in FILES and module != name}


IMPORTS = {name: _imports(name) for name in FILES}


def _importers(target: str) -> set[str]:
    return {name for name, found in IMPORTS.items() if target in found}


def _inside(package: str) -> set[str]:
    return {name for name in FILES if name == package or name.startswith(package + ".")}


def test_the_package_is_found() -> None:
    assert {"syncengine.engine", "syncengine.store.store", "syncengine.sandbox.api"} <= set(FILES)
    assert "syncengine.store.store" in IMPORTS["syncengine.engine"]


def test_errors_imports_nothing_of_ours() -> None:
    assert IMPORTS["syncengine.errors"] == set()


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("identity", set()),
        ("hashing", set()),
        ("model", {"errors", "identity"}),
        ("outcome", {"identity"}),
        ("problems", {"identity"}),
        ("tally", {"model"}),
        ("queue", set()),
        ("clock", {"errors"}),
        ("paying", {"budget", "errors", "model"}),
        ("destination", {"model", "paying"}),
        ("store.schema", set()),
        ("store.lock", {"errors", "store.file"}),
        ("store.file", {"errors"}),
        ("store.driver", {"errors"}),
        ("store.thread", set()),
    ],
)
def test_the_ground_floor_imports_only_what_lies_below_it(module: str, allowed: set[str]) -> None:
    assert IMPORTS[f"syncengine.{module}"] <= {f"syncengine.{name}" for name in allowed} | {
        "syncengine.store"
    }


def test_the_sandbox_is_the_other_side_of_the_wire() -> None:
    sandbox = _inside("syncengine.sandbox")
    for name in sandbox:
        assert IMPORTS[name] <= sandbox, name


def test_only_the_engine_knows_which_destination_there_is() -> None:
    for edge in ("client", "destination", "wire"):
        outside = _importers(f"syncengine.qomon.{edge}") - _inside("syncengine.qomon")
        assert outside == {"syncengine.space"}, edge
    assert _importers("syncengine.space") - _inside("syncengine.cli") == {"syncengine.access"}
    assert _importers("syncengine.access") == {"syncengine.engine"}


def test_the_engine_knows_the_destination_not_qomons_spellings() -> None:
    assert not IMPORTS["syncengine.engine"] & _inside("syncengine.qomon")
    for name in ("producer", "worker", "checkpoint", "retry", "budget", "destination", "tally", "progress"):
        assert not IMPORTS[f"syncengine.{name}"] & _inside("syncengine.qomon"), name


def test_the_store_knows_neither_where_contacts_come_from_nor_where_they_go() -> None:
    above = {"engine", "load", "plan", "producer", "worker", "mapping", "rules", "config", "destination"}
    forbidden = {f"syncengine.{name}" for name in above}
    for package in ("cli", "sources", "qomon", "sandbox"):
        forbidden |= _inside(f"syncengine.{package}")
    for name in _inside("syncengine.store"):
        assert not IMPORTS[name] & forbidden, name


def test_nobody_imports_the_command_line() -> None:
    cli = _inside("syncengine.cli")
    for name in set(FILES) - cli - {"syncengine.__main__"}:
        assert not IMPORTS[name] & cli, name


def test_imports_go_in_no_circle() -> None:
    """But for those that only the type checker follows."""
    graph = {name: found - _only_for_types(name) for name, found in IMPORTS.items()}
    packages = {name for name, path in FILES.items() if path.name == "__init__.py"}
    graph = {name: {found for found in targets if found not in packages} for name, targets in graph.items()}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path[path.index(name) :], name))
        if name not in done:
            for target in sorted(graph[name]):
                visit(target, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def _only_for_types(name: str) -> set[str]:
    found = set()
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for inner in ast.walk(node):
                if isinstance(inner, ast.ImportFrom) and inner.module:
                    found |= {inner.module} | {f"{inner.module}.{alias.name}" for alias in inner.names}
    return found


def test_no_file_is_long() -> None:
    long = {
        name: lines
        for name, path in FILES.items()
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > LONGEST
    }
    assert long == {}


# --- the store's files


def test_only_one_place_chooses_the_sqlite_driver() -> None:
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                modules = [node.module]
            for module in modules:
                assert module.partition(".")[0] not in {"sqlite3", "pysqlite3", "apsw"}, name
    users = {
        name
        for name, path in FILES.items()
        if "sqlite_utils.utils" in path.read_text(encoding="utf-8") and name.startswith("syncengine.store")
    }
    assert users == {"syncengine.store.driver"}


def test_nothing_opens_the_stores_files_but_sqlite() -> None:
    """Closing any descriptor of a live file drops SQLite's locks on it.

    `file` opens what is not live yet, `lock` its own file, `acts` the list of exports.
    """
    may_open = {"syncengine.store.file", "syncengine.store.lock", "syncengine.store.acts"}
    opening = {"open", "read_bytes", "read_text", "write_bytes", "write_text", "copy", "copyfile"}
    for name in _inside("syncengine.store") - may_open:
        for node in ast.walk(TREES[name]):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func).rpartition(".")[2]
                assert called not in opening, f"{name}, line {node.lineno}"


def test_every_transaction_begins_as_a_writing_one() -> None:
    for name in _inside("syncengine.store"):
        text = FILES[name].read_text(encoding="utf-8")
        assert not re.search(r'"BEGIN(?! IMMEDIATE)', text), name


# --- names


def _identifiers() -> Iterator[tuple[str, str]]:
    for name, tree in TREES.items():
        yield name, name.rpartition(".")[2]
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield name, node.name
            elif isinstance(node, ast.arg):
                yield name, node.arg
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield name, node.id
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                yield name, node.attr


def _parts(identifier: str) -> set[str]:
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", identifier)
    return {part.lower() for part in spaced.split("_") if part}


def test_no_name_says_nothing() -> None:
    found = {
        f"{module}: {identifier}"
        for module, identifier in _identifiers()
        if _parts(identifier) & UNCLEAR and identifier != "base_url" and not identifier.endswith("_base_url")
    }
    constants = {"BACKOFF_BASE"}  # the base of a power, not a class to inherit from
    assert {name for name in found if name.rpartition(" ")[2] not in constants} == set()


def test_no_name_is_a_synonym_of_the_contracts_words() -> None:
    found = set()
    for module, identifier in _identifiers():
        allowed = THE_OTHER_SIDE if module.startswith("syncengine.sandbox") else set()
        for part in _parts(identifier) & SYNONYMS.keys() - allowed:
            found.add(f"{module}: {identifier} (say {SYNONYMS[part]})")
        assert "dead_letter" not in identifier.lower(), f"{module}: {identifier}"
    assert found == set()
