"""Draws docs/images/ill-runs.svg: five runs that went wrong, as one sees them, from the generators of benchmarks/diagnose."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILE = Path(__file__).with_name("ill-runs.svg")
WIDTH, HEIGHT, HEAD, GAP, LEFT = 330, 92, 24, 34, 14
CURVES = (
    ("entropy", "#2f6fde", "entropy"),
    ("reward", "#d9822b", "reward"),
    ("completions/mean_length", "#8b8f96", "length"),
)
FROM_ZERO = ("entropy", "completions/mean_length")
"""Drawn from 0 to their largest, three times their first at least; the others from their lowest."""
RUNS = (
    ("explosion", 3, "Explosion: entropy up, reward gone"),
    ("collapse", 2, "Collapse: entropy gone, no reward gained"),
    ("reward-lost", 6, "Reward lost: its level is gone, entropy not at ln V"),
    ("truncation", 5, "Truncation: longer and longer, nothing ends"),
    ("kl-blow-up", 1, "KL blow-up: nothing to see here but the KL"),
)
"""Kind, number of the run, title."""


def drawing() -> str:
    sys.path.insert(0, str(ROOT))
    from benchmarks.diagnose.strangers import made

    columns, rows = 2, (len(RUNS) + 1) // 2
    wide, high = columns * (WIDTH + 2 * LEFT), rows * (HEAD + HEIGHT + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" font-family="sans-serif" font-size="12">',
        f'<rect width="{wide}" height="{high}" fill="#fff"/>',
    ]
    for place, (kind, number, title) in enumerate(RUNS):
        x, y = (place % columns) * (WIDTH + 2 * LEFT) + LEFT, (place // columns) * (HEAD + HEIGHT + GAP)
        run = made(kind, "tuning", number)
        parts.append(f'<text x="{x}" y="{y + 17}" fill="#1d2126">{title}</text>')
        parts.append(
            f'<rect x="{x}" y="{y + HEAD}" width="{WIDTH}" height="{HEIGHT}" fill="#f7f7f5" stroke="#e2e2de"/>'
        )
        curves = CURVES if kind != "kl-blow-up" else (*CURVES[:2], ("kl", "#c0392b", "kl"))
        for key, colour, name in curves:
            steps, values = run.series(key)
            top = max(max(values), 3 * values[0]) if key in FROM_ZERO else max(values)
            parts.append(_line(steps, values, 0.0 if key in FROM_ZERO else min(values), top, x, y + HEAD, colour))
            at = x + 4 + 74 * [one[2] for one in curves].index(name)
            parts.append(f'<text x="{at}" y="{y + HEAD + HEIGHT + 14}" fill="{colour}">{name}</text>')
        parts.append(
            f'<text x="{x + WIDTH}" y="{y + HEAD + HEIGHT + 14}" fill="#6a7078" text-anchor="end">{len(run.rows)} rows, to step {run.rows[-1]["step"]}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def _line(
    steps: Sequence[int], values: Sequence[float], low: float, high: float, x: float, y: float, colour: str
) -> str:
    points = " ".join(
        f"{x + (step - steps[0]) / max(steps[-1] - steps[0], 1) * WIDTH:.1f},{y + 4 + (1 - (value - low) / max(high - low, 1e-12)) * (HEIGHT - 8):.1f}"
        for step, value in zip(steps, values, strict=True)
    )
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.4"/>'


if __name__ == "__main__":
    FILE.write_text(drawing())
