"""HTTP/1.1 on asyncio and httptools: one `Connection` per client, answers in the order of the requests.

Owns framing, limits and the ways a connection ends; knows nothing of Qomon. Bodies may be chunked, requests
may be pipelined, `Expect: 100-continue` is honoured, an upgrade is refused.
"""

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import cast

import httptools

from syncengine.sandbox.stats import Stats
from syncengine.sandbox.wire import Answer, Request, head

MAX_HEAD = 64 * 1024
MAX_BODY = 1024 * 1024
_MAX_WAITING = 64  # pipelined requests read ahead of the one being answered
_DROPS = 100  # pieces that a slow body is sent in, at most
_LINGER = 1.0  # seconds to swallow what a refused client still sends, so that it can read the refusal


class Connection(asyncio.Protocol):
    """One client's connection; `answer` decides, `open_connections` lets the server close all of them."""

    def __init__(
        self, answer: Callable[[Request], Answer], stats: Stats, open_connections: "set[Connection]"
    ) -> None:
        self._answer = answer
        self._stats = stats
        self._open = open_connections
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Request] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._is_busy = False
        self._is_ending = False
        self._is_in_head = True
        self._head_size = 0
        self._authorization = ""
        self._url = b""
        self._body: list[bytes] = []

    # The transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport and count the connection."""
        self._transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpRequestParser(self)
        self._open.add(self)
        self._stats.connections += 1

    def data_received(self, data: bytes) -> None:
        """Parse what came; a request that cannot be read ends the connection after its refusal."""
        if self._is_ending:
            return
        self._head_size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError:
            raise  # a mistake of ours: let the loop report it
        except httptools.HttpParserError:
            self._break(400)
        except httptools.HttpParserUpgrade:
            self._break(501)
        else:
            if self._is_in_head and self._head_size > MAX_HEAD:
                self._break(431)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Forget what was still to be answered."""
        if self._timer:
            self._timer.cancel()
        if self._is_busy:
            self._is_busy = False
            self._stats.end()
        self._is_ending = True
        self._waiting.clear()
        self._open.discard(self)

    def abort(self) -> None:
        """End the connection now."""
        self._transport.abort()

    # The parser's side

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._url = b""
        self._authorization = ""
        self._body = []
        self._body_size = 0
        self._is_in_head = True
        self._expects = False

    def on_url(self, url: bytes) -> None:
        """Take a piece of the target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take the two headers that matter here."""
        name = name.lower()
        if name == b"authorization" and self._is_in_head:
            self._authorization = value.decode("latin-1")
        elif name == b"expect":
            self._expects = value.lower() == b"100-continue"

    def on_headers_complete(self) -> None:
        """End the head."""
        self._is_in_head = False
        self._head_size = 0
        if self._expects and not (self._is_ending or self._is_busy):
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body, up to the limit."""
        self._body_size += len(body)
        if self._body_size <= MAX_BODY:
            self._body.append(body)
        else:
            self._break(413)

    def on_message_complete(self) -> None:
        """Answer the request, or let it wait for the one before."""
        self._is_in_head = True
        self._head_size = 0
        if not self._is_ending and not self._parser.should_upgrade():
            self._accept(self._request())

    def _break(self, status: int) -> None:
        """Refuse what cannot be read, in its turn, and read no more."""
        if not self._is_ending:
            self._is_ending = True
            self._accept(self._request(broken=status))

    def _request(self, *, broken: int = 0) -> Request:
        parser, body = self._parser, self._body
        path, _, query = self._url.partition(b"?")
        return Request(
            "" if broken else parser.get_method().decode("ascii"),
            path.decode("latin-1"),
            query.decode("latin-1"),
            self._authorization,
            body[0] if len(body) == 1 else b"".join(body),
            not broken and parser.should_keep_alive() and parser.get_http_version() == "1.1",
            broken,
        )

    # Answering

    def _accept(self, request: Request) -> None:
        if not self._is_busy and not self._waiting:
            self._begin(request)
            return
        self._waiting.append(request)
        if len(self._waiting) == _MAX_WAITING:
            self._transport.pause_reading()

    def _begin(self, request: Request) -> None:
        self._is_busy = True
        self._stats.begin()
        answer = self._answer(request)
        if answer.delay:
            self._timer = self._loop.call_later(answer.delay, self._send, request, answer)
        else:
            self._send(request, answer)

    def _send(self, request: Request, answer: Answer) -> None:
        transport = self._transport
        match answer.manner:
            case "whole":
                opening = head(answer, closes=not request.has_keep_alive)
                transport.write(opening if request.method == "HEAD" else opening + answer.body)
                self._finish(request)
            case "truncated":
                transport.write(head(answer, closes=False) + answer.body)
                transport.close()
            case "slow":
                transport.write(head(answer, closes=not request.has_keep_alive))
                self._drip(request, answer, 0)
            case "hang":
                self._timer = self._loop.call_later(answer.seconds, transport.close)
            case "close":
                transport.close()
            case "reset":
                raw: socket.socket = transport.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                transport.abort()

    def _drip(self, request: Request, answer: Answer, sent: int) -> None:
        size = len(answer.body)
        if sent >= size:
            self._finish(request)
            return
        step = -(-size // _DROPS)
        self._transport.write(answer.body[sent : sent + step])
        self._timer = self._loop.call_later(
            answer.seconds * step / size, self._drip, request, answer, sent + step
        )

    def _finish(self, request: Request) -> None:
        self._is_busy = False
        self._stats.end()
        if not request.has_keep_alive:
            self._end()
        elif self._waiting:
            self._loop.call_soon(self._next)

    def _next(self) -> None:
        if self._is_busy or not self._waiting:
            return
        if len(self._waiting) == _MAX_WAITING:
            self._transport.resume_reading()
        self._begin(self._waiting.popleft())

    def _end(self) -> None:
        """Send FIN and swallow the rest: closing over unread bytes resets and may lose the answer."""
        self._is_ending = True
        self._waiting.clear()
        if not self._transport.is_closing():
            self._transport.write_eof()
        self._timer = self._loop.call_later(_LINGER, self._transport.close)
