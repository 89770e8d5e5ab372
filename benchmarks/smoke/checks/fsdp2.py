"""PyTorch's FSDP2 over all GPUs."""

from __future__ import annotations

from benchmarks.smoke.row import Place, Seen, Skipped
from benchmarks.smoke.training import launched, sound, train


def check(place: Place) -> Seen:
    if place.device == "cpu":
        raise Skipped("accelerate runs no FSDP on CPUs: it would quietly take DDP")
    trained = train(place, "model.dtype=bfloat16", "trainer.bf16=true", launched("fsdp2", place.processes))
    return sound(trained, place, "FSDP", place.processes)
