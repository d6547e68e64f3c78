"""`python -m proofs verify`, and the one file that does the same with two libraries at hand."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from proofs.__main__ import main
from tests.unit.proofs import issued
from tests.unit.proofs.signers import BEE, ORIGIN, OTHER

ROOT = Path(__file__).parents[3]
LOGGED = f"verified: answered by the model, logged as leaf {issued.PLACE} of {ORIGIN}; by {BEE}\n"


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stranger's folder, and in it."""
    issued.write_files(tmp_path)
    (tmp_path / "verdict.json").write_bytes(issued.CORRECTION.to_bytes())
    (tmp_path / "corrected.txt").write_bytes(b"another text")
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
        f"verified: answered by the model, signed, not yet logged; by {BEE}\n"
    )


def test_a_correction_is_told(given: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the proof that it was logged."""
    words = ("--verdict", "verdict.json", "--verdict-proof", "verdict.tlog-proof")

    assert _verify("--proof", "receipt.tlog-proof", *words) == 0
    assert "answered by the model, corrected by a person, logged" in capsys.readouterr().out
    assert _verify(*words, "--corrected", "corrected.txt") == 1
    assert "\nrefuted in step 14, verdict: the verdict's output_hash" in capsys.readouterr().out


def test_all_files_of_revocations_count(given: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whichever is named last."""
    harmless = issued.revocation(issued.SIZE, OTHER).to_bytes() + b"\n"
    (given / "harmless").write_bytes(harmless)

    for files in (("revocations", "harmless"), ("harmless", "revocations")):
        assert _verify(*(f"--revocations={name}" for name in files)) == 1
        assert "\nrefuted in step 12, revocation: the key SHA256:" in capsys.readouterr().out
    assert _verify("--revocations=harmless") == 0


ONCE = (
    *("report", "ciphertext", "request", "output", "signature", "proof", "verdict"),
    *("verdict-proof", "corrected", "allowed-signers", "policy"),
)


@pytest.mark.parametrize("option", ONCE)
def test_no_other_option_is_given_twice(
    given: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    """What the first one asked for would not be looked at, and nothing would say so."""
    with pytest.raises(SystemExit) as caught:
        _verify(f"--{option}", "policy", f"--{option}", "policy")

    assert (caught.value.code, f"--{option} is given twice" in capsys.readouterr().err) == (2, True)


def test_options_are_not_cut_short(given: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nor guessed at."""
    with pytest.raises(SystemExit) as caught:
        _verify("--revocation", "revocations")

    told = "unrecognized arguments: --revocation revocations"
    assert (caught.value.code, told in capsys.readouterr().err) == (2, True)


def test_standard_input_stands_for_one_file(
    given: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second would be empty."""
    for words in (("--proof", "-", "--report", "-"), ("--revocations=-", "--revocations=-")):
        with pytest.raises(SystemExit) as caught:
            _verify(*words)
        assert caught.value.code == 2
        assert "standard input (-) can stand for one file only" in capsys.readouterr().err


LIMITS = {
    "signature": 4096,
    "proof": 1 << 20,
    "verdict": 65_535,
    "verdict-proof": 1 << 20,
    "policy": 262_144,
    "revocations": 10_000 * 4097,
    "report": 64 << 20,
    "ciphertext": 64 << 20,
    "request": 64 << 20,
    "output": 64 << 20,
    "corrected": 64 << 20,
}


@pytest.mark.parametrize("option", LIMITS)
def test_a_file_is_read_no_further_than_its_kind_goes(
    given: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    """A file that has no end is refused like one that is too long."""
    assert _verify(f"--{option}=/dev/zero") == 1

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("FILE_TOO_LARGE: /dev/zero: ")
    assert f" has at most {LIMITS[option]} bytes, and this file has more\n" in captured.err


def test_the_receipt_and_the_keys_have_limits_too(
    given: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The two that are always read."""
    assert main(["verify", "receipt.json", "--allowed-signers", "/dev/zero"]) == 1
    assert "signers has at most 1048576 bytes" in capsys.readouterr().err
    assert main(["verify", "/dev/zero", "--allowed-signers", "allowed_signers"]) == 1
    assert "a receipt has at most 65535 bytes" in capsys.readouterr().err


def test_what_a_terminal_would_act_on_is_shown_by_its_number(
    given: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In whatever place it stands; what can be read stays as it is."""
    name = "é\x1b[2J"
    (given / name).write_bytes(b"{")

    assert _verify("--policy", name) == 1
    assert main(["check", name]) == 1
    assert main(["check", f"{name}.not"]) == 1
    captured = capsys.readouterr()
    assert "FILE_UNREADABLE: é\\x1b[2J.not: No such file" in captured.err
    assert "\x1b" not in captured.out + captured.err


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


@pytest.fixture(scope="module")
def zipapp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The one file, alone in its folder."""
    dist = tmp_path_factory.mktemp("dist")
    subprocess.run(
        ["make", "--silent", "zipapp", f"DIST={dist}", f"PYTHON={sys.executable}"],
        cwd=ROOT,
        check=True,
        timeout=120,
    )
    return dist / "honeyflow-proofs.pyz"


def _run(zipapp: Path, folder: Path, *names: str) -> subprocess.CompletedProcess[str]:
    """What it says in a process that sees these libraries and no other package."""
    libraries = folder / "libraries"
    libraries.mkdir()
    for name in names:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        origin = Path(spec.origin)
        if spec.submodule_search_locations:
            shutil.copytree(origin.parent, libraries / name)
        else:
            shutil.copy(origin, libraries)
    return subprocess.run(
        [sys.executable, "-S", "-E", "-s", "-W", "error", "-c", _RUN, str(libraries), str(zipapp)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_the_zipapp_needs_only_its_crypto_library_and_rfc8785(given: Path, zipapp: Path) -> None:
    """From a folder that is not ours; `_cffi_backend` is what the former is bound with."""
    done = _run(zipapp, given, "cryptography", "_cffi_backend", "rfc8785")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(LOGGED)


@pytest.mark.parametrize(
    ("there", "missing"), [(("rfc8785",), "cryptography"), (("cryptography",), "rfc8785")]
)
def test_the_zipapp_says_what_to_install(
    given: Path, zipapp: Path, there: tuple[str, ...], missing: str
) -> None:
    """In one sentence."""
    libraries = ("_cffi_backend", *there) if "cryptography" in there else there
    done = _run(zipapp, given, *libraries)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "This needs Python 3.11 or later with the packages cryptography and rfc8785"
        f" (No module named '{missing}'): python3 -m pip install 'cryptography>=44' rfc8785\n"
    )


# -S leaves out the folder in which everything is installed; the libraries' copies take its place.
_RUN = """
import runpy, sys
sys.path[:] = [place for place in sys.path if place] + [sys.argv[1]]
zipapp = sys.argv[2]
sys.argv = [zipapp, "verify", "receipt.json",
            "--allowed-signers", "allowed_signers", "--proof", "receipt.tlog-proof"]
runpy.run_path(zipapp, run_name="__main__")
"""
