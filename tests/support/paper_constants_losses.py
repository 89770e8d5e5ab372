"""Published constants: losses and penalties."""

from __future__ import annotations

from support.paper_constants import Cited, prefixed, second_hand

LOSSES = {
    "aepo": (
        Cited(
            "arXiv:2510.08141",
            "597358816/AEPO @b353a05 ray_trainer.py:783, and its script",
            prefixed("aepo", target=0.5, t_high=1.2, t_low=0.8, share=0.25, samples=60, margin=0.05),
        ),
    ),
    "archer": (
        Cited(
            "arXiv:2507.15778",
            "wizard-III/ArcherCodeR dp_actor.py:403",
            prefixed("loss", quantile=0.8, epsilon_know=0.2, epsilon_reason=0.5, dual=3.0),
        ),
    ),
    "aspo": (
        Cited(
            "arXiv:2510.06062",
            "wizard-III/Archer2.0 core_algos.py:537",
            prefixed("loss", quantile=0.8, epsilon_know=0.2, epsilon_reason=0.4, cap=3.0, dual=3.0),
        ),
    ),
    "bapo": (
        Cited(
            "arXiv:2510.18927",
            "WooooDyy/BAPO, the recipe's configuration",
            prefixed(
                "loss", target=1.0, lower=0.6, lower_max=0.8, lower_step=0.05, upper=1.2, upper_max=2.0, upper_step=0.05
            ),
        ),
    ),
    "ce_gppo": (
        Cited(
            "arXiv:2509.20712",
            "Kwai-Klear/CE-GPPO, the scripts of 7B",
            prefixed("loss", beta_low=0.75, beta_high=1.0, epsilon=0.2, dual=10.0),
        ),
    ),
    "cispo": (Cited("arXiv:2506.13585", "verl core_algos.py:1722", prefixed("loss", epsilon=10.0, epsilon_high=0.2)),),
    "copo": (
        Cited(
            "arXiv:2508.04138",
            "hijih/copo-code run_copo.sh",
            prefixed("loss", drop="wrong", k=5.0, b=1.0, consistency=False, epsilon=0.2, dual=3.0, epsilon_std=1e-6),
        ),
        Cited("arXiv:2508.04138", "hijih/copo-code core_algos.py", {"grpo.epsilon": 1e-6}),
    ),
    "dppo": (
        Cited(
            "arXiv:2602.04879", "verl 0.9.1 core_algos.py:1380", prefixed("loss", divergence="tv", low=0.2, high=0.2)
        ),
        Cited("arXiv:2602.04879", "the same function; its configuration sets 3", {"loss.cap": 20.0}),
    ),
    "dro": (second_hand("arXiv:2405.19107", "others; verl has no default", {"loss.beta": 0.05}),),
    "ent_smooth": (
        Cited(
            "arXiv:2509.22576",
            "WujiangXu/EPO dp_actor.py:300; lambda of the server script, smoothing 1",
            prefixed("ent_smooth", low=0.8, high=1.2, per="token", step=0.1, coef=1e-3),
        ),
    ),
    "entropy_bonus": (second_hand("arXiv:1602.01783", "from memory", {"entropy_bonus.coef": 0.01}),),
    "era": (
        Cited(
            "arXiv:2510.08549",
            "nothingbutbut/era, the scripts",
            prefixed(
                "loss", k=2.0, sharpen_below=0.45, flatten_above=3.0, epsilon=1.0, dual=10.0, scale_advantages=False
            ),
        ),
    ),
    "flowrl": (
        Cited(
            "arXiv:2509.15207",
            "verl-recipe @48ea0a7 flowrl/flowrl_actor.py",
            prefixed("loss", beta=15.0, cap=10.0, layers=3, pool="mean", detach=False, learning_rate=None),
        ),
    ),
    "gmpo": (second_hand("arXiv:2507.20673", "TRL's documentation", {"loss.epsilon": 0.4}),),
    "gspo": (
        Cited("arXiv:2507.18071", "Sec. 5.1, by TRL's paper index", prefixed("loss", epsilon=3e-4, epsilon_high=4e-4)),
    ),
    "ipo": (Cited("PrimeIntellect 2026", "prime-rl loss.py:164", prefixed("loss", threshold=0.1, square=1e-3)),),
    "kl_bucket": (
        Cited(
            "arXiv:2510.08457",
            "shawn0728/ARES @146620e dp_actor.py:61; before a controller moves them",
            prefixed("kl_bucket", coef=0.01, easy=1.0, medium=1.0, hard=1.0, clamp=10.0),
        ),
    ),
    "kl_cov": (
        Cited("arXiv:2505.22617", "Sec. 4.3 and entropy/7b_kl_cov.sh", prefixed("kl_cov", fraction=2e-3, coef=1.0)),
    ),
    "kl_ref": (second_hand("arXiv:2402.03300", "from memory; TRL's paper index finds none", {"kl_ref.coef": 0.04}),),
    "lp_reg": (
        Cited(
            "arXiv:2510.03222",
            "CarlanLark/Lp-Reg-dev, the recipe of 14B",
            prefixed("lp_reg", kappa=0.02, coef=1.0, rho=0.01, rho_pos=0.0),
        ),
    ),
    "ppo_clip": (
        Cited("arXiv:2503.14476", "dapo/run_dapo_qwen2.5_32b.sh", prefixed("loss", epsilon=0.2, epsilon_high=0.28)),
        Cited("arXiv:1912.09729", "verl's clip_ratio_c", {"loss.dual": 3.0}),
    ),
    "sapo": (
        Cited("arXiv:2511.20347", "verl core_algos.py:1330 and TRL 1.16", prefixed("loss", tau_pos=1.0, tau_neg=1.05)),
    ),
    "siren": (
        Cited(
            "arXiv:2509.25133",
            "Linn3a/siren dp_actor.py:50",
            prefixed("siren", coef=0.005, top_p=0.8, quantile=0.8, top_k=10000),
        ),
        Cited("arXiv:2509.25133", "the same, on both sides", {"loss.epsilon": 0.28}),
    ),
    "ter": (Cited("arXiv:2506.18330", "Sec. 6.1", prefixed("ter", target=0.55, coef=0.001)),),
    "trl": (
        Cited("arXiv:2503.14476", "dapo/run_dapo_qwen2.5_32b.sh", prefixed("loss", epsilon=0.2, epsilon_high=0.28)),
    ),
}
