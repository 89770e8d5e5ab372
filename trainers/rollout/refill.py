"""One generation on its way to the groups that train: who teaches, who waited, who else is asked, and who takes which place."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from entropostat.rl.objective import Objective
from entropostat.rl.parts import Part
from entropostat.rl.reduce import Reducer
from entropostat.rl.stream import Recovery, Refill
from entropostat.trainers.rollout.bank import Bank, joined
from entropostat.trainers.rollout.rollouts import Shape
from entropostat.trainers.trl.sampling import Further, resample
from entropostat.trainers.trl.scoring import Scoring

Generate = Callable[[Any], dict[str, Any]]
Place = tuple[int, int]
"""A rollout, and a group in it."""
OLD, REFERENCE, SCORED = "old_per_token_logps", "entropostat-ref-entropy", "entropostat-scored/"
"""Of the rows of a rollout: TRL's key, and names under which what its forwards gave travels with them."""


class Prompts(Protocol):
    """Where further prompts come from (stream.py)."""

    def further(self, count: int, unit: int) -> list[dict[str, Any]]: ...

    def told(self, rows: Sequence[dict[str, Any]], found: Further) -> None: ...


class Waiting(NamedTuple):
    """Groups that found no place."""

    bank: Bank
    born: list[int]
    """The generation that each was sampled for."""


class Settled(NamedTuple):
    """What trains."""

    whole: Bank
    """The rows of all rollouts."""
    groups: list[int]
    """Of ``whole``, by place."""
    silent: list[int]
    """Places whose group teaches nothing."""
    waiting: Waiting | None
    told: dict[str, dict[str, float]]
    """Metrics by the name of the term."""


class Rounds:
    """The rollouts of one generation, and what the terms say of them."""

    def __init__(
        self,
        trainer: Any,
        objective: Objective,
        refill: Part[Refill],
        scoring: Scoring,
        needs: frozenset[str],
        shape: Shape,
        reducer: Reducer,
    ) -> None:
        self.trainer, self.refill, self.scoring, self.needs = trainer, refill, scoring, needs
        self.recovery: Part[Recovery] | None = objective.recovery
        self.shape, self.reducer = shape, reducer
        self.by_part = "reward_parts" in objective.rollout_needs
        self.size, self.now = trainer.num_generations, trainer.generations
        self.banks: list[Bank] = []
        self.ages: list[list[int]] = []
        """Of the groups of each bank."""

    def settled(self, fresh: Further, waiting: Waiting | None, prompts: Prompts, generate: Generate) -> Settled | None:
        """None where the generation as drawn is what trains. ``fresh`` is that generation."""
        teaching = self._teaching(fresh)
        places, missing = len(teaching), teaching.count(False)
        told = {"without_signal": missing / places, "rounds": 0.0, "prompts": 0.0, "tokens": 0.0, "discarded": 0.0}
        old = self._still_good(waiting)
        if not missing and not old:
            self.told = self._metrics({**told, "left": 0.0}, [0] * places, None)
            return None
        self._add(fresh._replace(output=self._scored(fresh.output)))
        if waiting is not None and old:
            self.banks.append(waiting.bank.groups(old, self.size))
            self.ages.append([self.now - waiting.born[group] for group in old])
        line = [(1, group) for group in range(len(old))]
        spare: list[Place] = []
        while told["rounds"] < self.refill.term.max_rounds and len(line) + len(spare) < missing:
            rows = prompts.further(self.refill.term.asks(missing - len(line) - len(spare), places), self._unit)
            if not rows:
                break
            further = self._sampled(rows, generate)
            prompts.told(rows, further)
            self._add(further)
            spare += [(len(self.banks) - 1, group) for group, good in enumerate(self._teaching(further)) if good]
            told["rounds"] += 1
            told["prompts"] += len(rows)
            told["tokens"] += further.tokens
        own = [(0, place) for place in range(places) if teaching[place]]
        chosen, rest = self._split(line, [*own, *spare], places)
        if spare and self.recovery is None:
            told["discarded"] = len(rest) / len(spare)
        return self._placed(places, chosen, rest, told)

    @property
    def _unit(self) -> int:
        """So many groups, or a multiple, have as many rows on every rank."""
        world: int = self.trainer.accelerator.num_processes
        return world // math.gcd(self.size, world)

    def _split(
        self, line: Sequence[Place], fresh: Sequence[Place], places: int
    ) -> tuple[Sequence[Place], Sequence[Place]]:
        if self.recovery is None:
            return fresh[:places], fresh[places:]
        return self.recovery.term.split(line, fresh, places)

    def _still_good(self, waiting: Waiting | None) -> list[int]:
        if self.recovery is None or waiting is None:
            return []
        return [i for i, born in enumerate(waiting.born) if self.now - born <= self.recovery.term.max_age]

    def _teaching(self, found: Further) -> list[bool]:
        """By group: whether its rewards, as the advantages will see them, say which completion is better."""
        columns = [self.reducer.gather(self.shape(found.per_func, found.output, again=True))]
        if self.by_part:
            weights = self.trainer.reward_weights.tolist()
            columns = [found.per_func[:, i] for i, weight in enumerate(weights) if weight]
        tables = [column.view(-1, self.size).tolist() for column in columns]
        return [any(map(self.refill.term.teaches, rewards)) for rewards in zip(*tables, strict=True)]

    def _sampled(self, rows: Sequence[dict[str, Any]], generate: Generate) -> Further:
        """One further rollout of these prompts, on all ranks together."""
        world, rank = self.trainer.accelerator.num_processes, self.trainer.accelerator.process_index
        every = [row for row in rows for _ in range(self.size)]
        share = len(every) // world
        with self.scoring.collecting():
            found = resample(self.trainer, generate, every[rank * share : (rank + 1) * share])
            return found._replace(output=self._scored(found.output))

    def _scored(self, output: dict[str, Any]) -> dict[str, Any]:
        """With what the forwards of this rollout gave, where TRL has scored it or its groups may come to wait."""
        new = dict(output)
        if OLD in output or self.recovery is not None:
            new[OLD], fields = self.scoring.complete(output, self.needs)
            new |= {SCORED + key: value for key, value in flat(fields).items()}
        entropy = self.scoring.ref_entropy
        return new if entropy is None else new | {REFERENCE: entropy}

    def _add(self, found: Further) -> None:
        bank = Bank.gathered(self.trainer, found.output, found.per_func, found.answers, found.shown)
        self.banks.append(bank)
        self.ages.append([0] * (len(bank) // self.size))

    def _placed(self, places: int, chosen: Sequence[Place], rest: Sequence[Place], told: dict[str, float]) -> Settled:
        """Groups of the generation stay where they are; others take the places that are free."""
        kept = {group for bank, group in chosen if bank == 0}
        others = iter([place for place in chosen if place[0] != 0])
        order = [(0, place) if place in kept else next(others, (0, place)) for place in range(places)]
        silent = [place for place, group in enumerate(order) if group == (0, place) and place not in kept]
        whole = joined(self.trainer, self.banks)
        starts = [sum(len(bank) for bank in self.banks[:i]) // self.size for i in range(len(self.banks))]
        at = lambda groups: [starts[bank] + group for bank, group in groups]
        waiting = None
        if self.recovery is not None and rest:
            born = [self.now - self.ages[bank][group] for bank, group in rest]
            waiting = Waiting(whole.groups(at(rest), self.size), born)
        ages = [self.ages[bank][group] for bank, group in order]
        self.told = self._metrics({**told, "left": len(silent) / places}, ages, waiting)
        return Settled(whole, at(order), silent, waiting, self.told)

    def _metrics(
        self, told: dict[str, float], ages: Sequence[int], waiting: Waiting | None
    ) -> dict[str, dict[str, float]]:
        found = {self.refill.name: told}
        if self.recovery is not None:
            recovered = sum(age > 0 for age in ages) / len(ages)
            count = 0.0 if waiting is None else float(len(waiting.born))
            found[self.recovery.name] = {"recovered": recovered, "waiting": count, "age": float(max(ages))}
        return found


def flat(fields: dict[str, Any]) -> dict[str, Tensor]:
    """Batch fields as rows can carry them: one that holds several tensors by number becomes one key each."""
    found: dict[str, Tensor] = {}
    for key, value in fields.items():
        found |= {f"{key}/{number!r}": x for number, x in value.items()} if isinstance(value, dict) else {key: value}
    return found


def nested(rows: dict[str, Tensor]) -> dict[str, Any]:
    """The same fields again."""
    found: dict[str, Any] = {}
    for key, value in rows.items():
        name, several, number = key.partition("/")
        if several:
            found.setdefault(name, {})[float(number)] = value
        else:
            found[name] = value
    return found
