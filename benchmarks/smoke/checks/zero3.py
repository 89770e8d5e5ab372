"""DeepSpeed's ZeRO-3 over all GPUs; with one of them its engine runs, and has nobody to share with."""

from __future__ import annotations

from benchmarks.smoke.row import Place, Seen
from benchmarks.smoke.training import launched, sound, train


def check(place: Place) -> Seen:
    bf16 = ["model.dtype=bfloat16", "trainer.bf16=true"] if place.device == "cuda" else []
    trained = train(place, *bf16, launched("zero3", place.processes))
    return sound(trained, place, "DeepSpeedEngine, stage 3", place.processes)
