"""Which tokens of a generation belong to a strategic phrase: the text of the completions, and what has been mined from it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor

from entropostat.client.pieces import piece
from entropostat.rl.objective import Objective
from entropostat.rl.phrases import Mined, Phrases, candidates, matches, shannon, words
from entropostat.trainers.trl.aggregation import completion_mask
from entropostat.trainers.trl.log import note


class Planning:
    """Fills ``batch.planning`` where a term asks for it. Remembers the phrases of all right completions of the run."""

    def __init__(self, trainer: Any, template: Objective) -> None:
        self.trainer = trainer
        asked = [part.term.phrases for part in template.advantages if part.term.phrases is not None]
        if any(phrases != asked[0] for phrases in asked[1:]):
            raise ValueError("objective.advantages: two terms ask for other phrases; give both the same options")
        self.mined: Mined | None = Mined(asked[0]) if asked else None

    def mask(self, output: Mapping[str, Any], rewards: Tensor) -> Tensor | None:
        """(B, T) bool for this rank's completions; None where nothing asks. In training right ones are learned from first."""
        if self.mined is None:
            return None
        ids, mask = output["completion_ids"], completion_mask(output)
        wanted, tokenizer = self.mined.wanted, self.trainer._tokenizer
        texts = [located(tokenizer, row[kept.bool()].tolist()) for row, kept in zip(ids, mask, strict=True)]
        if self.trainer.model.training:
            self._learn(
                [text for (text, _), r in zip(texts, rewards.tolist(), strict=True) if r > wanted.success], wanted
            )
        phrases, marks, counts = self.mined.phrases(), torch.zeros_like(mask, dtype=torch.bool), Counter[str]()
        for row, (text, ends) in enumerate(texts):
            found = words(text)
            places = mask[row].bool().nonzero().squeeze(1)
            for first, n, phrase in matches([word for word, *_ in found], phrases):
                begin, end = found[first][1], found[first + n - 1][2]
                marks[row, places[bisect_right(ends, begin) : bisect_left(ends, end) + 1]] = True
                counts[phrase] += 1
        every = sum(self._gathered(counts), Counter[str]())
        note(self.trainer, {"phrases": float(len(phrases)), "semantic_entropy": shannon(every.values())}, "planning/")
        return marks

    def _learn(self, right: Sequence[str], wanted: Phrases) -> None:
        found: Counter[str] = Counter()
        for text in right:
            found.update(candidates(text, wanted.shortest, wanted.longest))
        assert self.mined is not None
        self.mined.learn(sum(self._gathered(found), Counter[str]()))

    def _gathered(self, counts: Counter[str]) -> list[Counter[str]]:
        """Of all ranks, in their order."""
        return gather_object([counts]) if self.trainer.accelerator.num_processes > 1 else [counts]

    def state_dict(self) -> dict[str, Any]:
        return {} if self.mined is None else self.mined.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self.mined is not None:
            self.mined.load_state_dict(state)


def located(tokenizer: Any, ids: Sequence[int]) -> tuple[str, list[int]]:
    """The text of the tokens, and where in it each of them ends, in characters.

    By the tokenizer's own offsets where it reads its text back as the same tokens; else token by token.
    """
    special = set(tokenizer.all_special_ids)
    plain = [i for i in ids if i not in special]
    text = tokenizer.decode(plain, clean_up_tokenization_spaces=False)
    if tokenizer.is_fast:
        read = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        if list(read["input_ids"]) == plain:
            places = iter(end for _, end in read["offset_mapping"])
            ends, last = [], 0
            for i in ids:
                last = last if i in special else next(places)
                ends.append(last)
            return text, ends
    pieces = ["" if i in special else piece(tokenizer, i) for i in ids]
    ends, total = [], 0
    for part in pieces:
        total += len(part)
        ends.append(total)
    return "".join(pieces), ends
