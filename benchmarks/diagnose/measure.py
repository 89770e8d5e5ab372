"""Measure `entropostat diagnose` on synthetic runs, by the protocol of ranges.py, and write benchmarks/results/diagnose/.

    python -m benchmarks.diagnose.measure --trial 0                      # the verdict: 400 a pathology, 1,000 healthy or more a length
    python -m benchmarks.diagnose.measure --trial 0 --doctors DOCTORS    # and the published doctors (doctors.py says how)
    python -m benchmarks.diagnose.measure --split tuning                 # prints, and writes nothing

A finding counts if its rule is the right one and its first step lies after the onset and not after the deadline; an earlier one is a
false alarm, and the run is missed. Rules are causal (a test holds them to it): what they say of the whole log is all that they ever
said while it was written, so false alarms are those at any time of a run. After any change of a rule or bound, the next verdict
takes a new ``--trial``, whose seeds are fresh; the file says which trial it shows.
"""

from __future__ import annotations

import argparse
import collections
import json
import logging
import multiprocessing
import os
import statistics
import warnings
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
from benchmarks.diagnose import doctors
from benchmarks.diagnose.healthy import healthy
from benchmarks.diagnose.pathologies import PATHOLOGIES, ill
from benchmarks.diagnose.ranges import LENGTHS, Split
from benchmarks.diagnose.table import write_page
from benchmarks.experiment import RECORDED
from entropostat.diagnose import examine

RESULTS = RECORDED / "diagnose" / "measure.json"
Result = dict[str, Any]
SLOW = 10_000
"""rldoctor takes half a minute for a run of this length: the doctors are measured on the shorter ones, and on the first so many."""
ILL, HEALTHY = 50, 200


def judge_ill(kind: str, split: Split, trial: int, others: bool, index: int) -> Result:
    run = ill(kind, split, index, trial)
    findings = examine(run)
    first = min((one.steps[0] for one in findings if one.rule == kind), default=None)
    state = (
        "missed"
        if first is None
        else "early"
        if first <= run.well_until
        else "late"
        if first > run.deadline
        else "found"
    )
    out = {
        "state": state,
        "delay": None if first is None else first - run.ill_from,
        "allowed": run.deadline - run.ill_from,
    }
    out["others"] = sorted({one.rule for one in findings if one.rule != kind})
    if others and index < ILL:
        out["doctors"] = {name: sorted(doctors.alarms(name, run)) for name in doctors.NAMES}
    return out


def judge_healthy(length: int, split: Split, trial: int, others: bool, index: int) -> Result:
    run = healthy(split, length, index, trial)
    findings = examine(run)
    out: Result = {"family": run.name, "rules": sorted({one.rule for one in findings if one.severity != "info"})}
    out["notes"] = sorted({one.rule for one in findings if one.severity == "info"})
    if others and length < SLOW and index < HEALTHY:
        out["doctors"] = {name: sorted(doctors.alarms(name, run)) for name in doctors.NAMES}
    return out


def quiet(folder: Path | None) -> None:
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    if folder is not None:
        doctors.use(folder)


def lower(k: int, n: int) -> float:
    """One-sided 95 % Clopper-Pearson bound."""
    from scipy.stats import beta

    return 0.0 if k == 0 else float(beta.ppf(0.05, k, n - k + 1))


def upper(k: int, n: int) -> float:
    from scipy.stats import beta

    return 1.0 if k == n else float(beta.ppf(0.95, k + 1, n - k))


def mean(flags: Iterable[bool]) -> float:
    values = list(flags)
    return sum(values) / len(values)


def summary_ill(kind: str, results: list[Result]) -> Result:
    n, states = len(results), collections.Counter(one["state"] for one in results)
    delays = sorted(one["delay"] for one in results if one["state"] == "found")
    out: Result = {
        "runs": n,
        **{state: states[state] for state in ("found", "missed", "late", "early")},
        "lower_bound": lower(states["found"], n),
        "delay_median": statistics.median(delays) if delays else None,
        "delay_95": delays[int(0.95 * (len(delays) - 1))] if delays else None,
        "others": dict(collections.Counter(rule for one in results for rule in one["others"])),
    }
    if seen := [one["doctors"] for one in results if "doctors" in one]:
        out["doctors"] = of_doctors(kind, seen)
    return out


def of_doctors(kind: str, seen: list[dict[str, list[str]]]) -> Result:
    """Of each doctor, the share of these runs on which the right detector warned, and any."""
    return {
        name: {
            "right": mean(bool(doctors.right(name, kind) & set(one[name])) for one in seen),
            "any": mean(bool(one[name]) for one in seen),
        }
        for name in doctors.NAMES
    }


def summary_healthy(results: list[Result]) -> Result:
    n, alarms = len(results), [one for one in results if one["rules"]]
    out: Result = {
        "runs": n,
        "alarms": len(alarms),
        "upper_bound": upper(len(alarms), n),
        "rules": dict(collections.Counter(f"{rule} ({one['family']})" for one in alarms for rule in one["rules"])),
        "notes": dict(collections.Counter(f"{rule} ({one['family']})" for one in results for rule in one["notes"])),
    }
    if seen := [one["doctors"] for one in results if "doctors" in one]:
        out["doctors"] = {name: mean(bool(one[name]) for one in seen) for name in doctors.NAMES}
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--split", choices=("tuning", "verdict"), default="verdict")
    parser.add_argument("--trial", type=int, default=0)
    parser.add_argument("--ill", type=int, default=400)
    parser.add_argument("--healthy", type=int, default=1000, help="of 10,000 steps; twice as many shorter ones")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--doctors", type=Path)
    args = parser.parse_args()
    out: Result = {"split": args.split, "trial": args.trial, "ill": {}, "healthy": {}}
    common = (args.split, args.trial, args.doctors is not None)
    with multiprocessing.get_context("fork").Pool(args.processes, quiet, (args.doctors,)) as pool:
        for kind in PATHOLOGIES:
            results = pool.map(partial(judge_ill, kind, *common), range(args.ill), chunksize=5)
            out["ill"][kind] = summary_ill(kind, results)
            print(kind, {k: v for k, v in out["ill"][kind].items() if k != "doctors"}, flush=True)
        for length in LENGTHS:
            count = args.healthy * (1 if length >= SLOW else 2)
            results = pool.map(partial(judge_healthy, length, *common), range(count), chunksize=5)
            out["healthy"][str(length)] = summary_healthy(results)
            print(length, {k: v for k, v in out["healthy"][str(length)].items() if k != "doctors"}, flush=True)
    if args.split == "verdict":
        RESULTS.write_text(json.dumps(out, indent=1, sort_keys=True) + "\n")
        write_page(RESULTS.parent)


if __name__ == "__main__":
    main()
