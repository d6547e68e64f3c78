"""Signatures of messages, for a broker that others can write to. Optional, off by default.

A message is only a job's id, and the ledger decides what it may do; with keys configured a worker
takes none that has not been put into this queue by somebody who holds one. The signature (HMAC,
RFC 2104, over SHA-256) covers the queue, every header, the body and how it is encoded, the
properties that Celery acts on, and the time. Whether a copy of a job's message is fresh the ledger
knows: a replayed one is stale.

Not covered is that a message was delivered before, which kombu notes in it when it puts it back.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import stat
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kombu.utils.json import dumps

from tasks.errors import SettingsInvalid
from tasks.messages import Flaw

SIGNATURE = "honeyflow_signature"
VERSION = 2
"""The first one covered less; whoever signs by it is not believed."""
MIN_KEY_BYTES = 32
MAX_AGE_S = 86_400.0
"""How old a signature may be.

A job's message that waits longer is sent again, and signed anew, by the reconciler; that of an
ordinary task, or of a sender without the ledger, goes to quarantine.
"""
AHEAD_S = 300.0
"""How far a sender's clock may be ahead."""
_UNSIGNED = (SIGNATURE, "redelivered")
_PROPERTIES = ("priority", "reply_to", "correlation_id", "body_encoding")
_PLACES = ("exchange", "routing_key")
_KINDS = ("content-type", "content-encoding")


class Keys:
    """The keys of one process: the first signs, all of them verify, so that one can be replaced."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = {hashlib.sha256(key).hexdigest()[:16]: key for key in keys}
        self._signing = next(iter(self._keys))

    def sign(self, queue: str, message: Mapping[str, Any]) -> None:
        """Put a signature among a message's headers."""
        headers = message["headers"]
        told = {"v": VERSION, "key": self._signing, "at": int(time.time())}
        mac = _mac(self._keys[self._signing], queue, message, told)
        headers[SIGNATURE] = {**told, "mac": mac}

    def flaw_of(self, queue: str, message: Mapping[str, Any]) -> Flaw | None:
        """Why a message is not taken; None for one that was signed for this queue lately."""
        given = message["headers"].get(SIGNATURE)
        if not isinstance(given, dict):
            return Flaw(reason="SIGNATURE_MISSING", detail="the message is not signed")
        told = {name: given.get(name) for name in ("v", "key", "at")}
        key = self._keys.get(str(told["key"]))
        if told["v"] != VERSION:
            detail = f"version {told['v']!r:.40} of signatures is not known"
            return Flaw(reason="SIGNATURE_INVALID", detail=detail)
        if key is None:
            return Flaw(reason="SIGNATURE_INVALID", detail=f"key {told['key']!r:.40} is not known")
        # As bytes: of texts only those in ASCII can be compared.
        mac = str(given.get("mac")).encode(errors="replace")
        if not hmac.compare_digest(_mac(key, queue, message, told).encode(), mac):
            return Flaw(reason="SIGNATURE_INVALID", detail="the signature is of something else")
        age = time.time() - float(told["at"] or 0)
        if not -AHEAD_S <= age <= MAX_AGE_S:
            return Flaw(reason="SIGNATURE_EXPIRED", detail=f"it was made {age:.0f} s ago")
        return None


def load(files: Sequence[Path]) -> Keys | None:
    """The keys in these files; None where there are none.

    Raises:
        SettingsInvalid: a file cannot be read, is open to others, or is too short for a key.
    """
    return Keys([_read(file) for file in files]) if files else None


def _read(file: Path) -> bytes:
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
        key = file.read_bytes().strip()
    except OSError as error:
        raise SettingsInvalid(
            f"The message key {file} cannot be read: {error.strerror}."
        ) from error
    if mode & 0o077:
        raise SettingsInvalid(
            f"The message key {file} is open to others (mode {mode:o}).",
            suggested_action=f"chmod 600 {file}, and make a new key if somebody may have read it.",
        )
    if len(key) < MIN_KEY_BYTES:
        raise SettingsInvalid(
            f"The message key {file} has {len(key)} bytes; {MIN_KEY_BYTES} are wanted.",
            suggested_action=f"Make one: openssl rand -hex 32 > {file}",
        )
    return key


def _mac(key: bytes, queue: str, message: Mapping[str, Any], told: Mapping[str, Any]) -> str:
    body = str(message.get("body")).encode(errors="surrogatepass")
    signed = [told["v"], told["key"], told["at"], queue, hashlib.sha256(body).hexdigest()]
    return hmac.new(key, _canonical([*signed, _covered(message)]), hashlib.sha256).hexdigest()


def _covered(message: Mapping[str, Any]) -> dict[str, Any]:
    """What of a message beside its body decides what is done with it, and with its answer."""
    headers, properties = message["headers"], message.get("properties") or {}
    place = properties.get("delivery_info") or {}
    return {
        "headers": {name: value for name, value in headers.items() if name not in _UNSIGNED},
        "properties": {name: properties.get(name) for name in _PROPERTIES},
        "place": {name: place.get(name) for name in _PLACES},
        "content": {name: message.get(name) for name in _KINDS},
    }


def _canonical(value: Any) -> bytes:
    """The same bytes for a message that is about to be sent and for one that was received.

    Headers may hold what only kombu makes JSON of, such as a time; and keys are texts, in their
    order as texts, only once they are JSON.
    """
    plain = json.loads(dumps(value))
    return json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()
