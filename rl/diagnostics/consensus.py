"""How far the completions of a prompt agree on an answer, and whether the answers depend on the prompt at all.

Within a prompt, over the n completions with an answer key, each with the share 1 / n:

    Hill numbers of the answers (diversity.py), the entropy ln Hill_1 in nats, and the share of the commonest answer
    semantic entropy: the same entropy with shares by likelihood, softmax of the mean log-prob per token (arXiv:2302.09664)

Across prompts, with a prompt's answers as one row of a table of counts n_xa:

    I(X; A) = H(A) - H(A | X)        information = I - E I        share = (I - E I) / (min(H(X), H(A)) - E I)

E I is the mean over all ways to deal the same answers out to the same prompts (hypergeometric; Vinh et al. 2010): so few
completions a prompt show much information where there is none. 0: the answers ignore their prompts, which entropy within a
prompt cannot show. RAGEN-2 (arXiv:2604.06268) calls that template collapse, and estimates I by scoring every text under every
prompt, a forward each; this is the same quantity of the answers alone, for free. Where all answers differ nothing can be told.

On all completions of a generation at once, float64, without a collective.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from entropostat.rl.diagnostics.diversity import leinster_cobbold
from entropostat.rl.reduce import group_matrix

ORDERS = (0, 1, 2)
ROUNDING = 1e-9


def consensus(prints: Tensor, groups: Tensor, likely: Tensor | None = None) -> dict[str, float]:
    """Means over the prompts with two answers and more; {} where nobody gives answer keys.

    ``prints`` (N,) as of ``answers.answer_prints``, ``groups`` (N,), of all ranks; ``likely`` (N,) mean log-prob per token.
    """
    asked = ~prints.isnan()
    if not bool(asked.any()):
        return {}
    told = {"parsed": float((prints[asked] >= 0).double().mean())}
    columns = torch.stack([prints, torch.zeros_like(prints) if likely is None else likely], dim=1)
    matrix = group_matrix(columns, groups).matrix
    matrix = matrix[(matrix[..., 0] >= 0).sum(1) > 1]
    if not len(matrix):
        return told
    keys, logps = matrix.unbind(-1)
    there = keys >= 0
    same = ((keys.unsqueeze(2) == keys.unsqueeze(1)) & there.unsqueeze(1)).double()
    p = there.double() / there.sum(1, keepdim=True)
    numbers = {order: leinster_cobbold(p, same, order) for order in (*ORDERS, math.inf)}
    told |= {f"hill{order}": float(numbers[order].mean()) for order in ORDERS}
    told |= {"entropy": float(numbers[1].log().mean()), "majority": float((1 / numbers[math.inf]).mean())}
    if likely is not None:
        mass = logps.masked_fill(~there, -torch.inf).softmax(1)
        told["semantic_entropy"] = float(leinster_cobbold(mass, same, 1).log().mean())
    return told


def information(prints: Tensor, groups: Tensor) -> dict[str, float]:
    """Of the completions with an answer; {} where fewer than two prompts have one, or all answers differ."""
    there = prints >= 0
    _, row, by_prompt = torch.unique(groups[there], return_inverse=True, return_counts=True)
    _, column, by_answer = torch.unique(prints[there], return_inverse=True, return_counts=True)
    if len(by_prompt) < 2:
        return {}
    total = int(there.sum())
    _, cells = torch.unique(row * len(by_answer) + column, return_counts=True)
    if len(by_answer) == 1:
        return {"information": 0.0, "information_share": 0.0}
    of_prompt, of_answer, of_both = (_entropy(counts, total) for counts in (by_prompt, by_answer, cells))
    expected = _by_chance(by_prompt, by_answer, total)
    found, room = of_prompt + of_answer - of_both - expected, min(of_prompt, of_answer) - expected
    if room < ROUNDING:  # however they are dealt out, they say the same
        return {}
    return {"information": found, "information_share": found / room}


def _entropy(counts: Tensor, total: int) -> float:
    return float(torch.special.entr(counts.double() / total).sum())


def _by_chance(rows: Tensor, columns: Tensor, total: int) -> float:
    """E I: sum over the cells of a table of these margins of E [n / N ln (N n / (a b))], n hypergeometric."""
    a, times_a = torch.unique(rows, return_counts=True)
    b, times_b = torch.unique(columns, return_counts=True)
    a, b = a.double().view(-1, 1, 1), b.double().view(1, -1, 1)
    n = torch.arange(1, int(a.max()) + 1, dtype=torch.float64).view(1, 1, -1).to(a.device)
    size = a.new_tensor(float(total))
    possible = (n <= a) & (n <= b) & (n >= a + b - size)
    log = _choose(a, n) + _choose(size - a, (b - n).clamp(min=0)) - _choose(size, b)
    parts = torch.where(possible, log.exp() * n / size * (size * n / (a * b)).log(), 0.0).sum(2)
    return float(times_a.double() @ parts @ times_b.double())


def _choose(x: Tensor, y: Tensor) -> Tensor:
    """Logarithm of the binomial coefficient."""
    return torch.lgamma(x + 1) - torch.lgamma(y + 1) - torch.lgamma((x - y).clamp(min=0) + 1)
