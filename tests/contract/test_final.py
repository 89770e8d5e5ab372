"""`final/`: what others open. The policy's own logits, standard names, the right ends, and nothing of the trainer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import AutoPeftModelForCausalLM, LoraConfig
from safetensors import safe_open
from safetensors.torch import load_file
from support import tiny
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from entropostat.recipe.blocks import Critic
from entropostat.trainers.build.merge import merge
from entropostat.trainers.grpo import EntropyGRPOTrainer
from entropostat.trainers.model.critic_tap import FILE
from entropostat.trainers.model.head_tap import APART
from entropostat.trainers.state.final import save_policy

IDS = torch.tensor([[3, 4, 5, 13, 6]])
TOKENIZER = {"tokenizer.json", "tokenizer_config.json"}
WHOLE = {"config.json", "generation_config.json", "model.safetensors", *TOKENIZER}


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(IDS).logits


def finished(trainer: Any, folder: Path) -> Path:
    trainer.train()
    save_policy(trainer, folder / "final", card="---\ntags: [a]\n---\n")
    return folder / "final"


def adapted(path: str, folder: Path, **peft: Any) -> tuple[Any, Path]:
    torch.manual_seed(0)
    trainer = EntropyGRPOTrainer(
        model=path,
        reward_funcs=tiny.digits,
        args=tiny.config(output_dir=str(folder), learning_rate=0.05, beta=0.0),
        train_dataset=tiny.prompts(),
        objective=tiny.objective(),
        peft_config=LoraConfig(task_type="CAUSAL_LM", r=4, **{"target_modules": "all-linear", **peft}),
    )
    return trainer, finished(trainer, folder)


def test_a_whole_policy_is_what_was_trained(path: str, tmp_path: Path) -> None:
    trainer = tiny.ours(path, output_dir=str(tmp_path))
    trainer.eos_token_ids = [1, 7]  # one of the tokenizer, and one that sampler.stop adds
    final = finished(trainer, tmp_path)
    names = {file.name for file in final.rglob("*")}
    assert WHOLE | {"README.md"} <= names <= WHOLE | {"README.md", "special_tokens_map.json", "chat_template.jinja"}
    again = AutoModelForCausalLM.from_pretrained(final)
    assert torch.equal(logits(again), logits(trainer.model))
    assert not torch.equal(logits(again), logits(AutoModelForCausalLM.from_pretrained(path)))
    assert AutoTokenizer.from_pretrained(final).encode("1+2=") == trainer.processing_class.encode("1+2=")
    ends = GenerationConfig.from_pretrained(final)
    assert ends.eos_token_id == [1, 7] and ends.pad_token_id == 0
    generated = again.generate(IDS, max_new_tokens=4, do_sample=False)
    assert generated.shape[1] > IDS.shape[1]


def test_what_vllm_and_lm_eval_look_for(path: str, tmp_path: Path) -> None:
    """vLLM takes the class from config.json and every name of every safetensors file in the folder; lm-eval opens it by transformers."""
    final = finished(tiny.ours(path, output_dir=str(tmp_path), gradient_checkpointing=True), tmp_path)
    config = json.loads((final / "config.json").read_text())
    assert config["architectures"] == ["Qwen2ForCausalLM"] and config["model_type"] == "qwen2"
    assert config.get("use_cache", True) is True, "off in training, and slow ever after"
    files = list(final.glob("*.safetensors"))
    assert [file.name for file in files] == ["model.safetensors"]
    with safe_open(files[0], "pt") as weights:
        assert (
            set(weights.keys()) == set(load_file(Path(path) / "model.safetensors"))
            and weights.metadata()["format"] == "pt"
        )
    assert json.loads((final / "generation_config.json").read_text())["eos_token_id"] == 1
    assert not list(final.rglob("*.bin")) and not list(final.rglob("*.pt"))


def test_a_critic_is_no_part_of_it_and_the_next_run_finds_it(path: str, tmp_path: Path) -> None:
    trainer = tiny.ppo(path, Critic(), output_dir=str(tmp_path), max_steps=1)
    final = finished(trainer, tmp_path)
    assert [file.name for file in final.glob("*.safetensors")] == ["model.safetensors"]
    assert not [name for name in load_file(final / "model.safetensors") if "critic" in name]
    kept, mine = load_file(final / APART / FILE), trainer.critic.tap.critic.state_dict()
    assert all(torch.equal(kept[name], mine[name]) for name in mine)
    onward = tiny.ppo(str(final), Critic(), output_dir=str(tmp_path / "next")).critic.tap.critic.state_dict()
    assert all(torch.equal(kept[name], onward[name]) for name in mine)


@pytest.mark.parametrize(
    ("tie", "peft"),
    [
        (False, {}),
        (False, {"modules_to_save": ["lm_head"], "use_rslora": True, "init_lora_weights": "gaussian"}),
        (True, {"modules_to_save": ["lm_head"]}),
        (True, {"target_modules": r".*\.(q|v)_proj", "use_dora": True, "init_lora_weights": "orthogonal"}),
    ],
)
def test_an_adapter_is_kept_and_merged_into_the_same_policy(tie: bool, peft: dict[str, Any], tmp_path: Path) -> None:
    trainer, final = adapted(tiny.saved(tie=tie), tmp_path, **peft)
    wanted = logits(trainer.model)
    names = {file.name for file in final.iterdir()}
    assert names >= {"adapter_config.json", "adapter_model.safetensors", "generation_config.json", *TOKENIZER}
    assert not [name for name in names if name.startswith(("model", "training_args"))]
    # transformers loses the sizes that DoRA trains; `plan` warns of it.
    opened = (AutoPeftModelForCausalLM if peft.get("use_dora") else AutoModelForCausalLM).from_pretrained(final)
    torch.testing.assert_close(logits(opened), wanted, atol=1e-5, rtol=0)
    with trainer.model.disable_adapter():
        base = logits(trainer.model)
    assert (wanted - base).abs().max() > 1e-3, "training moved it"

    merged = merge(tmp_path)
    assert merged == tmp_path / "merged" and {file.name for file in merged.iterdir()} >= WHOLE
    assert not list(merged.glob("adapter*"))
    whole = AutoModelForCausalLM.from_pretrained(merged)
    assert type(whole).__name__ == "Qwen2ForCausalLM"
    torch.testing.assert_close(logits(whole), wanted, atol=1e-4, rtol=0)
    assert GenerationConfig.from_pretrained(merged).eos_token_id == 1


@pytest.mark.parametrize("module", ["lm_head", "embed_tokens"])
def test_a_module_to_save_is_trained_and_the_reference_has_the_one_before(
    path: str, module: str, tmp_path: Path
) -> None:
    trainer, _ = adapted(path, tmp_path, modules_to_save=[module])
    (wrapper,) = [
        m for name, m in trainer.model.named_modules() if name.endswith(module) and hasattr(m, "modules_to_save")
    ]
    before, after = wrapper.original_module.weight, wrapper.modules_to_save["default"].weight
    assert (after - before).abs().max() > 1e-4
    with trainer.model.disable_adapter():
        torch.testing.assert_close(logits(trainer.model), logits(AutoModelForCausalLM.from_pretrained(path)))


def test_merging_what_is_no_adapter_is_one_line(path: str, tmp_path: Path) -> None:
    (tmp_path / "final").mkdir()
    with pytest.raises(
        ValueError, match=r"holds no adapter; merge takes the folder of a finished run with model\.peft"
    ):
        merge(tmp_path)
    (tmp_path / "final" / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="holds a whole model already"):
        merge(tmp_path)
    assert not (tmp_path / "merged").exists()
