"""Regular expressions of a schema: which can be run on any answer without taking for ever. Pure.

Python's matcher backtracks. A pattern that can match one text in exponentially many ways stops the
worker on the first answer that almost matches, so such patterns are refused beforehand.
"""

from __future__ import annotations

import re

#: The longest pattern.
MAX_PATTERN_CHARS = 256

_UNBOUNDED = re.compile(r"[*+]|\{[0-9]*,\}|\{[0-9]*,?(?:[0-9]{2,}|9)\}")
_VARYING = re.compile(r"[*+?]|\{[0-9]*,[0-9]*\}")


def may_explode(pattern: str) -> bool:
    """Say whether `pattern` is too long, or has repeats that can multiply.

    A group that holds a repeat of varying length or alternatives, and is itself repeated without a
    small bound, can take exponential time. Other patterns take a power of the string's length.
    """
    bare = re.sub(r"\\.", "x", pattern, flags=re.DOTALL)
    bare = re.sub(r"\[\^?\]?[^\]]*\]", "x", bare)
    bare = re.sub(r"\(\?(?:[:=!]|<[=!]|P<\w+>)", "(", bare)
    return len(pattern) > MAX_PATTERN_CHARS or _multiplies(bare)


def _multiplies(pattern: str) -> bool:
    open_groups = [False]
    for place, char in enumerate(pattern):
        if char == "(":
            open_groups.append(False)
        elif char == ")" and len(open_groups) > 1:
            risky = open_groups.pop()
            if risky and _UNBOUNDED.match(pattern, place + 1):
                return True
            open_groups[-1] |= risky or bool(_VARYING.match(pattern, place + 1))
        elif char == "|" or _VARYING.match(pattern, place):
            open_groups[-1] = True
    return False
