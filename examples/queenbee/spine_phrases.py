"""From lumbar words to phrases: how one level is named, graded, blamed and summed up.

Which levels a study has and what is asked of it is in `spine`; the words themselves are in
`spine_words`.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

from examples.queenbee.readings import sentence
from examples.queenbee.spine_words import (
    ALSO,
    BLAMED,
    CAUSED,
    CAUSES,
    GRADE_WORDS,
    GRADED_FORMS,
    HEDGES,
    IMPLICIT,
    LESSER_WORDS,
    LINKS,
    LONE,
    MILLIMETRES,
    OPEN_HEDGES,
    PATENT,
    SEVERITY_TRAPS,
    SITES,
    UNCAUSED,
)

GRADES = ("none", "mild", "moderate", "severe")
ALL_LEVELS = "all levels"
NOT_STATED = "not stated"
Odds = Mapping[str, float]


class Speller:
    """One report's way of writing a disc level: `L4-L5`, `L4/L5`, `L4-5` and so on."""

    def __init__(self, rng: random.Random) -> None:
        """Choose the way."""
        style = rng.choices(("-", "/", "\N{EN DASH}", "short-", "short/"), (12, 2, 1, 2, 1))[0]
        self._mark = style[-1]
        self._short = style.startswith("short")

    def __call__(self, level: str) -> str:
        """Write a canonical level in this report's way."""
        upper, lower = level.split("-")
        if self._short and lower != "S1":
            lower = lower[1:]
        return f"{upper}{self._mark}{lower}"


def site(rng: random.Random) -> str:
    """Draw where the narrowing is; empty if the report does not say."""
    return rng.choice(tuple(SITES))


def cause(rng: random.Random) -> str:
    """Draw what causes the narrowing; empty if the report does not say."""
    return rng.choice(tuple(CAUSES)) if rng.random() < 0.5 else ""


def below(grade: str, rng: random.Random) -> str:
    """Draw a lesser grade."""
    return rng.choice(GRADES[: GRADES.index(grade)])


def plain(grade: str, where: str, rng: random.Random) -> str:
    """Return a phrase that says this grade and no other."""
    adjectives, nouns = SITES[where]
    if grade == "none":
        return _tidy(rng.choice(PATENT).format(a=rng.choice(adjectives), n=rng.choice(nouns)))
    unnamed = IMPLICIT[grade].get(where.rsplit(maxsplit=1)[-1], ()) if where else ()
    if unnamed and rng.random() < 0.15:
        return rng.choice(unnamed).format(a=rng.choice(adjectives), n=rng.choice(nouns))
    text = _graded(rng.choice(GRADE_WORDS[grade]), where, rng)
    if where == "central canal" and rng.random() < 0.08:
        text += f" (AP diameter {rng.choice(MILLIMETRES[grade])} mm)"
    return text


def double(grade: str, where: str, rng: random.Random) -> str:
    """Return a phrase that says this grade of one place and a lesser grade of another."""
    other = rng.choice([name for name in SITES if name not in ("", where)])
    word = rng.choice(LESSER_WORDS[below(grade, rng)])
    lesser = f"{word} {rng.choice(SITES[other][0])} stenosis"
    parts = [plain(grade, where, rng), lesser]
    rng.shuffle(parts)
    return f"{parts[0]} {rng.choice(('and', 'with', 'as well as'))} {parts[1]}"


def hedged(where: str, rng: random.Random, *, wide: bool = False) -> tuple[str, Odds]:
    """Return a phrase that leaves the grade open, and the odds of each grade."""
    if wide or rng.random() < 0.12:
        text, odds = rng.choice(OPEN_HEDGES)
        return text.format(noun=_tidy(f"{rng.choice(SITES[where][0])} stenosis")), odds
    lower = rng.choice(GRADES[:-1])
    upper = GRADES[GRADES.index(lower) + 1]
    text, share = rng.choice(HEDGES["none" if lower == "none" else "graded"])
    phrase = _graded(text.format(a=lower, b=upper), where, rng)
    return phrase, {lower: 1 - share, upper: share}


def line(place: str, phrase: str, because: str, rng: random.Random, *, lone: bool = False) -> str:
    """Write what is said of one level; a text about one level alone has more ways to do it."""
    alone = LONE if lone else ()
    if not because:
        return sentence(rng.choice(UNCAUSED + alone).format(p=place, s=phrase))
    noun = _cause_words(because, rng)
    patent = phrase.startswith(("no ", "patent "))
    if not patent and rng.random() < 0.5:
        form = f"{rng.choice(BLAMED + alone)} {rng.choice(LINKS)} {{c}}"
    else:
        form = rng.choice(CAUSED)
    return sentence(form.format(p=place, c=noun, s=phrase, S=phrase[:1].upper() + phrase[1:]))


def impressions(level: str, grade: str, where: str, because: str) -> tuple[str, ...]:
    """Return the ways to sum up a reading."""
    if level == ALL_LEVELS:
        return ("No significant lumbar stenosis.", "No significant stenosis at any level.")
    there = "" if level == NOT_STATED else f" at {level}"
    if grade == "none":
        return (f"No significant stenosis{there}.",)
    short = f"{_tidy(f'{grade} {where} stenosis')}{there}"
    return (
        (sentence(f"{short} due to {because}"), sentence(short)) if because else (sentence(short),)
    )


def _cause_words(because: str, rng: random.Random) -> str:
    def words(name: str) -> str:
        return rng.choice(CAUSES[name]).format(sev=f"{rng.choice(SEVERITY_TRAPS)} ").strip()

    if rng.random() < 0.7:
        return words(because)
    return f"{words(because)} {rng.choice(ALSO)} {words(rng.choice(tuple(CAUSES)))}"


def _graded(word: str, where: str, rng: random.Random) -> str:
    adjectives, nouns = SITES[where]
    form = rng.choice(GRADED_FORMS)
    return _tidy(form.format(g=word, a=rng.choice(adjectives), n=rng.choice(nouns)))


def _tidy(text: str) -> str:
    return " ".join(text.split())
