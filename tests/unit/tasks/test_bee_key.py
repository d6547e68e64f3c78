"""A worker's key counts only if nobody else can reach it; every refusal says which file and why."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from proofs.errors import PassphraseNeeded
from proofs.keys import PrivateKey, PublicKey
from tasks import bee_key, settings, signers
from tasks.errors import AgentUnavailable, KeyExists, KeyUnusable
from tasks.secret_files import read_passphrase
from tests.unit.proofs.signers import KEY, OTHER, keygen, needs_openssh

LINE = KEY.public_key.to_openssh()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a key in it."""
    made = tmp_path / "keys" / "worker@node"
    bee_key.create(made, key=KEY, comment="worker@node")
    return made


@pytest.fixture
def passphrase(tmp_path: Path) -> Path:
    """A passphrase in a file of its own."""
    file = tmp_path / "passphrase"
    file.write_text("open sesame\n")
    file.chmod(0o600)
    return file


def _mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def _names(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir()]


def test_the_line_about_a_new_key_says_which_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, and the second time there is nothing to tell."""
    caplog.set_level("INFO")
    given = settings.read({"HONEYFLOW_DATA_DIR": str(tmp_path)})

    made = [signers.open_or_make(tmp_path / "keys" / "w", given) for _ in range(2)]

    told = {one.public_key.fingerprint for one in made}
    assert told == {getattr(record, "key_id", None) for record in caplog.records}
    assert 1 == len(caplog.records)


def test_a_key_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    """Whatever the process's mask allows."""
    folder = tmp_path / "a" / "b"
    before = os.umask(0)
    try:
        key = bee_key.create(folder, comment="b")
    finally:
        os.umask(before)

    assert (0o700, 0o600) == (_mode(folder), _mode(folder / "bee_key"))
    assert key.to_openssh("b") + "\n" == (folder / "bee_key.pub").read_text()
    assert sorted(_names(folder)) == ["bee_key", "bee_key.pub"]
    signer = bee_key.open_signer(folder)
    assert signer.public_key == key == bee_key.public_key(folder)
    assert key.verifies(signer.sign(b"message"), b"message")


def test_each_new_key_is_another(tmp_path: Path) -> None:
    """Nothing is derived from a name."""
    assert bee_key.create(tmp_path / "a") != bee_key.create(tmp_path / "b")


@needs_openssh
def test_ssh_keygen_signs_with_it(folder: Path) -> None:
    """The files are those of OpenSSH."""
    told = keygen("-l", "-f", folder / "bee_key").stdout.decode()

    assert f"{KEY.public_key.fingerprint} worker@node (ED25519)" in told


def test_a_missing_key_is_told_from_an_unusable_one(tmp_path: Path, folder: Path) -> None:
    """A link that leads nowhere is there: nothing is put in its place."""
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "bee_key").symlink_to("nowhere")
    half = tmp_path / "half"
    bee_key.create_public(half, KEY.public_key)

    assert bee_key.is_missing(tmp_path / "none")
    assert bee_key.is_missing(tmp_path)
    assert not any(map(bee_key.is_missing, (folder, linked, half)))
    with pytest.raises(KeyExists):
        bee_key.create(linked)


@pytest.mark.parametrize("left", [bee_key.FILES, *[(name,) for name in bee_key.FILES]])
def test_a_key_is_never_overwritten(folder: Path, left: tuple[str, ...]) -> None:
    """Nor completed with half of another one."""
    for name in set(bee_key.FILES) - set(left):
        (folder / name).unlink()
    before = {name: (folder / name).read_bytes() for name in left}

    with pytest.raises(KeyExists, match="holds a key already"):
        bee_key.create(folder, key=OTHER)
    with pytest.raises(KeyExists, match="holds a key already"):
        bee_key.create_public(folder, OTHER.public_key)
    assert before == {name: (folder / name).read_bytes() for name in _names(folder)}


def test_an_encrypted_key_wants_its_passphrase(tmp_path: Path, passphrase: Path) -> None:
    """From a file; none, a wrong one and the right one are three things."""
    folder = tmp_path / "key"
    bee_key.create(folder, key=KEY, passphrase_file=passphrase)
    wrong = tmp_path / "wrong"
    wrong.write_text("open barley")
    wrong.chmod(0o600)

    assert KEY == PrivateKey.from_openssh((folder / "bee_key").read_bytes(), b"open sesame")
    assert KEY == bee_key.open_signer(folder, passphrase_file=passphrase)
    with pytest.raises(KeyUnusable, match="is encrypted, and no passphrase file is named"):
        bee_key.open_signer(folder)
    with pytest.raises(KeyUnusable, match="the passphrase does not unlock"):
        bee_key.open_signer(folder, passphrase_file=wrong)
    with pytest.raises(KeyUnusable, match=r"passphrase.gone cannot be read"):
        bee_key.open_signer(folder, passphrase_file=tmp_path / "passphrase.gone")
    with pytest.raises(PassphraseNeeded):
        bee_key.read_private(folder / "bee_key")


def test_the_public_half_is_told_of_a_locked_key(tmp_path: Path, passphrase: Path) -> None:
    """To look at a key one need not unlock it."""
    bee_key.create(tmp_path / "key", key=KEY, passphrase_file=passphrase)

    assert KEY.public_key == bee_key.public_key(tmp_path / "key")


def test_the_private_half_says_what_a_key_is(folder: Path) -> None:
    """As after a crash between the two files."""
    (folder / "bee_key.pub").write_text(OTHER.public_key.to_openssh())
    assert KEY.public_key == bee_key.public_key(folder) == bee_key.open_signer(folder).public_key

    (folder / "bee_key.pub").unlink()
    assert KEY.public_key == bee_key.public_key(folder) == bee_key.open_signer(folder).public_key


def _no_key(file: Path) -> None:
    file.unlink()


def _linked(file: Path) -> None:
    file.rename(file.with_name("elsewhere"))
    file.symlink_to("elsewhere")


def _group_reads(file: Path) -> None:
    file.chmod(0o640)


def _others_read(file: Path) -> None:
    file.chmod(0o604)


def _group_writes(file: Path) -> None:
    file.chmod(0o620)


def _folder_instead(file: Path) -> None:
    file.unlink()
    file.mkdir(mode=0o700)


def _pipe_instead(file: Path) -> None:
    file.unlink()
    os.mkfifo(file, 0o600)


def _socket_instead(file: Path) -> None:
    file.unlink()
    before = Path.cwd()
    os.chdir(file.parent)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(file.name)
    finally:
        os.chdir(before)
    file.chmod(0o600)


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _public_instead(file: Path) -> None:
    file.write_text(LINE)


def _huge(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"\n" * 1_000_000)


def _open_folder(file: Path) -> None:
    file.parent.chmod(0o770)


UNSAFE: list[tuple[Callable[[Path], None], str]] = [
    (_no_key, "bee_key is not there"),
    (_linked, "bee_key is a symbolic link"),
    (_group_reads, r"bee_key is open to others \(mode 0640\)"),
    (_others_read, r"bee_key is open to others \(mode 0604\)"),
    (_group_writes, r"bee_key is open to others \(mode 0620\)"),
    (_folder_instead, "bee_key is not a regular file"),
    (_pipe_instead, "bee_key is not a regular file"),
    (_socket_instead, "bee_key cannot be read"),
    (_empty, "bee_key is refused: this is not a private key of OpenSSH"),
    (_public_instead, "bee_key is refused: this is not a private key of OpenSSH"),
    (_huge, "bee_key is refused: a private key has at most 16384 bytes"),
    (_open_folder, r"worker@node can be written by others \(mode 0770\)"),
]


@pytest.mark.parametrize(
    ("spoil", "reason"), UNSAFE, ids=lambda value: getattr(value, "__name__", "")
)
def test_a_key_that_is_not_safe_is_refused(
    folder: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    """Each with its own reason, the file's name, and what to do."""
    spoil(folder / "bee_key")

    with pytest.raises(KeyUnusable, match=reason) as refused:
        bee_key.open_signer(folder)
    assert "KEY_UNUSABLE" == refused.value.code
    assert refused.value.details["path"].startswith(str(folder))
    assert refused.value.suggested_action != KeyUnusable.suggested_action


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_the_key_of_another_user_is_refused(folder: Path) -> None:
    """Though root could read it; so could its owner change it."""
    os.chown(folder / "bee_key", 12345, -1)
    with pytest.raises(KeyUnusable, match="bee_key belongs to user 12345, and this process"):
        bee_key.open_signer(folder)

    os.chown(folder, 12345, -1)
    with pytest.raises(KeyUnusable, match="worker@node belongs to user 12345"):
        bee_key.open_signer(folder)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """By its name."""
    with pytest.raises(KeyUnusable, match="none cannot be read: No such file"):
        bee_key.open_signer(tmp_path / "none")


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """By its name."""
    (tmp_path / "file").touch()

    with pytest.raises(KeyUnusable, match="file/key cannot be written"):
        bee_key.create(tmp_path / "file" / "key")
    with pytest.raises(KeyUnusable, match="file cannot be written"):
        bee_key.create(tmp_path / "file")


PUBLIC = {
    "gone": (None, "bee_key.pub cannot be read"),
    "no text": (b"\xff", "bee_key.pub is not a text"),
    "no key": (b"hello", "bee_key.pub is refused: a public key is one line"),
    "another type": (b"ssh-rsa AAAA", "bee_key.pub is refused: the key is of type 'ssh-rsa'"),
}


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_key_that_is_none_is_refused(folder: Path, name: str) -> None:
    """Each with its own reason."""
    data, reason = PUBLIC[name]
    (folder / "bee_key.pub").unlink()
    if data is not None:
        (folder / "bee_key.pub").write_bytes(data)

    with pytest.raises(KeyUnusable, match=reason):
        bee_key.read_public(folder)


def test_a_public_key_may_be_read_by_all_and_changed_by_nobody(folder: Path) -> None:
    """Whoever changed it would choose whom the agent signs for."""
    (folder / "bee_key.pub").chmod(0o644)
    assert PublicKey.from_openssh(LINE) == bee_key.read_public(folder)

    (folder / "bee_key.pub").chmod(0o664)
    with pytest.raises(KeyUnusable, match="open to others"):
        bee_key.read_public(folder)


def test_a_passphrase_may_be_a_link_and_end_in_a_newline(tmp_path: Path, passphrase: Path) -> None:
    """As secrets are mounted, and as editors write."""
    (tmp_path / "link").symlink_to(passphrase)
    assert b"open sesame" == read_passphrase(tmp_path / "link")

    passphrase.write_bytes(b" two lines\nand blanks \r\n")
    assert b" two lines\nand blanks " == read_passphrase(passphrase)


PASSPHRASES = {
    "empty": (b"", 0o600, "is empty"),
    "a newline": (b"\n", 0o600, "is empty"),
    "too long": (b"x" * 1025, 0o600, "more than 1024 bytes"),
    "far too long": (b"x" * 5000, 0o600, "more than 1024 bytes"),
    "open to all": (b"x", 0o644, "is open to others"),
    "open to writers": (b"x", 0o620, "is open to others"),
}


@pytest.mark.parametrize("name", PASSPHRASES)
def test_a_passphrase_that_is_none_is_refused(passphrase: Path, name: str) -> None:
    """Each with its own reason."""
    data, mode, reason = PASSPHRASES[name]
    passphrase.write_bytes(data)
    passphrase.chmod(mode)

    with pytest.raises(KeyUnusable, match=f"passphrase .*{reason}"):
        read_passphrase(passphrase)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_the_passphrase_of_another_user_is_refused(passphrase: Path) -> None:
    """Unless it is root's, as systemd hands it out: readable by the group, for an ACL's sake."""
    passphrase.chmod(0o440)
    assert b"open sesame" == read_passphrase(passphrase)

    os.chown(passphrase, 12345, -1)
    with pytest.raises(KeyUnusable, match="belongs to user 12345"):
        read_passphrase(passphrase)


def test_a_public_half_alone_wants_an_agent(tmp_path: Path) -> None:
    """One that is named, and answers."""
    bee_key.create_public(tmp_path / "key", KEY.public_key)

    with pytest.raises(KeyUnusable, match="bee_key is not there") as refused:
        bee_key.open_signer(tmp_path / "key")
    assert "ssh_agent_socket" in refused.value.suggested_action
    with pytest.raises(AgentUnavailable, match="cannot be reached: No such file"):
        bee_key.open_signer(tmp_path / "key", agent_socket=tmp_path / "no-agent")
