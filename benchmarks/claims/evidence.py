"""docs/evidence.md, and the line of evidence on each method's page, from the runs."""

from __future__ import annotations

import json
from collections.abc import Iterator

from benchmarks.claims import findings, law, recommend, screening
from benchmarks.claims.cell import PLAIN
from benchmarks.claims.intervals import Interval
from benchmarks.claims.methods import TRIED
from benchmarks.claims.picture import differences
from benchmarks.claims.plans import rows
from benchmarks.claims.store import Store
from benchmarks.claims.tasks import SEEDS, TASKS, TUNING
from benchmarks.claims.verdicts import FEWEST, VERDICTS, Claim, Judged, claims, counted, judged
from benchmarks.experiment import ROOT

PAGE = ROOT / "docs" / "evidence.md"
LINES = ROOT / "entropostat" / "evidence.json"
"""Method -> the line on its page: a file of the package, which has no benchmarks."""

PICTURE = "differences.png"
"""Beside the results."""

HEAD = """\
# Does a method do what its paper claims?

Written by `python -m benchmarks.claims pages` from the runs in `benchmarks/results/claims`. One bench for all methods: six small tasks, the same
first policies, the same number of completions, fresh seeds. Policies have 0.1 M parameters and answer in at
most 21 characters: a claim that does not hold here may hold on a large model, and the other way round. What a verdict says is that a reader of the
paper would, or would not, see its effect here.
"""

RULE = """\
## How a verdict comes about

A claim is a line of `benchmarks/claims/claims.yaml`: a metric, a direction, the least effect that counts, tasks, and what it is compared with. The
effect is the mean difference on the same seeds, with Student's 95 % interval; what it takes for each verdict stands in `benchmarks/claims/verdicts.py`.
In short: the interval lies on the claim's side and its middle reaches the least effect on all tasks (holds), or does so in part (holds in part); the
interval lies below the least effect on all tasks (does not hold here); or neither (undecided). With fewer than five seeds nothing is said. Of claims
without any effect one in forty would have its interval on the claimed side of 0.
"""

MORE = """\
## A method more, or a verdict to dispute

`python -m benchmarks.claims add my-recipe.yaml` puts a recipe that extends `recipes/quickstart/plain.yaml` into the table under its name, and runs
it on every task and seed beside plain GRPO; `--claim "..." --metric kept --at-least 0.1` adds a claim to be judged by the rule above. A verdict is
disputed by one recipe: the setting that its authors would have chosen, added in the same way. Both rows stay.

`python -m benchmarks.claims again 'report|hard|plain GRPO|0|302'` trains one cell again from its stored recipe and says whether every number is the
same, bit for bit; on another kind of CPU or with other versions they need not be, and it says which differ.
`python -m benchmarks.claims night --jobs 2` runs what is missing, and goes on where it was stopped.
"""


def write(store: Store) -> None:
    PAGE.write_text(page(store))
    LINES.write_text(json.dumps(lines(store), indent=1, sort_keys=True) + "\n")


def page(store: Store) -> str:
    parts = [HEAD, *_done(store), "", RULE, "## Claims", "", *_claims(store), ""]
    if any(differences(store, task) for task in TASKS.values()):
        parts += [f"![differences of success](../benchmarks/results/claims/{PICTURE})", ""]
    parts += ["## Findings", "", _intro(findings.__doc__), "", *findings.section(store), ""]
    parts += ["## Parts together", "", _intro(screening.__doc__), "", *screening.section(store), ""]
    parts += ["## A default", "", _intro(recommend.__doc__), "", *recommend.section(store), ""]
    parts += ["## Reward from entropy", "", _intro(law.__doc__), "", *law.section(store), "", MORE]
    return "\n".join(parts).rstrip() + "\n"


def _intro(doc: str | None) -> str:
    return (doc or "").partition("\n\n")[2].strip()


def _done(store: Store) -> Iterator[str]:
    yield "## What was run"
    yield ""
    yield "[What plain GRPO does, and how many seeds a difference needs](../benchmarks/results/claims/plain.md);"
    yield "[every method on every task](../benchmarks/results/claims/table.md)."
    yield ""
    yield "| | cells run | of | failed or refused |"
    yield "|---|---|---|---|"
    plans = {
        "plain GRPO again": ("twin", len(TASKS) * len(SEEDS)),
        "tuning": ("tune", rows(lambda task: 0 if task.tuned_as else TRIED * len(TUNING))),
    }
    plans |= {
        "reported": ("report", rows(lambda task: task.seeds)),
        "parts together": ("screen", len(screening.plan(store))),
        "a default, chosen": ("choose", len(recommend.choosing(store))),
        "a default, confirmed": ("confirm", len(recommend.confirming(store))),
        "findings": ("finding", len(findings.plan(store))),
    }
    for name, (stage, planned) in plans.items():
        found = [one for key, one in store.cells.items() if key.startswith(f"{stage}|")]
        bad = sum(one["status"] != "done" for one in found)
        yield f"| {name} | {len(found)} | {planned} | {bad} |"
    if not any(name.startswith("tune|") for name in store.cells):
        yield ""
        yield f"Tuning (seeds {', '.join(map(str, TUNING))}) has not been run yet: every row is its recipe's own setting, untuned."


def _claims(store: Store) -> Iterator[str]:
    told = counted(store)
    yield ", ".join(f"{name}: {told[name]}" for name in VERDICTS) + "."
    yield ""
    yield "| method | claim | source | measured by | effect, by task | verdict |"
    yield "|---|---|---|---|---|---|"
    for claim in claims():
        one = judged(claim, store)
        metric = claim.untestable or _measured(claim)
        effects = "; ".join(f"`{task}` {told_effect(effect)}" for task, effect in one.effects.items() if effect.count)
        yield f"| `{claim.method}` | {claim.claim} | {claim.source} | {metric} | {effects} | {one.verdict} |"


def _measured(claim: Claim) -> str:
    whose = "plain GRPO's" if claim.against == PLAIN else f"`{claim.against}`'s"
    if claim.at_least < 0:
        worse = "lower" if claim.direction == "higher" else "higher"
        return f"`{claim.metric}` not {worse} than {whose} by {-claim.at_least:g}"
    return f"`{claim.metric}` {claim.direction} than {whose} by {claim.at_least:g}"


def told_effect(one: Interval) -> str:
    return f"{one}, {one.count} seeds" if one.count >= FEWEST else f"{one.mean:+.3f}, {one.count} of {FEWEST} seeds"


def lines(store: Store) -> dict[str, str]:
    """Method -> its claims and their verdicts."""
    made: dict[str, list[str]] = {}
    for claim in claims():
        made.setdefault(claim.method, []).append(_line(claim, judged(claim, store)))
    return {method: " ".join(said) for method, said in made.items() if method != PLAIN}


def _line(claim: Claim, one: Judged) -> str:
    return f"{claim.claim.rstrip('.')}: {one.verdict}."
