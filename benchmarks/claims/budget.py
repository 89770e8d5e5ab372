"""Equal samples: a run ends when it has drawn as many completions as plain GRPO draws in all."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback


class Budget(TrainerCallback):  # type: ignore[misc]
    """Counts the completions that a trainer draws, those of its methods' further rounds included.

    The generation that crosses the line is still trained on: a run may be over by that.
    """

    def __init__(self, trainer: Any, steps: int) -> None:
        config = trainer.args
        self.every = int(config.steps_per_generation)
        self.limit = int(config.generation_batch_size) * -(-steps // self.every)
        self.drawn = 0
        draw = trainer._generate_single_turn

        def counted(prompts: Any, *args: Any, **kwargs: Any) -> Any:
            self.drawn += len(prompts) if trainer.model.training else 0
            return draw(prompts, *args, **kwargs)

        trainer._generate_single_turn = counted

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.drawn >= self.limit and state.global_step % self.every == 0:
            control.should_training_stop = True
