"""Patterns match as OpenSSH's do, in bounded time."""

from __future__ import annotations

import fnmatch
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs.patterns import matches, matches_list
from tests.unit.proofs.examples import UNHURRIED

LISTS = [
    ("bee.example", "bee.example", True),
    ("bee.example", "Bee.example", False),
    ("bee.example", "wasp.example,bee.example", True),
    ("bee.example", "*.example", True),
    ("bee.example", "*.example,!bee.*", False),
    ("bee.example", "!bee.*,*.example", False),
    ("wasp.example", "!bee.*,*.example", True),
    ("wasp.example", "!bee.*", False),
    ("bee.example", "b?e.example", True),
    ("bee.example", "b?.example", False),
    ("bee.example", "", False),
    ("bee.example", "*", True),
    ("bee.example", "!*", False),
]


@pytest.mark.parametrize(("text", "patterns", "expected"), LISTS)
def test_lists_of_patterns(text: str, patterns: str, expected: bool) -> None:
    """One that excludes wins, wherever it stands, and allows nothing by itself."""
    assert expected == matches_list(text, patterns)


@UNHURRIED
@given(text=st.text("ab", max_size=12), pattern=st.text("ab*?", max_size=12))
def test_patterns_are_those_of_shells_without_brackets(text: str, pattern: str) -> None:
    """Compared with Python's own."""
    assert bool(re.fullmatch(fnmatch.translate(pattern), text)) == matches(text, pattern)


def test_many_stars_take_no_time() -> None:
    """A recursive matcher would not come back from this one."""
    assert not matches("a" * 2000, "*a" * 500 + "b")
