"""Three published doctors on the same runs. They are no dependency: install them into a folder of their own and name it.

    pip install --no-deps --target DOCTORS rldoctor==0.2.0 rlprobe==0.1.0 rlwatch==0.5.1
    pip install --target DOCTORS slack-sdk typer

(``--no-deps``, because rlprobe's TRL extra pins TRL below 1.8.) Each gets the whole run with the keys that it knows, held-out pass@1
as its evaluation score, NaN where JSON has none. What counts is generous: a warning or worse at any step, early or late.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

from benchmarks.diagnose.world import Synthetic

Row = dict[str, Any]
NAMES = ("rldoctor 0.2.0", "rlprobe 0.1.0", "rlwatch 0.5.1")
RIGHT: dict[str, dict[str, tuple[str, ...]]] = {
    "rldoctor 0.2.0": {
        "collapse": ("entropy_collapse",),
        "explosion": ("entropy_collapse",),
        "dead-groups": ("advantage_collapse",),
        "length-hacking": ("length_pathology", "reward_hacking"),
        "reward-gap": ("reward_hacking",),
        "non-finite": ("gradient_pathology",),
        "reward-lost": ("plateau",),
        "truncation": ("length_pathology",),
        "kl-blow-up": ("kl_drift",),
        "gradient-blow-up": ("gradient_pathology",),
    },
    "rlprobe 0.1.0": {
        "collapse": ("ENTROPY_COLLAPSE",),
        "explosion": ("ENTROPY_COLLAPSE",),
        "dead-groups": ("DEGENERATE_GROUPS", "ADV_COLLAPSE", "REWARD_STD_DEATH"),
        "length-hacking": ("REWARD_HACK_LENGTH",),
        "non-finite": ("GRAD_PATHOLOGY",),
        "truncation": ("TRUNCATION_STARVE",),
        "kl-blow-up": ("KL_BLOWUP",),
        "gradient-blow-up": ("GRAD_PATHOLOGY",),
    },
    "rlwatch 0.5.1": {
        "collapse": ("entropy_collapse",),
        "explosion": ("entropy_collapse",),
        "length-hacking": ("reward_hacking", "reward_mean_drift"),
        "reward-gap": ("reward_hacking", "reward_mean_drift"),
        "non-finite": ("loss_nan",),
        "reward-lost": ("reward_mean_drift",),
        "kl-blow-up": ("kl_explosion",),
        "gradient-blow-up": ("gradient_norm_spike",),
    },
}
"""Which of their detectors is the right one. A pathology that is missing has none."""


def right(name: str, kind: str) -> set[str]:
    """Detectors of this doctor that are the right ones for a kind of ill run."""
    return set(RIGHT[name].get(kind.removeprefix("early-"), ()))


def use(folder: Path) -> None:
    """After the project's own packages, which must win."""
    sys.path.append(str(folder))


def alarms(name: str, run: Synthetic) -> set[str]:
    """Detectors that warned. Where one fails on a run, it did not."""
    rows = merged(run)
    return {"rldoctor 0.2.0": _rldoctor, "rlprobe 0.1.0": _rlprobe, "rlwatch 0.5.1": _rlwatch}[name](rows)


def merged(run: Synthetic) -> list[Row]:
    """One row a step: an evaluation and the training row of its step together, and NaN for None."""
    by_step: dict[int, Row] = {}
    for row in run.rows:
        by_step.setdefault(row["step"], {}).update({k: math.nan if v is None else v for k, v in row.items()})
    for row in by_step.values():
        if "evaluate/held/pass@1" in row:
            row["eval_score"] = row["evaluate/held/pass@1"]
    return [by_step[step] for step in sorted(by_step)]


def _rldoctor(rows: list[Row]) -> set[str]:
    from rl_doctor import Severity, diagnose, run_from_records  # type: ignore[import-not-found]

    findings = diagnose(run_from_records(rows)).findings
    return {one.detector for one in findings if one.severity >= Severity.WARNING}


PROBE = {
    "reward": "reward_mean",
    "reward_std": "reward_std",
    "frac_reward_zero_std": "zero_variance_group_frac",
    "entropy": "entropy_mean",
    "kl": "kl_mean",
    "clip_ratio/region_mean": "clip_fraction",
    "loss": "loss",
    "learning_rate": "lr",
    "grad_norm": "grad_norm",
    "completions/mean_length": "completion_len_mean",
    "completions/clipped_ratio": "truncation_rate",
    "text/repetition": "repetition_rate",
}


def _rlprobe(rows: list[Row]) -> set[str]:
    from rlprobe.doctor.engine import diagnose_view  # type: ignore[import-not-found]
    from rlprobe.doctor.runview import RunView  # type: ignore[import-not-found]
    from rlprobe.schemas import RunManifest, StepRecord  # type: ignore[import-not-found]

    records = [
        StepRecord(step=row["step"], **{theirs: row[ours] for ours, theirs in PROBE.items() if ours in row})
        for row in rows
        if "entropy" in row
    ]
    view = RunView(RunManifest(run_id="x", created_at="2026-01-01T00:00:00", algorithm="grpo"), records)
    return {one.signature_id for one in diagnose_view(view) if one.severity != "info"}


def _rlwatch(rows: list[Row]) -> set[str]:
    from rlwatch.config import RLWatchConfig  # type: ignore[import-not-found]
    from rlwatch.detectors import DetectorSuite  # type: ignore[import-not-found]

    suite, detectors = DetectorSuite(RLWatchConfig()), set()
    for row in rows:
        if "entropy" in row:
            alerts = suite.check_step(
                row["step"],
                entropy=row.get("entropy"),
                kl_divergence=row.get("kl"),
                reward_mean=row.get("reward"),
                reward_std=row.get("reward_std"),
                loss=row.get("loss"),
                grad_norm=row.get("grad_norm"),
            )
            detectors |= {one.detector for one in alerts}
    return detectors
