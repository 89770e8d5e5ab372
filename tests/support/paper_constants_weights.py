"""Published constants: token weights, and the optimizer."""

from __future__ import annotations

from support.paper_constants import Cited, prefixed, second_hand

NEMO = "NeMo-RL, the guide to ProRLv2 and examples/configs/prorlv2.yaml @4959b9f"

WEIGHTS = {
    "clip_b": (Cited("arXiv:2602.03392", "agentscope-ai/Trinity-RFT clipb_advantage.py", {"clip_b.mu": 2.5}),),
    "clip_cov": (
        Cited(
            "arXiv:2505.22617",
            "Sec. 4.3 and entropy/7b_clip_cov.sh",
            prefixed("clip_cov", fraction=2e-4, low=1.0, high=5.0),
        ),
        Cited("arXiv:2505.22617", "entropy/7b_clip_cov.sh", prefixed("loss", epsilon=1.0, epsilon_high=1.0)),
    ),
    "clip_v": (
        Cited(
            "arXiv:2602.03392",
            "Trinity-RFT clipv_advantage.py, default_args",
            prefixed("clip_v", mu=8.5, max_fraction=1e-4),
        ),
    ),
    "fipo": (
        Cited(
            "arXiv:2603.19835",
            "modelscope/ms-swift grpo_trainer.py:899",
            prefixed("fipo", half_life=32.0, clip_range=0.2, high_only=True, safety=4.0),
        ),
    ),
    "high_entropy": (Cited("arXiv:2506.01939", "Eq. 4", {"high_entropy.fraction": 0.2}),),
    "icepop": (Cited("arXiv:2510.18855", NEMO, prefixed("icepop", low=0.5, high=5.0)),),
    "lopti": (
        Cited(
            "arXiv:2505.12929", "zhyang2226/AR-Lopti, the script", prefixed("lopti", threshold=0.4, order="low_first")
        ),
    ),
    "muon": (
        Cited("arXiv:2502.16982", "torch.optim.Muon after Jordan et al.", {"optimizer.muon.momentum": 0.95}),
        Cited("arXiv:2502.16982", "torch.optim.Muon: Moonlight's scale", {"optimizer.muon.adjust": "match_rms_adamw"}),
    ),
    "rejection": (
        Cited(
            "Liu 2025",
            "verl RolloutCorrectionConfig.decoupled_k3_rs",
            prefixed("rejection", estimator="k3", over="mean", threshold=0.01),
        ),
    ),
    "sequence_mask": (
        Cited("Liu 2025", NEMO, prefixed("sequence_mask", window="geometric", low=0.999, high=1.002, carries="token")),
    ),
    "steer": (
        second_hand(
            "arXiv:2510.10150",
            "others' accounts of its fourth version",
            prefixed("steer", omega="theorem", map="exp", lambda_min=0.7),
        ),
        Cited("arXiv:2510.10150", "zz-haooo/STEER run_linear.sh", {"steer.lambda_max": 1.2}),
    ),
    "step_radius": (
        Cited(
            "arXiv:2603.13552",
            "Prop. 5.2: r = 1, over the largest of the samples",
            {"optimizer.step_radius.target": 1.0},
        ),
        Cited("arXiv:2603.13552", "Def. 4.7", {"optimizer.step_radius.statistic": "max"}),
    ),
    "tip": (
        Cited("arXiv:2604.14084", "HJSang/OPSD_OnPolicyDistillation, the script", {"distill.divergence": "reverse_kl"}),
        second_hand("arXiv:2604.14084", "summaries: half of the tokens by entropy", {"tip.ratio": 0.5}),
    ),
    "truncated_is": (Cited("Yao 2025", "slime tis_clip; TRL's paper index", prefixed("truncated_is", cap=2.0)),),
}
