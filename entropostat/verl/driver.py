"""The objective on verl's driver, which sees a whole generation: advantages, statistics and controllers.

    fields, told, logged = driver.generation(data, keys, padding, tokenizer)     before the actor's update
    logged = driver.step(metrics, grad_norm, steps)                              after it

Neither Ray nor the TransferQueue is used here: tensors come in by verl's names, and go out by ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor
from verl.workers.utils.padding import response_from_nested, response_to_nested

from entropostat.client.phases import computed
from entropostat.client.pieces import piece
from entropostat.rl.batch import TokenBatch
from entropostat.rl.info import State
from entropostat.rl.rewarded import usable
from entropostat.rl.thermostat import Thermostat
from entropostat.verl.actor_loss import ActorLoss
from entropostat.verl.fields import UIDS, VERLS, split
from entropostat.verl.reported import closed
from entropostat.verl.settings import Settings

SUM_P2 = "sum_pi_squared"
"""verl's output, over prompt and response."""
READ = ("uid", "response_mask", "rm_scores", "responses", "advantages", SUM_P2, *VERLS.values())
"""verl's fields of a generation that are asked for."""


class Driver:
    """Holds the thermostat and what reward terms remember, both part of a checkpoint."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.thermostat = Thermostat(settings.control)
        self.memory: dict[str, State] = {}
        self.generations = 0
        self.updates = 0
        """Updates of the actor, each with all mini-batches of a generation."""

    @property
    def loss(self) -> ActorLoss:
        settings = self.settings
        return ActorLoss(settings.spec, settings.mode, settings.scale, settings.seed)

    # ------------------------------------------------------------------------------------------ a generation

    def generation(
        self, data: TensorDict, keys: Sequence[str], padding: Sequence[bool], tokenizer: Any = None
    ) -> tuple[TensorDict, dict[str, Any], dict[str, float]]:
        """Fields to write, N rows; what to tell the workers; what to log.

        ``data`` holds verl's nested fields, ``keys`` its name of each sequence, ``padding`` which were added to fill up a batch.
        """
        _check_sessions(keys)
        # By name: sums, and what ties decide, are then the same to the last bit in whatever order verl has put the sequences.
        real = sorted((i for i, added in enumerate(padding) if not added), key=lambda i: keys[i])
        mask = data["response_mask"]
        batch = self._batch(data, keys, real, tokenizer)
        done = computed(self.thermostat, batch, self.memory)
        self.memory = done.memory
        told_stats, constants = split(done.rollout.stats, len(real))
        advantages = done.rollout.advantages
        advantages = torch.where(batch.valid, advantages if advantages.dim() == 2 else advantages.unsqueeze(1), 0.0)
        own = {"advantages": advantages, **told_stats}
        fields: dict[str, Any] = {}
        for name, values in own.items():
            whole = values.new_zeros(len(keys), *values.shape[1:])
            whole[real] = values
            fields[name] = response_to_nested(_per_token(whole, mask), mask)
        if self.settings.estimates:
            fields["returns"] = fields["advantages"]
        fields[UIDS] = response_to_nested(_per_token(_places(keys), mask), mask)
        told = {"knobs": self._knobs(), "constants": constants, "generation": self.generations}
        self.generations += 1
        return TensorDict(fields, batch_size=[len(keys)]), told, done.metrics

    def _knobs(self) -> dict[str, float]:
        return self.thermostat.control.values(self.thermostat.state)

    def _batch(self, data: TensorDict, keys: Sequence[str], real: list[int], tokenizer: Any) -> TokenBatch:
        """The sequences of ``real``, padded to the longest response."""
        settings, needs = self.settings, self.settings.rollout_needs
        lengths = data["response_mask"].offsets().diff()[real]

        def tokens(name: str) -> Tensor:
            if name not in data:
                raise ValueError(
                    f"verl's batch has no {name!r}, which the objective reads; is its rollout or engine asked for it?"
                )
            padded: Tensor = data[name].to_padded_tensor(0)[real]
            return padded

        mask = tokens("response_mask")
        old = tokens("old_log_probs")
        valid = mask.bool()
        held: dict[str, Any] = {
            ours: torch.where(valid, tokens(theirs).to(old.dtype), 0.0)
            for ours, theirs in VERLS.items()
            if ours in needs
        }
        scores = usable(tokens("rm_scores").to(old.dtype).sum(1))
        if "sum_p2" in needs:
            if SUM_P2 not in data:
                raise ValueError(f"verl's batch has no {SUM_P2!r}: its engine gives none with fused kernels")
            own = response_from_nested(data[SUM_P2], data["response_mask"]).to_padded_tensor(0)[real]
            held["sum_p2"] = torch.where(valid, own.to(old.dtype), 0.0)
        if not settings.estimates:
            held["advantages"] = tokens("advantages").to(old.dtype)
        ids = (
            data["responses"].to_padded_tensor(0)[real]
            if needs & {"token_ids", "pieces", "texts", "truncated"}
            else None
        )
        batch = TokenBatch(
            logps=torch.where(valid, old, 0.0),
            mask=mask.to(old.dtype),
            rewards=scores,
            unshaped=scores,
            groups=_groups(data["uid"], real),
            uids=_places(keys)[real],
            lengths=lengths,
            longest=settings.longest,
            token_ids=ids if "token_ids" in needs else None,
            clip=self.thermostat.objective.loss.term.clip,
            seed=settings.seed,
            generation=self.generations,
            **{"old_logps": torch.where(valid, old, 0.0), **held},
        )
        return batch if ids is None else batch.set(**_read(ids, lengths, needs, tokenizer, settings.longest))

    # ------------------------------------------------------------------------------------------ a step

    def step(self, metrics: Mapping[str, Any], grad_norm: float, steps: int) -> dict[str, float]:
        """After an update of the actor, of which ``steps`` make the whole training: controllers move by what it measured.

        ``metrics`` are verl's, already reduced; ``grad_norm`` is that before clipping. Where it is not finite, verl has left out a
        step, and nothing moves.
        """
        found = closed(metrics)
        if math.isfinite(grad_norm):
            self.updates += 1
            self.thermostat.update(found, self.updates, steps, grad_norm)
        told = {f"signal/{name}": value for name, value in found.signals.items()} | found.metrics
        return told | {f"control/{name}": value for name, value in self.thermostat.report().items()}

    def problems(self) -> list[str]:
        """What keeps a loop from holding its target, each once."""
        return [f"{knob}: {problem}" for knob, problem in self.thermostat.problems()]

    def state_dict(self) -> dict[str, Any]:
        """JSON-able."""
        counts = {"generations": self.generations, "updates": self.updates}
        return {"thermostat": self.thermostat.state_dict(), "memory": self.memory, **counts}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        self.thermostat.load_state_dict(saved["thermostat"])
        self.memory = {name: dict(state) for name, state in saved["memory"].items()}
        self.generations, self.updates = saved["generations"], saved["updates"]


def _check_sessions(keys: Sequence[str]) -> None:
    """verl names a sequence ``<prompt>_<session>_<output>``."""
    for key in keys:
        if key.rpartition("_")[2] not in ("0", key):
            raise ValueError(
                f"{key}: an agent loop with several outputs a session, whose reward is that of the last; the objective takes one "
                "output a session"
            )


def _per_token(values: Tensor, mask: Any) -> Tensor:
    """(N,) -> (N, T), by the nested ``mask``: what is one number a sequence, at each of its tokens. (N, T) stays."""
    longest = int(mask.offsets().diff().max())
    return values if values.dim() > 1 else values.unsqueeze(1).expand(-1, longest)


def _places(keys: Sequence[str]) -> Tensor:
    """(N,) int64 by name, and so independent of the order into which verl has brought the sequences."""
    places = {key: place for place, key in enumerate(sorted(keys))}
    return torch.tensor([places[key] for key in keys], dtype=torch.int64)


def _groups(uids: Any, real: list[int]) -> Tensor:
    """(N,) int64, equal for the responses to one prompt."""
    names = [str(uid) for uid in (uids.tolist() if hasattr(uids, "tolist") else uids)]
    places = {name: place for place, name in enumerate(sorted({names[i] for i in real}))}
    return torch.tensor([places[names[i]] for i in real], dtype=torch.int64)


def _read(ids: Tensor, lengths: Tensor, needs: frozenset[str], tokenizer: Any, longest: int) -> dict[str, Any]:
    """What is read off the tokens themselves."""
    rows = [row[:n] for row, n in zip(ids.tolist(), lengths.tolist(), strict=True)]
    makers: dict[str, Callable[[], Any]] = {
        "truncated": lambda: torch.tensor([len(row) >= longest and row[-1] != tokenizer.eos_token_id for row in rows]),
        "pieces": lambda: tuple(tuple(piece(tokenizer, token) for token in row) for row in rows),
        "texts": lambda: tuple(tokenizer.decode(row, skip_special_tokens=True) for row in rows),
    }
    return {name: make() for name, make in makers.items() if name in needs}
