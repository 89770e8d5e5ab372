"""The stream of prompts at work: what a generation asks, and which groups of completions it trains on.

    asked       before a generation: prompts that a sieve leaves out give way to others
    completed   after it: groups that teach nothing give way to groups that waited, and to groups of further prompts

All ranks hold the same numbers and take the same decisions, so that they come to every further rollout together. TRL has logged
the generation as drawn by then; what is put together here is what trains.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor

from entropostat.rl.batch import TokenBatch
from entropostat.rl.objective import Objective
from entropostat.rl.reduce import Reducer
from entropostat.rl.stream import Group
from entropostat.trainers.rollout.bank import gathered_answers, rows_of
from entropostat.trainers.rollout.refill import REFERENCE, SCORED, Generate, Rounds, Settled, Waiting, nested
from entropostat.trainers.rollout.reserve import Reserve, identity
from entropostat.trainers.rollout.rollouts import Shape, weighted_rewards
from entropostat.trainers.rollout.sieves import Sieves
from entropostat.trainers.trl.aggregation import completion_mask
from entropostat.trainers.trl.log import newest, note, show_instead
from entropostat.trainers.trl.sampling import Further
from entropostat.trainers.trl.scoring import Scoring


class PromptStream:
    """What lies between the training table and the loss."""

    def __init__(self, trainer: Any, scoring: Scoring, shape: Shape, reducer: Reducer) -> None:
        self.trainer, self.scoring, self.shape, self.reducer = trainer, scoring, shape, reducer
        self.reserve = Reserve(trainer.train_dataset, trainer.args.seed)
        self.sieves = Sieves(trainer.args.seed)
        self.waiting: Waiting | None = None
        self._asked: list[str] = []
        """Identities of the prompts of this generation, those of further rounds included."""
        self._sources: list[Any] = []
        self._drawn: Tensor | None = None
        """(N,) rewards of all ranks before any group was replaced; None: the generation trains as it was drawn."""
        self._answers: Sequence[Any] | None = None
        self._silent: Tensor | None = None

    def _mine(self, rows: int) -> slice:
        """Of the rows of all ranks, where this one has so many."""
        rank = self.trainer.accelerator.process_index
        return slice(rank * rows, (rank + 1) * rows)

    # ------------------------------------------------------------------------------------------ before a generation

    def asked(self, inputs: list[dict[str, Any]], objective: Objective) -> list[dict[str, Any]]:
        """This rank's rows of the generation."""
        self._drawn = self._answers = self._silent = None
        if not objective.data or not self.trainer.model.training:
            return inputs
        size = self.trainer.num_generations
        rows = gather_object([(identity(row), row.get("source")) for row in inputs])[::size]
        self._asked, self._sources = [key for key, _ in rows], [source for _, source in rows]
        self.sieves.begin(objective.data, self.trainer.generations)
        left = [place for place, key in enumerate(self._asked) if not self.sieves.takes(key)]
        found = dict(zip(left, self._draw(len(left)), strict=False))  # what nothing replaces is asked all the same
        for place, (key, _) in found.items():
            self._asked[place] = key
        first = self._mine(len(inputs)).start
        places = [(first + i) // size for i in range(len(inputs))]
        return [self._row(found[p][1]) if p in found else row for p, row in zip(places, inputs, strict=True)]

    def _row(self, place: int) -> dict[str, Any]:
        return dict(self.reserve.table[place])

    def _draw(self, count: int) -> list[tuple[str, int]]:
        """Further prompts that are not part of this generation, and that pass the sieves."""
        present = {*self._asked}

        def takes(key: str) -> bool:
            if key in present or not self.sieves.takes(key):
                return False
            present.add(key)
            return True

        return self.reserve.draw(count, self._sources, takes) if count else []

    # ------------------------------------------------------------------------------------------ after it

    def completed(
        self, output: dict[str, Any], objective: Objective, generate: Generate, needs: frozenset[str]
    ) -> dict[str, Any]:
        """TRL's ``output`` with the groups that train. ``generate`` is TRL's own method, ``needs`` are the batch fields that
        the rollout phase reads."""
        if not objective.data or not self.trainer.model.training:
            return output
        trainer, refill = self.trainer, objective.refill
        answers = None if trainer.answer_keys is None else trainer.answer_keys()
        fresh = Further(output, trainer._rewards_per_func, answers, {}, 0)
        self._remember(self._asked, fresh)
        if refill is not None:
            fresh = fresh._replace(shown=newest(trainer._logs, len(fresh.per_func)))
            rounds = Rounds(trainer, objective, refill, self.scoring, needs, self.shape, self.reducer)
            settled = rounds.settled(fresh, self.waiting, self, generate)
            self.waiting = None if settled is None else settled.waiting
            for name, told in rounds.told.items():
                note(trainer, told, f"{name}/")
            output = output if settled is None else self._merged(fresh, settled)
        for name, told in self.sieves.report():
            note(trainer, told, f"{name}/")
        return output

    def further(self, count: int, unit: int) -> list[dict[str, Any]]:
        """Rows of ``count`` further prompts, or as many as there are, in a multiple of ``unit``."""
        found = self._draw(-(-count // unit) * unit)
        rows = [self._row(place) for _, place in found]
        self._asked += [key for key, _ in found]
        return rows + [rows[i % len(rows)] for i in range(-len(rows) % unit)]

    def told(self, rows: Sequence[dict[str, Any]], found: Further) -> None:
        """What came of further prompts."""
        self._remember([identity(row) for row in rows] if self.sieves.terms else [], found)

    def _remember(self, keys: Sequence[str], found: Further) -> None:
        if not self.sieves.terms:
            return
        size, rewards = self.trainer.num_generations, weighted_rewards(self.trainer, found.per_func).tolist()
        answers = gathered_answers(found.answers)
        for at, key in enumerate(keys):
            rows = slice(at * size, (at + 1) * size)
            self.sieves.remember(key, Group(tuple(rewards[rows]), None if answers is None else tuple(answers[rows])))

    def _merged(self, fresh: Further, settled: Settled) -> dict[str, Any]:
        """This rank's part of what trains, under TRL's names."""
        trainer, size = self.trainer, self.trainer.num_generations
        self._drawn = weighted_rewards(trainer, fresh.per_func)
        places = rows_of(settled.groups, size, self._drawn.device)
        mine = self._mine(fresh.output["prompt_ids"].size(0))
        every, own = settled.whole.rows(places), settled.whole.rows(places[mine])
        trainer._rewards_per_func = every.tensors["per_func"]
        show_instead(trainer._logs, every.shown)
        self._answers = own.answers
        silent = torch.zeros_like(self._drawn, dtype=torch.bool)
        silent[rows_of(settled.silent, size, silent.device)] = True
        self._silent = silent[mine]
        rows = {key: x for key, x in own.tensors.items() if key != "per_func"}
        scored = {key.removeprefix(SCORED): rows.pop(key) for key in [*rows] if key.startswith(SCORED)}
        self.scoring.settle(nested(scored), rows.pop(REFERENCE, None))
        tokens = trainer.accelerator.gather(completion_mask(rows).sum()).sum()
        return {**fresh.output, **rows, "num_items_in_batch": tokens}

    # ------------------------------------------------------------------------------------------ what others ask

    def answers(self, otherwise: Callable[[], tuple[str | None, ...] | None]) -> tuple[str | None, ...] | None:
        """Of this rank's completions: those of a generation that was put together are not the keys of the last scoring."""
        if self._drawn is None:
            return otherwise()
        return None if self._answers is None else tuple(self._answers)

    def drawn(self, batch: TokenBatch, otherwise: Tensor | None) -> Tensor | None:
        """(B,) rewards of the generation as it was drawn, by which the run is judged; ``otherwise`` where it trains as it is."""
        return otherwise if self._drawn is None else self._drawn[self._mine(batch.mask.size(0))]

    def silenced(self, advantages: Tensor) -> Tensor:
        """0 for the groups that teach nothing and that nothing has replaced."""
        if self._silent is None:
            return advantages
        return advantages.masked_fill(self._silent.view(-1, *[1] * (advantages.dim() - 1)), 0.0)
