"""Which tokens a truncated sampler keeps, where no library has the rule as its paper states it.

Top-H (Potraghloo et al. 2025, Top-H Decoding, arXiv:2509.02510): the most likely tokens, as many as keep the entropy of what is
left, renormalised, within a share of the whole distribution's,

    S = the largest set of most likely tokens with H(p / p(S) on S) <= alpha H(p),  and the likeliest token at least

transformers' ``top_h`` and the authors' code compare the sum of -p log p over S, not renormalised, of the 100 likeliest tokens
alone: on flat distributions what they keep has more entropy than the bound allows. Each further token is no likelier than those
before it, so that the entropy of the set grows with it, and the largest set is found by one scan.

Mirostat (Basu et al. 2021, arXiv:2007.14966), version 2: tokens whose surprise is at most mu bits, and after each draw

    mu <- mu - eta (surprise - tau)

so that the surprise of the text is held at tau bits a token. The paper's surprise is that of the whole distribution; llama.cpp's
is that of the kept tokens, renormalised. mu starts at 2 tau. Version 1, which first fits a Zipf exponent, is not here: it fails
where two tokens tie.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

BITS = 1 / math.log(2)


def top_h(logits: Tensor, alpha: float) -> Tensor:
    """(..., V) bool: the tokens that Top-H keeps of (..., V) ``logits``, at the sampling temperature."""
    logp, order = logits.double().log_softmax(-1).sort(dim=-1, descending=True, stable=True)
    p = logp.exp()
    parts = torch.where(p > 0, p * logp, 0.0).cumsum(-1)
    mass = p.cumsum(-1)
    entropy = mass.log() - parts / mass
    inside = entropy <= -alpha * parts[..., -1:]
    inside[..., 0] = True
    inside = inside.long().cumprod(-1).bool() & (p > 0)
    return torch.zeros_like(inside).scatter(-1, order, inside)


def surprise(logits: Tensor) -> Tensor:
    """(..., V) -log2 p, bits."""
    return -logits.double().log_softmax(-1) * BITS


def mirostat(bits: Tensor, mu: Tensor) -> Tensor:
    """(B, V) bool: tokens with at most ``mu`` (B,) bits, and the likeliest of each row at least."""
    kept = bits <= mu.unsqueeze(-1)
    return kept.scatter(-1, bits.argmin(-1, keepdim=True), True)


def mirostat_step(mu: Tensor, bits: Tensor, kept: Tensor, token: Tensor, tau: float, eta: float, whole: bool) -> Tensor:
    """(B,) mu after (B,) ``token`` was drawn among the ``kept``: by its surprise in the ``whole`` distribution, or in them."""
    drawn = bits.gather(-1, token.unsqueeze(-1)).squeeze(-1)
    if not whole:
        mass = torch.where(kept, torch.exp2(-bits), 0.0).sum(-1)
        drawn = drawn + mass.log2()
    return mu - eta * (drawn - tau)
