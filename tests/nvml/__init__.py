"""Pretended GPUs for processes that a test starts.

`build` compiles a small `libnvidia-ml.so.1`, `write_state` says what cards it shows, and
`environment` makes the real pynvml of a child process load it. Nothing is replaced in Python.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

GB = 1_000_000_000
_OPTIONS = ("-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Wl,-soname,libnvidia-ml.so.1")
_SOURCE = Path(__file__).with_name("fake_nvml.c")


@dataclass(frozen=True, slots=True, kw_only=True)
class FakePart:
    """A pretended MIG device; sizes in bytes."""

    uuid: str
    name: str = "Pretended MIG 1g.10gb"
    total: int = 10 * GB
    used: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeGpu:
    """A pretended GPU; None is a sensor it lacks.

    Bytes, degrees Celsius, milliwatts, percent, millijoules; `reasons` are NVML's bits for low
    clocks, `violations` nanoseconds by policy (0 power, 1 thermal), `ecc` errors (0 corrected, 1
    not), `xids` all faults it has had so far.
    """

    uuid: str
    name: str = "Pretended RTX 6000"
    total: int | None = 96 * GB
    used: int | None = 1 * GB
    temperature: int | None = 41
    power: int | None = 72_500
    utilization: int | None = 30
    energy: int | None = None
    reasons: int | None = None
    violations: Mapping[int, int] = field(default_factory=dict)
    ecc: Mapping[int, int] = field(default_factory=dict)
    xids: Sequence[int] | None = None
    lost: int = 0
    parts: tuple[FakePart, ...] = ()


_SINGLE = (
    *("uuid", "name", "total", "used", "temperature", "power", "utilization", "energy"),
    *("reasons", "lost"),
)

TWO_GPUS = (
    FakeGpu(uuid="GPU-5fd4f087-86f3-4a7c-9c3e-0123456789ab"),
    FakeGpu(uuid="GPU-a1b2c3d4-0000-4000-8000-ba9876543210"),
)


def compiler() -> str | None:
    """Return the C compiler of this machine, if it has one."""
    return shutil.which("gcc") or shutil.which("cc")


def build(directory: Path) -> Path:
    """Compile the pretended library into the directory and return the directory."""
    found = compiler()
    if found is None:
        raise FileNotFoundError("a C compiler is needed to build the pretended NVML library")
    target = directory / "libnvidia-ml.so.1"
    subprocess.run(
        [found, *_OPTIONS, "-o", str(target), str(_SOURCE)],
        check=True,
        timeout=60,
    )
    return directory


def write_state(
    path: Path,
    gpus: Sequence[FakeGpu] = TWO_GPUS,
    *,
    driver: str = "580.65.06",
    init_error: int = 0,
    hang: bool = False,
) -> Path:
    """Write what the pretended library shows, in one step, and return the path."""
    lines = [f"driver={driver}", f"count={len(gpus)}", f"init_error={init_error}"]
    lines += ["hang=1"] if hang else []
    for index, gpu in enumerate(gpus):
        for name in _SINGLE:
            value = getattr(gpu, name)
            if value is not None:
                lines.append(f"gpu.{index}.{name}={value}")
        lines += [f"gpu.{index}.violation.{key}={value}" for key, value in gpu.violations.items()]
        lines += [f"gpu.{index}.ecc.{key}={value}" for key, value in gpu.ecc.items()]
        if gpu.xids is not None:
            lines.append(f"gpu.{index}.xids={','.join(map(str, gpu.xids))}")
        if gpu.parts:
            lines.append(f"gpu.{index}.mig={len(gpu.parts)}")
        for number, part in enumerate(gpu.parts):
            lines += [
                f"gpu.{index}.mig.{number}.{column.name}={getattr(part, column.name)}"
                for column in fields(part)
            ]
    fresh = path.with_suffix(".new")
    fresh.write_text("\n".join(lines) + "\n", encoding="ascii")
    fresh.replace(path)
    return path


def environment(library: Path, state: Path) -> dict[str, str]:
    """Return the variables that make a child process see the pretended GPUs."""
    paths = [str(library), os.environ.get("LD_LIBRARY_PATH", "")]
    return {
        "LD_LIBRARY_PATH": os.pathsep.join(path for path in paths if path),
        "FAKE_NVML_STATE": str(state),
    }
