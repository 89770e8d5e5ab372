"""Many runs of a recipe, each in a process of its own that is forked after the slow imports, with results kept as they come."""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import json
import multiprocessing
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RECORDED = ROOT / "benchmarks" / "results"
"""Results lie there under the path of their script."""
Result = dict[str, Any]
Job = Callable[[], Result]
Line = dict[str, Any]


class Experiment:
    """One run of a recipe in a folder that is thrown away. Use inside a job."""

    def __init__(self, recipe: Path, overrides: Iterable[str], folder: str, allow_code: bool = False) -> None:
        from entropostat.lock import Lock
        from entropostat.recipe import load
        from entropostat.reward.registry import VERIFIERS
        from entropostat.reward.scoring import Scorer
        from entropostat.trainers.run import prepare, training_config

        self.recipe = load(str(recipe), [*overrides, "name=run", f"output_dir={folder}"])
        verifiers = {t.name: VERIFIERS.build(t.kind, t.options) for t in self.recipe.reward}
        self.scorer = Scorer(verifiers, allow_code=allow_code, sources=list(self.recipe.sources))
        config = training_config(self.recipe, Path(folder))
        self.trainer, _ = prepare(self.recipe, config, self.scorer, None, "", Lock())
        self.metrics = Path(folder) / "run" / "metrics.jsonl"

    def train(self) -> list[Line]:
        """The lines of metrics.jsonl."""
        self.trainer.train()
        return [json.loads(line) for line in self.metrics.read_text().splitlines()]

    def probe(self, seed: int | None = None, prefix: str = "") -> dict[str, float]:
        """The policy as it is on the recipe's held-out prompts, with samples of another seed, or made to begin with ``prefix``."""
        from entropostat.trainers.build.policy import find_model
        from entropostat.trainers.evaluation.draws import choose
        from entropostat.trainers.measurement import measurement
        from entropostat.trainers.prompts import load_data

        block, verify = self.recipe.evaluate, self.scorer.verify
        chosen = {
            name: [
                replace(e, prompt=e.prompt + prefix) for e in choose(examples, block.prompts, f"{block.seed}-{name}")
            ]
            for name, examples in load_data(self.recipe).tests.items()
        }

        def judged(completions: Any, examples: Any) -> Any:
            asked = [replace(e, prompt=e.prompt.removesuffix(prefix)) for e in examples]
            return verify([prefix + completion for completion in completions], asked)

        reseeded = replace(
            self.recipe, evaluate=block.model_copy(update={"seed": block.seed if seed is None else seed})
        )
        self.scorer.verify = judged  # type: ignore[method-assign]
        try:
            measured = measurement(reseeded, self.trainer, self.scorer, chosen, find_model(self.recipe))()
        finally:
            self.scorer.verify = verify  # type: ignore[method-assign]
        return {key.removeprefix("evaluate/"): value for key, value in measured.items()}


@contextlib.contextmanager
def experiment(recipe: Path, overrides: Iterable[str], allow_code: bool = False) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        made = Experiment(recipe, overrides, folder, allow_code)
        try:
            yield made
        finally:
            made.scorer.close()


class Results:
    """A JSON file of named results."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: dict[str, Result] = json.loads(path.read_text()) if path.is_file() else {}

    def add(self, name: str, result: Result) -> None:
        self.known[name] = result
        rows = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in sorted(self.known.items()))
        self.path.write_text("{\n" + rows + "\n}\n")

    def complete(self, jobs: Mapping[str, Job], processes: int) -> None:
        """Run what is missing, in the order given. A job that fails is kept as {"failed": why}: a result too."""
        missing = {name: job for name, job in jobs.items() if name not in self.known}
        if not missing:
            return
        preload()
        _JOBS.update(missing)
        with multiprocessing.get_context("fork").Pool(processes, maxtasksperchild=1) as pool:
            for name, result in pool.imap_unordered(_one, missing, chunksize=1):
                self.add(name, result)
                shown = {k: round(v, 4) if isinstance(v, float) else v for k, v in result.items()}
                print(name, {k: v for k, v in shown.items() if isinstance(v, float | str)}, flush=True)


Page = Callable[[Mapping[str, Result]], str]
Stage = Callable[[Mapping[str, Result]], Mapping[str, Job]]
"""What to run, told what the stages before it found."""


def arguments(doc: str | None, path: Path) -> argparse.ArgumentParser:
    """The command line that all benchmarks of many runs have."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time; 0: only the page")
    parser.add_argument("--only", default="*", metavar="PATTERN", help="runs whose names match, such as '*|31'")
    parser.add_argument("--results", type=Path, default=path)
    return parser


def complete(options: argparse.Namespace, page: Page, *stages: Stage) -> Results:
    """What is missing in the results is run, stage by stage, and the page beside them written anew."""
    results = Results(options.results)
    try:
        for stage in stages if options.jobs else ():
            jobs = stage(results.known)
            results.complete({name: jobs[name] for name in fnmatch.filter(jobs, options.only)}, options.jobs)
        options.results.with_suffix(".md").write_text(page(results.known))
    except KeyError as missing:
        sys.exit(f"{options.results}: what comes next needs the run {missing}; without --only it is run")
    return results


def command(doc: str | None, path: Path, page: Page, *stages: Stage) -> None:
    complete(arguments(doc, path).parse_args(), page, *stages)


_JOBS: dict[str, Job] = {}
"""Of this process and, by the fork, of its workers: closures cannot be sent to them."""


def _one(name: str) -> tuple[str, Result]:
    try:
        with quiet():
            return name, _JOBS[name]()
    except Exception:  # noqa: BLE001 a failed run is a result
        return name, {"failed": traceback.format_exc()[-800:]}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Nothing is told meanwhile. A file takes it, because vLLM asks its output for a descriptor."""
    with Path(os.devnull).open("w") as sink, contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
        yield


def preload() -> None:
    """What every run imports, once. No tensor is computed here: a fork and the threads of torch do not mix."""
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    import torch

    torch.set_num_threads(1)
    import entropostat.trainers.run  # noqa: F401
