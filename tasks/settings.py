"""Settings: the environment and honeyflow.toml, read once per process into frozen values.

The file is `$HONEYFLOW_CONFIG`, else `honeyflow.toml` in the user's configuration directory, so
that a client finds the same ledger and broker from every directory. An environment variable wins
over the file. Sizes are bytes, times seconds, both said in the name.
"""

from __future__ import annotations

import functools
import hashlib
import os
import socket
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from proofs import CidProfile
from tasks.errors import SettingsInvalid
from tasks.settings_values import Values

MAX_SOCKET_PATH = 100
LOG_FORMATS = ("auto", "json", "text")

KNOWN_TABLES = {
    "redis_url",
    "ledger_url",
    "data_dir",
    "node",
    "worker_ens",
    "worker_tags",
    "worker_cost_per_hour",
    "epoch",
    "cid_profile",
    "gpu_model_assignments",
    "cpu_model_assignments",
    "models",
    "profiles",
    "limits",
    "timing",
    "unsafe_redis",
    "message_keys",
    "keys_dir",
    "bee_passphrase_file",
    "ssh_agent_socket",
    "sealing",
    "witnesses",
    "ipfs_api_url",
    "ipfs_recipients",
    "ipfs_plaintext",
    "logs",
    "tracing",
    "alerts",
    "canary",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Every period and patience of a worker, in seconds."""

    lease_s: float = 15.0
    renew_s: float = 5.0
    stall_s: float = 10.0
    stall_exit_s: float = 60.0
    heartbeat_s: float = 30.0
    stale_s: float = 60.0
    attention_s: float = 0.5
    reconcile_s: float = 2.0
    reconcile_lease_s: float = 10.0
    resend_after_s: float = 10.0
    redeliver_after_s: float = 5.0
    grace_s: float = 30.0
    run_timeout_s: float = 300.0
    result_ttl_s: float = 86400.0
    engine_check_s: float = 1.0
    max_wait_s: float = 600.0
    stuck_consumer_s: float = 30.0
    alert_check_s: float = 10.0
    alert_delivery_s: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a request may ask for."""

    max_prompt_chars: int = 1_000_000
    max_request_bytes: int = 4_000_000
    max_tokens: int = 32_768
    max_k: int = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealing:
    """When a worker seals its log: so many receipts, or the oldest so many seconds old."""

    batch: int = 100
    after_s: float = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """How often a small job goes through every part for each model, in seconds; 0 for never."""

    every_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracing:
    """Where spans are sent, if anywhere, and of which share of the traces that begin here."""

    endpoint: str | None = field(default=None, repr=False)  # it may hold a password
    sample: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What one process needs to know about its surroundings."""

    data_dir: Path
    redis_url: str = field(repr=False)  # it may hold a password
    redis_embedded: bool
    ledger_url: str = field(repr=False)  # and so may this
    node: str
    worker_ens: str | None = None
    worker_tags: tuple[str, ...] = ()
    worker_cost_per_hour: float = 1.0
    epoch: int = 0
    cid_profile: str = "unixfs-v0-2015"
    gpu_model_assignments: Mapping[str, str] = field(default_factory=dict)
    cpu_model_assignments: tuple[str, ...] = ()
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    profiles: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    timing: Timing = field(default_factory=Timing)
    unsafe_redis: bool = False
    message_keys: tuple[Path, ...] = ()
    keys_dir: Path
    bee_passphrase_file: Path | None = None
    ssh_agent_socket: Path | None = None
    sealing: Sealing = field(default_factory=Sealing)
    canary: Canary = field(default_factory=Canary)
    witnesses: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    ipfs_api_url: str | None = field(default=None, repr=False)  # it may hold a password
    ipfs_recipients: tuple[str, ...] = ()
    ipfs_plaintext: bool = False
    log_format: str = "auto"
    tracing: Tracing = field(default_factory=Tracing)
    alerts: Mapping[str, Any] = field(default_factory=dict)
    alert_variables: Mapping[str, str] = field(default_factory=dict, repr=False)  # secrets
    config_file: Path | None = None
    gpu_name: str | None = None

    @property
    def signing_name(self) -> str:
        """The name that this node's receipts and keys go by."""
        return self.worker_ens or f"{self.node}.honeyflow"

    @property
    def receipts_dir(self) -> Path:
        """Where what was sealed is published."""
        return self.data_dir / "receipts"

    @property
    def redis_dir(self) -> Path:
        """Where the embedded Redis keeps its files."""
        return self.data_dir / "redis"

    @property
    def redis_socket(self) -> Path:
        """Where the embedded Redis listens."""
        return _redis_socket(self.data_dir)


@functools.cache
def load() -> Settings:
    """The settings of this process; read on first use."""
    return read(os.environ)


def read(environ: Mapping[str, str]) -> Settings:
    """Settings from an environment and the file it names.

    Raises:
        SettingsInvalid: a file that cannot be read, an unknown key or a value of the wrong type.
    """
    file, table = _read_file(environ)
    if unknown := sorted(set(table) - KNOWN_TABLES):
        raise SettingsInvalid(
            f"{file} has unknown keys: {', '.join(unknown)}.",
            suggested_action=f"Remove them; known keys are {', '.join(sorted(KNOWN_TABLES))}.",
        )
    values = Values(table, environ, file)
    data_dir = Path(
        values.text("data_dir", "HONEYFLOW_DATA_DIR") or _default_data_dir(environ)
    ).expanduser()
    redis_url = values.text("redis_url", "HONEYFLOW_REDIS_URL")
    logs = values.inner("logs", ("format",))
    tracing = values.inner("tracing", Tracing.__dataclass_fields__)
    return Settings(
        data_dir=data_dir,
        redis_url=redis_url or f"redis+socket://{quote(str(_redis_socket(data_dir)))}",
        redis_embedded=redis_url is None,
        ledger_url=values.text("ledger_url", "HONEYFLOW_LEDGER_URL")
        or f"sqlite:///{data_dir}/ledger.db",
        node=values.name("node", "HONEYFLOW_NODE") or _node(),
        worker_ens=values.worker_name("worker_ens", "WORKER_ENS"),
        worker_tags=values.words("worker_tags", "WORKER_TAGS"),
        worker_cost_per_hour=values.amount("worker_cost_per_hour", 1.0, "WORKER_COST_PER_HOUR"),
        epoch=values.count("epoch", 0),
        cid_profile=values.choice("cid_profile", tuple(CidProfile)) or "unixfs-v0-2015",
        gpu_model_assignments=values.assignments("gpu_model_assignments"),
        cpu_model_assignments=values.texts("cpu_model_assignments"),
        models=values.tables("models"),
        profiles=values.tables("profiles"),
        limits=values.section(Limits, "limits"),
        timing=values.section(Timing, "timing", "HONEYFLOW_TIMING"),
        unsafe_redis=values.flag("unsafe_redis", "HONEYFLOW_UNSAFE_REDIS"),
        message_keys=tuple(Path(name).expanduser() for name in values.texts("message_keys")),
        keys_dir=values.path("keys_dir", "HONEYFLOW_KEYS_DIR") or data_dir / "keys",
        bee_passphrase_file=values.path("bee_passphrase_file", "BEE_PASSPHRASE_FILE"),
        ssh_agent_socket=values.path("ssh_agent_socket", "HONEYFLOW_SSH_AGENT"),
        sealing=values.section(Sealing, "sealing"),
        canary=values.section(Canary, "canary"),
        witnesses=values.tables("witnesses"),
        ipfs_api_url=values.text("ipfs_api_url", "IPFS_API_URL"),
        ipfs_recipients=values.texts("ipfs_recipients"),
        ipfs_plaintext=values.flag("ipfs_plaintext", "HONEYFLOW_IPFS_PLAINTEXT"),
        log_format=logs.choice("format", LOG_FORMATS, "HONEYFLOW_LOG_FORMAT") or "auto",
        tracing=Tracing(
            endpoint=tracing.text("endpoint", "OTEL_EXPORTER_OTLP_ENDPOINT"),
            sample=tracing.fraction("sample", 1.0),
        ),
        alerts=values.table("alerts"),
        alert_variables=values.variables("HONEYFLOW_ALERTS_", "DISCORD_", "TELEGRAM_"),
        config_file=file,
        gpu_name=environ.get("HONEYFLOW_GPU_NAME"),
    )


def _read_file(environ: Mapping[str, str]) -> tuple[Path | None, dict[str, Any]]:
    named = environ.get("HONEYFLOW_CONFIG")
    home = Path(environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    file = Path(named).expanduser() if named else home / "honeyflow" / "honeyflow.toml"
    if not named and not file.exists():
        return None, {}
    try:
        return file, tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsInvalid(f"{file} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsInvalid(f"{file} is not valid TOML: {error}.") from error


def _default_data_dir(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "honeyflow"


def _redis_socket(data_dir: Path) -> Path:
    """In the data directory, or where its path is short enough for a Unix socket."""
    path = data_dir / "redis" / "redis.sock"
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
        return path
    short = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"honeyflow-{os.getuid()}" / f"{short}.sock"


def _node() -> str:
    name = socket.gethostname().split(".")[0].lower()
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in name)
    return plain.strip("-_")[:64] or "node"
