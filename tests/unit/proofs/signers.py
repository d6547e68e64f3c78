"""Keys that are the same in every run, and the stock OpenSSH tools to compare with."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from proofs.keys import PrivateKey

BEE = "bee.example"
ORIGIN = "bee.example/8d3c7a52-11f0-4bd4-9a7e-3f0f6b8f5c11"


def needs(tool: str) -> pytest.MarkDecorator:
    """Skips a test where a tool is missing, but not in CI: there the test has to fail."""
    missing = shutil.which(tool) is None and os.environ.get("CI") != "true"
    return pytest.mark.skipif(missing, reason=f"needs {tool}")


needs_openssh = needs("ssh-keygen")


def key_of(name: str) -> PrivateKey:
    """The key that is made from a name."""
    seed = hashlib.sha256(name.encode("utf-8")).digest()
    made = Ed25519PrivateKey.from_private_bytes(seed)
    return PrivateKey.from_openssh(
        made.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    )


KEY = key_of("a bee")
OTHER = key_of("another bee")


def write_key(folder: Path, key: PrivateKey, passphrase: bytes | None = None) -> Path:
    """The key's file, as ssh-keygen wants it."""
    file = folder / "key"
    file.write_bytes(key.to_openssh(passphrase))
    file.chmod(0o600)
    file.with_suffix(".pub").write_text(key.public_key.to_openssh("a comment") + "\n")
    return file


def keygen(*words: str | Path, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """What ssh-keygen says."""
    return subprocess.run(
        ["ssh-keygen", *map(str, words)], input=data, capture_output=True, check=False, timeout=60
    )
