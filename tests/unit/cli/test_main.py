"""The command's table: what is in it is there, and is loaded when it is asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from cli.main import COMMANDS, app


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_does(name: str) -> None:
    """Its module is there, and has what the table says."""
    told = CliRunner().invoke(app, [name, "--help"])

    assert 0 == told.exit_code, told.exception
    assert f"honeyflow {name} " in told.stdout


def test_the_help_lists_all_in_the_tables_order() -> None:
    """Each with a line of its own."""
    told = CliRunner().invoke(app, ["--help"]).stdout

    first = [line.strip("│ ").split(" ")[0] for line in told.splitlines()]
    assert [*COMMANDS] == [word for word in first if word in COMMANDS]


def test_a_mistyped_command_is_told_the_nearest_one() -> None:
    """Although none was loaded before."""
    told = CliRunner().invoke(app, ["quarantin"])

    assert 2 == told.exit_code
    assert "Did you mean 'quarantine'?" in told.output


def test_nothing_is_loaded_before_it_is_asked_for() -> None:
    """What one command needs is no other's cost."""
    program = "import sys, cli.main; print([n for n in sys.modules if n.startswith('tasks')])"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert ("[]\n", "") == (told.stdout, told.stderr)
