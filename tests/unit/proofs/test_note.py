"""Signed notes are those of C2SP: its own example, and a refusal for every way to break one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs.checkpoint import is_signed_with
from proofs.errors import NoteInvalid, SignatureInvalid
from proofs.note import MAX_SIGNATURES, Note, NoteSignature, VerifierKey
from tests.unit.proofs.examples import UNHURRIED
from tests.unit.proofs.signers import KEY

# The example of c2sp.org/signed-note, and that of Go's package sumdb/note.
PUBLISHED = {
    "C2SP": (
        "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6Tf"
        "Xppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n",
    ),
    "Go": (
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "If you think cryptography is the answer to your problem,\nthen you don't know what your"
        " problem is.\n\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC"
        "2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n",
    ),
}
VKEY, NOTE = PUBLISHED["C2SP"]
TEXT, _, LINE = NOTE.rpartition("\n\n")
ID = b"\x01\x02\x03\x04"


def _note(text: str) -> Note:
    return Note.parse(text.encode("utf-8"))


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_notes_verify(name: str) -> None:
    """With the published key, and they are written as they were read."""
    vkey, text = VerifierKey.parse(PUBLISHED[name][0]), PUBLISHED[name][1]
    note = _note(text)

    assert is_signed_with(note, vkey)
    assert (PUBLISHED[name][0], text) == (vkey.text, note.to_bytes().decode())


def test_a_changed_text_is_not_signed() -> None:
    """Nor is a note that another key signed, whose lines mean nothing to us."""
    note, vkey = _note(NOTE), VerifierKey.parse(VKEY)
    other = VerifierKey(name=vkey.name, kind=1, public_key=KEY.public_key.raw)

    with pytest.raises(SignatureInvalid, match=r"example.com/foo is not over this text"):
        is_signed_with(Note(text="Another\n", signatures=note.signatures), vkey)
    assert not is_signed_with(note, other)
    assert () == note.by(other)


def test_a_note_may_hold_empty_lines() -> None:
    """The last one ends the text."""
    note = _note(f"a\n\nb\n\n{LINE}")

    assert "a\n\nb\n" == note.text


def test_lines_of_unknown_keys_are_kept() -> None:
    """Of any length, also those that no key of ours could have made."""
    line = NoteSignature(name="über.example", key_id=ID, signature=b"x" * 5000).line
    note = _note(f"{TEXT}\n\n{line}\n{LINE}")

    assert ["über.example", "example.com/foo"] == [one.name for one in note.signatures]
    assert is_signed_with(note, VerifierKey.parse(VKEY))


def test_as_many_signatures_as_the_limit_and_no_more() -> None:
    """The standard asks for 16 at least."""
    assert MAX_SIGNATURES >= 16
    assert MAX_SIGNATURES == len(_note(f"{TEXT}\n\n" + LINE * MAX_SIGNATURES).signatures)
    with pytest.raises(NoteInvalid, match="more than 64"):
        _note(f"{TEXT}\n\n" + LINE * (MAX_SIGNATURES + 1))


BROKEN = {
    "nothing": (b"", "no empty line"),
    "text alone": (b"text\n", "no empty line"),
    "no signature": (b"text\n\n", "no signature follows"),
    "no final newline": (NOTE[:-1].encode(), "does not end in a newline"),
    "not UTF-8": (b"\xff" + NOTE.encode(), "byte 0 is not UTF-8"),
    "a tab": (b"a\t" + NOTE.encode(), r"U\+0009"),
    "a carriage return": (NOTE.replace("\n", "\r\n").encode(), r"U\+000D"),
    "a zero": (b"\x00" + NOTE.encode(), r"U\+0000"),
    "a hyphen": (NOTE.replace("—", "-").encode(), "em dash"),
    "no name": (NOTE.replace("example.com/foo ", "").encode(), "4 bytes, not 0"),
    "an empty name": (NOTE.replace("example.com/foo ", " ").encode(), "name is empty"),
    "a plus in the name": (NOTE.replace("m/f", "m+f").encode(), "a plus sign"),
    "a no-break space": (NOTE.replace("m/f", "m\u00a0f").encode(), "a space"),
    "two spaces": (NOTE.replace("foo ", "foo  ").encode(), "not base64"),
    "no base64": (NOTE.replace("Uw2Q", "Uw2!").encode(), "not base64"),
    "odd base64": (NOTE.replace("QM=\n", "QN=\n").encode(), "not base64"),
    "a short id": ("a\n\n— x AQID\n".encode(), "4 bytes, not 3"),
    "an id alone": ("a\n\n— x AQIDBA==\n".encode(), "holds no signature"),
    "a huge note": (b"x" * 262_144 + NOTE.encode(), "at most 262144 bytes"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_note_is_refused(name: str) -> None:
    """Each with its own reason."""
    data, reason = BROKEN[name]

    with pytest.raises(NoteInvalid, match=reason):
        Note.parse(data)


def test_no_note_is_made_that_could_not_be_read() -> None:
    """The same rules in both directions."""
    line = NoteSignature(name="a", key_id=ID, signature=b"x")

    for text in ("no newline", "a\tb\n", "\ud800\n"):
        with pytest.raises(NoteInvalid):
            Note(text=text, signatures=(line,))
    with pytest.raises(NoteInvalid, match="1 to 64 signatures, not 0"):
        Note(text="a\n", signatures=())
    for name in ("", "a b", "a+b", "a\nb", "\ud800"):
        with pytest.raises(NoteInvalid):
            NoteSignature(name=name, key_id=ID, signature=b"x")


def _names() -> st.SearchStrategy[str]:
    letters = st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"])
    return st.text(letters, min_size=1, max_size=20).filter(lambda text: "+" not in text)


def _texts() -> st.SearchStrategy[str]:
    letters = st.characters(exclude_categories=["Cs", "Cc"]) | st.just("\n")
    return st.text(letters, max_size=80).map(lambda text: text + "\n")


@UNHURRIED
@given(
    text=_texts(),
    lines=st.lists(
        st.builds(
            NoteSignature,
            name=_names(),
            key_id=st.binary(min_size=4, max_size=4),
            signature=st.binary(min_size=1, max_size=100),
        ),
        min_size=1,
        max_size=5,
    ),
)
def test_a_note_reads_what_it_writes(text: str, lines: list[NoteSignature]) -> None:
    """Whatever it says."""
    note = Note(text=text, signatures=tuple(lines))

    assert note == Note.parse(note.to_bytes())


@UNHURRIED
@given(
    data=st.binary(max_size=200)
    | st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass"))
)
def test_any_bytes_are_a_note_or_refused(data: bytes) -> None:
    """What is accepted is written back byte for byte; else nothing but our own error."""
    for whole in (data, b"a\n\n" + data, "a\n\n— x ".encode() + data):
        try:
            note = Note.parse(whole)
        except NoteInvalid:
            continue
        assert whole == note.to_bytes()


BROKEN_KEYS = {
    "": "plus signs between",
    "example.com/foo": "plus signs between",
    "example.com/foo+530d903a": "plus signs between",
    VKEY.replace("530d903a", "530D903A"): "not 8 lower-case hex digits",
    VKEY.replace("530d903a", "30d903a"): "not 8 lower-case hex digits",
    VKEY.replace("530d903a", "530d903b"): "has the id 530d903a, not 530d903b",
    VKEY.replace("foo", "bar"): "has the id",
    VKEY.replace("U2k", "U2l"): "has the id",
    VKEY + "=": "not base64",
    VKEY[:-4]: "32 bytes, not 29",
    "example.com/foo+530d903a+": "not base64",
    "example.com/foo+530d903a+AAAA": "a byte from 1 to 255, not 0",
    VKEY.replace("example.com", ""): "has the id",
    VKEY.replace("example.com/foo", ""): "name is empty",
    VKEY.replace("example.com/foo", "a b"): "a space or a plus sign",
}


@pytest.mark.parametrize("text", BROKEN_KEYS, ids=range(len(BROKEN_KEYS)))
def test_what_is_no_verifier_key_is_refused(text: str) -> None:
    """Each with its own reason."""
    with pytest.raises(NoteInvalid, match=BROKEN_KEYS[text]):
        VerifierKey.parse(text)


@UNHURRIED
@given(
    name=_names(), kind=st.sampled_from([1, 4, 6, 0xFA]), raw=st.binary(min_size=32, max_size=32)
)
def test_a_verifier_key_reads_what_it_writes(name: str, kind: int, raw: bytes) -> None:
    """Base64 may hold plus signs of its own."""
    key = VerifierKey(name=name, kind=kind, public_key=raw)

    assert key == VerifierKey.parse(key.text)


def test_a_key_of_another_kind_is_no_ed25519_key() -> None:
    """It can be named, and checks nothing."""
    key = VerifierKey(name="a", kind=6, public_key=bytes(1312))

    with pytest.raises(NoteInvalid, match="of kind 0x06, not Ed25519"):
        _ = key.ed25519


def test_a_key_has_other_ids_for_other_purposes() -> None:
    """So that a log's signature is never taken for a witness's."""
    raw = KEY.public_key.raw
    keys = [VerifierKey(name=name, kind=kind, public_key=raw) for name in "ab" for kind in (1, 4)]

    assert 4 == len({key.key_id for key in keys})
