"""The n-gram penalty: a completion pays for the share of its n-grams that it has said before.

    r <- r - coef (1 - different n-grams / all n-grams)

Grams of tokens as in TRL's ``get_repetition_penalty_reward(gram, -coef)``, number by number; or of words (``of: words``), lower-case
and split at white space, as in open-r1's function of that name. Both have gram 3 and a penalty of at most -1. A completion with
fewer tokens or words than a gram pays nothing.

Demystifying Long Chain-of-Thought Reasoning, arXiv:2502.03373, pays token by token instead: each token of a 40-gram that stood
there before has -0.05, with a discount of its own; its code has the share of words, too, for wrong answers alone. Paper and
release agree on nothing but the idea, and this is the release's.

Words say nothing of a text without spaces, Chinese or the digits of a chain: there all is one word. Tokens that are masked, such
as those of tools, belong to no gram; of words they do, as the text has them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.measured import Mean
from entropostat.rl.needs import when
from entropostat.rl.registry import REWARDS, option
from entropostat.rl.sequence import texts_of
from entropostat.rl.term import Reward


@REWARDS.register(
    "repetition",
    paper="arXiv:2502.03373",
    rollout_needs=("unshaped", when(of="tokens").needs("token_ids"), when(of="words").needs("texts")),
    clock="rollout",
    provides={
        "repeated": "Mean share of a completion's n-grams that stood in it before, 0 to 1.",
        "clean": "Share of the completions that repeat nothing.",
    },
)
@dataclass(frozen=True)
class Repetition(Reward):
    """Against completions that go round in circles, which rewards for length or form invite.

    Added to the reward so far, right or wrong. Long texts repeat short grams anyway: with gram 3 a proof of a thousand tokens pays for its
    notation, with 40 only copied passages count.
    """

    coef: float = option(1.0, low=0.0, doc="penalty of a completion that says one thing only")
    gram: int = option(3, low=1, high=1024, doc="tokens or words of a gram")
    of: str = option("tokens", choices=("tokens", "words"), doc="what grams are made of; words: as open-r1")

    def __call__(self, batch: TokenBatch) -> Output:
        rewards, scored = batch.require("rewards"), ~batch.require("unshaped").isnan()
        if self.of == "tokens":
            ids, valid = batch.require("token_ids"), batch.valid
        else:
            ids, valid = _words(texts_of(batch), batch.mask.device)
        share = repeated(ids, valid, self.gram).to(rewards.dtype)
        return rewards - self.coef * share, {
            "repeated": Mean.over(share, scored),
            "clean": Mean.over((share == 0).to(rewards.dtype), scored),
        }


def repeated(ids: Tensor, valid: Tensor, gram: int) -> Tensor:
    """(B,) float64: share of the grams of each row of (B, T) ``ids`` that stand there before; grams lie within ``valid``, in one
    piece. 0 for a row without a gram.
    """
    rows, length = ids.shape
    if length < gram or not rows:
        return torch.zeros(rows, dtype=torch.float64, device=ids.device)
    # Exact, and not by a hash: every gram gets a number, that of a longer one is that of the two that cover it.
    numbers, width = ids.masked_fill(~valid, 0).unique(return_inverse=True)[1], 1
    while width < gram:
        step = min(width, gram - width)
        both = numbers[:, :-step] * (int(numbers.max()) + 1) + numbers[:, step:]
        numbers, width = both.unique(return_inverse=True)[1], width + step
    counted = torch.nn.functional.pad(valid.long().cumsum(1), (1, 0))
    whole = counted[:, gram:] - counted[:, :-gram] == gram
    size = int(numbers.max()) + 1
    row = torch.arange(rows, device=ids.device).unsqueeze(1)
    different = (row * size + numbers)[whole].unique().div(size, rounding_mode="floor").bincount(minlength=rows)
    return torch.where(whole.any(1), 1 - different.double() / whole.sum(1).clamp(min=1), 0.0)


def _words(texts: tuple[str, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """(B, W) a number for each word, and (B, W) bool where there is one."""
    split = [text.lower().split() for text in texts]
    known: dict[str, int] = {}
    ids = torch.zeros(len(split), max(map(len, split), default=0), dtype=torch.long)
    valid = torch.zeros_like(ids, dtype=torch.bool)
    for i, words in enumerate(split):
        ids[i, : len(words)] = torch.tensor([known.setdefault(word, len(known)) for word in words], dtype=torch.long)
        valid[i, : len(words)] = True
    return ids.to(device), valid.to(device)
