"""Where a space answers: the hosts Qomon has, and what a base URL and a proxy may look like. Pure.

Sources: Qomon API reference (the host); hotgluexyz/tap-qomon, README (the host of the other region, to be
used only when the space's API settings name it).
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

DEFAULT_URL = "https://incoming.qomon.app"
_PORTS = {"https": 443, "http": 80}
REGIONS = {DEFAULT_URL: "the default region", "https://incoming-us.qomon.app": "the region US"}


def read_base_url(value: str) -> str:
    """Return a base URL in its one spelling: lower case, no usual port, no last slash.

    Raises ValueError with what it must be.

    Plain http is only for this machine: the key and people's data would be readable on the way.
    """
    parts = _parts(value, example=DEFAULT_URL)
    if parts.query or parts.fragment:
        raise ValueError("must not hold a query or fragment")
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ValueError("must begin with https:// (plain http only to this machine)")
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    port = "" if parts.port in {None, _PORTS[parts.scheme]} else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}{parts.path}".rstrip("/")


def read_proxy(value: str, base_url: str) -> str:
    """Return the address of a proxy to a base URL. Raises ValueError with what it must be.

    The connection through it stays encrypted from end to end (CONNECT), so the proxy sees the host alone.
    """
    if not base_url.startswith("https:"):
        raise ValueError("is for an https base_url only: a proxy would read everything else")
    parts = _parts(value, example="http://proxy.example:3128")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("must be scheme, host and port alone, such as http://proxy.example:3128")
    return value.rstrip("/")


def region(base_url: str) -> str:
    """Name the region of a base URL, for people."""
    known = REGIONS.get(base_url)
    if known:
        return known
    return (
        "this machine" if is_loopback(urlsplit(base_url).hostname or "") else "a host that is not Qomon's own"
    )


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _parts(value: str, *, example: str) -> SplitResult:
    if re.search(r"[\s\x00-\x1f]", value):
        raise ValueError("must not contain spaces or control characters")
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise ValueError("has an impossible host or port") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"must look like {example}")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold a user name or password")
    return parts
