"""What the package offers."""

from __future__ import annotations

import inspect
from types import ModuleType

import pytest

import ledger
from ledger import (
    bodies,
    changes,
    chords,
    events,
    jobs,
    leases,
    quarantine,
    receipts,
    reviews,
    samples,
    sessions,
)
from ledger import workers as workers_module

MODULES = [
    bodies,
    changes,
    chords,
    events,
    jobs,
    leases,
    quarantine,
    receipts,
    reviews,
    samples,
    sessions,
    workers_module,
]
PURE = {(bodies, "digest_of"), (receipts, "check")}


def test_all_is_sorted_and_true() -> None:
    """Everything named is there, and nothing that others import is missing."""
    assert sorted(ledger.__all__) == sorted(set(ledger.__all__))
    for name in ledger.__all__:
        assert hasattr(ledger, name)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.__name__))
def test_every_operation_takes_a_transaction_first(module: ModuleType) -> None:
    """So that a caller can group any of them, and none begins or ends one."""
    for name, function in inspect.getmembers(module, inspect.isfunction):
        own = name in getattr(module, "__all__", [name]) and (
            module is jobs or function.__module__ == module.__name__
        )
        if own and not name.startswith("_") and (module, name) not in PURE:
            assert next(iter(inspect.signature(function).parameters)) == "tx", name
            assert function.__doc__, name
