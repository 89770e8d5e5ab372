"""The batch script of a recipe: its ``slurm:`` block and what follows from the rest -> text.

What script and training agree on:

- The script exports ``ENTROPOSTAT_STOP_FILE``, a path on the shared file system, and deletes that file before the training
  starts. The file appears once the job is to end soon.
- The training looks for it on the main process after every optimizer step, tells all ranks, saves a checkpoint, and exits
  with 0. SIGTERM and Ctrl-C keep their meaning, and no signal follows the file, so nothing interrupts the saving.
- It leaves the file where it was stopped, which asks for a restart. It deletes the file where it finished anyway.
- On a restart it is called with ``--resume auto``: the newest checkpoint of the recipe's newest run, or a new start where
  no checkpoint is. The name of a run ends with the job's id, so that this is no other job's run.
- Any exit code but 0 is the job's, and nothing is restarted: a mistake would only be repeated.
"""

from __future__ import annotations

import base64
import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import jinja2

from entropostat.recipe.machine_blocks import Slurm

TEMPLATE = Path(__file__).with_name("train.sbatch.j2")
COMMENT = "entropostat:"
"""Begins the comment of a job, which goes on with its run folder up to the job's id: `status` finds the run by it."""


@dataclass(frozen=True)
class Job:
    """What the script holds besides the ``slurm:`` block. Folders are absolute."""

    name: str
    """Of the recipe; the run is called ``<name>-<job id>``."""
    recipe: str
    """The resolved recipe as YAML."""
    command: list[str]
    """Starts the training on one node, up to the file of the recipe."""
    output_dir: str
    folder: str
    """For logs, scripts and recipes of jobs: not the run's own folder, which the training makes."""
    cwd: str
    server: list[str]
    """Starts the vLLM server on its node; empty without one."""
    server_gpus: int
    dependency: str | None
    tasks: list[list[str]]
    """Overrides of each task of an array; empty where a task is its seed."""
    code: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)
    """Files of the user's own, by their path, of each entry of ``reward:`` that is to import them."""
    mounts: list[str] = field(default_factory=list)
    """``source:target`` beside the working directory and ``slurm.mounts``."""
    bind: str = ""
    """The variable by which a launcher is told of all mounts; empty where srun is told."""
    environment: dict[str, str] = field(default_factory=dict)
    """What a container could not know otherwise."""
    replicas: int = 0
    """Copies of the model on each of several nodes of the server; 0 on a single node, which needs no parallel data."""


def render(block: Slurm, job: Job) -> str:
    """Raises ValueError, which names the key, for text that cannot stand in a line of options."""
    return _template().render(
        options=[" ".join(option(key, word) for word in words) for key, *words in options(block, job)],
        setup=block.setup,
        array=block.array,
        tasks=job.tasks,
        max_restarts=block.max_restarts,
        nodes=block.nodes,
        step=_step(block, job, block.nodes, block.gpus),
        server_step=_step(block, job, block.vllm_nodes, job.server_gpus),
        server=[*block.launcher, *job.server] if job.server else [],
        server_nodes=block.vllm_nodes,
        replicas=job.replicas,
        environment=job.environment,
        bind=job.bind,
        binds=",".join([f"{job.cwd}:{job.cwd}", *block.mounts, *job.mounts]),
        name=job.name,
        folder=job.folder,
        command=[*block.launcher, *job.command],
        recipe=job.recipe,
        code=[(name, path, _lines(content)) for name, files in job.code.items() for path, content in files.items()],
        folders=[(f"reward.{name}.folder='" + job.folder.replace("'", "''"), name) for name in job.code],
        delimiter=_delimiter(job.recipe),
    )


def options(block: Slurm, job: Job) -> Iterator[tuple[str, ...]]:
    """(key of the recipe, words of an option), in the order of the script."""
    if "\\" in job.folder:
        raise ValueError(
            f"output_dir: {job.folder!r} holds a backslash: Slurm puts no job id into such a log's name; rename it"
        )
    # `%` begins a pattern, such as the job's id, in the name of a log only.
    log = f"{job.folder}/{job.name}".replace("%", "%%") + ("-%A_%a.log" if block.array else "-%j.log")
    yield "name", f"--job-name={job.name}"
    yield "output_dir", f"--output={log}"
    yield "", "--open-mode=append"
    yield "", f"--chdir={job.cwd}"
    yield "output_dir", f"--comment={COMMENT}{job.output_dir}/{job.name}"
    yield "slurm.nodes", f"--nodes={block.nodes + block.vllm_nodes}"
    yield "", "--ntasks-per-node=1"
    yield "slurm.time", f"--time={block.time}"
    if block.gres is not None:
        yield "slurm.gres", f"--gres={block.gres}"
    elif block.gpus:
        yield "slurm.gpus_per_node", f"--gpus-per-node={block.gpus_per_node}"
    if block.cpus_per_task is not None:
        yield "slurm.cpus_per_task", f"--cpus-per-task={block.cpus_per_task}"
    if block.mem is not None:
        yield "slurm.mem", f"--mem={block.mem}"
    for key in ("partition", "account", "qos", "constraint", "array"):
        value = getattr(block, key)
        if value is not None:
            yield f"slurm.{key}", f"--{key}={value}"
    if job.dependency is not None:
        yield "--dependency", f"--dependency={job.dependency}"
        yield "--dependency", "--kill-on-invalid-dep=yes"  # it would wait for ever
    yield "", "--requeue"
    yield "", f"--signal=B:USR1@{block.signal_lead}"
    for index, text in enumerate(block.extra):
        try:
            words = shlex.split(text)
        except ValueError as error:
            raise ValueError(f"slurm.extra.{index}: {text!r}: {str(error).lower()}; close the quotes") from None
        if not words or not words[0].startswith("-"):
            raise ValueError(
                f"slurm.extra.{index}: {text!r} is no option; write it as sbatch takes it, --mail-type=END"
            )
        yield f"slurm.extra.{index}", *words


def option(key: str, word: str) -> str:
    """``word`` as sbatch reads it in a script: in double quotes, where a backslash escapes, unlike in a shell's single ones."""
    if any(ord(letter) < 32 or letter == "\x7f" for letter in word):
        raise ValueError(f"{key or 'working directory'}: {word!r} holds a line break or control character; remove it")
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _step(block: Slurm, job: Job, nodes: int, gpus: int) -> list[str]:
    """What srun is told about a step: one task on each of its nodes, which starts the processes of that node."""
    words = [f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1", "--kill-on-bad-exit=1"]
    if nodes > 1:
        words.append("--label")
    if gpus:
        words.append(_gpus(block, gpus))
    if block.cpus_per_task is not None:
        words.append(f"--cpus-per-task={block.cpus_per_task}")  # srun no longer takes it over from the job
    if block.container is not None:
        mounts = ",".join([f"{job.cwd}:{job.cwd}", *block.mounts, *job.mounts])
        words += [f"--container-image={block.container}", f"--container-mounts={mounts}"]
        words.append(f"--container-workdir={job.cwd}")
    return words


def _lines(content: bytes) -> str:
    """As ``base64`` writes it: text of any kind stays what it is, and no line ends what holds it."""
    return base64.encodebytes(content).decode("ascii")


def _gpus(block: Slurm, gpus: int) -> str:
    """Of a step, in the words in which the job asked for its own; a type named once need not be named again."""
    if block.gres is None:
        kind = block.gpu_type.partition(":")[2]
        return f"--gpus-per-node={kind}{':' if kind else ''}{gpus}"
    return f"--gres={block.gpu_type}:{gpus}" if gpus != block.gpus else f"--gres={block.gres}"


def _delimiter(text: str) -> str:
    """A line that ``text`` does not hold."""
    lines = set(text.splitlines())
    return next(word for n in range(len(lines) + 1) if (word := f"END_OF_RECIPE{n or ''}") not in lines)


@cache
def _template() -> jinja2.Template:
    made = jinja2.Environment(
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined
    )
    made.filters |= {"quote": shlex.quote, "join_quoted": shlex.join, "folder": os.path.dirname}
    return made.from_string(TEMPLATE.read_text(encoding="utf-8"))
