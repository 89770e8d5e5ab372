"""The loss of a whole batch: the normalisers, ragged sequences, several steps of one generation, and the controllers."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from unit.client_support import MAX_LENGTH, by_trainer, gradients_of, handed, whole
from unit.rl_support import near, rows_of

from entropostat.client import ClientLoss
from entropostat.rl.loss_types import CLIPPED
from entropostat.rl.objective import Objective, normalise_terms

ROOT = Path(__file__).parents[2]
STEP = {"adaptive_kl": {"signal": "kl_old", "target": 1e-9, "start": 0.5, "samples": 1000}}
"""Two percent more with each step."""
GIVES = ("ref_logps", "entropy", "old_entropy")


def block(kind: str, coef: Any = 0.3) -> dict[str, Any]:
    """Weights, token penalties and a scalar one, with statistics of a generation."""
    return {
        "advantages": ["grpo"],
        "weights": [{"clip_cov": {"low": -9, "high": 9, "fraction": 0.2}}],
        "loss": {"ppo_clip": {"type": kind}},
        "penalties": [{"kl_cov": {"fraction": 0.2}}, {"kl_ref": {"coef": coef}}, {"entropy_bonus": {"coef": 0.1}}],
    }


def objective(kind: str) -> Objective:
    spec = {slot: normalise_terms([x] if slot == "loss" else x) for slot, x in block(kind).items()}
    return Objective.build({**spec, "loss": spec["loss"][0]})


def made(kind: str = "dapo", coef: Any = 0.3, **options: Any) -> ClientLoss:
    return ClientLoss(block(kind, coef), gives=GIVES, max_length=MAX_LENGTH, seed=4, **options)


@pytest.mark.parametrize("kind", CLIPPED)
@pytest.mark.parametrize("accumulate", [1, 3])
def test_each_normaliser_is_that_of_the_trainers(kind: str, accumulate: int) -> None:
    batch = whole(4)
    want, slopes = by_trainer(objective(kind), batch, accumulate)
    given = handed(batch, GIVES)
    value, _ = made(kind, accumulate=accumulate)(given.samples, given.logprobs, **given.live)
    value.backward()
    near(value.detach(), want, 1e-10)
    for name, slope in gradients_of(given, batch).items():
        near(slope, slopes[name], 1e-10)
        assert slope.any() or name in ("sum_p2", "sum_p2_logp")


@pytest.mark.parametrize("kind", CLIPPED)
def test_order_prompts_and_padding_do_not_matter(kind: str) -> None:
    batch, order = whole(5), [4, 1, 5, 0, 3, 2]
    plain, other = handed(batch, GIVES, front=0), handed(batch, GIVES, front=5)
    longer = [torch.cat([row.detach(), torch.full((4,), torch.nan)]).requires_grad_() for row in other.logprobs]
    wider = {"entropy": [torch.cat([row.detach(), torch.full((4,), 7.0)]) for row in other.live["entropy"]]}
    tail = torch.cat([torch.zeros(4)])
    padded = [replace(s, mask=torch.cat([s.mask, tail]), **{
        name: torch.cat([getattr(s, name), tail - torch.inf]) for name in ("old_logps", "ref_logps", "old_entropy")
    }) for s in other.samples]  # fmt: skip
    first, metrics = made(kind)(plain.samples, plain.logprobs, **plain.live)
    pick = lambda rows: [rows[i] for i in order]
    second, again = made(kind)(pick(padded), pick(longer), entropy=pick(wider["entropy"]))
    first.backward(), second.backward()
    near(second, first, 1e-12)
    assert again == pytest.approx(metrics, rel=1e-6, nan_ok=True)
    for short, long, start in zip(plain.logprobs, longer, range(5, 11), strict=True):
        near(long.grad[start : start + len(short)], short.grad, 1e-12)
        assert not long.grad[:start].any() and not long.grad[start + len(short) :].any()


def test_parts_of_a_generation_have_its_statistics_and_add_up_to_its_loss() -> None:
    batch = whole(6)
    once, apart = handed(batch, GIVES), handed(batch, GIVES)
    value, _ = made()(once.samples, once.logprobs, **once.live)
    loss = made(accumulate=2)
    generation = loss.generation(apart.samples)
    assert generation.batch.lengths.tolist() == batch.lengths.tolist()
    for rows in ([0, 4, 2], [1, 3, 5]):
        part = [x for i in rows for x in (apart.logprobs[i],)]
        share, _ = loss(generation.part(rows), part, entropy=[apart.live["entropy"][i] for i in rows])
        share.backward()
    value.backward()
    for name, slope in gradients_of(apart, batch).items():
        near(slope, gradients_of(once, batch)[name], 1e-12)


@pytest.mark.parametrize("kind", CLIPPED)
def test_the_normaliser_of_a_part_is_that_of_a_micro_batch(kind: str) -> None:
    batch, rows = whole(6), [0, 4]
    spec = {"loss": ("ppo_clip", "ppo_clip", {"type": kind})}
    some = rows_of(batch, torch.tensor(rows)).set(tokens=batch.mask.sum() * len(rows) / len(batch.mask))
    want, _ = by_trainer(Objective.build(spec), some, accumulate=3)
    given = handed(batch, advantages=True)
    loss = ClientLoss(spec, max_length=MAX_LENGTH, accumulate=3)
    value, _ = loss(loss.generation(given.samples).part(rows), [given.logprobs[i] for i in rows])
    near(value, want, 1e-10)


def test_a_part_of_a_later_pass_is_one_to_the_terms() -> None:
    batch = whole(7)
    lopti = {"advantages": ["grpo"], "weights": [{"lopti": {"threshold": 0.5}}], "loss": "unclipped"}
    loss, given = ClientLoss(lopti, passes=2), handed(batch)
    generation = loss.generation(given.samples)
    kept = []
    for iteration in range(2):
        value, _ = loss(generation.part(iteration=iteration), given.logprobs)
        kept.append(torch.stack([g.abs().sum() for g in torch.autograd.grad(value, given.logprobs)]))
    assert not torch.equal(*kept)


def test_controllers_move_once_a_step_and_go_on_from_their_state() -> None:
    given = handed(whole(8), GIVES)
    run = lambda loss: loss(given.samples, given.logprobs, **given.live)[1]
    coef = lambda loss: loss.objective.penalties[1].term.coef
    loss = made(coef=STEP)
    run(loss)
    assert coef(loss) == 0.5
    told = loss.step()
    assert coef(loss) == pytest.approx(0.51) == told["control/penalties.kl_ref.coef/output"]
    assert told["signal/kl_old"] > 0
    run(loss)
    loss.step(applied=False)
    assert coef(loss) == pytest.approx(0.51) and loss.done == 1
    again = made(coef=STEP)
    again.load_state_dict(json.loads(json.dumps(loss.state_dict())))
    assert again.objective == loss.objective
    for one in (loss, again):
        run(one)
        one.step()
    assert again.state_dict() == loss.state_dict() and coef(loss) == pytest.approx(0.5202)


def test_a_loop_that_forgets_the_step_is_told_and_a_look_without_gradient_is_no_step() -> None:
    given = handed(whole(8), GIVES)
    loss = made(coef=STEP)
    with torch.no_grad():
        for _ in range(3):
            loss(given.samples, [row.detach() for row in given.logprobs], **given.live)
    loss = ClientLoss(
        {"advantages": ["grpo"], "loss": "ppo_clip", "penalties": [{"kl_ref": {"coef": STEP}}]}, gives=["ref_logps"]
    )
    for _ in range(3):
        loss(given.samples, [row.detach() for row in given.logprobs])
    loss(given.samples, given.logprobs)
    with pytest.raises(ValueError, match=r"1 losses since the last step\(\), and accumulate is 1: call step\(\)"):
        loss(given.samples, given.logprobs)
    loss.step()
    with pytest.raises(ValueError, match="no loss since the last one"):
        loss.step()


def test_a_controller_of_the_gradient_is_told_its_norm() -> None:
    knob = {"adaptive_kl": {"signal": "grad_norm", "target": 1.0, "samples": 1000}}
    loss, given = ClientLoss({"loss": {"ppo_clip": {"epsilon": knob}}}), handed(whole(8), advantages=True)
    loss(given.samples, given.logprobs)
    with pytest.raises(ValueError, match="give grad_norm="):
        loss.step()
    assert loss.step(grad_norm=3.0)["control/loss.ppo_clip.epsilon/signal"] == 3.0
    loss(given.samples, given.logprobs)
    loss.step(grad_norm=float("nan"))
    assert loss.done == 2


def test_the_memory_of_a_reward_term_is_part_of_the_state() -> None:
    given = handed(whole(9), ("old_entropy", "pieces"))
    spec = {"rewards": ["ares"], "advantages": ["grpo"], "loss": "unclipped"}
    loss = ClientLoss(spec, gives=["old_entropy", "pieces"])
    loss(given.samples, given.logprobs)
    again = ClientLoss(spec, gives=["old_entropy", "pieces"])
    again.load_state_dict(json.loads(json.dumps(loss.state_dict())))
    assert loss.memory and again.memory == loss.memory and again.generations == 1


def test_a_gradient_is_there_for_every_sequence_even_where_nothing_depends_on_it() -> None:
    given = handed(whole(10), advantages=True)
    for spec in ({"loss": "none"}, {"loss": "ppo_clip"}):
        silent = [replace(sample, mask=torch.zeros_like(sample.mask)) for sample in given.samples]
        value, _ = ClientLoss(spec)(silent, given.logprobs)
        value.backward()
        assert value == 0 and all(not row.grad.any() for row in given.logprobs)


def test_signals_are_measured_where_what_they_read_is_given() -> None:
    for signal, gives in (
        ("entropy", ["entropy"]),
        ("kl", ["ref_logps"]),
        ("entropy_top", ["old_entropy"]),
        ("solved", []),
    ):
        knob = {"step": {"signal": signal, "target": 1.0}}
        loss = ClientLoss({"advantages": ["grpo"], "loss": {"ppo_clip": {"epsilon": knob}}}, gives=gives)
        given = handed(whole(11), gives)
        loss(given.samples, given.logprobs, **given.live)
        assert loss.step()["control/loss.ppo_clip.epsilon/signal"] is not None


def test_the_client_imports_no_trainer() -> None:
    code = (
        "import sys\n"
        "for name in ('trl', 'transformers', 'accelerate', 'datasets', 'deepspeed'): sys.modules[name] = None\n"
        "from entropostat import ClientLoss\n"
        "import entropostat.client.tinker, entropostat.client.prime_rl\n"
        "ClientLoss({'loss': 'ppo_clip'})\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_seeds_and_generations_draw_anew() -> None:
    given = handed(whole(12))
    spec = {
        "advantages": ["grpo"],
        "weights": [{"clip_cov": {"low": -9, "high": 9, "fraction": 0.3}}],
        "loss": "unclipped",
    }
    loss = ClientLoss(spec)
    values = [loss(given.samples, given.logprobs)[0].item() for _ in range(2)]
    values.append(ClientLoss(spec, seed=1)(given.samples, given.logprobs)[0].item())
    assert len(set(values)) == 3
