"""Metrics of the dashboard row 'forces'."""

from entropostat.metrics.schema import Metric


def _force(key: str, unit: str, meaning: str, panel: str) -> Metric:
    return Metric(key, unit, "none", meaning, "forces", panel)


METRICS: tuple[Metric, ...] = (
    _force(
        "forces/covariance/mean",
        "1",
        "Mean covariance of log-prob and advantage per token. Positive: likely tokens are rewarded, entropy falls.",
        "Covariance",
    ),
    _force("forces/covariance/max", "1", "The largest of a token.", "Largest covariance"),
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
