"""One connection of the small HTTP server: its requests are read, refused or answered."""

from __future__ import annotations

import contextlib
import io
import logging
import socket
import time
from collections.abc import Callable
from email import errors
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cli.http_routes import Answer, Request, text_answer

if TYPE_CHECKING:
    from cli.http_server import HttpServer

logger = logging.getLogger(__name__)

REQUEST_S = 10.0
"""How long a connection may be silent or take to send one request."""
MAX_REQUESTS = 20
"""After so many answers a connection gives its place to others."""
ANSWER_S = 5.0
LINGER_S = 1.0
MAX_LINGER_BYTES = 1024 * 1024
LONGEST_WORDS = 200
_NO_HEADERS = (
    errors.MissingHeaderBodySeparatorDefect,
    errors.FirstHeaderLineIsContinuationDefect,
    errors.MisplacedEnvelopeHeaderDefect,
    errors.InvalidHeaderDefect,
)


class _Patient(io.RawIOBase):
    """A socket that is read until a moment, however slowly its bytes arrive."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.until = 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the request took too long")
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)


class _Refused(Exception):
    """A request that is answered before any route sees it."""

    def __init__(self, status: int, reason: str, **headers: str) -> None:
        super().__init__(reason)
        self.answer = text_answer(status, reason, **headers)


class Handler(BaseHTTPRequestHandler):
    """One connection: requests one after the other, until it closes or says nothing."""

    server: HttpServer
    protocol_version = "HTTP/1.1"
    # Of a request that has no version, or none that is known: its answer has a status line too.
    default_request_version = "HTTP/1.0"
    sys_version = ""
    disable_nagle_algorithm = True

    def setup(self) -> None:
        """Read with patience from the connection."""
        super().setup()
        self.rfile.close()
        self._requests = 0
        self._patient = _Patient(self.connection)
        self.rfile = io.BufferedReader(self._patient)

    @property
    def request_version(self) -> str:
        """Which HTTP is spoken; an answer to 0.9 would have no status line."""
        return self._version

    @request_version.setter
    def request_version(self, told: str) -> None:
        self._version = self.default_request_version if told == "HTTP/0.9" else told

    def version_string(self) -> str:
        """Who answers."""
        return self.server.name

    def handle_one_request(self) -> None:
        """Wait for a request, and answer it."""
        self.server.await_request(self.connection)
        self._patient.until = time.monotonic() + REQUEST_S
        super().handle_one_request()

    def do_GET(self) -> None:
        """Answer; a body is read, and nobody looks at it."""
        self._serve(self._body_if_any)

    def do_HEAD(self) -> None:
        """Answer as to GET, without the body."""
        self._serve(self._body_if_any)

    def do_POST(self) -> None:
        """Answer to a body."""
        self._serve(self._body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse what is no request, or a method that there is not, with a sentence."""
        del explain
        told = (message or "this cannot be answered")[:LONGEST_WORDS]
        self._refuse(text_answer(code, told.encode("ascii", "replace").decode()))

    def _serve(self, body: Callable[[], bytes]) -> None:
        self._requests += 1
        if self._requests >= MAX_REQUESTS:
            self.close_connection = True
        try:
            path = self._path()
            route = self._route(path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(path=path, headers=headers, body=body())
        except _Refused as refused:
            return self._refuse(refused.answer)
        self.server.has_arrived(self.connection)
        try:
            answer = route(request)
        except Exception:
            logger.exception("%s %s could not be answered", self.command, path)
            return self._refuse(text_answer(500, "this could not be answered; the log says why"))
        return self._answer(answer)

    def _path(self) -> str:
        """The path that is asked for.

        Raises:
            _Refused: the address is none, or what follows it are no headers: where its body would
                begin is anybody's guess.
        """
        if any(isinstance(defect, _NO_HEADERS) for defect in self.headers.defects):
            raise _Refused(400, "these are no headers")
        try:
            return urlsplit(self.path).path
        except ValueError:
            raise _Refused(400, "this is no address") from None

    def _route(self, path: str) -> Callable[[Request], Answer]:
        routes = self.server.routes
        found = routes.get(("GET" if self.command == "HEAD" else self.command, path))
        if found is not None:
            return found
        told = f"there is nothing here but {' and '.join(' '.join(route) for route in routes)}"
        if methods := [method for method, known in routes if known == path]:
            allowed = [*methods, *(["HEAD"] if "GET" in methods else [])]
            raise _Refused(405, told, Allow=", ".join(allowed))
        raise _Refused(404, told)

    def _body_if_any(self) -> bytes:
        told = "Content-Length" in self.headers or "Transfer-Encoding" in self.headers
        return self._body() if told else b""

    def _body(self) -> bytes:
        lengths = self.headers.get_all("Content-Length", [])
        if "Transfer-Encoding" in self.headers or len(lengths) != 1:
            raise _Refused(411, "a request says its length, once")
        length = lengths[0].strip()
        if not (length.isascii() and length.isdigit() and len(length) < 20):
            raise _Refused(400, "this is no length")
        if int(length) > self.server.max_body_bytes:
            raise _Refused(413, f"a request has at most {self.server.max_body_bytes} bytes")
        try:
            data = self.rfile.read(int(length))
        except TimeoutError:
            raise _Refused(408, f"the request took longer than {REQUEST_S:.0f} s") from None
        if len(data) < int(length):
            raise _Refused(400, f"the request ended after {len(data)} of {length} bytes")
        return data

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """Tell those who debug."""
        logger.debug("%s: %s", self.address_string(), format % args)

    def _refuse(self, answer: Answer) -> None:
        """Answer before the body was read; the connection cannot be used again."""
        self.close_connection = True
        self._answer(answer)
        # What was sent and not read would reset the connection before the answer is seen.
        self._patient.until = time.monotonic() + LINGER_S
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.rfile.read(MAX_LINGER_BYTES)

    def _answer(self, answer: Answer) -> None:
        self.connection.settimeout(ANSWER_S)
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)
