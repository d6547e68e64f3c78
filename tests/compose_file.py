"""What compose/docker-compose.yml says, read as Compose reads it: anchors, `.env`, defaults."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[1] / "compose"
_VARIABLE = re.compile(r"\$\$|\$\{(?P<name>\w+)(?:(?P<how>:?[-?])(?P<rest>[^}]*))?\}")


class Missing(Exception):
    """A variable that must be set is not."""


def init(home: Path, **environment: str) -> Path:
    """A copy of compose/ in `home`, after its `init` has run there; gives the folder."""
    folder = home / "compose"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns(".env", "secrets", "data"))
    done = run_init(folder, **environment)
    assert done.returncode == 0, done.stderr
    return folder


def run_init(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `init` in a folder, with an environment of its own."""
    return subprocess.run(
        [str(folder / "init")],
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        timeout=30,
    )


def read_env(folder: Path) -> dict[str, str]:
    """The variables of a folder's `.env`."""
    lines = (folder / ".env").read_text().splitlines()
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def load(folder: Path, environ: Mapping[str, str]) -> dict[str, Any]:
    """The file with everything filled in.

    Raises:
        Missing: a variable that it demands is not there.
    """
    text = (folder / "docker-compose.yml").read_text()
    _require_unique(yaml.compose(text, Loader=yaml.SafeLoader))
    found: dict[str, Any] = _filled(yaml.safe_load(text), environ)
    return found


def _require_unique(node: yaml.Node) -> None:
    """Refuse a key that is there twice, as Compose does; a loader takes the last one."""
    if isinstance(node, yaml.MappingNode):
        names = [key.value for key, _ in node.value]
        assert len(names) == len(set(names)), f"a key is there twice: {names}{node.start_mark}"
    for inner in node.value if isinstance(node, yaml.CollectionNode) else ():
        for one in inner if isinstance(inner, tuple) else (inner,):
            _require_unique(one)


def _filled(value: Any, environ: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(inner, environ) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, environ) for inner in value]
    return (
        _VARIABLE.sub(lambda match: _one(match, environ), value)
        if isinstance(value, str)
        else value
    )


def _one(match: re.Match[str], environ: Mapping[str, str]) -> str:
    if match[0] == "$$":
        return "$"
    name, how, rest = match["name"], match["how"] or "", match["rest"] or ""
    told = environ.get(name)
    if told or (told is not None and not how.startswith(":")):
        return told
    if how.endswith("?"):
        raise Missing(f"{name}: {rest}")
    return rest


def seconds(duration: str) -> float:
    """A duration as Compose writes it: `90s`, `2m`, `1m30s`."""
    units = {"h": 3600, "m": 60, "s": 1}
    parts = re.findall(r"(\d+)([hms])", duration)
    assert parts and "".join(a + b for a, b in parts) == duration, duration
    return float(sum(int(number) * units[unit] for number, unit in parts))
