"""Content identifiers equal those of other implementations, and are read strictly."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from hypothesis import given
from hypothesis import strategies as st

from proofs import CidError, CidProfile, cid_bytes, compute_cid, profile_of
from tests.unit.proofs.examples import UNHURRIED

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "proofs" / "cids.json").read_text(encoding="utf-8")
)
V0 = "QmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff5o"
V1 = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"


def _in_pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


@pytest.fixture(scope="module")
def stream() -> bytes:
    """Return as much of the deterministic input as the longest vector needs."""
    longest = max(row["size"] for row in VECTORS["shake_256"]["files"])
    return hashlib.shake_256(b"honeyflow").digest(longest)


@pytest.mark.parametrize("row", VECTORS["texts"]["files"], ids=lambda row: f"{row['text']!r}")
def test_small_files_have_their_published_cids(row: dict[str, str]) -> None:
    """The empty file and two greetings, under the names IPFS knows them by."""
    assert compute_cid(row["text"].encode("utf-8"), row["profile"]) == row["cid"]


@pytest.mark.parametrize("profile", CidProfile)
@pytest.mark.parametrize("row", VECTORS["shake_256"]["files"], ids=lambda row: str(row["size"]))
def test_files_of_one_and_many_chunks_have_the_cids_of_other_implementations(
    stream: bytes, row: dict[str, Any], profile: CidProfile
) -> None:
    """Around every boundary: one chunk, two, a full node of links, one link more."""
    assert compute_cid(stream[: row["size"]], profile) == row[profile]


@pytest.mark.parametrize("row", VECTORS["ipip_499"]["files"], ids=lambda row: str(row["size"]))
def test_the_fixtures_of_the_standard_are_met(row: dict[str, Any]) -> None:
    """IPIP-499: a file that fills one node of links, and one that needs a second level."""
    key = hashlib.sha256(row["seed"].encode("ascii")).digest()
    cipher = Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor()
    pieces = (cipher.update(bytes(1024 * 256)) for _ in range(row["size"] // (1024 * 256)))

    assert compute_cid(pieces, row["profile"]) == row["cid"]


@pytest.mark.parametrize("profile", CidProfile)
@UNHURRIED
@given(data=st.binary(max_size=64), size=st.integers(min_value=1, max_value=16))
def test_small_pieces_make_the_same_file(profile: CidProfile, data: bytes, size: int) -> None:
    """How the bytes arrive does not matter."""
    assert compute_cid(_in_pieces(data, size), profile) == compute_cid(data, profile)


@pytest.mark.parametrize("profile", CidProfile)
@pytest.mark.parametrize("size", [100_003, 262_144, 2_000_000])
def test_large_pieces_make_the_same_file(stream: bytes, profile: CidProfile, size: int) -> None:
    """Pieces need not match chunks, and an empty piece adds nothing."""
    data = stream[:3_000_000]
    pieces = [b"", *_in_pieces(data, size), b""]

    assert compute_cid(pieces, profile) == compute_cid(data, profile)


@UNHURRIED
@given(data=st.binary(max_size=4096))
def test_a_one_chunk_v1_cid_holds_the_plain_sha_256(data: bytes) -> None:
    """A short report's CID can be checked with sha256sum."""
    text = compute_cid(data, CidProfile.UNIXFS_V1_2025)

    assert cid_bytes(text)[4:] == hashlib.sha256(data).digest()


@pytest.mark.parametrize("row", VECTORS["bytes"]["cids"], ids=lambda row: row["texts"][0][:8])
def test_every_spelling_of_a_cid_has_the_same_bytes(row: dict[str, Any]) -> None:
    """Base32 and base58btc of one CID are equal once decoded."""
    assert {cid_bytes(text).hex() for text in row["texts"]} == {row["hex"]}


@pytest.mark.parametrize("profile", CidProfile)
@UNHURRIED
@given(data=st.binary(max_size=64))
def test_a_cid_tells_its_profile(profile: CidProfile, data: bytes) -> None:
    """The version in the CID is the version in the profile's name."""
    assert profile_of(compute_cid(data, profile)) is profile


def _base32(raw: bytes) -> str:
    return "b" + base64.b32encode(raw).decode("ascii").lower().rstrip("=")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "begins with neither"),
        ("Qm", "does not name a file"),
        (V0[:-1], "does not name a file"),
        (V0 + "1", "does not name a file"),
        (V0[:-1] + "0", "not base58btc"),
        (V0 + "\n", "not base58btc"),
        ("z" + V0, "does not name a file"),
        (V0.lower(), "begins with neither"),
        ("B" + V1[1:].upper(), "begins with neither"),
        ("b" + V1[1:].upper(), "not in its usual form"),
        (V1 + "=", "not in its usual form"),
        (V1[:-1], "not base32"),
        (V1[:-1] + "v", "not in its usual form"),
        (V1[:-1] + "1", "not base32"),
        (V1[:-1] + "é", "not base32"),
        (V1 + "a" * 10, "longer than 64"),
        (_base32(bytes.fromhex("01711220") + bytes(32)), "does not name a file"),
        (_base32(bytes.fromhex("01551320") + bytes(32)), "does not name a file"),
        (_base32(bytes.fromhex("02551220") + bytes(32)), "does not name a file"),
        (_base32(bytes.fromhex("1220") + bytes(32)), "does not name a file"),
        (_base32(bytes.fromhex("01551220") + bytes(31)), "does not name a file"),
    ],
)
def test_what_no_profile_makes_is_no_cid(text: str, reason: str) -> None:
    """Another codec, hash, length, alphabet or spelling is refused with its reason."""
    with pytest.raises(CidError, match=reason):
        cid_bytes(text)


def test_an_unknown_profile_is_named_with_the_known_ones() -> None:
    """The error says what could have been meant."""
    with pytest.raises(CidError, match="no CID profile 'unixfs-v2'") as caught:
        compute_cid(b"", "unixfs-v2")

    assert "unixfs-v0-2015, unixfs-v1-2025" in caught.value.suggested_action
