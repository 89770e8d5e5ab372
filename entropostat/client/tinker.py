"""The loss of Tinker's ``forward_backward_custom``: it runs in your process, over all datums of the call.

    loss = TinkerLoss({"advantages": ["grpo"], "loss": "ppo_clip"})
    training_client.forward_backward_custom(data, loss.on(data)).result()
    training_client.optim_step(types.AdamParams(...)).result()
    loss.step()

The service gives log-probs of the tokens that were sampled, and no entropy. What this file reads of a ``Datum`` is its
``loss_fn_inputs`` and their ``to_torch``; the SDK itself is not imported. It sends none of these keys but the tokens, so that a
datum may carry what the objective asks for: see ``KEYS``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor

from entropostat.client.loss import ClientLoss
from entropostat.client.refusals import LIVE
from entropostat.client.sample import Generation, Part, Sample

KEYS = {
    "mask": "mask",
    "logprobs": "sampler_logps",
    "advantages": "advantages",
    "reward": "reward",
    "group": "group",
    "target_tokens": "token_ids",
    "old_logprobs": "old_logps",
    "ref_logprobs": "ref_logps",
    "old_entropy": "old_entropy",
    "planning": "planning",
    "truncated": "truncated",
    "uid": "uid",
}
"""Key of ``loss_fn_inputs`` -> attribute of a ``Sample``. ``logprobs`` are those of the sampler."""
SINGLE = ("reward", "group", "truncated", "uid")
"""Keys with one entry, [1]; the others have one a position."""
UNCARRIED = ("pieces", "answers", *LIVE)
"""Batch fields that a datum, which holds numbers, or the service cannot give."""


class Datum(Protocol):
    """Tinker's ``types.Datum``."""

    @property
    def loss_fn_inputs(self) -> Mapping[str, Any]: ...


CustomLoss = Callable[[Sequence[Any], Sequence[Tensor]], tuple[Tensor, dict[str, float]]]
"""What ``forward_backward_custom`` takes."""


class TinkerLoss:
    """A ``ClientLoss`` in the form that Tinker calls. Takes its arguments."""

    def __init__(self, objective: Any, *, gives: Iterable[str] = (), **options: Any) -> None:
        names = [gives] if isinstance(gives, str) else [*gives]
        for name in (name for name in names if name in UNCARRIED):
            raise ValueError(f"gives: Tinker's datums and log-probs have no {name}; leave it out")
        self.loss = ClientLoss(objective, gives=gives, **options)
        self.step, self.state_dict = self.loss.step, self.loss.state_dict
        self.load_state_dict = self.loss.load_state_dict

    def __call__(self, data: Sequence[Datum], logprobs: Sequence[Tensor]) -> tuple[Tensor, dict[str, float]]:
        """All datums of the call as one generation."""
        return self.loss(self.samples(data), logprobs)

    def generation(self, data: Sequence[Datum]) -> Generation:
        """Of datums that several calls share out."""
        return self.loss.generation(self.samples(data))

    def on(self, what: Sequence[Datum] | Generation | Part) -> CustomLoss:
        """The loss of these datums, or of a part of a generation, as ``forward_backward_custom`` takes it beside just those.

        What is wrong with them is raised here and now, and not inside of the client, which would refuse all that follows.
        """
        seen = what if isinstance(what, Generation | Part) else self.generation(what)
        return lambda data, logprobs: self.loss(seen, logprobs)

    def samples(self, data: Sequence[Datum]) -> list[Sample]:
        return [self._sample(datum, f"data[{i}]") for i, datum in enumerate(data)]

    def _sample(self, datum: Datum, where: str) -> Sample:
        wanted, given = {"mask", "sampler_logps", "uid", *self.loss.reads}, {}
        if "sampler_logps" not in self.loss.gives:
            wanted -= {"old_logps"}  # for which the sampler's stand
        for key, name in KEYS.items():
            if name not in wanted:
                continue
            if key not in datum.loss_fn_inputs:
                if name == "uid":
                    continue
                raise ValueError(
                    f"{where}.loss_fn_inputs: has no {key!r}, which the objective reads; add it to every datum"
                )
            values = datum.loss_fn_inputs[key].to_torch()
            if key in SINGLE:
                if values.numel() != 1:
                    raise ValueError(f"{where}.loss_fn_inputs.{key}: must have one entry, not {values.numel()}")
                given[name] = values.item()
            else:
                given[name] = values
        return Sample(**given)
