"""Metrics of the dashboard row 'state'."""

from entropostat.metrics.schema import Metric
from entropostat.rl.signals import ROLLOUT

READ = ("entropy_old", "entropy_top", "entropy_ref")
"""Signals in nats; ``entropy_ratio`` is a plain number."""


def _state(key: str, unit: str, meaning: str, panel: str) -> Metric:
    return Metric(key, unit, "target", meaning, "state", panel)


METRICS: tuple[Metric, ...] = (
    _state("entropy", "nats", "Mean entropy of the policy per completion token, exact.", "Entropy"),
    *(
        _state(f"entropy/p{q}", "nats", f"The entropy that {q} % of the tokens are below.", "Entropy percentiles")
        for q in (10, 50, 90, 99)
    ),
    _state(
        "entropy/position/<decile>",
        "nats",
        "Mean entropy in one tenth of a completion: 0 is its beginning, 9 its end.",
        "Entropy by position",
    ),
    _state("entropy/right", "nats", "Mean entropy in completions that are right.", "Entropy, right and wrong"),
    _state("entropy/wrong", "nats", "Mean entropy in completions that are wrong.", "Entropy, right and wrong"),
    _state(
        "entropy/forking",
        "share",
        "Tokens above the entropy that a fifth of them exceeded at the start: where the policy still decides.",
        "Deciding tokens",
    ),
    _state("entropy/spikes", "1", "Tokens per thousand whose entropy jumps above what came before.", "Entropy spikes"),
    _state(
        "state/rankme",
        "1",
        "RankMe: how many directions the last hidden states of `tracking.rankme` tokens take, at most their number or the width.",
        "Effective rank of hidden states",
    ),
    _state(
        "evaluate/<set>/entropy",
        "nats",
        "Mean token entropy on held-out prompts, at the temperature of the evaluation.",
        "Held-out entropy",
    ),
    _state(
        "evaluate/<set>/entropy_ratio",
        "1",
        "Held-out entropy over that of the initial policy on the same tokens.",
        "Held-out entropy ratio",
    ),
    *(
        _state(f"signal/{name}", "nats", f"A controller reads it: {ROLLOUT[name]}.", "Entropy of the generation")
        for name in READ
    ),
    _state("signal/entropy_ratio", "1", f"A controller reads it: {ROLLOUT['entropy_ratio']}.", "Entropy ratio"),
)
