"""compose/docker-compose.yml: what holds for every service, and that its breaking is found."""

from __future__ import annotations

import copy
import ipaddress
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.settings import Timing
from tests import compose_file

ENVIRON = {
    "HONEYFLOW_UID": "10001",
    "HONEYFLOW_GID": "10001",
    "HONEYFLOW_NODE": "bee",
    "COMPOSE_PROFILES": "cpu",
    **{f"HONEYFLOW_GPU{index}_UUID": f"GPU-{index}" for index in range(8)},
}
HANDING_BACK_S = 10.0
PORTS = {
    "grafana": "127.0.0.1:3000:3000",
    "prometheus": "127.0.0.1:9091:9090",
    "alertmanager": "127.0.0.1:9093:9093",
    "flower": "127.0.0.1:5555:5555",
    "gateway": "127.0.0.1:8080:8080",
    "metrics": "127.0.0.1:9464:9464",
}
COMMON = {
    *("redis", "postgres", "maintenance", "beat", "metrics", "flower"),
    *("prometheus", "alertmanager", "grafana", "ipfs"),
}
GPUS = [f"gpu{index}" for index in range(8)]
WORKERS = {"worker-cpu", *(f"worker-{name}" for name in GPUS)}
Services = dict[str, Any]
SECRET_WORDS = re.compile(r"pass(word|phrase)|secret|token|api_?key", re.IGNORECASE)


@pytest.fixture(scope="module")
def file() -> dict[str, Any]:
    """The file as Compose reads it."""
    return compose_file.load(compose_file.FOLDER, ENVIRON)


def unconfined(services: Services) -> Iterator[str]:
    """Services that could do more than their work needs."""
    for name, service in services.items():
        user, _, group = service.get("user", "root").partition(":")
        if user in {"root", "0", ""} or group in {"root", "0", ""}:
            yield f"{name}: user"
        if not service.get("read_only"):
            yield f"{name}: read_only"
        if service.get("cap_drop") != ["ALL"] or service.get("cap_add"):
            yield f"{name}: capabilities"
        if service.get("security_opt") != ["no-new-privileges:true"]:
            yield f"{name}: security_opt"
        if not service.get("init"):
            yield f"{name}: init"
        if service.keys() & {"privileged", "pid", "network_mode", "devices", "userns_mode"}:
            yield f"{name}: the host's"
        if not service.get("pids_limit") or "options" not in service.get("logging", {}):
            yield f"{name}: bounds"


def unwatched(services: Services) -> Iterator[str]:
    """Lasting services of which nobody would see that they no longer work."""
    for name, service in services.items():
        if service.get("restart") != "unless-stopped" or "healthcheck" not in service:
            yield name


def exposed(services: Services) -> Iterator[str]:
    """Ports that others than this machine can reach."""
    for name, service in services.items():
        for port in service.get("ports", ()):
            address = port.rpartition(":")[0].rpartition(":")[0]
            if not address or not ipaddress.ip_address(address).is_loopback:
                yield f"{name}: {port}"


def floating(services: Services) -> Iterator[str]:
    """Images whose tag names no exact version."""
    for name, service in services.items():
        if not re.search(r":v?\d+\.\d+(\.\d+)?(-[a-z]+)?$", service["image"]):
            yield f"{name}: {service['image']}"


def told_secrets(services: Services) -> Iterator[str]:
    """Variables and arguments that hold a secret instead of the name of its file."""
    for name, service in services.items():
        for key, value in service.get("environment", {}).items():
            if SECRET_WORDS.search(key) and not str(value).startswith("/run/secrets/"):
                yield f"{name}: {key}"
        if any("://" in word and "@" in word for word in service.get("command", ())):
            yield f"{name}: an argument"


def hasty(services: Services) -> Iterator[str]:
    """Services of ours that would be killed while their jobs still end."""
    for name, service in services.items():
        grace = compose_file.seconds(service.get("stop_grace_period", "10s"))
        least = Timing().grace_s + HANDING_BACK_S + 20 if "honeyflow" in service["image"] else 15
        if grace < least:
            yield f"{name}: {grace}"


def unpinned(services: Services) -> Iterator[str]:
    """GPU workers without a card of their own."""
    cards = []
    for name, service in services.items():
        if not re.fullmatch(r"worker-gpu\d", name):
            continue
        (device,) = service["deploy"]["resources"]["reservations"]["devices"]
        cards += device.get("device_ids", ["none"])
        index = name[-1]
        if (device["driver"], len(device.get("device_ids", ()))) != ("nvidia", 1):
            yield f"{name}: device"
        if "gpu" not in device.get("capabilities", ()):
            yield f"{name}: capabilities"
        if service["environment"].get("HONEYFLOW_GPU_NAME") != index:
            yield f"{name}: name"
        if service["command"][4:6] != ["--gpu", "0"] or service["profiles"] != [f"gpu{index}"]:
            yield f"{name}: command"
    if len(cards) != len(set(cards)):
        yield "one card for two"


def unsteady(services: Services) -> Iterator[str]:
    """Services whose name would change with every start."""
    for name, service in services.items():
        if name != "cli" and service.get("hostname") != name:
            yield name


CHECKS: dict[str, Callable[[Services], Iterator[str]]] = {
    check.__name__: check
    for check in (
        *(unconfined, unwatched, exposed, floating),
        *(told_secrets, hasty, unpinned, unsteady),
    )
}
ONCE = {"cli", "gateway"}
BROKEN: list[tuple[str, str, dict[str, Any]]] = [
    ("unconfined", "redis", {"user": "0:0"}),
    ("unconfined", "redis", {"read_only": False}),
    ("unconfined", "redis", {"cap_drop": []}),
    ("unconfined", "redis", {"cap_add": ["SYS_ADMIN"]}),
    ("unconfined", "redis", {"security_opt": []}),
    ("unconfined", "redis", {"init": False}),
    ("unconfined", "redis", {"privileged": True}),
    ("unconfined", "redis", {"pids_limit": 0}),
    ("unwatched", "beat", {"restart": "no"}),
    ("exposed", "grafana", {"ports": ["3000:3000"]}),
    ("exposed", "grafana", {"ports": ["0.0.0.0:3000:3000"]}),
    ("floating", "grafana", {"image": "grafana/grafana:latest"}),
    ("floating", "grafana", {"image": "grafana/grafana"}),
    ("told_secrets", "grafana", {"environment": {"GF_SECURITY_ADMIN_PASSWORD": "admin"}}),
    ("told_secrets", "beat", {"command": ["celery", "-b", "redis://:word@redis"]}),
    ("hasty", "worker-cpu", {"stop_grace_period": "30s"}),
    ("unpinned", "worker-gpu1", {"environment": {"HONEYFLOW_GPU_NAME": "0"}}),
    ("unsteady", "beat", {"hostname": None}),
]


@pytest.mark.parametrize("check", CHECKS)
def test_it_holds_for_every_service(file: dict[str, Any], check: str) -> None:
    """Each rule finds nothing."""
    services = file["services"]
    if check == "unwatched":
        services = {name: one for name, one in services.items() if name not in ONCE}

    assert [] == list(CHECKS[check](services))


@pytest.mark.parametrize(
    ("check", "name", "change"), BROKEN, ids=[f"{c}-{i}" for i, (c, _, _) in enumerate(BROKEN)]
)
def test_what_breaks_it_is_found(
    file: dict[str, Any], check: str, name: str, change: dict[str, Any]
) -> None:
    """Each rule finds what it is there for, in that service alone."""
    services = copy.deepcopy(file["services"])
    services = {key: one for key, one in services.items() if key not in ONCE}
    services[name].update(change)

    found = list(CHECKS[check](services))

    assert found
    assert {name} == {one.partition(":")[0] for one in found}


def test_two_workers_never_share_a_card(file: dict[str, Any]) -> None:
    """Nor is one without a number of its own."""
    services = copy.deepcopy(file["services"])
    services["worker-gpu2"]["deploy"] = services["worker-gpu3"]["deploy"]

    assert ["one card for two"] == list(unpinned(services))


def test_the_services_are_those_of_a_cluster(file: dict[str, Any]) -> None:
    """What runs everywhere has no profile; what needs something has one of its own."""
    services = file["services"]
    profiles = {name: service.get("profiles", []) for name, service in services.items()}

    assert COMMON == {name for name, named in profiles.items() if not named}
    assert WORKERS == {name for name in profiles if name.startswith("worker-")}
    assert {"cpu": ["worker-cpu"], "gateway": ["gateway"], "cli": ["cli"]} == {
        key: [name for name, named in profiles.items() if named == [key]]
        for key in ("cpu", "gateway", "cli")
    }


def test_the_profile_cpu_asks_for_no_gpu(file: dict[str, Any]) -> None:
    """A machine without a card starts it."""
    assert "deploy" not in file["services"]["worker-cpu"]


def test_the_ports_are_those_of_the_documentation(file: dict[str, Any]) -> None:
    """Each is published by one service and written in the docs."""
    published = {
        name: service["ports"] for name, service in file["services"].items() if "ports" in service
    }
    text = (compose_file.FOLDER.parent / "docs" / "deployment.md").read_text()

    assert {name: [port] for name, port in PORTS.items()} == published
    assert [] == [port for port in PORTS.values() if port.rpartition(":")[0] not in text]


def test_only_those_that_publish_or_deliver_lead_outside(file: dict[str, Any]) -> None:
    """The stores and the workers reach nothing but one another."""
    networks = file["networks"]
    outside = {name for name, network in networks.items() if not network.get("internal")}
    edge = {
        name
        for name, service in file["services"].items()
        if outside & set(service.get("networks", ["default"]))
    }

    assert {"edge"} == outside
    assert {*PORTS, "maintenance"} == edge


def test_only_those_that_sign_have_the_keys(file: dict[str, Any]) -> None:
    """The keys, and what unlocks them."""
    services = file["services"]
    holders = {
        name
        for name, service in services.items()
        if any(volume["target"].endswith("/keys") for volume in service.get("volumes", ()))
    }

    assert {*WORKERS, "cli"} == holders
    assert holders == {n for n, s in services.items() if "bee_passphrase" in s.get("secrets", ())}


def test_what_must_last_is_kept_outside(file: dict[str, Any]) -> None:
    """The ledger, the keys, and what each store writes; models are only read."""
    volumes = {
        (name, volume["target"]): volume
        for name, service in file["services"].items()
        for volume in service.get("volumes", ())
    }
    lasting = {
        ("redis", "/data"),
        ("postgres", "/var/lib/postgresql/data"),
        ("worker-cpu", "/var/lib/honeyflow/keys"),
        ("worker-cpu", "/var/lib/honeyflow"),
        ("prometheus", "/prometheus"),
        ("grafana", "/var/lib/grafana"),
        ("ipfs", "/data/ipfs"),
    }

    assert lasting <= {key for key, volume in volumes.items() if not volume.get("read_only")}
    assert all(volumes[name, "/var/lib/honeyflow/models"]["read_only"] for name in WORKERS)
    # A folder that is not there is an error and not made by Docker, as root's.
    assert all(volume["bind"] == {"create_host_path": False} for volume in volumes.values())


def test_a_file_that_is_mounted_is_there(file: dict[str, Any]) -> None:
    """The configurations of all services."""
    sources = {
        volume["source"]
        for service in file["services"].values()
        for volume in service.get("volumes", ())
        if not volume["source"].startswith("./data")
    }

    assert [] == [name for name in sorted(sources) if not (compose_file.FOLDER / name).exists()]


def test_engines_have_room_in_shared_memory(file: dict[str, Any]) -> None:
    """Docker's 64 MB are too little for vLLM's processes and for PostgreSQL."""
    sizes = {name: service.get("shm_size") for name, service in file["services"].items()}

    assert {"2gb"} == {sizes[name] for name in WORKERS}
    assert "512mb" == sizes["postgres"]


def test_what_init_did_not_make_is_missed(tmp_path: Path) -> None:
    """Without it Compose refuses, and says what to run."""
    for name in ("HONEYFLOW_UID", "HONEYFLOW_GID", "HONEYFLOW_NODE"):
        environ = {key: value for key, value in ENVIRON.items() if key != name}
        with pytest.raises(compose_file.Missing, match=r"run \./init first"):
            compose_file.load(compose_file.FOLDER, environ)


def test_all_secrets_are_files_that_somebody_uses(file: dict[str, Any]) -> None:
    """None is left over and none is missing."""
    used = {name for service in file["services"].values() for name in service.get("secrets", ())}

    assert set(file["secrets"]) == used
    assert all(one == {"file": f"./secrets/{name}"} for name, one in file["secrets"].items())


def test_a_key_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    """A loader would take the last of them without a word."""
    text = (compose_file.FOLDER / "docker-compose.yml").read_text()
    twice = text.replace("    hostname: redis\n", "    hostname: redis\n    hostname: other\n")
    (tmp_path / "docker-compose.yml").write_text(twice)

    with pytest.raises(AssertionError, match="a key is there twice"):
        compose_file.load(tmp_path, ENVIRON)
