"""What a newcomer does in the first five minutes, as written in the README."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests import nvml
from tests.stack import (
    BIN,
    Worker,
    is_served,
    running_redis,
    start_up,
    wait_for,
    write_config,
    write_script,
)

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


def ours(folder: Path) -> list[psutil.Process]:
    """The processes that work in a folder or were told of it."""
    found = []
    for process in psutil.process_iter(["cmdline", "environ", "status"]):
        info = process.info
        told = " ".join(info["cmdline"] or []) + str((info["environ"] or {}).values())
        if str(folder) in told and info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return [process for process in found if process.pid != os.getpid()]


def readme_blocks(language: str) -> list[str]:
    """The README's blocks of code in a language, in order."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home with Redis and two fake models."""
    write_config(tmp_path)
    for name, word in (("fake-a", "A"), ("fake-b", "B")):
        write_script(tmp_path, name, {"rules": [{"answers": [{"text": word}]}]})
    with running_redis(tmp_path / "data" / "redis"):
        yield tmp_path


def run(
    home: Path, *words: str, timeout: float = 60, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run a command of ours in a home."""
    return subprocess.run(
        [str(BIN / words[0]), *words[1:]],
        env={**os.environ, "HONEYFLOW_CONFIG": str(home / "honeyflow.toml"), **env},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def test_the_demo_answers_a_dozen_findings_and_leaves_nothing_running(tmp_path: Path) -> None:
    """Real Redis, ledger, model, beat; K used, who needs a person, receipts; exit 0."""
    folder = tmp_path / "demo"

    told = run(tmp_path, "honeyflow", "demo", "--dir", str(folder), timeout=240)

    logs = "\n".join(file.read_text()[-2000:] for file in (folder / "logs").glob("*.log"))
    assert 0 == told.returncode, told.stdout + told.stderr + logs
    assert "12 of 12 answered" in told.stdout
    assert 12 == len(set(re.findall(r"sha256:[0-9a-f]{64}", told.stdout)))
    assert {"K=3", "K=5", "K=7"} <= set(re.findall(r"K=\d", told.stdout)), told.stdout
    assert "for a person:" in told.stdout
    assert "Try next:" in told.stdout
    assert [] == ours(folder)


def test_up_starts_what_is_assigned_and_ctrl_c_stops_it(home: Path) -> None:
    """Two models on two (pretended) GPUs, maintenance, beat and metrics; nothing is left behind."""
    nvml.build(home)
    gpus = nvml.environment(home, nvml.write_state(home / "gpus"))
    write_config(home, gpu_model_assignments='{ 0 = "fake-a", 1 = "fake-b" }')
    for name, word in (("fake-a", "A"), ("fake-b", "B")):
        write_script(home, name, {"rules": [{"answers": [{"text": word}]}]})
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = str(home / "honeyflow.toml")
    up = start_up(home, "--config", config, "--metrics-port", str(port), env=gpus)
    try:
        wait_for(lambda: is_served(home), timeout=60)
        asked = {
            model: run(home, "honeyflow", "infer", model, "who?", "--timeout", "40").stdout.strip()
            for model in ("fake-a", "fake-b")
        }
        listed = run(home, "honeyflow", "job", "list").stdout
        answered = 'swarmos_jobs_total{model="fake-b",status="succeeded"} 1.0'
        wait_for(lambda: answered in scraped(port), timeout=20)
        missing = run(home, "honeyflow", "infer", "nowhere", "x")
        bad_k = run(home, "honeyflow", "infer", "fake-a", "x", "-k", "99")
    finally:
        up.send_signal(signal.SIGINT)
        output, _ = up.communicate(timeout=60)

    assert {"fake-a": "A", "fake-b": "B"} == asked, output
    assert 2 <= listed.count("succeeded")
    assert 1 == missing.returncode
    assert "MODEL_UNKNOWN" in missing.stderr
    assert "K_OUT_OF_RANGE" in bad_k.stderr
    assert "Traceback" not in missing.stderr + bad_k.stderr
    assert 0 == up.returncode, output
    left = [process for process in ours(home) if "redis" not in process.name()]
    assert [] == left


def scraped(port: int) -> str:
    """What the exporter shows; nothing while it is not there."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


def test_a_port_that_is_taken_stops_nothing_but_the_metrics(home: Path) -> None:
    """It is said, with what to do; the rest starts and ends as ever."""
    write_config(home, cpu_model_assignments='["fake-a"]')
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        env = {"HONEYFLOW_CONFIG": str(home / "honeyflow.toml")}
        up = start_up(home, "--metrics-port", str(port), env=env)
        try:
            wait_for(lambda: is_served(home), timeout=60)
        finally:
            up.send_signal(signal.SIGINT)
            output, _ = up.communicate(timeout=60)

    assert 0 == up.returncode, output
    assert f"metrics are not exported: port {port} is taken by another program." in output
    assert "--metrics-port" in output
    assert "started cpu-fake-a" in output
    assert "started metrics" not in output
    assert "Traceback" not in output


def test_job_show_tells_the_story_and_the_bytes_check(home: Path) -> None:
    """Request, receipt and report come out exactly as they were hashed."""
    worker = subprocess.Popen(
        [str(BIN / "celery"), "-A", "tasks", "worker", "--device", "cpu", "--model", "fake-a"],
        env={**os.environ, "HONEYFLOW_CONFIG": str(home / "honeyflow.toml")},
        cwd=home,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: is_served(home), timeout=30)
        answered = run(home, "honeyflow", "infer", "fake-a", "who?", "--stream")
        assert 0 == answered.returncode, answered.stderr
        job = re.search(r"job (\S+)", answered.stderr).group(1)  # type: ignore[union-attr]
        for part in ("receipt", "report", "request"):
            told = run(home, "honeyflow", "job", "show", job, f"--{part}")
            (home / part).write_text(told.stdout)
        (home / "own.json").write_text('{"prompt": "who?", "model": "fake-a"}\n')
        own = run(home, "honeyflow", "hash", "own.json").stdout.strip()
        alone = run(home, "python", "-m", "proofs", "hash", "--request", "own.json").stdout.strip()
        checked = [
            run(home, "python", "-m", "proofs", "check", "receipt", "--report", "report", *given)
            for given in (("--request", "own.json"), ("--request", "request"))
        ]
        story = run(home, "honeyflow", "job", "show", job).stdout
        unknown = run(home, "honeyflow", "job", "show", "00000000-0000-4000-8000-000000000000")
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait(30)

    assert [0, 0] == [told.returncode for told in checked], checked
    assert own == alone
    assert own in (home / "receipt").read_text()
    assert "succeeded" in story
    assert (1, True) == (unknown.returncode, "JOB_NOT_FOUND" in unknown.stderr)


def test_celery_multi_and_beat_start_and_stop(home: Path) -> None:
    """As people run Celery in the background."""
    options = ["--device=cpu", "--model=fake-a"]
    files = ["--pidfile=%n.pid", "--logfile=%n.log"]
    started = run(home, "celery", "multi", "start", "w1", "-A", "tasks", *options, *files)
    try:
        assert 0 == started.returncode, started.stdout + started.stderr
        wait_for(lambda: is_served(home), timeout=40)
        told = run(home, "honeyflow", "infer", "fake-a", "who?", "--timeout", "30").stdout
    finally:
        stopped = run(home, "celery", "multi", "stopwait", "w1", "-A", "tasks", *files)
    assert "A" == told.strip()
    assert 0 == stopped.returncode, stopped.stdout
    beat = subprocess.Popen(
        [str(BIN / "celery"), "-A", "tasks", "beat", "--pidfile=", "-l", "INFO"],
        env={**os.environ, "HONEYFLOW_CONFIG": str(home / "honeyflow.toml")},
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert beat.stdout is not None
    lines = iter(beat.stdout.readline, "")
    assert any("Sending due task sweep-workers" in line for line in lines)
    beat.send_signal(signal.SIGTERM)
    beat.communicate(timeout=20)


def test_without_a_ledger_or_a_broker_the_caller_is_told(tmp_path: Path) -> None:
    """Codes, sentences and actions; never a traceback."""
    write_config(tmp_path)
    nothing = run(tmp_path, "honeyflow", "infer", "fake-a", "x")

    assert 1 == nothing.returncode
    assert "LEDGER" in nothing.stderr
    assert "Traceback" not in nothing.stderr


def test_a_client_with_another_ledger_is_refused_with_both_places(home: Path) -> None:
    """The first worker publishes which ledger this cluster uses."""
    from ledger import Ledger
    from tasks import ledger_id, settings

    ours = Ledger.open(f"sqlite:///{home}/data/ledger.db", migrate=True)
    other = Ledger.open(f"sqlite:///{home}/other.db", migrate=True)
    mine = settings.read({"HONEYFLOW_CONFIG": str(home / "honeyflow.toml")})
    ledger_id.publish(mine, other)
    ours.close()
    other.close()

    told = run(home, "honeyflow", "infer", "fake-a", "x")

    assert "LEDGER_MISMATCH" in told.stderr
    assert "other.db" in told.stderr
    assert "data/ledger.db" in told.stderr


def test_an_app_with_only_the_broker_connects_as_the_readme_says(home: Path) -> None:
    """The second block, with this test's URL and model, by a process that knows nothing of us."""
    blocks = readme_blocks("python")
    url = f"redis+socket://{home}/data/redis/redis.sock"
    program = re.sub(r'url = "\S+"', f'url = "{url}"', blocks[1]).replace(
        "queenbee-spine", "fake-a"
    )
    assert url in program
    worker = Worker(home, ["--device", "cpu", "--model", "fake-a"], {})
    try:
        worker.wait_ready()
        told = subprocess.run(
            [sys.executable, "-c", program], cwd=home, capture_output=True, text=True, timeout=60
        )
    finally:
        worker.stop()

    assert "A" == told.stdout.strip(), told.stderr


def test_the_readmes_python_and_its_check_run_as_they_stand(home: Path) -> None:
    """The worker's command, the file beside it and the receipt's check, from another directory."""
    (command,) = re.findall(r"\ncelery -A tasks worker (.*?) +#", "\n".join(readme_blocks("sh")))
    (check,) = (block for block in readme_blocks("sh") if "proofs verify" in block)
    program = readme_blocks("python")[0]
    assert "from tasks import infer" in program
    elsewhere = home / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "ask.py").write_text(program)
    (findings,) = re.findall(r'findings=(".*?")', program)
    (elsewhere / "own.json").write_text(f'{{"findings": {findings}, "model": "queenbee-spine"}}\n')
    environ = {"HONEYFLOW_CONFIG": str(home / "honeyflow.toml")}
    environ["PATH"] = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    worker = Worker(home, command.split(), {})
    try:
        worker.wait_ready(120)
        asked = run(elsewhere, "python", "ask.py", timeout=130, **environ)
        listed = run(elsewhere, "honeyflow", "job", "list", **environ).stdout
        job = re.search(r"^([0-9a-f-]{36}) +succeeded", listed, re.MULTILINE)
        assert job is not None, asked.stderr + listed
        script = check.replace("ID", job.group(1))
        checked = subprocess.run(
            ["bash", "-euc", script],
            env={**os.environ, **environ},
            cwd=elsewhere,
            capture_output=True,
            text=True,
            timeout=60,
        )
    finally:
        worker.stop()

    assert 0 == asked.returncode, asked.stderr
    assert re.fullmatch(r"\{.*\} [01]\.\d+ sha256:[0-9a-f]{64}\n", asked.stdout), asked.stdout
    assert 0 == checked.returncode, checked.stdout + checked.stderr
    outcomes = re.findall(r"^\d+\. (\w+)", checked.stdout, re.MULTILINE)
    assert ["ok"] * 8 + ["skipped"] * 6 == outcomes, checked.stdout
    assert "signed, not yet logged" in checked.stdout.splitlines()[-1]
    assert "the given request and the report's request" in checked.stdout


def test_doctor_says_what_is_wrong_and_how_to_mend_it(home: Path) -> None:
    """A line per finding with what mends it; done as it says, the finding is gone."""
    run(home, "honeyflow", "redis", "stop")

    bad = run(home, "honeyflow", "doctor", COLUMNS="400")
    (line,) = (line for line in bad.stdout.splitlines() if re.match(r"bad +redis ", line))
    assert (1, "") == (bad.returncode, bad.stderr)
    assert "does not answer" in line
    (mend,) = re.findall(
        r"Start it \(`(.*?)` starts one of your own\), or set HONEYFLOW_REDIS", line
    )
    mended = run(home, *mend.split())
    good = run(home, "honeyflow", "doctor", COLUMNS="400")

    assert 0 == mended.returncode, mended.stderr
    assert re.search(r"^ok +redis +Redis \S+ answers at", good.stdout, re.MULTILINE), good.stdout
    assert not re.search(r"^bad +redis", good.stdout, re.MULTILINE), good.stdout


@pytest.mark.parametrize(
    ("assigned", "script", "code"),
    [
        ('gpu_model_assignments = { 7 = "fake-a" }', {}, "GPU_NOT_FOUND"),
        ('cpu_model_assignments = ["nowhere"]', {}, "MODEL_UNKNOWN"),
        (
            'cpu_model_assignments = ["fake-a"]',
            {"load": {"fails": "start", "message": "no weights here"}},
            "no weights here",
        ),
    ],
    ids=["no such GPU", "no such model", "no weights"],
)
def test_up_ends_when_no_worker_can_ever_start(
    home: Path, assigned: str, script: dict[str, object], code: str
) -> None:
    """Exit code 1 and the worker's own words, not one start after another for ever."""
    key, _, value = assigned.partition(" = ")
    write_config(home, **{key: value})
    write_script(home, "fake-a", script)
    nvml.build(home)
    gpus = nvml.environment(home, nvml.write_state(home / "gpus"))

    told = subprocess.run(
        [str(BIN / "honeyflow"), "up"],
        env={**os.environ, **gpus, "HONEYFLOW_CONFIG": str(home / "honeyflow.toml")},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=90,
    )

    said = told.stdout + told.stderr
    assert (1, True) == (told.returncode, code in said), said
    left = [process for process in ours(home) if "redis" not in process.name()]
    assert [] == left
