"""A witness over HTTP: a bounded number of connections, each with bounded patience and size."""

from __future__ import annotations

import contextlib
import io
import logging
import socket
import socketserver
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from cli.witness_cosigner import Cosigner
from proofs.witness import MAX_REQUEST_BYTES, TEXT_TYPE

logger = logging.getLogger(__name__)

PATH = "/add-checkpoint"
MAX_CONNECTIONS = 64
REQUEST_S = 10.0
"""How long a connection may be silent or take to send one request."""
MAX_REQUESTS = 20
"""After so many answers a connection gives its place to others."""
ANSWER_S = 5.0
LINGER_S = 1.0
MAX_LINGER_BYTES = 1024 * 1024


class WitnessServer(socketserver.ThreadingMixIn, HTTPServer):
    """Listens from the moment it is made; `serve` answers until `stop` is called."""

    daemon_threads = False
    request_queue_size = MAX_CONNECTIONS

    def __init__(self, host: str, port: int, cosigner: Cosigner) -> None:
        self.cosigner = cosigner
        self._places = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        self._stopping = False
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)

    @property
    def url(self) -> str:
        """The submission prefix, as it is reached on this machine."""
        host, port = self.server_address[:2]
        shown = f"[{host!s}]" if self.address_family == socket.AF_INET6 else str(host)
        return f"http://{shown}:{port}"

    def stop(self) -> None:
        """Take no more requests, and return when those that had arrived are answered."""
        self.shutdown()
        with self._guard:
            self._stopping = True
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
    """A request that is answered before anything is asked of the witness."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class _Handler(BaseHTTPRequestHandler):
    """One connection: requests one after the other, until it closes or says nothing."""

    server: WitnessServer
    protocol_version = "HTTP/1.1"
    server_version = "honeyflow-witness"
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

    def handle_one_request(self) -> None:
        self._patient.until = time.monotonic() + REQUEST_S
        super().handle_one_request()

    def do_POST(self) -> None:
        self._requests += 1
        if self._requests >= MAX_REQUESTS:
            self.close_connection = True
        try:
            status, content_type, body = self.server.cosigner.add_checkpoint(self._body())
        except _Refused as refused:
            return self._refuse(refused.status, refused.reason)
        except OSError:
            logger.exception("what was asked could not be stored, and so was not cosigned")
            return self._refuse(500, "the witness cannot write its state")
        return self._answer(status, content_type, body)

    def _body(self) -> bytes:
        if self.path != PATH:
            raise _Refused(404, f"there is nothing here but {PATH}")
        lengths = self.headers.get_all("Content-Length", [])
        if "Transfer-Encoding" in self.headers or len(lengths) != 1:
            raise _Refused(411, "a request says its length, once")
        length = lengths[0]
        if not (length.isascii() and length.isdigit() and len(length) < 20):
            raise _Refused(400, "this is no length")
        if int(length) > MAX_REQUEST_BYTES:
            raise _Refused(413, f"a request has at most {MAX_REQUEST_BYTES} bytes")
        try:
            data = self.rfile.read(int(length))
        except TimeoutError:
            raise _Refused(408, f"the request took longer than {REQUEST_S:.0f} s") from None
        if len(data) < int(length):
            raise _Refused(400, f"the request ended after {len(data)} of {length} bytes")
        return data

    def do_GET(self) -> None:
        status = 405 if self.path == PATH else 404
        self._refuse(status, f"there is nothing here but POST {PATH}")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        logger.debug("%s: %s", self.address_string(), format % args)

    def _refuse(self, status: int, reason: str) -> None:
        """Refuse before the body was read; the connection cannot be used again."""
        self.close_connection = True
        self._answer(status, TEXT_TYPE, f"{reason}\n".encode())
        # What was sent and not read would reset the connection before the answer is seen.
        self._patient.until = time.monotonic() + LINGER_S
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.rfile.read(MAX_LINGER_BYTES)

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.connection.settimeout(ANSWER_S)
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        if status == 405:
            self.send_header("Allow", "POST")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
