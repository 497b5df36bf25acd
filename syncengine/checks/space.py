"""Checks of what a space told: its limits, its clock, and whether it is the state file's."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from syncengine.checks import Check, not_checked
from syncengine.errors import RateHeaders
from syncengine.qomon.answers import BELIEVED
from syncengine.sections import DestinationSettings
from syncengine.store.glance import Glance

CLOCK_SECONDS = 60.0
"""Windows of a read-back overlap by so much: a clock that is further off would miss contacts."""

LONGEST_SECONDS = 365 * 86_400.0
"""A duration that is told as a number; a tiny share makes endless ones."""


def limits_of(heard: RateHeaders, wanted: DestinationSettings) -> dict[str, float | None]:
    """Return the bucket as the headers told it (tokens, tokens a second), and what our share makes of it."""
    heard = _believed(heard)
    rate = wanted.rate if heard.rate is None else heard.rate
    return {
        "burst": heard.burst,
        "rate": heard.rate,
        "remaining": heard.remaining,
        "share": wanted.share,
        "contacts_per_hour": math.floor(rate * wanted.share * 3600),
    }


def check_limits(heard: RateHeaders, wanted: DestinationSettings, due: int) -> Check:
    """Say the pace that Qomon allows, and what it means for the `due` contacts.

    One contact is one request of one token (observed). Source: Qomon guide, "Rate limits".
    """
    heard = _believed(heard)
    if heard.rate is None or heard.burst is None:
        return Check(
            "limits",
            None,
            "the answers had no rate-limit headers that make sense: [destination] "
            f"rate = {_amount(wanted.rate)} and burst = {_amount(wanted.burst)} are used",
            "make sure that they are your space's; nothing corrects them",
        )
    rate = heard.rate * wanted.share
    told = f"{_amount(heard.burst)} tokens at once, {_amount(heard.rate)} a second"
    if wanted.share < 1:
        told += f", of which our share is {wanted.share:.0%}"
    told += f": {math.floor(rate * 3600):,} contacts an hour"
    if heard.remaining is not None:
        told += f"; {_amount(heard.remaining)} tokens are left now"
    if due:
        wait = max(0.0, due - (heard.remaining or 0.0) * wanted.share) / rate
        told += f"; the {due:,} contacts that are due take {_about(wait)}"
    return Check("limits", True, told)


def _believed(heard: RateHeaders) -> RateHeaders:
    """Return what can be meant: no number of an answer may be too large or too small to reckon with."""
    least, most = BELIEVED

    def is_meant(number: float | None, least: float) -> bool:
        return number is not None and least <= number <= most

    return replace(
        heard,
        burst=heard.burst if is_meant(heard.burst, least) else None,
        rate=heard.rate if is_meant(heard.rate, least) else None,
        remaining=heard.remaining if is_meant(heard.remaining, 0) else None,
    )


def _amount(tokens: float) -> str:
    return f"{tokens:,.0f}" if tokens.is_integer() else f"{tokens:,.1f}"


def _about(seconds: float) -> str:
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    if seconds > LONGEST_SECONDS:
        return "more than a year"
    minutes = round(seconds / 60)
    return f"about {minutes} min" if minutes < 120 else f"about {minutes // 60} h {minutes % 60:02} min"


def check_clock(difference: float) -> Check:
    """Compare this machine's clock with the server's; `difference`: seconds that ours is ahead."""
    apart = abs(difference)
    if apart <= CLOCK_SECONDS:
        return Check("clock", True, f"within {max(2, math.ceil(apart))} s of Qomon's")
    way = "ahead of" if difference > 0 else "behind"
    return Check("clock", False, f"{apart:,.0f} s {way} Qomon's", "let NTP set this machine's clock")


def check_space(
    path: Path, glance: Glance | None, base_url: str, key: str | None, *, seen: int | None, why: str | None
) -> Check:
    """Say which space the key opens, and whether it is the one of the state file at `path`.

    `glance`: what the state file knows, None when there is none. `key`: None without a valid one. `seen`: the
    group_id that a contact showed, None too while the space is empty. `why` the space could not be asked, or
    None.
    """
    another = "name another [state] path for another space"
    if glance is not None and glance.base_url not in {None, base_url}:
        told = f"{path} belongs to the space at {glance.base_url}, not {base_url}"
        return Check("space", False, told, f"correct [destination] base_url, or {another}")
    bound = glance.group_id if glance is not None else None
    if bound is not None and seen is not None and bound != seen:
        told = f"{path} belongs to the space with group_id {bound}, but this key opens {seen}"
        return Check("space", False, told, f"use the right key, or {another}")
    is_new = glance is not None and key is not None and glance.is_other_key(key)
    if is_new and (bound is None or (why is None and seen is None)):
        told = f"{path} was last used with another key, and no contact proves that the space is the same"
        return Check("space", False, told, f"if it is: syncengine sync --same-space, once; if not, {another}")
    if why is not None:
        return not_checked("space", why)
    if seen is None:
        return Check("space", True, "it holds no contact yet that would show its group_id")
    whose = ""
    if bound is not None:
        whose = ", the state file's; the key is a new one" if is_new else ", the state file's"
    return Check("space", True, f"group_id {seen}{whose}")
