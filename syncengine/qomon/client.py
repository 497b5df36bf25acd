"""The HTTP edge: one session, one request, one attempt; foreign errors become ours here.

Settings follow what aiohttp is known to do (measured with 3.14.5): a redirect turns a POST into a GET whose
2xx reads as success, so none is followed; an unread body costs the connection, so each is read, up to a cap;
the repr of a response error holds the bearer token, so none leaves this file.

Only an error in making the connection says that nothing was sent. aiohttp's UploadTracker cannot: it counts
an attempt before it connects, and its bytes written stay 0 when a connection breaks that had taken some.
"""

from __future__ import annotations

import platform
from types import TracebackType
from typing import Self

import aiohttp
from pydantic import SecretStr

from syncengine import __version__
from syncengine.errors import (
    ProtocolError,
    RateLimitedError,
    RejectedError,
    TransientError,
    UnauthorizedError,
)
from syncengine.model import Change, Receipt, Result
from syncengine.outcome import Outcome, outcome_of
from syncengine.qomon.answers import is_plain, rate_headers, refusal
from syncengine.qomon.bodies import upsert_body

BODY_CAP = 65_536
KEEPALIVE_SECONDS = 4.0
"""Below what servers commonly close at: a POST on a connection they just closed is not retried by aiohttp."""
CONNECT_SECONDS = 10.0
USER_AGENT = f"syncengine/{__version__} (Python {platform.python_version()})"


class QomonDestination:
    """Qomon's upsert route. Open it as an async context.

    `in_flight` requests may be open at once; `timeout` seconds bound one request, all included.
    """

    def __init__(self, base_url: str, api_key: SecretStr, *, in_flight: int, timeout: float) -> None:
        self._url = f"{base_url}/contacts/upsert"
        self._key = api_key
        self._in_flight = in_flight
        self._timeout = timeout

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._in_flight, keepalive_timeout=KEEPALIVE_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                total=self._timeout,
                connect=min(CONNECT_SECONDS, self._timeout / 2),
                sock_read=self._timeout,
            ),
            headers={
                "Authorization": f"Bearer {self._key.get_secret_value()}",
                "Content-Type": "application/json",
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                "User-Agent": USER_AGENT,
            },
            auto_decompress=False,
            trust_env=False,
            raise_for_status=False,
        )
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def upsert(self, change: Change) -> Receipt:
        """POST /contacts/upsert: one attempt. Costs 1 token (observed), async: 202 means queued.

        Raises TransientError, RateLimitedError, RejectedError, ProtocolError or UnauthorizedError.
        """
        body = upsert_body(change)
        try:
            async with self._session.post(self._url, data=body, allow_redirects=False) as response:
                answer, is_whole = await _read(response)
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ServerFingerprintMismatch):
            raise ProtocolError(
                "the server's certificate is not valid for this host; nothing was sent. Check base_url and "
                "the machine's clock and certificates"
            ) from None
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise TransientError(f"could not connect ({_name(error)})", sent=False) from None
        except aiohttp.InvalidURL:
            raise ProtocolError("base_url is not a usable address") from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise TransientError(f"no answer ({_name(error)})", sent=True) from None
        return _receipt(change, response, answer, is_whole=is_whole)


def _receipt(change: Change, response: aiohttp.ClientResponse, body: bytes, *, is_whole: bool) -> Receipt:
    """Return the receipt of an acceptance; raise what any other answer means."""
    status, rate = response.status, rate_headers(response.headers)
    content_type = response.headers.get("Content-Type", "")
    match outcome_of(status, is_plain=is_plain(content_type, body, is_whole=is_whole)):
        case Outcome.ACCEPTED:
            return Receipt(change, Result.ACCEPTED, status=status, rate=rate)
        case Outcome.THROTTLED:
            raise RateLimitedError("HTTP 429", status=status, sent=False, rate=rate)
        case Outcome.REJECTED:
            reason, detail = refusal(status, body)
            raise RejectedError(reason, status=status, detail=detail, rate=rate)
        case Outcome.UNAUTHORIZED:
            raise UnauthorizedError(
                f"Qomon refused the API key (HTTP {status}); all contacts stay due. "
                "Put a valid key in place and run sync again",
                status=status,
                rate=rate,
            )
        case Outcome.UNKNOWN:
            raise TransientError(f"HTTP {status}", status=status, sent=True, rate=rate)
        case _:
            raise ProtocolError(_breach(status, content_type), status=status, rate=rate)


async def _read(response: aiohttp.ClientResponse) -> tuple[bytes, bool]:
    """Read an answer's body up to the cap; say whether that is all. A cut body costs the connection."""
    body = bytearray()
    try:
        while len(body) <= BODY_CAP:
            chunk = await response.content.read(BODY_CAP + 1 - len(body))
            if not chunk:
                return bytes(body), True
            body += chunk
    except (aiohttp.ClientPayloadError, aiohttp.ClientConnectionError, OSError):
        pass  # the status is known and decides
    response.close()
    return bytes(body[:BODY_CAP]), False


def _breach(status: int, content_type: str) -> str:
    what = f"HTTP {status}" + (
        f" with {content_type.split(';', maxsplit=1)[0].strip()[:60]}" if content_type else ""
    )
    where = "a redirect, which is never followed" if 300 <= status < 400 else "not what the API answers"
    return f"the upsert route answered {what}: {where}. Check [destination] base_url and any proxy between"


def _name(error: BaseException) -> str:
    """Name an error by its class: its own words may hold what we never log."""
    return type(error).__name__
