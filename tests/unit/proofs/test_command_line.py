"""`python -m proofs` hashes, names and checks files; its exit status says what came of it."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import proofs.__main__
import proofs.verification
import proofs.verify
from proofs import (
    CidProfile,
    canonicalize,
    check_receipt,
    compute_cid,
    inputs,
    parse_json,
    sha256_digest,
)
from proofs.__main__ import main
from proofs.allowed_signers import AllowedSigners
from proofs.logged import Trust
from proofs.verification import Material, verify_receipt
from tests.unit.proofs import examples, issued

ROOT = Path(__file__).parents[3]
VECTORS = Path(__file__).parents[2] / "vectors" / "proofs"
RECEIPT = str(VECTORS / "receipt.json")


def test_hash_prints_the_digest_of_the_canonical_form(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two spellings of one request have one digest."""
    for name, text in (("a.json", '{"b": 1.0, "a": "é"}\n'), ("b.json", '{"a":"\\u00e9","b":1}')):
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert main(["hash", str(tmp_path / name)]) == 0

    first, second = capsys.readouterr().out.split()
    assert first == second == sha256_digest(canonicalize({"a": "é", "b": 1}))


def test_hash_request_prints_the_input_hash_of_the_callers_own_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without `v`, in another order and spelling than the ledger's."""
    own = _own_request(tmp_path)

    assert main(["hash", "--request", str(own)]) == 0
    assert capsys.readouterr().out.strip() == json.loads(Path(RECEIPT).read_bytes())["input_hash"]
    assert main(["hash", str(own)]) == 0
    assert capsys.readouterr().out.strip() == sha256_digest(
        canonicalize(parse_json(own.read_bytes()))
    )


def test_hash_is_of_the_request_or_of_the_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    """Both at once make no sense."""
    with pytest.raises(SystemExit) as caught:
        main(["hash", "--request", "--raw", RECEIPT])

    assert (caught.value.code, "not allowed with" in capsys.readouterr().err) == (2, True)


def test_check_takes_the_callers_own_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An honest receipt is not refuted by a request that leaves out `v`."""
    own = _own_request(tmp_path)

    assert main(["check", RECEIPT, "--request", str(own)]) == 0
    assert "5. ok      input_hash: the given request" in capsys.readouterr().out


def _own_request(folder: Path) -> Path:
    request = json.loads((VECTORS / "request.json").read_bytes())
    assert request.pop("v") == 1
    own = folder / "own.json"
    own.write_text(json.dumps(dict(reversed(request.items())), indent=2), encoding="utf-8")
    return own


def test_hash_raw_prints_the_digest_of_the_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    """As sha256sum would."""
    assert main(["hash", "--raw", RECEIPT]) == 0
    assert capsys.readouterr().out.strip() == sha256_digest(Path(RECEIPT).read_bytes())


def test_cid_prints_the_cid_under_a_profile(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The default is CIDv0; the other profile has to be asked for."""
    greeting = tmp_path / "hello.txt"
    greeting.write_bytes(b"hello world")

    assert main(["cid", str(greeting)]) == 0
    assert main(["cid", str(greeting), "--profile", "unixfs-v1-2025"]) == 0
    assert capsys.readouterr().out.split() == [
        "Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD",
        "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e",
    ]


def test_check_prints_a_line_per_step_and_exits_0(capsys: pytest.CaptureFixture[str]) -> None:
    """Everything matches."""
    arguments = ["check", RECEIPT, "--report", str(VECTORS / "report.json")]
    arguments += ["--request", str(VECTORS / "request.json")]
    arguments += ["--output", str(VECTORS / "output.txt")]

    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[:7]] == [[f"{n}.", "ok"] for n in range(1, 8)]
    assert lines[7:] == ["nothing refuted; issuer and log not checked"]


def test_check_exits_1_when_something_is_refuted(capsys: pytest.CaptureFixture[str]) -> None:
    """The failing step says what differs."""
    assert main(["check", RECEIPT, "--output", str(VECTORS / "report.json")]) == 1
    output = capsys.readouterr().out
    assert "6. FAILED  output_hash: output_hash is sha256:" in output
    assert output.endswith("refuted\n")


def test_a_file_that_is_not_json_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Code, sentence and suggestion go to standard error."""
    assert main(["hash", str(VECTORS / "output.txt")]) == 0
    assert main(["hash", __file__]) == 1
    assert capsys.readouterr().err.startswith("CANONICAL_INVALID: this is not strict JSON: ")


def test_a_file_that_is_not_there_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its name is in the message."""
    missing = tmp_path / "missing.json"

    assert main(["check", str(missing)]) == 1
    told = f"FILE_UNREADABLE: {missing}: No such file or directory\nCheck the name, and"
    assert capsys.readouterr().err.startswith(told)


def test_a_dash_reads_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """So that a receipt can be piped in."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"{ }")))

    assert main(["hash", "-"]) == 0
    assert capsys.readouterr().out.strip() == sha256_digest(b"{}")


def test_bytes_are_hashed_and_named_piece_by_piece(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are: nothing of that size has to fit into memory, or is refused."""
    monkeypatch.setattr(inputs, "_PIECE_BYTES", 300)
    monkeypatch.setattr(inputs, "read", None)
    data = bytes(1000)
    (tmp_path / "file").write_bytes(data)
    monkeypatch.chdir(tmp_path)

    assert main(["hash", "--raw", "file"]) == 0
    assert main(["cid", "file", "--profile", CidProfile.UNIXFS_V1_2025]) == 0
    assert capsys.readouterr().out.split() == [
        sha256_digest(data),
        compute_cid(data, CidProfile.UNIXFS_V1_2025),
    ]


@pytest.mark.parametrize("words", [["hash"], ["hash", "--request"], ["check"]])
def test_what_has_no_end_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """No more of it is read than could be used."""
    assert main([*words, "/dev/zero"]) == 1
    assert capsys.readouterr().err.startswith("FILE_TOO_LARGE: /dev/zero: ")


@pytest.mark.parametrize("words", [["hash", "--raw"], ["hash"], ["cid"], ["check"]])
def test_what_cannot_be_read_is_an_error(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder, for one."""
    assert main([*words, str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith(f"FILE_UNREADABLE: {tmp_path}: Is a directory\n")


def _shell(line: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """What a shell's line gives, in which `$P` is the command."""
    return subprocess.run(
        ["sh", "-c", line],
        cwd=folder,
        env={"P": f"{sys.executable} -P -m proofs", "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_terminal_without_such_characters_is_shown_their_numbers(tmp_path: Path) -> None:
    """A worker's name may have any."""
    data = examples.receipt(worker_ens="bée.example").to_bytes()
    files = {"r.json": data, "r.json.sig": issued.signature(data), "signers": b""}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    line = "$P verify r.json --allowed-signers signers"

    done = _shell(line, tmp_path, PYTHONIOENCODING="ascii:strict")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.endswith(": the allowed signers name nobody 'b\\xe9e.example'\n")
    done = _shell(line, tmp_path, PYTHONIOENCODING="utf-8")
    assert done.stdout.endswith(": the allowed signers name nobody 'bée.example'\n")


@pytest.mark.parametrize("words", [["check", RECEIPT], ["hash", "--raw", RECEIPT]])
def test_a_reader_that_has_gone_away_is_no_fault_to_be_told(words: list[str]) -> None:
    """As `head` goes; but nobody has seen the result, so it is not a success."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "proofs", *words],
            stdout=pipe,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )

    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_an_output_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """Full, or closed."""
    done = _shell(f"$P check {RECEIPT} > /dev/full", tmp_path)
    told = "OUTPUT_FAILED: standard output: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, told)
    done = _shell(f"$P check {RECEIPT} >&-", tmp_path)
    assert (done.returncode, done.stderr) == (1, "OUTPUT_FAILED: standard output: it is closed\n")
    done = _shell("$P hash - <&-", tmp_path)
    told = "FILE_UNREADABLE: -: standard input is closed\nCheck the name, and who may read it.\n"
    assert (done.returncode, done.stderr) == (1, told)


def test_a_folder_somebody_sent_is_not_searched_for_modules(tmp_path: Path) -> None:
    """With `-P`, as the pages have it; without it Python would run what lies there."""
    (tmp_path / "argparse.py").write_text("raise SystemExit('run')", encoding="utf-8")

    assert _shell(f"$P check {RECEIPT}", tmp_path).returncode == 0
    pages = [*(ROOT / "docs").glob("*.md"), ROOT / "README.md"]
    lines = [line for page in pages for line in page.read_text(encoding="utf-8").splitlines()]
    asked = [line for line in lines if re.search(r"-m proofs (check|verify) ", line)]
    assert len(asked) >= 3
    assert [line for line in asked if "python -P -m proofs" not in line] == []


def test_the_documented_steps_are_the_steps_taken() -> None:
    """The numbers and names in the help are those of the code, in all places."""
    receipt = Path(RECEIPT).read_bytes()
    compared = [(str(step.number), step.name) for step in check_receipt(receipt)]
    trust = Trust(allowed=AllowedSigners.parse(b""))
    steps = verify_receipt(receipt, Material(), trust).steps
    taken = [(str(step.number), step.name) for step in steps]

    command = proofs.__main__.__doc__ or ""
    assert re.findall(r"^  (\d+)\. (\w+):", command, re.MULTILINE) == taken
    module = proofs.verify.__doc__ or ""
    assert re.findall(r"^(\d+)\. ", module, re.MULTILINE) == [number for number, _ in compared]
    module = proofs.verification.__doc__ or ""
    further = taken[len(compared) :]
    assert re.findall(r"^(\d+)\. ", module, re.MULTILINE) == [number for number, _ in further]


def test_the_package_can_be_run_as_a_module(tmp_path: Path) -> None:
    """From any directory, in a process of its own, with a status a shell can test."""
    broken = VECTORS / "broken_duplicate_key.json"
    done = subprocess.run(
        [sys.executable, "-m", "proofs", "check", str(broken)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (1, "")
    assert "the key 'epoch' is given twice" in done.stdout
