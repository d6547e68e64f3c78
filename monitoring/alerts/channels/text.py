"""Text for people that others may have written: made harmless, escaped, and cut to fit."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable

CUT = "…"
_LINK = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/?#=&%+,;:-]*)?")
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})


def plain(text: str) -> str:
    """Return a text as one line without anything unseen, such as marks that turn it around."""
    line = " ".join(text.split())
    if line.isprintable():
        return line
    return "".join("\ufffd" if unicodedata.category(sign) in _UNSEEN else sign for sign in line)


def is_link(text: str) -> bool:
    """Whether a text is an address of the web, and nothing that could end or begin anything."""
    return _LINK.fullmatch(text) is not None


def units(text: str) -> int:
    """Count as Discord and Telegram do at most: in UTF-16 units."""
    return len(text) + sum(sign > "\uffff" for sign in text)


def cut(text: str, limit: int, escape: Callable[[str], str]) -> str:
    """Return a text escaped, as much of it as fits into `limit` units, with a mark if it is cut."""
    whole = escape(text)
    if units(whole) <= limit:
        return whole
    room, taken = limit - units(CUT), 0
    for end, sign in enumerate(text):
        taken += units(escape(sign))
        if taken > room:
            return escape(text[:end]) + CUT
    return whole


def fitted(lines: Iterable[str], limit: int) -> tuple[str, int]:
    """Join as many lines as fit into `limit` units; gives how many did as well."""
    kept: list[str] = []
    taken = 0
    for line in lines:
        taken += units(line) + 1
        if taken > limit + 1:
            break
        kept.append(line)
    return "\n".join(kept), len(kept)
