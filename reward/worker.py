"""A worker as the trainer sees it: a process, a pipe to it and a pipe from it. Neither may ever make the trainer wait."""

from __future__ import annotations

import os
import pickle
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any

from entropostat.data.example import Completion, Example
from entropostat.reward.judge import Outcome
from entropostat.reward.verdicts import BEGUN, MOST, READY, Forged, decoded, decoded_scores
from entropostat.reward.verifier import Verifier
from entropostat.reward.worker_process import serve

IMPORTS = 300.0
"""Seconds that what the verifiers import may take."""
LAST = 5.0
"""Seconds until a process that was killed is gone, unless the system cannot end it."""
PIECE = 1 << 16


@dataclass(frozen=True)
class Job:
    """One call of a verifier."""

    verifier: Verifier
    completions: tuple[Completion, ...] = ()
    """Empty: only what the verifier imports is wanted."""
    examples: tuple[Example, ...] = ()
    columns: Mapping[str, Any] = field(default_factory=dict)
    """What a verifier that judges several at once is given beside them."""

    @property
    def timeout(self) -> float:
        return self.verifier.timeout if self.completions else IMPORTS

    @property
    def size(self) -> int:
        """How many outcomes it has."""
        return max(len(self.completions), 1)

    def heard(self, line: bytes, number: int) -> list[Outcome]:
        """Raises Forged."""
        if self.completions and self.verifier.calls != "single":
            return decoded_scores(line, number, self.verifier.heaviest, self.size)
        return [decoded(line, number, self.verifier.heaviest)]


class Gone(Exception):
    """The process has ended, or has closed its pipe."""


class Worker:
    """``deadline``: when it has to have said what comes next. It is killed by whoever finds it late, gone or lying."""

    def __init__(
        self, context: BaseContext, verifiers: Sequence[Verifier], environment: dict[str, str] | None, start: float
    ) -> None:
        jobs, self._to = context.Pipe(duplex=False)
        self._back, verdicts = context.Pipe(duplex=False)
        self.process: BaseProcess = context.Process(  # type: ignore[attr-defined]
            target=serve, args=(jobs, verdicts, tuple(verifiers), environment, os.getpid()), name="entropostat verifier"
        )
        self.process.start()
        jobs.close()
        verdicts.close()
        for pipe in (self._to, self._back):
            os.set_blocking(pipe.fileno(), False)
        self._out, self._in = b"", b""
        self.state = "starting"
        """Then 'importing', then 'ready'."""
        self.deadline = time.monotonic() + start
        self.given: deque[tuple[int, int, Job]] = deque()
        """(number, place among the jobs of the call, job), in the order in which it is to judge them."""
        self.done: list[tuple[int, list[Outcome]]] = []
        """(place, verdicts), until somebody takes them."""
        self.number = 0

    @property
    def idle(self) -> bool:
        return self.state == "ready" and not self.given

    @property
    def reads(self) -> int:
        return self._back.fileno()

    @property
    def writes(self) -> int | None:
        """The pipe into which there is something left to write."""
        return self._to.fileno() if self._out else None

    def give(self, jobs: Iterable[tuple[int, Job]]) -> None:
        """Jobs and their places. Several wait in the pipe, so that no worker waits for the trainer between two of them."""
        for place, job in jobs:
            self.number += 1
            self.given.append((self.number, place, job))
            self._out += pickle.dumps(
                (self.number, job.verifier, job.timeout, job.completions, job.examples, dict(job.columns))
            )
            if len(self.given) == 1:
                self._begin()
        self.write()

    def _begin(self) -> None:
        if self.given:
            self.deadline = time.monotonic() + self.given[0][2].timeout

    def write(self) -> None:
        """As much as the pipe takes. A worker that reads no more comes to its deadline."""
        try:
            while self._out:
                self._out = self._out[os.write(self._to.fileno(), self._out[:PIECE]) :]
        except (BlockingIOError, BrokenPipeError):  # the death of it is read from the other pipe
            pass

    def read(self) -> None:
        """What is there. Raises Gone, and Forged for what no worker of ours writes; ``done`` has what came before."""
        try:
            piece = os.read(self._back.fileno(), PIECE)
        except BlockingIOError:
            return
        if not piece:
            raise Gone
        self._in += piece
        while b"\n" in self._in:
            line, _, self._in = self._in.partition(b"\n")
            self._hear(line)
        if len(self._in) > MOST or (self.idle and self._in):
            raise Forged("more than a verdict")

    def _hear(self, line: bytes) -> None:
        if self.state != "ready":
            if line != (BEGUN if self.state == "starting" else READY):
                raise Forged("no worker of ours begins so")
            self.state = "importing" if self.state == "starting" else "ready"
            self.deadline = time.monotonic() + IMPORTS
            return
        if not self.given:
            raise Forged("more than a verdict")
        number, place, job = self.given[0]
        self.done.append((place, job.heard(line, number)))
        self.given.popleft()
        self._begin()

    def end(self, wait: float = 0.0) -> int | None:
        """Its exit code, where it ends by itself within ``wait`` seconds."""
        self._to.close()
        self._back.close()
        self.process.join(wait)
        code = self.process.exitcode
        if code is None:
            self.process.kill()
            self.process.join(LAST)
        return code
