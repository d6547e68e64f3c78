"""The key that a worker signs with: its two files, who may reach them, and how it is unlocked.

    bee_key       the private key in OpenSSH's form, 0600; not there if an ssh-agent alone holds it
    bee_key.pub   the public key; where both are there, the private key alone says what it is

A private key counts only if it is a regular file of this very user's that nobody else can reach,
reached through no symbolic link. An encrypted key is unlocked by a passphrase from a file, or stays
locked and signs through the agent.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from proofs.errors import KeyInvalid, PassphraseNeeded
from proofs.keys import (
    MAX_KEY_FILE_BYTES,
    PrivateKey,
    PublicKey,
    Signer,
)
from tasks import durable_files
from tasks.errors import KeyExists, KeyUnusable
from tasks.secret_files import (
    OTHERS,
    OTHERS_WRITE,
    read_own,
    read_passphrase,
    require_safe_folder,
    unusable,
)
from tasks.ssh_agent import AgentSigner

PRIVATE = "bee_key"
PUBLIC = "bee_key.pub"
FILES = (PUBLIC, PRIVATE)
"""In the order in which they are moved: half of a pair is then always one that can be used."""


def is_missing(folder: Path) -> bool:
    """Whether a folder holds no key at all, neither a file nor a link of these names."""
    return not any(os.path.lexists(folder / name) for name in FILES)


def create(
    folder: Path,
    *,
    key: PrivateKey | None = None,
    passphrase_file: Path | None = None,
    comment: str = "bee_key",
) -> PublicKey:
    """Put a key into a folder, a new one unless one is given; encrypted if a passphrase is named.

    Raises:
        KeyExists: there is one already; nothing was changed.
        KeyUnusable: the folder cannot be written or is open to others, or the passphrase cannot
            be read.
    """
    key = key or PrivateKey.generate()
    passphrase = None if passphrase_file is None else read_passphrase(passphrase_file)
    with _writable(folder):
        # The private key first: alone it is complete.
        if not durable_files.write_once(folder / PRIVATE, key.to_openssh(passphrase), mode=0o600):
            raise _exists(folder)
        _write_public(folder, key.public_key, comment)
    return key.public_key


def create_public(folder: Path, key: PublicKey, *, comment: str = "bee_key") -> None:
    """Put the public half alone into a folder: an ssh-agent signs with the other one.

    Raises:
        KeyExists: there is a key already; nothing was changed.
        KeyUnusable: the folder cannot be written or is open to others.
    """
    with _writable(folder):
        _write_public(folder, key, comment)


def open_signer(
    folder: Path, *, passphrase_file: Path | None = None, agent_socket: Path | None = None
) -> Signer:
    """What signs with the key in a folder: the key itself, or an agent that is seen to hold it.

    The agent signs where there is no private key, or an encrypted one without a passphrase.

    Raises:
        KeyUnusable: there is no key, it is not safe, not readable or not unlocked; the message
            names the file and the suggested action the remedy.
        AgentUnavailable: the agent does not answer, or does not hold it.
    """
    require_safe_folder(folder)
    if os.path.lexists(folder / PRIVATE):
        try:
            return read_private(folder / PRIVATE, passphrase_file=passphrase_file)
        except PassphraseNeeded as error:
            if agent_socket is None:
                raise unusable(
                    folder / PRIVATE,
                    "is encrypted, and no passphrase file is named",
                    action="Name a file with bee_passphrase_file, or set ssh_agent_socket.",
                ) from error
    elif agent_socket is None:
        raise unusable(
            folder / PRIVATE,
            "is not there",
            action="Make a key with `honeyflow keys bee new`, or set ssh_agent_socket if an "
            "ssh-agent holds it.",
        )
    signer = AgentSigner(agent_socket, read_public(folder))
    signer.require()
    return signer


def public_key(folder: Path, *, passphrase_file: Path | None = None) -> PublicKey:
    """Which key a folder holds; one that stays locked is known by its public half.

    Raises:
        KeyUnusable: there is none, or it is not safe, not readable or no such key.
    """
    require_safe_folder(folder)
    if os.path.lexists(folder / PRIVATE):
        try:
            return read_private(folder / PRIVATE, passphrase_file=passphrase_file).public_key
        except PassphraseNeeded:
            pass
    return read_public(folder)


def read_private(file: Path, *, passphrase_file: Path | None = None) -> PrivateKey:
    """Read a private key from a file that is safe.

    Raises:
        PassphraseNeeded: it is encrypted, and no passphrase file is named.
        KeyUnusable: the file is not safe, not readable or no such key, or the passphrase is wrong.
    """
    data = read_own(file, forbidden=OTHERS, most=MAX_KEY_FILE_BYTES)
    try:
        return PrivateKey.from_openssh(data)
    except PassphraseNeeded:
        if passphrase_file is None:
            raise
    except KeyInvalid as error:
        raise _refused(file, error) from error
    try:
        return PrivateKey.from_openssh(data, read_passphrase(passphrase_file))
    except KeyInvalid as error:
        raise _refused(file, error) from error


def read_public(folder: Path) -> PublicKey:
    """Read the public key in a folder, as `read_public_file`."""
    return read_public_file(folder / PUBLIC)


def read_public_file(file: Path) -> PublicKey:
    """Read a public key.

    Raises:
        KeyUnusable: it is not there, others may change it, or it is no such key.
    """
    data = read_own(file, forbidden=OTHERS_WRITE, most=MAX_KEY_FILE_BYTES)
    try:
        return PublicKey.from_openssh(data.decode("utf-8"))
    except KeyInvalid as error:
        raise _refused(file, error) from error
    except UnicodeDecodeError as error:
        raise unusable(
            file, "is not a text", action="Write it again with ssh-keygen -y."
        ) from error


@contextlib.contextmanager
def _writable(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        require_safe_folder(folder)
        if not is_missing(folder):
            raise _exists(folder)
        yield
    except OSError as error:
        raise unusable(
            folder,
            f"cannot be written: {error.strerror}",
            action="Let this user own it, or name another with keys_dir.",
        ) from error


def _write_public(folder: Path, key: PublicKey, comment: str) -> None:
    line = key.to_openssh(comment).encode() + b"\n"
    if not durable_files.write_once(folder / PUBLIC, line, mode=0o644):
        raise _exists(folder)


def _exists(folder: Path) -> KeyExists:
    return KeyExists(f"{folder} holds a key already.", details={"path": str(folder)})


def _refused(file: Path, error: KeyInvalid) -> KeyUnusable:
    return unusable(file, f"is refused: {error.message}", action=error.suggested_action)
