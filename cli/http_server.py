"""A small HTTP server: a bounded number of connections, each with bounded patience and size."""

from __future__ import annotations

import contextlib
import io
import logging
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import urlsplit

from cli.http_routes import TEXT_TYPE, Answer, Request, Routes, text_answer

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 64
REQUEST_S = 10.0
"""How long a connection may be silent or take to send one request."""
MAX_REQUESTS = 20
"""After so many answers a connection gives its place to others."""
ANSWER_S = 5.0
LINGER_S = 1.0
MAX_LINGER_BYTES = 1024 * 1024


class HttpServer(socketserver.ThreadingMixIn, HTTPServer):
    """Listens from the moment it is made; `serve_forever` answers until `stop` is called.

    A route answers on the thread of its connection; what it raises is logged and answered with 500.
    """

    daemon_threads = False
    request_queue_size = MAX_CONNECTIONS

    def __init__(
        self, host: str, port: int, routes: Routes, *, name: str, max_body_bytes: int = 65_536
    ) -> None:
        self.routes = routes
        self.name = name
        self.max_body_bytes = max_body_bytes
        self._places = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)

    @property
    def url(self) -> str:
        """Where it is reached on this machine."""
        host, port = self.server_address[:2]
        shown = f"[{host!s}]" if self.address_family == socket.AF_INET6 else str(host)
        return f"http://{shown}:{port}"

    def stop(self) -> None:
        """Take no more requests, and return when those that had arrived are answered."""
        self.shutdown()
        with self._guard:
            for connection in self._open:
                # Its end of input; what it has sent already is still read and answered.
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RD)
        self.server_close()

    def server_bind(self) -> None:
        """Bind without asking the name service who we are, as HTTPServer does."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin a thread for a connection, if there is a place for it."""
        if not self._places.acquire(blocking=False):
            logger.warning("%d connections are open; one more was turned away", MAX_CONNECTIONS)
            with contextlib.suppress(OSError):
                request.settimeout(ANSWER_S)
                request.sendall(
                    b"HTTP/1.1 503 Service Unavailable\r\n"
                    b"Connection: close\r\nContent-Length: 0\r\nRetry-After: 1\r\n\r\n"
                )
            self.shutdown_request(request)
            return
        with self._guard:
            self._open.add(request)
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._forget(request)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection to its end."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._forget(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what went wrong on a connection; the others go on."""
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            logger.info("a connection from %s broke off: %s", client_address, error)
        else:
            logger.error("%s from %s failed", request, client_address, exc_info=error)

    def _forget(self, request: socket.socket) -> None:
        with self._guard:
            self._open.discard(request)
        self._places.release()


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


class _Handler(BaseHTTPRequestHandler):
    """One connection: requests one after the other, until it closes or says nothing."""

    server: HttpServer
    protocol_version = "HTTP/1.1"
    sys_version = ""
    disable_nagle_algorithm = True
    error_message_format = "%(code)d %(message)s\n"
    error_content_type = TEXT_TYPE

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self._requests = 0
        self._patient = _Patient(self.connection)
        self.rfile = io.BufferedReader(self._patient)

    def version_string(self) -> str:
        return self.server.name

    def handle_one_request(self) -> None:
        self._patient.until = time.monotonic() + REQUEST_S
        super().handle_one_request()

    def do_GET(self) -> None:
        self._serve(lambda: b"")

    def do_POST(self) -> None:
        self._serve(self._body)

    def _serve(self, body: Callable[[], bytes]) -> None:
        self._requests += 1
        if self._requests >= MAX_REQUESTS:
            self.close_connection = True
        try:
            path = urlsplit(self.path).path
            route = self._route(path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(path=path, headers=headers, body=body())
        except _Refused as refused:
            return self._refuse(refused.answer)
        try:
            answer = route(request)
        except Exception:
            logger.exception("%s %s could not be answered", self.command, path)
            return self._refuse(text_answer(500, "this could not be answered; the log says why"))
        return self._answer(answer)

    def _route(self, path: str) -> Callable[[Request], Answer]:
        routes = self.server.routes
        found = routes.get((self.command, path))
        if found is not None:
            return found
        told = f"there is nothing here but {' and '.join(' '.join(route) for route in routes)}"
        if methods := [method for method, known in routes if known == path]:
            raise _Refused(405, told, Allow=", ".join(methods))
        raise _Refused(404, told)

    def _body(self) -> bytes:
        lengths = self.headers.get_all("Content-Length", [])
        if "Transfer-Encoding" in self.headers or len(lengths) != 1:
            raise _Refused(411, "a request says its length, once")
        length = lengths[0]
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
        self.wfile.write(answer.body)
