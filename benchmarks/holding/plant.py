"""A policy small enough to be exact: a table of softmax distributions, trained by any objective under any controller.

Each of ``contexts`` prompts asks for ``length`` symbols, and at each place ``right`` of the ``symbols`` are right. The reward is
the share of right symbols. Symbols do not depend on each other, so entropy and reward are sums over the table, without
sampling noise: they are what a report reads. The controller reads the sampled tokens, as in training.

    plant = Plant(Control.build(spec), seed=0)
    for _ in range(500):
        plant.step()
    plant.history["entropy"]

Loss, weights, penalties and their statistics go through the same Objective as in training; only what a trainer does around it
(generating, the vocabulary pass, one Adam step per window, one update of the controllers) is repeated here in small.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from entropostat.rl.batch import Extra, TokenBatch
from entropostat.rl.control import Control
from entropostat.rl.objective import Objective
from entropostat.rl.reduce import aggregate
from entropostat.rl.vocab import vocab_statistics
from entropostat.rl.vocab_sums import Wanted
from entropostat.rl.vocab_tiles import Tiles


@dataclass(frozen=True)
class Size:
    """The task and the trainer. The default is one update per generation, exactly on-policy."""

    contexts: int = 64
    length: int = 4
    symbols: int = 16
    right: int = 4
    group: int = 8
    windows: int = 1
    """Optimizer steps per generation; each trains on its own share of the prompts."""
    rate: float = 0.1
    """Learning rate of Adam."""
    spread: float = 0.5
    """Standard deviation of the first logits."""
    noise: float = 0.0
    """Standard deviation of the verifier's error: above 0 there are advantages left when all answers are right."""
    steps: int = 500
    """Optimizer steps of a run: what ``progress`` is a share of."""


@dataclass
class Plant:
    control: Control
    seed: int = 0
    size: Size = Size()
    history: dict[str, list[float]] = field(default_factory=dict)
    """Name -> one value per optimizer step: exact ``entropy`` and ``reward``, signals, knobs, and controllers' outputs."""

    def __post_init__(self) -> None:
        s, self.random = self.size, torch.Generator().manual_seed(self.seed)
        shape = (s.contexts, s.length, s.symbols)
        first = s.spread * torch.randn(shape, generator=self.random, dtype=torch.float64)
        order = torch.rand(shape, generator=self.random).argsort(-1)
        self.reward_of = (order < s.right).double()
        self.logits, self.reference = first.clone().requires_grad_(), first
        self.optimizer = torch.optim.Adam([self.logits], lr=s.rate)
        self.state = self.control.init()
        self.steps = self.generations = 0
        self.held: dict[str, float] = {}
        self._windows: Iterator[None] = iter(())

    @property
    def objective(self) -> Objective:
        return self.control.objective(self.control.values(self.state))

    def run(self) -> Plant:
        while self.steps < self.size.steps:
            self.step()
        return self

    def step(self) -> None:
        """One optimizer step, after a generation where the last one is spent."""
        if next(self._windows, "spent") == "spent":
            self._windows = self._generation()
            next(self._windows)

    # ------------------------------------------------------------------------------------------ what is exact

    def entropy(self) -> float:
        """Mean over contexts and places, nats."""
        return float(torch.distributions.Categorical(logits=self.logits.detach()).entropy().mean())

    def reward(self) -> float:
        """The expected reward of the policy."""
        return float((self.logits.detach().softmax(-1) * self.reward_of).sum(-1).mean())

    # ------------------------------------------------------------------------------------------ what is sampled

    def _generation(self) -> Iterator[None]:
        """Sample once, then train window by window, and pause after each."""
        s, objective = self.size, self.objective
        prompts = torch.arange(s.contexts).repeat_interleave(s.group)
        with torch.no_grad():
            table = self.logits.softmax(-1)[prompts].view(-1, s.symbols)
            tokens = torch.multinomial(table, 1, generator=self.random).view(-1, s.length)
            rewards = self._rewards(prompts, tokens)
            batch = self._tokens(prompts, tokens, objective.rollout_needs, objective)
            batch = batch.set(old_logps=batch.logps, old_entropy=batch.entropy, rewards=rewards)
            rollout = objective.rollout(batch)
            extra = self._extra_rows(batch, objective)
        self.generations += 1
        self.held["reward"] = float(batch.require("rewards").mean())
        order = torch.randperm(s.contexts, generator=self.random)
        for turn, mine in enumerate(order.chunk(s.windows)):
            rows = (prompts.unsqueeze(1) == mine).any(1).nonzero()[:, 0]
            stats = {n: {k: pick(x, rows) for k, x in fields.items()} for n, fields in rollout.stats.items()}
            fresh = self._fresh(prompts[rows], tokens[rows], pick(rollout.advantages, rows), batch, rows)
            if extra is not None:
                some = [x.tensor_split(s.windows)[turn] for x in extra]
                fresh = fresh.set(extra=self._scored(*some, len(extra[0]) * s.length / s.windows))
            self._update(fresh, stats)
            yield

    def _rewards(self, prompts: Tensor, tokens: Tensor) -> Tensor:
        """(N,) share of right symbols, as an unsure verifier sees it."""
        right = self.reward_of[prompts].gather(2, tokens.unsqueeze(2))[..., 0].mean(1)
        return right + self.size.noise * torch.randn(right.shape, generator=self.random, dtype=right.dtype)

    def _extra_rows(self, batch: TokenBatch, objective: Objective) -> tuple[Tensor, Tensor, Tensor] | None:
        """Prompts, tokens and weights of the completions that the objective's sampler asks for."""
        part = objective.sampler
        at = None if part is None else part.term.request(batch)
        if part is None or at is None:
            return None
        s = self.size
        prompts = torch.randperm(s.contexts, generator=self.random)[: max(int(part.term.share * s.contexts), 1)]
        prompts = prompts.repeat_interleave(s.group)
        table = (self.logits / at).softmax(-1)[prompts].view(-1, s.symbols)
        tokens = torch.multinomial(table, 1, generator=self.random).view(-1, s.length)
        own = batch.set(
            logps=torch.zeros(tokens.shape, dtype=torch.float64),
            mask=torch.ones(tokens.shape, dtype=torch.float64),
            rewards=self._rewards(prompts, tokens),
            groups=prompts,
            uids=torch.arange(len(prompts)),
        )
        return prompts, tokens, part.term.select(own, part.term.entropy(batch))[0]

    def _scored(self, prompts: Tensor, tokens: Tensor, weights: Tensor, count: float) -> Extra:
        """Some of them under the policy as it is now, with gradient."""
        logps = self.logits[prompts].log_softmax(-1).gather(2, tokens.unsqueeze(2))[..., 0]
        return Extra(logps, torch.ones_like(logps), weights, torch.tensor(count))

    def _fresh(self, prompts: Tensor, tokens: Tensor, advantages: Tensor, old: TokenBatch, rows: Tensor) -> TokenBatch:
        """Some rows of the generation under the policy as it is now, with gradient."""
        objective = self.objective
        now = self._tokens(prompts, tokens, objective.needs, objective)
        return now.set(
            advantages=advantages,
            old_logps=old.logps[rows],
            old_entropy=old.require("entropy")[rows],
            uids=rows,
            tokens=torch.tensor(float(tokens.numel())),
            clip=objective.loss.term.clip,
        )

    def _tokens(self, prompts: Tensor, tokens: Tensor, names: frozenset[str], objective: Objective) -> TokenBatch:
        """(N, T) sampled symbols as a batch: what a forward pass and a pass over the vocabulary would fill."""
        logits, shape = self.logits[prompts].flatten(0, 1), tokens.shape
        wanted = objective.vocabulary(names) or Wanted(())
        wanted = Wanted(**{**wanted.__dict__, "outputs": tuple({*wanted.outputs, "logp", "entropy"})})
        head = torch.eye(self.size.symbols).double()
        tiles = Tiles(tokens.numel(), self.size.symbols)
        stats = vocab_statistics(logits, head, tokens.flatten(), wanted, tiles=tiles)
        values: dict[str, Any] = {
            name: x.view(*shape, *x.shape[1:])
            for name, x in vars(stats).items()
            if isinstance(x, Tensor) and not name.endswith("_exact") and name != "logp"
        }
        lse = {t: x.view(shape) for t, x in zip(wanted.temperatures, stats.lse, strict=True)}
        reference = self.reference[prompts].log_softmax(-1).gather(2, tokens.unsqueeze(2))[..., 0]
        assert stats.logp is not None
        return TokenBatch(
            logps=stats.logp.view(shape),
            mask=torch.ones(shape, dtype=torch.float64),
            ref_logps=reference,
            groups=prompts,
            uids=torch.arange(len(prompts)),
            seed=self.seed,
            generation=self.generations,
            lse=lse or None,
            **values,
        )

    # ------------------------------------------------------------------------------------------ what a trainer does

    def _update(self, batch: TokenBatch, stats: dict[str, Any]) -> None:
        objective = self.objective
        token, metrics = objective.token_loss(batch, stats)
        loss = aggregate(token, batch.mask)
        for part in objective.penalties:
            if part.term.kind == "scalar":
                value, own = objective.penalty(part, batch, stats)
                loss, metrics = loss + value, metrics | own
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.steps += 1
        signals = {name: float(value) for name, value in metrics.items()} | self.held
        signals |= {"entropy": float(batch.require("entropy").detach().mean())}
        signals |= {"step": float(self.steps), "progress": self.steps / max(self.size.steps, 1)}
        self.state = self.control.update(self.state, signals)
        outputs = {f"{path}/{key}": value for path, state in self.state.items() for key, value in state.items()}
        exact = {"entropy": self.entropy(), "reward": self.reward(), "signal": signals["entropy"]}
        for name, value in {**metrics, **outputs, **exact}.items():
            self.history.setdefault(name, []).append(float(value))


def pick(x: Tensor, rows: Tensor) -> Tensor:
    return x[rows] if x.dim() else x


def tracking_error(entropy: list[float], target: float, begin: float = 0.5) -> float:
    """Root mean square distance to the target after the share ``begin`` of the run."""
    late = entropy[int(begin * len(entropy)) :]
    return math.sqrt(sum((h - target) ** 2 for h in late) / len(late))
