"""On-policy distillation inside TRL's trainer: the teacher, what it costs, and TRL's own trainer on the same tokens."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig
from support import tiny
from trl import DistillationConfig, DistillationTrainer

from entropostat.rl.divergences import DIVERGENCES
from entropostat.trainers.grpo import EntropyGRPOTrainer

BETAS = {0.0: {"divergence": "forward_kl"}, 1.0: {"divergence": "reverse_kl"}, 0.5: {"divergence": "jsd"}}
BETAS |= {0.2: {"divergence": "jsd", "beta": 0.2}}
NONE: dict[str, Any] = {"none": {}}


@pytest.fixture(scope="module")
def student() -> str:
    return tiny.saved()


def teacher(seed: int = 9, dtype: torch.dtype = torch.float32) -> Any:
    """Wider than the student, and surer of itself."""
    model = tiny.model(seed, hidden=64, dtype=dtype)
    model.lm_head.weight.data *= 20
    return model


def distilled(path: str, options: dict[str, Any] | None = None, **changes: Any) -> EntropyGRPOTrainer:
    own = {key: changes.pop(key) for key in ("teacher", "objective", "peft_config") if key in changes}
    spec = tiny.objective(loss=NONE, advantages=[], penalties=[{"distill": options or {}}])
    return EntropyGRPOTrainer(
        model=path,
        reward_funcs=tiny.digits,
        args=tiny.config(**changes),
        train_dataset=tiny.prompts(),
        **{"objective": spec, "teacher": teacher(), **own},
    )


def micro_batches(trainer: EntropyGRPOTrainer) -> list[tuple[dict[str, Any], float, dict[str, torch.Tensor]]]:
    """Train, and give the inputs, the loss and the gradient of every micro-batch."""
    found: list[Any] = []
    compute = trainer._compute_loss

    def watch(model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        loss = compute(model, inputs, *args, **kwargs)
        names, weights = zip(*[(n, p) for n, p in model.named_parameters() if p.requires_grad], strict=True)
        grads = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True)
        found.append((dict(inputs), loss.item(), {n: g for n, g in zip(names, grads, strict=True) if g is not None}))
        return loss

    trainer._compute_loss = watch  # type: ignore[method-assign]
    trainer.train()
    return found


@pytest.mark.parametrize("beta", BETAS)
def test_loss_and_gradient_are_those_of_trls_own_distillation_trainer(student: str, beta: float) -> None:
    trainer = distilled(student, BETAS[beta], temperature=0.7, learning_rate=0.0, max_completion_length=12,
                        steps_per_generation=2, gradient_accumulation_steps=2)  # fmt: skip
    found = micro_batches(trainer)
    assert any((inputs["completion_mask"] == 0).any() for inputs, *_ in found), "completions of different lengths"
    theirs = DistillationTrainer(
        model=tiny.model(),
        teacher_model=teacher(),
        args=DistillationConfig(
            output_dir=tempfile.mkdtemp(), beta=beta, temperature=0.7, use_cpu=True, bf16=False, report_to="none",
            gradient_checkpointing=False,
        ),
        train_dataset=tiny.prompts(),
        processing_class=tiny.tokenizer(),
    )  # fmt: skip
    theirs.model.train()
    for inputs, loss, gradient in found:
        theirs.model.zero_grad()
        expected = theirs.compute_loss(theirs.model, inputs)
        assert loss == pytest.approx(expected.item(), rel=1e-5) and abs(loss) > 0.1
        expected.backward()
        for name, weight in theirs.model.named_parameters():
            assert weight.grad is not None
            torch.testing.assert_close(
                gradient[name], weight.grad, rtol=1e-3, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}"
            )
        assert max(float(g.abs().max()) for g in gradient.values()) > 1e-3


def test_the_divergence_from_the_teacher_falls_and_the_teacher_stays_as_it_was(student: str) -> None:
    guide = teacher()
    before = {name: p.clone() for name, p in guide.named_parameters()}
    trainer = distilled(student, teacher=guide, max_steps=20, per_device_train_batch_size=16)
    trainer.train()
    values = [row["distill/divergence"] for row in trainer.state.log_history if "loss" in row]
    assert sum(values[-3:]) < 0.7 * sum(values[:3])
    assert all(torch.equal(before[name], p) for name, p in guide.named_parameters())
    assert not any(p.requires_grad or p.grad is not None for p in guide.parameters()) and not guide.training


def test_adapters_learn_from_it_and_their_base_does_not(student: str) -> None:
    peft = LoraConfig(task_type="CAUSAL_LM", r=8, target_modules="all-linear")
    trainer = distilled(student, peft_config=peft)
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    trainer.train()
    moved = {name for name, p in trainer.model.named_parameters() if not torch.equal(before[name], p)}
    assert moved and all("lora_" in name for name in moved)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_two_updates_on_one_generation_meet_the_teacher_at_their_own_rows(student: str, checkpointing: bool) -> None:
    trainer = distilled(student, max_steps=2, learning_rate=0.1, gradient_checkpointing=checkpointing)
    guide, seen = teacher(), []
    additive = trainer._additive_terms

    def check(inputs: dict[str, Any], passed: Any) -> Any:
        ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
        attention = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1)
        width = inputs["completion_ids"].size(1)
        with torch.no_grad():
            log_p, log_q = (
                model(input_ids=ids, attention_mask=attention).logits[:, -width - 1 : -1].log_softmax(-1)
                for model in (trainer.model, guide)
            )
        expected = (log_p.exp() * (log_p - log_q)).sum(-1)
        found = passed.batch.to_teacher["reverse_kl clamp 80.0"]
        torch.testing.assert_close(found * passed.batch.mask, expected * passed.batch.mask, rtol=1e-4, atol=1e-5)
        seen.append(expected)
        return additive(inputs, passed)

    trainer._additive_terms = check  # type: ignore[method-assign]
    trainer.train()
    assert len(seen) == 2


@pytest.mark.parametrize("name", DIVERGENCES)
def test_every_divergence_trains(student: str, name: str) -> None:
    trainer = distilled(student, {"divergence": name, "top_k": 4 if name == "jsd" else None}, max_steps=1)
    trainer.train()
    row = next(row for row in trainer.state.log_history if "loss" in row)
    assert row["grad_norm"] > 1e-4 and row["distill/divergence"] > 0


def test_a_teacher_of_half_precision_stays_what_it_is(student: str) -> None:
    trainer = distilled(student, teacher=teacher(dtype=torch.bfloat16), max_steps=1)
    trainer.train()
    assert {p.dtype for p in trainer.teacher.inner.parameters()} == {torch.bfloat16}
    assert next(row for row in trainer.state.log_history if "loss" in row)["distill/divergence"] > 0.1


def test_a_controlled_temperature_is_the_teachers_too(student: str) -> None:
    spec = tiny.objective(loss=NONE, advantages=[], penalties=[{"distill": {}}])
    spec["scalars"] = [("temperature", "temperature", {"value": 0.5})]
    moved = micro_batches(distilled(student, objective=spec, max_steps=1))
    fixed = micro_batches(distilled(student, max_steps=1, temperature=0.5))
    warm = micro_batches(distilled(student, max_steps=1))
    assert moved[0][1] == pytest.approx(fixed[0][1], rel=1e-5)
    assert moved[0][1] != pytest.approx(warm[0][1], rel=0.1)


def test_completions_that_a_term_samples_for_itself_are_beside_it(student: str) -> None:
    spec = tiny.objective(penalties=[{"distill": {}}, {"aepo": {"target": 5.0, "share": 1.0}}])
    trainer = distilled(student, objective=spec, max_steps=2)
    trainer.train()
    assert all(row["distill/divergence"] > 0.1 for row in trainer.state.log_history if "loss" in row)


def test_the_teacher_is_in_no_checkpoint_and_a_run_goes_on_as_if_it_had_not_stopped(
    student: str, tmp_path: Path
) -> None:
    rows, weights = [], []
    for steps, resume in ((4, None), (4, tmp_path / "0" / "checkpoint-2")):
        folder = tmp_path / str(len(rows))
        saving = {"save_strategy": "steps", "save_steps": 2, "output_dir": str(folder)}
        trainer = distilled(student, max_steps=steps, **saving)
        trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
        rows.append([row["loss"] for row in trainer.state.log_history if "loss" in row])
        weights.append([p.detach().clone() for p in trainer.model.parameters()])
    assert rows[0] == rows[1] and all(torch.equal(a, b) for a, b in zip(*weights, strict=True))
    found = [file for file in tmp_path.rglob("*") if file.is_file() and file.stat().st_size > 2**17]
    size = sum(p.numel() for p in tiny.model().parameters()) * 4
    teachers = sum(p.numel() for p in teacher().parameters()) * 4
    assert found and teachers > 3 * size
    assert all(file.stat().st_size < teachers for file in found if file.name != "optimizer.pt")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"teacher": None}, "teacher: missing, and distill compares with it"),
        ({"objective": tiny.objective()}, "teacher: no term of the objective reads it"),
    ],
    ids=["none", "unread"],
)
def test_a_teacher_without_a_reader_and_a_reader_without_one_are_refused(
    student: str, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        distilled(student, **changes)


def test_a_teacher_whose_head_lacks_tokens_is_refused(student: str) -> None:
    small = teacher()
    small.resize_token_embeddings(20, mean_resizing=False)
    with pytest.raises(ValueError, match="has a vocabulary of 20 entries, and the policy's tokenizer has 28 tokens"):
        distilled(student, teacher=small)


def test_a_teacher_whose_head_is_padded_teaches_what_the_unpadded_one_teaches(student: str) -> None:
    rows = []
    for width in (28, 40):
        guide = teacher()
        guide.resize_token_embeddings(width, mean_resizing=False)
        trainer = distilled(student, teacher=guide, max_steps=1)
        trainer.train()
        rows.append(next(row["loss"] for row in trainer.state.log_history if "loss" in row))
    assert rows[0] == pytest.approx(rows[1], rel=1e-5)


@pytest.mark.parametrize("weighted", [True, False])
def test_the_weights_select_its_tokens_in_the_loss_unless_it_says_no(student: str, weighted: bool) -> None:
    spec = tiny.objective(loss=NONE, advantages=[], weights=["tip"], penalties=[{"distill": {"weighted": weighted}}])
    trainer, parts = distilled(student, objective=spec, max_steps=1), []
    note = trainer.monitors.note_loss

    def watch(loss: Any, inputs: Any, passed: Any, objective: Any) -> None:
        parts.append((passed.parts["distill"].detach(), passed.weight, passed.batch.valid))
        note(loss, inputs, passed, objective)

    trainer.monitors.note_loss = watch  # type: ignore[method-assign]
    trainer.train()
    ((value, weight, valid),) = parts
    assert (weight[valid] == 0).any()
    assert bool((value[(weight == 0) & valid] == 0).all()) is weighted
