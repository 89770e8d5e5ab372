"""Evaluation measures the policy and leaves no trace."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from support.evaluated import measured
from transformers import GenerationConfig

from entropostat.data.dataset import with_system
from entropostat.data.registry import SOURCES
from entropostat.recipe.blocks import Build
from entropostat.reward.judge import Outcome
from entropostat.reward.registry import VERIFIERS
from entropostat.reward.scoring import Scorer
from entropostat.trainers.build.pretrain import make_model, make_tokenizer
from entropostat.trainers.evaluation import entropy as entropy_module
from entropostat.trainers.evaluation.draws import EvaluateSettings
from entropostat.trainers.evaluation.entropy import completion_entropy
from entropostat.trainers.evaluation.generation import completion_mask
from entropostat.trainers.evaluation.summary import pass_at_k

SETTINGS = EvaluateSettings(max_new_tokens=6, prompts=6, samples=4, k=(1, 2, 4), batch=8, strategies=("working",))


def policy(seed=0):
    """Untrained, with logits far from uniform."""
    torch.manual_seed(seed)
    tokenizer = make_tokenizer()
    model = make_model(Build(hidden=16, ff=16, layers=1), tokenizer)
    with torch.no_grad():
        model.model.embed_tokens.weight.mul_(40)
    return model.eval(), tokenizer


def sets(system=None):
    sources = {"easy": {"length": 2, "size": 9}, "hard": {"length": 4, "size": 5}}
    return {
        name: [with_system(e, system) for e in SOURCES.build("chain", options).load()]
        for name, options in sources.items()
    }


def scorer():
    return Scorer({"chain": VERIFIERS.build("chain", {})})


def run(model, tokenizer, settings=SETTINGS, verify=None, **options):
    return measured(model, tokenizer, sets(), verify or scorer().verify, settings, **options)


@pytest.mark.parametrize("n", [1, 4, 7])
def test_pass_at_k_equals_enumeration(n):
    for c in range(n + 1):
        for k in range(1, n + 1):
            draws = list(combinations([i < c for i in range(n)], k))
            assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, draws)) / len(draws), abs=1e-12)


def test_pass_at_k_is_stable_for_large_n_and_checks_its_arguments():
    assert pass_at_k(100_000, 1, 50_000) == pytest.approx(0.5)
    for n, c, k in [(4, 5, 1), (4, 1, 5), (4, 1, 0), (4, -1, 1)]:
        with pytest.raises(ValueError, match="pass@k needs"):
            pass_at_k(n, c, k)
    with pytest.raises(ValueError, match=r"evaluate.k: 32 must be between 1 and evaluate.samples \(16\)"):
        EvaluateSettings(max_new_tokens=1, k=(32,))


def test_pass_rates_come_from_the_verifier():
    """A verifier that calls the first sample of every prompt right, and greedy completions wrong."""
    model, tokenizer = policy()

    def verify(texts, examples):
        first = [i == 0 or examples[i] is not examples[i - 1] for i in range(len(texts))]
        greedy = len(set(map(id, examples))) == len(examples)
        return [Outcome(score=float(f and not greedy), strategy="working" if f else "other") for f in first]

    metrics = run(model, tokenizer, verify=verify)
    for name in ("easy", "hard"):
        rates = {k: v for k, v in metrics.items() if k.startswith(f"evaluate/{name}/")}
        assert rates[f"evaluate/{name}/pass@1"] == pytest.approx(1 / 4)
        assert rates[f"evaluate/{name}/pass@2"] == pytest.approx(1 / 2)
        assert rates[f"evaluate/{name}/pass@4"] == pytest.approx(1.0)
        assert rates[f"evaluate/{name}/greedy"] == 0
        assert rates[f"evaluate/{name}/share/working"] == pytest.approx(1 / 4)
        assert rates[f"evaluate/{name}/accuracy/working"] == 1
        assert rates[f"evaluate/{name}/accuracy/other"] == 0


def test_a_strategy_that_died_out_has_share_zero():
    model, tokenizer = policy()
    metrics = run(model, tokenizer, verify=lambda texts, examples: [Outcome(score=0.0)] * len(texts))
    assert metrics["evaluate/easy/share/working"] == 0
    assert "evaluate/easy/accuracy/working" not in metrics


def test_it_repeats_and_leaves_random_state_modes_and_settings_alone():
    model, tokenizer = policy()
    model.train()
    model.model.layers[0].mlp.eval()
    model.generation_config = own = GenerationConfig(repetition_penalty=5.0, top_k=1, eos_token_id=2)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = run(model, tokenizer)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training and not model.model.layers[0].mlp.training
    assert model.generation_config is own
    torch.manual_seed(6)
    assert run(model, tokenizer) == first
    assert first != run(model, tokenizer, EvaluateSettings(**(vars(SETTINGS) | {"seed": 8})))


def test_the_models_own_generation_defaults_change_nothing():
    model, tokenizer = policy()
    first = run(model, tokenizer)
    model.generation_config = GenerationConfig(
        repetition_penalty=5.0, top_k=1, temperature=0.1, min_p=0.9, max_length=3, suppress_tokens=[4, 5, 6, 7]
    )
    assert run(model, tokenizer) == first
    assert first["evaluate/easy/distinct"] > 1.5


@pytest.mark.parametrize("world", [2, 3, 7])
def test_ranks_share_the_work_and_agree_with_one(world):
    model, tokenizer = policy()
    alone = run(model, tokenizer)
    parts = []

    def keep(records):
        parts.append(records)
        return records

    for rank in range(world):
        run(model, tokenizer, rank=rank, world=world, gather_object=keep)
    whole = [record for part in parts for record in part]
    assert max(map(len, parts)) < len(whole)
    metrics = [run(model, tokenizer, rank=r, world=world, gather_object=lambda _: whole) for r in range(world)]
    assert all(m == alone for m in metrics)


def test_a_trl_patched_model_gives_the_same_numbers():
    from trl.trainer.utils import add_fused_lm_head

    model, tokenizer = policy()
    before = run(model, tokenizer)
    add_fused_lm_head(model)
    assert run(model, tokenizer) == before


def dense_entropy(model, ids, attention, width):
    """Row by row without padding, all logits at once, in float64."""
    rows = []
    for row, mask in zip(ids, attention, strict=True):
        logits = model(input_ids=row[mask.bool()][None]).logits[0].double()
        logps = logits.log_softmax(-1)
        own = -(logps.exp() * logps).sum(-1)
        count = int(mask[width:].sum())
        rows.append(own[-count - 1 : -1] if count else own[:0])
    return rows


@pytest.mark.parametrize("elements", [1, 1 << 26])
def test_entropy_equals_dense_logits_despite_padding_and_tiles(monkeypatch, elements):
    monkeypatch.setattr(entropy_module, "ELEMENTS", elements)
    model, _ = policy()
    ids = torch.randint(4, 18, (3, 9))
    attention = torch.tensor([[0, 0, 1, 1, 1, 1, 1, 0, 0], [1] * 9, [0, 1, 1, 1, 1, 0, 0, 0, 0]])
    entropy = completion_entropy(model, ids, attention, 4)
    with torch.no_grad():
        dense = dense_entropy(model, ids, attention, 4)
    assert entropy.shape == (3, 5)
    for row, mask, exact in zip(entropy, attention[:, 4:], dense, strict=True):
        torch.testing.assert_close(row[mask.bool()].double(), exact, rtol=1e-5, atol=1e-5)
        assert (row[~mask.bool()] == 0).all()


def test_entropy_of_impossible_tokens_is_finite():
    class Head(torch.nn.Module):
        config = make_model(Build(hidden=16, ff=16, layers=1), make_tokenizer()).config

        def forward(self, input_ids, attention_mask, use_cache):
            logits = torch.full((*input_ids.shape, 4), -torch.inf)
            logits[..., :2] = 0
            return type("Out", (), {"logits": logits})

    entropy = completion_entropy(Head(), torch.zeros(1, 5, dtype=torch.long), torch.ones(1, 5, dtype=torch.long), 2)
    torch.testing.assert_close(entropy, torch.full((1, 3), 2.0).log())


def test_reported_entropy_and_ratio():
    model, tokenizer = policy()
    reference, _ = policy(seed=1)
    same = run(model, tokenizer, reference=policy()[0])
    assert same["evaluate/easy/entropy_ratio"] == pytest.approx(1.0)
    other = run(model, tokenizer, reference=reference)
    assert other["evaluate/easy/entropy"] == same["evaluate/easy/entropy"] > 0.1
    assert abs(other["evaluate/easy/entropy_ratio"] - 1) > 0.05
    with pytest.raises(TypeError, match="PEFT"):
        run(model, tokenizer, reference=model)


def test_a_peft_model_is_compared_with_its_base():
    peft = pytest.importorskip("peft")
    model, tokenizer = policy()
    torch.manual_seed(0)
    wrapped = peft.get_peft_model(model, peft.LoraConfig(r=2, init_lora_weights=False, target_modules="all-linear"))
    metrics = run(wrapped, tokenizer, reference=wrapped)
    assert abs(metrics["evaluate/easy/entropy_ratio"] - 1) > 1e-3


def test_completion_mask_ends_with_the_first_end_token():
    ids = torch.tensor([[5, 2, 7, 2], [5, 6, 7, 8], [3, 0, 0, 0]])
    assert completion_mask(ids, [2, 3]).tolist() == [[1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]]


def test_conversations_go_through_the_chat_template():
    model, tokenizer = policy()
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    plain = run(model, tokenizer)
    spoken = measured(model, tokenizer, sets(system=""), scorer().verify, SETTINGS)
    assert spoken == plain


def test_a_set_may_be_judged_by_another_or_by_nobody():
    model, tokenizer = policy()
    own = {"easy": {"judged": False}, "hard": {"strategies": ("guessing",)}}
    metrics = run(model, tokenizer, EvaluateSettings(**(vars(SETTINGS) | {"by_set": own})))
    assert "evaluate/easy/pass@1" not in metrics and "evaluate/easy/entropy" in metrics
    assert "evaluate/hard/pass@1" in metrics and metrics["evaluate/hard/share/guessing"] == 0


def test_progress_counts_batches():
    model, tokenizer = policy()
    seen = []
    run(model, tokenizer, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i + 1, 6) for i in range(6)]
