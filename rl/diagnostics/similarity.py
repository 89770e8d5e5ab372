"""How alike the completions of one prompt are, and those of different prompts, by the n-grams of their tokens.

A completion is the vector of the counts of its 3-grams, at unit length; two are as alike as their cosine. The grams of a
completion begin before its first token, so that one of a single token has one, and only the policy's own tokens count. Counts
are hashed into WIDTH places with a random sign (count sketch), which leaves cosines unbiased with a deviation of WIDTH^-1/2.

    vendi1, vendi2        (V - 1) / (n - 1) with the Vendi score V of the n completions of a prompt: 0 all alike, 1 nothing in common;
                          of order 2 without an eigenvalue, n^2 / |K|_F^2
    similarity            mean cosine of two completions of a prompt
    similarity_across     of two completions of different prompts of a rank. As high as the one within: texts ignore their prompt

A completion without tokens is like itself alone. Long texts that share little all have a Vendi score near n: then the mean
cosine still tells.
"""

from __future__ import annotations

import torch
from torch import Tensor

from entropostat.rl.diagnostics.diversity import vendi_1_and_2
from entropostat.rl.diagnostics.text import BASE, gram_hashes
from entropostat.rl.reduce import Members

GRAM = 3
BITS = 11
WIDTH = 1 << BITS


def sketches(ids: Tensor, valid: Tensor) -> Tensor:
    """(B, WIDTH) float32 of length 1, or 0 for a completion without tokens. (B, T) ids and bool valid."""
    marked = torch.nn.functional.pad(torch.where(valid, ids + 1, 0), (GRAM - 1, 0))
    hashes = gram_hashes(marked, GRAM)
    # Sums of products alone put ids in a row into places in a row.
    hashes = (hashes ^ hashes.bitwise_right_shift(32)) * BASE
    place = hashes.bitwise_right_shift(64 - BITS) & (WIDTH - 1)
    sign = torch.where(valid, (hashes.bitwise_right_shift(32) & 1) * 2 - 1, 0).float()
    counts = torch.zeros(ids.size(0), WIDTH, device=ids.device).scatter_add_(1, place, sign)
    return torch.nn.functional.normalize(counts, dim=1)


def likeness(unit: Tensor, members: Members) -> dict[str, Tensor]:
    """(2,) float64 totals and counts, to add up over ranks. ``unit`` is (B, D); ``members`` of whole groups."""
    matrix = unit[members.rows] * members.there.unsqueeze(2)
    # The kernels of a few completions each: their eigenvalues are found sooner where a launch costs nothing.
    kernel, there = (matrix @ matrix.mT).double().cpu(), members.there.cpu()
    n = there.sum(1)
    several, size = n > 1, n.double()
    groups = several.sum()
    kernel.diagonal(dim1=1, dim2=2).copy_(there)
    pairs = (n * (n - 1)).sum()
    of_pairs = kernel.sum() - n.sum()
    first, second = vendi_1_and_2(kernel, n)
    scores = ((torch.stack([first, second]) - 1) / (n - 1)).clamp(0, 1)
    scores = torch.where(several, scores, 0.0).sum(1)
    told = {f"vendi{q}": torch.stack([score, groups]) for q, score in zip((1, 2), scores, strict=True)}
    told["similarity"] = torch.stack([of_pairs, pairs])
    centre = matrix.sum(1).double()
    across = centre.sum(0).square().sum() - centre.square().sum()
    told["similarity_across"] = torch.stack([across.cpu(), size.sum() ** 2 - size.square().sum()])
    return {name: sums.double().to(unit.device) for name, sums in told.items()}
