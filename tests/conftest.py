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

_TESTS = Path(__file__).parent
_OURS = ("HONEYFLOW_", "WORKER_", "CELERY_", "IPFS_", "BEE_", "DISCORD_", "TELEGRAM_")


def pytest_configure(config: pytest.Config) -> None:
    """Give this process its settings, whatever it was told."""
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput"):
        # Of `-n 2`: it runs no test, and what it was told is for those that do.
        return
    for name in [name for name in os.environ if name.startswith(_OURS)]:
        del os.environ[name]
    home = Path(tempfile.mkdtemp(prefix="honeyflow-test-"))
    config.stash[HOME] = home
    from tests.stack import write_config

    write_config(home)
    os.environ["HONEYFLOW_CONFIG"] = str(home / "honeyflow.toml")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave nothing behind."""
    import shutil

    if (home := config.stash.get(HOME, None)) is not None:
        shutil.rmtree(home, ignore_errors=True)


HOME = pytest.StashKey[Path]()

# What runs long comes first, so that the processes of `-n 2` end together.
_ORDER = ("acceptance", "chaos", "integration", "architecture", "unit")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """For `--dist loadgroup`: a file stays in one process, and so does all that loads vLLM."""

    def place(item: pytest.Item) -> tuple[bool, int]:
        folder = item.path.relative_to(_TESTS).parts[0]
        at = _ORDER.index(folder) if folder in _ORDER else len(_ORDER)
        return item.get_closest_marker("vllm") is None, at

    items.sort(key=place)
    for item in items:
        loads = item.get_closest_marker("vllm") is not None
        name = "vllm" if loads else str(item.path.relative_to(_TESTS))
        item.add_marker(pytest.mark.xdist_group(name))


@pytest.fixture(scope="session")
def home(request: pytest.FixtureRequest) -> Path:
    """The folder of this test run: its configuration, its Redis and its ledger."""
    return request.config.stash[HOME]
