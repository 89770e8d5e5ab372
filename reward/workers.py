"""Worker processes for verifiers that may hang or crash."""

from __future__ import annotations

import multiprocessing
import os
import selectors
import sys
import time
from collections import Counter, deque
from collections.abc import Sequence
from multiprocessing import util
from multiprocessing.context import BaseContext
from pathlib import Path

from entropostat.data.example import Example
from entropostat.faults import RunFault
from entropostat.reward.judge import Outcome
from entropostat.reward.verdicts import Forged
from entropostat.reward.verifier import Verifier
from entropostat.reward.worker import IMPORTS, Gone, Job, Worker

MOST_WORKERS = 8
START = 60.0
"""Seconds until a process runs our code."""
PAUSE = 0.2
"""Seconds until another try, where none has."""
DIED = "its worker process died"
FORGED = "its worker process sent what is no verdict"
RECYCLE_AFTER = 20_000
"""Completions after which a worker is replaced: sympy and user code leak, and a run is long."""
AHEAD = 8
"""Jobs that a worker is given at once."""
TRIES = 2
"""Of a job whose worker dies, or lies: something else may have killed the first, and what was judged before may have taken it over."""
STARTS = 3
"""Workers in a row that may die before they are ready."""


class Workers:
    """A pool of processes that survives its workers: one that hangs past its time-out is killed and replaced, and so is one that
    dies, or that sends anything but a verdict. Starts with the first job, ends with the process or ``close``.

    Each has pipes of its own, so that none can touch what another is given or says. The processes do not descend from this one by
    fork: the trainer has threads, and a fork of a threaded process may deadlock.
    """

    def __init__(self, verifiers: Sequence[Verifier], count: int | None = None, *, sealed: bool = True) -> None:
        """What ``verifiers`` import is imported before the first job, outside its time-out, and only inside the workers.

        ``sealed``: they judge text and need nothing else, so that they are confined. Code of the user's may need its environment,
        files and the network, and is trusted with them.
        """
        self._sealed = sealed
        self.count = count or worker_count()
        self._verifiers = tuple(verifiers)
        self._context = _context(sorted({library for verifier in verifiers for library in verifier.libraries}))
        self._workers: list[Worker] = []
        self._begun = False
        """A worker has run our code."""
        self._since = 0.0
        """When the first of them was started."""
        self._failed: list[str] = []
        """Why the last ones ended, in a row, before they were ready."""
        self.close = util.Finalize(self, _end, args=(self._workers,), exitpriority=10)

    def prepare(self, verifier: Verifier) -> str | None:
        """Why ``verifier`` cannot work: what it needs cannot be imported. None where it can."""
        ((outcome,),) = self.calls([Job(verifier)])
        return None if outcome.problem is None else outcome.message

    def run(self, jobs: Sequence[tuple[Verifier, str, Example]]) -> list[Outcome]:
        """Judge all ``jobs``, each within its verifier's time-out. Only a job that itself brings its worker down is lost.

        Raises RunFault where no process gets as far as our own code.
        """
        called = self.calls([Job(verifier, (text,), (example,)) for verifier, text, example in jobs])
        return [outcome for (outcome,) in called]

    def calls(self, jobs: Sequence[Job]) -> list[list[Outcome]]:
        """The same for jobs of any kind: the outcomes of each one's completions. A call that is lost has lost all of them."""
        outcomes: dict[int, list[Outcome]] = {}
        waiting, deaths = deque(range(len(jobs))), Counter[int]()
        try:
            while len(outcomes) < len(jobs):
                self._hire(len(jobs) - len(outcomes))
                self._spread(jobs, waiting)
                for each, readable in self._next():
                    why = self._attend(each, readable)
                    outcomes |= each.done
                    each.done.clear()
                    if each in self._workers:
                        continue
                    if why is not None and each.given:  # the first is what it was at work on
                        _, place, _ = each.given.popleft()
                        deaths[place] += why.problem == "error"
                        if why.problem == "error" and deaths[place] < TRIES:
                            waiting.appendleft(place)
                        else:
                            outcomes[place] = [why] * jobs[place].size
                    waiting.extendleft(place for _, place, _ in reversed(each.given))
                if len(self._failed) >= STARTS:
                    lost = Outcome(problem="error", message=self._failed.pop())
                    outcomes |= {place: [lost] * jobs[place].size for place in waiting}
                    waiting.clear()
                    self._failed.clear()
        except BaseException:  # they are at work on what nobody waits for
            _end(self._workers)
            raise
        return [outcomes[place] for place in range(len(jobs))]

    def _spread(self, jobs: Sequence[Job], waiting: deque[int]) -> None:
        """An equal share for each that is ready, and no more than AHEAD at once."""
        ready = [each for each in self._workers if each.state == "ready" and len(each.given) <= AHEAD // 2]
        for count, each in zip(range(len(ready), 0, -1), ready, strict=True):
            share = min(AHEAD - len(each.given), -(-len(waiting) // count))
            each.give([(place, jobs[place]) for place in (waiting.popleft() for _ in range(share))])

    def _hire(self, wanted: int) -> None:
        if not self._begun and not self._workers:
            if _unreadable_script():
                raise RunFault(
                    "the training script is read from standard input, and the worker processes of the verifiers cannot read it "
                    "again; save it in a file"
                )
            self._since = self._since or time.monotonic()
        while len(self._workers) < min(self.count, wanted):
            environment = None if self._sealed else dict(os.environ)
            self._workers.append(Worker(self._context, self._verifiers, environment, START))

    def _next(self) -> list[tuple[Worker, bool]]:
        """Those that have something to say, and those that are late. Meanwhile the pipes take what is to be written."""
        busy = [each for each in self._workers if not each.idle]
        left = min((each.deadline for each in busy), default=0.0) - time.monotonic()
        with selectors.DefaultSelector() as selector:
            for each in self._workers:
                selector.register(each.reads, selectors.EVENT_READ, each)
                if each.writes is not None:
                    selector.register(each.writes, selectors.EVENT_WRITE, each)
            events = selector.select(max(left, 0.0))
        for key, event in events:
            if event & selectors.EVENT_WRITE:
                key.data.write()
        heard = {id(key.data) for key, event in events if event & selectors.EVENT_READ}
        now = time.monotonic()
        late = {id(each) for each in busy if each.deadline <= now}
        return [(each, id(each) in heard) for each in self._workers if id(each) in heard | late]

    def _attend(self, each: Worker, readable: bool) -> Outcome | None:
        """Take what it says. Where it ends by that, or is too late, it is dismissed, and this is what becomes of its job, if it has one."""
        try:
            if readable:
                each.read()
        except Gone:
            return self._lost(each, f"{DIED} (exit code {self._dismiss(each)})")
        except Forged as forgery:
            self._dismiss(each)
            return self._lost(each, f"{FORGED} ({forgery})")
        self._begun |= each.state != "starting"
        if each.state == "ready":
            self._failed.clear()
        if each.idle and each.number >= RECYCLE_AFTER:
            self._dismiss(each)
        if each.idle or time.monotonic() < each.deadline:
            return None
        self._dismiss(each)
        if each.state == "starting":
            raise _never_started()
        job = each.given[0][2] if each.given else None
        what = "took" if job is not None and job.completions else "its imports took"
        late = Outcome(problem="timeout", message=f"{what} longer than {job.timeout if job else IMPORTS:g} s")
        if job is None:
            self._failed = [late.message] * STARTS
        return late

    def _lost(self, each: Worker, why: str) -> Outcome:
        if each.state == "starting" and not self._begun:
            if time.monotonic() - self._since > START:
                raise _never_started()
            time.sleep(PAUSE)
        elif each.state != "ready":
            self._failed.append(f"{why}, before it was ready")
        return Outcome(problem="error", message=why)

    def _dismiss(self, each: Worker) -> int | None:
        self._workers.remove(each)
        return each.end(wait=1.0)


def worker_count() -> int:
    """A fair share of the cores for each rank on this machine."""
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, min(MOST_WORKERS, (os.cpu_count() or 1) // ranks))


def _context(libraries: Sequence[str]) -> BaseContext:
    """A fork server that has the libraries loaded, so that a replaced worker is ready at once; spawn without one."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, *libraries])
    return context


def _unreadable_script() -> bool:
    """Is the main module from a file that is none, as ``<stdin>`` is? Every new process would look for it."""
    main = sys.modules["__main__"]
    file = getattr(main, "__file__", None)
    return getattr(main, "__spec__", None) is None and isinstance(file, str) and not Path(file).exists()


def _never_started() -> RunFault:
    return RunFault(
        f"no worker process of the verifiers has started within {START:g} s; "
        "keep what the training script runs below `if __name__ == '__main__':`, and look at the errors above"
    )


def _end(workers: list[Worker]) -> None:
    while workers:
        workers.pop().end()
