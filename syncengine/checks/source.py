"""Checks of the source: whether it can be read, has the mapped columns, and what its first rows give."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import islice

from syncengine.checks import Check, fault, not_checked
from syncengine.config import Settings
from syncengine.errors import ConfigError, RowRefusedError, SourceError
from syncengine.load import REFUSED_FROM, REFUSED_SHARE, OpenedSource, open_mapped
from syncengine.sources import Source, open_source

SAMPLE_ROWS = 1000
UNREAD = "the source cannot be read"
NO_FIELDS = "[fields] cannot be used"


@dataclass(slots=True)
class Sample:
    """The first rows of the source; `is_whole`: there are no others, `refused`: cannot be read exactly."""

    rows: int = 0
    refused: int = 0
    is_whole: bool = True


def check_source(
    settings: Settings, *, has_fields: bool, proven: Collection[str] = ()
) -> tuple[list[Check], OpenedSource | None]:
    """Check `[source]` and the columns of `[fields]`, unless those cannot be used.

    The file is read through once for its encoding, and its first rows are mapped. Returns the source too when
    it can be read and mapped. `proven`: see `mapping.compile_mapping`.
    """
    if settings.source is None:
        why = "no [source] is configured"
        return [Check("source", None, f"{why}: there is nothing to load"), not_checked("columns", why)], None
    try:
        if not has_fields:
            source = open_source(settings.source)
            return [Check("source", True, _told(source)), not_checked("columns", NO_FIELDS)], None
        opened = open_mapped(settings, proven)
        sample = _read(opened)
    except SourceError as error:
        return [fault("source", error), not_checked("columns", UNREAD)], None
    except ConfigError as error:
        return [Check("source", True, f"{settings.source.path} can be read"), fault("columns", error)], None
    return [Check("source", True, _told(opened.source)), _columns(opened, sample)], opened


def _read(opened: OpenedSource) -> Sample:
    sample = Sample()
    for _, row in islice(opened.source.rows(), SAMPLE_ROWS):
        sample.rows += 1
        try:
            opened.mapping(row)
        except RowRefusedError:
            sample.refused += 1
    sample.is_whole = sample.rows < SAMPLE_ROWS
    return sample


def _told(source: Source) -> str:
    told = [source.format.upper(), source.encoding]
    if source.columns is not None:
        told.append(f"{len(source.columns)} columns")
    return f"{source.path} can be read ({', '.join(told)})"


def _columns(opened: OpenedSource, sample: Sample) -> Check:
    unseen, refused = opened.mapping.unseen, sample.refused
    if unseen and sample.rows:
        names = ", ".join(map(repr, unseen))
        if sample.is_whole:
            return Check("columns", False, f"no record has {names}", "correct [fields] and [source] key")
        return Check("columns", None, f"not seen in the first {sample.rows:,} records: {names}")
    if not sample.rows:
        return Check("columns", True, "all mapped columns are there; there is no row yet")
    if not refused:
        ignored = len(opened.mapping.ignored)
        note = f"; {ignored:,} columns are no field of Qomon and ignored" if ignored else ""
        rows = f"{'all' if sample.is_whole else 'the first'} {sample.rows:,} rows can be read"
        return Check("columns", True, f"all mapped columns are there; {rows}{note}")
    rows = f"{'its' if sample.is_whole else 'its first'} {sample.rows:,} rows"
    told = f"all mapped columns are there; {refused:,} of {rows} would be refused"
    is_too_much = sample.rows >= REFUSED_FROM and refused > REFUSED_SHARE * sample.rows
    remedy = "syncengine load names their lines and why; it sends nothing"
    return Check("columns", not is_too_much, told + (", and so the file" if is_too_much else ""), remedy)
