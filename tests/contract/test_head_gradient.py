"""The backward pass of TRL's head in our trainers: over the pushed tokens alone, one recomputation each, and TRL's numbers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from contract.test_vocabulary import FAMILIES, model_of
from peft import get_peft_model
from support import tiny
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from trl.kernels import ChunkedLogProbFunction
from trl.trainer import add_fused_lm_head, utils

from benchmarks.cost.counting import Meter
from entropostat.trainers.model import head_gradient
from entropostat.trainers.model.head_gradient import PushedTokens, pushed_tokens

ROWS = (3, 12)


class Projected(TorchDispatchMode):
    """Rows that are multiplied with the head, in the order of the products."""

    def __init__(self, head: Tensor) -> None:
        super().__init__()
        self.head, self.rows = head.untyped_storage().data_ptr(), []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ in ("mm", "addmm_"):
            *_, a, b = args
            if b.untyped_storage().data_ptr() == self.head:
                self.rows.append(a.shape[0])
        return func(*args, **(kwargs or {}))


def problem(model: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Ids, labels, and the slopes of log-probs and entropies: 0 at the last 3 of the 8 scored columns, and off them at some."""
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(3, 28, ROWS, generator=draw)
    labels = ids.clone()
    labels[:, :4] = -100
    slopes = torch.randn(2, ROWS[0], ROWS[1] - 1, generator=draw)
    slopes[:, :, 8:] = 0
    slopes[0, 0], slopes[1, 1] = 0, 0
    return ids, labels, *slopes


def scored(model: Any, ours: bool, entropy: bool = True, bf16: bool = False, meter: Any = None) -> tuple[Any, ...]:
    """Log-probs, entropies, and the gradient of every parameter."""
    ids, labels, of_logp, of_entropy = problem(model)
    model.zero_grad()
    with meter or nullcontext():
        with pushed_tokens(ours), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            output = model(input_ids=ids, labels=labels, fused_lm_head=True)
        total = (output.log_probs * of_logp).sum()
        total = total + (output.entropy * of_entropy).sum() if entropy else total
        total.backward()
    grads = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return output.log_probs.detach(), output.entropy.detach(), grads


def patched(family: str) -> Any:
    model = model_of(family)
    add_fused_lm_head(model, temperature=0.7, outputs=("log_probs", "entropy"))
    return model


def agree(model: Any, rtol: float = 1e-4, **how: Any) -> None:
    stock, ours = (scored(model, side, **how) for side in (False, True))
    assert torch.equal(stock[0], ours[0]) and torch.equal(stock[1], ours[1])
    assert stock[2].keys() == ours[2].keys() and stock[2]
    for name, expected in stock[2].items():
        torch.testing.assert_close(ours[2][name], expected, rtol=rtol, atol=rtol * float(expected.abs().max()))


@pytest.mark.parametrize("family", [*FAMILIES, "Qwen", "Qwen, tied head"])
def test_values_are_trls_to_the_bit_and_gradients_to_rounding(family: str) -> None:
    agree(patched(family), rtol=1e-5)


@pytest.mark.parametrize("how", [{"entropy": False}, {"bf16": True, "rtol": 0.02}])
def test_also_without_entropy_and_in_half_precision(how: dict[str, Any]) -> None:
    agree(patched("Qwen"), **{"rtol": 1e-5, **how})


def test_also_below_an_adapter_where_the_head_is_frozen() -> None:
    model = patched("Qwen")
    wrapped = get_peft_model(model, tiny.LORA)
    torch.manual_seed(1)
    for name, parameter in wrapped.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    agree(wrapped, rtol=1e-5)


def test_pushed_tokens_are_projected_once_more_and_no_others() -> None:
    model = patched("Qwen")
    everything, pushed = (
        ROWS[0] * (ROWS[1] - 1),
        ROWS[0] * 5,
    )  # the label of column 4 is scored at place 3: 5 of 8 are pushed
    for ours, backward in ((False, everything), (True, pushed)):
        seen = Projected(model.lm_head.weight)
        scored(model, ours, meter=seen)
        assert seen.rows == [everything, backward, backward]


def test_where_trl_has_kernels_they_get_the_pushed_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their torch form stands for them here."""
    model = patched("Qwen")
    monkeypatch.setattr(head_gradient, "_ours", head_gradient._by_kernels)
    agree(model, rtol=1e-5)
    seen = Projected(model.lm_head.weight)
    scored(model, True, meter=seen)
    assert seen.rows[1:] == [ROWS[0] * 5] * 2


def test_on_a_device_without_either_it_is_trls() -> None:
    called: list[str] = []

    def theirs(ctx: Any, *grads: Any) -> Any:
        called.append("TRL's")
        return (None,) * 9

    hidden = torch.empty(2, 4, device="meta")
    nothing = torch.zeros(2, device="meta")
    ctx = SimpleNamespace(saved_tensors=(hidden, hidden, None, nothing, nothing, nothing))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ChunkedLogProbFunction, "backward", theirs)
        PushedTokens.backward(ctx, nothing, None)
    assert called == ["TRL's"]


def test_a_head_that_is_not_trls_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    other = type("Other", (ChunkedLogProbFunction,), {})
    monkeypatch.setattr(utils, "_ChunkedLogProbFunction", other)
    with pushed_tokens(True):
        assert utils._ChunkedLogProbFunction is other
    monkeypatch.undo()
    with pytest.raises(KeyError), pushed_tokens(True):
        assert utils._ChunkedLogProbFunction is PushedTokens
        raise KeyError
    assert utils._ChunkedLogProbFunction is ChunkedLogProbFunction


def test_the_peak_of_memory_is_below_trls() -> None:
    hidden, weight = torch.randn(300, 16, requires_grad=True), torch.randn(5000, 16, requires_grad=True)
    labels = torch.randint(5000, (300,))
    peaks = []
    for head in (ChunkedLogProbFunction, PushedTokens):
        logps, entropy, *_ = head.apply(hidden, weight, None, labels, 1.0, 32768, None, 1.0, ("log_probs", "entropy"))
        meter = Meter([])
        with meter:
            torch.autograd.grad(logps.sum() + entropy.sum(), [hidden, weight])
        peaks.append(meter.peak)
    assert peaks[1] < peaks[0] / 2


@pytest.mark.parametrize(
    ("spec", "share"),
    [
        (tiny.objective, 1.0),
        (lambda: tiny.objective(weights=[{"high_entropy": {"fraction": 0.25}}]), 0.25),
        (lambda: tiny.objective(penalties=[{"entropy_bonus": {"coef": 0.1}}]), 0.9),
    ],
    ids=["without terms", "a weight", "a bonus"],
)
def test_a_run_takes_it_where_terms_are_at_work(spec: Callable[[], Any], share: float) -> None:
    """Rows of the first backward pass over those of its forward pass. Without terms a run is stock TRL's, to the bit."""
    trainer = tiny.ours(tiny.saved(), spec(), max_steps=1, steps_per_generation=1)
    loss = trainer._compute_loss
    seen: list[Projected] = []

    def watched(model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(Projected(trainer.model.lm_head.weight))
        seen[-1].__enter__()
        return loss(model, inputs, *args, **kwargs)

    def ended(*args: Any, **kwargs: Any) -> Any:
        seen[-1].__exit__(None, None, None)
        return norm(*args, **kwargs)

    norm = trainer._get_grad_norm
    trainer._compute_loss, trainer._get_grad_norm = watched, ended
    trainer.train()
    forward, again, into_hidden = seen[0].rows
    assert again == into_hidden
    assert again == forward if share == 1 else 0 < again <= share * forward
