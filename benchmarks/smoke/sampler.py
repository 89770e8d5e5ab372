"""Runs that sample by vLLM: its options, and that it samples from the policy that is trained."""

from __future__ import annotations

from importlib.util import find_spec

from benchmarks.smoke.row import Place, Seen, Skipped, require
from benchmarks.smoke.training import Trained, sound

VLLM = ("model.dtype=bfloat16", "trainer.bf16=true", "trainer.use_vllm=true", "trainer.vllm_max_model_length=128")
GAP = "sampling/sampling_logp_difference/mean"
LIMIT = 0.05
"""Nats. Two implementations in bf16 are some thousandths apart; weights that were not handed over, after ten steps at this learning
rate, are tenths."""


def needs_vllm(place: Place) -> None:
    """Raises Skipped."""
    if place.device == "cpu":
        raise Skipped("vLLM is tried on GPUs only")
    if find_spec("vllm") is None:
        raise Skipped("vLLM is not installed: pip install 'entropostat[vllm]'")


def in_step(trained: Trained, place: Place, processes: int) -> Seen:
    """The last step's log-probs of what vLLM sampled are the trainer's, too: it has the newest weights. Raises Failed."""
    seen = sound(trained, place, "Qwen3ForCausalLM" if processes == 1 else "DistributedDataParallel", processes)
    gap = trained.steps[-1].get(GAP)
    require(gap is not None, f"{GAP} was not logged: vLLM did not sample")
    text = f"log-probs of vLLM and of the trainer {gap:.4f} nats apart in the last step, at most {LIMIT:g}"
    require(gap <= LIMIT, text, gap=gap)
    return Seen(f"{text}; {seen.text}", seen.numbers | {"gap": gap})
