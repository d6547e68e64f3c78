"""From an engine's name to its executor, without importing an engine before it is asked for.

`create` imports one module, on demand. A package that is not installed is an `EngineMissing` that
names the extra to install.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import cast

from executors.base import Executor
from executors.config import EngineConfig
from executors.errors import EngineMissing, EngineUnknown
from executors.types import Completion

Factory = Callable[[EngineConfig], Executor[Completion]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """Where an engine's executor lives and which packages it needs."""

    module: str
    factory: str
    packages: tuple[str, ...] = ()
    extra: str = ""


ENGINES: dict[str, Engine] = {
    "fake": Engine(module="executors.fake", factory="FakeExecutor"),
    "transformers": Engine(
        module="executors.transformers_engine",
        factory="TransformersExecutor",
        packages=("torch", "transformers", "safetensors"),
        extra="transformers",
    ),
    "vllm": Engine(
        module="executors.vllm_engine",
        factory="VllmExecutor",
        packages=("vllm",),
        extra="vllm",
    ),
}


def create(config: EngineConfig) -> Executor[Completion]:
    """Make the executor that `config.engine` names; nothing is loaded yet.

    Raises `EngineUnknown` or `EngineMissing`.
    """
    engine = require(config)
    factory = cast("Factory", getattr(import_module(engine.module), engine.factory))
    return factory(config)


def require(config: EngineConfig) -> Engine:
    """Return what is known of the engine that `config.engine` names; nothing is imported.

    Raises `EngineUnknown` or `EngineMissing`.
    """
    engine = ENGINES.get(config.engine)
    if engine is None:
        known = ", ".join(sorted(ENGINES))
        raise EngineUnknown(
            f"unknown engine {config.engine!r}; known are {known}",
            suggested_action=f"Name one of {known}.",
            details={"engine": config.engine, "known": sorted(ENGINES)},
        )
    missing = _missing(engine)
    if missing:
        raise _engine_missing(config, engine, missing)
    return engine


def available_engines() -> tuple[str, ...]:
    """The engines whose packages are installed, sorted; none is imported to find out."""
    return tuple(sorted(name for name, engine in ENGINES.items() if not _missing(engine)))


def _missing(engine: Engine) -> list[str]:
    return [package for package in engine.packages if find_spec(package) is None]


def _engine_missing(config: EngineConfig, engine: Engine, missing: list[str]) -> EngineMissing:
    extra = "cpu" if engine.extra == "transformers" and config.device == "cpu" else engine.extra
    command = f"pip install 'honeyflow[{extra}]'"
    return EngineMissing(
        f"the engine {config.engine!r} needs {', '.join(missing)}, which is not installed",
        suggested_action=command,
        details={"engine": config.engine, "missing": missing, "install": command},
    )
