"""One thing that is wrong with a run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["info", "warning", "critical"]


@dataclass(frozen=True)
class Finding:
    rule: str
    """Name of the pathology, such as ``collapse``."""
    severity: Severity
    steps: tuple[int, int]
    """The step at which the run's own log first showed it, and the last at which it did."""
    evidence: str
    """The numbers, in a sentence."""
    cause: str
    """What moved: which term, which loop, as far as the log tells."""
    advice: str
    """YAML to put into a child recipe; its first lines, comments, say why."""
    subject: str = ""
    """Which loop, term or set, where a rule may find several."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


MARK = {"critical": "!!", "warning": "! ", "info": "  "}


def line(one: Finding) -> str:
    """A finding in one line, for the terminal of a run."""
    about = f" ({one.subject})" if one.subject else ""
    return f"{MARK[one.severity].strip()} step {one.steps[0]}: {one.rule}{about}: {one.evidence}; {one.cause}"
