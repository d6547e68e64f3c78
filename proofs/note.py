"""Signed notes (C2SP signed-note v1.0.0): a text, and lines that say who signed it.

A note is its text, an empty line, and one line per signature: an em dash, the key's name, and the
base64 of a four-byte key id and the signature. Whose signatures count is for the reader to know: a
line of an unknown key means nothing. What the signed bytes are depends on the key's kind, so they
are checked where the kind is known (`proofs.checkpoint`).
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import Self

from proofs.errors import NoteInvalid
from proofs.keys import KEY_BYTES, PublicKey

ED25519 = 0x01
COSIGNATURE_V1 = 0x04
MAX_NOTE_BYTES = 262_144
MAX_SIGNATURES = 64
KEY_ID_BYTES = 4

_ED25519_KINDS = (ED25519, COSIGNATURE_V1)
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_KEY_ID = re.compile(r"[0-9a-f]{8}")
_DASH = "\N{EM DASH} "


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteSignature:
    """One signature line: the key's name, its id, and the signature's bytes.

    Raises:
        NoteInvalid: The name cannot stand in a signature line, or bytes are missing.
    """

    name: str
    key_id: bytes
    signature: bytes

    def __post_init__(self) -> None:
        """Refuse what would not be read back."""
        _check_name(self.name)
        if len(self.key_id) != KEY_ID_BYTES:
            raise _invalid(f"a key id has {KEY_ID_BYTES} bytes, not {len(self.key_id)}")
        if not self.signature:
            raise _invalid("a signature line holds no signature")

    @classmethod
    def parse(cls, line: str) -> Self:
        """Read one line, without its newline.

        Raises:
            NoteInvalid: It is not of the form of a signature line.
        """
        if not line.startswith(_DASH):
            raise _invalid("a signature line does not begin with an em dash and a space")
        name, _, encoded = line.removeprefix(_DASH).partition(" ")
        data = decode_base64(encoded)
        if data is None:
            raise _invalid(f"the signature of {name[:80]!a} is not base64")
        return cls(name=name, key_id=data[:KEY_ID_BYTES], signature=data[KEY_ID_BYTES:])

    @property
    def line(self) -> str:
        """The line, without its newline."""
        encoded = base64.b64encode(self.key_id + self.signature).decode("ascii")
        return f"{_DASH}{self.name} {encoded}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A text that ends in a newline, and its signature lines in order.

    Raises:
        NoteInvalid: The text does not end in a newline or holds a control character, or there are
            no signatures or too many.
    """

    text: str
    signatures: tuple[NoteSignature, ...]

    def __post_init__(self) -> None:
        """Refuse what would not be read back."""
        if not self.text.endswith("\n"):
            raise _invalid("a note's text ends in a newline")
        check_text(self.text)
        if not 0 < len(self.signatures) <= MAX_SIGNATURES:
            raise _invalid(
                f"a note has 1 to {MAX_SIGNATURES} signatures, not {len(self.signatures)}"
            )

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a note; no signature is checked.

        Raises:
            NoteInvalid: The bytes are not a note; the message says why.
        """
        if len(data) > MAX_NOTE_BYTES:
            raise _invalid(f"a note has at most {MAX_NOTE_BYTES} bytes, not {len(data)}")
        try:
            whole = data.decode("utf-8")
        except UnicodeDecodeError as exc:
            raise _invalid(f"byte {exc.start} is not UTF-8") from exc
        check_text(whole)
        # The text may hold empty lines of its own: the last one ends it.
        text, separator, lines = whole.rpartition("\n\n")
        if not separator:
            raise _invalid("no empty line separates the text from the signatures")
        if not lines:
            raise _invalid("no signature follows the text")
        if not lines.endswith("\n"):
            raise _invalid("the last signature line does not end in a newline")
        if lines.count("\n") > MAX_SIGNATURES:
            raise _invalid(f"there are more than {MAX_SIGNATURES} signatures")
        signed = tuple(NoteSignature.parse(line) for line in lines[:-1].split("\n"))
        return cls(text=text + "\n", signatures=signed)

    def to_bytes(self) -> bytes:
        """Return the bytes that `parse` reads."""
        lines = "".join(signature.line + "\n" for signature in self.signatures)
        return f"{self.text}\n{lines}".encode()

    def by(self, key: VerifierKey) -> tuple[NoteSignature, ...]:
        """The lines that name this key; unchecked, usually none or one."""
        return tuple(
            line for line in self.signatures if (line.name, line.key_id) == (key.name, key.key_id)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierKey:
    """A named public key of one kind, as `name+id+base64` ("vkey").

    Raises:
        NoteInvalid: The name cannot stand in a signature line, the kind is no byte, or the key has
            not the length of its kind.
    """

    name: str
    kind: int
    public_key: bytes

    def __post_init__(self) -> None:
        """Refuse what is not a key."""
        _check_name(self.name)
        if not 0 < self.kind <= 0xFF:
            raise _invalid(f"a key's kind is a byte from 1 to 255, not {self.kind}")
        if self.kind in _ED25519_KINDS and len(self.public_key) != KEY_BYTES:
            raise _invalid(f"an Ed25519 key has {KEY_BYTES} bytes, not {len(self.public_key)}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a key from its text.

        Raises:
            NoteInvalid: It is not of this form, or its id is not the one of its key.
        """
        # Base64 may hold plus signs of its own: only the first two separate.
        parts = text.split("+", 2)
        if len(parts) != 3:
            raise _invalid("a verifier key is a name, an id and base64 with plus signs between")
        name, key_id, encoded = parts
        if _KEY_ID.fullmatch(key_id) is None:
            raise _invalid(f"the key id {key_id[:20]!a} is not 8 lower-case hex digits")
        data = decode_base64(encoded)
        if not data:
            raise _invalid(f"the verifier key of {name[:80]!a} is not base64")
        key = cls(name=name, kind=data[0], public_key=data[1:])
        if key.key_id.hex() != key_id:
            raise _invalid(f"the key of {name} has the id {key.key_id.hex()}, not {key_id}")
        return key

    @property
    def text(self) -> str:
        """The text that `parse` reads."""
        encoded = base64.b64encode(bytes((self.kind,)) + self.public_key).decode("ascii")
        return f"{self.name}+{self.key_id.hex()}+{encoded}"

    @property
    def key_id(self) -> bytes:
        """The first four bytes of SHA-256 over name, newline, kind and key."""
        named = self.name.encode("utf-8") + b"\n" + bytes((self.kind,)) + self.public_key
        return hashlib.sha256(named).digest()[:KEY_ID_BYTES]

    @property
    def ed25519(self) -> PublicKey:
        """The key itself.

        Raises:
            NoteInvalid: It is of a kind that is not Ed25519.
        """
        if self.kind not in _ED25519_KINDS:
            raise _invalid(f"the key of {self.name} is of kind 0x{self.kind:02x}, not Ed25519")
        return PublicKey(raw=self.public_key)


def decode_base64(text: str) -> bytes | None:
    """Decode standard base64 in its one usual spelling; None for any other text."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    return data if base64.b64encode(data).decode("ascii") == text else None


def check_text(text: str) -> None:
    """Refuse text that no note can hold: control characters, or what UTF-8 has no bytes for.

    Raises:
        NoteInvalid: It holds such a character.
    """
    if found := _CONTROL.search(text):
        raise _invalid(f"it holds the control character U+{ord(found[0]):04X}")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as exc:
        raise _invalid("it holds a lone surrogate") from exc


def _check_name(name: str) -> None:
    if not name:
        raise _invalid("a key's name is empty")
    check_text(name)
    if "+" in name or any(character.isspace() for character in name):
        raise _invalid(f"the key's name {name[:80]!a} holds a space or a plus sign")


def _invalid(reason: str) -> NoteInvalid:
    return NoteInvalid(
        f"this is no valid signed note or key of one: {reason}",
        suggested_action="Use the note or the key exactly as it was published.",
    )
