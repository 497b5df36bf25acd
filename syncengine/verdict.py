"""What a sight of a contact in the destination means for what was accepted of it. Pure.

Rules of the read-back: confirmed when everything sent is seen; differs when it moved since and other values
are seen; dropped when it is not seen, or only as it was before, once the deadline is over and something
accepted later was seen. Until then nothing is decided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from syncengine.model import Verdict
from syncengine.partial import changed
from syncengine.seen import Difference, Seen, Space


class Claim(StrEnum):
    """Why a contact waits for a read."""

    AWAITING = "awaiting"  # accepted
    DOUBT = "doubt"  # sent without a definite answer
    DROPPED = "dropped"  # found to be dropped by an earlier run
    TWIN = "twin"  # settled before; now another one was seen that nothing tells apart
    DRIFT = "drift"  # confirmed before, and looked at again
    UNNEEDED = "unneeded"  # all it holds was seen applied before: nothing was left to send


@dataclass(frozen=True, slots=True)
class Unsettled:
    """A contact a read is to settle.

    `content`: what was accepted, or may have been; `applied`: all of ours that a read showed before, empty
    when none did. `date`: of the acceptance, Unix seconds of the server's clock.
    """

    n: int
    key: str = field(repr=False)
    claim: Claim
    remote_id: int | None
    content: Mapping[str, Any] = field(repr=False)
    applied: Mapping[str, Any] = field(repr=False)
    date: float
    is_current: bool


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was decided. `seen`: the sight it goes by, None when nothing was found.

    `twins`: ids of several sights that fit, none of which is the one. `lost`: fields that were not sent, were
    seen before, and are gone.
    """

    verdict: Verdict
    seen: Seen | None = None
    differences: tuple[Difference, ...] = ()
    lost: tuple[str, ...] = ()
    twins: tuple[int, ...] = ()


def judge(contact: Unsettled, sights: Sequence[Seen], space: Space, *, is_final: bool) -> Judgement | None:
    """Decide about a contact by everybody seen who may be it; None: not yet.

    `is_final`: the deadline is over and something accepted later was seen, so waiting ends.
    """
    compared = [(seen, space.differences(contact.content, seen)) for seen in sights]
    equal = [seen for seen, differences in compared if not differences]
    if equal:
        return _judge_equal(contact, equal, is_final=is_final)
    if contact.claim is not Claim.AWAITING:
        return None
    moved = [
        (seen, differences)
        for seen, differences in compared
        if has_moved(seen, contact.date) and not _is_as_before(contact, seen, space)
    ]
    if len(moved) == 1:
        seen, differences = moved[0]
        if is_final or _is_applied(contact, seen, differences):
            return _judge_different(contact, seen, differences)
        return None
    if not is_final:
        return None
    if moved:
        return Judgement(Verdict.DIFFERS, twins=tuple(seen.id for seen, _ in moved))
    return Judgement(Verdict.DROPPED)


def _is_as_before(contact: Unsettled, seen: Seen, space: Space) -> bool:
    """Say whether a contact updated in the very second of the acceptance is what it was before the send."""
    if not contact.applied or seen.updated is None or seen.updated >= int(contact.date) + 1:
        return False
    return not space.differences(contact.applied, seen)


def has_moved(seen: Seen, date: float) -> bool:
    """Say whether a contact was updated since `date`, as far as it says; the server counts whole seconds."""
    return seen.updated is None or seen.updated >= int(date)


def _judge_equal(contact: Unsettled, equal: Sequence[Seen], *, is_final: bool) -> Judgement | None:
    """Decide about a contact of which everything sent is seen, maybe more than once."""
    if len(equal) > 1:
        moved = [seen for seen in equal if has_moved(seen, contact.date)]
        if len(moved) != 1:
            return Judgement(Verdict.DIFFERS, twins=tuple(seen.id for seen in equal))
        equal = moved
    seen = equal[0]
    is_plain = not contact.applied or bool(changed(contact.applied, contact.content))
    if is_plain or is_final or contact.claim is not Claim.AWAITING or has_moved(seen, contact.date):
        return Judgement(Verdict.CONFIRMED, seen)
    return None  # what was seen applied before looks the same: this may be it, and ours still to come


def _is_applied(contact: Unsettled, seen: Seen, differences: Sequence[Difference]) -> bool:
    """Say whether something of what was sent is seen, so that the rest is not merely late."""
    if not contact.applied:
        return seen.created is not None and seen.created >= int(contact.date)
    sent = changed(contact.applied, contact.content)
    wrong = {difference.field for difference in differences}
    return any(not any(_is_of(name, field_) for field_ in wrong) for name in names_of(sent))


def _judge_different(contact: Unsettled, seen: Seen, differences: Sequence[Difference]) -> Judgement:
    lost: tuple[str, ...] = ()
    if contact.applied:
        names = names_of(changed(contact.applied, contact.content))
        lost = tuple(
            difference.field
            for difference in differences
            if difference.seen is None
            and difference.field != "notes"
            and not any(_is_of(name, difference.field) for name in names)
        )
    return Judgement(Verdict.DIFFERS, seen, tuple(differences), lost)


def names_of(contact: Mapping[str, Any]) -> list[str]:
    """Return the names of what a contact holds as differences name them: forms one by one."""
    names: list[str] = []
    for name, value in contact.items():
        if isinstance(value, list) and value and "value" in value[0]:
            names += dict.fromkeys(
                f"{name}.{answer['label']}" if "label" in answer else f"{name}.#{answer['id']}"
                for answer in value
            )
        else:
            names.append(name)
    return names


def _is_of(name: str, difference: str) -> bool:
    """Say whether a difference is one of a field, or of a part of it."""
    return difference == name or difference.startswith(f"{name}.")
