"""A row scores as it does alone, however much padding its batch puts before it; what needs no position ids gets none."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig
from support import families, tiny
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, LlavaConfig
from trl import GRPOTrainer

from entropostat.recipe.blocks import Critic
from entropostat.trainers.evaluation.entropy import completion_entropy
from entropostat.trainers.grpo import EntropyGRPOTrainer
from entropostat.trainers.model.positions import position_ids, threshold
from entropostat.trainers.ppo import EntropyPPOTrainer

FAMILIES = tuple(families.FAMILIES)
PROMPTS = ("1+1=", "123456789+12345=", "7=", "12*34*56=")
COMPLETIONS = ("12", "0", "1234", "a b")
CLOSE = {"atol": 2e-4, "rtol": 0.0}
"""Rotary models round otherwise at other positions; a wrong absolute position is off by nats."""


def batch(rows: tuple[int, ...] = (0, 1, 2, 3)) -> tuple[Tensor, Tensor, int]:
    """(B, P + T) ids and attention, prompts padded on the left and completions on the right, and T."""
    tokenizer = tiny.tokenizer()
    prompts = [tokenizer(PROMPTS[i])["input_ids"] for i in rows]
    completions = [[*tokenizer(COMPLETIONS[i])["input_ids"], tokenizer.eos_token_id] for i in rows]
    p, t = max(map(len, prompts)), max(map(len, completions))
    ids = [[0] * (p - len(a)) + a + b + [0] * (t - len(b)) for a, b in zip(prompts, completions, strict=True)]
    mask = [
        [0] * (p - len(a)) + [1] * (len(a) + len(b)) + [0] * (t - len(b))
        for a, b in zip(prompts, completions, strict=True)
    ]
    return torch.tensor(ids), torch.tensor(mask), t


def together_and_alone(score: Any) -> None:
    """``score`` of ids, attention and length -> (B, T, ...)."""
    together = score(*batch())
    for i in range(len(PROMPTS)):
        ids, attention, length = batch((i,))
        assert not (attention == 0).any()
        alone = score(ids, attention, length)[0]
        torch.testing.assert_close(together[i, : len(alone)], alone, **CLOSE)


def trainer(family: str, kind: Any = EntropyGRPOTrainer, reference: bool = True, **options: Any) -> Any:
    advantages = ["gae"] if kind is EntropyPPOTrainer else None
    penalties = [{"kl_ref": {"coef": 0.1}}] if reference else []
    return kind(
        model=tiny.written(families.policy(family)),
        reward_funcs=tiny.digits,
        args=tiny.config(),
        train_dataset=tiny.prompts(),
        processing_class=tiny.tokenizer(),
        objective=tiny.objective(advantages=advantages, penalties=penalties),
        **options,
    )


def scoring(owner: Any, model: Any) -> Any:
    @torch.no_grad()
    def score(ids: Tensor, attention: Tensor, length: int) -> Tensor:
        logps, *_ = owner._get_per_token_logps_and_entropies(model, ids, attention, length)
        return logps

    return score


@pytest.mark.parametrize("family", FAMILIES)
def test_policy_and_reference_score_a_padded_row_as_they_score_it_alone(family: str) -> None:
    made = trainer(family)
    together_and_alone(scoring(made, made.model))
    together_and_alone(scoring(made, made.ref_model))


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_an_adapter_hands_positions_on(family: str) -> None:
    target = "c_attn" if family == "gpt2" else "q_proj"
    lora = LoraConfig(task_type="CAUSAL_LM", target_modules=[target], init_lora_weights=False)
    made = trainer(family, peft_config=lora)
    together_and_alone(scoring(made, made.model))


@pytest.mark.parametrize("trunk", ["shared", "separate"])
@pytest.mark.parametrize("family", ["gpt2", "opt", "biogpt", "llama"])
def test_a_critic_values_a_padded_row_as_it_values_it_alone(family: str, trunk: str) -> None:
    made = trainer(family, EntropyPPOTrainer, reference=False, critic=Critic(trunk=trunk, init=1.0))

    def score(ids: Tensor, attention: Tensor, length: int) -> Tensor:
        with made.critic.tap.armed(), torch.no_grad():
            made._get_per_token_logps_and_entropies(made.model, ids, attention, length)
            return made.critic.tap.take(length)

    together_and_alone(score)


@pytest.mark.parametrize("family", FAMILIES)
def test_evaluation_measures_a_padded_row_as_it_measures_it_alone(family: str) -> None:
    model = families.policy(family)
    together_and_alone(lambda ids, attention, length: completion_entropy(model, ids, attention, ids.size(1) - length))


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_scored_is_what_was_sampled(family: str) -> None:
    """Log-probs of generation itself, beside those of the scoring forward."""
    made = trainer(family, reference=False)
    ids, attention, length = batch()
    prompt = slice(0, ids.size(1) - length)
    drawn = made.model.generate(
        input_ids=ids[:, prompt], attention_mask=attention[:, prompt], max_new_tokens=6, min_new_tokens=6, do_sample=False,
        output_logits=True, return_dict_in_generate=True,
    )  # fmt: skip
    logps = torch.stack(drawn.logits, 1).log_softmax(-1)
    sampled = logps.gather(2, drawn.sequences[:, -6:, None])[..., 0]
    whole = torch.cat([attention[:, prompt], torch.ones_like(sampled, dtype=torch.long)], 1)
    torch.testing.assert_close(scoring(made, made.model)(drawn.sequences, whole, 6), sampled, **CLOSE)


@pytest.mark.parametrize("family", [f for f in FAMILIES if f not in families.ABSOLUTE])
def test_models_of_relative_positions_score_to_the_bit_as_trl_does(family: str) -> None:
    made = trainer(family, reference=False)
    stock = GRPOTrainer(
        model=tiny.written(families.policy(family)), reward_funcs=tiny.digits, args=tiny.config(),
        train_dataset=tiny.prompts(), processing_class=tiny.tokenizer(),
    )  # fmt: skip
    assert torch.equal(scoring(made, made.model)(*batch()), scoring(stock, stock.model)(*batch()))


@pytest.mark.parametrize("family", families.ABSOLUTE)
def test_without_padding_models_of_absolute_positions_score_to_the_bit_as_trl_does(family: str) -> None:
    made = trainer(family, reference=False)
    with_ids, padded = scoring(made, made.model)(*batch((1,))), scoring(made, made.model)(*batch())
    made.model._forward_pre_hooks.clear()
    assert torch.equal(with_ids, scoring(made, made.model)(*batch((1,))))
    # OPT reads its positions off the mask.
    assert torch.equal(padded, scoring(made, made.model)(*batch())) == (family == "opt")


def test_positions_count_from_the_first_token() -> None:
    attention = torch.tensor([[0, 0, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0]])
    assert position_ids(attention).tolist() == [[0, 0, 0, 1, 2, 0], [0, 1, 2, 3, 4, 5], [0] * 6]


@pytest.mark.parametrize(
    "family, rope, expected",
    [
        ("llama", {"rope_type": "default", "rope_theta": 1e4}, None),
        ("llama", {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}, 64),
        (
            "llama",
            {"rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0, "original_max_position_embeddings": 32},
            None,
        ),
        ("gpt2", None, 0),
        ("bloom", None, None),
    ],
)
def test_positions_are_given_where_they_matter(family: str, rope: Any, expected: int | None) -> None:
    changes = {} if rope is None else {"rope_parameters": rope}
    assert threshold(families.policy(family, **changes)) == expected


def test_a_model_of_images_and_text_gets_none() -> None:
    """Whatever its text part embeds: its forward may want positions of several dimensions."""

    class Seeing(torch.nn.Module):
        config = LlavaConfig(text_config=families.config("gpt2"))

        def forward(self, input_ids: Tensor, position_ids: Tensor | None = None) -> None: ...

    assert threshold(Seeing()) is None


def test_a_scale_by_position_matters_beyond_its_length() -> None:
    """Frequencies that follow the length of a batch are given positions only where they could differ."""
    config = AutoConfig.for_model("phi3", **{**families.TOKENS, **families.LLAMA}, rope_parameters={
        "rope_type": "longrope", "rope_theta": 1e4, "partial_rotary_factor": 1.0, "factor": 2.0,
        "short_factor": [1.0] * 8, "long_factor": [4.0] * 8, "original_max_position_embeddings": 16,
    }, original_max_position_embeddings=16)  # fmt: skip
    model = families.sharp(AutoModelForCausalLM.from_config(config))
    assert threshold(model) == 16
