"""The six tasks: what each is, what counts as success, and what is looked at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).with_name("tasks")
PROMPTS, SAMPLES, K = 64, 8, 8
"""Held-out prompts, samples of each, and the k of pass@k."""


@dataclass(frozen=True)
class Task:
    """One file of ``tasks/``."""

    name: str
    title: str
    steps: int
    every: int
    """Optimizer steps between looks at held-out prompts; the last step is one."""
    success: str
    """The key of a look that says how well a run did at its end."""
    level: float
    """Of success: 'steps to a level' counts until it is reached."""
    meaning: str
    """What success is here, for the pages."""
    seeds: int = 5
    """Fresh seeds reported for every method; more where the page of plain GRPO asks for them."""
    tuned_as: str = ""
    """The task whose chosen settings it takes over, where it is not tuned itself: it differs in its reward alone."""

    @property
    def recipe(self) -> Path:
        return FOLDER / f"{self.name}.yaml"

    @property
    def own_policy(self) -> bool:
        """Whether its policy is built here: the project builds that of chains."""
        return self.name in ("puzzle", "rare")


TASKS = {
    task.name: task
    for task in (
        Task("hard", "the quickstart's hard prompts", 40, 10, "pass@1", 0.7, "pass@1 at the end"),
        Task("switch", "easy prompts, then hard ones", 80, 20, "pass@1", 0.5, "pass@1 on the hard prompts, at the end"),
        Task("puzzle", "many right answers", 60, 15, "distinct", 0.3, "different right answers among 8 samples, of 8"),
        Task("rare", "success is rare at first", 60, 15, "pass@1", 0.2, "pass@1 at the end", tuned_as="puzzle"),
        Task("fooled", "a reward model that can be fooled", 60, 15, "pass@1", 0.35, "truly right at the end"),
        Task("noisy", "a verdict in ten is wrong", 40, 10, "pass@1", 0.7, "truly right at the end", tuned_as="hard"),
    )
}  # fmt: skip

SEEDS = tuple(range(302, 312))
"""Fresh: no benchmark of the project used them, and nothing was looked at with them before the tasks were fixed."""
TUNING = (300, 301)
"""For choosing settings, and those with which the tasks themselves were made; never reported."""
TWIN = 5000
"""Added to a seed for a second run of training from the same first policy and prompts."""
