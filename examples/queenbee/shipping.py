"""What lies beside the weights in a model's directory: its profile and its checksums.

The profile tells a worker how to ask the model and how to compare its answers; `SHA256SUMS` is in
the format of `sha256sum --check`. The model card is written by `evaluate`, which has the figures.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from examples.queenbee.grammar import TEMPLATE, Grammar

MODELS = Path(__file__).parent / "models"
SUMS = "SHA256SUMS"
CARD = "MODEL_CARD.md"
MAX_TOKENS = 80
MAX_PROMPT_CHARS = 1200
TEMPERATURE: Mapping[str, float] = {"queenbee-spine": 1.0, "queenbee-chest": 1.0}


def write_profile(grammar: Grammar, directory: Path) -> None:
    """Write `profile.toml`, the profile that comes with the model."""
    critical = json.dumps([f"/{name}" for name in grammar.fields])
    text = f"""# The profile of {grammar.model}: how it is asked and how its answers are compared.
name = "{grammar.model}"
version = 1
template = {json.dumps(TEMPLATE)}
max_tokens = {MAX_TOKENS}
temperature = {TEMPERATURE[grammar.model]}
stop = ["\\n"]
policy = "dynamic"

# the JSON schema of an answer
schema_json = '{json.dumps(grammar.schema())}'

# samples agree if these fields do; free text is never compared
[agreement]
type = "json"
critical = {critical}
free_text = ["/impression"]

# shares of agreeing samples: below the first a person looks, from the second the answer is accepted
[thresholds]
review_below = 0.55
accept_from = 0.75

[limits]
max_prompt_chars = {MAX_PROMPT_CHARS}
"""
    (directory / "profile.toml").write_text(text, encoding="utf-8")


def reproduce(model: str) -> str:
    """Return the commands that make the model's directory again."""
    return "\n".join(
        (
            f"python -m examples.queenbee.train --model {model}",
            f"python -m examples.queenbee.evaluate --model {model} --card",
        )
    )


def write_sums(directory: Path) -> None:
    """Write `SHA256SUMS` over every other file; a worker holds the engine files to it alone."""
    lines = [f"{digest(path)}  {path.name}\n" for path in shipped(directory)]
    (directory / SUMS).write_text("".join(lines), encoding="utf-8")


def shipped(directory: Path) -> list[Path]:
    """Return the files that the checksums cover, by name."""
    return sorted(path for path in directory.iterdir() if path.is_file() and path.name != SUMS)


def digest(path: Path) -> str:
    """Return the file's SHA-256 in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
