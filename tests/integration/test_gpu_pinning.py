"""Workers pinned to pretended GPUs: the real pynvml over a small NVML library of the tests' own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ledger import sessions, workers
from tasks import infer
from tasks.client import Client
from tasks.errors import JobFailed, RequestInvalid
from tests import nvml
from tests.stack import Worker

Start = Callable[..., Worker]
A, B = (gpu.uuid for gpu in nvml.TWO_GPUS)


@pytest.fixture(scope="module")
def two_gpus(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process that sees two GPUs."""
    folder = tmp_path_factory.mktemp("nvml")
    nvml.build(folder)
    return nvml.environment(folder, nvml.write_state(folder / "state"))


def test_two_workers_on_two_gpus_serve_two_models(
    start: Start, client: Client, two_gpus: dict[str, str]
) -> None:
    """Each is named and queued by its GPU, and serves its own model."""
    one = {"rules": [{"answers": [{"text": "A"}]}]}
    two = {"rules": [{"answers": [{"text": "B"}]}]}
    start("--gpu", "0", "--model", "fake-a", script=one, model="fake-a", env=two_gpus)
    start("--gpu", B, "--model", "fake-b", script=two, model="fake-b", env=two_gpus)

    asked = [infer.delay(model=f"fake-{name}", prompt="who?") for name in "ab"]

    assert ["A", "B"] == [result.get(timeout=10)["answer"] for result in asked]
    with client.ledger.read() as tx:
        facts = {row.worker: row.facts for row in workers.list(tx) if "gpu-" in row.worker}
    assert {"gpu-GPU-5fd4f087@testnode", "gpu-GPU-a1b2c3d4@testnode"} == set(facts)
    first = facts["gpu-GPU-5fd4f087@testnode"]
    assert [A] == first["gpus"]
    assert ["gpu.testnode.GPU-5fd4f087", "gpu.testnode.0", "model.fake-a", "celery"] == first[
        "queues"
    ]


def test_two_gpus_make_one_engine(start: Start, client: Client, two_gpus: dict[str, str]) -> None:
    """`--gpu 0,1` is one tensor-parallel engine with a queue of the group's name."""
    start("--gpu", "0,1", "--model", "fake-a", env=two_gpus)

    infer.delay(model="fake-a", prompt="x").get(timeout=10)

    with client.ledger.read() as tx:
        rows = {row.worker: row.facts for row in workers.list(tx)}
    facts = rows["gpu-GPU-5fd4f087+GPU-a1b2c3d4@testnode"]
    assert ([A, B], 2) == (facts["gpus"], facts["tensor_parallel"])
    assert "gpu.testnode.0+1" in facts["queues"]


def test_the_process_is_pinned_before_an_engine_is_imported(
    broker: None, two_gpus: dict[str, str]
) -> None:
    """Once the options are read the variables are set, and no engine has been imported."""
    program = """
import json, os, sys
import click
from tasks import app, options
command = click.Command("worker", params=list(options.WORKER_OPTIONS), callback=lambda **_: None)
command.make_context("worker", ["--gpu", "1", "--model", "fake-a"])
print(json.dumps({
    "devices": os.environ["CUDA_VISIBLE_DEVICES"],
    "order": os.environ["CUDA_DEVICE_ORDER"],
    "engines": [name for name in ("torch", "vllm", "transformers") if name in sys.modules],
}))
"""
    from os import environ

    told = subprocess.run(
        [sys.executable, "-c", program],
        env={**environ, **two_gpus},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert {"devices": B, "order": "PCI_BUS_ID", "engines": []} == json.loads(told.stdout)


@pytest.mark.parametrize(
    ("options", "code", "figure"),
    [
        (["--gpu", "7", "--model", "fake-a"], "GPU_NOT_FOUND", "7"),
        (["--gpu", "0,0", "--model", "fake-a"], "GPU_DUPLICATE", "0"),
        (["--gpu", "0", "--model", "nowhere"], "MODEL_UNKNOWN", "nowhere"),
        (["--model", "fake-a"], "WORKER_MISCONFIGURED", "--device cpu"),
        (["--gpu", "0", "--device", "cpu", "--model", "fake-a"], "WORKER_MISCONFIGURED", "--gpu"),
        (["--maintenance", "--model", "fake-a"], "WORKER_MISCONFIGURED", "--maintenance"),
    ],
)
def test_a_gpu_that_is_not_there_is_an_error_and_never_another_device(
    start: Start, two_gpus: dict[str, str], options: list[str], code: str, figure: str
) -> None:
    """Exit code 1, a code, and the figures."""
    worker = start(*options, ready=False, env=two_gpus)

    assert 1 == worker.wait_exit()
    assert code in worker.text()
    assert figure in worker.text()
    assert "ready." not in worker.text()


def test_a_gpu_that_is_too_small_names_both_figures(
    start: Start, home: Path, tmp_path: Path
) -> None:
    """Required and available bytes are in the sentence."""
    nvml.build(tmp_path)
    small = nvml.FakeGpu(uuid=A, total=2 * nvml.GB, used=nvml.GB)
    env = nvml.environment(tmp_path, nvml.write_state(tmp_path / "state", [small]))
    weights = home / "models" / "fake-b" / "model.safetensors"
    with weights.open("wb") as file:
        file.truncate(4 * nvml.GB)
    try:
        worker = start("--gpu", "0", "--model", "fake-b", ready=False, env=env)

        assert 1 == worker.wait_exit()
        assert "GPU_VRAM_EXHAUSTED" in worker.text()
        assert "4.80 GB" in worker.text()
    finally:
        weights.unlink()


def test_a_job_for_a_gpus_queue_runs_on_its_worker(
    start: Start, client: Client, two_gpus: dict[str, str]
) -> None:
    """Both serve the model; the one whose queue was named takes the job, by either name."""
    start("--gpu", "0", "--model", "fake-a", env=two_gpus)
    start("--gpu", "1", "--model", "fake-a", env=two_gpus)
    named = {"gpu.testnode.0": "GPU-5fd4f087", "gpu.testnode.GPU-a1b2c3d4": "GPU-a1b2c3d4"}

    for queue, gpu in named.items():
        asked = [
            infer.apply_async(kwargs={"model": "fake-a", "prompt": f"{n}"}, queue=queue)
            for n in range(3)
        ]
        asked.append(infer.s(model="fake-a", prompt="signed").set(queue=queue).delay())
        ids = [result.get(timeout=10)["job_id"] for result in asked]
        ids.append(
            client.submit(model="fake-a", prompt="x", queue=queue).result(timeout_s=10).job_id
        )
        rows = [client.job(job_id) for job_id in ids]
        with client.ledger.read() as tx:
            held = [sessions.get(tx, str(row.session)) for row in rows]
        ran_on = {session.worker for session in held if session is not None}
        assert {queue} == {row.queue for row in rows}
        assert all(gpu in worker for worker in ran_on), ran_on


def test_a_gpus_queue_serves_its_own_model_alone(
    start: Start, client: Client, two_gpus: dict[str, str]
) -> None:
    """Refused at submission; and by the worker, should another model come to its queue."""
    start("--gpu", "1", "--model", "fake-b", model="fake-b", env=two_gpus)
    with pytest.raises(RequestInvalid, match="serves fake-b, not fake-a") as caught:
        infer.apply_async(kwargs={"model": "fake-a", "prompt": "x"}, queue="gpu.testnode.1")
    assert "QUEUE_INVALID" == caught.value.code
    with pytest.raises(RequestInvalid, match="No worker consumes"):
        infer.apply_async(kwargs={"model": "fake-a", "prompt": "x"}, queue="gpu.testnode.8")

    draft = client.draft({"model": "fake-a", "prompt": "x"})
    ticket = client._enter([replace(draft, queue="gpu.testnode.1")])[0]

    with pytest.raises(JobFailed, match="serves fake-b, not fake-a") as failed:
        ticket.result(timeout_s=10)
    assert "MODEL_NOT_SERVED" == failed.value.code
