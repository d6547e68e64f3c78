"""Checkpoints and cosignatures are those of C2SP, as another implementation reads them too."""

from __future__ import annotations

import base64

import pytest
from cryptography.exceptions import InvalidSignature
from hypothesis import given
from hypothesis import strategies as st
from tlog_scales import signing, tlog

from proofs.checkpoint import (
    Checkpoint,
    cosign,
    is_signed_by,
    log_vkey,
    sign,
    verify_cosignature,
    witness_vkey,
)
from proofs.errors import CheckpointInvalid, NoteInvalid, SignatureInvalid
from proofs.merkle import EMPTY_ROOT
from proofs.note import Note, NoteSignature, VerifierKey
from tests.unit.proofs.examples import UNHURRIED
from tests.unit.proofs.signers import KEY, ORIGIN, OTHER, key_of

WITNESS = key_of("a witness")
NAME = "witness.example/w1"
AT = 1_766_000_000
HEAD = Checkpoint(origin=ORIGIN, size=300, root=bytes(range(32)))
LINE = sign(HEAD, KEY)
COSIGNED = cosign(HEAD, WITNESS, name=NAME, at=AT)
NOTE = Note(text=HEAD.body, signatures=(LINE, COSIGNED))
VKEY = witness_vkey(NAME, WITNESS.public_key)
# The example of c2sp.org/tlog-checkpoint, whose keys are not published.
PUBLISHED = """example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/\
Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oy\
in1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
"""


def _with(*lines: NoteSignature, text: str = HEAD.body) -> Note:
    return Note(text=text, signatures=lines)


def test_a_checkpoint_is_three_lines() -> None:
    """Origin, size, root."""
    assert f"{ORIGIN}\n300\n{base64.b64encode(HEAD.root).decode()}\n" == HEAD.body
    assert HEAD == Checkpoint.from_note(NOTE)


def test_the_published_checkpoint_is_read() -> None:
    """It is written back as it was."""
    note = Note.parse(PUBLISHED.encode())
    head = Checkpoint.from_note(note)

    assert ("example.com/behind-the-sofa", 20852163) == (head.origin, head.size)
    assert note.text == head.body
    assert PUBLISHED.encode() == note.to_bytes()
    # The witness of the example says when it signed.
    assert 1679315147 == int.from_bytes(note.signatures[1].signature[:8], "big")


def test_a_log_signs_its_checkpoint() -> None:
    """Its own key does, and no other is taken for it."""
    assert is_signed_by(NOTE, KEY.public_key)
    assert not is_signed_by(NOTE, OTHER.public_key)
    assert not is_signed_by(_with(COSIGNED), KEY.public_key)


def test_both_keys_of_a_handover_may_sign_one_checkpoint() -> None:
    """Either is enough for whoever knows it."""
    note = _with(LINE, sign(HEAD, OTHER))

    assert is_signed_by(note, KEY.public_key)
    assert is_signed_by(note, OTHER.public_key)


def test_a_signature_of_another_head_refuses_the_note() -> None:
    """The size, the root or the origin changed: the same log's key does not vouch for it."""
    for size, root in ((301, HEAD.root), (300, bytes(32))):
        head = Checkpoint(origin=ORIGIN, size=size, root=root)
        with pytest.raises(SignatureInvalid, match="is not over this text"):
            is_signed_by(_with(LINE, text=head.body), KEY.public_key)
    elsewhere = Checkpoint(origin=ORIGIN + "0", size=300, root=HEAD.root)
    assert not is_signed_by(_with(LINE, text=elsewhere.body), KEY.public_key)


def test_one_false_line_of_a_known_key_spoils_the_note() -> None:
    """A true one beside it does not help."""
    false = NoteSignature(name=LINE.name, key_id=LINE.key_id, signature=bytes(64))

    for lines in ((LINE, false), (false, LINE)):
        with pytest.raises(SignatureInvalid):
            is_signed_by(_with(*lines), KEY.public_key)


def test_a_witness_says_when_it_cosigned() -> None:
    """The newest time counts; nobody else's line does."""
    later = cosign(HEAD, WITNESS, name=NAME, at=AT + 5)

    assert AT == verify_cosignature(NOTE, VKEY)
    assert AT + 5 == verify_cosignature(_with(LINE, later, COSIGNED), VKEY)
    assert None is verify_cosignature(_with(LINE), VKEY)
    assert None is verify_cosignature(NOTE, witness_vkey(NAME, OTHER.public_key))
    assert None is verify_cosignature(NOTE, witness_vkey(NAME + "2", WITNESS.public_key))


def _stamped(signature: bytes) -> Note:
    return _with(LINE, NoteSignature(name=NAME, key_id=VKEY.key_id, signature=signature))


BROKEN_COSIGNATURES = {
    "a later time": (
        (AT + 1).to_bytes(8, "big") + COSIGNED.signature[8:],
        "not over this checkpoint",
    ),
    "no time": (COSIGNED.signature[8:], "64 bytes, not 72"),
    "a byte more": (COSIGNED.signature + b"x", "73 bytes, not 72"),
    "beyond all years": (b"\xff" * 8 + COSIGNED.signature[8:], "beyond all years"),
    "a note's signature": (bytes(8) + sign(HEAD, WITNESS).signature, "not over this checkpoint"),
}


@pytest.mark.parametrize("name", BROKEN_COSIGNATURES)
def test_a_false_cosignature_refuses_the_note(name: str) -> None:
    """Each with its own reason."""
    signature, reason = BROKEN_COSIGNATURES[name]

    with pytest.raises(SignatureInvalid, match=reason):
        verify_cosignature(_stamped(signature), VKEY)


def test_a_logs_key_checks_no_cosignatures() -> None:
    """The same key has two purposes at most, and two ids."""
    with pytest.raises(NoteInvalid, match="of kind 0x01"):
        verify_cosignature(NOTE, log_vkey(ORIGIN, KEY.public_key))


@pytest.mark.parametrize("at", [-1, 2**63])
def test_a_cosignature_has_a_time(at: int) -> None:
    """One that the form holds."""
    with pytest.raises(CheckpointInvalid, match="is not a time"):
        cosign(HEAD, WITNESS, name=NAME, at=at)


def test_an_origin_that_is_no_name_cannot_sign() -> None:
    """It could be a checkpoint's first line, but not the name of its key."""
    with pytest.raises(NoteInvalid, match="a space or a plus sign"):
        sign(Checkpoint(origin="a b", size=1, root=bytes(32)), KEY)


ROOT = base64.b64encode(HEAD.root).decode()
BROKEN = {
    "one line": ("a\n", "1 lines, not 3"),
    "two lines": ("a\n1\n", "2 lines, not 3"),
    "an extension": (f"a\n1\n{ROOT}\nmore\n", "extension lines"),
    "an empty line": (f"a\n1\n{ROOT}\n\n", "extension lines"),
    "no origin": (f"\n1\n{ROOT}\n", "origin is not one line"),
    "a long origin": (f"{'a' * 513}\n1\n{ROOT}\n", "origin is not one line"),
    "a leading zero": (f"a\n01\n{ROOT}\n", "'01' is not a size"),
    "a sign": (f"a\n+1\n{ROOT}\n", "is not a size"),
    "a negative size": (f"a\n-1\n{ROOT}\n", "is not a size"),
    "no size": (f"a\n\n{ROOT}\n", "'' is not a size"),
    "a blank": (f"a\n1 \n{ROOT}\n", "is not a size"),
    "digits of elsewhere": (f"a\n\u0661\n{ROOT}\n", "is not a size"),
    "a huge size": (f"a\n{'9' * 5000}\n{ROOT}\n", "is not a size"),
    "beyond 63 bits": (f"a\n{2**63}\n{ROOT}\n", "from 0 to 9223372036854775807"),
    "no root": ("a\n1\n!\n", "'!' is not a root hash"),
    "a short root": ("a\n1\nAAAA\n", "3 bytes, not 32"),
    "a root in hex": (f"a\n1\n{HEAD.root.hex()}\n", "48 bytes, not 32"),
    "an odd root": (f"a\n1\n{ROOT[:-2]}9=\n", "is not a root hash"),
    "an empty log": (f"a\n0\n{ROOT}\n", "not that of the empty tree"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_checkpoint_is_refused(name: str) -> None:
    """Each with its own reason."""
    text, reason = BROKEN[name]

    with pytest.raises(CheckpointInvalid, match=reason):
        Checkpoint.from_note(_with(LINE, text=text))


def test_an_empty_log_has_a_head() -> None:
    """Its root is that of no leaves."""
    head = Checkpoint(origin=ORIGIN, size=0, root=EMPTY_ROOT)

    assert head == Checkpoint.from_note(_with(LINE, text=head.body))


def test_a_head_made_here_obeys_the_same_rules() -> None:
    """No value that could not be read back."""
    for origin in ("", "a\nb", "a\tb", "\ud800"):
        with pytest.raises(CheckpointInvalid):
            Checkpoint(origin=origin, size=1, root=bytes(32))
    with pytest.raises(CheckpointInvalid, match="size"):
        Checkpoint(origin="a", size=True, root=bytes(32))


def test_another_implementation_accepts_ours() -> None:
    """Checkpoint, cosignature and both keys, read by tlog-scales."""
    theirs = tlog.Checkpoint.from_text(NOTE.to_bytes().decode())
    log = signing.Vkey.from_string(log_vkey(ORIGIN, KEY.public_key).text)
    witness = signing.Vkey.from_string(VKEY.text)

    assert (ORIGIN, 300, HEAD.root) == (theirs.origin, theirs.size, theirs.root_hash)
    theirs.verify(log)
    theirs.verify(witness)
    assert 2 == len(signing.VkeySet(log, witness).verify(theirs.signatures, theirs))
    other = signing.Vkey(ORIGIN, log.key_id, 1, OTHER.public_key.raw)
    with pytest.raises(InvalidSignature):
        theirs.verify(other)


@UNHURRIED
@given(seed=st.binary(min_size=32, max_size=32), size=st.integers(1, 2**63 - 1))
def test_we_accept_what_another_implementation_signs(seed: bytes, size: int) -> None:
    """Byte for byte what we would have signed."""
    signer = signing.PlainEd25519Signer(ORIGIN, seed)
    theirs = tlog.Checkpoint.make_signed(ORIGIN, size, seed, [signer])
    note = Note.parse(theirs.serialize().encode())
    key = VerifierKey.parse(signer.vkey.serialize()).ed25519

    assert is_signed_by(note, key)
    assert (size, seed) == (Checkpoint.from_note(note).size, Checkpoint.from_note(note).root)


@UNHURRIED
@given(at=st.integers(0, len(NOTE.to_bytes()) - 1), by=st.integers(1, 255))
def test_no_byte_of_a_checkpoint_can_change(at: int, by: int) -> None:
    """It is refused, or what it says of a known key is gone."""
    changed = bytearray(NOTE.to_bytes())
    changed[at] ^= by

    try:
        note = Note.parse(bytes(changed))
        signed = is_signed_by(note, KEY.public_key)
        cosigned = verify_cosignature(note, VKEY) is not None
    except (NoteInvalid, SignatureInvalid):
        return
    assert not (signed and cosigned)
