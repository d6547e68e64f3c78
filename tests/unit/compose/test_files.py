"""The other files of compose/: what is built, what is provisioned, what is scraped."""

from __future__ import annotations

import json
import re
import tomllib

import yaml

from tests import compose_file
from tests.compose_file import FOLDER

ROOT = FOLDER.parent
DOCKERFILE = (FOLDER / "Dockerfile").read_text()
INSTRUCTION = re.compile(r"^([A-Z]+) (.*)$")
ENVIRON = {"HONEYFLOW_UID": "1", "HONEYFLOW_GID": "1", "HONEYFLOW_NODE": "bee"}
LOOSE = re.compile(r":(latest|slim)?$")


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, with lines that go on joined."""
    text = "\n".join(line for line in DOCKERFILE.splitlines() if not line.startswith("#"))
    lines = text.replace("\\\n", " ").splitlines()
    found = [match.groups() for line in lines if (match := INSTRUCTION.match(line))]
    assert len(found) == len([line for line in lines if line.strip()]), "a line is no instruction"
    return [(word, rest.strip()) for word, rest in found]


def test_the_image_is_built_in_two_stages_and_runs_as_nobody_in_particular() -> None:
    """What builds stays behind; the user is a number, so that Kubernetes can tell it from root."""
    found = instructions()
    stages = [rest for word, rest in found if word == "FROM"]
    last = [word for word, _ in found].index("FROM", 4)
    users = [rest for word, rest in found[last:] if word == "USER"]

    assert ["python:${PYTHON} AS build", "python:${PYTHON} AS run"] == stages
    assert users and re.fullmatch(r"[1-9]\d+:[1-9]\d+", users[-1])
    assert "--from=build" in " ".join(rest for word, rest in found[last:] if word == "COPY")
    assert not [rest for word, rest in found[last:] if word == "COPY" and "--from" not in rest]


def test_the_base_image_is_pinned_by_tag() -> None:
    """To the last number."""
    (version,) = [rest for word, rest in instructions() if rest.startswith("PYTHON=")]

    assert re.fullmatch(r"PYTHON=3\.\d+\.\d+-slim-[a-z]+", version)


def test_packages_are_installed_without_leaving_lists_and_caches() -> None:
    """And without questions."""
    runs = " ".join(rest for word, rest in instructions() if word == "RUN")

    assert 1 == runs.count("apt-get install --yes --no-install-recommends")
    assert 1 == runs.count("rm -rf /var/lib/apt/lists/*")
    assert "PIP_NO_CACHE_DIR=1" in DOCKERFILE
    assert not re.search(r"\bsudo\b|curl .*\| *(ba)?sh|chmod (-R )?777", runs)


def test_every_extra_that_is_installed_exists() -> None:
    """In pyproject.toml."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    services = compose_file.load(FOLDER, ENVIRON)["services"]
    named = {
        name: set(service["build"]["args"]["EXTRAS"].split(","))
        for name, service in services.items()
        if "build" in service
    }

    assert {} == {name: one for name, one in named.items() if not one <= set(extras)}
    assert {"vllm", "postgres"} <= named["worker-gpu0"]
    assert {"postgres", "flower", "ipfs"} == named["flower"]


def test_what_is_built_from_reaches_the_builder() -> None:
    """All packages of the wheel, and neither secrets nor data nor tests."""
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    wanted = {*wheel["targets"]["wheel"]["only-include"], "pyproject.toml", "README.md", "LICENSE"}
    wanted |= {*wheel["targets"]["wheel"]["force-include"], "requirements"}
    first, *lines = [
        line
        for line in (FOLDER / "Dockerfile.dockerignore").read_text().splitlines()
        if line[:1] != "#"
    ]
    let_in = {line.removeprefix("!") for line in lines if line.startswith("!")}

    assert "*" == first
    assert wanted <= let_in
    assert {"compose", "tests", ".git", ".venv"}.isdisjoint(let_in)


def test_grafana_finds_its_boards_and_the_boards_their_source() -> None:
    """The data source is the one that all panels name; nobody can change what is provisioned."""
    provisioning = FOLDER / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())[
        "datasources"
    ]
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "honeyflow.yml").read_text())[
        "providers"
    ]
    services = compose_file.load(FOLDER, ENVIRON)["services"]
    mounted = {one["target"]: one["source"] for one in services["grafana"]["volumes"]}
    boards = sorted((FOLDER / mounted[provider["options"]["path"]]).glob("*.json"))

    assert "prometheus" in services
    assert "http://prometheus:9090" == source["url"]
    assert not source["editable"] and not provider["allowUiUpdates"]
    assert boards
    for board in boards:
        text = board.read_text()
        assert json.loads(text)["uid"], board.name
        for kind, uid in re.findall(
            r'"datasource": \{\s*"type": "(\w+)",\s*"uid": "([^"]+)"', text
        ):
            assert ("prometheus", True) == (kind, uid == source["uid"] or uid.startswith("$")), (
                board
            )


def test_prometheus_scrapes_services_that_are_there() -> None:
    """By the names and ports that they have in the Compose file."""
    file = yaml.safe_load((FOLDER / "prometheus" / "prometheus.yml").read_text())
    services = compose_file.load(FOLDER, ENVIRON)["services"]
    targets = {
        target: job["job_name"]
        for job in file["scrape_configs"]
        for one in job["static_configs"]
        for target in one["targets"]
    }
    named = {target.partition(":")[0] for target in targets} - {"localhost"}

    assert "honeyflow" == targets["metrics:9464"]
    assert named <= set(services)
    assert all("watch" in services[name]["networks"] for name in named)
    assert "10s" == file["global"]["evaluation_interval"]


def test_no_other_node_is_told_of_our_uploads() -> None:
    """Kubo is in a network that leads nowhere, and sends no telemetry."""
    kubo = compose_file.load(FOLDER, ENVIRON)["services"]["ipfs"]

    assert ["ipfs"] == kubo["networks"]
    assert "off" == kubo["environment"]["IPFS_TELEMETRY"]
    assert "ports" not in kubo
