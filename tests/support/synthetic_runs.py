"""Run folders whose every number is known."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

RECIPE = """\
name: {name}
seed: {seed}
objective:
  advantages:
  - grpo: {{}}
  penalties:
  - entropy_bonus:
      coef:
        pid: {{signal: entropy, target: {target}, effect: raises, ki: 0.001, low: -0.01, high: {high}}}
"""
KNOB = "penalties.entropy_bonus.coef"
HOSTILE = '</script><script>document.title = "OWNED"</script><img src=x onerror="document.title=\'OWNED\'">&lt;'


def rows(steps: int, seed: int, target: float = 0.5) -> list[dict[str, Any]]:
    draw = random.Random(seed)
    lines: list[dict[str, Any]] = [
        {"step": 0, "evaluate/hard/pass@1": 0.1 + seed / 1000, "evaluate/hard/share/working": 0.3}
    ]
    for step in range(1, steps + 1):
        entropy = target + 0.6 * math.exp(-20 * step / steps) + draw.gauss(0, 0.03)
        row = {"step": step, "entropy": entropy, "reward": 1 - math.exp(-5 * step / steps) + draw.gauss(0, 0.05)}
        row |= {f"entropy/p{p}": entropy * p / 50 for p in (10, 50, 90, 99)}
        row |= {
            f"control/{KNOB}/{part}": value
            for part, value in (("target", target), ("signal", entropy), ("output", 0.01))
        }
        lines.append(row | {"kl": abs(draw.gauss(0, 0.1)) + 1e-3, "plugin/alpha": draw.random()})
    lines.append({"step": steps, "evaluate/hard/pass@1": 0.8 + seed / 1000, "evaluate/hard/share/working": 0.9})
    return lines


def write_run(
    folder: Path, name: str = "warm", seed: int = 0, steps: int = 80, target: float = 0.5, high: float = 0.01
) -> Path:
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows(steps, seed, target)))
    (folder / "recipe.yaml").write_text(RECIPE.format(name=name, seed=seed, target=target, high=high))
    facts = {"name": name, "seed": seed, "vocabulary": 8, "k": 4, "stages": {"0/easy": 0, "1/hard": steps // 2}}
    (folder / "run.json").write_text(json.dumps({"started": "2026-01-01T00:00:00+00:00", **facts}))
    draw = random.Random(seed)
    words = ("2", "+", "3", "=", "5", "\n", " so", " the", " answer", " is")
    with (folder / "completions.jsonl").open("w") as stream:
        for step in range(1, steps + 1, 4):
            tokens = [draw.choice(words) for _ in range(24)]
            entropies = [draw.random() ** 3 * 2 for _ in tokens]
            row = {
                "step": step,
                "prompt": "2+3\n",
                "completion": "".join(tokens),
                "rewards": {"chain": 1.0},
                "advantage": 0.5,
            }
            stream.write(json.dumps({**row, "tokens": tokens, "entropies": entropies}) + "\n")
        stream.write(
            json.dumps({"step": steps, "prompt": HOSTILE, "completion": HOSTILE, "rewards": {}, "advantage": -1.0})
            + "\n"
        )
    edges = [i / 10 for i in range(21)]
    with (folder / "histograms.jsonl").open("w") as stream:
        for step in range(1, steps + 1):
            middle = 4 + 10 * math.exp(-5 * step / steps)
            counts = [round(1000 * math.exp(-((i - middle) ** 2) / 8)) for i in range(20)]
            stream.write(json.dumps({"step": step, "key": "entropy", "edges": edges, "counts": counts}) + "\n")
    return folder


def write_wide(folder: Path, steps: int, metrics: int) -> Path:
    """A run of ``metrics`` keys of noise, none constant."""
    folder.mkdir(parents=True)
    draw = random.Random(0)
    with (folder / "metrics.jsonl").open("w") as stream:
        for step in range(1, steps + 1):
            values = ",".join(f'"group{i % 20}/metric{i}":{draw.random() * (i + 1)!r}' for i in range(metrics))
            stream.write(f'{{"step":{step},{values}}}\n')
    return folder
