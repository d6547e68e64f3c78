"""What the package offers is listed, sorted, and hides none of its own files."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

import proofs
from proofs import errors
from tests.unit.proofs.signers import needs


def test_the_public_names_are_sorted_and_there() -> None:
    """`__all__` is true."""
    assert sorted(proofs.__all__) == proofs.__all__
    assert [name for name in proofs.__all__ if not hasattr(proofs, name)] == []


def test_no_public_name_hides_a_file() -> None:
    """`import proofs.cid` gives the file, not a function of that name."""
    files = {path.stem for path in Path(proofs.__file__).parent.glob("*.py")}

    assert files & set(proofs.__all__) == set()


ERRORS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.ProofError)
]


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_says_what_to_do(kind: type[errors.ProofError]) -> None:
    """One root, a code, and a suggestion with each message."""
    error = kind("the sentence", suggested_action="the action", details={"field": "epoch"})

    assert error.code == error.code.upper()
    assert (str(error), error.message) == ("the sentence", "the sentence")
    assert (error.suggested_action, error.details) == ("the action", {"field": "epoch"})
    assert (error.retriable, error.exit_code) == (False, 1)
    assert kind.__name__ in (errors.__doc__ or "")


@pytest.mark.parametrize(("ci", "skipped"), [("true", False), ("", True)])
def test_a_missing_tool_skips_no_test_in_ci(
    monkeypatch: pytest.MonkeyPatch, ci: str, skipped: bool
) -> None:
    """There the test fails: a page whose lines nobody ran is not known to be true."""
    monkeypatch.setenv("CI", ci)

    assert needs("no-such-tool").args == (skipped,)
    assert needs("sh").args == (False,)
