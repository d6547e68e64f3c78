"""What a job leaves, checked as a stranger would, and run again."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner

from cli.main import app
from executors.guard_process import start_time
from proofs import Outcome, check_receipt, input_hash, sshsig
from tasks import pinning, recording, replay, wiring
from tasks.client import Client
from tasks.errors import BundleUnusable
from tests.integration.conftest import Shared
from tests.integration.executors.conftest import collect_garbage
from tests.stack import Worker, wait_for, write_script

Start = Callable[..., Worker]

FINDINGS = "L4-L5: moderate central canal stenosis with facet arthropathy."
SPLIT = {
    "rules": [
        {"answers": [{"text": f"{word} stenosis"} for word in ("mild", "moderate", "severe")]}
    ]
}
OTHER = {"rules": [{"answers": [{"text": "no stenosis"}]}]}
FILES = {
    *("request.json", "report.json", "report.html", "receipt.json", "result.txt"),
    *("seeds.json", "transcript.ndjson", "metadata.json", "receipt.json.sig"),
}


def command(*words: str) -> tuple[int, str, Any]:
    """The exit status of a `honeyflow job` command, what it printed, and its error."""
    told = CliRunner().invoke(app, ["job", *words])
    error: Any = told.exception
    status = getattr(error, "exit_code", told.exit_code) if told.exit_code else 0
    return status, told.stdout, error


def bundle_of(client: Client, folder: Path, request: dict[str, Any]) -> str:
    """Run a job alone and write its bundle; gives the job's id."""
    job_id = client.submit(request).job_id
    client.wait(job_id, timeout_s=60)
    status, printed, error = command("bundle", job_id, "-o", str(folder))
    assert 0 == status, error
    assert f"files of job {job_id} in " in printed
    return job_id


@pytest.fixture(scope="module")
def recording_of_seven(
    broker: None, home: Path, shared: Shared, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The bundle of a job that the fake engine answered with some disagreement; made once."""
    wiring.open_ledger(migrate=True).close()
    folder = tmp_path_factory.mktemp("recorded") / "bundle"
    shared.serve(home, script=SPLIT)
    bundle_of(wiring.client(), folder, {"model": "fake-a", "prompt": "How bad?", "k": 7})
    return folder


@pytest.fixture
def recorded(recording_of_seven: Path, home: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of it, beside an engine that does as it did then."""
    write_script(home, "fake-a", SPLIT)
    yield shutil.copytree(recording_of_seven, tmp_path / "bundle")
    write_script(home, "fake-a", {})


def test_a_bundle_holds_everything_and_a_stranger_can_check_it(
    serve: Start, client: Client, tmp_path: Path
) -> None:
    """Every step passes on its files, on the proofs' own command line too."""
    serve(script=SPLIT)
    folder = tmp_path / "bundle"
    request = {"model": "fake-a", "prompt": "How bad?", "k": 7, "seed": 11, "sensitive": True}
    job_id = bundle_of(client, folder, request)
    files = {file.name: file.read_bytes() for file in folder.iterdir()}

    assert FILES <= set(files)
    sshsig.verify(
        files["receipt.json.sig"],
        namespace=sshsig.RECEIPT_NAMESPACE,
        message=files["receipt.json"],
    )
    assert files["report.html"] == command("show", job_id, "--page")[1].encode()
    steps = check_receipt(
        files["receipt.json"],
        report=files["report.json"],
        request=files["request.json"],
        output=files["result.txt"],
    )
    assert {Outcome.PASSED} == {step.outcome for step in steps}
    seeds, metadata = json.loads(files["seeds.json"]), json.loads(files["metadata.json"])
    lines = [json.loads(line) for line in files["transcript.ndjson"].splitlines()]
    assert (11, 7) == (seeds["base"], len(seeds["samples"]))
    assert [(one["index"], one["seed"]) for one in lines] == [
        (one["index"], one["seed"]) for one in seeds["samples"]
    ]
    assert {lines[0]["prompt_digest"]} == {metadata["prompt_digest"]}
    assert (job_id, {"text": "How bad?"}) == (metadata["job_id"], metadata["prompt"])
    checked = subprocess.run(
        [sys.executable, "-m", "proofs", "check", "receipt.json", "--report", "report.json"],
        cwd=folder,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
    )
    assert 0 == checked.returncode, checked.stdout


def test_a_sensitive_requests_hashes_cannot_be_made_without_its_salt(
    serve: Start, client: Client, tmp_path: Path
) -> None:
    """The same request twice has two input hashes, and neither is the bare one."""
    serve(script=SPLIT)
    told = []
    request = {"model": "fake-a", "prompt": "How bad?", "k": 3, "seed": 1, "sensitive": True}
    for name in ("one", "two"):
        bundle_of(client, tmp_path / name, request)
        told.append(json.loads((tmp_path / name / "receipt.json").read_bytes()))

    for field in ("input_hash", "output_hash", "report_hash"):
        assert told[0][field] != told[1][field]
    bare = input_hash((tmp_path / "one" / "request.json").read_bytes())
    assert bare not in {one["input_hash"] for one in told}


def test_a_job_recorded_alone_is_replayed_equal_on_the_fake_engine(recorded: Path) -> None:
    """All seven samples, in the job's own waves."""
    status, printed, _ = command("replay", str(recorded), "--json")

    told = json.loads(printed)
    assert (0, "equal", 7) == (status, told["verdict"], len(told["samples"]))
    assert "All 7 samples came out as recorded." == told["reason"]


def test_a_job_recorded_alone_is_replayed_equal_on_transformers(
    start: Start, client: Client, tmp_path: Path
) -> None:
    """A real model, its own profile, dynamic K."""
    start("--device", "cpu", "--model", "queenbee-spine")
    folder = tmp_path / "bundle"
    bundle_of(client, folder, {"model": "queenbee-spine", "findings": FINDINGS})

    status, printed, error = command("replay", str(folder))

    assert (0, True) == (status, printed.startswith("equal: All ")), (printed, error)


@pytest.mark.vllm
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_job_recorded_alone_is_replayed_equal_on_vllm(
    start: Start, client: Client, tmp_path: Path
) -> None:
    """By another process, as on another machine; the killed worker leaves nothing of its engine."""
    pytest.importorskip("vllm")
    worker = start(
        *("--device", "cpu", "--model", "queenbee-spine", "--engine", "vllm"), ready=False
    )
    worker.wait_ready(280)
    folder = tmp_path / "bundle"
    bundle_of(client, folder, {"model": "queenbee-spine", "findings": FINDINGS})
    family = psutil.Process(worker.process.pid).children(recursive=True)
    # EngineCore, its own child, the guard, and multiprocessing's helper.
    assert len(family) >= 4

    worker.kill()

    wait_for(lambda: all(start_time(one.pid) is None for one in family), timeout=5.0)
    status, printed, error = command("replay", str(folder))
    collect_garbage()
    assert (0, True) == (status, printed.startswith("equal: All ")), (printed, error)


def test_another_answer_is_different(recorded: Path, home: Path) -> None:
    """Each sample that differs is shown beside the recorded one."""
    write_script(home, "fake-a", OTHER)

    status, printed, _ = command("replay", str(recorded))

    assert (1, True) == (status, printed.startswith("different: Of 7 samples 7 came out"))
    assert "sample 3, now:      'no stenosis'" in printed


def test_another_model_is_not_comparable(recorded: Path) -> None:
    """Its digest is another; both are told, and nothing is drawn."""
    other = replace(recording.read(recorded), model_digest="sha256:" + "0" * 64)
    config = pinning.engine_config("fake-a", device="cpu", engine="fake")

    result = asyncio.run(replay.run(other, config))

    assert ("not comparable", ()) == (result.verdict, result.compared)
    assert result.reason.startswith("The model fake-a here has the digest sha256:")
    assert result.reason.endswith(f"recorded was {other.model_digest}.")


def test_another_engine_of_the_same_model_is_compared_and_named(recorded: Path) -> None:
    """Equal is equal, whatever drew it."""
    other = replace(recording.read(recorded), engine_digest="sha256:" + "0" * 64)
    config = pinning.engine_config("fake-a", device="cpu", engine="fake")

    result = asyncio.run(replay.run(other, config))

    assert "equal" == result.verdict
    assert "The engine is another one, or set up otherwise: fake 1 on cpu" in result.reason


def test_an_unknown_model_is_not_comparable(recorded: Path, monkeypatch: Any) -> None:
    """On a machine that has never heard of it."""
    other = replace(recording.read(recorded), model="nobody")
    monkeypatch.setattr(replay, "read", lambda _: other)

    result = replay.run_folder(recorded)

    assert "not comparable" == result.verdict
    assert "There is no model 'nobody'" in result.reason


def test_an_engine_that_is_not_there_is_not_comparable(recorded: Path) -> None:
    """Its name is told, and the known ones."""
    status, printed, _ = command("replay", str(recorded), "--engine", "abacus")

    assert 2 == status
    assert "not comparable: unknown engine 'abacus'; known are" in printed


def test_a_sample_that_fails_now_is_not_comparable(recorded: Path, home: Path) -> None:
    """There is nothing to compare with."""
    write_script(home, "fake-a", {"rules": [{"do": "error", "message": "no luck"}]})

    status, printed, _ = command("replay", str(recorded))

    assert 2 == status
    assert "failed: " in printed
    assert "no luck" in printed


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("report.json", (b"How bad?", b"How good"), "step 2, report_hash"),
        ("request.json", (b"How bad?", b"How good"), "step 5, input_hash"),
        ("result.txt", (b"stenosis", b"fracture"), "step 6, output_hash"),
        ("receipt.json", (b'"epoch":0', b'"epoch":x'), "step 1, form"),
        ("metadata.json", (b'"agreement": {', b'"disagreement": {'), "KeyError: 'agreement'"),
        ("metadata.json", (b'"fixed:7"', b'"magic"'), "magic"),
        ("metadata.json", (b"{", b"["), "not strict JSON"),
    ],
)
def test_a_changed_bundle_is_refused(
    recorded: Path, tmp_path: Path, name: str, change: tuple[bytes, bytes], reason: str
) -> None:
    """Before any engine is started, with the step that found it."""
    folder = tmp_path / "changed"
    shutil.copytree(recorded, folder)
    data = (folder / name).read_bytes()
    assert change[0] in data
    (folder / name).write_bytes(data.replace(*change, 1))

    with pytest.raises(BundleUnusable, match=reason) as caught:
        recording.read(folder)
    assert 2 == caught.value.exit_code


def test_a_bundle_without_its_prompt_says_so(recorded: Path) -> None:
    """Where the profile is not known any more, nobody can tell what the model read."""
    file = recorded / "metadata.json"
    metadata = {**json.loads(file.read_bytes()), "prompt": None}
    file.write_text(json.dumps(metadata))

    with pytest.raises(BundleUnusable, match="the job's profile was not known any more"):
        recording.read(recorded)


def test_a_job_without_an_answer_has_no_bundle(client: Client, tmp_path: Path) -> None:
    """Nothing is written."""
    job_id = client.submit({"model": "fake-a", "prompt": "who?"}).job_id

    status, _, error = command("bundle", job_id, "-o", str(tmp_path / "bundle"))

    assert (1, "JOB_UNANSWERED") == (status, error.code)
    assert not (tmp_path / "bundle").exists()
