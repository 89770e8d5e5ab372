"""Six steps, and the last three again from the checkpoint after the third: the same numbers."""

from __future__ import annotations

from typing import Any

from benchmarks.smoke.row import Place, Seen, require
from benchmarks.smoke.training import KEYS, launched, sound, train
from entropostat.manifest import manifest

STEPS, SAVED = 6, 3
LIMIT = 1e-3
"""Largest relative difference. Another sample, another prompt or an optimizer without its moments makes hundredths and more; sums
in another order do not reach this in three steps of float32."""


def check(place: Place) -> Seen:
    strategy = "single" if place.processes == 1 else "ddp"
    own = [launched(strategy, place.processes), "trainer.save_strategy=steps", f"trainer.save_steps={SAVED}"]
    own += [f"trainer.max_steps={STEPS}"]
    first = train(place, *own)
    engine = "Qwen3ForCausalLM" if place.processes == 1 else "DistributedDataParallel"
    sound(first, place, engine, place.processes, STEPS)
    again = train(place, *own, resume=first.folder / f"checkpoint-{SAVED}")
    start = manifest(first.folder / f"checkpoint-{STEPS}").start
    require(start == 2, f"the last checkpoint is that of start {start}; wanted was 2: nothing was trained again")
    return judge(first.steps, again.steps)


def judge(first: list[dict[str, Any]], again: list[dict[str, Any]]) -> Seen:
    """The log of the first run, and what it became: from the checkpoint on its rows are new ones. Raises Failed."""
    steps = [row["step"] for row in again]
    require(steps == [*range(1, STEPS + 1)], f"the log has steps {steps}; wanted was 1 to {STEPS}")
    pairs = list(zip(first[SAVED:], again[SAVED:], strict=True))
    apart = max(abs(a[key] - b[key]) / max(abs(a[key]), 1e-6) for a, b in pairs for key in KEYS)
    text = f"steps {SAVED + 1} to {STEPS}: {', '.join(KEYS)} at most {apart:.1e} apart, relative; wanted was {LIMIT:g}"
    require(apart <= LIMIT, text, apart=apart)
    return Seen(text, {"apart": apart})
