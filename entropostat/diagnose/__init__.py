"""What is wrong with a run: rules over its metrics, each a function of the log up to now. Imports no torch.

Bounds are relative to the run's own start and to ln V. They were tuned on benchmarks/diagnose's tuning runs only; what they
find and what they miss on others is in benchmarks/results/diagnose/README.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from entropostat.diagnose.blow_up_rules import gradient_blow_up, kl_blow_up
from entropostat.diagnose.control_rules import oscillating, saturated
from entropostat.diagnose.entropy_rules import collapse, explosion, wrong_tokens
from entropostat.diagnose.finding import Finding
from entropostat.diagnose.learning_rules import dead_groups, foolery, incompetent
from entropostat.diagnose.log import Log, RunLike
from entropostat.diagnose.loss_rules import reward_lost, truncation
from entropostat.diagnose.reward_rules import constant, failing, missing
from entropostat.diagnose.term_rules import inert
from entropostat.diagnose.token_rules import nothing_trained
from entropostat.diagnose.trust_rules import mismatch, non_finite

RULES: tuple[Callable[[Log], Iterator[Finding]], ...] = (
    *(collapse, explosion, wrong_tokens),
    *(saturated, oscillating, inert),
    *(missing, failing, constant),
    *(dead_groups, foolery, incompetent),
    *(reward_lost, truncation, kl_blow_up, gradient_blow_up),
    *(mismatch, non_finite, nothing_trained),
)
ORDER = ("critical", "warning", "info")


def examine(run: RunLike | Log) -> list[Finding]:
    """Everything that the rules find, the worst first."""
    log = run if isinstance(run, Log) else Log.of(run)
    findings = [finding for rule in RULES for finding in rule(log)]
    return sorted(findings, key=lambda f: (ORDER.index(f.severity), f.steps, f.rule, f.subject))


__all__ = ["RULES", "Finding", "Log", "examine"]
