"""Settings: one file, one environment, clear errors."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs import require_worker_name
from routing import validate_node_name
from tasks import settings
from tasks.errors import SettingsInvalid


def test_defaults_are_per_user_and_not_per_directory(tmp_path: Path) -> None:
    """A client finds the same ledger from every directory."""
    read = settings.read({"XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)})

    assert tmp_path / "honeyflow" == read.data_dir
    assert f"sqlite:///{tmp_path}/honeyflow/ledger.db" == read.ledger_url
    assert read.redis_embedded


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    """Both are read once."""
    file = tmp_path / "h.toml"
    file.write_text('redis_url = "redis://a/0"\nnode = "filenode"\n[timing]\nlease_s = 3\n')

    read = settings.read(
        {
            "HONEYFLOW_CONFIG": str(file),
            "HONEYFLOW_REDIS_URL": "redis://b/0",
            "HONEYFLOW_TIMING": "renew_s=0.5",
        }
    )

    assert ("redis://b/0", "filenode", 3.0, 0.5) == (
        read.redis_url,
        read.node,
        read.timing.lease_s,
        read.timing.renew_s,
    )


def test_gpu_assignments_are_read(tmp_path: Path) -> None:
    """`[gpu_model_assignments]` as the first users wrote it."""
    file = tmp_path / "h.toml"
    file.write_text('[gpu_model_assignments]\n0 = "queenbee-spine"\n"1" = "queenbee-chest"\n')

    read = settings.read({"HONEYFLOW_CONFIG": str(file)})

    assert {"0": "queenbee-spine", "1": "queenbee-chest"} == read.gpu_model_assignments


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("redis_ur = 1", "redis_ur"),
        ("[timing]\nlease = 1", "lease"),
        ('[timing]\nlease_s = "x"', "lease_s"),
        ("[timing\n", "TOML"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(tmp_path: Path, text: str, word: str) -> None:
    """A misspelt key is an error, not a silence."""
    file = tmp_path / "h.toml"
    file.write_text(text)

    with pytest.raises(SettingsInvalid, match=word):
        settings.read({"HONEYFLOW_CONFIG": str(file)})


def test_a_named_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    """A wrong path must not mean the defaults."""
    with pytest.raises(SettingsInvalid, match="cannot be read"):
        settings.read({"HONEYFLOW_CONFIG": str(tmp_path / "none.toml")})


@pytest.mark.parametrize(
    ("text", "key", "wanted"),
    [
        ('epoch = "abc"', "epoch", "whole number"),
        ("epoch = true", "epoch", "whole number"),
        ("epoch = -1", "epoch", "whole number"),
        ('gpu_model_assignments = "x"', "gpu_model_assignments", "a table"),
        ("[gpu_model_assignments]\n0 = 7", "gpu_model_assignments.0", "name of a model"),
        ('cpu_model_assignments = "queenbee-spine"', "cpu_model_assignments", "list of texts"),
        ("cpu_model_assignments = [1]", "cpu_model_assignments", "list of texts"),
        ("data_dir = 5", "data_dir", "a text"),
        ('data_dir = ""', "data_dir", "a text"),
        ("redis_url = 1", "redis_url", "a text"),
        ("ledger_url = false", "ledger_url", "a text"),
        ("node = []", "node", "a text"),
        ("worker_ens = 1", "worker_ens", "a text"),
        ('worker_ens = "Bee 1"', "worker_ens", "contains a space"),
        ('worker_ens = "bees/1"', "worker_ens", "a slash"),
        ('worker_ens = "bee*"', "worker_ens", "reads as a pattern"),
        ('worker_ens = "bee,wasp"', "worker_ens", "reads as a pattern"),
        ("keys_dir = 1", "keys_dir", "a text"),
        ('worker_tags = "fast"', "worker_tags", "list of texts"),
        ("worker_cost_per_hour = -1", "worker_cost_per_hour", "a number from 0 on"),
        ('worker_cost_per_hour = "1"', "worker_cost_per_hour", "a number from 0 on"),
        ("[sealing]\nbatch = 0", "sealing.batch", "a whole number from 1 on"),
        ('worker_ens = "bee\\n"', "worker_ens", "printable"),
        ("cid_profile = 0", "cid_profile", "a text"),
        ('cid_profile = "v2"', "cid_profile", "one of"),
        ("limits = 4", "limits", "a table"),
        ("[limits]\nmax_k = 2.5", "limits.max_k", "whole number"),
        ("[limits]\nmax_k = 0", "limits.max_k", "whole number"),
        ('[limits]\nmax_tokens = "4"', "limits.max_tokens", "whole number"),
        ("timing = []", "timing", "a table"),
        ("[timing]\nlease_s = -1", "timing.lease_s", "seconds"),
        ("[timing]\nlease_s = nan", "timing.lease_s", "seconds"),
        ("models = 1", "models", "a table"),
        ('models = { llama = "/models/llama" }', "models.llama", "a table"),
        ("profiles = [1]", "profiles", "a table"),
        ("[profiles]\nspine = 1", "profiles.spine", "a table"),
        ('unsafe_redis = "false"', "unsafe_redis", "true or false"),
        ("unsafe_redis = 1", "unsafe_redis", "true or false"),
    ],
)
def test_a_value_of_the_wrong_type_names_file_key_and_what_is_wanted(
    tmp_path: Path, text: str, key: str, wanted: str
) -> None:
    """It is refused where it is read, not where it is first used."""
    file = tmp_path / "h.toml"
    file.write_text(text)

    with pytest.raises(SettingsInvalid) as caught:
        settings.read({"HONEYFLOW_CONFIG": str(file)})

    assert key == caught.value.details["key"]
    assert str(file) in caught.value.message
    assert wanted in caught.value.message
    assert key in caught.value.suggested_action


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HONEYFLOW_TIMING", "lease_s"),
        ("HONEYFLOW_TIMING", "lease_s=x"),
        ("HONEYFLOW_TIMING", "lease_s=-1"),
        ("HONEYFLOW_TIMING", "lease_s=inf"),
        ("HONEYFLOW_TIMING", "lease=1"),
        ("HONEYFLOW_UNSAFE_REDIS", "perhaps"),
        ("HONEYFLOW_NODE", "no such node"),
        ("WORKER_ENS", "Bee 1"),
        ("WORKER_ENS", "bee+1"),
        ("WORKER_ENS", "b" * 256),
        ("WORKER_COST_PER_HOUR", "cheap"),
        ("WORKER_COST_PER_HOUR", "nan"),
    ],
)
def test_a_variable_of_the_wrong_kind_is_named(variable: str, value: str) -> None:
    """Not the file, and no key of a file."""
    with pytest.raises(SettingsInvalid, match=variable) as caught:
        settings.read({"XDG_CONFIG_HOME": "/nowhere", variable: value})

    assert variable in str(caught.value.details["key"])


def test_a_worker_is_described_by_the_environment_or_the_file(tmp_path: Path) -> None:
    """Tags with commas in the one, as a list in the other; a dollar an hour unless told."""
    file = tmp_path / "h.toml"
    file.write_text('worker_tags = ["a", "b"]\nworker_cost_per_hour = 2')
    told = {"HONEYFLOW_CONFIG": str(file)}
    bare = settings.read({"XDG_CONFIG_HOME": "/nowhere"})
    of_file = settings.read(told)
    of_both = settings.read({**told, "WORKER_TAGS": " x, y,", "WORKER_COST_PER_HOUR": "0.5"})
    assert [((), 1.0), (("a", "b"), 2.0), (("x", "y"), 0.5)] == [
        (each.worker_tags, each.worker_cost_per_hour) for each in (bare, of_file, of_both)
    ]


@given(node=st.from_regex(r"[a-z0-9][a-z0-9._-]{0,63}", fullmatch=True))
def test_a_receipt_can_name_any_node_and_any_worker_the_settings_accept(node: str) -> None:
    """The name is used after the samples are drawn, so it is refused before, or not at all."""
    told = settings.read(
        {"XDG_CONFIG_HOME": "/nowhere", "HONEYFLOW_NODE": node, "WORKER_ENS": f"{node}.bee.eth"}
    )

    assert require_worker_name(f"{told.node}.honeyflow") == f"{node}.honeyflow"
    assert told.worker_ens == require_worker_name(f"{node}.bee.eth")


@pytest.mark.parametrize(
    "host", ["Bee 1", "", "--", "ünïcode", "a+b/c", "UPPER.example.org", "_x" * 100]
)
def test_a_node_named_by_its_host_can_be_named_too(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """Whatever the machine is called."""
    monkeypatch.setattr("socket.gethostname", lambda: host)

    node = settings.read({"XDG_CONFIG_HOME": "/nowhere"}).node

    assert validate_node_name(node) == node
    assert require_worker_name(f"{node}.honeyflow")


@pytest.mark.parametrize(("word", "expected"), [("1", True), ("true", True), ("0", False)])
def test_a_switch_in_the_environment_wins_over_the_file(
    tmp_path: Path, word: str, expected: bool
) -> None:
    """Also when it says no."""
    file = tmp_path / "h.toml"
    file.write_text(f"unsafe_redis = {str(not expected).lower()}")

    read = settings.read({"HONEYFLOW_CONFIG": str(file), "HONEYFLOW_UNSAFE_REDIS": word})

    assert read.unsafe_redis is expected


def test_logs_and_tracing_are_chosen_in_the_file_or_the_environment(tmp_path: Path) -> None:
    """The environment wins; without either there are no spans, and the reader decides the form."""
    file = tmp_path / "honeyflow.toml"
    file.write_text(
        '[logs]\nformat = "text"\n[tracing]\nendpoint = "http://a:4318"\nsample = 0.5\n'
    )
    told = {"HONEYFLOW_LOG_FORMAT": "json", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://b:4318"}

    by_default = settings.read({"XDG_CONFIG_HOME": str(tmp_path / "none")})
    by_file = settings.read({"HONEYFLOW_CONFIG": str(file)})
    by_both = settings.read({"HONEYFLOW_CONFIG": str(file), **told})

    assert ("auto", None, 1.0) == (
        by_default.log_format,
        by_default.tracing.endpoint,
        by_default.tracing.sample,
    )
    assert ("text", "http://a:4318", 0.5) == (
        by_file.log_format,
        by_file.tracing.endpoint,
        by_file.tracing.sample,
    )
    assert ("json", "http://b:4318") == (by_both.log_format, by_both.tracing.endpoint)
    assert "4318" not in repr(by_both)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('[logs]\nformat = "xml"\n', "auto, json, text"),
        ("[logs]\nlevel = 3\n", "'level'"),
        ("[tracing]\nsample = 2\n", "0 to 1"),
        ('[tracing]\nendpiont = "http://a"\n', "'endpiont'"),
    ],
    ids=["format", "logs", "sample", "tracing"],
)
def test_a_wrong_log_or_tracing_setting_is_named(tmp_path: Path, text: str, word: str) -> None:
    """With what it may be."""
    file = tmp_path / "honeyflow.toml"
    file.write_text(text)

    with pytest.raises(SettingsInvalid) as told:
        settings.read({"HONEYFLOW_CONFIG": str(file)})

    assert word in str(told.value)
