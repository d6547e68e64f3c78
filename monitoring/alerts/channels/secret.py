"""A secret that is kept out of every text: given as it is, or as the file that holds it."""

from __future__ import annotations

from pathlib import Path

from monitoring.alerts.channels.errors import SecretMissing

MAX_BYTES = 4096


class Secret:
    """Something to be known by one server alone; a file is read anew each time."""

    __slots__ = ("_file", "_text", "_what")

    def __init__(self, what: str, *, text: str | None = None, file: Path | None = None) -> None:
        if (text is None) is (file is None):
            raise ValueError(f"{what}: either a text or a file")
        self._what, self._text, self._file = what, text, file

    def __repr__(self) -> str:
        return f"Secret({self._what})"

    def read(self) -> str:
        """Return it.

        Raises:
            SecretMissing: the file cannot be read, or holds no line of text.
        """
        if self._text is not None:
            return self._text
        assert self._file is not None
        try:
            with self._file.open("rb") as file:
                found = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise self._missing(f"cannot be read: {error.strerror}") from error
        try:
            text = found.decode("ascii").strip()
        except UnicodeDecodeError:
            text = ""
        if len(found) > MAX_BYTES or not text or not text.isprintable() or " " in text:
            # Outside the handler above: a decoding error carries the bytes.
            raise self._missing("holds no single word of printable ASCII")
        return text

    def _missing(self, why: str) -> SecretMissing:
        return SecretMissing(
            f"{self._file}, the file of {self._what}, {why}.",
            suggested_action=f"Put {self._what} into it and nothing else.",
            details={"path": str(self._file)},
        )
