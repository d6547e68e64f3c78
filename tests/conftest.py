"""What every test stands on: a scrubbed environment and a honeyflow.toml of the test run's own."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("quick", max_examples=50, deadline=None)
settings.register_profile("thorough", max_examples=1000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

_OURS = ("HONEYFLOW_", "WORKER_", "CELERY_", "IPFS_", "BEE_")
for _name in [name for name in os.environ if name.startswith(_OURS)]:
    del os.environ[_name]


def pytest_configure(config: pytest.Config) -> None:
    """Give this process its settings before anything of honeyflow is imported."""
    home = Path(tempfile.mkdtemp(prefix="honeyflow-test-"))
    config.stash[HOME] = home
    from tests.stack import write_config

    write_config(home)
    os.environ["HONEYFLOW_CONFIG"] = str(home / "honeyflow.toml")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave nothing behind."""
    import shutil

    shutil.rmtree(config.stash[HOME], ignore_errors=True)


HOME = pytest.StashKey[Path]()


@pytest.fixture(scope="session")
def home(request: pytest.FixtureRequest) -> Path:
    """The folder of this test run: its configuration, its Redis and its ledger."""
    return request.config.stash[HOME]
