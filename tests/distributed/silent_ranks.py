"""Worker: a verifier that says None on one rank and fails on the other; every rank writes how its run ended.

python silent_ranks.py POLICY OUT        (under accelerate for several processes)
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from datasets import Dataset
from support import tiny

from entropostat.faults import RunFault
from entropostat.reward.scoring import Scorer
from entropostat.reward.verifier import Verifier
from entropostat.trainers.grpo import EntropyGRPOTrainer


class Silent(Verifier):
    rank = 0

    def score(self, completion: str, example: object) -> float | None:
        if Silent.rank:
            raise ValueError("on purpose")
        return None


def main() -> None:
    policy, out = sys.argv[1:]
    columns = {"answer": ["1"] * 16, "meta": ["{}"] * 16, "source": ["a"] * 16, "id": [str(i) for i in range(16)]}
    trainer = EntropyGRPOTrainer(
        model=policy,
        reward_funcs=Scorer({"mine": Silent()}).functions,
        args=tiny.config(per_device_train_batch_size=4, max_completion_length=4),
        train_dataset=Dataset.from_dict({"prompt": [f"{i % 10}+1=" for i in range(16)], **columns}),
        objective=tiny.objective(advantages=[{"dr_grpo": {}}]),
    )
    rank = Silent.rank = trainer.accelerator.process_index
    try:
        trainer.train()
        said = "no fault"
    except RunFault as fault:
        said = str(fault)
    Path(f"{out}-{rank}.txt").write_text(said)


if __name__ == "__main__":
    main()
