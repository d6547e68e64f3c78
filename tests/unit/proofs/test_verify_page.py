"""The lines of `docs/verify.md` do what the page says, on files that our code makes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from proofs import salted_digest, sha256_digest
from proofs.keys import PrivateKey
from tests.unit.proofs import examples, issued
from tests.unit.proofs.signers import BEE, KEY, OTHER, needs, needs_openssh

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "verify.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```\n\n```text\n(.*?)^```\n", PAGE, re.MULTILINE | re.DOTALL)

pytestmark = [needs_openssh, needs("openssl"), needs("dash")]


# For what shells do differently; the other tests run in the plainer one.
in_both_shells = pytest.mark.parametrize(
    "folder", [pytest.param(shell, marks=needs(shell)) for shell in ("dash", "bash")], indirect=True
)


@pytest.fixture(scope="module")
def zipapp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The one file that `make zipapp` makes."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        ["make", "--silent", "zipapp", f"DIST={folder}", f"PYTHON={sys.executable}"],
        cwd=ROOT,
        check=True,
        timeout=120,
    )
    assert [path.name for path in folder.iterdir()] == ["honeyflow-proofs.pyz"]
    return folder / "honeyflow-proofs.pyz"


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path, zipapp: Path) -> Path:
    """What a stranger has, in a folder that is named like the stranger's shell."""
    place = tmp_path / str(getattr(request, "param", "dash"))
    place.mkdir()
    issued.write_files(place)
    shutil.copy(zipapp, place)
    return place


def _run(folder: Path) -> str:
    """What the page's lines print, all in one shell as somebody would paste them."""
    # Only `python3` is looked for elsewhere: here it has what the zipapp needs.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [folder.name, "-c", "\n".join(lines for lines, _ in BLOCKS)],
        cwd=folder,
        env={"PATH": path, "LC_ALL": "C.UTF-8", "HOME": str(folder), "TZ": "Asia/Tokyo"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.stdout


def _expected() -> str:
    told = "".join(text for _, text in BLOCKS)
    return told.replace("SHA256:FINGERPRINT", KEY.public_key.fingerprint)


def test_every_line_of_the_page_is_run() -> None:
    """No block is left out because of its form."""
    assert len(BLOCKS) == PAGE.count("```sh") == PAGE.count("```text") == 7


@in_both_shells
def test_the_lines_print_what_the_page_says(folder: Path) -> None:
    """Word for word, in a time zone far from the receipt's."""
    assert _run(folder) == _expected()


LINES = {
    "signature": 'Good "swarm-receipt" signature',
    "report": "the report is the receipt's",
    "answer": "the answer is the receipt's",
    "manifest": 'Good "swarm-merkle" signature',
    "batch": "the receipt is in the batch",
    "worker": "the log is the worker's",
    "checkpoint": "Signature Verified Successfully",
    "log": "the receipt is in the log",
    "all": "verified: ",
}


def _told(folder: Path) -> set[str]:
    """Which of the page's sentences are printed."""
    printed = _run(folder)
    return {name for name, sentence in LINES.items() if sentence in printed}


def _flip(file: Path, at: int) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(bytes(data))


def test_a_changed_receipt_is_not_vouched_for(folder: Path) -> None:
    """Neither by its signature nor by its log."""
    receipt = folder / "receipt.json"
    receipt.write_bytes(receipt.read_bytes().replace(b'"k_samples":5', b'"k_samples":7'))

    assert _told(folder) == set(LINES) - {"signature", "batch", "log", "all"}


def test_a_newline_at_the_end_is_another_receipt(folder: Path) -> None:
    """As an editor adds it."""
    receipt = folder / "receipt.json"
    receipt.write_bytes(receipt.read_bytes() + b"\n")

    assert _told(folder) == set(LINES) - {"signature", "batch", "log", "all"}


def test_another_report_or_answer_is_seen(folder: Path) -> None:
    """Each by its own line."""
    _flip(folder / "report.json", 100)
    assert _told(folder) == set(LINES) - {"report", "all"}
    _flip(folder / "result.txt", 3)
    assert _told(folder) == set(LINES) - {"report", "answer", "all"}


def test_a_changed_batch_is_seen(folder: Path) -> None:
    """Its signature was over other bytes."""
    _flip(folder / "batch.json", 20)

    assert _told(folder) == set(LINES) - {"manifest"}


def test_another_key_is_seen(folder: Path) -> None:
    """By every line that looks at signatures."""
    (folder / "allowed_signers").write_bytes(issued.signers_file(OTHER))

    assert _told(folder) == {"report", "answer", "batch", "worker", "log"}


def test_a_proof_of_another_leaf_or_length_is_seen(folder: Path) -> None:
    """Also one whose path is cut short or padded."""
    good = issued.proof()
    for broken in (
        issued.proof(index=2),
        issued.proof(index=7),
        issued.TlogProof(index=6, path=good.path[:-1], checkpoint=good.checkpoint),
        issued.TlogProof(index=6, path=(*good.path, bytes(32)), checkpoint=good.checkpoint),
        issued.TlogProof(index=11, path=good.path, checkpoint=good.checkpoint),
    ):
        (folder / "receipt.tlog-proof").write_bytes(broken.to_bytes())
        assert _told(folder) == set(LINES) - {"log", "all"}


@in_both_shells
def test_every_place_in_a_log_is_walked_to_its_root(folder: Path) -> None:
    """The shell's loop, at each leaf of a log of seven."""
    for index in range(7):
        (folder / "receipt.json").write_bytes(issued.ENTRIES[index])
        (folder / "receipt.tlog-proof").write_bytes(issued.proof(index, 7).to_bytes())
        assert "log" in _told(folder)


@in_both_shells
@pytest.mark.parametrize("payload", ["a[$(touch ran)]", "a[`touch ran`]", "$(touch ran)", "08", ""])
def test_a_text_in_place_of_a_number_is_not_run(folder: Path, payload: str) -> None:
    """Of the proof's index and of the checkpoint's size, which no signature has covered yet."""
    proof = folder / "receipt.tlog-proof"
    good = proof.read_bytes()

    proof.write_bytes(good.replace(b"\nindex 6\n", f"\nindex {payload}\n".encode()))
    assert _told(folder) == set(LINES) - {"log", "all"}
    proof.write_bytes(good.replace(b"\n11\n", f"\n{payload}\n".encode()))
    assert _told(folder) == set(LINES) - {"checkpoint", "log", "all"}
    assert not (folder / "ran").exists()


ALLOWED = KEY.public_key.to_openssh()
FORMER = OTHER.public_key.to_openssh()


@pytest.mark.parametrize(
    ("lines", "signer", "found"),
    [
        ([f"{BEE} {ALLOWED}", f"{BEE} {FORMER}"], KEY, True),
        ([f"{BEE} {FORMER}", f"{BEE} {ALLOWED}"], KEY, True),
        ([f"{BEE} {FORMER}", f"{BEE} {ALLOWED} ssh-ed25519 of a bee"], KEY, True),
        ([f'{BEE} namespaces="swarm-merkle" {FORMER}', f"{BEE} {ALLOWED}"], OTHER, True),
        ([f'{BEE} namespaces="swarm-receipt" {FORMER}', f"{BEE} {ALLOWED}"], OTHER, False),
        ([f'{BEE} NAMESPACES="swarm-merkle-not" {FORMER}', f"{BEE} {ALLOWED}"], OTHER, False),
        ([f"wasp.example {FORMER}", f"{BEE} {ALLOWED}"], OTHER, False),
    ],
)
def test_every_key_is_tried_that_may_sign_for_the_log(
    folder: Path, lines: list[str], signer: PrivateKey, found: bool
) -> None:
    """In whatever order they stand; not one that is for something else."""
    (folder / "allowed_signers").write_text("\n".join(lines) + "\n", encoding="utf-8")
    note = issued.checkpoint(issued.head(issued.SIZE), signer)
    (folder / "receipt.tlog-proof").write_bytes(issued.proof(note=note).to_bytes())

    told = _told(folder)
    assert ("checkpoint" in told, "all" in told) == (found, found)


def test_a_signature_that_lies_there_already_is_not_taken(folder: Path) -> None:
    """Files that the lines write may have come with the receipt."""
    note = issued.checkpoint(issued.head(issued.SIZE), OTHER)
    for name in ("signature.raw", "signed.raw"):
        (folder / name).write_bytes(note)
    (folder / "receipt.tlog-proof").write_bytes(issued.proof(note=note).to_bytes())

    assert _told(folder) == set(LINES) - {"checkpoint", "all"}


def test_after_a_change_of_keys_the_line_of_the_known_key_is_taken(folder: Path) -> None:
    """Whichever comes first, and however many witnesses follow."""
    witnesses = {issued.WITNESS_NAME: issued.WITNESS}
    for keys in ((KEY, OTHER), (OTHER, KEY)):
        note = issued.checkpoint(issued.head(issued.SIZE), *keys, cosigners=witnesses)
        (folder / "receipt.tlog-proof").write_bytes(issued.proof(note=note).to_bytes())
        assert _told(folder) == set(LINES)


def test_a_checkpoint_that_was_changed_is_seen(folder: Path) -> None:
    """Of another size, or of a log of another worker."""
    proof = folder / "receipt.tlog-proof"
    good = proof.read_bytes()
    proof.write_bytes(good.replace(b"\n11\n", b"\n10\n"))
    assert "checkpoint" not in _told(folder)
    proof.write_bytes(good.replace(b"bee.example/", b"wasp.example/"))
    assert not {"checkpoint", "worker"} & _told(folder)


def test_a_sensitive_answer_is_compared_under_its_salt(folder: Path) -> None:
    """Which the report holds."""
    salted = examples.report(salt=examples.SALT)
    receipt = examples.receipt(
        worker_ens=issued.BEE,
        report_hash=sha256_digest(salted),
        output_hash=salted_digest(examples.ANSWER.encode("utf-8"), examples.SALT),
    )
    (folder / "report.json").write_bytes(salted)
    (folder / "receipt.json").write_bytes(receipt.to_bytes())

    assert {"report", "answer"} <= _told(folder)
