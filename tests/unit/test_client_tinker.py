"""Tinker's custom loss: the same contract with a stand-in, and with the SDK's own method where it is installed."""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from unit.client_support import Handed, handed, whole
from unit.rl_support import near

from entropostat.client import ClientLoss
from entropostat.client.tinker import KEYS, SINGLE, TinkerLoss

SPEC = {
    "advantages": ["grpo"],
    "weights": [{"clip_cov": {"low": -9, "high": 9, "fraction": 0.2}}],
    "loss": "ppo_clip",
    "penalties": [{"kl_cov": {"fraction": 0.2}}, {"kl_ref": {"coef": 0.3}}],
}
GIVES = ("ref_logps",)


class Packed(NamedTuple):
    """Tinker's ``TensorData``."""

    tensor: Tensor

    def to_torch(self) -> Tensor:
        return self.tensor


class Datum(NamedTuple):
    """Tinker's, as far as a loss sees it."""

    loss_fn_inputs: dict[str, Packed]


def stand_in(
    data: Sequence[Any], logprobs: Sequence[Tensor], loss: Any
) -> tuple[list[Tensor], dict[str, float], float]:
    """What the SDK does with a loss: fresh leaves of float32, one backward, minus the gradient of each as its weights."""
    leaves = [row.detach().clone().requires_grad_() for row in logprobs]
    value, metrics = loss(data, leaves)
    value.backward()
    assert all(leaf.grad is not None for leaf in leaves), "the SDK raises where a log-prob has no gradient"
    return [-leaf.grad for leaf in leaves if leaf.grad is not None], metrics, float(value.detach().sum())


def by_sdk(data: Sequence[Any], logprobs: Sequence[Tensor], loss: Any) -> tuple[list[Tensor], dict[str, float], float]:
    from tinker.lib.public_interfaces.training_client import TrainingClient

    outputs = [{"logprobs": tensor_data(row.detach())} for row in logprobs]
    forward = types.SimpleNamespace(loss_fn_outputs=outputs, metrics={}, loss_fn_output_type="x")
    done = TrainingClient._compute_custom_loss([*data], loss, forward)
    return [datum.loss_fn_inputs["weights"].to_torch() for datum in done.data], done.metrics, done.loss_sum


def tensor_data(row: Tensor) -> Any:
    from tinker import types

    kind = "float32" if row.is_floating_point() else "int64"
    return types.TensorData(data=row.tolist(), dtype=kind, shape=list(row.shape))


def sdk_datum(inputs: dict[str, Tensor]) -> Any:
    from tinker import types

    tokens = types.ModelInput.from_ints(inputs["target_tokens"].tolist())
    return types.Datum(model_input=tokens, loss_fn_inputs={key: tensor_data(row) for key, row in inputs.items()})


def own_datum(inputs: dict[str, Tensor]) -> Datum:
    return Datum({key: Packed(row) for key, row in inputs.items()})


def float32(seed: int) -> Handed:
    """As Tinker has it."""
    given = handed(whole(seed), GIVES)
    samples = [
        s.__class__(**{**vars(s), "old_logps": s.old_logps.float(), "ref_logps": s.ref_logps.float()})
        for s in given.samples
    ]
    return Handed(samples, [row.detach().float().requires_grad_() for row in given.logprobs], {})


def datums(given: Handed, make: Callable[[dict[str, Tensor]], Any]) -> list[Any]:
    return [
        make(
            {
                "target_tokens": torch.arange(len(sample.mask)),
                "mask": torch.as_tensor(sample.mask).float(),
                "logprobs": sample.old_logps,
                "ref_logprobs": sample.ref_logps,
                "reward": torch.tensor([sample.reward]),
                "group": torch.tensor([int(str(sample.group).split()[1])]),
                "uid": torch.tensor([sample.uid]),
            }
        )
        for sample in given.samples
    ]


INSTALLED = find_spec("tinker") is not None
SDK = pytest.param(sdk_datum, by_sdk, marks=pytest.mark.skipif(not INSTALLED, reason="tinker is not installed"))


@pytest.mark.parametrize(("make", "through"), [(own_datum, stand_in), SDK], ids=["stand-in", "sdk"])
@pytest.mark.parametrize("ahead", [True, False], ids=["on", "call"])
def test_the_service_gets_minus_the_gradient_of_the_whole_batch(make: Any, through: Any, ahead: bool) -> None:
    given = float32(3)
    want, metrics = ClientLoss(SPEC, gives=GIVES)(given.samples, given.logprobs)
    want.backward()
    data, loss = datums(given, make), TinkerLoss(SPEC, gives=GIVES)
    weights, told, value = through(data, given.logprobs, loss.on(data) if ahead else loss)
    assert value == pytest.approx(float(want.detach()), abs=1e-7) and told == metrics
    for weight, row in zip(weights, given.logprobs, strict=True):
        near(weight, -row.grad, 1e-7)
    assert any(weight.any() for weight in weights)


@pytest.mark.parametrize(("make", "through"), [(own_datum, stand_in), SDK], ids=["stand-in", "sdk"])
def test_calls_that_share_a_generation_add_up(make: Any, through: Any) -> None:
    given = float32(4)
    whole_loss, parts = TinkerLoss(SPEC, gives=GIVES), TinkerLoss(SPEC, gives=GIVES, accumulate=2)
    data = datums(given, make)
    once, _, _ = through(data, given.logprobs, whole_loss)
    generation = parts.generation(data)
    for rows in ([0, 2, 4], [1, 3, 5]):
        some = [data[i] for i in rows], [given.logprobs[i] for i in rows]
        weights, _, _ = through(*some, parts.on(generation.part(rows)))
        for weight, i in zip(weights, rows, strict=True):
            near(weight, once[i], 1e-7)


def test_a_datum_without_what_the_objective_reads_is_refused_before_any_request() -> None:
    data = datums(float32(5), own_datum)
    loss = TinkerLoss(SPEC, gives=GIVES)
    for key in ("mask", "logprobs", "ref_logprobs", "reward", "group"):
        without = [*data[:1], Datum({k: v for k, v in data[1].loss_fn_inputs.items() if k != key})]
        with pytest.raises(ValueError, match=rf"data\[1\]\.loss_fn_inputs: has no '{key}', which the objective reads"):
            loss.on(without)
    wrong = Datum({**data[0].loss_fn_inputs, "reward": Packed(torch.zeros(2))})
    with pytest.raises(ValueError, match="reward: must have one entry, not 2"):
        loss.on([wrong])
    assert {*SINGLE} <= {*KEYS}


def test_advantages_of_the_datums_serve_where_the_objective_has_none_and_are_not_read_elsewhere() -> None:
    given = float32(6)
    data = [
        Datum({**datum.loss_fn_inputs, "advantages": Packed(torch.full((len(row),), 2.0))})
        for datum, row in zip(datums(given, own_datum), given.logprobs, strict=True)
    ]
    plain = TinkerLoss({"loss": "ppo_clip"})
    generation = plain.generation(data)
    assert generation.rollout.advantages[generation.batch.valid].eq(2.0).all()
    assert TinkerLoss({**SPEC}, gives=GIVES).generation(data).rollout.advantages.dim() == 1


def test_both_policies_are_read_where_both_are_promised() -> None:
    data = datums(float32(7), own_datum)
    corrected = TinkerLoss(
        {"advantages": ["grpo"], "loss": "ppo_clip", "weights": ["truncated_is"]}, gives=["sampler_logps"]
    )
    with pytest.raises(ValueError, match="has no 'old_logprobs'"):
        corrected.on(data)
    old = [Datum({**d.loss_fn_inputs, "old_logprobs": Packed(d.loss_fn_inputs["logprobs"].tensor + 0.5)}) for d in data]
    batch = corrected.generation(old).batch
    near(batch.old_logps - batch.sampler_logps, 0.5 * batch.mask, 1e-5)


@pytest.mark.parametrize("field", ["entropy", "answers", "pieces"])
def test_what_the_service_does_not_have_cannot_be_promised(field: str) -> None:
    with pytest.raises(ValueError, match=f"log-probs have no {field}"):
        TinkerLoss({"loss": "ppo_clip"}, gives=[field])


def test_controllers_move_by_its_step_and_are_in_its_state() -> None:
    knob = {"adaptive_kl": {"signal": "kl_old", "target": 1e-9, "samples": 1000}}
    loss = TinkerLoss({**SPEC, "penalties": [{"kl_ref": {"coef": knob}}]}, gives=GIVES)
    given = float32(8)
    data = datums(given, own_datum)
    stand_in(data, given.logprobs, loss.on(data))
    told = loss.step()
    assert told["control/penalties.kl_ref.coef/output"] == pytest.approx(0.2 * 1.02)
    assert loss.state_dict()["done"] == 1
