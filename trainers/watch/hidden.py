"""How many directions the policy's hidden states take: RankMe of a bounded sample of tokens, over all processes.

Off unless ``tracking.rankme`` asks for some tokens. In the first optimizer step of a monitored generation each process takes its
share of them, spread evenly over the completions that it trains on anyway, and the states are gathered once. They are read without
a graph. A temperature that scales all of them alike changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from entropostat.rl.diagnostics.diversity import rankme
from entropostat.rl.reduce import Reducer, world_of
from entropostat.trainers.model.vocabulary import innermost


class HiddenRank:
    """Looks at the forwards of one window, and then at none until it is told to ``begin`` again."""

    def __init__(self, trainer: Any, tokens: int, reducer: Reducer) -> None:
        """``tokens``: how many over all processes; 0: never."""
        self.trainer, self.reducer = trainer, reducer
        self.share = -(-tokens // world_of(reducer))
        self.on = False
        self._taken: list[Tensor] = []
        self._states: list[Tensor] = []

    def begin(self) -> None:
        self.on, self._taken = self.share > 0, []

    @contextmanager
    def looking(self, completion: int) -> Iterator[None]:
        """Around the forwards of one micro-batch, whose last ``completion`` columns are completions."""
        self._states = []
        if not self.on:
            yield
            return
        keep = lambda *call: self._states.append(call[2].last_hidden_state[:, -completion:].detach())
        handle = innermost(self.trainer.model).base_model.register_forward_hook(keep)
        try:
            yield
        finally:
            handle.remove()

    def sample(self, mask: Tensor) -> None:
        """Of the micro-batch that was looked at last: ``mask`` (B, T) is that of its completions; further rows and columns, of
        completions that only joined the forward, stand behind them."""
        states, self._states = self._states, []
        if not states:
            return
        rows, length = mask.shape
        found = torch.cat(states)[:rows, :length][mask.bool()]
        wanted = min(math.ceil(self.share / self.trainer.current_gradient_accumulation_steps), len(found))
        wanted = min(wanted, self.share - sum(map(len, self._taken)))
        # Evenly spaced, the same in every run: nothing is drawn.
        places = (torch.arange(wanted, device=found.device) * len(found)) // max(wanted, 1)
        self._taken.append(found[places].to(torch.promote_types(found.dtype, torch.float32)))

    def close(self) -> float:
        """RankMe of what all processes have taken; NaN without a token, or where a state is no number. A collective, once the window of ``begin`` is over."""
        every = self.reducer.gather(torch.cat(self._taken))
        self.on, self._taken = False, []
        return float(rankme(every)) if len(every) and bool(every.isfinite().all()) else math.nan
