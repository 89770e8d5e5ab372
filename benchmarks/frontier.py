"""Reward against KL on the RLHF quickstart: what the first policy allows, and what trained policies make of it.

    python -m benchmarks.frontier --jobs 2          resumes; writes results/frontier.{json,md,png}

Every run is recipes/base/rlhf.yaml; the reward is the reward model's, on held-out prompts. All rows of a seed have the same first
policy, reward model and prompts. Nothing was tuned.

    tilted       the optimum, p exp(beta r) / Z, from samples of the first policy, one beta for all prompts of a seed; where
                 fewer than 20 of them count, nothing is told
    best-of-N    unbiased, from the same samples, at its bound of KL, log N - (N - 1) / N
    KL           to the first policy, nats per completion: the sum over the tokens of the exact KL of their distributions
    efficiency   share of the gain in reward that the optimum makes at the same KL
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.experiment import RECORDED, ROOT, Job, Result, arguments, complete, experiment

RESULTS = RECORDED / "frontier.json"
SEEDS = (0, 1, 2)
GRPO, PPO = "rlhf-grpo.yaml", "rlhf-ppo.yaml"
ROWS: dict[str, list[str]] = {
    "GRPO": [GRPO],
    "GRPO, KL .1": [GRPO, "objective.penalties=[{kl_ref: {coef: 0.1}}]"],
    "GRPO, KL .3": [GRPO, "objective.penalties=[{kl_ref: {coef: 0.3}}]"],
    "GRPO, KL 1": [GRPO, "objective.penalties=[{kl_ref: {coef: 1.0}}]"],
    "PPO": [PPO],
}
BASE = "first policy"
PROMPTS, SAMPLES, SAMPLED = 16, 256, 16
"""Held-out prompts; completions of each by the first policy, and by a trained one."""
BETAS = (0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)
SIZES = (1, 2, 4, 8, 16, 32, 64)
POINTS = 6
"""A trained policy is looked at so many times."""
SHORT = ["data.curriculum=[{source: hard, steps: 6}]", "evaluate.samples=2", "evaluate.k=[1]", "evaluate.prompts=4"]
"""To see that every row runs."""


class Look:
    """Completions of a policy on held-out prompts: their learned rewards, and their KL to the first policy."""

    def __init__(self, run: Any) -> None:
        from entropostat.trainers.build.policy import find_model, load_policy
        from entropostat.trainers.evaluation.draws import choose
        from entropostat.trainers.prompts import load_data

        self.trainer, self.scorer = run.trainer, run.scorer
        (examples,) = load_data(run.recipe).tests.values()
        self.examples = choose(examples, PROMPTS, f"{run.recipe.evaluate.seed}-frontier")
        # From its files: a copy of the trainer's would still run the forward of the model that it was copied from.
        self.first = load_policy(run.recipe, find_model(run.recipe)).eval()

    def __call__(self, samples: int) -> tuple[list[list[float]], float]:
        """(prompts, samples) rewards, and the mean KL, nats per completion."""
        import torch

        from entropostat.trainers.evaluation.generation import completion_mask, end_tokens, generate, prompt_ids
        from entropostat.trainers.evaluation.rendering import rendered

        model, tokenizer = self.trainer.model, self.trainer.processing_class
        was, stop = model.training, tuple(self.trainer.eos_token_ids)
        model.eval()
        try:
            with torch.no_grad(), torch.random.fork_rng():
                torch.manual_seed(samples)
                prompt, attention = prompt_ids(rendered(self.trainer, self.examples), tokenizer, model.device)
                prompt, attention = (x.repeat_interleave(samples, 0) for x in (prompt, attention))
                length, width = self.trainer.max_completion_length, prompt.size(1)
                ids = generate(model, tokenizer, prompt, attention, length, stop, do_sample=True)
                mask = completion_mask(ids[:, width:], end_tokens(model, tokenizer, stop))
                whole = torch.cat([attention, mask], 1)
                now, before = (
                    m(input_ids=ids, attention_mask=whole).logits[:, width - 1 : -1].log_softmax(-1)
                    for m in (model, self.first)
                )
                kl = ((now.exp() * (now - before)).sum(-1) * mask).sum(1).mean()
        finally:
            model.train(was)
        asked = [example for example in self.examples for _ in range(samples)]
        (scores,) = self.scorer.learned(
            tokenizer.batch_decode(ids[:, width:], skip_special_tokens=True), asked
        ).values()
        rewards = [math.nan if score is None else float(score) for score in scores]
        return [rewards[i : i + samples] for i in range(0, len(rewards), samples)], float(kl)


def measure(row: str, seed: int, short: bool) -> Result:
    from transformers import TrainerCallback

    recipe, *overrides = ROWS[GRPO_ROW if row == BASE else row]
    with experiment(
        ROOT / "recipes" / "quickstart" / recipe, [*overrides, f"seed={seed}", *(SHORT if short else ())]
    ) as run:
        look = Look(run)
        if row == BASE:
            return {"rewards": [[round(x, 5) for x in one] for one in look(SAMPLES)[0]]}
        every, points = max(run.trainer.args.max_steps // POINTS, 1), []

        class Now(TrainerCallback):
            def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
                if state.global_step % every == 0:
                    rewards, kl = look(SAMPLED)
                    points.append([state.global_step, kl, statistics.fmean(x for one in rewards for x in one)])

        run.trainer.add_callback(Now())
        run.train()
    return {"points": points}


GRPO_ROW = "GRPO"
"""Whose first policy is taken: all rows of a seed have the same."""


def curves(rewards: list[list[float]]) -> dict[str, list[tuple[float, float]]]:
    """(KL, reward) of the optimum and of best-of-N, means over the prompts."""
    import torch

    from entropostat.rl.diagnostics import frontier

    table = torch.tensor(rewards, dtype=torch.float64)
    tilted = [(0.0, float(table.mean()))]
    for beta in BETAS:
        found = frontier.estimated_tilted(table, beta / float(table.std()))
        if bool(found.usable.double().mean() >= frontier.MOST):
            tilted.append((float(found.kl.mean()), float(found.reward.mean())))
    best = [(frontier.best_of_n_bound(n), float(frontier.estimated_best_of_n(table, n).mean())) for n in SIZES]
    return {"tilted": tilted, "best-of-N": best}


def efficiency(rewards: list[list[float]], kl: float, reward: float) -> float:
    import torch

    from entropostat.rl.diagnostics import frontier

    return frontier.efficiency(torch.tensor(rewards, dtype=torch.float64), reward, kl)


def table(results: Mapping[str, Result]) -> str:
    good = {key: result for key, result in results.items() if "failed" not in result}
    seeds = sorted({int(key.rpartition("|")[2]) for key in good if key.startswith(BASE)})
    lines = [
        "# Reward against KL",
        "",
        *(__doc__ or "").strip().splitlines()[4:],
        "",
        "![the frontier](frontier.png)",
        "",
    ]
    lines += ["| seed | row | step | KL | reward | efficiency |", "|---|---|---|---|---|---|"]
    for seed in seeds:
        rewards = good[f"{BASE}|{seed}"]["rewards"]
        for name, points in curves(rewards).items():
            for kl, reward in points:
                lines.append(f"| {seed} | {name} | | {kl:.3f} | {reward:.3f} | |")
        for row in ROWS:
            for step, kl, reward in good.get(f"{row}|{seed}", {}).get("points", ()):
                share = efficiency(rewards, kl, reward)
                told = "beyond what the samples tell" if math.isnan(share) else f"{share:.2f}"
                lines.append(f"| {seed} | {row} | {step} | {kl:.3f} | {reward:.3f} | {told} |")
    return "\n".join(lines) + "\n"


def picture(results: Mapping[str, Result], path: Path) -> None:
    good = {key: result for key, result in results.items() if "failed" not in result}
    seeds = sorted({int(key.rpartition("|")[2]) for key in good if key.startswith(BASE)})
    if not seeds:
        return
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(seeds), figsize=(4.2 * len(seeds), 3.6), sharey=True, squeeze=False)
    for axis, seed in zip(axes[0], seeds, strict=True):
        for (name, points), style in zip(curves(good[f"{BASE}|{seed}"]["rewards"]).items(), ("k-", "k:"), strict=True):
            axis.plot(*zip(*points, strict=True), style, label=name)
        for row in ROWS:
            points = [(kl, reward) for _, kl, reward in good.get(f"{row}|{seed}", {}).get("points", ())]
            if points:
                axis.plot(*zip(*points, strict=True), "o-", ms=3, lw=0.8, label=row)
        axis.set_xscale("symlog", linthresh=0.1)
        axis.set(title=f"seed {seed}", xlabel="KL to the first policy, nats per completion")
    axes[0][0].set_ylabel("learned reward")
    axes[0][0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def jobs(short: bool) -> dict[str, Job]:
    seeds = SEEDS[:1] if short else SEEDS
    return {f"{row}|{seed}": partial(measure, row, seed, short) for seed in seeds for row in (BASE, *ROWS)}


if __name__ == "__main__":
    parser = arguments(__doc__, RESULTS)
    parser.add_argument("--short", action="store_true", help="6 steps a run and one seed, to see that every row runs")
    options = parser.parse_args()
    found = complete(options, table, lambda _: jobs(options.short))
    picture(found.known, options.results.with_suffix(".png"))
