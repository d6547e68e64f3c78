"""Signing through an ssh-agent: the key stays in another process, and is never read here.

Two of the protocol's requests are enough: which keys are held, and sign this. Each has a connection
of its own, so that an agent that was started again is found, and one deadline for all of it.
"""

from __future__ import annotations

import socket
import struct
import time
from pathlib import Path

from proofs.errors import KeyInvalid
from proofs.keys import KEY_TYPE, SIGNATURE_BYTES, PublicKey
from tasks.errors import AgentUnavailable

ANSWER_S = 1.0
"""How long an agent may take for one request, from connecting to the last byte."""
MAX_ANSWER_BYTES = 262_144

_FAILURE = 5
_LIST, _LISTED = 11, 12
_SIGN, _SIGNED = 13, 14
_NO_FLAGS = 0


class AgentSigner:
    """A key that an ssh-agent holds; it signs like a key in memory."""

    __slots__ = ("_socket", "_timeout_s", "public_key")

    def __init__(self, socket_path: Path, key: PublicKey, *, timeout_s: float = ANSWER_S) -> None:
        self.public_key = key
        self._socket = socket_path
        self._timeout_s = timeout_s

    def require(self) -> None:
        """Make sure that the agent holds the key.

        Raises:
            AgentUnavailable: it does not answer, or does not hold it.
        """
        held = identities(self._socket, timeout_s=self._timeout_s)
        if self.public_key not in held:
            raise _unavailable(
                self._socket,
                f"holds {len(held)} {KEY_TYPE} keys, and {self.public_key.fingerprint} is none of"
                " them",
                action="Add the key with ssh-add.",
            )

    def sign(self, message: bytes) -> bytes:
        """The 64 bytes of the signature.

        Raises:
            AgentUnavailable: the agent does not answer, refuses, or signs with something else.
        """
        asked = _string(self.public_key.blob) + _string(message) + struct.pack(">I", _NO_FLAGS)
        answer = _ask(self._socket, _SIGN, asked, wanted=_SIGNED, timeout_s=self._timeout_s)
        fields = _Fields(self._socket, answer)
        inner = _Fields(self._socket, fields.string())
        kind, signature = inner.string(), inner.string()
        fields.end()
        inner.end()
        if kind != KEY_TYPE.encode() or len(signature) != SIGNATURE_BYTES:
            raise _unavailable(self._socket, f"answered with another signature than {KEY_TYPE}")
        # What goes into a receipt must verify, whatever answers at this socket.
        if not self.public_key.verifies(signature, message):
            raise _unavailable(
                self._socket, f"signed with another key than {self.public_key.fingerprint}"
            )
        return signature


def identities(socket_path: Path, *, timeout_s: float = ANSWER_S) -> tuple[PublicKey, ...]:
    """The Ed25519 keys that an agent holds; it may hold others beside them.

    Raises:
        AgentUnavailable: it does not answer, or not as an agent does.
    """
    answer = _ask(socket_path, _LIST, b"", wanted=_LISTED, timeout_s=timeout_s)
    fields = _Fields(socket_path, answer)
    held = []
    for _ in range(fields.number()):
        blob, _comment = fields.string(), fields.string()
        try:
            held.append(PublicKey.from_blob(blob))
        except KeyInvalid:
            continue
    fields.end()
    return tuple(held)


class _Fields:
    """Reads an answer's fields from the front."""

    __slots__ = ("_at", "_data", "_socket")

    def __init__(self, socket_path: Path, data: bytes) -> None:
        self._socket = socket_path
        self._data = data
        self._at = 0

    def number(self) -> int:
        """The next four bytes."""
        return int.from_bytes(self._take(4), "big")

    def string(self) -> bytes:
        """The next field, behind its length."""
        return self._take(self.number())

    def end(self) -> None:
        """Refuse anything that is left."""
        if self._at != len(self._data):
            raise _unavailable(self._socket, "answered with more than was asked for")

    def _take(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        if len(taken) != size:
            raise _unavailable(self._socket, "answered with less than it announced")
        self._at += size
        return taken


def _ask(socket_path: Path, kind: int, body: bytes, *, wanted: int, timeout_s: float) -> bytes:
    """One request on a connection of its own; the body of the answer."""
    deadline = time.monotonic() + timeout_s
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent:
            agent.settimeout(timeout_s)
            agent.connect(str(socket_path))
            agent.sendall(_string(bytes((kind,)) + body))
            size = int.from_bytes(_receive(agent, 4, deadline), "big")
            if not 0 < size <= MAX_ANSWER_BYTES:
                raise _unavailable(socket_path, f"announced an answer of {size} bytes")
            answer = _receive(agent, size, deadline)
    except TimeoutError as error:
        raise _unavailable(socket_path, f"did not answer within {timeout_s:g} s") from error
    except EOFError as error:
        raise _unavailable(socket_path, "hung up before it had answered") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise _unavailable(socket_path, f"cannot be reached: {reason}") from error
    if answer[0] == _FAILURE:
        raise _unavailable(
            socket_path,
            "refused: it may be locked, may want to be asked first, or does not hold the key",
            action="Look at `ssh-add -l`; unlock it with `ssh-add -X`, or add the key again.",
        )
    if answer[0] != wanted:
        raise _unavailable(socket_path, f"answered with message {answer[0]}, not {wanted}")
    return answer[1:]


def _receive(agent: socket.socket, size: int, deadline: float) -> bytes:
    received = bytearray()
    while len(received) < size:
        # Another byte now and then does not put the end off.
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        agent.settimeout(left)
        piece = agent.recv(size - len(received))
        if not piece:
            raise EOFError
        received += piece
    return bytes(received)


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _unavailable(socket_path: Path, reason: str, *, action: str | None = None) -> AgentUnavailable:
    return AgentUnavailable(
        f"The ssh-agent at {socket_path} {reason}.",
        suggested_action=action,
        details={"socket": str(socket_path)},
    )
