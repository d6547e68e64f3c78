"""Short texts brought to one form, so that answers that differ in wording only are the same answer.

What carries meaning is kept: signs, comparison and currency symbols, per cent, "#", and whatever
stands between two digits, except a thousands separator.
"""

from __future__ import annotations

import re
import unicodedata

#: Longer texts are not short.
MAX_SHORT_CHARS = 2_000

_ARTICLES = frozenset({"a", "an", "the"})
_NUMERALS = {
    word: str(value)
    for value, word in enumerate(
        (
            *("zero", "one", "two", "three", "four", "five", "six"),
            *("seven", "eight", "nine", "ten", "eleven", "twelve"),
        )
    )
}
_KEPT = frozenset("%\u2030#")
_SEPARATOR = re.compile(r"(?<=[0-9]),(?=[0-9]{3}(?![0-9]))")
# What is not among these stands for itself in every place.
_SPECIAL = re.compile("[^0-9a-z ]")
_BRACKETS = "\"'`*()[]{}\u201c\u201d\u2018\u2019"


def short_form(text: str) -> str:
    """Return `text` without differences of case, punctuation, articles, spacing and number style.

    "The L4/L5 level." and "l4-l5 level" become the same; "5" and "-5", "<5" and ">5" do not. A text
    of nothing but punctuation keeps it, so that no two such texts become the same by accident. In
    a long text only case and spacing are evened out.
    """
    folded = unicodedata.normalize("NFKC", text).casefold().replace("\u2212", "-")
    if len(folded) > MAX_SHORT_CHARS:
        return " ".join(folded.split())
    folded = _SEPARATOR.sub("", folded)
    kept = _SPECIAL.sub(lambda found: _letter(folded, found.start()), folded)
    words = [_NUMERALS.get(word, word) for word in kept.split()]
    # A last "a" is a name ("hepatitis A"), not an article.
    words = [word for word in words[:-1] if word not in _ARTICLES] + words[-1:]
    return " ".join(words) or " ".join(folded.split())


def _letter(text: str, place: int) -> str:
    """Return the character at `place`, or what stands for it: nothing, or a space."""
    char = text[place]
    if char in _KEPT or unicodedata.category(char)[0] not in "PCZ":
        return char
    before, after = text[max(place - 1, 0) : place], text[place + 1 : place + 2]
    if char in "'\u2019":
        return ""
    if before.isdigit() and after.isdigit():
        return char
    if char == "." and after.isdigit():
        return char
    if char == "-" and not before.isalnum() and text[place + 1 : place + 8].lstrip()[:1].isdigit():
        return char
    return " "


def label_form(text: str) -> str:
    """Return `text` as it is compared with an option: no case, brackets, quotes or full stop."""
    folded = " ".join(text.casefold().split())
    bare = folded.rstrip(".").strip(_BRACKETS + " ").rstrip(".").strip()
    return bare or folded
