"""A short run with both trackers, and the same run again from its checkpoint: in one process, which imports them once.

    tracked.py FOLDER

The environment is the caller's: where the trackers write is read when they are imported.
"""

from __future__ import annotations

import sys
from pathlib import Path

from entropostat.recipe import load
from entropostat.recipe.extends import RECIPES
from entropostat.trainers.evaluation.callback import Evaluation
from entropostat.trainers.run import run_recipe
from entropostat.trainers.watch.alerts import alert

SHORT = [
    "model.build.steps=5", "data.curriculum=[{source: easy, steps: 8}]", "trainer.per_device_train_batch_size=8",
    "trainer.save_strategy=steps", "trainer.save_steps=4", "evaluate={prompts: 2, samples: 2, k: [1, 2]}",
    "tracking={wandb: {project: trial, tags: [mine]}, trackio: {project: trial}}",
]  # fmt: skip


def main(folder: Path) -> None:
    recipe = load(RECIPES / "quickstart" / "pid-kl.yaml", [*SHORT, f"output_dir={folder}"])
    measured = Evaluation.run

    def alarming(self: Evaluation, state: object) -> None:
        measured(self, state)
        alert("collapse", "entropy .01 nats since step 3", "warning")

    Evaluation.run = alarming  # type: ignore[method-assign]
    assert run_recipe(recipe) == 0
    assert run_recipe(recipe, resume=str(recipe.run_dir / "checkpoint-4")) == 0


if __name__ == "__main__":
    main(Path(sys.argv[1]))
