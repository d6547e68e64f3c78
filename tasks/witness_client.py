"""Asking a witness for its cosignature: one POST, bounded in time and size, no redirects.

Nothing it says is believed but a signature of its own key and, as a hint, the size it holds.
"""

from __future__ import annotations

import http.client
import re
import socket
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from proofs.errors import CosignatureInvalid, ProofError
from proofs.note import COSIGNATURE_V1, Note, VerifierKey
from proofs.witness import SIZE_TYPE, AddCheckpoint, Cosignature, read_cosignature
from tasks.errors import SettingsInvalid
from tasks.settings import Settings
from tasks.witness_errors import (
    WitnessAnswerInvalid,
    WitnessAway,
    WitnessContradicts,
    WitnessRefused,
)

MAX_ANSWER_BYTES = 64 * 1024
TIMEOUT_S = 5.0

_SIZE = re.compile(rb"(0|[1-9][0-9]{0,18})\n")
_LATER = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """A witness of the configuration: its name there, where it is asked, and its key."""

    name: str
    url: str
    key: VerifierKey

    @property
    def key_name(self) -> str:
        """Whose lines these are: a witness with a new key begins anew."""
        return f"{self.key.name}+{self.key.key_id.hex()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """The witness holds a checkpoint of this size; the request began from another."""

    size: int


def configured(settings: Settings) -> tuple[Witness, ...]:
    """Return the witnesses of `[witnesses.NAME]`, each with a `url` and a `vkey`.

    Raises:
        SettingsInvalid: A key is missing, unknown or wrong.
    """
    return tuple(
        _witness(name, table, str(settings.config_file or "the settings"))
        for name, table in settings.witnesses.items()
    )


def ask(
    witness: Witness,
    note: Note,
    *,
    old_size: int,
    proof: Sequence[bytes],
    timeout_s: float = TIMEOUT_S,
) -> Cosignature | Conflict:
    """Ask a witness to cosign a checkpoint that follows the one of `old_size`.

    Raises:
        WitnessAway: It did not answer in time, or says that it cannot now.
        WitnessRefused: It does not know the log, or its key, or cannot read the request.
        WitnessContradicts: It holds another history of this log.
        WitnessAnswerInvalid: It answered something else, or not with its key.
    """
    request = AddCheckpoint(old_size=old_size, proof=proof, note=note).to_bytes()
    status, content_type, body = _post(witness, request, timeout_s)
    told = ascii(body[:200].decode("utf-8", errors="replace").strip())
    details = {"witness": witness.name, "status": status, "answer": told}
    if status == 200:
        try:
            return read_cosignature(body, note=note, key=witness.key)
        except CosignatureInvalid as error:
            raise WitnessAnswerInvalid(f"{error.message}.", details=details) from error
    if status == 409 and content_type == SIZE_TYPE and (size := _SIZE.fullmatch(body)):
        if int(size[1]) != old_size:
            return Conflict(size=int(size[1]))
        # It holds the size that the request began from: what it minds can only be the root.
        status = 422
    if status in {409, 422}:
        raise WitnessContradicts(
            f"Witness {witness.name} has cosigned another history of this log: {told}.",
            details=details,
        )
    if status >= 500 or status in _LATER:
        raise WitnessAway(f"Witness {witness.name} answers with {status}: {told}.", details=details)
    if status >= 400:
        raise WitnessRefused(
            f"Witness {witness.name} refuses with {status}: {told}.", details=details
        )
    raise WitnessAnswerInvalid(
        f"Witness {witness.name} answers with {status}; redirects are not followed.",
        details=details,
    )


def held_size(witness: Witness, note: Note, *, size: int, timeout_s: float = TIMEOUT_S) -> int:
    """Return how many leaves of a log a witness has cosigned, shown its checkpoint of `size`.

    Where it holds exactly that checkpoint it cosigns it again; otherwise nothing changes there.

    Raises:
        WitnessError: One of the kinds that `ask` raises.
    """
    answer = ask(witness, note, old_size=size, proof=(), timeout_s=timeout_s)
    return answer.size if isinstance(answer, Conflict) else size


def _post(witness: Witness, data: bytes, timeout_s: float) -> tuple[int, str, bytes]:
    parts = urlsplit(witness.url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=timeout_s)
    # A socket's timeout is for each read; an answer that trickles in is cut off as a whole, and
    # what was read of it by then may look complete.
    late = threading.Event()
    guard = threading.Timer(timeout_s, _cut, [connection, late])
    guard.daemon = True
    guard.start()
    try:
        connection.request(
            "POST",
            f"{parts.path.rstrip('/')}/add-checkpoint",
            body=data,
            headers={"Content-Type": "text/plain; charset=utf-8", "User-Agent": "honeyflow"},
        )
        response = connection.getresponse()
        body = response.read(MAX_ANSWER_BYTES + 1)
        if late.is_set():
            raise TimeoutError
    except (OSError, http.client.HTTPException, ValueError) as error:
        slow = late.is_set() or isinstance(error, TimeoutError)
        reason = f"it took longer than {timeout_s:g} s" if slow else str(error) or repr(error)
        raise WitnessAway(
            f"Witness {witness.name} at {witness.url} does not answer: {reason}.",
            details={"witness": witness.name, "url": witness.url},
        ) from error
    finally:
        guard.cancel()
        connection.close()
    if len(body) > MAX_ANSWER_BYTES:
        raise WitnessAnswerInvalid(
            f"Witness {witness.name} answers with more than {MAX_ANSWER_BYTES} bytes.",
            details={"witness": witness.name},
        )
    return response.status, response.headers.get("Content-Type", ""), body


def _cut(connection: http.client.HTTPConnection, late: threading.Event) -> None:
    late.set()
    # Read once: the other thread may take it away. Of TLS only the transport is cut, so that
    # whoever reads meets an end and not a socket that is half gone.
    plain: Any = connection.sock
    if plain is not None:
        try:
            socket.socket.shutdown(plain, socket.SHUT_RDWR)
        except OSError:
            return


def _witness(name: str, table: Mapping[str, Any], place: str) -> Witness:
    told = f"witnesses.{name}"
    if wrong := sorted({"url", "vkey"} ^ set(table)):
        raise _wrong(place, told, f"has a url and a vkey and nothing else: {', '.join(wrong)}")
    if not isinstance(table["url"], str) or not _is_plain(table["url"]):
        raise _wrong(place, f"{told}.url", "is http(s)://HOST[:PORT][/PREFIX] without a password")
    try:
        key = VerifierKey.parse(str(table["vkey"]))
    except ProofError as error:
        raise _wrong(place, f"{told}.vkey", f"cannot be read: {error.message}") from error
    if key.kind != COSIGNATURE_V1:
        raise _wrong(place, f"{told}.vkey", "is not a witness's key (kind 0x04)")
    return Witness(name=name, url=table["url"], key=key)


def _is_plain(url: str) -> bool:
    try:
        parts: SplitResult = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    return (
        parts.scheme in {"http", "https"}
        and bool(parts.hostname)
        and port != 0
        and not (parts.username or parts.password or parts.query or parts.fragment)
        and url.isascii()
        and url.isprintable()
        and " " not in url
    )


def _wrong(place: str, key: str, reason: str) -> SettingsInvalid:
    return SettingsInvalid(
        f"{place}: {key} {reason}.",
        suggested_action='[witnesses.friend] url = "https://…", vkey = "name+hash+base64"',
        details={"place": place, "key": key},
    )
