"""Worker: groups that lie on two ranks, replaced and recovered; every rank writes what it saw of each generation.

python stream_ranks.py POLICY OUT        (under accelerate for several processes)
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from datasets import Dataset
from support import tiny

from entropostat.rl.objective import normalise_terms
from entropostat.trainers.grpo import EntropyGRPOTrainer
from entropostat.trainers.trl.scoring import score_tokens

LINKS = [{"difficulty": {"recheck": 3}}, {"diversity_weighted": {"by": "answers"}},
         {"dynamic_sampling": {"oversample": 2.0, "max_rounds": 3}}, {"rsr": {}}]  # fmt: skip


class Reward:
    """Another width of completions on each rank, and answer keys as a verifier would give them."""

    __name__ = "sparse"
    answers: list[str] | None = None

    def __call__(self, prompts: list[str], completions: list[str], **_: Any) -> list[float]:
        self.answers = [f"{prompt}{text[:1]}" for prompt, text in zip(prompts, completions, strict=True)]
        return [float(any(c in "01" for c in text)) for text in completions]


def main() -> None:
    policy, out = sys.argv[1:]
    reward = Reward()
    trainer = EntropyGRPOTrainer(
        model=policy,
        reward_funcs=reward,
        args=tiny.config(per_device_train_batch_size=3, max_steps=24, max_completion_length=6),
        train_dataset=Dataset.from_dict({"prompt": [f"{i // 5}+{i % 5}="[: 2 + i % 3] + "=" for i in range(25)]}),
        objective={**tiny.objective(advantages=[{"grpo": {}}]), "data": normalise_terms(LINKS)},
    )
    trainer.answer_keys = lambda: reward.answers
    rank, seen = trainer.accelerator.process_index, []
    score, generate = trainer._score, trainer._generate_and_score_completions
    batches: list[Any] = []
    trainer._score = lambda output, batch: batches.append(batch) or score(output, batch)

    def watch(*args: Any) -> Any:
        output = generate(*args)
        text = lambda part: [
            trainer.processing_class.decode(ids[mask.bool()], skip_special_tokens=True)
            for ids, mask in zip(output[f"{part}_ids"], output[f"{part}_mask"], strict=True)
        ]
        gap = (score_tokens(trainer, output) - output["old_per_token_logps"]).abs() * output["completion_mask"]
        told = {
            k: v[-1] for k, v in trainer._metrics["train"].items() if k.startswith(("dynamic", "rsr", "diff", "div"))
        }
        seen.append({
            "prompts": text("prompt"), "completions": text("completion"), "advantages": output["advantages"].tolist(),
            "scores": trainer._rewards_per_func[:, 0].tolist(), "items": int(output["num_items_in_batch"]),
            "tokens": int(output["completion_mask"].sum()), "gap": gap.amax(1).tolist(), "told": told,
            "answers": list(batches[-1].answers), "memory": trainer.stream.sieves.state(),
            "passes": trainer.stream.reserve.passes, "shown": list(trainer._logs["completion"]),
            "width": output["completion_ids"].size(1), "longest": int(output["completion_mask"].sum(1).max()),
        })  # fmt: skip
        return output

    trainer._generate_and_score_completions = watch
    trainer.train()
    engine = [type(trainer.model_wrapped).__name__, trainer.accelerator.num_processes]
    Path(f"{out}-{rank}.json").write_text(json.dumps({"engine": engine, "seen": seen}))


if __name__ == "__main__":
    main()
