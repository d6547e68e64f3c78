"""What vLLM is told: the environment, the engine's arguments and one request's sampling.

vLLM reads its environment when it is imported and in its child processes, so `prepare_environment`
comes before the import. What a user has set there stays, save for the start method: a forked child
of a process with threads and an event loop is not safe.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from typing import Any

from executors.config import EngineConfig
from executors.digest import model_files
from executors.errors import RequestInvalid
from executors.types import GenerateRequest

# Read here and not by vLLM: `env` sets environment variables, `adapters` maps the names of LoRA
# adapters to their directories, `start_timeout_s` ends a start that takes too long.
OWN_OPTIONS = frozenset({"adapters", "env", "start_timeout_s"})

START_TIMEOUT_S = 1800.0
CPU_KV_BYTES = 1024**3
LONGEST_SOCKET_DIR = 64
"""vLLM's sockets have names of 36 characters, and a path of one has at most 107."""
_SEEDS = 2**63


def prepare_environment(config: EngineConfig) -> None:
    """Set what vLLM reads from the environment, for this process and the engine's."""
    os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"
    defaults = {
        # A model is a directory; nothing may be fetched in its place, and nobody is told about it.
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        # Standard output belongs to whoever runs the worker.
        "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    }
    if len(os.fsencode(tempfile.gettempdir())) > LONGEST_SOCKET_DIR:
        defaults["VLLM_RPC_BASE_PATH"] = "/tmp"  # noqa: S108 - vLLM's own default place
    if config.device == "cpu":
        # Compiling on the CPU takes minutes, gains little, and holds up all requests when it
        # happens: the first one that wants log-probabilities would wait half a minute.
        defaults["TORCHDYNAMO_DISABLE"] = "1"
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    for name, value in dict(config.options.get("env", {})).items():
        os.environ[name] = str(value)


def engine_arguments(config: EngineConfig) -> dict[str, Any]:
    """The keyword arguments of `AsyncEngineArgs`; `options` go last and win."""
    arguments: dict[str, Any] = {
        "model": str(config.path),
        "served_model_name": config.model,
        "dtype": config.dtype,
        "seed": config.seed,
        "max_num_seqs": config.max_num_seqs,
        "max_model_len": config.max_model_len,
        "tensor_parallel_size": config.tensor_parallel,
        "gpu_memory_utilization": config.gpu_memory_utilization,
        "enforce_eager": config.enforce_eager or config.device == "cpu",
        "scheduling_policy": "priority",
        "trust_remote_code": False,
    }
    if config.device == "cpu":
        # On the CPU vLLM 0.32 ends over a prompt read in parts if its request has a seed.
        arguments["enable_chunked_prefill"] = False
    if config.quantization is not None:
        arguments["quantization"] = config.quantization
    if config.attention_backend is not None:
        arguments["attention_backend"] = config.attention_backend
    if config.device == "cpu" and not os.environ.get("VLLM_CPU_KVCACHE_SPACE"):
        # vLLM's own choice is nearly all of the host's memory.
        arguments["kv_cache_memory_bytes"] = CPU_KV_BYTES
    if any(name.endswith(".safetensors") for name in model_files(config.path)):
        # The loader's own choice may fall back to a pickle beside them.
        arguments["load_format"] = "safetensors"
    if config.options.get("adapters"):
        arguments["enable_lora"] = True
    own = {name: value for name, value in config.options.items() if name not in OWN_OPTIONS}
    return arguments | own


def sampling_params(request: GenerateRequest, *, limit: int) -> Any:
    """One request's `SamplingParams`, with at most `limit` tokens; raises `RequestInvalid`."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

    sampling = request.sampling
    constraint = None
    try:
        if sampling.json_schema is not None:
            constraint = StructuredOutputsParams(json=dict(sampling.json_schema))
        elif sampling.json_object:
            constraint = StructuredOutputsParams(json_object=True)
        return SamplingParams(
            n=1,
            max_tokens=limit,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            min_p=sampling.min_p,
            presence_penalty=sampling.presence_penalty,
            frequency_penalty=sampling.frequency_penalty,
            repetition_penalty=sampling.repetition_penalty,
            stop=list(sampling.stop),
            seed=None if sampling.seed is None else sampling.seed % _SEEDS,
            # Only the chosen tokens' are used, and each further one costs time.
            logprobs=None if sampling.logprobs is None else 0,
            logit_bias=dict(sampling.logit_bias) or None,
            structured_outputs=constraint,
            output_kind=RequestOutputKind.DELTA if request.stream else RequestOutputKind.FINAL_ONLY,
            # This object is made for one request and kept by nobody.
            skip_clone=True,
        )
    except (ValueError, TypeError) as error:
        raise invalid(error) from error


def adapter_request(config: EngineConfig, adapter: str | None) -> Any:
    """Give vLLM's name for a LoRA adapter; `RequestInvalid` for one that is not configured."""
    if adapter is None:
        return None
    adapters: Mapping[str, str] = config.options.get("adapters", {})
    if adapter not in adapters:
        known = ", ".join(sorted(adapters)) or "none"
        raise RequestInvalid(
            f"this worker has no adapter {adapter!r}; configured: {known}",
            suggested_action="Name a configured adapter, or none.",
            details={"adapter": adapter, "known": sorted(adapters)},
        )
    from vllm.lora.request import LoRARequest

    return LoRARequest(adapter, 1 + sorted(adapters).index(adapter), str(adapters[adapter]))


def invalid(error: BaseException) -> RequestInvalid:
    """What vLLM says about a request that it cannot run."""
    return RequestInvalid(
        f"the engine refuses this request: {error}",
        suggested_action="Correct what the message names.",
        details={"reason": str(error)},
    )
