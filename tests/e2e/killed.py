"""A run that kills itself with SIGKILL in the middle of a step: python killed.py FOLDER STEP."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from support import tiny
from transformers import TrainerCallback

GAIN = "weights.entropy_tilt.gain"
BOUNDS = {"gain_min": -1.5, "gain_max": 1.5}
"""Wide, so that no bound hides a lost update."""
AUTOPILOT = {"autopilot": {"target": 2.0, "gate": "none", "kp": 1.0, "ki": 0.1, "bonus_gain": 0.05, **BOUNDS}}
SPEC = {
    "weights": [{"entropy_tilt": {"gain": AUTOPILOT}}],
    "penalties": [{"entropy_bonus": {"coef": {"follow": {"knob": GAIN, "key": "rest"}}}}],
}


def make(folder: Path) -> Any:
    changes = {"max_steps": 10, "steps_per_generation": 4, "num_iterations": 2, "shuffle_dataset": False}
    saving = {"save_strategy": "steps", "save_steps": 3}
    return tiny.ours(tiny.saved(), tiny.objective(**SPEC), output_dir=str(folder), **saving, **changes)


class KillIn(TrainerCallback):
    """Between the backward pass and the optimizer's step of ``step``."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step + 1 == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    trainer = make(Path(sys.argv[1]))
    trainer.add_callback(KillIn(int(sys.argv[2])))
    trainer.train()
