"""A policy that starts as an adapter on a base: the reference is that policy, and not the base."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from support import tiny
from support.log_history import step_rows

from entropostat.trainers.build.models import load_model, load_tokenizer, vocabulary_size
from entropostat.trainers.grpo import EntropyGRPOTrainer
from entropostat.trainers.ppo import EntropyPPOTrainer
from entropostat.trainers.trl.scoring import score_tokens


def adapted(folder: Path, base: str, **config: Any) -> str:
    """An adapter that says something else than its base."""
    torch.manual_seed(3)
    lora = LoraConfig(task_type="CAUSAL_LM", r=2, target_modules="all-linear", init_lora_weights=False, **config)
    model = load_model(base, dtype="float32")
    get_peft_model(model, lora).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def base() -> str:
    return tiny.saved()


@pytest.fixture(scope="module")
def path(base: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    return adapted(tmp_path_factory.mktemp("adapter"), base)


def trainer_of(path: str, objective: Any, kind: Any = EntropyGRPOTrainer, **changes: Any) -> Any:
    return kind(
        model=load_model(path, dtype="float32"),
        reward_funcs=tiny.digits,
        args=tiny.config(max_steps=4, **changes),
        train_dataset=tiny.prompts(),
        processing_class=load_tokenizer(path),
        objective=objective,
    )


KL = {"kl_ref": {"coef": 0.1}}
COMPARED: dict[str, tuple[Any, dict[str, Any]]] = {
    "kl_ref": (tiny.objective(penalties=[KL]), {}),
    "TRL's own beta": (tiny.objective(), {"beta": 0.1}),
    "a moving reference": (tiny.objective(penalties=[{"kl_ref": {"reference": "ema", "decay": 0.9}}]), {}),
    "a signal": (
        tiny.objective(penalties=[{"entropy_bonus": {"coef": {"step": {"signal": "kl", "target": 1.0}}}}]),
        {},
    ),
}


@pytest.mark.parametrize("case", COMPARED)
def test_the_reference_is_the_policy_that_training_starts_from(path: str, case: str) -> None:
    objective, changes = COMPARED[case]
    trainer = trainer_of(path, objective, **changes)
    before = [p.detach().clone() for name, p in trainer.model.named_parameters() if ".ref." in name]
    assert before and all(p.requires_grad is (".default." in n) for n, p in trainer.model.named_parameters())
    trainer.train()
    kls = [row["kl"] for row in step_rows(trainer)]
    assert kls[0] == 0.0, "to the base it would be large"
    assert kls[-1] > 1e-6
    after = [p for name, p in trainer.model.named_parameters() if ".ref." in name]
    still = all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert still is (case != "a moving reference")


def test_the_base_is_something_else_than_the_policy(path: str) -> None:
    """Or the test above would say nothing."""
    trainer = trainer_of(path, tiny.objective(penalties=[KL]))
    output = trainer._generate_and_score_completions([{"prompt": "1+1="}] * 4)
    own = score_tokens(trainer, output)
    with trainer.model.disable_adapter():
        other = score_tokens(trainer, output)
    torch.testing.assert_close(own, output["ref_per_token_logps"])
    assert (own - other).abs().max() > 0.01


def test_both_adapters_have_one_precision(path: str) -> None:
    """ZeRO-3 wants that of the model, and a second adapter is made in float32."""
    trainer = EntropyGRPOTrainer(
        model=load_model(path, dtype="bfloat16", upcast=False),
        reward_funcs=tiny.digits,
        args=tiny.config(max_steps=1, bf16=True),
        train_dataset=tiny.prompts(),
        processing_class=load_tokenizer(path),
        objective=tiny.objective(penalties=[KL]),
    )
    assert {p.dtype for name, p in trainer.model.named_parameters() if "lora" in name} == {torch.bfloat16}
    assert {p.dtype for n, p in load_model(path, dtype="bfloat16").named_parameters() if "lora" in n} == {torch.float32}


def test_the_critic_beside_an_adapter_is_taken_over(path: str, tmp_path: Path) -> None:
    objective = tiny.objective(advantages=["gae"], loss="ppo_clip")
    first = trainer_of(path, objective, EntropyPPOTrainer)
    first.train()
    first.save_model(str(tmp_path))
    second = trainer_of(str(tmp_path), objective, EntropyPPOTrainer)
    mine, other = first.critic.tap.critic.state_dict(), second.critic.tap.critic.state_dict()
    assert all(torch.equal(mine[name], other[name]) for name in mine)
    fresh = trainer_of(path, objective, EntropyPPOTrainer).critic.tap.critic.state_dict()
    assert any(not torch.equal(mine[name], fresh[name]) for name in mine)


def test_an_adapter_without_a_tokenizer_has_that_of_its_base(path: str, base: str, tmp_path: Path) -> None:
    assert load_tokenizer(path).get_vocab() == load_tokenizer(base).get_vocab()
    assert vocabulary_size(path) == vocabulary_size(base)
    own = shutil.copytree(path, tmp_path / "own")
    tokenizer = load_tokenizer(base)
    tokenizer.add_tokens(["<answer>"])
    tokenizer.save_pretrained(own)
    assert "<answer>" in load_tokenizer(own).get_vocab()


@pytest.mark.parametrize("where", ["adapter", "working directory"])
def test_a_relative_base_starts_at_the_adapter_or_at_the_working_directory(
    where: str, path: str, base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    moved = Path(shutil.copytree(path, tmp_path / "models" / "sft"))
    root = moved.parent if where == "adapter" else tmp_path / "elsewhere"
    shutil.copytree(base, root / "policy")
    name = "../policy" if where == "adapter" else "policy"
    said = json.loads((moved / "adapter_config.json").read_text())
    (moved / "adapter_config.json").write_text(json.dumps(said | {"base_model_name_or_path": name}))
    monkeypatch.chdir(tmp_path / "elsewhere")
    weights = load_model(moved, dtype="float32").state_dict()
    want = load_model(path, dtype="float32").state_dict()
    assert all(torch.equal(weights[key], want[key]) for key in want)


def test_embeddings_that_grew_before_the_adapter_was_trained_come_with_it(base: str, tmp_path: Path) -> None:
    model = load_model(base, dtype="float32")
    model.resize_token_embeddings(40)
    lora = LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj"])
    get_peft_model(model, lora).save_pretrained(tmp_path, save_embedding_layers=True)
    loaded = load_model(tmp_path, dtype="float32")
    assert loaded.get_input_embeddings().weight.shape[0] == 40
    assert torch.equal(loaded.get_input_embeddings().weight, model.get_input_embeddings().weight)


def test_an_adapter_of_another_base_is_refused_in_one_line(path: str, tmp_path: Path) -> None:
    wrong = Path(shutil.copytree(path, tmp_path / "wrong"))
    file = wrong / "adapter_model.safetensors"
    weights = load_file(file)
    key = next(name for name in weights if "q_proj.lora_A" in name)
    save_file(weights | {key: weights[key][:, :-1].contiguous()}, file)
    with pytest.raises(
        ValueError, match=r"model\.path: the adapter .* does not fit its base .*size mismatch"
    ) as caught:
        load_model(wrong, dtype="float32")
    assert "\n" not in str(caught.value)
