"""What every test stands on: a scrubbed environment and a honeyflow.toml of the test run's own."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

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
    """What loads vLLM comes first, then the other long ones."""

    def place(item: pytest.Item) -> tuple[bool, int]:
        folder = item.path.relative_to(_TESTS).parts[0]
        at = _ORDER.index(folder) if folder in _ORDER else len(_ORDER)
        return not _loads_vllm(item.nodeid), at

    items.sort(key=place)


def _loads_vllm(nodeid: str) -> bool:
    return "vllm" in nodeid.casefold()


class ByFile(LoadScopeScheduling):
    """A file stays in one process, and so does all that loads vLLM, wherever it is."""

    def _split_scope(self, nodeid: str) -> str:
        return "vllm" if _loads_vllm(nodeid) else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """For `-n 2`, whatever `--dist` says: marks of groups do not reach xdist with every pytest."""
    return ByFile(config, log)


@pytest.fixture(scope="session")
def home(request: pytest.FixtureRequest) -> Path:
    """The folder of this test run: its configuration, its Redis and its ledger."""
    return request.config.stash[HOME]
