"""Metrics of the dashboard row 'trust'."""

from typing import Literal

from entropostat.metrics.schema import Metric

CLIP, RATIO, KL, SAMPLER = "Clipped tokens", "Ratio to the policy that generated", "KL", "Sampler's ratio"
SAMPLER_GAP = "Sampler and trainer apart"


def _trust(key: str, unit: str, meaning: str, panel: str, better: Literal["down", "target", "none"] = "none") -> Metric:
    return Metric(key, unit, better, meaning, "trust", panel)


METRICS: tuple[Metric, ...] = (
    _trust(
        "kl", "nats", "KL to the reference, k3, token mean. TRL's own, with `beta`, is multiplied by the ratio.", KL
    ),
    _trust("trust/kl_old", "nats", "KL to the policy that generated, k3, token mean.", KL),
    _trust("trust/ratio_mean", "1", "Mean ratio; 1 on-policy.", RATIO, "target"),
    _trust("trust/ratio_max", "1", "Largest ratio of a token.", "Largest ratio"),
    _trust("trust/ratio_min", "1", "Smallest ratio of a token.", RATIO),
    _trust(
        "trust/clip_low",
        "share",
        "Tokens with A < 0 whose ratio is below the lower bound of the loss; absent without one.",
        CLIP,
    ),
    _trust("trust/clip_high", "share", "Tokens with A > 0 whose ratio is above its upper bound.", CLIP),
    _trust(
        "clip_ratio/low_mean",
        "share",
        "Tokens with A < 0 below the lower bound that no weight takes out; completions, where the ratio is the sequence's.",
        CLIP,
    ),
    _trust("clip_ratio/high_mean", "share", "Tokens with A > 0 above the upper bound, likewise.", CLIP),
    _trust("clip_ratio/region_mean", "share", "Both: tokens beyond either bound.", CLIP),
    _trust("clip_ratio/low_min", "share", "The smallest share of a completion that is below.", CLIP),
    _trust("clip_ratio/high_max", "share", "The largest share of a completion that is above.", CLIP),
    _trust("cispo_clip_ratio", "share", "Tokens with A > 0 whose weight CISPO cut.", CLIP),
    _trust("vespo/phi_seq_mean", "1", "TRL: mean factor of VESPO on a completion.", "VESPO's factor"),
    _trust(
        "trust/sampler_gap",
        "nats",
        "Mean size of the difference between the trainer's and the sampler's log-prob of a token.",
        SAMPLER_GAP,
        "down",
    ),
    _trust("sampling/sampling_logp_difference/mean", "nats", "TRL: the same.", SAMPLER_GAP, "down"),
    _trust("sampling/sampling_logp_difference/max", "nats", "TRL: the largest of a token.", "Largest gap", "down"),
    _trust("sampling/importance_sampling_ratio/min", "1", "TRL: the smallest correction for it.", SAMPLER),
    _trust("sampling/importance_sampling_ratio/mean", "1", "TRL: the mean correction.", SAMPLER, "target"),
    _trust("sampling/importance_sampling_ratio/max", "1", "TRL: the largest correction.", SAMPLER),
    _trust(
        "radius/r",
        "1",
        "Spread of the change of logits that the optimizer's step wants, over pi. Safe below about 1.",
        "Step radius",
        "down",
    ),
    _trust("radius/scale", "share", "Part of the step that is made. Below 1: it was shortened.", "Share of the step"),
    _trust(
        "anchor/initial_share",
        "share",
        "Weight that the initial policy still has in the moving reference.",
        "Moving reference",
    ),
    _trust("anchor/resets", "1", "Times that the reference was set to the policy so far.", "Resets of the reference"),
)
