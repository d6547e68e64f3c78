"""`python -m proofs verify`, and the one file that does the same with three libraries at hand."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from proofs.__main__ import main
from tests.unit.proofs import issued
from tests.unit.proofs.signers import ORIGIN, OTHER

ROOT = Path(__file__).parents[3]
LOGGED = f"verified: answered by the model, logged as leaf {issued.PLACE} of {ORIGIN}\n"


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stranger's folder, and in it."""
    issued.write_files(tmp_path)
    (tmp_path / "verdict.json").write_bytes(issued.CORRECTION.to_bytes())
    verdict_proof = issued.proof(issued.SIZE, issued.SIZE + 1).to_bytes()
    (tmp_path / "verdict.tlog-proof").write_bytes(verdict_proof)
    (tmp_path / "policy").write_bytes(issued.POLICY)
    (tmp_path / "revocations").write_bytes(issued.revocation(issued.SIZE).to_bytes() + b"\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _verify(*words: str) -> int:
    return main(["verify", "receipt.json", "--allowed-signers", "allowed_signers", *words])


def test_a_line_per_step_and_a_sentence(given: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The signature lies beside the receipt and need not be named."""
    assert _verify("--proof", "receipt.tlog-proof", "--report", "report.json") == 0

    *steps, last = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in steps] == [f"{number}." for number in range(1, 15)]
    assert last + "\n" == LOGGED
    assert steps[7].startswith("8. ok      signature: by SHA256:")


def test_a_receipt_alone_is_signed_and_not_yet_logged(
    given: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 0: nothing is wrong with it."""
    assert _verify() == 0
    assert capsys.readouterr().out.endswith(
        "verified: answered by the model, signed, not yet logged\n"
    )


def test_a_correction_is_told(given: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the proof that it was logged."""
    words = ("--verdict", "verdict.json", "--verdict-proof", "verdict.tlog-proof")

    assert _verify("--proof", "receipt.tlog-proof", *words) == 0
    assert "answered by the model, corrected by a person, logged" in capsys.readouterr().out


def test_each_file_is_looked_at(given: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A policy and a revocation can refute; the step says so, and the exit status is 1."""
    assert _verify("--proof", "receipt.tlog-proof", "--policy", "policy") == 1
    assert "\nrefuted in step 13, witnesses: the policy needs" in capsys.readouterr().out
    assert _verify("--revocations", "revocations") == 1
    assert "\nrefuted in step 12, revocation: the key SHA256:" in capsys.readouterr().out
    assert _verify("--proof", "receipt.tlog-proof", "--revocations", "revocations") == 0
    assert capsys.readouterr().out.endswith(LOGGED)
    (given / "other.sig").write_bytes(issued.signature(issued.RECEIPT.to_bytes(), OTHER))
    assert _verify("--signature", "other.sig") == 1
    assert "\nrefuted in step 8, signature: bee.example signs with" in capsys.readouterr().out
    for option in ("--report", "--output", "--request", "--ciphertext", "--proof"):
        assert _verify(option, "policy") == 1
        assert "\nrefuted in step " in capsys.readouterr().out


def test_a_receipt_without_a_signature_is_refuted(
    given: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A proof does not stand in for it."""
    (given / "receipt.json.sig").unlink()

    assert _verify("--proof", "receipt.tlog-proof") == 1
    assert capsys.readouterr().out.endswith("signature: there is no signature of the receipt\n")


@pytest.mark.parametrize(
    ("name", "option", "code"),
    [
        ("allowed_signers", "--proof=receipt.tlog-proof", "ALLOWED_SIGNERS_INVALID: line 1"),
        ("policy", "--policy=policy", "POLICY_INVALID: "),
        ("revocations", "--revocations=revocations", "REVOCATION_INVALID: line 1"),
    ],
)
def test_a_broken_file_of_the_verifiers_own_is_an_error(
    given: Path, capsys: pytest.CaptureFixture[str], name: str, option: str, code: str
) -> None:
    """It says nothing about the receipt."""
    (given / name).write_bytes(b"broken\n")

    assert _verify(option) == 1
    captured = capsys.readouterr()
    assert (captured.out, captured.err.startswith(code)) == ("", True), captured.err


def test_whom_to_believe_must_be_said(given: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """There is no list that is believed unasked."""
    with pytest.raises(SystemExit) as caught:
        main(["verify", "receipt.json"])

    assert (caught.value.code, "--allowed-signers" in capsys.readouterr().err) == (2, True)


def test_the_command_loads_nothing_but_proofs_and_its_libraries() -> None:
    """No other package of ours, no SQL, no HTTP."""
    program = (
        "import sys; before = set(sys.modules); import proofs.__main__;"
        "print(*{name.split('.')[0] for name in set(sys.modules) - before})"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    strangers = set(loaded) - sys.stdlib_module_names

    libraries = {"rfc8785", "cryptography", "bcrypt", "_cffi_backend", "_openssl"}
    assert strangers <= {"proofs", *libraries}


def test_the_zipapp_needs_only_its_crypto_library_and_rfc8785(given: Path, tmp_path: Path) -> None:
    """In a process that sees no other package, from a folder that is not ours."""
    subprocess.run(
        ["make", "--silent", "zipapp", f"DIST={tmp_path}/dist", f"PYTHON={sys.executable}"],
        cwd=ROOT,
        check=True,
        timeout=120,
    )
    libraries = tmp_path / "libraries"
    libraries.mkdir()
    for name in ("cryptography", "bcrypt", "rfc8785", "_cffi_backend"):
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        origin = Path(spec.origin)
        if spec.submodule_search_locations:
            shutil.copytree(origin.parent, libraries / name)
        else:
            shutil.copy(origin, libraries)
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-s", "-W", "error", "-c", _RUN, str(libraries)],
        cwd=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(LOGGED)


# -S leaves out the folder in which everything is installed; the libraries' copies take its place.
_RUN = """
import runpy, sys
sys.path[:] = [place for place in sys.path if place] + [sys.argv[1]]
sys.argv = ["honeyflow-proofs.pyz", "verify", "receipt.json",
            "--allowed-signers", "allowed_signers", "--proof", "receipt.tlog-proof"]
runpy.run_path("dist/honeyflow-proofs.pyz", run_name="__main__")
"""
