"""The published table of moves."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import ledger
from ledger import EDGES, TERMINAL, IllegalTransition, State, states
from ledger.transitions import Transition

SOURCES = sorted(Path(ledger.__file__).parent.glob("*.py"))


def test_every_state_is_reached_and_every_end_is_one() -> None:
    """From nothing, by published moves; nothing leaves an ended job."""
    reached: set[State | None] = {None}
    while more := {target for source, target in EDGES if source in reached} - reached:
        reached |= more

    assert reached == {None, *State}
    assert {source for source, _ in EDGES}.isdisjoint(TERMINAL)
    assert {state for state in State if state not in {source for source, _ in EDGES}} == TERMINAL


@pytest.mark.parametrize("target", State)
def test_a_move_that_is_not_published_cannot_be_built(target: State) -> None:
    """Neither the check nor a transition lets it through."""
    for source in State:
        if (source, target) in EDGES:
            states.check(source, target)
            Transition(sources=(source,), target=target, where=())
        else:
            with pytest.raises(IllegalTransition, match=f"from {source} to {target}"):
                states.check(source, target)
            with pytest.raises(IllegalTransition):
                Transition(sources=(State.QUEUED, source), target=target, where=())


def test_only_transitions_set_a_state() -> None:
    """No other module writes the column of a job that is there."""
    setting = re.compile(r"values\([^)]*\bstate=|\"state\":")
    found = {path.name for path in SOURCES if setting.search(path.read_text())}

    assert found == {
        "alert_outbox.py",
        "alerts.py",
        "entries.py",
        "logs.py",
        "reviews.py",
        "sessions.py",
        "transitions.py",
        "uploads.py",
        "workers.py",
    }


def test_the_migration_freezes_the_same_moves() -> None:
    """The trigger's list is the table, as long as no later revision says otherwise."""
    from ledger.migrations.versions import r0001_first_tables as first

    told = {tuple(move.split(">")) for move in first._MOVES}
    assert told == {(str(source), str(target)) for source, target in EDGES if source}
