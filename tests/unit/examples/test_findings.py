"""The findings of the demonstration: varied, within limits, one dozen."""

from __future__ import annotations

from collections import Counter

from examples.queenbee.findings import CHEST_FINDINGS, DEMO_FINDINGS
from examples.queenbee.grammar import GRAMMARS, prompt
from examples.queenbee.shipping import MAX_PROMPT_CHARS


def test_the_demonstration_has_a_dozen_findings_of_every_kind() -> None:
    """Most are clear, some are not, and two are beyond deciding."""
    kinds = Counter(finding.kind for finding in DEMO_FINDINGS)
    assert kinds == {"clear": 7, "mid": 3, "ambiguous": 2}
    assert {finding.model for finding in DEMO_FINDINGS} == {"queenbee-spine"}
    assert {finding.model for finding in CHEST_FINDINGS} == {"queenbee-chest"}


def test_every_finding_is_different_and_fits_its_model() -> None:
    """No text comes twice, each names a shipped model, none is too long."""
    findings = (*DEMO_FINDINGS, *CHEST_FINDINGS)
    assert len({finding.text for finding in findings}) == len(findings)
    assert {finding.model for finding in findings} == set(GRAMMARS)
    assert all(len(prompt(finding.text)) <= MAX_PROMPT_CHARS for finding in findings)
