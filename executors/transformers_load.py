"""Reading a `transformers` model from a directory, or refusing with the reason and the figures.

Runs in a thread: every call here may block for as long as the weights take.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer
from transformers.utils.logging import disable_progress_bar

from executors import devices
from executors.config import EngineConfig
from executors.digest import weight_bytes
from executors.errors import (
    EngineStartFailed,
    ExecutorError,
    ModelInvalid,
    OutOfMemory,
    RequestInvalid,
)
from executors.prompts import PromptEncoder
from executors.slot_model import SlotModel
from executors.types import GenerateRequest

# Below this many parameters a second thread costs more in waiting than it computes.
SMALL_MODEL = 16_000_000
PREFIX_TOKENS = 8192
BYTES_OF_DTYPE = {"float32": 4, "float16": 2, "bfloat16": 2}
ATTENTION = ("sdpa", "eager")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A model that is ready to answer. `tokenizer` is the fast tokenizer's backend."""

    model: SlotModel
    tokenizer: Tokenizer
    encoder: PromptEncoder
    stops: frozenset[int]
    max_len: int
    parameters: int
    vocabulary: int
    dtype: str
    threads: int | None


def engine_version() -> str:
    """The versions that decide an answer."""
    return f"{version('transformers')}+torch{version('torch')}"


def check_config(config: EngineConfig) -> None:
    """Refuse settings, devices and sizes that this engine cannot follow, before it reads."""
    devices.check_device_name(config.device)
    devices.check_no_tensor_parallel(engine="transformers", tensor_parallel=config.tensor_parallel)
    _refuse(config.quantization is not None, "quantization", config.quantization)
    _refuse(
        config.attention_backend not in (None, *ATTENTION),
        "attention_backend",
        config.attention_backend,
    )
    _refuse(config.dtype not in ("auto", *BYTES_OF_DTYPE), "dtype", config.dtype)
    stored = weight_bytes(config.path)
    # Weights on disk are two bytes per number as a rule; a wider dtype asks for more memory.
    required = stored * 2 if config.dtype == "float32" and not _is_float32(config) else stored
    if config.device == "cuda":
        devices.check_cuda(
            found=torch.cuda.device_count(), needed=1, build=f"torch {version('torch')}"
        )
        free, _ = torch.cuda.mem_get_info()
        devices.check_memory(required=required, available=int(free), where="GPU")
    else:
        available = devices.available_host_bytes()
        devices.check_memory(required=required, available=available, where="host")


def check_supported(request: GenerateRequest, *, vocabulary: int) -> None:
    """Refuse what this engine cannot do for one request; raises `RequestInvalid`."""
    if request.adapter is not None:
        raise RequestInvalid(
            f"the transformers engine has no adapters; {request.adapter!r} was asked for",
            suggested_action="Send the request without an adapter, or to a vllm worker.",
            details={"adapter": request.adapter},
        )
    beyond = [token for token in request.sampling.logit_bias if token >= vocabulary]
    if beyond:
        raise RequestInvalid(
            f"logit_bias names token {beyond[0]}; the vocabulary ends at {vocabulary - 1}",
            suggested_action="Correct logit_bias.",
            details={"field": "logit_bias", "vocabulary": vocabulary},
        )


def load_model(config: EngineConfig) -> Loaded:
    """Read weights and tokenizer and try them out; raises an `ExecutorError` with its cause."""
    try:
        return _load(config)
    except ExecutorError:
        raise
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _out_of_memory(error) from error
    except Exception as error:
        # Reading foreign files fails in more ways than can be listed.
        if "can't allocate memory" in str(error):
            raise _out_of_memory(error) from error
        raise EngineStartFailed(
            f"the transformers engine did not start: {type(error).__name__}: {error}",
            suggested_action="Check that the directory is a complete causal language model.",
            details={"reason": str(error)},
        ) from error


def _load(config: EngineConfig) -> Loaded:
    _quiet()
    tokenizer = transformers.AutoTokenizer.from_pretrained(
        config.path, local_files_only=True, trust_remote_code=False
    )
    if not tokenizer.is_fast:
        raise ModelInvalid(
            "the model has no tokenizer.json, which this engine needs",
            suggested_action="Save the tokenizer as a fast one, or use the vllm engine.",
        )
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(
        config.path,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        dtype=config.dtype,
        attn_implementation=config.attention_backend or "sdpa",
    )
    model = model.to(config.device).eval()
    text_config = model.config.get_text_config()
    own_len = int(getattr(text_config, "max_position_embeddings", 0) or 2048)
    max_len = config.max_model_len or own_len
    if max_len > own_len:
        raise EngineStartFailed(
            f"max_model_len is {max_len} and the model was made for {own_len} tokens",
            suggested_action=f"Set max_model_len to {own_len} or less.",
            details={"max_model_len": max_len, "model_max_len": own_len},
        )
    parameters = sum(parameter.numel() for parameter in model.parameters())
    threads = config.options.get("threads", 1 if parameters < SMALL_MODEL else None)
    if threads is not None:
        torch.set_num_threads(threads)
    slots = SlotModel(
        model,
        max_rows=config.max_num_seqs,
        max_len=max_len,
        prefix_tokens=int(config.options.get("prefix_cache_tokens", PREFIX_TOKENS)),
    )
    slots.verify()
    return Loaded(
        model=slots,
        tokenizer=tokenizer.backend_tokenizer,
        encoder=PromptEncoder(tokenizer),
        stops=_stops(model, tokenizer),
        max_len=max_len,
        parameters=parameters,
        vocabulary=int(text_config.vocab_size),
        dtype=str(model.dtype).removeprefix("torch."),
        threads=threads,
    )


def _stops(model: Any, tokenizer: Any) -> frozenset[int]:
    """The tokens that end an answer, as the model and its tokenizer name them."""
    stops: set[int] = set()
    for source in (model.generation_config, tokenizer):
        ids = source.eos_token_id
        if ids is not None:
            stops.update([ids] if isinstance(ids, int) else ids)
    return frozenset(stops)


def _out_of_memory(error: BaseException) -> OutOfMemory:
    figures = re.search(r"you tried to allocate (\d+) bytes", str(error))
    details: dict[str, Any] = {"reason": str(error)}
    if figures:
        details["required_bytes"] = int(figures[1])
    details["available_bytes"] = devices.available_host_bytes()
    return OutOfMemory(
        f"the transformers engine did not start for want of memory: {error}",
        suggested_action="Free memory, or use a smaller or quantised model.",
        details=details,
    )


def _is_float32(config: EngineConfig) -> bool:
    text = (config.path / "config.json").read_text(encoding="utf-8")
    return re.search(r'"(?:torch_)?dtype":\s*"float32"', text) is not None


def _refuse(wrong: object, name: str, value: object) -> None:
    if wrong:
        raise EngineStartFailed(
            f"the transformers engine cannot follow {name} = {value!r}",
            suggested_action=f"Leave {name} out, or use the vllm engine.",
            details={"setting": name},
        )


def _quiet() -> None:
    # Progress bars on standard error are no log; ours goes through `on_progress`.
    disable_progress_bar()  # type: ignore[no-untyped-call]  # of transformers
    logging.getLogger("transformers").setLevel(logging.ERROR)
