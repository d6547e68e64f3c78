"""`honeyflow keys bee new|show`: keys of workers, and the lines that others verify with."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from cli.keys import app
from proofs.allowed_signers import AllowedSigners
from proofs.keys import PublicKey
from proofs.note import VerifierKey
from tasks import bee_key, wiring
from tasks.errors import KeyExists, KeyUnusable
from tasks.key_folder import KeyFolder, path_of
from tests.agent import needs_agent, running_agent
from tests.unit.proofs.signers import KEY, OTHER, keygen, needs_openssh, write_key

WORKER = "gpu-1a2b3c4d@node"
NAME = "bee.example.eth"
Configure = Callable[..., Path]


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Give the command its settings; returns the folder of keys."""
    keys = tmp_path / "keys"
    base = replace(wiring.settings(), keys_dir=keys, worker_ens=NAME)

    def with_settings(**changed: Any) -> Path:
        monkeypatch.setattr(wiring, "settings", lambda: replace(base, **changed))
        return keys

    with_settings()
    return with_settings


def run(*words: str | Path) -> Result:
    """What the command says."""
    return CliRunner().invoke(app, ["bee", *map(str, words)])


def lines(result: Result) -> list[str]:
    """The lines of a command that went well."""
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def secret(tmp_path: Path, text: str = "open sesame") -> Path:
    """A passphrase in a file."""
    file = tmp_path / "passphrase"
    file.write_text(text + "\n")
    file.chmod(0o600)
    return file


def test_new_makes_a_key_where_the_worker_will_look(configure: Configure) -> None:
    """And prints the line that others verify its receipts with."""
    told = lines(run("new", "--worker", WORKER))
    folder = path_of(configure(), WORKER)
    key = bee_key.open_signer(folder).public_key

    assert f"{key.fingerprint} is the key of {WORKER}, in {folder}." == told[0]
    assert [f'{NAME} namespaces="swarm-receipt,swarm-merkle" {key.to_openssh()}'] == told[1:]
    AllowedSigners.parse(told[1].encode()).require(key, principal=NAME, namespace="swarm-receipt")
    assert (folder / "bee_key.pub").read_text().endswith(f" {WORKER}\n")


def test_new_overwrites_nothing(configure: Configure) -> None:
    """A second one is refused."""
    lines(run("new", "--worker", WORKER))
    before = (path_of(configure(), WORKER) / "bee_key").read_bytes()

    assert isinstance(run("new", "--worker", WORKER).exception, KeyExists)
    assert before == (path_of(configure(), WORKER) / "bee_key").read_bytes()


def test_no_worker_is_called_so_that_a_key_lies_elsewhere(configure: Configure) -> None:
    """Names are quoted, and read back."""
    for name in ("../../etc", "..", "a/b", "a b"):
        lines(run("new", "--worker", name))
    keys = configure()

    assert 4 == len([folder for folder in keys.iterdir() if (folder / "bee_key").exists()])
    shown = [json.loads(line)["worker"] for line in lines(run("show", "--json"))]
    assert ["..", "../../etc", "a b", "a/b"] == sorted(shown)


def test_new_copies_a_key_of_ssh_keygen(configure: Configure, tmp_path: Path) -> None:
    """The copy is the worker's own file."""
    source = write_key(tmp_path, KEY)
    told = lines(run("new", "--worker", WORKER, "--from", source))

    assert told[0].startswith(KEY.public_key.fingerprint)
    assert KEY == bee_key.open_signer(path_of(configure(), WORKER))


def test_new_refuses_to_copy_what_others_could_read(configure: Configure, tmp_path: Path) -> None:
    """As ssh-keygen would."""
    source = write_key(tmp_path, KEY)
    source.chmod(0o644)

    refused = run("new", "--worker", WORKER, "--from", source).exception
    assert isinstance(refused, KeyUnusable)
    assert "is open to others (mode 0644)" in refused.message
    gone = run("new", "--worker", WORKER, "--from", tmp_path / "gone").exception
    assert isinstance(gone, KeyUnusable)
    assert "gone cannot be read" in gone.message
    assert bee_key.is_missing(path_of(configure(), WORKER))


@needs_openssh
def test_a_key_can_be_encrypted(configure: Configure, tmp_path: Path) -> None:
    """And the setting that its worker needs is told, unless it is there."""
    passphrase = secret(tmp_path)
    told = lines(run("new", "--worker", WORKER, "--passphrase-file", passphrase))
    file = path_of(configure(), WORKER) / "bee_key"

    assert f'Its worker needs: bee_passphrase_file = "{passphrase}"' == told[1]
    assert keygen("-y", "-P", "", "-f", file).returncode != 0
    opened = keygen("-y", "-P", "open sesame", "-f", file).stdout.decode()
    assert PublicKey.from_openssh(opened).fingerprint == told[0].split()[0]


def test_the_configured_passphrase_encrypts_and_unlocks(
    configure: Configure, tmp_path: Path
) -> None:
    """Of the copy too: it is read with it, and written with it."""
    passphrase = secret(tmp_path)
    configure(bee_passphrase_file=passphrase)
    source = write_key(tmp_path, KEY, b"open sesame")
    told = lines(run("new", "--worker", WORKER, "--from", source))
    folder = path_of(configure(bee_passphrase_file=passphrase), WORKER)

    assert 2 == len(told)
    assert KEY == bee_key.open_signer(folder, passphrase_file=passphrase)
    with pytest.raises(KeyUnusable, match="is encrypted"):
        bee_key.open_signer(folder)
    # Its public half is enough to be shown, also to one who cannot unlock it.
    configure()
    assert KEY.public_key.fingerprint in run("show").stdout


@needs_agent
def test_a_public_key_is_enough_beside_an_agent(configure: Configure, tmp_path: Path) -> None:
    """The private one stays where it is."""
    source = write_key(tmp_path, KEY)
    told = lines(run("new", "--worker", WORKER, "--from", source.with_suffix(".pub")))
    folder = path_of(configure(), WORKER)

    assert told[0].startswith(KEY.public_key.fingerprint)
    assert ["bee_key.pub"] == [file.name for file in folder.iterdir()]
    with running_agent(source) as agent:
        signer = bee_key.open_signer(folder, agent_socket=agent)
        assert KEY.sign(b"message") == signer.sign(b"message")
    assert KEY.public_key.fingerprint in run("show").stdout


def test_show_tells_what_others_verify_with(configure: Configure) -> None:
    """The fingerprint, the line, and the log's key once there is a log."""
    lines(run("new", "--worker", WORKER))
    keys = configure()
    before = run("show", "--worker", WORKER).stdout
    opened = KeyFolder.open(keys, WORKER)
    name = opened.log(NAME)
    opened.close()
    after = run("show", "--worker", WORKER).stdout
    key = bee_key.public_key(path_of(keys, WORKER))

    assert "none yet" in before
    for told in (before, after):
        assert key.fingerprint in told
        assert f'{NAME} namespaces="swarm-receipt,swarm-merkle" {key.to_openssh()}\n' in told
    assert name.origin in after
    vkey = VerifierKey.parse(after.split("log's key")[1].strip())
    assert (name.origin, key) == (vkey.name, vkey.ed25519)


def test_show_prints_what_a_program_reads(configure: Configure) -> None:
    """JSON, a line per key; and a whole file of allowed signers."""
    workers = ("cpu-a@node", "cpu-b@node")
    made = [lines(run("new", "--worker", worker))[1] for worker in workers]
    told = [json.loads(line) for line in lines(run("show", "--json"))]

    assert list(workers) == [one["worker"] for one in told]
    assert made == [one["allowed_signers"][0] for one in told]
    assert [None, None] == [one["vkey"] for one in told]
    signers = AllowedSigners.parse(run("show", "--allowed-signers").stdout.encode())
    assert [one["fingerprint"] for one in told] == [
        key.fingerprint for key in signers.keys(NAME, "swarm-merkle")
    ]


def test_show_goes_on_naming_keys_that_were_replaced(configure: Configure) -> None:
    """What they signed is still to be verified."""
    lines(run("new", "--worker", WORKER))
    folder = path_of(configure(), WORKER)
    bee_key.create(folder / "retired" / "x", key=OTHER)
    bee_key.create(folder / "next", key=KEY)
    told = run("show", "--allowed-signers").stdout

    assert 2 == len(told.splitlines())
    assert OTHER.public_key.to_openssh() in told.splitlines()[1]


def test_show_says_where_there_is_no_key(configure: Configure) -> None:
    """In all, and of one worker."""
    refused = run("show").exception
    assert isinstance(refused, KeyUnusable)
    assert f"There is no key in {configure()}." == refused.message
    assert isinstance(run("show", "--worker", WORKER).exception, KeyUnusable)


def test_show_refuses_a_key_that_is_not_safe(configure: Configure) -> None:
    """The same words as at the worker's start."""
    lines(run("new", "--worker", WORKER))
    (path_of(configure(), WORKER) / "bee_key").chmod(0o640)

    refused = run("show").exception
    assert isinstance(refused, KeyUnusable)
    assert "is open to others (mode 0640)" in refused.message
