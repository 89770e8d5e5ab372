"""How a step on the logits of one state changes its entropy, to first order, from sums of the vocabulary pass.

With p = softmax(z), H its entropy and S_j = p_j (H + log p_j), which sums to 0 over the vocabulary:

    dH/dz_j = -S_j                                       (H falls where a token likelier than exp(-H) gains)
    z_k += eps               dH = -eps S_k               one logit moves
    z   += move (e_k - p)    dH = -move (S_k - E S)      a policy-gradient step on token k, move = lr * ratio * A
    E S = sum_j p_j S_j = H sum p^2 + sum p^2 log p

Source: On the Entropy Dynamics in RFT, arXiv:2602.03392, Theorems 3.2 and 3.3; re-derived and checked by differences.
STEER's Omega is the one-logit form with eps = lr * ratio * A (1 - p_k), which leaves out what the other logits do (its
source is not confirmed). For a whole tabular state, Cui et al. 2025, arXiv:2505.22617: dH = -Cov_p(log p, change of z).

All of this is inert where the policy is uniform or decided: every S_j is then 0.
"""

from __future__ import annotations

import torch
from torch import Tensor


def excess_log_probability(logp: Tensor, entropy: Tensor) -> Tensor:
    """H + log p: its mean under the policy is 0, and it is positive where a token is likelier than exp(-H)."""
    return entropy + logp.clamp(min=-1e4)


def entropy_slope(logp: Tensor, entropy: Tensor) -> Tensor:
    """S of the sampled token: minus the slope of the entropy along its logit. Finite for log p = -inf."""
    return logp.exp() * excess_log_probability(logp, entropy)


def mean_entropy_slope(entropy: Tensor, sum_p2: Tensor, sum_p2_logp: Tensor) -> Tensor:
    """E S under the policy itself."""
    return entropy * sum_p2 + sum_p2_logp


def predicted_dh_of_one_logit(logp: Tensor, entropy: Tensor, step: Tensor | float) -> Tensor:
    """Entropy change when only the sampled token's logit moves by ``step``."""
    return -step * entropy_slope(logp, entropy)


def predicted_dh(logp: Tensor, entropy: Tensor, sum_p2: Tensor, sum_p2_logp: Tensor, move: Tensor | float) -> Tensor:
    """Entropy change of the full softmax step move * (e_k - p) on the sampled token k."""
    return -move * (entropy_slope(logp, entropy) - mean_entropy_slope(entropy, sum_p2, sum_p2_logp))


def one_logit_move(logp: Tensor, ratio: Tensor, advantages: Tensor) -> Tensor:
    """What a policy-gradient step of learning rate 1 adds to the sampled token's own logit."""
    return ratio * advantages * -torch.expm1(logp.clamp(max=0.0))


def policy_covariance(log_probs: Tensor, values: Tensor) -> Tensor:
    """(..., V) -> (...) Cov of log p and values under p itself: minus the entropy change per unit of a step ``values``."""
    log_probs = log_probs.clamp(min=-1e4)
    p = log_probs.exp()
    centre = (p * values).sum(-1, keepdim=True)
    return (p * log_probs * (values - centre)).sum(-1)


def policy_gradient_move(log_probs: Tensor, advantages: Tensor) -> Tensor:
    """(..., V) change of the logits by an exact policy-gradient step of learning rate 1."""
    p = log_probs.exp()
    return p * (advantages - (p * advantages).sum(-1, keepdim=True))
