"""Findings of a lumbar MRI: which disc level is narrowed the most, and how much.

The question behind every text is the worst stenosis of the canal, the lateral recesses or the
foramina. Grades of anything else (discs, facets, slips) are there to be ignored. Two levels that
are equally narrow are equally good answers. The words are synthetic; the gradings named are those
of Lee (foramen) and Schizas (canal).
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from examples.queenbee.readings import Finding, Reading, lay_out, sentence
from examples.queenbee.spine_phrases import (
    ALL_LEVELS,
    GRADES,
    NOT_STATED,
    Odds,
    Speller,
    below,
    cause,
    double,
    hedged,
    impressions,
    line,
    plain,
    site,
)
from examples.queenbee.spine_words import (
    EITHER,
    HEADERS,
    REST,
    TAILS,
    UNNUMBERED,
    WHOLLY_NORMAL,
    WORST_LEADS,
)

LEVELS = ("L1-L2", "L2-L3", "L3-L4", "L4-L5", "L5-S1")


def find(rng: random.Random) -> Finding:
    """Draw one text with its readings."""
    shapes = (_clear, _normal, _unnumbered, _unsure, _tied, _doubly_unsure)
    return rng.choices(shapes, weights=(60, 6, 3, 20, 6, 5))[0](rng)


def _clear(rng: random.Random) -> Finding:
    grade = rng.choices(GRADES, weights=(1, 3, 3, 3))[0]
    where = site(rng)
    twofold = grade != "none" and where and rng.random() < 0.15
    phrase = (double if twofold else plain)(grade, where, rng)
    return _study(rng, {rng.choice(LEVELS): phrase}, {grade: 1.0}, where)


def _normal(rng: random.Random) -> Finding:
    spell = Speller(rng)
    body = [
        line(spell(level), plain("none", site(rng), rng), cause(rng), rng)
        for level in sorted(rng.sample(LEVELS, rng.choice((0, 2, 3))))
    ]
    if not body:
        body = [rng.choice(UNNUMBERED + WHOLLY_NORMAL)]
    elif rng.random() < 0.4:
        body.append(rng.choice(UNNUMBERED))
    return _finish(rng, body, _readings({ALL_LEVELS: 1.0}, {"none": 1.0}, "", ""))


def _unnumbered(rng: random.Random) -> Finding:
    grade, where = rng.choice(GRADES[1:]), site(rng)
    text = rng.choice(("{s}", "there is {s}", "study shows {s}")).format(s=plain(grade, where, rng))
    return _finish(rng, [sentence(text)], _readings({NOT_STATED: 1.0}, {grade: 1.0}, where, ""))


def _unsure(rng: random.Random) -> Finding:
    where = site(rng)
    phrase, odds = hedged(where, rng)
    return _study(rng, {rng.choice(LEVELS): phrase}, odds, where)


def _tied(rng: random.Random) -> Finding:
    grade, where = rng.choice(GRADES[1:]), site(rng)
    pair = sorted(rng.sample(LEVELS, 2))
    if rng.random() < 0.5:
        return _either(rng, pair, plain(grade, where, rng), {grade: 1.0}, where)
    return _study(rng, {level: plain(grade, where, rng) for level in pair}, {grade: 1.0}, where)


def _doubly_unsure(rng: random.Random) -> Finding:
    where = site(rng)
    first = rng.randrange(len(LEVELS) - 1)
    phrase, odds = hedged(where, rng, wide=rng.random() < 0.6)
    return _either(rng, LEVELS[first : first + 2], phrase, odds, where)


def _either(
    rng: random.Random, pair: Sequence[str], phrase: str, odds: Odds, where: str
) -> Finding:
    """Write one narrowing at one of two levels."""
    spell = Speller(rng)
    place = rng.choice(EITHER).format(a=spell(pair[0]), b=spell(pair[1]))
    text = rng.choice(("{p}: {s}", "at {p}, {s}", "{s} at {p}")).format(p=place, s=phrase)
    return _finish(rng, [sentence(text)], _readings(dict.fromkeys(pair, 0.5), odds, where, ""))


def _study(rng: random.Random, phrases: Mapping[str, str], odds: Odds, where: str) -> Finding:
    """Write the asked levels, equally likely, among others that are clearly less narrow."""
    least = min(odds, key=GRADES.index)
    room = [level for level in LEVELS if level not in phrases]
    others = [] if least == "none" else rng.sample(room, rng.choices((0, 1, 2, 3), (4, 3, 2, 1))[0])
    lone = not others and len(phrases) == 1
    led = lone and rng.random() < 0.1
    because = "" if led else cause(rng)
    spell = Speller(rng)
    lines = {
        level: sentence(rng.choice(WORST_LEADS).format(p=spell(level), s=phrase))
        if led
        else line(spell(level), phrase, because, rng, lone=lone)
        for level, phrase in phrases.items()
    }
    for level in others:
        phrase = plain(below(least, rng), site(rng), rng)
        lines[level] = line(spell(level), phrase, cause(rng), rng)
    order = sorted(lines) if rng.random() < 0.7 else rng.sample(sorted(lines), len(lines))
    body = [lines[level] for level in order]
    if least != "none" and rng.random() < 0.12:
        body.append(rng.choice(REST))
    return _finish(
        rng, body, _readings(dict.fromkeys(phrases, 1 / len(phrases)), odds, where, because)
    )


def _finish(rng: random.Random, body: Sequence[str], readings: tuple[Reading, ...]) -> Finding:
    head = [rng.choice(HEADERS)] if rng.random() < 0.25 else []
    tail = rng.sample(TAILS, rng.choices((0, 1, 2), (6, 3, 1))[0])
    return Finding(text=lay_out([*head, *body, *tail], rng), readings=readings)


def _readings(levels: Odds, odds: Odds, where: str, because: str) -> tuple[Reading, ...]:
    return tuple(
        Reading(
            fields=(("level", level), ("grade", grade)),
            impressions=impressions(level, grade, where, because),
            probability=p * q,
        )
        for level, p in levels.items()
        for grade, q in odds.items()
    )
