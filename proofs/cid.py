"""Content identifiers of files, computed offline: no node, no network, no blocks kept.

Two profiles of IPIP-499, each fixing everything that decides a file's CID:

- `unixfs-v0-2015`: CIDv0 (`Qm…`), 256 KiB chunks in dag-pb leaves, 174 links per node;
- `unixfs-v1-2025`: CIDv1 (`bafk…`, `bafy…`), 1 MiB chunks as raw leaves, 1024 links per node.

Both build a balanced tree (every leaf equally deep) of UnixFS nodes in dag-pb encoding under
SHA-256. A `unixfs-v1-2025` CID of one chunk therefore holds the plain SHA-256 of the file. The same
CID has several spellings, so CIDs are compared as bytes. Directories and uploads do not live here.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from proofs.errors import CidError

_SHA2_256 = b"\x12\x20"
_RAW = b"\x01\x55"
_DAG_PB = b"\x01\x70"
_UNIXFS_FILE = b"\x08\x02"
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_LONGEST_TEXT = 64


class CidProfile(StrEnum):
    """The profiles of IPIP-499, by their published names."""

    UNIXFS_V0_2015 = "unixfs-v0-2015"
    UNIXFS_V1_2025 = "unixfs-v1-2025"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """What a profile fixes: bytes per chunk, links per node, and how blocks are named."""

    chunk: int
    links: int
    raw_leaves: bool
    node_prefix: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Node:
    """A block already hashed: its CID, the bytes of file under it, and of blocks under it."""

    cid: bytes
    file_size: int
    dag_size: int


_LAYOUTS = {
    CidProfile.UNIXFS_V0_2015: _Layout(
        chunk=256 * 1024, links=174, raw_leaves=False, node_prefix=b""
    ),
    CidProfile.UNIXFS_V1_2025: _Layout(
        chunk=1024 * 1024, links=1024, raw_leaves=True, node_prefix=_DAG_PB
    ),
}


def cid(
    data: bytes | Iterable[bytes], profile: CidProfile | str = CidProfile.UNIXFS_V0_2015
) -> str:
    """Return the CID of a file given as bytes, or piecewise in pieces of any length.

    Raises:
        CidError: There is no such profile.
    """
    layout = _LAYOUTS[_known_profile(profile)]
    level = [_leaf(chunk, layout) for chunk in _chunks(data, layout.chunk)]
    while len(level) > 1:
        level = [
            _parent(level[start : start + layout.links], layout)
            for start in range(0, len(level), layout.links)
        ]
    return _text(level[0].cid)


def cid_bytes(text: str) -> bytes:
    """Decode a CID's text: CIDv0 in base58btc, CIDv1 in base32 (`b…`) or base58btc (`z…`).

    Returns:
        34 bytes for CIDv0, 36 for CIDv1. Two CIDs are the same if and only if these are.

    Raises:
        CidError: Any other text, codec or hash function, or a spelling no encoder produces.
    """
    if len(text) > _LONGEST_TEXT:
        raise _not_a_cid(text, f"it is longer than {_LONGEST_TEXT} characters")
    if text.startswith("Qm"):
        raw = _from_base58(text, text)
        prefixes: tuple[bytes, ...] = (_SHA2_256,)
    elif text[:1] in ("b", "z"):
        raw = _from_base32(text) if text[0] == "b" else _from_base58(text[1:], text)
        prefixes = (_RAW + _SHA2_256, _DAG_PB + _SHA2_256)
    else:
        raise _not_a_cid(text, "it begins with neither Qm, b nor z")
    if not any(raw.startswith(known) and len(raw) == len(known) + 32 for known in prefixes):
        raise _not_a_cid(text, "it does not name a file under SHA-256")
    return raw


def profile_of(text: str) -> CidProfile:
    """Return the profile whose CIDs look like this one.

    Raises:
        CidError: The text is not a CID.
    """
    is_v0 = cid_bytes(text).startswith(_SHA2_256)
    return CidProfile.UNIXFS_V0_2015 if is_v0 else CidProfile.UNIXFS_V1_2025


def _known_profile(profile: CidProfile | str) -> CidProfile:
    try:
        return CidProfile(profile)
    except ValueError as exc:
        raise CidError(
            f"there is no CID profile {profile!r}",
            suggested_action="Use one of: " + ", ".join(CidProfile) + ".",
        ) from exc


def _chunks(data: bytes | Iterable[bytes], size: int) -> Iterator[bytes]:
    """Cut into chunks of `size` bytes, the last one shorter; an empty file is one empty chunk."""
    if isinstance(data, bytes):
        yield data[:size]
        yield from (data[start : start + size] for start in range(size, len(data), size))
        return
    pending = bytearray()
    empty = True
    for piece in data:
        pending += piece
        while len(pending) >= size:
            empty = False
            yield bytes(pending[:size])
            del pending[:size]
    if pending or empty:
        yield bytes(pending)


def _leaf(chunk: bytes, layout: _Layout) -> _Node:
    if layout.raw_leaves:
        digest = hashlib.sha256(chunk).digest()
        return _Node(cid=_RAW + _SHA2_256 + digest, file_size=len(chunk), dag_size=len(chunk))
    # UnixFS writers leave the data field out when there is none; the empty file's CID shows it.
    content = _field(2, chunk) if chunk else b""
    unixfs = _UNIXFS_FILE + content + _number(3, len(chunk))
    return _node(_field(1, unixfs), layout, file_size=len(chunk), below=0)


def _parent(children: list[_Node], layout: _Layout) -> _Node:
    links = b"".join(
        _field(2, _field(1, child.cid) + _field(2, b"") + _number(3, child.dag_size))
        for child in children
    )
    file_size = sum(child.file_size for child in children)
    sizes = b"".join(_number(4, child.file_size) for child in children)
    unixfs = _UNIXFS_FILE + _number(3, file_size) + sizes
    # dag-pb writes the links before the data although their field number is the higher one.
    block = links + _field(1, unixfs)
    below = sum(child.dag_size for child in children)
    return _node(block, layout, file_size=file_size, below=below)


def _node(block: bytes, layout: _Layout, *, file_size: int, below: int) -> _Node:
    name = layout.node_prefix + _SHA2_256 + hashlib.sha256(block).digest()
    return _Node(cid=name, file_size=file_size, dag_size=len(block) + below)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _field(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _text(raw: bytes) -> str:
    return _to_base58(raw) if raw.startswith(_SHA2_256) else _to_base32(raw)


def _to_base32(raw: bytes) -> str:
    return "b" + base64.b32encode(raw).decode("ascii").lower().rstrip("=")


def _from_base32(text: str) -> bytes:
    body = text[1:]
    try:
        raw = base64.b32decode(body.upper() + "=" * (-len(body) % 8))
    except ValueError as exc:
        raise _not_a_cid(text, "it is not base32") from exc
    # Refuses upper case, padding and set bits after the last byte: one CID, one base32 text.
    if _to_base32(raw) != text:
        raise _not_a_cid(text, "its base32 is not in its usual form")
    return raw


def _to_base58(raw: bytes) -> str:
    value = int.from_bytes(raw, "big")
    digits = []
    while value:
        value, digit = divmod(value, 58)
        digits.append(_BASE58[digit])
    zeros = len(raw) - len(raw.lstrip(b"\x00"))
    return "1" * zeros + "".join(reversed(digits))


def _from_base58(body: str, text: str) -> bytes:
    value = 0
    for character in body:
        digit = _BASE58.find(character)
        if digit < 0:
            raise _not_a_cid(text, "it is not base58btc")
        value = value * 58 + digit
    zeros = len(body) - len(body.lstrip("1"))
    return bytes(zeros) + value.to_bytes((value.bit_length() + 7) // 8, "big")


def _not_a_cid(text: str, reason: str) -> CidError:
    shown = ascii(text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "...")
    return CidError(
        f"{shown} is not a CID: {reason}",
        suggested_action="Give the CID as the receipt or `ipfs add` shows it (Qm… or baf…).",
    )
