"""The rules of the house that a machine can hold: names, layers' edges, sizes, light imports."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from celery.app.defaults import DEFAULTS, NAMESPACES, flatten

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("cli", "executors", "ledger", "monitoring", "proofs", "routing", "tasks")
SOURCES = sorted(
    path
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if "versions" not in path.parts
)


def test_all_packages_come_from_one_place() -> None:
    """A stray `tasks/` in the working directory would win silently."""
    places = {
        Path(spec.origin).parents[0 if name == "celeryconfig" else 1]
        for name in (*PACKAGES, "celeryconfig")
        if (spec := importlib.util.find_spec(name)) is not None and spec.origin is not None
    }
    assert {ROOT} == places


def test_our_names_belong_to_our_distribution_alone() -> None:
    """No other installed distribution ships a package of one of our names."""
    owners = importlib.metadata.packages_distributions()
    for name in PACKAGES:
        assert {"honeyflow"} >= set(owners.get(name, []))


def test_importing_tasks_is_light() -> None:
    """A web process that only submits loads no engine, no SQL and no schema library."""
    program = "import sys; import tasks; print(*sorted(m.split('.')[0] for m in sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"torch", "transformers", "vllm", "numpy"} & set(loaded)


def test_submitting_loads_no_engine() -> None:
    """Neither does the client, with its ledger and its checks."""
    program = "import sys; from tasks import wiring, client; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"torch", "transformers", "vllm"} & set(loaded)


def test_every_public_name_of_celeryconfig_is_a_setting() -> None:
    """Celery keeps a misspelt setting without a word."""
    # Two settings that Celery 5.7 reads and documents, and does not list among its defaults.
    unlisted = {"result_backend_thread_safe", "redis_backend_health_check_interval"}
    known = set(DEFAULTS) | {name for name, _ in flatten(NAMESPACES)} | unlisted
    public = {name for name in vars(importlib.import_module("celeryconfig")) if name[0] != "_"}
    assert set() == public - known


def test_the_task_names_are_the_wire_format() -> None:
    """They break queued messages when they change."""
    from tasks import app

    app.loader.import_default_modules()
    ours = {name for name in app.tasks if not name.startswith("celery.")}
    assert ours == {
        "tasks.check_alerts",
        "tasks.collect_cosignatures",
        "tasks.deliver_alerts",
        "tasks.infer",
        "tasks.reconcile",
        "tasks.request_seals",
        "tasks.send_canaries",
        "tasks.sweep_workers",
        "tasks.upload_to_ipfs",
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_what_a_package_exports_is_sorted_and_true(package: str) -> None:
    """`__all__` names what is there, in order."""
    module = importlib.import_module(package)
    exported = list(getattr(module, "__all__", []))
    constants = [name for name in exported if name.isupper()]
    assert exported == sorted(exported, key=lambda name: (name not in constants, name)) or (
        exported == sorted(exported)
    )
    assert [] == [name for name in exported if not hasattr(module, name)]


def test_files_stay_small() -> None:
    """Nine in ten under 250 lines, none over 400."""
    sizes = {path: len(path.read_text().splitlines()) for path in SOURCES}
    assert {} == {path.name: size for path, size in sizes.items() if size > 400}
    over = [path for path, size in sizes.items() if size > 250]
    assert len(over) <= len(sizes) / 10, sorted(str(path.relative_to(ROOT)) for path in over)


def test_the_environment_is_read_in_one_place() -> None:
    """Settings are values that are passed in; only the edges touch `os.environ`."""
    readers = {
        str(path.relative_to(ROOT))
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv")
    }
    allowed = {
        "cli/demo.py",  # writes the demo's own settings for its children
        "cli/supervisor.py",  # hands the environment on
        "cli/up.py",  # --config, for the children
        "tasks/pinning.py",  # pins the GPU before any engine is imported
        "tasks/settings.py",  # the one reader
    }
    # An engine's own switches: they are variables because the engine reads no other way.
    engines = {name for name in readers if name.startswith(("executors/vllm", "executors/dev"))}
    assert set() == readers - allowed - engines


@pytest.mark.parametrize(
    "module",
    ["executors/resampling/policy.py", "executors/resampling/agreement.py", "proofs/canonical.py"],
)
def test_the_pure_core_has_no_clock_and_no_world(module: str) -> None:
    """Time, randomness and the world are arguments."""
    tree = ast.parse((ROOT / module).read_text())
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert not imported & {"time", "os", "random", "socket", "datetime"}


def test_every_package_says_that_it_is_typed() -> None:
    """`py.typed`, in each."""
    assert [] == [package for package in PACKAGES if not (ROOT / package / "py.typed").exists()]


def test_the_wheel_holds_our_packages_and_the_models(tmp_path: Path) -> None:
    """Opened and listed: no tests, no benchmarks, and the shipped models with their weights."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert {*PACKAGES, "celeryconfig.py"} == top
    assert "executors/shipped/queenbee-spine/model.safetensors" in names
    assert "executors/shipped/queenbee-chest/profile.toml" in names
    assert not any(name.startswith("tasks/app") for name in names)
