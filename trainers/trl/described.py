"""What a generation is besides its log-probs: lengths, ids and text of its completions, as far as a term reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from entropostat.client.pieces import piece


class Described:
    """Batch fields of the completions of a generation, by the tokenizer of the trainer."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        self._pieces: dict[int, str] = {}
        """Token -> its text: a vocabulary is decoded once, as far as it occurs."""

    def fields(self, output: Mapping[str, Any], needs: frozenset[str]) -> dict[str, Any]:
        """Those of ``needs`` that are found here, of this rank's completions."""
        ids: Tensor = output["completion_ids"]
        found: dict[str, Any] = {"token_ids": ids} if "token_ids" in needs else {}
        if "truncated" in needs:
            found["truncated"] = truncated(self.trainer, output)
        if needs & {"lengths", "pieces", "texts"}:
            lengths = self.lengths(output)
            found |= {"lengths": lengths} if "lengths" in needs else {}
            rows = [row[:length] for row, length in zip(ids.tolist(), lengths.tolist(), strict=True)]
            if "pieces" in needs:
                found["pieces"] = tuple(tuple(map(self._piece, row)) for row in rows)
            if "texts" in needs:
                found["texts"] = tuple(self.trainer._tokenizer.batch_decode(rows, skip_special_tokens=True))
        return found

    def lengths(self, output: Mapping[str, Any]) -> Tensor:
        """(B,) by the mask; where `mask_truncated_completions` has emptied it, up to the padding."""
        ids, mask = output["completion_ids"], output["completion_mask"]
        place = torch.arange(1, ids.size(1) + 1, device=ids.device)
        unpadded = (ids != self.trainer._tokenizer.pad_token_id) * place
        return torch.where(mask.any(1, keepdim=True), mask.bool() * place, unpadded).amax(1)

    def _piece(self, token: int) -> str:
        if token not in self._pieces:
            self._pieces[token] = piece(self.trainer._tokenizer, token)
        return self._pieces[token]


def truncated(trainer: Any, output: Mapping[str, Any]) -> Tensor:
    """(B,) bool: the completion was stopped by its length, and did not end by a token that ends."""
    ids, mask = output["completion_ids"], output["completion_mask"].bool()
    ends = torch.tensor([*trainer.eos_token_ids, trainer._tokenizer.pad_token_id], device=ids.device)
    last = (torch.arange(ids.size(1), device=ids.device) * mask).amax(1, keepdim=True)
    # Where `mask_truncated_completions` has emptied the mask, this is the first token: what was cut did not end there.
    return ~torch.isin(ids.gather(1, last).squeeze(1), ends)
