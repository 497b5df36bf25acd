"""load: source -> contacts -> state store, all or nothing in effect.

Reads and maps row by row, hashes, and writes only what differs. Decides which files are refused; which rows
are refused is the sources' and the mapping's to say.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import orjson

from syncengine.config import Settings
from syncengine.errors import ConfigError, RowRefusedError, SourceError
from syncengine.hashing import canonical, content_hash
from syncengine.mapping import EMPTY_KEY, ContactMapping, compile_mapping
from syncengine.sections import SourceSettings
from syncengine.sources import Source, open_source
from syncengine.store.loading import (
    APPLY_ROWS,
    clear_staging,
    drop_load,
    finish_load,
    rows_of_last_load,
    take_effect,
)
from syncengine.store.probes import kept_by
from syncengine.store.staging import Conflict, Loaded, Staging
from syncengine.store.store import Store

BATCH_ROWS = 2000
BATCHES_TOGETHER = 5
"""Batches per transaction: keys in no order touch every page of their index, which then is written once."""
ERRORS_SHOWN = 100
REFUSED_SHARE = 0.2
REFUSED_FROM = 50
"""A file is refused when more than this share of at least so many rows is refused."""
SHRINK_SHARE = 0.5
"""A snapshot with fewer rows than this share of the last load's is refused."""


class LoadStopped(Exception):  # noqa: N818 - an order from outside, not an error
    """The load was asked to stop before its end; the contacts are as before."""


@dataclass(slots=True)
class LoadReport:
    """What a load did. All count rows of the source, `missing` counts contacts."""

    read: int = 0
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    refused: int = 0
    forgotten: int = 0
    missing: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)
    ignored: tuple[str, ...] = ()
    keyless: int = 0
    """Refused rows that may stand for anybody: their key cannot be read."""

    def counts(self) -> dict[str, int]:
        """Return the seven counts by name."""
        return {
            "read": self.read,
            "new": self.new,
            "changed": self.changed,
            "unchanged": self.unchanged,
            "refused": self.refused,
            "forgotten": self.forgotten,
            "missing": self.missing,
        }

    def as_json(self) -> dict[str, Any]:
        """Return the object of `load --json`."""
        return {**self.counts(), "errors": self.errors, "ignored": list(self.ignored)}


@dataclass(frozen=True, slots=True)
class OpenedSource:
    """A source whose header has been read and a mapping that fits it."""

    settings: SourceSettings
    source: Source
    mapping: ContactMapping


def open_mapped(settings: Settings, proven: Collection[str] = ()) -> OpenedSource:
    """Open the configured source and compile its mapping. `proven`: see `compile_mapping`.

    Raises ConfigError when none is configured or a configured column is missing, SourceError when the
    file is refused as a whole.
    """
    if settings.source is None:
        raise ConfigError("no [source] is configured; add it to the configuration, with its path and key")
    source = open_source(settings.source)
    mapping = compile_mapping(
        settings.fields, settings.source.key, source.columns, path=source.path, proven=proven
    )
    if mapping.is_empty:
        raise ConfigError(
            f"{source.path}: no column is called like a field of Qomon, and no [fields] map them; let "
            "syncengine init write some, and look them over"
        )
    return OpenedSource(settings.source, source, mapping)


def open_for(store: Store, settings: Settings) -> OpenedSource:
    """Open the configured source for a store, which knows what its space was shown to keep."""
    return open_mapped(settings, kept_by(store))


def load(
    store: Store,
    opened: OpenedSource,
    *,
    allow_shrink: bool = False,
    run: int | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int], None] = lambda _rows: None,
) -> LoadReport:
    """Load a source into the store. Runs in the store's thread.

    Raises SourceError when the file is refused, ConfigError when it lacks a configured name, LoadStopped when
    `should_stop` said so; in each case the contacts are as before.
    """
    finish_load(store)  # one that an error cut short in this process
    with store.writing() as connection:
        clear_staging(connection)
        previous = rows_of_last_load(connection)
        tombstones = frozenset(bytes(row[0]) for row in connection.execute("SELECT digest FROM tombstones"))
        number = connection.execute(
            "INSERT INTO loads (path, started, state, snapshot, mapping) VALUES (?, ?, 'staging', ?, ?)",
            (opened.source.path, store.now(), opened.settings.snapshot, opened.mapping.digest),
        ).lastrowid
        staging = Staging(connection, secret=store.secret(), tombstones=tombstones)
    try:
        report = _gather(store, staging, opened, should_stop, progress)
        refuse_file(report, opened, previous, allow_shrink=allow_shrink)
    except (ConfigError, SourceError):
        drop_load(store, number, "refused")
        raise
    except LoadStopped:
        drop_load(store, number, "interrupted")
        raise
    with store.writing() as connection:
        connection.execute(
            "UPDATE loads SET state = 'applying', counts = ? WHERE id = ?",
            (orjson.dumps(report.counts()).decode(), number),
        )
        if report.new + report.changed + staging.moved <= APPLY_ROWS:
            take_effect(connection, number, run=run, now=store.now())
            return report
    finish_load(store, run=run)
    return report


def _gather(
    store: Store,
    staging: Staging,
    opened: OpenedSource,
    should_stop: Callable[[], bool],
    progress: Callable[[int], None],
) -> LoadReport:
    report = LoadReport()
    stream = batches(opened)
    before = -1
    while report.read > before:
        before = report.read
        with store.writing():
            for rows, refusals, count in islice(stream, BATCHES_TOGETHER):
                if should_stop():
                    raise LoadStopped
                stage(staging, report, rows, refusals, count)
                progress(report.read)
    with store.writing():
        finish_staging(staging, report, opened)
    return report


Refusal = tuple[int, str | None, str | None, str]
"""line, key if it is known, column, reason"""


def batches(opened: OpenedSource) -> Iterator[tuple[list[Loaded], list[Refusal], int]]:
    """Yield the source in batches: the rows that became contacts, the refused ones, the rows read."""
    mapping = opened.mapping
    stream = opened.source.rows()
    while chunk := list(islice(stream, BATCH_ROWS)):
        rows: list[Loaded] = []
        refusals: list[Refusal] = []
        for line, row in chunk:
            try:
                key, contact = mapping(row)
            except RowRefusedError as error:
                refusals.append((line, mapping.key_of(row), error.column, error.reason))
                continue
            content = canonical(contact)
            rows.append(Loaded(line, key, contact, content, content_hash(content)))
        yield rows, refusals, len(chunk)


def stage(
    staging: Staging, report: LoadReport, rows: list[Loaded], refusals: list[Refusal], count: int
) -> None:
    """Gather one batch into `staging` and the running counts."""
    report.read += count
    staging.add(rows)
    _refuse(staging, report, refusals)


def finish_staging(staging: Staging, report: LoadReport, opened: OpenedSource) -> None:
    """Settle what only the whole file shows: contradicting keys, missing contacts, the counts."""
    for conflict in staging.conflicts():
        _refuse(staging, report, _contradictions(conflict, opened.settings.key))
    # a refused row without a readable key may be anybody's: then nobody is newly called missing
    report.missing = staging.settle_presence(snapshot=opened.settings.snapshot and not report.keyless)
    report.new, report.changed = staging.new, staging.changed
    report.unchanged, report.forgotten = staging.unchanged, staging.forgotten
    report.ignored = opened.mapping.ignored
    report.errors.sort(key=lambda error: int(error["line"]))
    total = report.new + report.changed + report.unchanged + report.refused + report.forgotten
    assert report.read == total, f"{report.read} rows read, {total} accounted for"


def _contradictions(conflict: Conflict, key_column: str) -> list[Refusal]:
    lines = conflict.lines
    named = ", ".join(str(line) for line in lines[:10]) + (", …" if len(lines) > 10 else "")
    reason = f"the key stands on several rows with different content (lines {named})"
    return [(line, conflict.key, key_column, reason) for line in conflict.unrefused]


def _refuse(staging: Staging, report: LoadReport, refusals: list[Refusal]) -> None:
    refusals = [refusal for refusal in refusals if not staging.forgets(refusal[1])]
    staging.refuse(refusals)
    report.refused += len(refusals)
    report.keyless += sum(key is None and reason != EMPTY_KEY for _, key, _, reason in refusals)
    for line, _, column, reason in refusals:
        if len(report.errors) < ERRORS_SHOWN:
            report.errors.append({"line": line, "column": column, "reason": reason})


def refuse_file(report: LoadReport, opened: OpenedSource, previous: int, *, allow_shrink: bool) -> None:
    """Raise SourceError when the file as a whole is not to be believed. `previous`: rows of the last load.

    ConfigError when no record of a JSON file has a configured name: CSV headers are checked before.
    """
    path = opened.source.path
    unseen = opened.mapping.unseen
    if report.read and opened.settings.key in unseen:
        raise SourceError(
            f"no record has {opened.settings.key!r}; nothing was loaded. "
            "Set [source] key to the name that identifies a person",
            path=path,
        )
    if report.read and unseen:
        names = ", ".join(map(repr, unseen))
        raise ConfigError(f"{path}: no record has {names}, named in [fields]; correct the name there")
    if report.read >= REFUSED_FROM and report.refused > REFUSED_SHARE * report.read:
        first = report.errors[0]
        raise SourceError(
            f"{report.refused} of {report.read} rows are refused, more than {REFUSED_SHARE:.0%}; "
            f"nothing was loaded. The first is line {first['line']}: {first['reason']}. "
            "Mend the file or the [fields]",
            path=path,
        )
    if opened.settings.snapshot and not allow_shrink and report.read < SHRINK_SHARE * previous:
        raise SourceError(
            f"holds {report.read} rows where the last load had {previous}; nothing was loaded. "
            "If so many people really left, run again with --allow-shrink",
            path=path,
        )
