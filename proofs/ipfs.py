"""Files to an IPFS node and back, over its RPC, through `ipfshttpclient`.

The node is not trusted: what it says a file's CID is has to be compared, as bytes, with the CID
computed offline (`proofs.cid`), and so has what it gives back. Every fault is an `IpfsError`. The
library is loaded when a client is made; without it everything else here works.
"""

from __future__ import annotations

import io
import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self, TypeVar
from urllib.parse import unquote, urlsplit

from proofs import ipfs_session
from proofs.cid import CidProfile, cid_bytes
from proofs.errors import (
    IpfsAddressInvalid,
    IpfsAnswerInvalid,
    IpfsError,
    IpfsRefused,
    IpfsTimeout,
    IpfsUnavailable,
    ProofError,
)
from proofs.ipfs_session import MAX_ANSWER_BYTES, shown

MAX_FILE_BYTES = 64 * 1024 * 1024
"""How long a file may be that is read back."""

_OPTIONS: Mapping[CidProfile, Mapping[str, Any]] = {
    CidProfile.UNIXFS_V0_2015: {
        "cid_version": 0,
        "raw_leaves": False,
        "chunker": "size-262144",
    },
    CidProfile.UNIXFS_V1_2025: {
        "cid_version": 1,
        "raw_leaves": True,
        "chunker": "size-1048576",
        "opts": {"max-file-links": 1024},
    },
}
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?\.?")
_PATHS = {"", "/api/v0"}

_T = TypeVar("_T")


class IpfsClient:
    """A node's RPC at `http://host:port`, `https://host` or a multiaddr; one call at a time.

    No call takes longer than `timeout_s`, whatever the node does; looking up the name of its host
    comes on top. To be closed at the end, or used as `with IpfsClient(url) as client`.

    Raises:
        ExtraMissing: `ipfshttpclient` is not installed.
        IpfsAddressInvalid: The address has another form.
    """

    def __init__(self, url: str, *, timeout_s: float = 30.0) -> None:
        address, auth, self.place = _address(url)
        self._timeout_s = timeout_s
        self._watch = ipfs_session.Watch()
        self._client = ipfs_session.connect(
            address, auth=auth, timeout_s=timeout_s, watch=self._watch
        )

    def version(self) -> str:
        """Return the version that the node says it is.

        Raises:
            IpfsError: It does not answer, or not like a node.
        """
        return self._told(lambda: self._client.version()["Version"])

    def add(self, data: bytes, *, profile: CidProfile | str) -> str:
        """Store and pin a file under a profile; return the CID that the node says it has.

        Raises:
            IpfsError: It was not stored, or nobody can say whether it was.
        """
        options = dict(_OPTIONS[CidProfile(profile)])
        # The library writes into these.
        options["opts"] = dict(options.get("opts", {}))
        file = io.BytesIO(data)
        return self._told(lambda: self._client.add(file, pin=True, **options)["Hash"])

    def cat(self, cid: str, *, max_bytes: int = MAX_FILE_BYTES) -> bytes:
        """Return a file's bytes, or what the node passes off as such; compare their CID.

        Raises:
            CidError: The text is not a CID.
            IpfsError: The node does not give it, or more than `max_bytes`.
        """
        cid_bytes(cid)
        found = self._call(lambda: self._client.cat(cid), max_bytes)
        if not isinstance(found, bytes):
            raise _unlike_a_node(self.place, "it gives no bytes for a file")
        return found

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _told(self, function: Callable[[], object]) -> str:
        told = self._call(function, MAX_ANSWER_BYTES)
        if not isinstance(told, str):
            raise _unlike_a_node(self.place, "it tells no name and no version")
        return told

    def _call(self, function: Callable[[], _T], max_bytes: int) -> _T:
        with self._watch.call(timeout_s=self._timeout_s, max_bytes=max_bytes) as call:
            try:
                found = function()
            except Exception as exc:
                if call.late:
                    raise self._late() from exc
                raise self._translated(exc) from exc
            # A socket that the watchdog has closed looks like an answer's proper end.
            if call.late:
                raise self._late()
            return found

    def _late(self) -> IpfsTimeout:
        return IpfsTimeout(
            f"the IPFS node at {self.place} gave no whole answer within {self._timeout_s:g} s",
            suggested_action="Check that the node is up and not overloaded; it is tried again.",
            details={"place": self.place, "timeout_s": self._timeout_s},
        )

    def _translated(self, error: Exception) -> ProofError:
        """Say in our words what the library, or a library below it, ran into."""
        if isinstance(error, ProofError):
            return error
        names = {kind.__name__ for link in _chain(error) for kind in type(link).__mro__}
        if "StatusError" in names:
            return self._refused(error)
        # urllib3 counts a connection that is refused among those that take too long.
        if names & {"Timeout", "TimeoutError"} and "NewConnectionError" not in names:
            return self._late()
        if names & {"ChunkedEncodingError", "ProtocolError", "IncompleteRead"}:
            return IpfsUnavailable(
                f"the IPFS node at {self.place} broke off in the middle of its answer",
                suggested_action="See the node's log for why; it is tried again.",
                details={"place": self.place},
            )
        if isinstance(error, OSError) or "CommunicationError" in names:
            return IpfsUnavailable(
                f"the IPFS node at {self.place} cannot be reached: {_reason(error)}",
                suggested_action="Start the node, or correct IPFS_API_URL; it is tried again.",
                details={"place": self.place},
            )
        return _unlike_a_node(self.place, "its answer cannot be read")

    def _refused(self, error: Exception) -> IpfsRefused:
        response = getattr(getattr(error, "original", None), "response", None)
        status = getattr(response, "status_code", None)
        words = "" if type(error).__name__ == "StatusError" else f": {shown(str(error))}"
        return IpfsRefused(
            f"the IPFS node at {self.place} refused with status {status or 'unknown'}{words}",
            suggested_action="See the node's log; 403 and 405 are signs of a wrong address.",
            details={"place": self.place, "status": status},
        )


def place_of(url: str) -> str:
    """Return a node's address as it may be shown: without user and password.

    Raises:
        IpfsAddressInvalid: The address has another form.
    """
    return _address(url)[2]


def _address(url: str) -> tuple[str, tuple[str, str] | None, str]:
    """Return the multiaddr, the user and password, and the address without them."""
    if url.startswith("/"):
        return url, None, shown(url)
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        host = parts.hostname or ""
    except (ValueError, KeyError) as exc:
        raise _bad_address("it begins with neither http://, https:// nor /") from exc
    if parts.path.rstrip("/") not in _PATHS or parts.query or parts.fragment:
        raise _bad_address("a node's RPC has no other path than /api/v0")
    try:
        kind = f"ip{ipaddress.ip_address(host).version}"
    except ValueError:
        kind = "dns"
        if not _HOST.fullmatch(host):
            raise _bad_address("its host is no name and no IP address") from None
    auth = None
    if parts.username is not None:
        auth = (unquote(parts.username), unquote(parts.password or ""))
    place = f"{parts.scheme}://{f'[{host}]' if kind == 'ip6' else host}:{port}"
    return f"/{kind}/{host}/tcp/{port}/{parts.scheme}", auth, place


def _bad_address(reason: str) -> IpfsAddressInvalid:
    # The text itself may hold a password.
    return IpfsAddressInvalid(
        f"this is no address of an IPFS node: {reason}",
        suggested_action="Use the form http://127.0.0.1:5001, as in IPFS_API_URL.",
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Go through an error and what led to it; libraries also hide causes among arguments."""
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting:
        link = waiting.pop(0)
        if isinstance(link, BaseException) and id(link) not in seen:
            seen.add(id(link))
            yield link
            waiting += [link.__cause__, link.__context__, getattr(link, "reason", None)]
            waiting += link.args


def _reason(error: Exception) -> str:
    """Return what the system says is wrong, without the libraries' wrapping."""
    for link in _chain(error):
        if isinstance(link, OSError) and link.strerror:
            return str(link.strerror)
    return "no connection"


def _unlike_a_node(place: str, reason: str) -> IpfsError:
    return IpfsAnswerInvalid(
        f"what is at {place} does not answer like an IPFS node: {reason}",
        suggested_action="Check that the address is that of an IPFS node's RPC.",
        details={"place": place},
    )
