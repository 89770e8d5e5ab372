"""docs/choosing.md: three questions, and what the runs answer. Words stand here; numbers come from the results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

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

Each pair starts from the same policies, five seeds; bars are 95 % intervals. The default is plain GRPO with a pull to the first policy
(`kl_ref: {{coef: 0.3}}`) and half the learning rate, [chosen by a rule](evidence.md#a-default) on {chosen_on} and tried on the others.

## What to watch first

- **Held-out pass@1 and pass@k**, not the training reward. On `fooled` plain GRPO pleased the reward model more and
  more (reward {pleased_first} at first, {pleased_last} at the end), while what was truly right fell from {fooled_start} to {fooled_plain}.
- **Entropy as a share of what it was at the start** (`entropy_ratio` of the evaluation). Plain GRPO keeps {hard_kept} of it on `hard` and {puzzle_kept} on `puzzle`:
  low entropy alone is no illness where one answer is right, and the loss of pass@k is one where many are.
- **The share of prompts that teach nothing** (`frac_reward_zero_std`). Near 1 from the first step, no method below has anything to work with.

`entropostat diagnose RUN` reads all three.

## Three questions

**1. May the reward be wrong, or change?** A reward model, a verifier that errs, a first stage that teaches something else.
Then hold on to the first policy: `extends: entropostat:base/recommended.yaml`.

{wrong}

**2. Is a right answer rare at first?** About one in a hundred. Then not to the first policy, which hardly succeeds: the pull holds it there. Pull to a reference
that follows, `kl_ref: {{coef: 0.3, reference: ema, decay: 0.95}}`, or not at all (`extends: entropostat:base/grpo.yaml`). Five seeds, then
the same question at the full learning rate on eight others:

{rare}

{followed}

**3. One right answer, or many?** Where many are right and you want different ones (pass@k), a pull keeps them and costs pass@1; one to a reference that
follows costs less. Where one is right there is nothing to trade: take the default.

{many}

## What else stood

Seen in some runs, and there again on eight seeds of which nothing had been run; [those that did not stand](evidence.md#findings) are told too.

{findings}

A term may still be right for a run of yours: [every method and its numbers](../benchmarks/results/claims/table.md), each paper's claim
[with its verdict](evidence.md#claims).
"""


Runs = Callable[[str, str], dict[int, Result]]
"""(task, row) -> seed -> run."""


def page(store: Store) -> str:
    default = recommend.default(store)
    found = lambda task, row: store.of("finding", task, row)
    if default is None or not all(
        [*(default[0].runs(store, task, default[1]) for task in TASKS), found("rare", "moving anchor")]
    ):
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
        wrong=_beside(runs, [(task, best) for task in ("fooled", "noisy", "switch")]),
        rare=_beside(runs, [("rare", best)]),
        followed=_beside(found, [("rare", "anchor"), ("rare", "moving anchor")]),
        many=_beside(runs, [("puzzle", best), ("hard", best)]),
        findings="\n".join(stood(store)),
    )


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
