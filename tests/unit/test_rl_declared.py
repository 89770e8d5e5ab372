"""What every registered term declares of itself is true: its metrics, its needs, its paper and its fields."""

from __future__ import annotations

import inspect
import re
import sys
from dataclasses import fields

import pytest
from unit.rl_support import (
    ACTING,
    ALL,
    batch_of,
    label,
    objective,
    rollout_view,
    total,
    with_leaves,
)

from entropostat.rl.registry import REGISTRIES

each = pytest.mark.parametrize


@each("setting", ALL, ids=label)
def test_metrics_are_declared_prefixed_and_without_a_graph(setting):
    slot, kind, _ = setting
    o, batch = objective(setting), with_leaves(batch_of(2))
    metrics = o.rollout(batch.detached()).metrics if slot == "advantages" else total(o, batch)[1]
    declared = {f"{kind}/{key}" for key in REGISTRIES[slot][kind].info.provides}
    assert {key for key in metrics if key.startswith(f"{kind}/")} <= declared
    assert all(value.dim() == 0 and not value.requires_grad for value in metrics.values())


@each("setting", ACTING, ids=label)
def test_every_declared_metric_is_reported(setting):
    slot, kind, options = setting
    if kind == "ppo_clip":
        options = options | {"dual": 1.5}
    o, batch = objective((slot, kind, options)), batch_of(2)
    metrics = total(o, batch)[1]
    if o.sampler is not None:
        selected = o.sampler.term.select(rollout_view(batch), o.sampler.term.entropy(batch))[1]
        metrics |= {f"{kind}/{key}": value for key, value in selected.items()}
    assert {f"{kind}/{key}" for key in REGISTRIES[slot][kind].info.provides} <= set(metrics)


TERMS = [(registry, name) for registry in REGISTRIES.values() for name in registry.names()]


@each("registry, name", TERMS, ids=[f"{r.slot}-{n}" for r, n in TERMS])
def test_every_term_cites_its_paper_and_documents_itself_and_its_fields(registry, name):
    cls = registry[name]
    assert re.fullmatch(r"arXiv:\d{4}\.\d{5}|[A-Z]\w+ (19|20)\d\d(; [A-Z]\w+ (19|20)\d\d)*", cls.info.paper)
    assert cls.info.paper.removeprefix("arXiv:") in inspect.getdoc(sys.modules[cls.__module__]) + inspect.getdoc(cls)
    assert inspect.getdoc(cls) and not inspect.getdoc(cls).startswith(f"{cls.__name__}(")
    assert all(f.metadata.get("doc") for f in fields(cls)), name
    assert all(cls.info.provides.values())
    assert cls.__dataclass_params__.frozen


@each("setting", ACTING, ids=label)
def test_declared_needs_are_enough(setting):
    o, batch = objective(setting), batch_of(5)
    always = {
        "logps",
        "mask",
        "advantages",
        "groups",
        "uids",
        "tokens",
        "clip",
        "seed",
        "generation",
        "iteration",
        "reducer",
        "stats",
        "keys",
    }
    names = {f.name for f in fields(batch)} - always
    scarce = batch.set(**dict.fromkeys(names - o.needs))
    rollout = batch.set(logps=batch.old_logps, **dict.fromkeys(names - o.rollout_needs))
    stats = o.rollout(rollout).stats
    assert total(o, scarce, stats)[0].isfinite()
