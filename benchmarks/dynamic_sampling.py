"""Dynamic sampling on the quickstart: what it costs, and what a sample is worth with it.

    python -m benchmarks.dynamic_sampling --jobs 2          resumes; writes results/dynamic_sampling.{json,md}

Every run is recipes/quickstart/plain.yaml on its hard prompts alone, for the same number of steps and seed by seed from the
same pre-trained policy: the curriculum switches by steps, and at equal samples a row with refills would be in another stage.
What the rows add stands in ``ROWS``, with the defaults of the terms. Nothing was tuned.

    without signal   prompts whose completions all got the same reward, mean over the generations: as drawn, and of what trained
    extra            completions beyond those that the batches ask for, as a share of them, and tokens likewise
    reward           mean over the completions as drawn, before anything is replaced; at equal numbers of samples: each row's
                     generations are laid out by the completions sampled until then, the further ones included, and the mean is
                     taken over the last tenth of the samples that the row with the fewest has seen
    hard pass@1      96 held-out prompts x 16 samples: at the last evaluation of the run, when rows with refills have sampled
                     more, and at the last one up to the samples of the row with the fewest
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from functools import partial
from typing import Any

from benchmarks.experiment import RECORDED, ROOT, Job, Line, Result, arguments, complete, experiment

RESULTS = RECORDED / "dynamic_sampling.json"
SEEDS = (0, 1, 2, 3, 4)
ROWS: dict[str, str] = {
    "plain": "[]",
    "dynamic sampling": "[dynamic_sampling: {}]",
    "dynamic sampling, oversampled": "[dynamic_sampling: {oversample: 2.0}]",
    "with recovery": "[dynamic_sampling: {oversample: 2.0}, rsr: {}]",
}
HARD = "data.curriculum=[{source: hard, steps: 200}]"
SHORT = [
    "model.build.steps=200",
    "data.curriculum=[{source: hard, steps: 12}]",
    "evaluate.every=4",
    "evaluate.samples=4",
]
"""To see that every row runs."""
DYNAMIC = "dynamic_sampling"


def measure(row: str, seed: int, short: bool) -> Result:
    overrides = [HARD, f"seed={seed}", f"objective.data={ROWS[row]}", *([*SHORT, "evaluate.k=[1, 4]"] if short else ())]
    with experiment(ROOT / "recipes" / "quickstart" / "plain.yaml", overrides) as run:
        group = run.trainer.num_generations
        batch = run.trainer.args.generation_batch_size
        lines = run.train()
    return told(lines, batch, group)


def told(lines: list[Line], batch: int, group: int) -> Result:
    """Of the lines of a run whose generations ask for ``batch`` completions, ``group`` a prompt."""
    generations = [line for line in lines if "frac_reward_zero_std" in line]
    of = lambda name, otherwise="": [line.get(f"{DYNAMIC}/{name}", line.get(otherwise, 0.0)) for line in generations]
    further = [group * count for count in of("prompts")]
    samples, sampled = [], 0.0
    for more in further:
        sampled += batch + more
        samples.append(sampled)
    begins = [line["step"] for line in generations]
    done = lambda step: max((n for n, at in zip(samples, begins, strict=True) if at <= step), default=0.0)
    probes = [(line["step"], line["evaluate/hard/pass@1"]) for line in lines if "evaluate/hard/pass@1" in line]
    return {
        "without_signal": statistics.mean(line["frac_reward_zero_std"] for line in generations),
        "left": statistics.mean(of("left", "frac_reward_zero_std")),
        "rounds": statistics.mean(of("rounds")),
        "extra": sum(further) / (batch * len(generations)),
        "extra_tokens": sum(of("tokens")) / max(line.get("num_tokens", 0.0) for line in generations),
        "discarded": statistics.mean(of("discarded")),
        "samples": samples,
        "rewards": [line["reward"] for line in generations],
        "probes": [[done(step), value] for step, value in probes],
    }


def at_samples(result: Result, limit: float) -> tuple[float, float]:
    """Reward and hard pass@1 of a run when it had seen ``limit`` completions."""
    pairs = list(zip(result["samples"], result["rewards"], strict=True))
    last = [reward for count, reward in pairs if 0.9 * limit < count <= limit]
    before = [value for count, value in result["probes"] if count <= limit]
    return statistics.mean(last or [pairs[0][1]]), before[-1]


COLUMNS = {
    "without signal, drawn": "without_signal",
    "trained": "left",
    "rounds": "rounds",
    "extra completions": "extra",
    "extra tokens": "extra_tokens",
    "groups dropped": "discarded",
}


def table(results: Mapping[str, Result]) -> str:
    good = {key: result for key, result in results.items() if "failed" not in result}
    seeds = sorted({int(key.rpartition("|")[2]) for key in good})
    lines = ["# Dynamic sampling on the quickstart", "", *(__doc__ or "").strip().splitlines()[4:], ""]
    lines += ["Means over the runs that finished.", ""]
    lines += ["| row | runs | " + " | ".join(COLUMNS) + " |", "|---|---|" + "---|" * len(COLUMNS)]
    for row in ROWS:
        found = [good[key] for seed in seeds if (key := f"{row}|{seed}") in good]
        if found:
            cells = [f"{statistics.mean(result[name] for result in found):.3f}" for name in COLUMNS.values()]
            asked = sum(key.startswith(f"{row}|") for key in results)
            lines.append(f"| {row} | {len(found)} of {asked} | " + " | ".join(cells) + " |")
    for what, index in (("Reward at equal numbers of samples", 0), ("Hard pass@1 at equal numbers of samples", 1)):
        lines += ["", f"{what}, by seed.", "", *_by_seed(good, seeds, index)]
    lines += ["", "Hard pass@1 at the last step, by seed.", "", *_by_seed(good, seeds, None)]
    return "\n".join(lines) + "\n"


def _by_seed(good: Mapping[str, Result], seeds: list[int], index: int | None) -> list[str]:
    lines = ["| row | " + " | ".join(f"seed {seed}" for seed in seeds) + " |", "|---|" + "---|" * len(seeds)]
    for row in ROWS:
        cells = [_cell(good, row, seed, index) for seed in seeds]
        if any(cells):
            lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return lines


def _cell(good: Mapping[str, Result], row: str, seed: int, index: int | None) -> str:
    result: dict[str, Any] | None = good.get(f"{row}|{seed}")
    if result is None:
        return ""
    if index is None:
        return f"{result['probes'][-1][1]:.3f}"
    limit = min(good[key]["samples"][-1] for other in ROWS if (key := f"{other}|{seed}") in good)
    return f"{at_samples(result, limit)[index]:.3f}"


def jobs(short: bool) -> dict[str, Job]:
    return {f"{row}|{seed}": partial(measure, row, seed, short) for seed in SEEDS for row in ROWS}


if __name__ == "__main__":
    parser = arguments(__doc__, RESULTS)
    parser.add_argument("--short", action="store_true", help="12 steps a run, to see that every row runs")
    options = parser.parse_args()
    complete(options, table, lambda _: jobs(options.short))
