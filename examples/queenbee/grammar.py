"""One door to both grammars: texts, readings, answers, schema, and the split of the texts.

The words and rules are in `spine` and `chest`. Everything is drawn from the `random.Random`
passed in, so a seed and a count name a data set.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from examples.queenbee import chest, spine, spine_phrases
from examples.queenbee.readings import Finding

Split = Literal["train", "held-out"]
TEMPLATE = "### Findings\n${findings}\n### Answer\n"
HELD_OUT_SHARE = 0.1
IMPRESSION_MAX_CHARS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Grammar:
    """How one model's texts are made and what its answers look like."""

    model: str
    subject: str
    find: Callable[[random.Random], Finding]
    choices: Mapping[str, tuple[str, ...]]

    @property
    def fields(self) -> tuple[str, ...]:
        """The critical fields, in answer order."""
        return tuple(self.choices)

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of an answer."""
        enums = {
            name: {"type": "string", "enum": list(values)} for name, values in self.choices.items()
        }
        impression = {"type": "string", "minLength": 1, "maxLength": IMPRESSION_MAX_CHARS}
        return {
            "type": "object",
            "properties": {**enums, "impression": impression},
            "required": [*self.fields, "impression"],
            "additionalProperties": False,
        }

    def findings(self, *, seed: int, split: Split) -> Iterator[Finding]:
        """Yield texts of one split without end; the two splits share no text, whatever the seed."""
        rng = random.Random(f"{self.model}:{split}:{seed}")
        while True:
            finding = self.find(rng)
            if split_of(finding.text) == split:
                yield finding


def split_of(text: str) -> Split:
    """Say which split a text belongs to, by its SHA-256 alone."""
    first = hashlib.sha256(text.casefold().encode()).digest()[0]
    return "held-out" if first < 256 * HELD_OUT_SHARE else "train"


def prompt(findings: str) -> str:
    """Return what the model is shown for a text, without the begin token."""
    return TEMPLATE.replace("${findings}", findings)


SPINE = Grammar(
    model="queenbee-spine",
    subject="lumbar spine MRI",
    find=spine.find,
    choices={
        "level": (*spine.LEVELS, spine_phrases.ALL_LEVELS, spine_phrases.NOT_STATED),
        "grade": spine_phrases.GRADES,
    },
)
CHEST = Grammar(
    model="queenbee-chest",
    subject="chest radiograph",
    find=chest.find,
    choices={"region": chest.REGIONS, "finding": chest.FINDINGS},
)
GRAMMARS: Mapping[str, Grammar] = {grammar.model: grammar for grammar in (SPINE, CHEST)}
