"""The HTTP edge: one session to one space, one request, one attempt; foreign errors become ours here.

Settings follow what aiohttp is known to do (measured with 3.14.5): a redirect turns a POST into a GET whose
2xx reads as success, so none is followed; an unread body costs the connection, so each is read, up to a cap;
a body is never unpacked, so a compression bomb stays small; the repr of a response error holds the bearer
token, so none leaves this file.

Only an error in making the connection says that nothing was sent. aiohttp's UploadTracker cannot: it counts
an attempt before it connects, and its bytes written stay 0 when a connection breaks that had taken some.
"""

from __future__ import annotations

import asyncio
import platform
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp
import orjson
from pydantic import SecretStr

from syncengine import __version__
from syncengine.errors import (
    DestinationError,
    ProtocolError,
    RateHeaders,
    RateLimitedError,
    RejectedError,
    TransientError,
    UnauthorizedError,
)
from syncengine.outcome import Outcome, outcome_of
from syncengine.qomon.answers import is_plain, problem_of, rate_headers, server_date, summary

T = TypeVar("T")

BODY_CAP = 65_536
"""Bytes read of an answer that need not be long."""
READ_CAP = 16 * 1024 * 1024
"""Bytes read of an answer that may be: a page of 1,000 contacts with all their answers has a few million."""
KEEPALIVE_SECONDS = 4.0
"""Below what servers commonly close at: a POST on a connection they just closed is not retried by aiohttp."""
CONNECT_SECONDS = 10.0
TLS_CLOSING_SECONDS = 0.25
"""What encrypted connections need to close after their session (aiohttp documentation, graceful shutdown)."""
USER_AGENT = f"syncengine/{__version__} (Python {platform.python_version()})"
"""Our own: an integrator saw Qomon block a library's default (Parti-Equinoxe/equinoxe_api)."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. `body`: up to the cap; `is_whole`: that is all of it. `date`: the server's clock.

    `names`: how its headers are spelled.
    """

    status: int
    content_type: str
    encoding: str
    body: bytes = field(repr=False)
    is_whole: bool
    rate: RateHeaders
    date: datetime | None
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Read:
    """A read's answer: its JSON object, None for a 404, and what it told of the bucket."""

    content: dict[str, Any] | None = field(repr=False)
    rate: RateHeaders


class Wire:
    """A session with one space. Open it as an async context.

    `in_flight` requests may be open at once; `timeout` seconds bound one request, all included. TLS is always
    verified; proxies and passwords of the environment are never used, only `proxy` (`http://host:port`).
    """

    def __init__(
        self, base_url: str, api_key: SecretStr, *, in_flight: int, timeout: float, proxy: str | None = None
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._key = api_key
        self._in_flight = in_flight
        self._timeout = timeout
        self._proxy = proxy

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._in_flight, keepalive_timeout=KEEPALIVE_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                total=self._timeout,
                connect=min(CONNECT_SECONDS, self._timeout / 2),
                sock_read=self._timeout,
            ),
            auto_decompress=False,
            trust_env=False,
            raise_for_status=False,
            proxy=self._proxy,
        )
        # aiohttp repeats a GET on a connection found dead by itself: unpaid and uncounted (3.14.5).
        if hasattr(self._session, "_retry_connection"):
            self._session._retry_connection = False  # noqa: SLF001 - there is no other switch
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._session.close()
        if self._base_url.startswith("https:"):
            await asyncio.sleep(TLS_CLOSING_SECONDS)

    def _headers(self) -> dict[str, str]:
        """Return each request's headers. As the session's own, the key would be told to a proxy, too."""
        return {
            "Authorization": f"Bearer {self._key.get_secret_value()}",
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": USER_AGENT,
        }

    async def send(self, method: str, path: str, body: bytes | None = None, *, most: int = BODY_CAP) -> Reply:
        """Send one request and read at most so many bytes of its answer, whatever its status.

        Raises TransientError (which says whether anything can have left us) or ProtocolError.
        """
        failure: DestinationError
        try:
            async with self._session.request(
                method, self._base_url + path, data=body, headers=self._headers(), allow_redirects=False
            ) as response:
                content, is_whole = await _read(response, most)
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ServerFingerprintMismatch):
            failure = ProtocolError(
                "the server's certificate is not valid for this host; nothing was sent. Check base_url and "
                "the machine's clock and certificates"
            )
        except aiohttp.ClientHttpProxyError as error:
            failure = TransientError(f"the proxy refused the connection (HTTP {error.status})", sent=False)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            failure = TransientError(f"could not connect ({_name(error)})", sent=False)
        except aiohttp.InvalidURL:
            failure = ProtocolError("base_url is not a usable address")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            failure = TransientError(f"no answer ({_name(error)})", sent=True)
        else:
            return _reply(response, content, is_whole=is_whole)
        raise failure  # out here: raised inside, it would carry the foreign error, and that one the key


def _reply(response: aiohttp.ClientResponse, content: bytes, *, is_whole: bool) -> Reply:
    headers: Mapping[str, str] = response.headers
    return Reply(
        status=response.status,
        content_type=headers.get("Content-Type", ""),
        encoding=headers.get("Content-Encoding", "").strip().lower(),
        body=content,
        is_whole=is_whole,
        rate=rate_headers(headers),
        date=server_date(headers),
        names=tuple(headers),
    )


def read_key(given: str | SecretStr) -> SecretStr:
    """Return a key that a header can carry. Raises ValueError for another."""
    key = given if isinstance(given, SecretStr) else SecretStr(given)
    if not re.fullmatch(r"[\x21-\x7e]+", key.get_secret_value()):
        raise ValueError("the API key is empty or holds characters that no header can carry; copy it again")
    return key


def check(reply: Reply, route: str, *, expected: int) -> None:
    """Return when a route gave the answer it gives; raise what any other answer means.

    `expected`: the route's status, whose body must be empty or look like the API's.
    """
    plain = not _is_packed(reply) and is_plain(reply.content_type, reply.body, is_whole=reply.is_whole)
    _check_status(reply, route, expected=expected, plain=plain)


def content_of(reply: Reply, route: str) -> dict[str, Any]:
    """Return the JSON object of a 200; raise what any other answer means.

    One that broke off is a TransientError: a read may be repeated.
    """
    if reply.status != HTTPStatus.OK:
        _check_status(reply, route, expected=HTTPStatus.OK, plain=True)
    if not reply.is_whole and len(reply.body) < READ_CAP:
        raise TransientError("the answer broke off", status=reply.status, sent=True, rate=reply.rate)
    try:
        content = None if _is_packed(reply) or not reply.is_whole else orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        content = None
    if not isinstance(content, dict) or str(content.get("status", "")).lower() in {"fail", "error"}:
        raise ProtocolError(
            _breach(reply, route), status=reply.status, rate=reply.rate, problem=problem_of(reply.body)
        )
    return content


def understood(route: str, read: Callable[[object], T], content: object) -> T:
    """Return what `read` makes of an answer; what it cannot read is not the API we know."""
    try:
        return read(content)
    except ValueError as error:
        message = f"the {route} route answered something unexpected: {error}"
    raise ProtocolError(message, status=HTTPStatus.OK)


def _check_status(reply: Reply, route: str, *, expected: int, plain: bool) -> None:
    status, rate = reply.status, reply.rate
    outcome = outcome_of(status, is_plain=plain, expected=expected)
    if outcome is Outcome.ACCEPTED:
        return
    problem = problem_of(reply.body)
    match outcome:
        case Outcome.THROTTLED:
            raise RateLimitedError("HTTP 429", status=status, sent=False, rate=rate, problem=problem)
        case Outcome.REJECTED:
            raise RejectedError(summary(status, problem), status=status, rate=rate, problem=problem)
        case Outcome.UNAUTHORIZED:
            raise UnauthorizedError(
                f"Qomon refused the API key (HTTP {status}): put a valid one in place",
                status=status,
                rate=rate,
                problem=problem,
            )
        case Outcome.UNKNOWN:
            raise TransientError(f"HTTP {status}", status=status, sent=True, rate=rate, problem=problem)
        case _:
            raise ProtocolError(_breach(reply, route), status=status, rate=rate, problem=problem)


async def _read(response: aiohttp.ClientResponse, most: int) -> tuple[bytes, bool]:
    """Read an answer's body up to `most` bytes; say whether that is all. A cut body costs the connection."""
    body = bytearray()
    try:
        while len(body) <= most:
            chunk = await response.content.read(most + 1 - len(body))
            if not chunk:
                return bytes(body), True
            body += chunk
    except (aiohttp.ClientPayloadError, aiohttp.ClientConnectionError, OSError):
        pass  # the status is known and decides
    response.close()
    return bytes(body[:most]), False


def _is_packed(reply: Reply) -> bool:
    """Say whether a body came compressed although none was asked for."""
    return bool(reply.body) and reply.encoding not in {"", "identity"}


def _breach(reply: Reply, route: str) -> str:
    status, content_type = reply.status, reply.content_type.split(";", maxsplit=1)[0].strip()[:60]
    content_type = "".join(sign for sign in content_type if " " <= sign <= "~")  # it may end in a log
    what = f"HTTP {status}" + (f" with {content_type}" if content_type else "")
    if 300 <= status < 400:
        why = "a redirect, which is never followed"
    elif _is_packed(reply):
        why = "compressed, which was not asked for"
    elif not reply.is_whole:
        why = f"longer than {READ_CAP // 2**20} MiB, ask for fewer contacts a page; or it is"
        why += " not what the API answers"
    else:
        why = "not what the API answers"
    return f"the {route} route answered {what}: {why}. Check [destination] base_url and any proxy between"


def _name(error: BaseException) -> str:
    """Name an error by its class: its own words may hold what we never log."""
    return type(error).__name__
