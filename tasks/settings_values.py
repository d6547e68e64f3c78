"""The values of honeyflow.toml and of the environment, checked: a wrong one names its place."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from proofs import ReceiptInvalid, require_worker_name
from routing import NameInvalid, validate_node_name
from tasks.errors import SettingsInvalid

_PATTERNS = '*?!,"#'
_FLAGS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False, "": False}


class Values:
    """One file's table and one environment; every reader raises `SettingsInvalid`."""

    def __init__(
        self, table: Mapping[str, Any], environ: Mapping[str, str], file: Path | None
    ) -> None:
        self._table = table
        self._environ = environ
        self._file = file

    def text(self, key: str, variable: str | None = None) -> str | None:
        """A text that is not empty, from the environment first.

        Of a secret the environment may name the file instead: `HONEYFLOW_REDIS_URL_FILE`.
        """
        if variable is not None and (named := self._environ.get(f"{variable}_FILE")):
            return self._kept(variable, Path(named))
        if variable is not None and (told := self._environ.get(variable)):
            return told
        value = self._table.get(key)
        if value is None or (isinstance(value, str) and value):
            return value
        raise self._wrong(key, "a text that is not empty", value)

    def path(self, key: str, variable: str) -> Path | None:
        """The name of a file or folder."""
        told = self.text(key, variable)
        return None if told is None else Path(told).expanduser()

    def name(self, key: str, variable: str) -> str | None:
        """A text that can be part of a queue's name."""
        value = self.text(key, variable)
        if value is None:
            return None
        try:
            return validate_node_name(value)
        except NameInvalid as error:
            named = variable if self._environ.get(variable) else key
            raise self._refused(named, error.message, error.suggested_action) from error

    def worker_name(self, key: str, variable: str) -> str | None:
        """A text that a receipt can name its worker by."""
        value = self.text(key, variable)
        if value is None:
            return None
        try:
            if any(character in value for character in _PATTERNS):
                raise ReceiptInvalid(
                    f"{value!a} has one of {_PATTERNS}, which a file of signers reads as a pattern",
                    suggested_action="Use another name.",
                )
            return require_worker_name(value)
        except ReceiptInvalid as error:
            named = variable if self._environ.get(variable) else key
            raise self._refused(
                named,
                f"{error.message.removeprefix('worker_ens: ')}.",
                f"Name the worker without spaces, plus signs and slashes: {named} = "
                '"bee1.example.eth".',
            ) from error

    def choice(self, key: str, choices: Sequence[str], variable: str | None = None) -> str | None:
        """One of a few texts."""
        value = self.text(key, variable)
        if value is None or value in choices:
            return value
        named = variable if variable and self._environ.get(variable) else key
        raise self._wrong(named, f"one of {', '.join(choices)}", value)

    def count(self, key: str, default: int) -> int:
        """A whole number from 0 on."""
        value = self._table.get(key, default)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
        raise self._wrong(key, "a whole number from 0 on", value)

    def flag(self, key: str, variable: str) -> bool:
        """True or false; in the environment 1 or 0."""
        told = self._environ.get(variable)
        if told:
            if told.lower() in _FLAGS:
                return _FLAGS[told.lower()]
            raise self._wrong(variable, "1 or 0", told)
        value = self._table.get(key, False)
        if isinstance(value, bool):
            return value
        raise self._wrong(key, "true or false", value)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        value = self._table.get(key, [])
        if isinstance(value, list) and all(isinstance(part, str) and part for part in value):
            return tuple(value)
        raise self._wrong(key, 'a list of texts such as ["queenbee-spine"]', value)

    def words(self, key: str, variable: str) -> tuple[str, ...]:
        """A list of texts, in the environment separated by commas."""
        told = self._environ.get(variable)
        if told is None:
            return self.texts(key)
        return tuple(word.strip() for word in told.split(",") if word.strip())

    def amount(self, key: str, default: float, variable: str) -> float:
        """A number from 0 on."""
        told = self._environ.get(variable)
        if told:
            try:
                value: Any = float(told)
            except ValueError:
                value = told
            key = variable
        else:
            value = self._table.get(key, default)
        if _is_number(value):
            return float(value)
        raise self._wrong(key, "a number from 0 on", value)

    def variables(self, *prefixes: str) -> dict[str, str]:
        """The variables that begin so and are not empty, as they are."""
        return {
            name: told for name, told in self._environ.items() if told and name.startswith(prefixes)
        }

    def assignments(self, key: str) -> dict[str, str]:
        """A table from one text to another."""
        table = self.table(key)
        for name, value in table.items():
            if not isinstance(value, str) or not value:
                raise self._wrong(f"{key}.{name}", "the name of a model", value)
        return dict(table)

    def fraction(self, key: str, default: float) -> float:
        """A number from 0 to 1."""
        value = self._table.get(key, default)
        if _is_number(value) and value <= 1:
            return float(value)
        raise self._wrong(key, "a number from 0 to 1", value)

    def inner(self, key: str, known: Collection[str]) -> Values:
        """The values of a table within this one, which has no other keys than the known ones."""
        table = self.table(key)
        for name in table:
            if name not in known:
                raise SettingsInvalid(
                    f"{self._place(key)}: [{key}] has no key {name!r}.",
                    suggested_action=f"Known keys are {', '.join(sorted(known))}.",
                    details={"place": self._place(key), "key": f"{key}.{name}"},
                )
        return Values(table, self._environ, self._file)

    def table(self, key: str) -> Mapping[str, Any]:
        """A table."""
        value = self._table.get(key, {})
        if isinstance(value, dict):
            return value
        raise self._wrong(key, f"a table: [{key}]", value)

    def tables(self, key: str) -> Mapping[str, Mapping[str, Any]]:
        """A table of tables."""
        outer = self.table(key)
        for name, value in outer.items():
            if not isinstance(value, dict):
                raise self._wrong(f"{key}.{name}", f"a table: [{key}.{name}]", value)
        return outer

    def section(self, cls: type[Any], key: str, timers: str | None = None) -> Any:
        """A table as a value of `cls`, whose fields are all numbers with defaults.

        `timers` is a variable whose pairs, as in `lease_s=2,renew_s=0.5`, win over the table's.
        """
        values = {name: (f"{key}.{name}", value) for name, value in self.table(key).items()}
        for name, value in self._pairs(timers).items():
            values[name] = (f"{timers}: {name}", value)
        known = {name: spec.default for name, spec in cls.__dataclass_fields__.items()}
        for name, (named, value) in values.items():
            if name not in known:
                raise SettingsInvalid(
                    f"{self._place(named)}: there is no key {named!r}.",
                    suggested_action=f"Known keys are {', '.join(sorted(known))}.",
                    details={"place": self._place(named), "key": named},
                )
            if isinstance(known[name], int):
                if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                    raise self._wrong(named, "a whole number from 1 on", value)
            elif not _is_number(value):
                raise self._wrong(named, "a number of seconds from 0 on", value)
        return cls(**{name: type(known[name])(value) for name, (_, value) in values.items()})

    def _kept(self, variable: str, file: Path) -> str:
        """The text of a file that nobody else can read."""
        from tasks.secret_files import read_passphrase

        if self._environ.get(variable):
            raise SettingsInvalid(
                f"{variable} and {variable}_FILE are both set.",
                suggested_action="Set one of them.",
                details={"place": "the environment", "key": variable},
            )
        return read_passphrase(file).decode(errors="replace")

    def _pairs(self, variable: str | None) -> dict[str, float]:
        words = self._environ.get(variable, "") if variable is not None else ""
        pairs = (word.partition("=") for word in words.split(",") if word)
        try:
            return {name.strip(): float(value) for name, _, value in pairs}
        except ValueError:
            raise self._wrong(str(variable), "name=seconds pairs", words) from None

    def _place(self, key: str) -> str:
        """Where a key stands; variables are written in capitals."""
        variable = key.partition(":")[0].isupper()
        return "the environment" if variable or self._file is None else str(self._file)

    def _refused(self, key: str, reason: str, action: str) -> SettingsInvalid:
        return SettingsInvalid(
            f"{self._place(key)}: {key}: {reason}",
            suggested_action=action,
            details={"place": self._place(key), "key": key},
        )

    def _wrong(self, key: str, wanted: str, value: Any) -> SettingsInvalid:
        return SettingsInvalid(
            f"{self._place(key)}: {key} must be {wanted}, not {value!r:.80}.",
            suggested_action=f"Correct {key} in {self._place(key)}.",
            details={"place": self._place(key), "key": key},
        )


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return value >= 0 and (isinstance(value, int) or math.isfinite(value))
