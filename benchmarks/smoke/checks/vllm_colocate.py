"""Sampling by vLLM on the GPUs that train, which share their memory with it."""

from __future__ import annotations

from benchmarks.smoke.row import Place, Seen
from benchmarks.smoke.sampler import VLLM, in_step, needs_vllm
from benchmarks.smoke.training import launched, train


def check(place: Place) -> Seen:
    needs_vllm(place)
    strategy = "single" if place.processes == 1 else "ddp"
    trained = train(
        place, *VLLM, launched(strategy, place.processes), "trainer.vllm_mode=colocate",
        "trainer.vllm_gpu_memory_utilization=0.3",
    )  # fmt: skip
    return in_step(trained, place, place.processes)
