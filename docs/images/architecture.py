"""Draws architecture.svg: boxes by place, arrows by the boxes they join. `make docs` writes it; the standard library is enough."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

FILE = Path(__file__).with_name("architecture.svg")
WIDTH, HEIGHT = 1000, 690
ROOMS = {
    "entropostat": ("#fff3d6", "#b7861b", "entropostat/: recipes, files, people; no torch"),
    "rl": ("#dff3e2", "#2f8f46", "rl/: maths on tensors; torch only"),
    "reward": ("#fbe3dc", "#c2552d", "reward/: verifiers; no torch"),
    "trainers": ("#dfeafa", "#2b63b5", "trainers/: the only place that knows TRL"),
}
"""Room -> fill, line, and its words in the legend."""


class Box(NamedTuple):
    room: str
    x: int
    y: int
    width: int
    title: str
    lines: tuple[str, ...]

    @property
    def height(self) -> int:
        return 32 + 17 * len(self.lines)


BOXES = {
    "recipe": Box("entropostat", 30, 50, 200, "recipe", ("YAML, parents, key=value;", "checked line by line")),
    "plan": Box("entropostat", 30, 168, 200, "plan", ("what will run, lints,", "memory and traffic")),
    "objective": Box("rl", 330, 50, 300, "Objective", ("rewards · advantages · weights · loss ·", "penalties · data: what each term needs")),
    "control": Box("rl", 720, 50, 250, "Control", ("which coefficients a controller", "moves, and what it remembers")),
    "rollout": Box("trainers", 330, 190, 300, "rollout", ("completions, rewards, old and reference", "log-probs; advantages and statistics")),
    "reward": Box("reward", 30, 282, 200, "verifiers", ("confined processes judge", "what the policy wrote")),
    "tap": Box("trainers", 330, 310, 300, "tap", ("one pass over the vocabulary: log-probs,", "entropy and moments, tile by tile")),
    "loss": Box("trainers", 330, 430, 300, "loss pass", ("Objective.token_loss on the micro-batch;", "backward; monitors look, change nothing")),
    "window": Box("rl", 720, 430, 250, "window", ("sums of the step's micro-batches,", "reduced over ranks: signals")),
    "controllers": Box("rl", 720, 250, 250, "controllers", ("pid, autopilot, schedule ...:", "signals in, knob values out")),
    "metrics": Box("entropostat", 720, 570, 250, "metrics.jsonl", ("one line a step, each key declared", "in entropostat/metrics")),
    "report": Box("entropostat", 350, 570, 280, "report, compare, dashboard", ("the same rows as a page, a table,", "a workspace")),
    "diagnose": Box("entropostat", 30, 570, 250, "diagnose", ("what is wrong, since when,", "which term, what to try")),
}  # fmt: skip
ARROWS = [
    ("recipe", "right", "objective", "left", "terms"),
    ("recipe", "bottom", "plan", "top", ""),
    ("control", "left", "objective", "right", "numbers"),
    ("objective", "bottom", "rollout", "top", "each generation"),
    ("reward", "right", "rollout", "left", "scores"),
    ("rollout", "bottom", "tap", "top", "each micro-batch"),
    ("tap", "bottom", "loss", "top", ""),
    ("loss", "right", "window", "left", ""),
    ("window", "top", "controllers", "bottom", "each optimizer step"),
    ("controllers", "top", "control", "bottom", "the loop closes"),
    ("window", "bottom", "metrics", "top", ""),
    ("metrics", "left", "report", "right", ""),
    ("metrics", "bottom", "diagnose", "bottom", "the same lines, also while the run goes on"),
]


def side(box: Box, name: str) -> tuple[float, float]:
    middle, centre = box.y + box.height / 2, box.x + box.width / 2
    return {
        "left": (box.x, middle), "right": (box.x + box.width, middle), "top": (centre, box.y), "bottom": (centre, box.y + box.height)
    }[name]  # fmt: skip


def arrow(start: str, out: str, end: str, into: str, words: str) -> str:
    (x1, y1), (x2, y2) = side(BOXES[start], out), side(BOXES[end], into)
    if out == into:  # around below
        below = max(y1, y2) + 24
        path = f"M{x1:g},{y1:g} V{below:g} H{x2:g} V{y2:g}"
        at = f'x="{(x1 + x2) / 2:g}" y="{below + 15:g}" text-anchor="middle"'
    elif out in ("left", "right"):
        middle = (x1 + x2) / 2
        path = f"M{x1:g},{y1:g} H{middle:g} V{y2:g} H{x2:g}"
        at = f'x="{middle:g}" y="{min(y1, y2) - 8:g}" text-anchor="middle"'
    else:
        path = f"M{x1:g},{y1:g} V{y2:g}"
        at = f'x="{x1 + 8:g}" y="{(y1 + y2) / 2 + 4:g}"'
    label = f'<text class="small" {at}>{escape(words)}</text>' if words else ""
    return f'<path class="arrow" d="{path}"/>{label}'


def box(one: Box) -> str:
    fill, line, _ = ROOMS[one.room]
    body = f'<rect x="{one.x}" y="{one.y}" width="{one.width}" height="{one.height}" rx="7" fill="{fill}" stroke="{line}"/>'
    body += f'<text class="title" x="{one.x + 12}" y="{one.y + 21}">{escape(one.title)}</text>'
    for i, words in enumerate(one.lines):
        body += f'<text x="{one.x + 12}" y="{one.y + 40 + 17 * i}">{escape(words)}</text>'
    return body


def legend() -> str:
    body = ""
    for i, (fill, line, words) in enumerate(ROOMS.values()):
        x, y = (30, 400 + 24 * i)
        body += f'<rect x="{x}" y="{y}" width="16" height="14" rx="3" fill="{fill}" stroke="{line}"/>'
        body += f'<text class="small" x="{x + 24}" y="{y + 11}">{escape(words)}</text>'
    return body


def drawing() -> str:
    style = (
        "text{font:13px sans-serif;fill:#222}.title{font-weight:bold;font-size:15px}.small{font-size:12px;fill:#555}"
        ".arrow{fill:none;stroke:#555;stroke-width:1.5;marker-end:url(#head)}"
    )
    head = '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="#555"/></marker>'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img">',
        "<title>From a recipe to a report: the flow of a run</title>",
        f"<style>{style}</style><defs>{head}</defs>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        '<text class="small" x="30" y="30">before the run: seconds, no GPU</text>',
        *(box(one) for one in BOXES.values()),
        *(arrow(*one) for one in ARROWS),
        legend(),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    FILE.write_text(drawing())
