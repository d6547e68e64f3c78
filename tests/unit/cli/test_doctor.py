"""The doctor's findings, as a table for people."""

from __future__ import annotations

import pytest

from cli.doctor import _print
from monitoring.doctor import engine_check


def test_what_is_to_be_installed_is_told_in_full(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The name of an extra stands in brackets, as a style of Rich's does."""
    monkeypatch.setenv("COLUMNS", "400")
    _print([engine_check(())])

    assert engine_check(()).how_to_mend in capsys.readouterr().out
