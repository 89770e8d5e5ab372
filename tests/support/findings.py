"""The rules that find something in a run."""

from __future__ import annotations

from collections import Counter

from entropostat.diagnose import examine

PARENT = """
extends: entropostat:base/quickstart.yaml
name: parent
objective:
  loss: {unclipped: {}}
  weights:
    - clip_cov: {}
    - entropy_tilt: {gain: {pid: {signal: entropy_old, target: .3, effect: lowers, low: -1, high: 1, ki: .1}}}
  penalties:
    - kl_cov: {}
    - entropy_bonus: {coef: {pid: {signal: entropy, target: .3, low: -1, high: 1, kp: .3, ki: .1}}}
    - kl_ref: {coef: {pid: {signal: kl, target: .1, effect: lowers, low: -1, high: 1, ki: .1}}}
"""


def rules(run: object) -> Counter[str]:
    return Counter(one.rule for one in examine(run))  # type: ignore[arg-type]


def steady(count: int = 120, **more: float) -> list[dict[str, float]]:
    return [{"step": i + 1, "entropy": 0.5, "reward": 0.5, "loss": 0.1, **more} for i in range(count)]
