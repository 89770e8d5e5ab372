"""Published constants: controllers."""

from __future__ import annotations

from support.paper_constants import Cited, prefixed, second_hand

SAFE = "ryyzn9/SAFE @183daf7 safe/controllers"

CONTROL = {
    "adaptive_kl": (
        Cited(
            "arXiv:1909.08593",
            "verl, OpenRLHF and TRL alike",
            prefixed("kl_ref.coef.adaptive_kl", clip=0.2, horizon=1e4),
        ),
        Cited("arXiv:1909.08593", "TRL; verl .001, OpenRLHF .01", {"kl_ref.coef.adaptive_kl.start": 0.2}),
        Cited(
            "arXiv:1909.08593", "verl, nats per token; TRL 6 per completion", {"kl_ref.coef.adaptive_kl.target": 0.1}
        ),
    ),
    "aer": (second_hand("arXiv:2510.10959", "the abstract: about .4", {"entropy_bonus.coef.aer.ratio": 0.4}),),
    "average": (
        Cited(
            "arXiv:2509.22576",
            "WujiangXu/EPO dp_actor.py:300; lambda of the server script, smoothing 1",
            prefixed("ent_smooth", low=0.8, high=1.2, per="token", coef=1e-3) | {"entropy_bonus.coef": 1e-3},
        ),
    ),
    "log_beta": (
        Cited(
            "arXiv:2510.08457",
            "shawn0728/ARES @146620e workers/actor/dp_actor.py:61",
            prefixed("kl_ref.coef.log_beta", target=0.01, start=1.0, smoothing=0.97, every=100, dead_zone=0.02)
            | prefixed("kl_ref.coef.log_beta", error_smoothing=0.97, rate=0.05, clip=0.2, low=1e-4, high=100.0),
        ),
    ),
    "pid_lagrangian": (
        Cited(
            "arXiv:2007.03964",
            "omnisafe common/pid_lagrange.py; its limit is on a cost of another kind",
            prefixed("kl_ref.coef.pid_lagrangian", kp=0.1, ki=0.01, kd=0.01, start=0.001, delay=10, high=100.0)
            | prefixed("kl_ref.coef.pid_lagrangian", smoothing=0.95, derivative_smoothing=0.95),
        ),
    ),
    "preview": (
        Cited(
            "arXiv:2602.04651", f"{SAFE}/entropy_aware.py", prefixed("learning_rate.scale.preview", limit=0.5, low=0.0)
        ),
    ),
    "safe": (
        Cited(
            "arXiv:2602.04651",
            SAFE,
            prefixed("kl_ref.coef.safe", threshold=0.3, strength=0.1, kp=0.3, ki=0.01, kd=0.05, velocity=0.001)
            | prefixed("kl_ref.coef.safe", phases=[1.5, 1.2, 0.8, 1.0], window=50, climb=0.01, still=0.02, solved=0.7)
            | prefixed("kl_ref.coef.safe", tau_low=0.1, tau_high=0.6, floor=2.0, smoothing=0.9, reward_smoothing=0.95),
        ),
    ),
    "safe_asymmetric": (
        Cited(
            "arXiv:2602.04651",
            f"{SAFE}/asymmetric.py",
            prefixed("kl_ref.coef.safe_asymmetric", threshold=0.3, strength=0.1, momentum=5.0, window=50),
        ),
    ),
    "step": (
        Cited(
            "arXiv:2505.22312",
            "SkyworkAI/Skywork-OR1 or1_scripts/train",
            prefixed("entropy_bonus.coef.step", start=0.0, target=0.2, delta=1e-4, low=0.0, high=0.005, compare="lt"),
        ),
    ),
}
