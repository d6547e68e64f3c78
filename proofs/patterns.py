"""OpenSSH's patterns: `*` is any text, `?` is one character, `!` excludes."""

from __future__ import annotations


def matches(text: str, pattern: str) -> bool:
    """Return whether a text matches one pattern."""
    at = here = 0
    star = resume = -1
    # Back to the last star only: the time is bounded, however many stars there are.
    while at < len(text):
        if here < len(pattern) and pattern[here] == "*":
            star, resume = here, at
            here += 1
        elif here < len(pattern) and pattern[here] in ("?", text[at]):
            at, here = at + 1, here + 1
        elif star >= 0:
            resume += 1
            at, here = resume, star + 1
        else:
            return False
    return not pattern[here:].strip("*")


def matches_list(text: str, patterns: str) -> bool:
    """Return whether a text matches a list of patterns, separated by commas.

    A matching pattern after `!` refuses, wherever it stands; else any one that matches is enough.
    """
    matched = False
    for pattern in patterns.split(","):
        if matches(text, pattern.removeprefix("!")):
            if pattern.startswith("!"):
                return False
            matched = True
    return matched
