"""Published constants: advantages, rewards, and the stream of prompts."""

from __future__ import annotations

from support.paper_constants import Cited, prefixed, second_hand

ARES = "shawn0728/ARES @146620e, the released configuration and code"

ADVANTAGES = {
    "adora": (
        Cited("arXiv:2602.10019", "both released codes", {"adora.mode": "attenuate", "adora.w_tds": 0.1}),
        second_hand(
            "arXiv:2602.10019", "reviews of the paper", prefixed("adora", criteria="length", w_tas=2.0, tau=0.5)
        ),
    ),
    "ar": (
        Cited("arXiv:2505.12929", "AR-Lopti, the script of AR alone", prefixed("ar", method="linear", k=0.2)),
        second_hand("arXiv:2505.12929", "tau = 1 - k, in the code 0.8 beside k 0.2", {"ar.tau": None}),
    ),
    "ares": (
        Cited("arXiv:2510.08457", ARES, prefixed("ares", window=4, tail=0.95, decay=0.99, alpha=0.5, alpha_high=2.0)),
        Cited("arXiv:2510.08457", ARES, prefixed("ares", rate=0.05, share=1.0, coef=1.0, center_sigmoid=False)),
        Cited(
            "arXiv:2510.08457",
            ARES,
            {"kl_bucket.coef": 0.01}
            | {
                f"kl_bucket.{bucket}.log_beta.{key}": value
                for bucket in ("easy", "medium", "hard")
                for key, value in {
                    "target": 0.01,
                    "start": 1.0,
                    "every": 100,
                    "smoothing": 0.97,
                    "error_smoothing": 0.97,
                    "rate": 0.05,
                    "clip": 0.2,
                    "dead_zone": 0.02,
                    "low": 1e-4,
                    "high": 100.0,
                }.items()
            },
        ),
    ),
    "dcpo": (
        Cited(
            "arXiv:2601.12730", "597358816/AEPO ray_trainer.py:813", prefixed("dcpo", t_high=1.2, t_low=0.8, cap=0.1)
        ),
        Cited("arXiv:2601.12730", "the same, with its script", prefixed("dcpo", success=0.05, target=0.5)),
    ),
    "difficulty": (second_hand("arXiv:2502.01456", "from memory", prefixed("difficulty", low=0.2, high=0.8)),),
    "dynamic_sampling": (
        Cited(
            "arXiv:2503.14476",
            "verl-project/verl-recipe @48ea0a7 dapo/run_dapo_qwen2.5_32b.sh: max_num_gen_batches 10, with the first",
            {"dynamic_sampling.max_rounds": 9},
        ),
        Cited(
            "arXiv:2503.14476",
            "the same: gen_prompt_bsz is 3 x train_prompt_bsz",
            {"dynamic_sampling.oversample": 3.0},
        ),
    ),
    "entrocraft": (
        Cited("arXiv:2604.26326", "lblaoke/entrocraft core_algos.py:343", prefixed("entrocraft", center=0.0, gain=1.0)),
        Cited(
            "arXiv:2604.26326",
            "its script: a line from .6 to .4, and from .7 to .5",
            {
                "entrocraft.lower.schedule.points.0.1": 0.6,
                "entrocraft.lower.schedule.points.1.1": 0.4,
                "entrocraft.upper.schedule.points.0.1": 0.7,
                "entrocraft.upper.schedule.points.1.1": 0.5,
                "entrocraft.lower.schedule.shape": "linear",
            },
        ),
    ),
    "entropic": (
        second_hand(
            "arXiv:2511.15248",
            "lblaoke/entrocraft core_algos.py:498, another group's implementation",
            prefixed("entropic.alpha.entropic", kp=1.0, ki=0.01, target=0.5),
        ),
    ),
    "entropy_shaped": (
        second_hand("arXiv:2506.14758", "from memory", prefixed("entropy_shaped", alpha=0.4, kappa=2.0)),
    ),
    "gae": (
        Cited(
            "arXiv:1707.06347", "TRL's PPOConfig; lam also Table 3 of the paper", prefixed("gae", gamma=1.0, lam=0.95)
        ),
        Cited("arXiv:1707.06347", "TRL's PPOConfig", {"gae.kl_coef": 0.05}),
        Cited("arXiv:1707.06347", "verl and TRL whiten", {"gae.whiten": True}),
    ),
    "gdpo": (Cited("arXiv:2601.05242", "TRL 1.16, normalize_then_sum", {"gdpo.epsilon": 1e-4}),),
    "grpo": (
        Cited("arXiv:2402.03300", "Sec. 4.1.2", {"grpo.scale": "group"}),
        Cited("arXiv:2402.03300", "TRL 1.16; verl has 1e-6", {"grpo.epsilon": 1e-4}),
    ),
    "gtpo": (
        second_hand("arXiv:2508.04349", "equations from others", prefixed("gtpo", alpha_1=1.0, alpha_2=0.1)),
        second_hand("arXiv:2508.04349", "equations from others: right and wrong apart", {"gtpo.normalise": "apart"}),
    ),
    "hicra": (
        second_hand(
            "arXiv:2509.03646", "two summaries", prefixed("hicra", alpha=0.2, shortest=3, longest=5, share=0.2)
        ),
        Cited("arXiv:2509.03646", "the authors' code in a pull request to TRL", {"hicra.top": 0.3}),
    ),
    "passk": (Cited("arXiv:2508.10751", "RUCAIBox/Passk_Training passk_adv.py", prefixed("passk", epsilon=1e-6)),),
    "passk_best": (
        Cited("arXiv:2503.19595", "the paper, by verl's norm_adv_by_std_in_grpo", {"passk_best.scale": "none"}),
        Cited("arXiv:2503.19595", "verl compute_grpo_passk_outcome_advantage", {"passk_best.epsilon": 1e-6}),
    ),
    "pear": (
        second_hand(
            "arXiv:2510.08026",
            "three readers' notes",
            prefixed("pear", alpha=1.0, score=1.0, format_score=0.0, boundary="</think>", floor=None),
        ),
    ),
    "pshw": (
        Cited(
            "arXiv:2506.18330", "Sec. 6.2; rewards of +1 and -1", prefixed("pshw", hardness=0.256, center=0.0, gain=1.0)
        ),
    ),
    "qae": (second_hand("arXiv:2509.22611", "from memory", {"qae.quantile": 0.4}),),
    "reinforce_pp": (Cited("arXiv:2501.03262", "verl's gamma", {"reinforce_pp.gamma": 1.0}),),
    "seed": (
        second_hand(
            "arXiv:2505.12346",
            "liv-daliberti/maxent-grpo, after the released code",
            prefixed("seed", alpha=0.02, normalise=False, mass="likelihood", estimator="shannon", form="inverse"),
        ),
    ),
    "unlikeliness": (
        Cited(
            "arXiv:2506.02355", "AndreHe02/rewarding-unlikely-release, the example", prefixed("unlikeliness", beta=0.25)
        ),
        Cited("arXiv:2506.02355", "its _compute_advantages", prefixed("unlikeliness", by="mean", epsilon=1e-6)),
    ),
    "w_reinforce": (
        Cited(
            "arXiv:2506.01347",
            "TianHongZXY/RLVR-Decomposed core_algos.py:111",
            prefixed("w_reinforce", positive=0.1, negative=1.0),
        ),
    ),
}
