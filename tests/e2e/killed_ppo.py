"""A PPO run that kills itself in the middle of a step: python killed_ppo.py FOLDER STEP CASE."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from e2e.killed import KillIn
from peft import LoraConfig
from support import tiny

from entropostat.recipe.blocks import Critic

TWINS = Critic(heads=2, hidden=True, learning_rate=0.02, init=0.3)
BUFFERED = {"steps_per_generation": 4, "num_iterations": 2}
CASES: dict[str, tuple[Critic, dict[str, Any]]] = {
    "aligned": (TWINS, {"steps_per_generation": 1}),
    "buffered": (TWINS, BUFFERED),
    "trunk": (TWINS.model_copy(update={"trunk": "separate"}), BUFFERED),
    "adapters": (
        TWINS,
        {**BUFFERED, "peft_config": LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear")},
    ),
}
PID = {
    "pid": {
        "signal": "kl",
        "target": 0.01,
        "effect": "lowers",
        "kp": 1.0,
        "ki": 0.3,
        "start": 0.1,
        "low": 0.0,
        "high": 5.0,
    }
}


def make(folder: Path, case: str) -> Any:
    critic, changes = CASES[case]
    spec = {"advantages": [{"gae": {"kl_coef": PID}}]}
    saving = {"output_dir": str(folder), "save_strategy": "steps", "save_steps": 3}
    return tiny.ppo(tiny.saved(), critic, spec, max_steps=10, shuffle_dataset=False, **saving, **changes)


if __name__ == "__main__":
    trainer = make(Path(sys.argv[1]), sys.argv[3])
    trainer.add_callback(KillIn(int(sys.argv[2])))
    trainer.train()
