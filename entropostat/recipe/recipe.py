"""A recipe, resolved and checked: what the rest of the project reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from entropostat import yaml_text
from entropostat.recipe.blocks import Critic, Evaluate, Faults, Model, Optimizer, Shaping, Teacher
from entropostat.recipe.data_block import Data
from entropostat.recipe.errors import real
from entropostat.recipe.machine_blocks import Launch, Slurm, Tracking
from entropostat.recipe.sampler_block import Sampler
from entropostat.recipe.terms import Term

Objective = dict[str, Any]
"""Slot -> its terms as a list, but for ``loss``, which is one: ``rewards advantages weights loss penalties scalars data``."""


@dataclass(frozen=True)
class Recipe:
    """Terms hold the options that the recipe states; everything else keeps the default of the term's own code."""

    name: str
    output_dir: str
    seed: int
    model: Model
    teacher: Teacher
    """Nothing stated in it: there is none."""
    data: Data
    reward: list[Term]
    shaping: Shaping
    objective: Objective
    trainer: dict[str, Any]
    """``kind`` and the TRL fields that the recipe states."""
    critic: Critic
    optimizer: Optimizer
    sampler: Sampler
    evaluate: Evaluate
    faults: Faults
    launch: Launch
    slurm: Slurm
    tracking: Tracking
    resolved: dict[str, Any] = field(compare=False, repr=False)
    """The merged file as plain values."""
    path: Path = field(compare=False)
    """The recipe's own file."""

    @property
    def folder(self) -> Path:
        """Where relative paths of the recipe start."""
        return real(self.path).parent

    @property
    def run_dir(self) -> Path:
        return Path(self.output_dir) / self.name

    @property
    def kind(self) -> str:
        """Which trainer."""
        return str(self.trainer.get("kind", "grpo"))

    @property
    def trainer_fields(self) -> dict[str, Any]:
        """TRL's fields under their own names, as far as the recipe states them."""
        return {key: value for key, value in self.trainer.items() if key != "kind"}

    @property
    def sources(self) -> dict[str, Term]:
        """``data.sources`` as terms, by name."""
        return _named(self.data.sources)

    @property
    def sets(self) -> dict[str, Term]:
        """``evaluate.sets`` as terms, by name."""
        return _named(self.evaluate.sets)

    @property
    def terms(self) -> list[tuple[str, Term]]:
        """(slot, term) of the objective, in the order of composition."""
        lists = [(slot, self.objective[slot]) for slot in ("rewards", "advantages", "weights")]
        pairs = [(slot, term) for slot, terms in lists for term in terms]
        pairs.append(("loss", self.objective["loss"]))
        return [*pairs, *((slot, term) for slot in ("penalties", "scalars", "data") for term in self.objective[slot])]

    def dump(self) -> str:
        """YAML that loads again to the same recipe, without ``extends``."""
        return yaml_text.dump(self.resolved)


def _named(mappings: dict[str, dict[str, Any]]) -> dict[str, Term]:
    return {name: Term(name, *next(iter(mapping.items()))) for name, mapping in mappings.items()}
