"""Worker processes for verifiers that may hang or crash."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import time
import weakref
from collections.abc import Sequence
from concurrent.futures import Future, TimeoutError  # not the built-in before Python 3.11
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import BaseContext
from multiprocessing.synchronize import Event
from pathlib import Path

from pebble import ProcessExpired, ProcessPool

from entropostat.data.example import Example
from entropostat.faults import RunFault
from entropostat.reward.confinement import allow_processor, be_silent, end_with, forget_environment, seal
from entropostat.reward.judge import Outcome, judge, said
from entropostat.reward.verifier import Verifier

Job = tuple[Verifier, str, Example]

MOST_WORKERS = 8
GRACE = 15.0
"""Seconds on top of a time-out within which a hanging worker is surely dead and replaced."""
START = 60.0
"""Seconds until the first process runs our code."""
IMPORTS = 300.0
"""Seconds that what a verifier imports may take."""
DIED = "its worker process died"
RECYCLE_AFTER = 20_000
"""Tasks after which a worker is replaced: sympy and user code leak, and a run is long."""


class Workers:
    """A pool of processes that survives its workers: one that hangs past its time-out is killed and replaced, and so is
    one that dies. Starts with the first job, ends with the process or ``close``.

    The processes do not descend from this one by fork: the trainer has threads, and a fork of a threaded process may
    deadlock.
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
        self._pools: list[ProcessPool] = []
        self.close = weakref.finalize(self, _stop, self._pools)

    def prepare(self, verifier: Verifier) -> str | None:
        """Why ``verifier`` cannot work: what it needs cannot be imported. None where it can."""
        future = self._pool().schedule(_prepare, args=[verifier], timeout=IMPORTS)
        try:
            return future.result(timeout=IMPORTS + GRACE)
        except TimeoutError:
            return f"its imports took longer than {IMPORTS:g} s"
        except (ProcessExpired, BrokenProcessPool):
            self._discard()
            return f"{DIED} while it was imported"

    def run(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Judge all ``jobs``, each within its verifier's time-out.

        When a worker dies at a bad moment pebble gives up its whole pool and every job in it. Those jobs run again in a
        fresh pool, first together and then one by one, so that only a job that itself brings its worker down is lost.
        """
        outcomes = self._round(jobs)
        for together in (True, False):
            again = [index for index, outcome in enumerate(outcomes) if outcome is None]
            for batch in [again] if together else [[index] for index in again]:
                for index, outcome in zip(batch, self._round([jobs[index] for index in batch]), strict=True):
                    outcomes[index] = outcome
        return [outcome or Outcome(problem="error", message=DIED) for outcome in outcomes]

    def _round(self, jobs: Sequence[Job]) -> list[Outcome | None]:
        """None for a job whose pool broke before it was done."""
        if not jobs:
            return []
        try:
            pool = self._pool()
            futures = [pool.schedule(_judge, args=job, timeout=job[0].timeout) for job in jobs]
        except RuntimeError:  # broken since it was last used
            self._discard()
            pool = self._pool()
            futures = [pool.schedule(_judge, args=job, timeout=job[0].timeout) for job in jobs]
        longest = sum(job[0].timeout + GRACE for job in jobs) / self.count + GRACE
        deadline = time.monotonic() + longest + max(job[0].timeout for job in jobs)
        outcomes = [_outcome(future, job[0], deadline) for future, job in zip(futures, jobs, strict=True)]
        if None in outcomes:
            self._discard()
        return outcomes

    def _pool(self) -> ProcessPool:
        if not self._pools:
            self._begin()
        return self._pools[0]

    def _begin(self) -> None:
        """Raises RunFault where no process gets as far as our own code: pebble would start one after the other for ever."""
        if _unreadable_script():
            raise RunFault(
                "the training script is read from standard input, and the worker processes of the verifiers cannot read it again; save it in a file"
            )
        begun = self._context.Event()
        pool = ProcessPool(
            max_workers=self.count,
            max_tasks=RECYCLE_AFTER,
            context=self._context,
            initializer=_warm_up,
            initargs=[self._verifiers, None if self._sealed else dict(os.environ), os.getpid(), begun],
        )
        self._pools.append(pool)
        pool.schedule(_nothing)
        if not begun.wait(START):
            self._discard()
            raise RunFault(
                f"no worker process of the verifiers has started within {START:g} s; "
                "keep what the training script runs below `if __name__ == '__main__':`, and look at the errors above"
            )

    def _discard(self) -> None:
        _stop(self._pools)


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


def _nothing() -> None:
    """Brings the pool to start."""


def _warm_up(verifiers: Sequence[Verifier], environment: dict[str, str] | None, trainer: int, begun: Event) -> None:
    """``environment``: the trainer's, which a fork server that began earlier has not; None for a worker that is to be sealed."""
    end_with(trainer)
    begun.set()
    if environment is None:
        be_silent()
        forget_environment()
    else:
        os.environ.update(environment)
    for verifier in verifiers:
        # The verifier imports it again and there the failure is counted and shown; here it would end the pool.
        with contextlib.suppress(BaseException):
            verifier.prepare()
    if environment is None:
        seal()


def _judge(verifier: Verifier, completion: str, example: Example) -> Outcome:
    allow_processor(verifier.timeout + GRACE)
    return judge(verifier, completion, example, interrupts=False)


def _prepare(verifier: Verifier) -> str | None:
    try:
        verifier.prepare()
    except BaseException as error:  # noqa: BLE001  (user code may raise anything, and may call exit)
        return said(error) or type(error).__name__
    return None


def _outcome(future: Future[Outcome], verifier: Verifier, deadline: float) -> Outcome | None:
    try:
        return future.result(timeout=max(0.0, deadline - time.monotonic()))
    except TimeoutError:
        if not future.done():  # past any time that the jobs could take: the pool lost this one
            return None
        return Outcome(problem="timeout", message=f"took longer than {verifier.timeout:g} s")
    except ProcessExpired as error:
        return Outcome(problem="error", message=f"{DIED} (exit code {error.exitcode})")
    except BrokenProcessPool:
        return None


def _stop(pools: list[ProcessPool]) -> None:
    while pools:
        pool = pools.pop()
        pool.stop()  # type: ignore[no-untyped-call]
        pool.join()
