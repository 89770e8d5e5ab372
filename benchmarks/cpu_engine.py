"""vLLM's engine on a CPU, for benchmarks and tests: `make test-vllm` makes the environment that has it."""

from __future__ import annotations

from typing import Any

QUIET = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "OMP_NUM_THREADS": "1",
}
"""Before vLLM is imported. A gigabyte for the cache of keys and values, and no core of its own."""


def fresh(**settings: Any) -> Any:
    """In place of vLLM's LLM: one whose kernels are not compiled first, which takes minutes."""
    import vllm._custom_ops as ops
    from vllm import LLM

    ops._supports_onednn = (
        False  # it would repack the weights of linear layers and drop those that new ones are written to
    )
    return LLM(**settings, enforce_eager=True)
