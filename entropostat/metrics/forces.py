"""Metrics of the dashboard row 'forces'."""

from entropostat.metrics.schema import Metric


def _force(key: str, unit: str, meaning: str, panel: str) -> Metric:
    return Metric(key, unit, "none", meaning, "forces", panel)


BY_COVARIANCE = "Entropy change between generations"
METRICS: tuple[Metric, ...] = (
    _force(
        "forces/covariance/mean",
        "1",
        "Mean covariance of log-prob and advantage per token. Positive: likely tokens are rewarded, entropy falls.",
        "Covariance",
    ),
    _force("forces/covariance/max", "1", "The largest of a token.", "Largest covariance"),
    _force(
        "forces/covariance/weighted",
        "1",
        "Covariance of log-prob and advantage times probability: Theorem 1's, of the plain policy gradient.",
        "Covariance, weighted",
    ),
    _force(
        "forces/covariance/realised",
        "nats",
        "Change of entropy from the generation before.",
        BY_COVARIANCE,
    ),
    *(
        _force(
            f"forces/covariance/predicted{suffix}",
            "nats",
            f"Change to the next generation that {which} foretells, at the scale of those before.",
            BY_COVARIANCE,
        )
        for suffix, which in (("", "Theorem 2"), ("_weighted", "Theorem 1"))
    ),
    *(
        _force(
            f"forces/covariance/agreement{suffix}",
            "1",
            f"Correlation of the changes that {which} foretells with those that came.",
            "Do the covariances foretell?",
        )
        for suffix, which in (("", "Theorem 2"), ("_weighted", "Theorem 1"))
    ),
    _force("forces/predicted", "nats", "Change of entropy that the step's gradient foresees.", "Entropy change"),
    _force("forces/realised", "nats", "Change on the same tokens over one generation.", "Entropy change"),
    _force(
        "forces/<term>/share", "share", "Part of the loss in the sum of all parts' absolute force.", "Shares of force"
    ),
    _force(
        "forces/<term>/entropy",
        "nats",
        "First-order push of this part of the loss on entropy. Above 0 raises it.",
        "Push on entropy",
    ),
    _force(
        "forces/<term>/touched_up",
        "share",
        "Tokens with a positive advantage that the term acts on.",
        "Tokens touched, A > 0",
    ),
    _force(
        "forces/<term>/touched_down",
        "share",
        "Tokens with a negative advantage that the term acts on.",
        "Tokens touched, A < 0",
    ),
    _force(
        "policy_loss", "1", "The loss without TRL's entropy bonus, our terms included.", "TRL's entropy bonus: loss"
    ),
    _force("entropy_coef", "1", "TRL: coefficient of its entropy bonus.", "TRL's entropy bonus: coefficient"),
)
