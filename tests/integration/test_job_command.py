"""`honeyflow job show` prints exactly what it is asked for, or says why it cannot."""

from __future__ import annotations

from typing import Any

import pytest
from typer.testing import CliRunner

from cli.main import app
from tasks.client import Client
from tasks.errors import HoneyflowError, JobUnanswered, RequestInvalid


def show(job_id: str, *options: str) -> tuple[str, HoneyflowError | None]:
    """What the command prints, and the error it ends with."""
    told = CliRunner().invoke(app, ["job", "show", job_id, *options])
    error: Any = told.exception
    return told.stdout, error


@pytest.fixture
def job_id(client: Client) -> str:
    """A job that waits."""
    return client.submit({"model": "fake-a", "prompt": "who?"}).job_id


@pytest.mark.parametrize("part", ["receipt", "report"])
def test_a_part_that_is_not_there_is_an_error(job_id: str, part: str) -> None:
    """Not an empty file that a check would call damaged."""
    printed, error = show(job_id, f"--{part}")

    assert isinstance(error, JobUnanswered)
    assert ("", 1) == (printed, error.exit_code)
    assert f"Job {job_id} is queued and has no {part}." == error.message
    assert "honeyflow job show" in error.suggested_action


def test_the_request_is_there_from_the_start(job_id: str) -> None:
    """Its exact bytes, without a newline."""
    assert ('{"model":"fake-a","prompt":"who?","v":1}', None) == show(job_id, "--request")


@pytest.mark.parametrize(
    "options", [("--request", "--receipt"), ("--report", "--json"), ("--receipt", "--report")]
)
def test_one_part_at_a_time(job_id: str, options: tuple[str, str]) -> None:
    """None is left out silently."""
    printed, error = show(job_id, *options)

    assert isinstance(error, RequestInvalid)
    assert ("", "OPTIONS_EXCLUSIVE") == (printed, error.code)
    assert all(option in error.message for option in options)
