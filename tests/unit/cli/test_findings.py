"""The findings of the demonstration: varied, within limits, one dozen."""

from __future__ import annotations

from collections import Counter

from cli.findings import FINDINGS
from examples.queenbee.grammar import prompt
from examples.queenbee.shipping import MAX_PROMPT_CHARS


def test_the_demonstration_has_a_dozen_findings_of_every_kind() -> None:
    """Most are clear, some are not, and two are beyond deciding."""
    kinds = Counter(finding.kind for finding in FINDINGS)
    assert kinds == {"clear": 7, "mid": 3, "ambiguous": 2}


def test_every_finding_is_different_and_fits_its_model() -> None:
    """No text comes twice, and none is too long."""
    assert len({finding.text for finding in FINDINGS}) == len(FINDINGS)
    assert all(len(prompt(finding.text)) <= MAX_PROMPT_CHARS for finding in FINDINGS)
