"""Bytes that a rank sends in one optimizer step. What it receives is the same.

Ring algorithms, of S bytes over N ranks (Patarasu and Yuan 2009; NCCL's own accounting):
    all-reduce       2 S (N - 1) / N        reduce-scatter, all-gather     S (N - 1) / N, S the whole tensor
Times divide them by a bandwidth per GPU, without latency and without overlap with computing. A ring is as slow as its
slowest link: over several machines that is the network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from entropostat.scaling.precision import precision
from entropostat.scaling.run import Run
from entropostat.scaling.states import LIVE, adapters, head_weights, trained

INTRA, INTER = 300.0, 40.0
"""GB/s of one GPU, an assumption: NVLink of an H100's generation, and one 400 Gb/s port for each GPU, as far as rings reach
them. `plan --bandwidth` takes others."""

PERSISTENT = 100_000
"""DeepSpeed's stage3_param_persistence_threshold: tensors of fewer numbers stay whole on every rank."""

PER_TOKEN = 8
"""Float32 collectives over the tokens of a generation, at most: what docs/results.md's count of our statistics allows."""

Kind = Literal["all-reduce", "reduce-scatter", "all-gather", "broadcast"]
FACTOR: dict[Kind, Callable[[int], float]] = {
    "all-reduce": lambda n: 2 * (n - 1) / n,
    "reduce-scatter": lambda n: (n - 1) / n,
    "all-gather": lambda n: (n - 1) / n,
    "broadcast": lambda n: 1.0 if n > 1 else 0.0,
}


@dataclass(frozen=True)
class Transfer:
    """One purpose of collectives, summed over a step."""

    name: str
    kind: Kind
    tensor: float
    """Bytes of the whole tensor: what is handed to the collective, or comes out of it."""
    ranks: int

    @property
    def sent(self) -> float:
        return self.tensor * FACTOR[self.kind](self.ranks)


def communication(run: Run, live: int = LIVE, persistent: int = PERSISTENT) -> list[Transfer]:
    """Empty for one process. ``live`` and ``persistent`` are DeepSpeed's limits of what ZeRO-3 lets stay.

    ddp             gradients once a step (`no_sync` before)
    zero1           the same, all-reduced: DeepSpeed's reduce_scatter sums whole buckets by all-reduce and keeps its part
                    (stage_1_and_2.py, use_multi_rank_bucket_allreduce); then the new weights are gathered
    zero2           gradients for every micro-batch, because whole ones are not kept
    zero3           weights gathered by every forward, and again by its backward beyond the ``live`` ones that stay; those in
                    small tensors stay whole, and are gathered once a step; gradients reduce-scattered for every micro-batch
    fsdp2           weights gathered twice for every micro-batch; gradients reduce-scattered once a step (`no_sync`)
    Scoring forwards (old log-probs, reference) gather weights too. What happens once a generation is divided by its steps.
    """
    if run.world == 1:
        return []
    bytes_, updates, n = precision(run), float(run.updates), run.world
    base = run.shape.parameters
    whole, count = base + adapters(run) + head_weights(run), trained(run)
    transfers: list[Transfer] = []

    def add(name: str, kind: Kind, tensor: float) -> None:
        transfers.append(Transfer(name, kind, tensor, n))

    scoring = run.slices / updates
    if run.strategy == "ddp":
        add("gradients", "all-reduce", count * bytes_.gradient)
    elif run.strategy in ("zero1", "zero2"):
        times = 1 if run.strategy == "zero1" else run.accumulation
        add("gradients", "all-reduce", times * count * bytes_.gradient)
        add("new weights", "all-gather", count * bytes_.weight)
    elif run.strategy.startswith("zero3"):
        small = run.shape.below(persistent)
        again = max(0, whole - small - live)
        add("gradients", "reduce-scatter", run.accumulation * count * bytes_.gradient)
        gathered = run.accumulation * (whole - small + again) + small
        add("weights in forward and backward", "all-gather", gathered * bytes_.weight)
    else:
        add("gradients", "reduce-scatter", count * bytes_.compute)
        add("weights in forward and backward", "all-gather", 2 * run.accumulation * whole * bytes_.compute)
    if run.splits_weights:
        add("weights in scoring", "all-gather", scoring * run.scored * whole * bytes_.compute)
        copies = run.reference * base * bytes_.compute
        add("reference in scoring", "all-gather", scoring * copies)
        if run.teacher is not None:
            add("teacher", "all-gather", run.accumulation * run.teacher.parameters * bytes_.compute)
        # FSDP2 gathers for every token: TRL's summon_full_params does nothing for it.
        times = 1 if run.vllm or run.strategy != "fsdp2" else run.completion
        if run.vllm or run.gathers or run.strategy == "fsdp2":
            add("weights to generate", "all-gather", times * base * bytes_.compute / updates)
    if run.vllm == "server":
        # From the first rank alone, in a chain through the server's GPUs.
        add("weights to vLLM's server", "broadcast", base * bytes_.weight / updates)
    tokens = run.rollouts * run.world * run.completion
    add("statistics over tokens", "all-gather", PER_TOKEN * 4 * tokens / updates)
    return [transfer for transfer in transfers if transfer.tensor]


def seconds(run: Run, transfers: list[Transfer], intra: float = INTRA, inter: float = INTER) -> float:
    """At GB/s of one GPU inside a machine and between machines."""
    return sum(t.sent for t in transfers) / (1e9 * (inter if run.machines > 1 else intra))
