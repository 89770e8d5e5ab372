"""What each part of the loss does to entropy, from its gradient at the log-probs and entropies of the tokens.

A part of the loss pulls the sampled token k up by a = -dL/dlogp and the entropy of its state by b = -dL/dH. What a step of
learning rate 1 on the logits changes the entropy by, to first order, per state:

    natural gradient     -a (log p_k + H)  +  b Var(log p)         z += a (e_k / p_k - 1) - b (log p + H)
    plain gradient       -a (S_k - E S)    +  b sum_j S_j^2        z += a (e_k - p) - b S        (dynamics.py)

The first needs nothing but the token's own log-prob and entropy, is exact in a, and its mean over the policy's own tokens is
Cui et al.'s -Cov(log p, a) (arXiv:2505.22617). The second needs sum p^2 and sum p^2 log p, and is used where a term has asked
for them. Var(log p) and sum S^2 are not at hand: (log p_k + H)^2 and p_k (log p_k + H)^2 stand for them, whose means over the
policy's own tokens they are. Neither is the step of a real optimizer on shared weights: signs and proportions count, and
what the sum is worth in nats is learned by setting it against what was realised.
"""

from __future__ import annotations

import torch
from torch import Tensor

from entropostat.rl.batch import TokenBatch
from entropostat.rl.dynamics import excess_log_probability, predicted_dh
from entropostat.rl.needs import STATISTICS, TEACHER

Pull = dict[str, Tensor]
"""Minus the gradient of a part of the loss, by the batch field that it belongs to."""


def fields(batch: TokenBatch) -> dict[str, Tensor]:
    """What the forward pass gave with a graph, by name; ``extra`` are the log-probs of the extra completions."""
    graphed = {name: getattr(batch, name) for name in ("logps", "entropy", *STATISTICS)}
    for name in ("lse", TEACHER):
        graphed |= {f"{name} {key}": value for key, value in (getattr(batch, name) or {}).items()}
    if batch.extra is not None:
        graphed["extra"] = batch.extra.logps
    return {name: x for name, x in graphed.items() if isinstance(x, Tensor) and x.requires_grad}


def pulls(part: Tensor, at: dict[str, Tensor], weight: Tensor | None = None) -> Pull:
    """Minus the gradient of ``part``, a scalar or, with its share of the loss in ``weight``, (B, T). Keeps the graph."""
    if not part.requires_grad:
        return {}
    gradients = torch.autograd.grad(part, list(at.values()), weight, retain_graph=True, allow_unused=True)
    return {name: -value for name, value in zip(at, gradients, strict=True) if value is not None}


def push(
    logp: Tensor,
    entropy: Tensor,
    up: Tensor | None,
    bonus: Tensor | None = None,
    sums: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """(B, T) change of each token's entropy by a step of learning rate 1: ``up`` is a, ``bonus`` b, ``sums`` the
    statistics (sum p^2, sum p^2 log p) for the plain gradient, None for the natural one."""
    excess = excess_log_probability(logp, entropy)
    parts = []
    if up is not None:
        parts.append(-up * excess if sums is None else predicted_dh(logp, entropy, *sums, up))
    if bonus is not None:
        parts.append(bonus * (excess.square() if sums is None else logp.exp() * excess.square()))
    return parts[0] + parts[1] if len(parts) == 2 else parts[0] if parts else torch.zeros_like(logp)


@torch.no_grad()
def force(pull: Pull, batch: TokenBatch) -> Tensor:
    """(2,) float64 sums over the valid tokens: |force|, the sizes of all gradients, and the push on entropy.

    The push is NaN for a part that acts through other statistics than log-probs and entropies: it is not known.
    """
    size = torch.zeros((), dtype=torch.float64, device=batch.mask.device)
    total = size.clone()
    own = {name: value for name, value in pull.items() if name != "extra"}
    if own:
        first, *others = (value.abs() for value in own.values())
        absolute = sum(others, first)
        known = not set(own) - {"logps", "entropy"}
        logp, entropy = batch.logps, batch.require("entropy")
        sums = None
        if batch.sum_p2 is not None and batch.sum_p2_logp is not None:
            sums = batch.sum_p2, batch.sum_p2_logp
        pushed = push(logp, entropy, own.get("logps"), own.get("entropy"), sums)
        pushed = pushed if known else torch.full_like(pushed, torch.nan)
        size, total = torch.stack([absolute, pushed]).masked_fill_(batch.invalid, 0.0).double().sum((1, 2)).unbind()
    if "extra" in pull and batch.extra is not None:
        extra, valid, a = batch.extra, batch.extra.mask.bool(), pull["extra"]
        size = size + torch.where(valid, a.abs(), 0.0).double().sum()
        pushed = a if extra.entropy is None else push(extra.logps, extra.entropy, a)
        pushed = torch.where(valid, pushed, 0.0).double().sum()
        total = total + (pushed if extra.entropy is not None else torch.nan * pushed)
    return torch.stack([size, total])


def touched(masks: list[Tensor], batch: TokenBatch) -> Tensor:
    """(K, 2) float64: tokens that each (B, T) bool mask holds, with A > 0 and with A < 0."""
    a = batch.token_advantages
    signs = torch.stack([batch.valid & (a > 0), batch.valid & (a < 0)])
    return (torch.stack(masks).unsqueeze(1) & signs).sum((2, 3)).double()
