"""Weights and forward in bfloat16, in one process: the plainest run there is on a GPU."""

from __future__ import annotations

import json

from benchmarks.smoke.row import Place, Seen, require
from benchmarks.smoke.training import sound, train

HALF = ("model.dtype=bfloat16", "trainer.bf16=true")


def check(place: Place) -> Seen:
    trained = train(place, *HALF, "launch.strategy=single")
    saved = json.loads((trained.folder / "final" / "config.json").read_text())["dtype"]
    require(saved == "bfloat16", f"the policy was saved in {saved}; wanted was bfloat16")
    return sound(trained, place, "Qwen3ForCausalLM", processes=1)
