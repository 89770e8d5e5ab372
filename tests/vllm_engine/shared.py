"""One engine for all trainers of a process: it takes longer to start than to train with.

It is vLLM's own, as TRL makes it; every trainer sends it all weights before it samples first, so it matters to none what the one
before has left. A trainer of another shape would need another engine.
"""

from __future__ import annotations

from typing import Any

from benchmarks.cpu_engine import fresh

LENGTH = 64
"""Tokens of prompt and completion."""
COLOCATED = {"use_vllm": True, "vllm_mode": "colocate", "vllm_max_model_length": LENGTH}

HIDDEN = 64
"""Two heads of 32: the least that the attention of a CPU has a kernel for."""

_engines: list[Any] = []


def engine(**settings: Any) -> Any:
    """The same once for all. Starting one seeds the generators of the process, so another trainer's does, too."""
    from vllm.utils.torch_utils import set_random_seed

    assert settings["max_model_len"] == LENGTH and settings["logprobs_mode"] == "processed_logprobs"
    if not _engines:
        _engines.append(fresh(**{**settings, "max_num_seqs": 64}))
    set_random_seed(settings["seed"])
    return _engines[0]


def forget_broken() -> None:
    """An engine that an exception left in the middle of a generation would go on with that one."""
    if _engines and _engines[0].llm_engine.has_unfinished_requests():
        _engines.clear()


def policy() -> str:
    """The folder of a model and its tokenizer."""
    from support import tiny

    return tiny.written(tiny.model(hidden=HIDDEN))
