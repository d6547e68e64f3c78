"""A small HTTP server: a bounded number of connections, each with bounded patience and size.

Who sends nothing, or slowly, keeps nobody waiting: where all places are taken, the connection that
has been waited for longest gives its place to the one that comes.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import socketserver
import sys
import threading
from http.server import HTTPServer
from typing import Any

from cli.http_handler import ANSWER_S, Handler
from cli.http_routes import Routes

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 64
CLOSING_S = 1.0
"""How long it may take at most until a connection that is cut off has given up its place."""


class HttpServer(socketserver.ThreadingMixIn, HTTPServer):
    """Listens from the moment it is made; `serve_forever` answers until `stop` is called.

    A route answers on the thread of its connection; what it raises is logged and answered with 500.
    A route for GET answers HEAD as well.
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
        # In the order in which each began to be waited for.
        self._awaited: dict[socket.socket, None] = {}
        self._guard = threading.Lock()
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), Handler)

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

    def await_request(self, connection: socket.socket) -> None:
        """Take note that a connection's next request is waited for from now on."""
        with self._guard:
            self._awaited.pop(connection, None)
            self._awaited[connection] = None

    def has_arrived(self, connection: socket.socket) -> None:
        """Take note that a connection's request has arrived: its answer is not cut off."""
        with self._guard:
            self._awaited.pop(connection, None)

    def server_bind(self) -> None:
        """Bind without asking the name service who we are, as HTTPServer does."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin a thread for a connection, if there is a place for it or one can be made."""
        if not self._places.acquire(blocking=False) and not self._take_a_place():
            logger.warning("%d requests are answered; one more was turned away", MAX_CONNECTIONS)
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
        self.await_request(request)
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

    def _take_a_place(self) -> bool:
        """Cut off the connection that has been waited for longest; false if all are answered."""
        with self._guard:
            oldest = next(iter(self._awaited), None)
            if oldest is None:
                return False
            del self._awaited[oldest]
            with contextlib.suppress(OSError):
                oldest.shutdown(socket.SHUT_RDWR)
        logger.info("%d connections are open; the one silent longest was cut off", MAX_CONNECTIONS)
        return self._places.acquire(timeout=CLOSING_S)

    def _forget(self, request: socket.socket) -> None:
        with self._guard:
            self._open.discard(request)
            self._awaited.pop(request, None)
        self._places.release()
