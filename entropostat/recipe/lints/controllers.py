"""Lints of controllers: a knob that does nothing, a signal that nothing measures, two that fight."""

from __future__ import annotations

from collections.abc import Iterator

from entropostat.recipe.errors import nearest
from entropostat.recipe.facts import held_by_loss, knobs, metrics
from entropostat.recipe.lint import Lint
from entropostat.recipe.lints.case import Case, Rule
from entropostat.recipe.lints.objective import aligned_kl_cov, clips, inert_clip, micro_scope
from entropostat.rl.controllers.autopilot import Autopilot
from entropostat.rl.controllers.follow import Follow, broken
from entropostat.rl.registry import CONTROLLERS
from entropostat.rl.signals import SIGNALS


def controllers(case: Case) -> Iterator[Lint]:
    all_knobs = knobs(case.recipe)
    inert = {lint.key for rule in (aligned_kl_cov, inert_clip, micro_scope) for lint in rule(case)}
    readers: dict[str, str] = {}
    for knob in all_knobs:
        dead = [key for key in inert if knob.key == key or knob.key.startswith(f"{key}.")]
        if dead or _clip_knob(case, knob.key):
            reads = f"signal {knob.signal}" if knob.signal else "its schedule"
            yield Lint(
                "warning",
                knob.key,
                f"{knob.controller} turns a knob that does nothing here, so {reads} will not follow it",
                "make the term act first (see the other warnings), or control another field",
            )
        if knob.signal and knob.signal in readers:
            yield Lint(
                "warning",
                knob.key,
                f"a second controller on the signal {knob.signal!r}; {readers[knob.signal]} reads it too: they fight",
                "keep one of the two loops",
            )
        if knob.signal:
            readers.setdefault(knob.signal, knob.key)


def _clip_knob(case: Case, key: str) -> bool:
    loss = case.recipe.objective["loss"]
    return case.on_policy and clips(case) and key.startswith(f"objective.loss.{loss.name}.epsilon")


def signals(case: Case) -> Iterator[Lint]:
    read = [(f"{k.key}.{k.controller}.{name}", signal) for k in knobs(case.recipe) for name, signal in k.reads.items()]
    known = {*SIGNALS, *metrics(case.recipe)}
    for key, signal in read:
        if signal not in known:
            yield Lint("error", key, f"nothing measures {signal!r}", nearest(signal, known))
        if signal == "clip_fraction" and held_by_loss(case.recipe) == "nothing":
            yield Lint(
                "error",
                key,
                "nothing measures clip_fraction: this loss holds no token at a bound",
                "choose a loss that clips, such as trl or ppo_clip, or control by kl_old",
            )
        if signal == "kl_old" and case.on_policy:
            yield Lint(
                "warning",
                key,
                "kl_old is 0 throughout: every generation serves one update",
                "raise trainer.steps_per_generation, or control by kl",
            )


def followers(case: Case) -> Iterator[Lint]:
    by_path = {knob.key.removeprefix("objective."): knob for knob in knobs(case.recipe)}
    built = {path: CONTROLLERS.build(knob.controller, knob.options) for path, knob in by_path.items()}
    for path, problem in broken(built):
        yield Lint("error", f"objective.{path}", problem, "a knob is called slot.term.field")
    used = {(c.knob, c.key) for c in built.values() if isinstance(c, Follow)}
    for path, controller in built.items():
        if isinstance(controller, Autopilot) and controller.bonus_gain and (path, "rest") not in used:
            yield Lint(
                "warning",
                f"objective.{path}",
                "nothing follows its second actuator, so what re-weighting cannot do is not done",
                f"add entropy_bonus: {{coef: {{follow: {{knob: {path}, key: rest}}}}}}, or set bonus_gain: 0",
            )


RULES: tuple[Rule, ...] = (controllers, signals, followers)
