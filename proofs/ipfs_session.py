"""A session with an IPFS node in which nothing is followed, endless or drawn out.

`ipfshttpclient` alone follows redirects without sending the body again and reports success, reads
proxies and passwords from the environment, keeps an answer of any length, and bounds the time of
each read but not their sum. Here a redirect is an error, the environment is not asked, an answer
has a length that it may not pass, and a watchdog ends a call that takes too long.
"""

from __future__ import annotations

import contextlib
import importlib
import socket
import threading
import weakref
from collections.abc import Iterator
from typing import Any

from proofs.errors import ExtraMissing, IpfsAddressInvalid, IpfsAnswerInvalid, IpfsRedirected

MAX_ANSWER_BYTES = 64 * 1024
"""How long an answer may be that is no file: a name, a version, an error."""

_PIECE_BYTES = 16 * 1024
_CUT_AGAIN_S = 0.1


class Call:
    """One call under way; `late` once its time is over."""

    def __init__(self, *, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.late = False


class Watch:
    """Bounds the calls of one client, which makes one at a time."""

    def __init__(self) -> None:
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._call = Call(max_bytes=MAX_ANSWER_BYTES)

    def connected(self, connection: Any) -> None:
        """Remember a new connection's socket, to be able to cut it."""
        self._sockets.add(connection.sock)

    @contextlib.contextmanager
    def call(self, *, timeout_s: float, max_bytes: int) -> Iterator[Call]:
        """Cut whatever is still open after `timeout_s`; the answer may have `max_bytes`."""
        self._call = call = Call(max_bytes=max_bytes)
        done = threading.Event()
        watchdog = threading.Thread(
            target=self._cut, args=(call, done, timeout_s), name="ipfs-watchdog", daemon=True
        )
        watchdog.start()
        try:
            yield call
        finally:
            done.set()
            watchdog.join()

    def answered(self, response: Any, *_: object, **__: object) -> None:
        """Refuse a redirect, and bound how much of any other answer is read."""
        if 300 <= response.status_code < 400:
            response.close()
            raise IpfsRedirected(
                f"the IPFS node answers with a redirect ({response.status_code}) to"
                f" {shown(response.headers.get('Location', 'nowhere'))}",
                suggested_action="Give the address of the node itself, not of what stands before.",
                details={"status": response.status_code},
            )
        most = MAX_ANSWER_BYTES if response.status_code >= 400 else self._call.max_bytes
        pieces = response.iter_content

        def bounded(*_: object, **__: object) -> Iterator[bytes]:
            length = 0
            for piece in pieces(_PIECE_BYTES):
                length += len(piece)
                if length > most:
                    raise IpfsAnswerInvalid(
                        f"the IPFS node's answer is longer than {most} bytes",
                        suggested_action="Check that the address is that of an IPFS node.",
                        details={"most": most},
                    )
                yield piece

        response.iter_content = bounded

    def _cut(self, call: Call, done: threading.Event, timeout_s: float) -> None:
        if done.wait(timeout_s):
            return
        call.late = True
        while True:
            for open_socket in tuple(self._sockets):
                with contextlib.suppress(OSError):
                    open_socket.shutdown(socket.SHUT_RDWR)
            # A connection that is being made meanwhile is not among them yet.
            if done.wait(_CUT_AGAIN_S):
                return


def connect(
    address: str, *, auth: tuple[str, str] | None, timeout_s: float, watch: Watch
) -> Any:  # an ipfshttpclient.Client, which has no types
    """Make a client of the node at this multiaddr; it sends nothing yet.

    Raises:
        ExtraMissing: `ipfshttpclient` is not installed.
        IpfsAddressInvalid: It cannot be reached by HTTP like that.
    """
    library, wrapper = _library()
    try:
        client = library.Client(
            address,
            "api/v0",
            session=True,
            auth=auth,
            timeout=timeout_s,
            # What is not given here, the library takes from the environment.
            username=None,
            password=None,
        )
    except Exception as exc:
        raise IpfsAddressInvalid(
            f"{shown(address)} is not the address of a node's RPC",
            suggested_action="Use the form http://127.0.0.1:5001 or /ip4/127.0.0.1/tcp/5001.",
        ) from exc
    session = client._client._session
    # No proxy, no .netrc.
    session.trust_env = False
    session.max_redirects = 0
    session.hooks["response"].append(watch.answered)
    # A manager of our own, whose sockets are known; the library's also passes what urllib3
    # is about to refuse.
    manager = wrapper.PoolManager(num_pools=1, maxsize=1)
    manager.pool_classes_by_scheme = {
        scheme: _watched_pool(pool, watch)
        for scheme, pool in manager.pool_classes_by_scheme.items()
    }
    for adapter in session.adapters.values():
        adapter.poolmanager = manager
    return client


def shown(text: str, most: int = 200) -> str:
    """Return what a node or a person wrote, fit for a terminal and not too long."""
    return ascii(text if len(text) <= most else text[: most - 3] + "...")[1:-1]


def _library() -> tuple[Any, Any]:
    try:
        library = importlib.import_module("ipfshttpclient")
        backend = importlib.import_module("ipfshttpclient.http")._backend.__name__
        wrapper = importlib.import_module("ipfshttpclient.requests_wrapper")
    except ModuleNotFoundError as exc:
        raise ExtraMissing(
            f"uploading to IPFS needs the package {exc.name}, which is not installed",
            suggested_action="Install it: pip install 'honeyflow[ipfs]'.",
            details={"package": exc.name},
        ) from exc
    except Exception as exc:  # it reads an address from the environment while it is loaded
        raise ExtraMissing(
            f"ipfshttpclient cannot be loaded: {type(exc).__name__}",
            suggested_action="Unset the variables that begin with PY_IPFS_HTTP_CLIENT_.",
        ) from exc
    if not backend.endswith("http_requests"):
        raise ExtraMissing(
            "ipfshttpclient was told by its environment to use httpx, whose answers are not"
            " bounded here",
            suggested_action="Unset PY_IPFS_HTTP_CLIENT_PREFER_HTTPX.",
        )
    return library, wrapper


def _watched_pool(pool: Any, watch: Watch) -> Any:
    """Return a pool class like this one whose connections are known to the watch."""
    plain = pool.ConnectionCls

    def connect(connection: Any) -> None:
        plain.connect(connection)
        watch.connected(connection)

    watched = type(plain.__name__, (plain,), {"connect": connect})
    return type(pool.__name__, (pool,), {"ConnectionCls": watched})
