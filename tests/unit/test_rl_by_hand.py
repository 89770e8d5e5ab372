"""One term of each family, worked out on paper: the comments are the arithmetic, the asserts its results.

Two completions of two tokens each, except where a comment says otherwise. All numbers are in nats where they can be.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from entropostat.rl.batch import TokenBatch
from entropostat.rl.control import Control
from entropostat.rl.registry import ADVANTAGES, CONTROLLERS, LOSSES, PENALTIES, WEIGHTS


def rows(*values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def close(value: Tensor | float, expected: Tensor | float) -> None:
    """To seven digits: TRL's standard deviation, which grpo follows bit for bit, divides its counts in float32."""
    wanted = torch.as_tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(torch.as_tensor(value).double(), wanted, rtol=0, atol=5e-8)


def test_advantages_grpo_divides_the_distance_to_the_mean_of_a_prompt_by_its_standard_deviation():
    # Prompt 0 has the rewards 1, 0, 0, 1 and prompt 1 has 3, 3.
    #     mean      (1 + 0 + 0 + 1) / 4 = 0.5                                     (3 + 3) / 2 = 3
    #     variance  (0.25 + 0.25 + 0.25 + 0.25) / (4 - 1) = 1 / 3                 0
    #     A         (1 - 0.5) / (sqrt(1 / 3) + 0.0001) = 0.5 / 0.5774503 = 0.8658754      0 / 0.0001 = 0
    ones = torch.ones(6, 2, dtype=torch.float64)
    rewards, groups = torch.tensor([1.0, 0, 0, 1, 3, 3], dtype=torch.float64), torch.tensor([0, 0, 0, 0, 1, 1])
    advantages, metrics = ADVANTAGES.build("grpo")(TokenBatch(-ones, ones, rewards=rewards, groups=groups))
    a = 0.5 / (1 / math.sqrt(3) + 1e-4)
    assert a == pytest.approx(0.8658754, abs=1e-7)
    close(advantages, torch.tensor([a, -a, -a, a, 0, 0], dtype=torch.float64))
    close(metrics["std"], (0.5773502691896257 + 0) / 2)  # the mean over both prompts


def test_weights_clip_b_drops_the_negative_token_with_the_lowest_discriminator():
    # Tokens with p = 1/2, 1/4, 1/2, 1/4 in states of entropy 1, and A = +1 for the first row, -1 for the second.
    #     S = p (H + log p)      1/2 (1 - 0.6931472) = 0.1534264      1/4 (1 - 1.3862944) = -0.0965736
    #     mean S = 0.0284264     std S = 0.1250000 (each token is 0.125 away, and two are on each side)
    # mu 0.5 drops A < 0 with S - mean < -0.0625: the last token alone. The second has A > 0, the third lies above.
    logps, ones = rows([0.5, 0.25], [0.5, 0.25]).log(), torch.ones(2, 2, dtype=torch.float64)
    batch = TokenBatch(logps, ones, advantages=torch.tensor([1.0, -1], dtype=torch.float64), entropy=ones)
    term = WEIGHTS.build("clip_b", {"mu": 0.5, "scope": "micro"})
    stats = term.prepare(batch)
    close(stats["mean"], 0.0284264097)
    assert float(stats["std"]) == pytest.approx(0.125, abs=1e-9)
    weight, metrics = term(batch.set(stats=stats))
    close(weight, rows([1, 1], [1, 0]))
    close(metrics["fraction"], 1 / 4)


def test_loss_ppo_clip_takes_the_worse_of_the_plain_and_the_clipped_surrogate():
    # epsilon 0.2: the ratio counts as at least 0.8 and at most 1.2. L = max(-A r, -A clip(r)).
    #     A = +2    r = 1.5:  max(-3.0, -2.4) = -2.4   clipped, no gradient      r = 0.5:  max(-1.0, -1.6) = -1.0
    #     A = -1    r = 1.5:  max( 1.5,  1.2) =  1.5                             r = 0.5:  max( 0.5,  0.8) =  0.8   clipped
    ratio, ones = rows([1.5, 0.5], [1.5, 0.5]), torch.ones(2, 2, dtype=torch.float64)
    logps = (ratio.log() - ones).requires_grad_()
    batch = TokenBatch(logps, ones, advantages=torch.tensor([2.0, -1], dtype=torch.float64), old_logps=-ones)
    loss, metrics = LOSSES.build("ppo_clip", {"epsilon": 0.2})(batch)
    close(loss.detach(), rows([-2.4, -1.0], [1.5, 0.8]))
    close(metrics["clip_fraction"], 2 / 4)
    # dL / d log pi = -A r where it is not clipped, 0 where it is.
    (gradient,) = torch.autograd.grad(loss.sum(), logps)
    close(gradient, rows([0, -1.0], [1.5, 0]))


def test_penalties_kl_ref_is_k3_times_its_coefficient_and_token_by_token():
    # x = log pi - log ref is log 2 on the first token and 0 on the second; k3 = exp(-x) + x - 1.
    #     k3(log 2) = 0.5 + 0.6931472 - 1 = 0.1931472      k3(0) = 0      mean 0.0965736
    # times coef 0.5: 0.0965736 and 0. On-policy the ratio is 1 and changes no value.
    logps, ones = rows([0.5, 0.5]).log(), torch.ones(1, 2, dtype=torch.float64)
    batch = TokenBatch(logps, ones, old_logps=logps, ref_logps=rows([0.25, 0.5]).log())
    penalty, metrics = PENALTIES.build("kl_ref", {"coef": 0.5})(batch)
    close(penalty, rows([0.5 * (math.log(2) - 0.5), 0]))
    close(metrics["kl"], (math.log(2) - 0.5) / 2)


def test_penalties_entropy_bonus_is_minus_its_coefficient_times_the_mean_entropy_of_the_window():
    # Entropies 1, 3 and 5 on valid tokens and 9 on a masked one; the window has 4 tokens for each micro-batch.
    #     -0.1 (1 + 3 + 5) / 4 = -0.225      the metric is the mean over this micro-batch: 9 / 3 = 3
    mask, entropy = rows([1, 1], [1, 0]), rows([1, 3], [5, 9])
    batch = TokenBatch(-mask, mask, entropy=entropy, tokens=torch.tensor(4.0, dtype=torch.float64))
    penalty, metrics = PENALTIES.build("entropy_bonus", {"coef": 0.1})(batch)
    close(penalty, -0.225)
    close(metrics["entropy"], 3.0)


def test_scalars_temperature_follows_its_schedule_at_every_update():
    # From 1.0 at step 0 to 0.6 at step 8 along a line: 0.05 less at each step.
    #     step 0: 1.0      step 2: 1.0 - 2 * 0.05 = 0.9      step 8 and later: 0.6
    schedule = {"schedule": {"points": [[0, 1.0], [8, 0.6]]}}
    control = Control.build(
        {"loss": ("trl", "trl", {}), "scalars": [("temperature", "temperature", {"value": schedule})]}
    )
    state = control.init()
    for step, value in ((0, 1.0), (2, 0.9), (8, 0.6), (20, 0.6)):
        state = control.update(state, {"step": step})
        temperature = control.objective(control.values(state)).scalar("temperature")
        assert temperature.value == pytest.approx(value, abs=1e-12)


def test_controllers_pid_adds_the_error_to_what_it_has_summed_and_stops_at_its_bound():
    # Hold entropy at 2.0: e = (2.0 - H) / 2.0, u = 0.4 e + sum of 0.1 e, between 0 and 0.3.
    #     H = 1.0:  e = 0.50   sum 0.050   u = 0.20 + 0.050 = 0.25
    #     H = 1.6:  e = 0.20   sum 0.070   u = 0.08 + 0.070 = 0.15
    #     H = 0.0:  e = 1.00   sum would be 0.170, u = 0.40 + 0.170 = 0.57: cut to 0.3, and the sum stays at 0.070
    #     H = 2.4:  e = -0.20  sum 0.050   u = -0.08 + 0.050 = -0.03: cut to 0, and the sum stays at 0.070
    pid = CONTROLLERS.build("pid", {"signal": "entropy", "target": 2.0, "kp": 0.4, "ki": 0.1, "high": 0.3})
    state = pid.init()
    for entropy, output, integral in ((1.0, 0.25, 0.05), (1.6, 0.15, 0.07), (0.0, 0.3, 0.07), (2.4, 0.0, 0.07)):
        state, value = pid.update(state, {"entropy": entropy})
        assert value == state["output"] == pytest.approx(output, abs=1e-12)
        assert state["integral"] == pytest.approx(integral, abs=1e-12)
    # Nothing measured: it holds, and counts.
    assert pid.update(state, {}) == ({**state, "missed": 1.0, "alarm": 0.0}, 0.0)
