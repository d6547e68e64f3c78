"""Findings of a chest radiograph: the most urgent finding and where it is.

Where a text names several findings the answer is the most urgent one, in the order of `FINDINGS`.
Negations, old findings and devices are there to be ignored. The words are synthetic.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

from examples.queenbee.chest_words import (
    ADJECTIVES,
    DESCRIPTIONS,
    EITHER,
    HEADERS,
    HEDGES,
    LINES,
    NEGATIONS,
    NORMAL,
    PLACES,
    SIZES,
    TAILS,
)
from examples.queenbee.readings import Finding, Reading, lay_out, sentence

LOBES = (
    "right upper lobe",
    "right middle lobe",
    "right lower lobe",
    "left upper lobe",
    "left lower lobe",
)
PLEURAE = ("right pleura", "left pleura")
BOTH = "both lungs"
REGIONS = (*LOBES, *PLEURAE, BOTH)
# from the least to the most urgent
FINDINGS = ("none", "atelectasis", "effusion", "nodule", "consolidation", "pneumothorax")
FIELDS = ("region", "finding")
_PLEURAL = ("effusion", "pneumothorax")
Odds = Mapping[str, float]


def find(rng: random.Random) -> Finding:
    """Draw one text with its readings."""
    shape = rng.random()
    if shape < 0.62:
        return _clear(rng)
    if shape < 0.72:
        return _normal(rng)
    if shape < 0.88:
        return _hedged(rng)
    if shape < 0.95:
        return _misplaced(rng)
    return _doubly_unsure(rng)


def _clear(rng: random.Random) -> Finding:
    finding = rng.choice(FINDINGS[1:])
    region = _region(finding, rng)
    body = [_line(finding, region, rng)]
    lesser = FINDINGS[1 : FINDINGS.index(finding)]
    count = min(len(lesser), rng.choices((0, 1, 2), (5, 3, 1))[0])
    body.extend(_line(other, _region(other, rng), rng) for other in rng.sample(lesser, count))
    rng.shuffle(body)
    return _finish(rng, body, {region: 1.0}, {finding: 1.0})


def _normal(rng: random.Random) -> Finding:
    body = [rng.choice(NORMAL)] if rng.random() < 0.8 else rng.sample(NEGATIONS["none"], 2)
    return _finish(rng, body, {BOTH: 1.0}, {"none": 1.0})


def _hedged(rng: random.Random) -> Finding:
    """Write an opacity in a lobe that could be one of two things, or of three."""
    region = rng.choice(LOBES)
    text, odds = rng.choice(HEDGES)
    return _finish(rng, [_placed(text, (_spell(region, rng),), rng)], {region: 1.0}, odds)


def _misplaced(rng: random.Random) -> Finding:
    """Write a finding whose place the text leaves open."""
    finding = rng.choice(FINDINGS[1:])
    regions = _two_regions(finding, rng)
    text = f"{rng.choice(SIZES)} {rng.choice(DESCRIPTIONS[finding])}".strip()
    places = tuple(_spell(region, rng) for region in regions)
    return _finish(rng, [_placed(text, places, rng)], dict.fromkeys(regions, 0.5), {finding: 1.0})


def _doubly_unsure(rng: random.Random) -> Finding:
    regions = _two_regions("nodule", rng)
    text, odds = rng.choice(HEDGES)
    places = tuple(_spell(region, rng) for region in regions)
    return _finish(rng, [_placed(text, places, rng)], dict.fromkeys(regions, 0.5), odds)


def _two_regions(finding: str, rng: random.Random) -> tuple[str, ...]:
    if finding in _PLEURAL:
        return PLEURAE
    side = rng.choice(("right", "left"))
    return tuple(rng.sample([lobe for lobe in LOBES if lobe.startswith(side)], 2))


def _region(finding: str, rng: random.Random) -> str:
    return rng.choice(PLEURAE if finding in _PLEURAL else LOBES)


def _spell(region: str, rng: random.Random) -> str:
    return rng.choice(PLACES[region])


def _line(finding: str, region: str, rng: random.Random) -> str:
    size, noun = rng.choice(SIZES), rng.choice(DESCRIPTIONS[finding])
    if rng.random() < 0.25:
        return sentence(" ".join((size, rng.choice(ADJECTIVES[region]), noun)))
    return _placed(f"{size} {noun}".strip(), (_spell(region, rng),), rng)


def _placed(text: str, places: tuple[str, ...], rng: random.Random) -> str:
    place = places[0] if len(places) == 1 else rng.choice(EITHER).format(a=places[0], b=places[1])
    return sentence(rng.choice(LINES).format(p=place, s=text))


def _finish(rng: random.Random, body: list[str], regions: Odds, odds: Odds) -> Finding:
    head = [rng.choice(HEADERS)] if rng.random() < 0.3 else []
    absent = [f for f in NEGATIONS if f != "none" and f not in odds]
    negated = [
        rng.choice(NEGATIONS[f]) for f in rng.sample(absent, rng.choices((0, 1, 2), (4, 3, 2))[0])
    ]
    # a negated finding must not be one the body reports as a lesser one
    negated = [line for line in negated if not _reported(line, body)]
    tail = rng.sample(TAILS, rng.choices((0, 1, 2), (5, 3, 1))[0])
    readings = tuple(
        Reading(
            fields=(("region", region), ("finding", finding)),
            impressions=_impressions(region, finding),
            probability=p * q,
        )
        for region, p in regions.items()
        for finding, q in odds.items()
    )
    return Finding(text=lay_out([*head, *body, *negated, *tail], rng), readings=readings)


def _reported(negation: str, body: list[str]) -> bool:
    finding = next(f for f, lines in NEGATIONS.items() if negation in lines)
    said = " ".join(body).lower()
    return finding != "none" and any(word.lower() in said for word in DESCRIPTIONS[finding])


def _impressions(region: str, finding: str) -> tuple[str, ...]:
    if finding == "none":
        return ("No acute pulmonary finding.", "Clear lungs.")
    if finding in _PLEURAL:
        side = region.split(maxsplit=1)[0]
        noun = "pleural effusion" if finding == "effusion" else "pneumothorax"
        return (sentence(f"{side} {noun}"), sentence(f"{noun} on the {side}"))
    return (sentence(f"{region} {finding}"), sentence(f"{finding} in the {region}"))
