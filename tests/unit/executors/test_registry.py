"""Engines are found by name and imported only when they are made."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from executors import registry
from executors.config import EngineConfig
from executors.errors import EngineMissing, EngineUnknown
from executors.fake import FakeExecutor
from executors.registry import Engine


def config(engine: str, device: str = "cpu") -> EngineConfig:
    return EngineConfig(model="m", path=Path("nowhere"), device=device, engine=engine)


def test_an_engine_is_made_by_its_name() -> None:
    """`create` gives the executor that the configuration names."""
    assert isinstance(registry.create(config("fake")), FakeExecutor)


def test_an_unknown_engine_names_the_known_ones() -> None:
    """A typo is answered with the choice."""
    with pytest.raises(EngineUnknown, match="fake, transformers, vllm") as caught:
        registry.create(config("vlm"))

    assert caught.value.details["known"] == ["fake", "transformers", "vllm"]


@pytest.mark.parametrize(
    ("extra", "device", "install"),
    [
        ("transformers", "cpu", "pip install 'honeyflow[cpu]'"),
        ("transformers", "cuda", "pip install 'honeyflow[transformers]'"),
        ("vllm", "cuda", "pip install 'honeyflow[vllm]'"),
    ],
)
def test_a_missing_package_names_the_extra_to_install(
    monkeypatch: pytest.MonkeyPatch, extra: str, device: str, install: str
) -> None:
    """The suggested action is the command."""
    absent = Engine(module="none", factory="None_", packages=("no_such_package",), extra=extra)
    monkeypatch.setitem(registry.ENGINES, "absent", absent)

    with pytest.raises(EngineMissing, match="no_such_package") as caught:
        registry.create(config("absent", device))

    assert caught.value.suggested_action == install
    assert "absent" not in registry.available_engines()


def test_the_fake_engine_is_always_available() -> None:
    """It needs no package."""
    assert "fake" in registry.available_engines()


def test_importing_the_package_imports_no_engine() -> None:
    """A web process that imports executors stays light."""
    program = (
        "import sys, executors; executors.available_engines();"
        "print(sorted({'torch', 'transformers', 'tokenizers', 'vllm'} & set(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert found.stdout.strip() == "[]"
