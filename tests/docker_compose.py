"""Docker Compose itself, for what only it can judge; `config` needs no engine.

Debian's package of one version is fetched by apt from where this machine has its packages, held
against its SHA-256, and unpacked into the user's cache; nothing is installed.
"""

from __future__ import annotations

import functools
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

RELEASE = "trixie"
PACKAGE, VERSION = "docker-compose", "2.26.1-4"
SHA256 = "47681197cb2b1ab88206b42a1a92fc75f50d9530a6322d03494a473eed0408ea"
_PLUGIN = "usr/libexec/docker/cli-plugins/docker-compose"
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class Unavailable(Exception):
    """The package cannot be had here."""


def config(file: Path, *words: str, before: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run `docker-compose -f FILE config`, with options before that word and after it."""
    return subprocess.run(
        [str(program()), "-f", str(file), *before, "config", *words],
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        timeout=60,
    )


@functools.cache
def program() -> Path:
    """The plugin's program; skips the test if it cannot be had."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "honeyflow"
    found = cache / f"{PACKAGE}-{VERSION}" / _PLUGIN
    if not found.exists():
        try:
            _fetch(found.parents[4])
        except (Unavailable, OSError, subprocess.SubprocessError) as error:
            pytest.skip(f"{PACKAGE} {VERSION} cannot be fetched: {error}")
    return found


def _fetch(place: Path) -> None:
    if not _KEYRING.exists():
        raise Unavailable("this is no Debian: its keys are not here")
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as name:
        folder = Path(name)
        for part in ("lists/partial", "cache/archives/partial"):
            (folder / part).mkdir(parents=True)
        (folder / "sources.list").write_text(
            f"deb [arch=amd64 signed-by={_KEYRING}] {_archive()} {RELEASE} main\n"
        )
        options = {
            "Dir::Etc::SourceList": folder / "sources.list",
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::State::Lists": folder / "lists",
            "Dir::Cache": folder / "cache",
            "APT::Architecture": "amd64",
            "APT::Sandbox::User": "",
        }
        apt = ["apt-get", "-qq", *(f"-o{key}={value}" for key, value in options.items())]
        _run([*apt, "update"], folder)
        _run([*apt, "download", f"{PACKAGE}={VERSION}"], folder)
        (package,) = folder.glob("*.deb")
        if (found := hashlib.sha256(package.read_bytes()).hexdigest()) != SHA256:
            raise Unavailable(f"its SHA-256 is {found}, not {SHA256}")
        _run(["dpkg-deb", "-x", str(package), "unpacked"], folder)
        if not place.exists():
            (folder / "unpacked").rename(place)


def _archive() -> str:
    """Where this machine has Debian's packages from."""
    told = _run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(LABEL)", "Created-By: Packages"],
        None,
    )
    for line in told.splitlines():
        address, _, label = line.partition(" ")
        if label == "Debian":
            return address
    raise Unavailable("apt has no Debian archive, or was never updated")


def _run(words: list[str], folder: Path | None) -> str:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise Unavailable(f"{words[0]}: {done.stderr.strip()[-300:]}")
    return done.stdout
