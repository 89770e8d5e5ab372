"""What runs in a worker: it judges one call after the other, until the trainer closes the pipe."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

from entropostat.data.example import Completion, Example
from entropostat.reward.confinement import allow_processor, be_silent, end_with, forget_environment, seal
from entropostat.reward.judge import Outcome, judge, said
from entropostat.reward.judge_many import judge_many
from entropostat.reward.verdicts import BEGUN, READY, encoded, encoded_scores
from entropostat.reward.verifier import Verifier

GRACE = 15.0
"""Seconds of processor time on top of a time-out."""
Job = tuple[int, Verifier, float, tuple[Completion, ...], tuple[Example, ...], dict[str, Any]]
"""Number, verifier, time-out, completions, examples and columns; no completion: only what the verifier imports is wanted."""


def serve(
    jobs: Connection,
    verdicts: Connection,
    verifiers: Sequence[Verifier],
    environment: dict[str, str] | None,
    trainer: int,
) -> None:
    """``environment``: the trainer's, which a fork server that began earlier has not; None for a worker that is to be sealed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the trainer's, which ends its workers
    end_with(trainer)
    with (
        open(jobs.fileno(), "rb", closefd=False) as todo,
        open(verdicts.fileno(), "wb", buffering=0, closefd=False) as done,
    ):
        done.write(BEGUN + b"\n")
        _warm_up(verifiers, environment)
        done.write(READY + b"\n")
        # What the trainer sends is the trainer's own, and may be unpickled; nothing else can write into this pipe.
        with contextlib.suppress(EOFError, BrokenPipeError):
            while True:
                number, verifier, timeout, completions, examples, columns = pickle.load(todo)
                allow_processor(timeout + GRACE)
                if not completions:
                    line = encoded(number, _prepared(verifier))
                elif verifier.calls == "single":
                    line = encoded(number, judge(verifier, completions[0], examples[0], interrupts=False))
                else:
                    line = encoded_scores(number, judge_many(verifier, completions, examples, columns))
                _write(done.fileno(), line)


def _warm_up(verifiers: Sequence[Verifier], environment: dict[str, str] | None) -> None:
    if environment is None:
        be_silent()
        forget_environment()
    else:
        os.environ.update(environment)
    for verifier in verifiers:
        # The verifier imports it again and there the failure is counted and shown; here it would end the worker.
        with contextlib.suppress(BaseException):
            verifier.prepare()
    if environment is None:
        seal()


def _prepared(verifier: Verifier) -> Outcome:
    try:
        verifier.prepare()
    except BaseException as error:  # noqa: BLE001  (user code may raise anything, and may call exit)
        return Outcome(problem="error", message=said(error) or type(error).__name__)
    return Outcome()


def _write(pipe: int, line: bytes) -> None:
    while line:
        line = line[os.write(pipe, line) :]
