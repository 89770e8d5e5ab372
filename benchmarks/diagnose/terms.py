"""Synthetic forces/<term>/* and the metrics of the terms themselves: terms that work, and inert ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.diagnose.ranges import IDLE_ZEROS

if TYPE_CHECKING:
    from benchmarks.diagnose.world import World


def log_terms(world: World) -> None:
    """What pushes entropy: the loss down or, where it rises, a bonus up; and some terms at work."""
    if not world.full:
        return
    slope = np.gradient(np.log(world.entropy))
    names = ["loss", *world.rng.permutation(["entropy_bonus", "kl_ref"])[: world.rng.integers(0, 3)]]
    sizes = world.rng.dirichlet(np.ones(len(names)) * 3)
    for name, size in zip(names, sizes, strict=True):
        push = slope * (1.2 if name == "loss" else -0.2) * world.entropy
        world.exact[f"forces/{name}/share"] = np.clip(size + 0.02 * world.ar(0.3), 1e-4, 1)
        world.exact[f"forces/{name}/entropy"] = push + 0.002 * world.start * world.ar(0.3)
    working_terms(world)


def working_terms(world: World) -> None:
    rng, length = world.rng, world.length
    if rng.random() < 0.5:  # Clip-Cov: touches few tokens, and at many steps none
        idle = rng.random(length) < world.draw(IDLE_ZEROS)
        share = np.where(idle, 0.0, 2e-4 * rng.uniform(0.5, 1.5, length))
        world.exact |= {"clip_cov/fraction": share, "clip_cov/admissible": share * 20}
        if world.full:
            world.exact |= {"forces/clip_cov/touched_up": share, "forces/clip_cov/touched_down": share * 0.0}
    if rng.random() < 0.5:  # KL-Cov: nothing at the first update of each generation
        updates = int(rng.choice([2, 4]))
        distance = np.where(np.arange(length) % updates == 0, 0.0, rng.uniform(0.01, 0.1, length))
        world.exact |= {"kl_cov/fraction": np.full(length, 2e-3), "kl_cov/distance": distance}
        if world.full:
            world.exact["forces/kl_cov/share"] = np.clip(distance, 0, 1)
            world.exact |= {f"forces/kl_cov/touched_{side}": np.full(length, 1e-3) for side in ("up", "down")}
    if rng.random() < 0.3 and "control/penalties.entropy_bonus.coef/output" not in world.exact:
        # A loop whose coefficient rests at 0 most of the time: nothing to do is not inert.
        acting = np.where(world.rise(0.0) > 0.8, 1e-3, 0.0)
        world.exact["control/penalties.entropy_bonus.coef/output"] = acting
        world.exact["forces/entropy_bonus/share"] = acting * 10


def inert_kl_cov(world: World) -> None:
    """One update a generation: the policy is the old policy, and the distance between them 0."""
    zero = np.zeros(world.length)
    world.exact |= {"kl_cov/fraction": np.full(world.length, 2e-3), "kl_cov/distance": zero}
    if world.full:
        touched = float(world.rng.choice([0.0, 1e-3]))
        world.exact["forces/kl_cov/share"] = zero
        world.exact |= {f"forces/kl_cov/touched_{side}": np.full(world.length, touched) for side in ("up", "down")}


def inert_clip_cov(world: World) -> None:
    """A band in which no covariance ever lies."""
    zero = np.zeros(world.length)
    world.exact |= {"clip_cov/fraction": zero, "clip_cov/admissible": zero}
    if world.full:
        world.exact |= {f"forces/clip_cov/touched_{side}": zero for side in ("up", "down")}
