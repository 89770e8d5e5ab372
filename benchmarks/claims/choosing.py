"""docs/choosing.md: three questions, and what the runs answer. Words stand here; numbers come from the results."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from benchmarks import pretrained
from benchmarks.claims import findings, recommend
from benchmarks.claims.cell import PLAIN
from benchmarks.claims.intervals import Interval, interval
from benchmarks.claims.measures import COLUMNS, mean, of, paired
from benchmarks.claims.store import Store
from benchmarks.claims.tasks import TASKS, K
from benchmarks.experiment import ROOT, Result

PAGE = ROOT / "docs" / "choosing.md"
PICTURE = ROOT / "docs" / "images" / "choosing.png"

TEXT = """\
# Which method should I use?

Written by `python -m benchmarks.claims pages`: the words are ours, the numbers come from [the evidence bench](evidence.md). Its policies have 0.1 M
parameters, and its six tasks take seconds: take an answer here as the first thing to try, and your own runs as the judge.

![pass@1 and pass@{k} of plain GRPO and of the default on six tasks](images/choosing.png)

Each pair starts from the same policies, five seeds; bars are 95 % intervals. The default is plain GRPO with a pull to a reference that follows the policy
(`kl_ref: {{coef: 0.3, reference: ema, decay: 0.95}}`), dynamic sampling and half the learning rate: `extends: entropostat:base/recommended.yaml`. It was
[chosen by a rule](evidence.md#a-default) on {chosen_on} and tried on the others.

## What to watch first

- **Held-out pass@1 and pass@k**, not the training reward. On `fooled` plain GRPO pleased the reward model more and
  more (reward {pleased_first} at first, {pleased_last} at the end), while what was truly right fell from {fooled_start} to {fooled_plain}.
- **Entropy as a share of what it was at the start** (`entropy_ratio` of the evaluation). Plain GRPO keeps {hard_kept} of it on `hard` and {puzzle_kept} on `puzzle`:
  low entropy alone is no illness where one answer is right, and the loss of pass@k is one where many are.
- **The share of prompts that teach nothing** (`frac_reward_zero_std`). Near 1 from the first step, no method below has anything to work with.

`entropostat diagnose RUN` reads all three.

## Three questions

**1. May a first stage teach something else?** Easy prompts before hard ones, or any change of what is rewarded. Then hold on to the first policy itself:
`kl_ref: {{coef: 0.3}}`, half the learning rate, no `data`. A reference that follows is led astray with the policy. First what holds on, then the default,
each beside plain GRPO on five seeds of its own:

{stays}

{follows}

Where the reward model can be fooled, or a verdict in ten is wrong, both hold.

**2. Is a right answer rare at first?** About one in a hundred. Then not to the first policy, which hardly succeeds: the pull holds it there. A weak pull to a
reference that follows (`kl_ref: {{coef: 0.1, reference: ema, decay: 0.95}}`) or none (`extends: entropostat:base/grpo.yaml`). On five seeds, and
the question of what follows again at the full learning rate on eight others:

{rare}

{followed}

**3. One right answer, or many?** Where many are right and you want different ones (pass@k), a pull keeps them; one to the first policy costs pass@1 for it.
Where one is right there is nothing to trade. The default, either way:

{many}

## A pretrained model

SmolLM2-135M on sums and products, 160 steps, {real_seeds} ([all rows](../benchmarks/results/pretrained.md)): plain GRPO ends at pass@1 {real_plain} and pass@8
{real_plain_k}, with {real_plain_distinct} different completions of 8 and an entropy of {real_plain_entropy} nats; the default at {real}, {real_k},
{real_distinct} and {real_entropy}, for more completions: those that teach nothing are drawn again.

## What else stood

Seen in some runs, and there again on eight seeds of which nothing had been run; [those that did not stand](evidence.md#findings) are told too.

{findings}

A term may still be right for a run of yours: [every method and its numbers](../benchmarks/results/claims/table.md), each paper's claim
[with its verdict](evidence.md#claims).
"""


CHANGED = ("switch", "fooled", "noisy")
WEAK = "moving anchor .1, half the rate"
Runs = Callable[[str, str], dict[int, Result]]
"""(task, row) -> seed -> run."""


def page(store: Store) -> str:
    default, first = recommend.default(store), recommend.ROUNDS[0]
    found = lambda task, row: store.of("finding", task, row)
    if default is None or default[0] is first or not found("rare", "moving anchor"):
        return "# Which method should I use?\n\nNot run yet: `python -m benchmarks.claims night`.\n"
    one, best = default
    runs = partial(one.runs, store)
    at = lambda task, row, key: f"{mean(_values(runs, task, row, key)):.2f}"
    rewards = [[point[1] for point in run["points"]] for run in runs("fooled", PLAIN).values()]
    pleased = [told[0] for told in rewards], [told[-1] for told in rewards]
    return TEXT.format(
        k=K,
        chosen_on=listed(one.tasks["choose"]),
        pleased_first=f"{mean(pleased[0]):.2f}",
        pleased_last=f"{mean(pleased[1]):.2f}",
        fooled_start=at("fooled", PLAIN, "start"),
        fooled_plain=at("fooled", PLAIN, "final"),
        hard_kept=at("hard", PLAIN, "kept"),
        puzzle_kept=at("puzzle", PLAIN, "kept"),
        stays=_beside(partial(first.runs, store), [(task, str(recommend.chosen(store, first))) for task in CHANGED]),
        follows=_beside(runs, [(task, best) for task in CHANGED]),
        rare=_beside(runs, [("rare", row) for row in (best, WEAK, str(recommend.chosen(store, first)))]),
        followed=_beside(found, [("rare", "anchor"), ("rare", "moving anchor")]),
        many=_beside(runs, [("puzzle", best), ("hard", best)]),
        **_real(json.loads(pretrained.RESULTS.read_text())),
        findings="\n".join(stood(store)),
    )


def _real(results: Mapping[str, Result]) -> dict[str, str]:
    """What the pretrained model did, the mean over the seeds that both rows have."""
    rows = {"real_plain": PLAIN, "real": "the default"}
    ended = {name: pretrained.of(results, "SmolLM2-135M", row) for name, row in rows.items()}
    both = sorted(set.intersection(*map(set, ended.values())))
    told = {"real_seeds": f"{len(both)} seed{'s' * (len(both) > 1)}"}
    for name, found in ended.items():
        runs = [found[seed] for seed in both]
        last = [list(one["looks"].values())[-1] for one in runs]
        told |= {
            name: f"{mean([look['pass@1'] for look in last]):.2f}",
            f"{name}_k": f"{mean([look['pass@8'] for look in last]):.2f}",
            f"{name}_distinct": f"{mean([look['distinct'] for look in last]):.1f}",
            f"{name}_entropy": f"{mean([one['entropy'] for one in runs]):.2f}",
        }
    return told


def listed(tasks: Sequence[str]) -> str:
    *first, last = [f"`{task}`" for task in tasks]
    return f"{', '.join(first)} and {last}"


def _values(runs: Runs, task: str, row: str, key: str) -> list[float]:
    return list(of(runs(task, row), TASKS[task], key).values())


def _beside(runs: Runs, rows: list[tuple[str, str]]) -> str:
    """A table of rows and plain GRPO."""
    lines = [
        f"| task | recipe | pass@1 | pass@{K} | different right of 8 | pass@1, less plain GRPO's |",
        "|---|---|---|---|---|---|",
    ]
    for task in dict.fromkeys(task for task, _ in rows):
        for row in (PLAIN, *(row for one, row in rows if one == task)):
            cells = [f"{mean(_values(runs, task, row, key)):.3f}" for key in ("final", f"pass@{K}", "distinct")]
            change = "" if row == PLAIN else str(_change(runs, task, row))
            lines.append(f"| `{task}`: {TASKS[task].title} | {row} | " + " | ".join(cells) + f" | {change} |")
    return "\n".join(lines)


def _change(runs: Runs, task: str, row: str) -> Interval:
    ours, theirs = (of(runs(task, one), TASKS[task], "final") for one in (row, PLAIN))
    return interval(paired(ours, theirs))


def stood(store: Store) -> list[str]:
    """Those that stood on seeds of their own."""
    found_again = [
        (one, found)
        for one in findings.findings()
        if findings.judged(one, found := findings.effect(one, store)) == findings.STANDS
    ]
    return [
        f"- {one.says} {COLUMNS[one.metric]} on `{one.task}`, {one.more} less {one.less}: {found}."
        for one, found in found_again
    ] or ["Not tried yet."]


def draw(store: Store, path: Path = PICTURE) -> bool:
    """False where there is nothing to draw yet."""
    default = recommend.default(store)
    if default is None or not all(default[0].runs(store, task, default[1]) for task in TASKS):
        return False
    one, best = default
    tasks = (*one.tasks["choose"], *one.tasks["confirm"])
    ways = len(one.tasks["choose"])
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.1), sharey=True)
    for axis, (key, title) in zip(axes, (("final", "pass@1"), (f"pass@{K}", f"pass@{K}")), strict=True):
        for shift, row, colour, name in ((-0.12, PLAIN, "#8b8f96", PLAIN), (0.12, best, "#2f6fde", "the default")):
            found = [interval(_values(partial(one.runs, store), task, row, key)) for task in tasks]
            at = [place + shift for place in range(len(tasks))]
            middles = [one.mean for one in found]
            halves = [min(one.high - one.mean, 1.0) for one in found]
            axis.errorbar(at, middles, yerr=halves, fmt="o", ms=5, lw=1.4, color=colour, label=name)
        axis.set_xticks(range(len(tasks)), tasks)
        axis.axvline(ways - 0.5, color="k", lw=0.5, ls=":")
        axis.set(title=title, ylim=(0, 1.05))
        axis.spines[["top", "right"]].set_visible(False)
        for place, what in ((ways / 2 - 0.5, "chosen on"), ((ways + len(tasks) - 1) / 2, "tried on")):
            axis.text(place, 0.02, what, ha="center", fontsize=8, color="#8b8f96")
    figure.legend(*axes[0].get_legend_handles_labels(), frameon=False, loc="upper center", ncols=2)
    figure.tight_layout(rect=(0, 0, 1, 0.97))
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return True
