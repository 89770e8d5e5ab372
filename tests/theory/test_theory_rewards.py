"""What reward terms do to entropy, and a KL by the difficulty of a prompt, on drawn policies."""

from __future__ import annotations

import torch
from theory.tabular import SEEDS, draw, entropies, objective, slopes, tokens


def test_a_reward_for_being_unlike_the_others_raises_entropy_where_all_are_right():
    """The distance of a completion from the others is the share of them that are not it: what is rare earns more."""
    o = objective(rewards=[("diversity", {"coef": 1.0})])
    for seed in SEEDS:
        case = draw(seed)
        rows = case.all()
        batch = tokens(case, case.logits, rows)
        right = torch.ones(len(rows[0]), dtype=torch.float64)
        earned = o.reward(batch.set(unshaped=right, token_ids=rows[1].unsqueeze(1)), {}, learn=True).rewards
        values = torch.zeros_like(case.p)
        values[rows] = earned - 1
        centred = values - (case.p * values).sum(1, keepdim=True)
        assert (slopes(case, values=centred) > 0).all()
        assert (values.argmax(1) == case.p.argmin(1)).all() or (case.counts.sort(1).values.diff(dim=1) == 0).any()


def test_each_bucket_is_pulled_to_the_reference_by_its_own_beta():
    """The state's gradient is its own beta's alone: of a flat reference, entropy rises in the states of that bucket only."""
    for seed in list(SEEDS)[:10]:
        case = draw(seed)
        rows = case.all()
        level = torch.tensor([1.0, 0.0, 1.0])[rows[0]]  # the middle prompt is hard, the others are easy
        for name, there in {"easy": [True, False, True], "hard": [False, True, False]}.items():
            betas = {"easy": 0.0, "medium": 0.0, "hard": 0.0, name: 1.0}
            o = objective(penalties=[("kl_bucket", {"coef": 1.0, **betas})])
            z = case.logits.clone().requires_grad_()
            batch = tokens(case, z, rows)
            batch = batch.set(ref_logps=torch.full_like(batch.logps, -1.791759469228055), unshaped=level)
            stats = o.rollout(batch.detached()).stats
            value, _ = o.penalty(o.penalties[0], batch, stats)
            (down,) = torch.autograd.grad(value.sum(), z)
            (up,) = torch.autograd.grad(entropies(z).sum(), z)
            moved = -(down * up).sum(1)
            assert [bool(x > 1e-9) for x in moved] == there
