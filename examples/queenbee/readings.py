"""What a synthetic text may be read as, and with what probability.

A `Finding` is a text together with every defensible reading of it. A clear text has one reading; a
hedged or contradictory one has several, and its label is *drawn* from them. A model trained on such
labels learns the odds, so its samples split where the text is unclear. Nothing here knows about
medicine: the words are in `spine` and `chest`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["clear", "mid", "ambiguous"]
CLEAR_FROM = 0.999
MID_FROM = 0.7
ENDINGS = ("", "", "", "...", " …", ";")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One defensible reading: its critical fields in answer order, ways to say it, its odds."""

    fields: tuple[tuple[str, str], ...]
    impressions: tuple[str, ...]
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A text and its readings; probabilities sum to 1, no two readings share their fields."""

    text: str
    readings: tuple[Reading, ...]

    @property
    def best(self) -> Reading:
        """The likeliest reading, the first one where several tie."""
        return max(self.readings, key=lambda reading: reading.probability)

    @property
    def kind(self) -> Kind:
        """`clear` with one reading, `mid` with a strong favourite, else `ambiguous`."""
        top = self.best.probability
        return "clear" if top > CLEAR_FROM else "mid" if top >= MID_FROM else "ambiguous"

    def probability_of(self, fields: Mapping[str, str]) -> float:
        """Return the probability of the reading with these critical fields, 0 if it is none."""
        return next((r.probability for r in self.readings if dict(r.fields) == dict(fields)), 0.0)

    def draw(self, rng: random.Random) -> str:
        """Draw one answer: a reading by its probability, then one way to say it."""
        weights = [reading.probability for reading in self.readings]
        reading = rng.choices(self.readings, weights=weights)[0]
        return answer(reading, rng.choice(reading.impressions))


def answer(reading: Reading, impression: str) -> str:
    """Return the answer text: one line of JSON, critical fields first, the impression last."""
    return json.dumps({**dict(reading.fields), "impression": impression})


def sentence(text: str) -> str:
    """Return the text with a capital first letter and a full stop."""
    text = text.strip()
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "?", "!")) else f"{text}."


def lay_out(sentences: Sequence[str], rng: random.Random) -> str:
    """Join sentences as reports do: running text, lines, bullets, at times without care."""
    style = rng.random()
    if style < 0.80:
        text = " ".join(sentences)
    elif style < 0.93:
        text = "\n".join(sentences)
    else:
        text = "\n".join(f"- {one}" for one in sentences)
    if text.endswith(".") and rng.random() < 0.12:
        text = text[:-1] + rng.choice(ENDINGS)
    return text.lower() if rng.random() < 0.05 else text
