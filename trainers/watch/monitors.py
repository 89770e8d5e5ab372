"""Monitors of a run: what entropy is, what moves it, and what the text looks like. They change nothing that trains.

Two clocks. Once per generation: groups, text and the distribution of the entropies, those of the policy that generated where
the trainer scored it anyway, and else those of the first forward. In each optimizer step of one generation in
``tracking.monitor_every``: ratios, and the gradient of each part of the loss at the log-probs and entropies. Sums over ranks
travel with collectives that are made in any case: the gather of the advantages, and the close of the window. What is pooled
under the key of a metric is a total and a count, and logged as their ratio; other pools are told in monitor_report.py.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from entropostat.recipe.machine_blocks import Tracking
from entropostat.rl.batch import TokenBatch
from entropostat.rl.covariance import covariances
from entropostat.rl.diagnostics import entropy, text
from entropostat.rl.diagnostics.forces import fields, force, pulls, touched
from entropostat.rl.diagnostics.generations import measured
from entropostat.rl.diagnostics.learning import solving
from entropostat.rl.diagnostics.spikes import spikes
from entropostat.rl.diagnostics.trust import trust
from entropostat.rl.objective import Objective
from entropostat.rl.parts import Part
from entropostat.rl.reduce import Reducer
from entropostat.rl.signal_sums import SOLVED
from entropostat.rl.term import Loss
from entropostat.rl.window import Closed, Window
from entropostat.trainers.trl.aggregation import aggregate
from entropostat.trainers.trl.buffer import SAMPLED
from entropostat.trainers.trl.log import log_advantages, note
from entropostat.trainers.trl.loss_pass import LossPass
from entropostat.trainers.watch.columns import Columns, columns
from entropostat.trainers.watch.diversity import of_answers, pool_texts
from entropostat.trainers.watch.hidden import HiddenRank
from entropostat.trainers.watch.monitor_report import Memory, Parts, of_generation, of_step

OLD_ENTROPY, RIGHT = "entropostat/old_entropy", "entropostat/right"
"""(B, T) and (B,) in TRL's buffer."""


class Shown:
    """Completions of this rank's newest generation that will be recorded, with the entropy of each token."""

    def __init__(self, output: dict[str, Any], batch: TokenBatch, count: int) -> None:
        self.ids, self.mask = output["completion_ids"][:count], batch.valid[:count]
        self.kept = output["completion_mask"][:count].bool()
        self.entropy = None if batch.old_entropy is None else batch.old_entropy[:count]
        self.later: list[tuple[Tensor, Tensor]] = []
        """(B,) uids and (B, T) entropies of the forward passes, where the generation was not scored."""

    def rows(self) -> list[tuple[list[int], list[float | None]]]:
        """Of each completion: its token ids, and their entropies in nats, None where the policy did not choose the token."""
        if self.entropy is None and not self.later:
            return []
        table = torch.zeros(self.ids.shape) if self.entropy is None else self.entropy.float().cpu()
        for uids, entropies in self.later:
            for uid, values in zip(uids.tolist(), entropies.float().cpu(), strict=True):
                if uid < len(table):
                    table[uid] = values
        own, kept = self.mask.cpu(), (self.kept | self.mask).cpu()
        return [
            (ids[k].tolist(), [round(h, 4) if m else None for h, m in zip(e[k].tolist(), o[k].tolist(), strict=True)])
            for ids, e, o, k in zip(self.ids.cpu(), table, own, kept, strict=True)
        ]


class Monitors:
    """Look at a trainer's generations and steps. ``window`` carries their sums."""

    def __init__(self, trainer: Any, settings: Tracking, window: Window, reducer: Reducer) -> None:
        self.trainer, self.settings, self.window, self.reducer = trainer, settings, window, reducer
        self.memory = Memory(math.log(trainer.model.config.get_text_config().vocab_size))
        self.hidden = HiddenRank(trainer, settings.rankme, reducer)
        self._spent = 0.0
        self._closed: float | None = None
        self._shown: Shown | None = None
        self._kept: list[Any] = []
        self._unscored: list[TokenBatch] = []
        """Micro-batches of an exactly on-policy window, whose covariance waits for the means over all of them."""
        self._parts = Parts()

    @property
    def _monitoring(self) -> bool:
        return self.settings.monitor_every > 0 and self.trainer.model.training

    def _watching(self, generation: int) -> bool:
        """Whether the steps of this generation are monitored."""
        return self._monitoring and generation % self.settings.monitor_every == 0

    @contextlib.contextmanager
    def _timed(self) -> Iterator[None]:
        before = time.perf_counter()
        yield
        self._spent += time.perf_counter() - before

    # ------------------------------------------------------------------------------------------ once per generation

    def note_generation(
        self, output: dict[str, Any], batch: TokenBatch, objective: Objective, drawn: Tensor | None = None
    ) -> None:
        """Of ``batch``, whose advantages are those that train and whose rewards are unshaped, and of its text in TRL's
        ``output``, to which keys are added. ``drawn`` (B,) are the rewards before groups were replaced, if any were: how
        many prompts are solved is said of them."""
        own = bool(objective.advantages)
        if not self._monitoring:
            log_advantages(self.trainer, output["advantages"], own)
            return
        with self._timed(), torch.no_grad():
            rewards = batch.require("rewards")
            right = _right(rewards)
            mine = columns(output["completion_ids"], batch, right, right if drawn is None else _right(drawn))
            if self._watching(batch.generation):
                self.hidden.begin()
        rows = log_advantages(self.trainer, output["advantages"], own, mine)
        assert rows is not None
        with self._timed(), torch.no_grad():
            every = Columns(*rows.cpu().unbind(1))
            self._note_groups(every, batch)
            pool_texts(output["completion_ids"], batch, every, self.window, self.reducer)
            self.window.pool("text/repetition", text.repetition(output["completion_ids"], batch.valid))
            if SAMPLED in output and batch.old_logps is not None:
                gap = (batch.old_logps - output[SAMPLED]).abs()
                known = batch.valid & gap.isfinite()
                sums = torch.stack([torch.where(known, gap, 0.0).sum().double(), known.sum()])
                self.window.pool("trust/sampler_gap", sums)
            if self.settings.completions and self.trainer.accelerator.is_main_process:
                self._shown = Shown(output, batch, self.settings.completions)
            if batch.old_entropy is not None:
                self._note_entropy(batch.old_entropy, batch.valid, right)
            sampler = objective.sampler
            if sampler is None or not sampler.term.replaces:  # rows that others will replace are not theirs
                output[RIGHT] = right
                if batch.old_entropy is not None:
                    output[OLD_ENTROPY] = batch.old_entropy

    def _note_groups(self, every: Columns, batch: TokenBatch) -> None:
        """``every`` (N,) has the completions of all ranks, ``batch`` those of this one."""
        scored = batch.old_logps is not None
        told = {f"learning/{key}": value for key, value in solving(every.drawn, every.group).items()}
        told["text/distinct"] = text.distinct(every.fingerprint, every.group)
        told |= of_answers(every, scored)
        covariance = weighted = math.nan
        if batch.old_logps is not None and bool(every.tokens.any()):
            covariance, weighted, a, logp = every.covariances()
            told |= {"forces/covariance/mean": covariance, "forces/covariance/weighted": weighted}
            centred = (batch.token_advantages - a) * (batch.old_logps.clamp(min=-1e4) - logp)
            self.window.peak("covariance", torch.where(batch.valid, centred, -torch.inf).amax().double().reshape(1))
        self.memory.newest = measured(math.nan, float(every.reward.nanmean()), covariance, weighted)
        self._log(told)

    def _note_entropy(self, values: Tensor, valid: Tensor, right: Tensor) -> None:
        self.window.pool("histogram", entropy.counts(values, valid, self.memory.ceiling))
        self.window.pool("position", entropy.by_position(values, valid))
        self.window.pool("outcome", entropy.by_outcome(values, valid, right))
        self.window.pool("sequences", entropy.by_sequence(values, valid))
        jumps = spikes(values, valid).sum().double() * 1000
        self.window.pool("entropy/spikes", torch.stack([jumps, valid.sum().double()]))

    def shown_tokens(self) -> list[tuple[list[int], list[float | None]]]:
        """Of the first completions of this rank's newest generation: token ids, and entropies in nats."""
        return self._kept if self._shown is None else self._shown.rows()

    def show_again(self, rows: list[Any]) -> None:
        """After a resume: what ``shown_tokens`` gave when the checkpoint was written."""
        self._kept = rows

    # ------------------------------------------------------------------------------------------ in each optimizer step

    def note_loss(self, loss: Tensor, inputs: dict[str, Any], passed: LossPass, objective: Objective) -> None:
        """Of one micro-batch, before our terms are added to TRL's ``loss``. ``passed`` has our parts and the weights."""
        if not self._monitoring:
            return
        with self._timed():
            self.hidden.sample(passed.batch.mask)
            watching = self._watching(passed.batch.generation - 1)
            first = RIGHT in inputs and OLD_ENTROPY not in inputs  # nobody has scored this generation before
            if not (watching or first):
                return
            held = passed.batch.detached()
            batch, plain = passed.batch.set(stats={}), held.set(stats={})
            if first:
                self._note_entropy(plain.require("entropy"), batch.valid, inputs[RIGHT])
                if self._shown is not None:
                    self._shown.later.append((batch.require("uids"), plain.require("entropy")))
                if watching:
                    self._unscored.append(plain)
            if not watching:
                return
            if batch.old_logps is not None:
                term = objective.loss.term
                bounded = None if term.holds == "nothing" else term.bounded(held)
                sums, ends = trust(plain, bounded, term.by_sequence)
                self.window.pool("trust", sums)
                self.window.peak("ratio", ends)
            if OLD_ENTROPY in inputs:
                change = (plain.require("entropy") - inputs[OLD_ENTROPY]).masked_fill(batch.invalid, 0.0)
                self.window.pool("realised", change.sum().double())
            self._note_forces(loss, inputs, passed, objective.loss)

    def _note_forces(self, loss: Tensor, inputs: dict[str, Any], passed: LossPass, policy: Part[Loss]) -> None:
        batch, name = passed.batch.set(stats={}), policy.name
        at = fields(batch)
        pull = {name: pulls(loss, at)} if policy.term.delegated else {}
        moved = {key: weight != 1 for key, weight in passed.each.items()}
        share: Tensor | None = None
        for key, part in passed.parts.items():
            if part.dim() and share is None:
                unit = torch.zeros_like(batch.logps).detach().requires_grad_()
                (share,) = torch.autograd.grad(aggregate(self.trainer, unit, inputs, batch.require("tokens")), unit)
            pull[key] = pulls(part, at, share if part.dim() else None)
            if part.dim() and key != name:
                own = [value for field, value in pull[key].items() if field != "extra"]
                moved[key] = torch.stack(own).ne(0).any(0) if own else torch.zeros_like(batch.valid)
        self._parts = Parts(tuple(pull), tuple(moved))
        self.window.pool("forces", torch.stack([force(each, batch) for each in pull.values()]))
        if moved:
            self.window.pool("touched", touched(list(moved.values()), batch))

    # ------------------------------------------------------------------------------------------ when the window closes

    def before_close(self) -> None:
        """What only the whole window shows, while it can still be pooled."""
        if self._unscored and self._monitoring:
            with self._timed():
                self._note_covariance()
        if self.hidden.on and self._monitoring:
            with self._timed():
                self._log({"state/rankme": self.hidden.close()})

    def after_close(self, closed: Closed, generation: int) -> None:
        """Log what the window carried, and what it cost. ``generation``: the number of the newest."""
        if not self.settings.monitor_every:
            return
        with self._timed():
            world = self.trainer.accelerator.num_processes
            self._log(of_generation(closed, self.memory, self.trainer.state.global_step))
            self._log(of_step(closed, self.memory, self._parts, world, generation))
        now = time.perf_counter()
        times = {"health/monitor_ms": 1000 * self._spent}
        if self._closed is not None:
            times["health/step_seconds"] = now - self._closed
        self._log(times)
        self._spent, self._closed = 0.0, now

    def _note_covariance(self) -> None:
        """Of a window that is a whole generation, on-policy. Ranks must agree on the means first: one collective of its own."""
        batches, self._unscored = self._unscored, []
        flat = {name: [getattr(b, name)[b.valid] for b in batches] for name in ("logps", "token_advantages")}
        logps, advantages = (torch.cat(values).unsqueeze(0) for values in flat.values())
        whole = TokenBatch(logps, torch.ones_like(logps), advantages, reducer=self.reducer)
        (products, weighted), _ = covariances(whole, advantages, logps.exp() * advantages)
        top = products.amax() if products.numel() else products.new_tensor(-torch.inf)
        count = products.new_tensor(products.numel()).double()
        self.window.pool("forces/covariance/mean", torch.stack([products.sum().double(), count]))
        self.window.pool("forces/covariance/weighted", torch.stack([weighted.sum().double(), count]))
        self.window.peak("covariance", top.double().reshape(1))

    def _log(self, values: dict[str, float]) -> None:
        note(self.trainer, {key: value for key, value in values.items() if math.isfinite(value)}, mode="train")


def _right(rewards: Tensor) -> Tensor:
    """1, 0, or NaN where nothing could score the completion."""
    return torch.where(rewards.isnan(), torch.nan, (rewards > SOLVED).to(rewards.dtype))
