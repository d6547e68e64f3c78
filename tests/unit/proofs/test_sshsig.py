"""SSH signatures are those of ssh-keygen, byte for byte, and are read in no other form."""

from __future__ import annotations

import base64
import hashlib
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs.errors import SignatureInvalid
from proofs.keys import PublicKey
from proofs.sshsig import BATCH_NAMESPACE, RECEIPT_NAMESPACE, sign, verify
from tests.unit.proofs.examples import UNHURRIED
from tests.unit.proofs.signers import BEE, KEY, OTHER, keygen, needs_openssh, write_key

MESSAGE = b'{"a":"receipt"}'
SIGNED = sign(KEY, namespace=RECEIPT_NAMESPACE, message=MESSAGE)
# Published with its key in 2025 by a bee of another program, over a digest and a newline.
PUBLISHED = b"""-----BEGIN SSH SIGNATURE-----
U1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAgxciHC7BNr3Vv2AAdXa3T6NAbjA
lnF1ViKxvACr+4854AAAANc3dhcm0tcmVjZWlwdAAAAAAAAAAGc2hhNTEyAAAAUwAAAAtz
c2gtZWQyNTUxOQAAAEC7ote4p9OySg2SZu/9/i5DbvNrCoHzZi1G7sr4Waj6Y77+8kdDtO
Qq/Tm4Exkr2+mHb4agfQSSdqVyDGoDdhEB
-----END SSH SIGNATURE-----
"""
PUBLISHED_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMXIhwuwTa91b9gAHV2t0+jQG4wJZxdVYisbwAq/uPOe"
PUBLISHED_MESSAGE = b"4e9c447c0b26624780fb52580fabec7eeac15ce0b2a1e720fe1005d235293ba9\n"


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _armour(blob: bytes) -> bytes:
    text = base64.b64encode(blob)
    lines = [text[start : start + 70] + b"\n" for start in range(0, len(text), 70)]
    return b"-----BEGIN SSH SIGNATURE-----\n" + b"".join(lines) + b"-----END SSH SIGNATURE-----\n"


def _made(
    *,
    magic: bytes = b"SSHSIG",
    version: int = 1,
    key: bytes = KEY.public_key.blob,
    namespace: bytes = RECEIPT_NAMESPACE.encode(),
    reserved: bytes = b"",
    algorithm: str = "sha512",
    kind: bytes = b"ssh-ed25519",
    after: bytes = b"",
    inside: bytes = b"",
    cut: int = 0,
) -> bytes:
    """A signature that is right in all but what a test changes."""
    digest = hashlib.new(algorithm, MESSAGE).digest()
    signed = b"SSHSIG" + b"".join(map(_string, (namespace, reserved, algorithm.encode(), digest)))
    signature = KEY.sign(signed)
    inner = _string(kind) + _string(signature[: 64 - cut]) + inside
    blob = magic + struct.pack(">I", version)
    blob += b"".join(map(_string, (key, namespace, reserved, algorithm.encode(), inner)))
    return _armour(blob + after)


def test_a_signature_names_the_key_that_made_it() -> None:
    """And the forger of this file can make a right one."""
    assert KEY.public_key == verify(SIGNED, namespace=RECEIPT_NAMESPACE, message=MESSAGE)
    assert SIGNED == _made()


def test_a_signature_over_sha256_counts_too() -> None:
    """As `ssh-keygen -O hashalg=sha256` makes it."""
    signed = _made(algorithm="sha256")

    assert KEY.public_key == verify(signed, namespace=RECEIPT_NAMESPACE, message=MESSAGE)


def test_a_published_signature_verifies() -> None:
    """With its final newline, and not without."""
    key = verify(PUBLISHED, namespace=RECEIPT_NAMESPACE, message=PUBLISHED_MESSAGE)

    assert PublicKey.from_openssh(PUBLISHED_KEY) == key
    with pytest.raises(SignatureInvalid, match="over other bytes"):
        verify(PUBLISHED, namespace=RECEIPT_NAMESPACE, message=PUBLISHED_MESSAGE.rstrip())


BROKEN = {
    "another message": (sign(KEY, namespace=RECEIPT_NAMESPACE, message=b"x"), "over other bytes"),
    "another key": (_made(key=OTHER.public_key.blob), "over other bytes"),
    "another namespace": (_made(namespace=b"file"), "for the namespace 'file'"),
    "a longer namespace": (_made(namespace=b"swarm-receipt\x00"), "for the namespace"),
    "another magic": (_made(magic=b"SSHSIH"), "begin with SSHSIG"),
    "version 0": (_made(version=0), "version 0, not 1"),
    "version 2": (_made(version=2), "version 2, not 1"),
    "reserved data": (_made(reserved=b"x"), "reserved field is not empty"),
    "md5": (_made(algorithm="md5"), "hash algorithm is 'md5'"),
    "sha1": (_made(algorithm="sha1"), "hash algorithm is 'sha1'"),
    "a key of RSA": (_made(key=_string(b"ssh-rsa") + _string(b"x")), "an ssh-ed25519 key"),
    "no key": (_made(key=b""), "an ssh-ed25519 key"),
    "another type": (_made(kind=b"ssh-ed25518"), "type is not ssh-ed25519"),
    "bytes after it": (_made(after=b"x"), "1 bytes follow the signature's envelope"),
    "bytes inside it": (_made(inside=b"xy"), "2 bytes follow the signature"),
    "a short signature": (_made(cut=1), "63 bytes, not 64"),
    "an end within": (
        _armour(b"SSHSIG\x00\x00\x00\x01\x00\x00\x00\x33abc"),
        "within its public key",
    ),
    "an end before": (_armour(b"SSHSIG\x00"), "within its version"),
    "a huge length": (_armour(b"SSHSIG\x00\x00\x00\x01\xff\xff\xff\xff"), "within its public key"),
    "nothing": (b"", "line BEGIN"),
    "no end": (SIGNED[:-1], "line END"),
    "blanks before": (b" " + SIGNED, "line BEGIN"),
    "text after": (SIGNED + b"\n", "line END"),
    "Windows newlines": (SIGNED.replace(b"\n", b"\r\n"), "line BEGIN"),
    "a mark among the text": (SIGNED.replace(b"U1NI", b"U1N!"), "not base64"),
    "other line breaks": (SIGNED.replace(b"U1NI", b"U1NI\n", 1), "form that ssh-keygen writes"),
    "one character less": (SIGNED.replace(b"U1NI", b"U1N", 1), "base64"),
    "a megabyte": (SIGNED * 4000, "more than 4096"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_any_other_form_is_refused(name: str) -> None:
    """Each with its own reason, in a sentence that says what it is about."""
    signature, reason = BROKEN[name]

    with pytest.raises(SignatureInvalid, match=reason) as refused:
        verify(signature, namespace=RECEIPT_NAMESPACE, message=MESSAGE)
    assert refused.value.message.startswith("the SSH signature is refused: ")


def test_a_signature_for_one_purpose_serves_no_other() -> None:
    """A receipt's signature is none of a batch, though the bytes are the same."""
    with pytest.raises(SignatureInvalid, match="for the namespace 'swarm-receipt'"):
        verify(SIGNED, namespace=BATCH_NAMESPACE, message=MESSAGE)


@UNHURRIED
@given(at=st.integers(0, len(SIGNED) - 1), by=st.integers(1, 255))
def test_no_byte_of_a_signature_can_change(at: int, by: int) -> None:
    """Whichever it is."""
    changed = bytearray(SIGNED)
    changed[at] ^= by

    with pytest.raises(SignatureInvalid):
        verify(bytes(changed), namespace=RECEIPT_NAMESPACE, message=MESSAGE)


@UNHURRIED
@given(blob=st.binary(max_size=300))
def test_any_bytes_in_the_right_armour_are_refused(blob: bytes) -> None:
    """Nothing but our own error comes out."""
    for inside in (blob, b"SSHSIG\x00\x00\x00\x01" + blob):
        with pytest.raises(SignatureInvalid):
            verify(_armour(inside), namespace=RECEIPT_NAMESPACE, message=MESSAGE)


@UNHURRIED
@given(message=st.binary(max_size=2000), namespace=st.text("abc-é@.", min_size=1, max_size=40))
def test_every_message_can_be_signed(message: bytes, namespace: str) -> None:
    """Whatever it holds."""
    signed = sign(KEY, namespace=namespace, message=message)

    assert KEY.public_key == verify(signed, namespace=namespace, message=message)


@needs_openssh
@pytest.mark.parametrize("message", [b"", MESSAGE, b"\x00\xff\n" * 5000], ids=len)
@pytest.mark.parametrize("namespace", [RECEIPT_NAMESPACE, BATCH_NAMESPACE])
def test_ssh_keygen_writes_the_same_bytes(tmp_path: Path, message: bytes, namespace: str) -> None:
    """Ed25519 leaves nothing to chance, so equal keys and messages mean equal files."""
    file = write_key(tmp_path, KEY)
    theirs = keygen("-Y", "sign", "-f", file, "-n", namespace, data=message)

    assert theirs.stdout == sign(KEY, namespace=namespace, message=message), theirs.stderr


@needs_openssh
def test_ssh_keygen_accepts_ours_and_refuses_what_we_refuse(tmp_path: Path) -> None:
    """The same file of allowed signers, the same answers."""
    allowed = tmp_path / "allowed_signers"
    allowed.write_text(f'{BEE} namespaces="{RECEIPT_NAMESPACE}" {KEY.public_key.to_openssh()}\n')
    signature = tmp_path / "receipt.sig"

    def accepts(signed: bytes, message: bytes = MESSAGE, principal: str = BEE) -> bool:
        signature.write_bytes(signed)
        words = ("-Y", "verify", "-f", allowed, "-I", principal, "-n", RECEIPT_NAMESPACE)
        return keygen(*words, "-s", signature, data=message).returncode == 0

    assert accepts(SIGNED)
    assert accepts(_made(algorithm="sha256"))
    assert not accepts(SIGNED, b"x")
    assert not accepts(SIGNED, principal="wasp.example")
    assert not accepts(sign(OTHER, namespace=RECEIPT_NAMESPACE, message=MESSAGE))
    # An older version and damage to the armour alone are forgiven there, and refused here.
    forgiven = {"version 0", "no end", "text after", "Windows newlines", "other line breaks"}
    forgiven |= {"a megabyte"}
    refused = {name: signed for name, (signed, _) in BROKEN.items() if name not in forgiven}
    assert [] == [name for name, signed in refused.items() if accepts(signed)]
