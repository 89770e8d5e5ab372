"""TRL's config for PPO: a critic needs no other completions of the prompt, so one per prompt is allowed, and the default."""

from __future__ import annotations

from dataclasses import dataclass, field

from trl import GRPOConfig

from entropostat.trainers.trl.config import Kind


@dataclass
class PPOConfig(GRPOConfig):
    """GRPOConfig whose ``num_generations`` may be 1.

    TRL 1.16 refuses 1 in ``__post_init__`` and nowhere else. There the number only serves for checks, so a stand-in that
    divides every generation batch passes them. It is at least 2 unless a generation is one sequence per process.
    """

    num_generations: int | None = field(
        default=1, metadata={"help": "Completions per prompt; a critic needs no others to compare with."}
    )

    def __post_init__(self) -> None:
        group = self.num_generations
        if group == 1:
            slices = self.steps_per_generation or self.gradient_accumulation_steps
            self.num_generations = self.generation_batch_size or self.per_device_train_batch_size * slices
            self.num_generations_eval = self.num_generations_eval or 1
        super().__post_init__()
        self.num_generations = group


PPO = Kind("PPO", PPOConfig, smallest_group=1)
