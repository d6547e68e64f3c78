"""Which models and profiles there are: shipped, in the data directory, and configured.

A model is a directory with `config.json`. `[models.NAME]` in honeyflow.toml gives its `path`, and
may give `engine`, `max_num_seqs`, `quantization` and whatever else `executors.EngineConfig` takes.
A profile is a table as in `profile.toml` beside a shipped model.
"""

from __future__ import annotations

import functools
import json
import string
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import executors
from proofs import canonicalize, sha256_digest
from tasks.errors import SettingsInvalid, UnknownModel, UnknownProfile
from tasks.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How one kind of question is asked and judged.

    `template` holds `${findings}`; `schema` is the answer's JSON schema; `agreement` says when two
    answers are the same; `critical` fields alone below the threshold send a job to people.
    """

    name: str
    version: int
    digest: str
    template: str
    schema: Mapping[str, Any] | None = None
    constrain: bool = False
    agreement: Mapping[str, Any] = field(default_factory=lambda: {"type": "text"})
    policy: str = "dynamic"
    sampling: Mapping[str, Any] = field(default_factory=dict)
    review_below: float = 0.55
    accept_from: float = 0.75
    max_prompt_chars: int = 20_000

    def render(self, findings: str) -> str:
        """The prompt for these findings; `$` in the findings stays what it is."""
        return string.Template(self.template).safe_substitute(findings=findings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model that can be served: where it lies and how its engine is set up."""

    name: str
    path: Path
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """All models and profiles this process knows."""

    models: Mapping[str, Model]
    profiles: Mapping[str, Profile]

    def model(self, name: str) -> Model:
        """The model of that name.

        Raises:
            UnknownModel: there is none; names the known ones.
        """
        try:
            return self.models[name]
        except KeyError:
            known = ", ".join(sorted(self.models)) or "none"
            raise UnknownModel(
                f"There is no model {name!r}; known models: {known}.",
                details={"model": name, "known": sorted(self.models)},
            ) from None

    def profile(self, name: str) -> Profile:
        """The profile of that name.

        Raises:
            UnknownProfile: there is none; names the known ones.
        """
        try:
            return self.profiles[name]
        except KeyError:
            known = ", ".join(sorted(self.profiles)) or "none"
            raise UnknownProfile(
                f"There is no profile {name!r}; known profiles: {known}.",
                details={"profile": name, "known": sorted(self.profiles)},
            ) from None


def build(settings: Settings) -> Catalogue:
    """The catalogue these settings describe; later places win over earlier ones."""
    models: dict[str, Model] = {}
    profiles: dict[str, Profile] = {}
    table: Mapping[str, Any]
    for folder in (_shipped_models(), settings.data_dir / "models"):
        for path in sorted(folder.glob("*/config.json")) if folder else ():
            models[path.parent.name] = Model(name=path.parent.name, path=path.parent)
            if (file := path.parent / "profile.toml").exists():
                table = tomllib.loads(file.read_text(encoding="utf-8"))
                profiles[path.parent.name] = parse_profile(path.parent.name, table, str(file))
    for name, table in settings.models.items():
        options = dict(table)
        base = models.get(name)
        path = options.pop("path", base.path if base else None)
        if not path or not isinstance(path, str | Path):
            raise SettingsInvalid(
                f"[models.{name}] gives no path.",
                suggested_action='Add path = "/directory/of/the/model".',
                details={"key": f"models.{name}.path"},
            )
        models[name] = Model(name=name, path=Path(path).expanduser(), options=options)
    for name, table in settings.profiles.items():
        profiles[name] = parse_profile(name, table, f"[profiles.{name}]")
    return Catalogue(models=models, profiles=profiles)


def parse_profile(name: str, table: Mapping[str, Any], place: str) -> Profile:
    """A profile from its table.

    Raises:
        SettingsInvalid: a key is missing, unknown or of the wrong type.
    """
    rest = dict(table)
    try:
        rest.pop("name", None)
        template = rest.pop("template")
        schema = rest.pop("schema", None)
        schema_json = rest.pop("schema_json", None)
        if schema_json is not None:
            schema = json.loads(schema_json)
        thresholds = rest.pop("thresholds", {})
        limits = rest.pop("limits", {})
        agreement = dict(rest.pop("agreement", {"type": "text"}))
        if agreement.get("type") == "json" and schema is not None:
            agreement.setdefault("schema", schema)
        profile = Profile(
            name=name,
            version=int(rest.pop("version", 1)),
            digest=sha256_digest(canonicalize(dict(table))),
            template=template,
            schema=schema,
            constrain=bool(rest.pop("constrain", False)),
            agreement=agreement,
            policy=rest.pop("policy", "dynamic"),
            review_below=float(thresholds.get("review_below", 0.55)),
            accept_from=float(thresholds.get("accept_from", 0.75)),
            max_prompt_chars=int(limits.get("max_prompt_chars", 20_000)),
            sampling={
                key: rest.pop(key)
                for key in ("max_tokens", "temperature", "top_p", "top_k", "min_p", "stop")
                if key in rest
            },
        )
    except KeyError as error:
        raise SettingsInvalid(f"{place} has no {error.args[0]!r}.") from error
    except (TypeError, ValueError) as error:
        raise SettingsInvalid(f"{place} is not a valid profile: {error}.") from error
    if rest:
        raise SettingsInvalid(f"{place} has unknown keys: {', '.join(sorted(rest))}.")
    return profile


@functools.cache
def _shipped_models() -> Path | None:
    """Where the shipped models lie: in the installed package, or in the source tree."""
    package = Path(executors.__file__).parent
    for folder in (package / "shipped", package.parent / "examples" / "queenbee" / "models"):
        if folder.is_dir():
            return folder
    return None
