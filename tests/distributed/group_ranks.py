"""Worker: what every rank makes of the prompt groups of one generation, and of a run whose generations are shuffled.

python group_ranks.py POLICY OUT        (under accelerate for several processes)
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from accelerate import Accelerator
from support import tiny
from unit.rl_support import ALL, batch_of, objective, rows_of

from entropostat.rl.batch import TokenBatch
from entropostat.rl.objective import Objective
from entropostat.rl.window import Window
from entropostat.trainers.grpo import EntropyGRPOTrainer
from entropostat.trainers.trl.reducer import make_reducer
from entropostat.trainers.watch.columns import Columns, columns
from entropostat.trainers.watch.diversity import pool_texts

READERS = [s for s in ALL if s[0] == "advantages" or s[1] == "copo"]
"""Settings of what reads prompt groups, or may."""
NAN = torch.nan
ROWS, CUT = 12, 5
"""Completions, and those of the first of two ranks."""
GROUPS = {
    "in order": [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2],
    "scattered": [4, 7, 4, 9, 7, 4, 9, 9, 7, 4, 4, 7],
    "some alone": [0, 1, 1, 1, 2, 1, 3, 1, 4, 4, 4, 5],
}
UNSCORED = {
    "all scored": [],
    "some not": [1, 4, 5, 11],
    "a whole prompt not": [0, 2, 5, 9, 10],
    "none": list(range(ROWS)),
}
SAID = ["a b", "b c"]
SPEC = tiny.objective(loss={"copo": {"drop": "zero"}}, advantages=["grpo", "seed", {"dco": {"n": 4}}])


def cases() -> dict[str, TokenBatch]:
    found = {}
    for seed, (order, ids) in enumerate(GROUPS.items()):
        for scored, lost in UNSCORED.items():
            batch = batch_of(seed, rows=ROWS, groups=torch.tensor(ids))
            parts = batch.reward_parts.round().index_fill(0, torch.tensor(lost, dtype=torch.long), NAN)
            found[f"{order}, {scored}"] = batch.set(
                rewards=(batch.rewards > 0).double().index_fill(0, torch.tensor(lost, dtype=torch.long), NAN),
                reward_parts=parts,
                answers=tuple(None if i % 5 == 0 else "xyz"[i % 3] for i in range(ROWS)),
            )
    return found


def statistics(accelerator: Accelerator) -> dict[str, Any]:
    """Of every setting and every case: this rank's advantages or loss statistics, and the metrics."""
    share = slice(0, ROWS)
    if accelerator.num_processes == 2:
        share = slice(CUT, ROWS) if accelerator.process_index else slice(0, CUT)
    reducer, found = make_reducer(accelerator), {}
    for case, whole in cases().items():
        batch = rows_of(whole, share).set(reducer=reducer)
        for i, setting in enumerate(READERS):
            rollout = objective(setting).rollout(batch)
            metrics = {key: value for key, value in rollout.metrics.items() if type(value) is torch.Tensor}
            found[f"{case}: {i}"] = (rollout.advantages, rollout.stats, metrics)
    return found


def texts(accelerator: Accelerator) -> dict[str, dict[str, list[float]]]:
    """What the monitors pool of the completions of every order of groups, over all ranks; those of the second are wider."""
    found, me = {}, accelerator.process_index
    share = slice(0, ROWS)
    if accelerator.num_processes == 2:
        share = slice(CUT, ROWS) if me else slice(0, CUT)
    reducer = make_reducer(accelerator)
    for order, ids in GROUPS.items():
        g = torch.Generator().manual_seed(len(order))
        words = torch.nn.functional.pad(torch.randint(0, 4, (ROWS, 9), generator=g), (0, 3 * me))[share]
        mask = torch.nn.functional.pad((torch.rand(ROWS, 9, generator=g) < 0.8).float(), (0, 3 * me))[share]
        groups = torch.tensor(ids)
        batch = TokenBatch(mask * 0, mask, mask * 0, groups=groups[share], rewards=mask[:, 0], reducer=reducer)
        own = columns(words, batch, mask[:, 0], mask[:, 0])
        window, every = Window(), Columns(*reducer.gather(own).unbind(1))
        pool_texts(words, batch, every, window, reducer)
        found[order] = window.close(reducer).pooled
    return found


def phrases(accelerator: Accelerator, policy: str) -> dict[str, int]:
    """How many right completions of all ranks hold each phrase; of two ranks each has one of the two completions."""
    hicra = {"hicra": {"seed": [], "shortest": 1, "longest": 1, "least": 1, "share": 1.0}}
    trainer = tiny.ours(policy, tiny.objective(advantages=["grpo", hicra]))
    trainer.model.train()
    own = SAID if accelerator.num_processes == 1 else [SAID[accelerator.process_index]]
    ids = torch.tensor([tiny.tokenizer()(text)["input_ids"] for text in own])
    trainer.planning.mask({"completion_ids": ids, "completion_mask": torch.ones_like(ids)}, torch.ones(len(own)))
    return dict(trainer.planning.mined.counts)


def run(policy: str) -> dict[str, Any]:
    """A short run: what the rollout phase saw of each generation, and what each micro-batch of the loss did."""
    said: list[str | None] = []

    def reward(completions: list[str], **_: Any) -> list[float | None]:
        """The share of digits, and no opinion on some texts."""
        said[:] = [text[:1] or None for text in completions]
        scores = zip(completions, tiny.digits(completions), strict=True)
        return [None if text[-1:] in "02468" else score for text, score in scores]

    config = tiny.config(per_device_train_batch_size=3, num_iterations=2, max_steps=8, max_completion_length=6)
    trainer = EntropyGRPOTrainer(
        model=policy, reward_funcs=reward, args=config, train_dataset=tiny.prompts(), objective=SPEC
    )
    trainer.answer_keys = lambda: said
    rollout, additive = Objective.rollout, trainer._additive_terms
    seen: list[dict[str, Any]] = []
    trained: list[dict[str, torch.Tensor]] = []

    def watch(self: Any, batch: TokenBatch) -> Any:
        seen.append({name: getattr(batch, name) for name in ("uids", "groups", "rewards", "answers")})
        return rollout(self, batch)

    def note(inputs: Any, passed: Any) -> Any:
        total = additive(inputs, passed)
        batch = passed.batch  # as the loss has read it
        trained.append({"uids": batch.uids, "advantages": batch.advantages, **batch.stats})
        return total

    trainer._additive_terms, Objective.rollout = note, watch  # type: ignore[method-assign]
    trainer.train()
    Objective.rollout = rollout  # type: ignore[method-assign]
    return {"generations": seen, "trained": trained, "updates": config.steps_per_generation}


def main() -> None:
    policy, out = sys.argv[1:]
    accelerator = Accelerator(cpu=True)
    found = {"statistics": statistics(accelerator), "texts": texts(accelerator)}
    found["phrases"] = phrases(accelerator, policy)
    if accelerator.num_processes > 1:
        found["run"] = run(policy)
    torch.save(found, f"{out}-{accelerator.process_index}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
