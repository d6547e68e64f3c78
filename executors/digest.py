"""Which model and which engine gave an answer, as digests; and whether a model may be loaded.

A model directory is checked before any of it is given to an engine:

1. it exists and is a directory, else `ModelNotFound`;
2. it holds a `config.json` that is a JSON object;
3. it holds no Python file, and no JSON file of it asks for code (`auto_map`);
4. it holds weights, and not only in a format that runs code when it is read (pickle);
5. every engine file that its `SHA256SUMS` lists is there with that content, where there is such a
   list.

Engine files are those that can decide an answer: weights, adapters, configuration, tokenizer, chat
template, and any file of an unknown kind. Not among them are hidden files, `SHA256SUMS`, texts for
people (Markdown, README, LICENSE, NOTICE) and `profile.toml`, which says how a model is asked and
has a digest of its own. The digest covers the engine files and nothing else; a list may name the
others, and they are not held to it.

Steps 2 to 5 raise `ModelInvalid`. Steps 1 to 4 cost nothing (`check_model`); step 5 and the digest
read every byte of the engine files (`model_digest`). Nothing is cached on disk: a stale digest
would be worse than a slow one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

from executors.config import EngineConfig
from executors.errors import ModelInvalid, ModelNotFound

SUMS = "SHA256SUMS"
SAFE_WEIGHTS = (".safetensors", ".gguf")
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
PROFILE = "profile.toml"
TEXTS = ("readme", "license", "notice")
TEXT_SUFFIXES = ("", ".txt", ".rst")
CHUNK_BYTES = 1 << 22
READERS = 4

# Options that change how fast or how observably an engine answers, and not what it answers.
NEUTRAL_OPTIONS = frozenset(
    {"disable_log_stats", "prefix_cache_tokens", "script", "start_timeout_s", "threads"}
)


def check_model(path: Path) -> None:
    """Take steps 1 to 4; raises `ModelNotFound` or `ModelInvalid`."""
    # (1) it exists
    if not path.is_dir():
        raise ModelNotFound(
            f"no model directory at {path}",
            suggested_action="Check the path, or download the model there first.",
            details={"path": str(path)},
        )
    # (2) it says what it is
    if not (path / "config.json").is_file():
        raise _invalid(path, "config.json is missing", "Copy the complete model directory.")
    _read_json(path, path / "config.json")
    # (3) it brings no code
    files = model_files(path)
    for name, file in files.items():
        if file.suffix in (".py", ".pyc", ".so"):
            raise _invalid(path, f"{name} is code", "Use a model that needs no code of its own.")
        if file.suffix == ".json" and file.parent == path and "auto_map" in _read_json(path, file):
            raise _invalid(
                path,
                f"{name} has an auto_map, which asks to run code",
                "Use a model that needs no code of its own.",
            )
    # (4) its weights are data
    if not any(file.suffix in SAFE_WEIGHTS for file in files.values()):
        pickled = [name for name, file in files.items() if file.suffix in PICKLES]
        found = f"only {', '.join(pickled)}" if pickled else "none"
        raise _invalid(
            path,
            f"there are no weights as safetensors or gguf ({found})",
            "Convert the weights to safetensors.",
        )


def model_files(path: Path) -> dict[str, Path]:
    """The files of a model by relative name, sorted; hidden ones and `SHA256SUMS` left out."""
    found: dict[str, Path] = {}
    for file in sorted(path.rglob("*")):
        relative = file.relative_to(path)
        if any(part.startswith(".") for part in relative.parts) or relative.name == SUMS:
            continue
        if file.is_file():
            found[relative.as_posix()] = file
    return dict(sorted(found.items()))


def engine_files(path: Path) -> dict[str, Path]:
    """The files of a model that can decide an answer, by relative name, sorted."""
    return {name: file for name, file in model_files(path).items() if _decides(PurePosixPath(name))}


def weight_bytes(path: Path) -> int:
    """The size of a model's weights on disk, in bytes."""
    files = model_files(path).values()
    return sum(file.stat().st_size for file in files if file.suffix in SAFE_WEIGHTS)


def model_digest(path: Path) -> str:
    """Hash a model directory as `sha256:<hex>`, after step 5.

    The digest is SHA-256 over one line per engine file, sorted by name: `<hex> <size> <relative
    name>`.
    Raises `ModelInvalid` where `SHA256SUMS` disagrees.
    """
    files = engine_files(path)
    with ThreadPoolExecutor(max_workers=READERS) as readers:
        hashes = dict(zip(files, readers.map(_hash_file, files.values()), strict=True))
    # (5) it is what it claims to be
    _check_sums(path, hashes)
    lines = (f"{hashes[name]} {file.stat().st_size} {name}\n" for name, file in files.items())
    return f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"


def examine_model(config: EngineConfig) -> str:
    """Take all steps and give the digest, which must be the configured one where there is one."""
    check_model(config.path)
    found = model_digest(config.path)
    if config.model_digest is not None and config.model_digest != found:
        raise _invalid(
            config.path,
            f"its digest is {found} and {config.model_digest} is configured",
            "Restore the model's files, or configure the new digest.",
        )
    return found


def engine_digest(
    config: EngineConfig, *, version: str, settings: Mapping[str, Any] | None = None
) -> str:
    """Hash an engine's name, version and the settings that change its answers, as `sha256:<hex>`.

    `settings` are the values that the engine resolved by itself, such as the dtype behind `auto`.
    """
    described = {
        "engine": config.engine,
        "version": version,
        "device": config.device,
        "tensor_parallel": config.tensor_parallel,
        "dtype": config.dtype,
        "quantization": config.quantization,
        "attention_backend": config.attention_backend,
        "enforce_eager": config.enforce_eager,
        "max_model_len": config.max_model_len,
        "seed": config.seed,
        "options": {k: v for k, v in config.options.items() if k not in NEUTRAL_OPTIONS},
        **(settings or {}),
    }
    # Options come from a configuration file and are JSON already, save for what a caller in
    # Python puts there, such as paths.
    text = json.dumps(described, sort_keys=True, separators=(",", ":"), default=str)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _check_sums(path: Path, hashes: Mapping[str, str]) -> None:
    sums = path / SUMS
    if not sums.is_file():
        return
    for number, line in enumerate(
        sums.read_text(encoding="utf-8", errors="replace").splitlines(), start=1
    ):
        # sha256sum skips comments too: the command that made the files may stand in one.
        if not line.strip() or line.startswith("#"):
            continue
        expected, _, name = line.partition(" ")
        # The format of sha256sum: a space or an asterisk before the name, for text or binary.
        name = name[1:] if name[:1] in (" ", "*") else name
        listed = PurePosixPath(name)
        if len(expected) != 64 or not name:
            raise _invalid(path, f"line {number} of {SUMS} cannot be read", f"Rebuild {SUMS}.")
        if listed.is_absolute() or ".." in listed.parts or "\0" in name:
            raise _invalid(path, f"{SUMS} points outside: {name!r}", f"Rebuild {SUMS}.")
        if not _decides(listed):
            continue
        name = listed.as_posix()
        found = hashes.get(name) or _hash_listed(path, name)
        if found != expected.lower():
            raise _invalid(
                path,
                f"{name} does not match {SUMS}: sha256 {found}, expected {expected.lower()}",
                f"Fetch {name} again.",
            )


def _decides(name: PurePosixPath) -> bool:
    """Whether a model's file, by its relative name, can decide an answer."""
    if any(part.startswith(".") for part in name.parts) or name.name == SUMS:
        return False
    suffix = name.suffix.lower()
    text = suffix in TEXT_SUFFIXES and name.stem.lower() in TEXTS
    return not (text or suffix == ".md" or name == PurePosixPath(PROFILE))


def _hash_listed(path: Path, name: str) -> str:
    """Hash a listed file that the walk did not meet, such as one in a linked folder."""
    try:
        return _hash_file(path / name)
    except OSError as error:
        raise _invalid(path, f"{name} is missing", "Copy the complete model directory.") from error


def _hash_file(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _read_json(path: Path, file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _invalid(
            path, f"{file.name} is not JSON: {error}", f"Fetch {file.name} again."
        ) from error
    if not isinstance(value, dict) and file.name == "config.json":
        raise _invalid(path, "config.json is not an object", "Fetch config.json again.")
    return value if isinstance(value, dict) else {}


def _invalid(path: Path, what: str, action: str) -> ModelInvalid:
    return ModelInvalid(
        f"the model at {path} cannot be loaded: {what}",
        suggested_action=action,
        details={"path": str(path), "reason": what},
    )
