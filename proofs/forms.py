"""What the documents of a log have in common: canonical JSON, version 1, every field checked.

A `Form` says whose fields are looked at, and so which error is raised and what it suggests.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from proofs.canonical import MAX_SAFE_INTEGER, JsonValue, parse_canonical
from proofs.errors import CanonicalError, KeyInvalid, OriginInvalid, ProofError
from proofs.hashing import is_digest
from proofs.keys import PublicKey
from proofs.origin import require_origin

VERSION = 1
MAX_TEXT_CHARACTERS = 255

_HASH = re.compile(r"[0-9a-f]{64}")
_TIMESTAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """The form of one kind of document: its name in messages, and the error that names a fault.

    Each method raises `error`, with the field in `details`, for a value that breaks the form.
    """

    name: str
    error: type[ProofError]
    suggested_action: str
    max_bytes: int

    def read(self, data: bytes, fields: Sequence[str]) -> dict[str, JsonValue]:
        """Read a canonical JSON object of version 1 with `v` and exactly these other fields."""
        if len(data) > self.max_bytes:
            raise self.broken(f"{self.name} has at most {self.max_bytes} bytes, not {len(data)}")
        try:
            value = parse_canonical(data)
        except CanonicalError as exc:
            raise self.broken(f"{self.name} cannot be read: {exc.message}") from exc
        if not isinstance(value, dict):
            raise self.broken(f"{self.name} is a JSON object")
        self.require_fields(value, fields)
        return value

    def require_fields(self, value: dict[str, JsonValue], fields: Sequence[str]) -> None:
        """Refuse another version than 1, and any other set of fields."""
        missing = [field for field in ("v", *fields) if field not in value]
        if missing:
            raise self.broken(f"{self.name} lacks " + ", ".join(missing))
        # True equals 1 in Python and not in JSON.
        if value["v"] is True or value["v"] != VERSION:
            raise self.broken(
                f"v: {_shown(value['v'])} is no version that is known here", field="v"
            )
        unknown = sorted(value.keys() - {"v", *fields})
        if unknown:
            shown = ", ".join(ascii(field[:80]) for field in unknown[:8])
            raise self.broken(f"{self.name} has no field {shown}")

    def integer(self, field: str, value: object, *, least: int = 0) -> None:
        """Refuse what is not an integer from `least` that every reader holds exactly."""
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.broken(f"{field}: {_shown(value)} is not an integer", field=field)
        if not least <= value <= MAX_SAFE_INTEGER:
            raise self.broken(
                f"{field}: the integer is not from {least} to {MAX_SAFE_INTEGER}", field=field
            )

    def digest(self, field: str, value: object) -> None:
        """Refuse what is not `sha256:` and 64 lower-case hexadecimal digits."""
        if not is_digest(value):
            raise self.broken(
                f"{field}: {_shown(value)} is not sha256: and 64 lower-case hexadecimal digits",
                field=field,
            )

    def unhex(self, field: str, value: object) -> bytes:
        """Return the 32 bytes that 64 lower-case hexadecimal digits spell."""
        if not isinstance(value, str) or _HASH.fullmatch(value) is None:
            raise self.broken(
                f"{field}: {_shown(value)} is not 64 lower-case hexadecimal digits", field=field
            )
        return bytes.fromhex(value)

    def timestamp(self, field: str, value: object) -> None:
        """Refuse what is not a time that exists, in UTC, as `YYYY-MM-DDTHH:MM:SSZ`."""
        if not isinstance(value, str) or _TIMESTAMP.fullmatch(value) is None:
            raise self.broken(
                f"{field}: {_shown(value)} is not of the form YYYY-MM-DDTHH:MM:SSZ", field=field
            )
        try:
            datetime.fromisoformat(value)
        except ValueError as exc:
            raise self.broken(
                f"{field}: {_shown(value)} is not a date and time that exist", field=field
            ) from exc

    def text(self, field: str, value: object) -> None:
        """Refuse what is not a short printable text without blanks around it."""
        if (
            not isinstance(value, str)
            or not 0 < len(value) <= MAX_TEXT_CHARACTERS
            or not value.isprintable()
            or value != value.strip()
        ):
            raise self.broken(
                f"{field}: {_shown(value)} is not a text of 1 to {MAX_TEXT_CHARACTERS} printable"
                " characters",
                field=field,
            )

    def origin(self, field: str, value: object) -> None:
        """Refuse what is not the name of a log."""
        if not isinstance(value, str):
            raise self.broken(f"{field}: {_shown(value)} is not the name of a log", field=field)
        try:
            require_origin(value)
        except OriginInvalid as exc:
            raise self.broken(f"{field}: {exc.message}", field=field) from exc

    def key(self, field: str, value: object) -> None:
        """Refuse what is not `ssh-ed25519 AAAA…` alone: one key, one text."""
        if not isinstance(value, str):
            raise self.broken(f"{field}: it is not a text", field=field)
        try:
            plain = PublicKey.from_openssh(value).to_openssh()
        except KeyInvalid as exc:
            raise self.broken(f"{field}: {exc.message}", field=field) from exc
        if plain != value:
            raise self.broken(f"{field}: it has a comment or blanks beside the key", field=field)

    def choice(self, field: str, value: object, choices: Sequence[str]) -> None:
        """Refuse what is none of these texts."""
        if value not in choices:
            raise self.broken(
                f"{field}: {_shown(value)} is none of {', '.join(choices)}", field=field
            )

    def items(self, field: str, value: object) -> list[JsonValue]:
        """Return the members of a list."""
        if not isinstance(value, list):
            raise self.broken(f"{field}: {_shown(value)} is not a list", field=field)
        return value

    def broken(self, message: str, *, field: str | None = None) -> ProofError:
        """Return the error for a fault in this kind of document."""
        return self.error(
            message,
            suggested_action=self.suggested_action,
            details={"field": field} if field else None,
        )


def _shown(value: object) -> str:
    if isinstance(value, str):
        return ascii(value[:80])
    if value is None or isinstance(value, bool | float):
        return repr(value)
    # A huge integer cannot be written out, and what a container holds is no help here.
    if isinstance(value, int) and abs(value) < 10**20:
        return repr(value)
    return f"a value of type {type(value).__name__}"
