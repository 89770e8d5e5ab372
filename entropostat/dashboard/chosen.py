"""Which metrics a dashboard shows: those of one recipe, with its terms and knobs by name, or those that any run may have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from entropostat.catalog import load
from entropostat.metrics.control import KNOB, ONLY
from entropostat.metrics.panels import Panel
from entropostat.metrics.schema import Metric
from entropostat.metrics.table import find, table
from entropostat.metrics.terms import ROW_OF_SLOT, metrics_of, metrics_of_terms
from entropostat.recipe.arithmetic import trainer_value
from entropostat.recipe.facts import corrected_sampler, held_by_loss, info, knobs, option
from entropostat.recipe.recipe import Recipe


@dataclass(frozen=True)
class Chosen:
    metrics: tuple[Metric, ...]
    targets: Mapping[str, list[str]] = field(default_factory=dict)
    """Key of a metric that controllers hold -> the keys of their targets."""

    def overlaid(self, panel: Panel) -> list[str]:
        """Targets that belong over the curves of ``panel``. The row 'control' has its own."""
        drawn = [] if panel.row == "control" else panel.metrics
        return [target for metric in drawn for target in self.targets.get(metric.key, ())]


def of_any() -> Chosen:
    """What any run may log. The terms' own metrics are left out: of most of them a run has none."""
    terms = set(metrics_of_terms())
    return Chosen(tuple(metric for metric in table() if metric not in terms))


def of_recipe(recipe: Recipe) -> Chosen:
    """What the runs of ``recipe`` log."""
    held = {knob.key.partition(".")[2]: knob for knob in knobs(recipe)}
    read = {f"signal/{signal}" for knob in held.values() for signal in knob.reads.values()}
    common = [metric for metric in of_any().metrics if not metric.key.startswith("signal/") or metric.key in read]
    others = [metric for metric in common if not metric.key.startswith((KNOB, *_absent(recipe)))]
    of_knobs = [
        replace(metric, key=metric.key.replace(KNOB, f"control/{path}"), panel=f"{path}: {metric.panel.lower()}")
        for path, knob in held.items()
        for metric in common
        if metric.key.startswith(KNOB) and knob.controller in ONLY.get(metric.panel, (knob.controller,))
    ]
    targets: dict[str, list[str]] = {}
    for path, knob in held.items():
        if knob.signal and load().terms["controllers"][knob.controller].field("target"):
            key = knob.signal if find(knob.signal) else f"signal/{knob.signal}"
            targets.setdefault(key, []).append(f"control/{path}/target")
    return Chosen((*others, *of_knobs, *_of_terms(recipe)), targets)


def _absent(recipe: Recipe) -> list[str]:
    """Beginnings of keys that need something which the recipe leaves out."""
    there = {
        "critic/": recipe.kind == "ppo",
        "frac_reward_zero_std": recipe.kind != "ppo",
        "shaping/": recipe.shaping.active,
        "radius/": recipe.optimizer.step_radius is not None,
        "anchor/": any(option(term, slot, "reference") in ("ema", "reset") for slot, term in recipe.terms),
        "state/rankme": recipe.tracking.rankme > 0 and recipe.tracking.monitor_every > 0,
        "sampling/": corrected_sampler(recipe),
        "trust/sampler_gap": bool(trainer_value(recipe, "use_vllm")),
        **dict.fromkeys(("entropy_coef", "policy_loss"), False),  # TRL's own bonus, which a recipe cannot set
    }
    held = held_by_loss(recipe)
    there |= {"clip_ratio/": held == "ratio", "cispo_": held == "weight", "trust/clip_": held != "nothing"}
    there["vespo/"] = recipe.objective["loss"].options.get("type") == "vespo"
    return [key for key, present in there.items() if not present]


def _of_terms(recipe: Recipe) -> Iterator[Metric]:
    for slot, term in recipe.terms:
        for metric in metrics_of(info(slot, term)) if slot in ROW_OF_SLOT else ():
            key = f"{term.name}/{metric.key.partition('/')[2]}"
            yield replace(metric, key=key, panel=metric.panel.replace(term.kind, term.name, 1))
