"""Measure `entropostat diagnose` on logs as other people publish them, and write benchmarks/results/diagnose/strangers.{json,md}.

    python -m benchmarks.diagnose.strangers_measure --trial 0             # the verdict; --doctors DOCTORS asks the published ones too
    python -m benchmarks.diagnose.strangers_measure --split tuning        # prints, and writes nothing

Ill: the first cause of the run must be of its kind, and first seen after the onset. Healthy: no collapse, explosion or lost
reward. Every run is also judged thinned, by 2, 5 and 10, where the effect still spans three rows of the window that a rule asks for.
"""

from __future__ import annotations

import argparse
import collections
import json
import multiprocessing
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.diagnose import doctors
from benchmarks.diagnose.measure import lower, of_doctors, quiet, upper
from benchmarks.diagnose.ranges import Split
from benchmarks.diagnose.strangers import HEALTHY, ILL, NEVER, RULE, made
from benchmarks.diagnose.strangers_table import write_page
from benchmarks.diagnose.world import Synthetic
from benchmarks.experiment import RECORDED
from entropostat.diagnose import Log, examine
from entropostat.diagnose.story import first_cause

RESULTS = RECORDED / "diagnose" / "strangers.json"
Result = dict[str, Any]
THINNED = (1, 2, 5, 10)
FEWEST = 30
"""Rows that a thinned log must still have."""
ASKED = 100
"""Logs of each kind on which the other doctors are asked: they take their time."""


def thinned(run: Synthetic, by: int) -> Synthetic | None:
    rows = run.rows[by - 1 :: by]
    if len(rows) < FEWEST:
        return None
    return Synthetic(run.name, rows, run.vocabulary, run.ill_from, run.well_until, run.deadline)


def judge(kind: str, split: Split, trial: int, others: bool, index: int) -> list[Result]:
    """One result for each thinning that leaves enough rows; of the whole log, what the other doctors say as well."""
    whole = made(kind, split, index, trial)
    results = []
    for by in THINNED:
        run = thinned(whole, by)
        if run is None:
            continue
        findings = examine(Log.of(run))
        rules = sorted({one.rule for one in findings})
        cause = first_cause(findings)
        late = [one.rule for one in findings if one.rule in NEVER]
        if kind in HEALTHY:
            right = not late
        else:
            right = cause is not None and cause.rule == RULE.get(kind, kind) and cause.steps[1] > run.well_until
        one: Result = {"by": by, "right": right, "rules": rules, "cause": None if cause is None else cause.rule}
        one["any"] = any(found.severity != "info" for found in findings)
        if others and by == 1 and index < ASKED:
            one["doctors"] = {name: sorted(doctors.alarms(name, run)) for name in doctors.NAMES}
        results.append(one)
    return results


def summary(kind: str, results: list[list[Result]]) -> Result:
    out: Result = {}
    for by in THINNED:
        some = [one for run in results for one in run if one["by"] == by]
        if not some:
            continue
        right = sum(one["right"] for one in some)
        wrong = collections.Counter(", ".join(one["rules"]) or "nothing" for one in some if not one["right"])
        out[str(by)] = {
            "runs": len(some),
            "right": right,
            "lower_bound": lower(right, len(some)),
            "wrong_upper_bound": upper(len(some) - right, len(some)),
            "wrong": dict(wrong.most_common(6)),
            "any": sum(one["any"] for one in some),
        }
        if seen := [one["doctors"] for one in some if "doctors" in one]:
            out[str(by)] |= {"doctors": of_doctors(RULE.get(kind, kind), seen), "asked": len(seen)}
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--split", choices=("tuning", "verdict"), default="verdict")
    parser.add_argument("--trial", type=int, default=0)
    parser.add_argument("--runs", type=int, default=400, help="of each kind and family")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", default="", help="kinds whose name holds this")
    parser.add_argument("--doctors", type=Path, help="folder of the published ones (doctors.py says how)")
    args = parser.parse_args()
    out: Result = {"split": args.split, "trial": args.trial, "ill": {}, "healthy": {}}
    with multiprocessing.get_context("fork").Pool(args.processes, quiet, (args.doctors,)) as pool:
        for part, kinds in (("healthy", HEALTHY), ("ill", ILL)):
            for kind in (kind for kind in kinds if args.only in kind):
                results = pool.map(
                    partial(judge, kind, args.split, args.trial, args.doctors is not None),
                    range(args.runs),
                    chunksize=5,
                )
                out[part][kind] = summary(kind, results)
                print(
                    kind,
                    {by: (one["right"], one["runs"], one["wrong"]) for by, one in out[part][kind].items()},
                    flush=True,
                )
    if args.split == "verdict" and not args.only:
        RESULTS.write_text(json.dumps(out, indent=1, sort_keys=True) + "\n")
        write_page(RESULTS)


if __name__ == "__main__":
    main()
