"""The blocks of a recipe that say where it runs and what is recorded: ``launch:``, ``slurm:`` and ``tracking:``."""

from __future__ import annotations

import re
from typing import Annotated, Literal, get_args

from pydantic import Field

from entropostat.recipe.block import Block

ARRAY = r"^\d+(-\d+(:[1-9]\d*)?)?(,\d+(-\d+(:[1-9]\d*)?)?)*(%[1-9]\d*)?$"
"""What sbatch takes for `--array`."""
GPUS = r"^[A-Za-z][\w.-]*:\d+$"
"""A type and a number."""
GRES = r"^[A-Za-z][\w./-]*(:[A-Za-z][\w.-]*)?(:\d+[KMGTkmgt]?)?(\(S:[\d,-]+\))?(,[A-Za-z][\w./-]*(:[A-Za-z][\w.-]*)?(:\d+[KMGTkmgt]?)?)*$"
_GPU = re.compile(r"(?:gres[:/])?(gpu)(?::([A-Za-z][\w.-]*))?(?::(\d+))?(?:\(.*)?$")

Strategy = Literal["single", "ddp", "zero1", "zero2", "zero3", "zero3-offload", "fsdp2"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)


class Launch(Block):
    """How processes are started."""

    strategy: Strategy = Field("single", description="recipes/accelerate/<strategy>.yaml")
    num_processes: int | None = Field(None, ge=1, description="over all machines; null: one per visible GPU")
    num_machines: int = Field(1, ge=1, description="machines that take part")
    gpu_memory: float | None = Field(
        None, gt=0, description="GiB of one GPU, which plan compares its estimate with; null: it does not"
    )


class Slurm(Block):
    """The batch job that `entropostat submit` writes."""

    partition: str | None = Field(None, description="--partition")
    account: str | None = Field(None, description="--account")
    qos: str | None = Field(None, description="--qos")
    nodes: int = Field(1, ge=1, description="--nodes")
    gpus_per_node: Annotated[int, Field(ge=0)] | Annotated[str, Field(pattern=GPUS)] = Field(
        8, description="--gpus-per-node, such as 8 or h100:8; 0: a CPU job"
    )
    gres: str | None = Field(
        None,
        pattern=GRES,
        description="--gres, such as gpu:h100:4 or nvme:1; GPUs that it names take the place of gpus_per_node",
    )
    mem: Annotated[int, Field(ge=0)] | Annotated[str, Field(pattern=r"^\d+[KMGTkmgt]?$")] | None = Field(
        None, description="--mem of a node, such as 512G; 0: all of it"
    )
    cpus_per_task: int | None = Field(None, ge=1, description="--cpus-per-task")
    time: str = Field(
        "24:00:00", pattern=r"^(\d+-)?\d+(:\d{2}){0,2}$", description="--time, [days-]hours:minutes:seconds"
    )
    constraint: str | None = Field(None, description="--constraint")
    vllm_nodes: int = Field(
        0,
        ge=0,
        le=64,
        description="further nodes, for the server of trainer.vllm_mode: server; of several each has copies of the model",
    )
    array: str | None = Field(None, pattern=ARRAY, description="seeds, such as 0-4, 0-8:2 or 1,5,7%2; one run each")
    signal_lead: int = Field(300, ge=30, le=65535, description="seconds before the time limit to save and go on later")
    max_restarts: int = Field(10, ge=0, description="restarts after which the job queues itself no more")
    setup: list[str] = Field([], description="shell lines run before training, such as module load")
    python: str | None = Field(None, description="interpreter; null: the one that submits, or python in a container")
    container: str | None = Field(None, description="image, for srun --container-image (pyxis)")
    mounts: list[str] = Field(
        [], description="source:target for the container, besides the current folder and what the recipe reads"
    )
    launcher: list[Annotated[str, Field(min_length=1)]] = Field(
        [], description="words before the interpreter on each node, such as [apptainer, exec, --nv, image.sif]"
    )
    extra: list[str] = Field([], description="further #SBATCH options, such as --mail-type=END")

    @property
    def gpus(self) -> int:
        """Of one node."""
        named = _gpus_of(self.gres)
        if named is not None:
            return named
        given = self.gpus_per_node
        return given if isinstance(given, int) else int(given.rpartition(":")[2])

    @property
    def gpu_type(self) -> str:
        """As `--gres` names them: ``gpu`` or ``gpu:h100``."""
        if _gpus_of(self.gres) is not None:
            kind = next(item for item in str(self.gres).split(",") if _GPU.match(item))
            return ":".join(part for part in _GPU.match(kind).groups("")[:2] if part)  # type: ignore[union-attr]
        given = str(self.gpus_per_node).rpartition(":")[0]
        return f"gpu:{given}" if given else "gpu"


def _gpus_of(gres: str | None) -> int | None:
    """GPUs that it names; None where it names none."""
    found = [match for item in (gres or "").split(",") if (match := _GPU.match(item))]
    return sum(int(match[3] or 1) for match in found) if found else None


class Wandb(Block):
    """Weights & Biases. The key comes from the environment or `wandb login`; without one, all stays in files."""

    project: str = Field("entropostat", description="project")
    entity: str | None = Field(None, description="team or user")
    mode: Literal["auto", "online", "offline"] = Field(
        "auto", description="auto: online where a key is found, else offline, which writes files to `wandb sync` later"
    )
    group: str | None = Field(
        None, description="group of runs; null: the recipe's name, so that its seeds stand together"
    )
    tags: list[str] = Field([], description="tags, besides the names of the recipe's methods")


class Trackio(Block):
    """Trackio, local and without an account."""

    project: str = Field("entropostat", description="project")


class Tensorboard(Block):
    """TensorBoard's files, in tensorboard/ of the run folder: the same metrics, under wandb's names."""


class Tracking(Block):
    """What is recorded besides metrics.jsonl in the run folder."""

    wandb: Wandb | None = Field(None, description="null: off")
    trackio: Trackio | None = Field(None, description="null: off")
    tensorboard: Tensorboard | None = Field(None, description="null: off")
    completions: int = Field(8, ge=0, description="completions recorded at every log")
    log_every: int = Field(1, ge=1, description="optimizer steps between logs")
    diagnose: bool = Field(True, description="tell in the terminal, once, what goes wrong; never stops a run")
    monitor_every: int = Field(
        5,
        ge=0,
        description="one generation in so many has the forces and ratios of its steps monitored; 0: no monitors",
    )
    rankme: int = Field(
        0,
        ge=0,
        le=8192,
        description="tokens, over all processes, whose last hidden states are measured by RankMe in the first step of a monitored "
        "generation; 0: none. 256 of width 1,024 take .1 s of a busy CPU core, 256 of width 4,096 .4 s",
    )

    @property
    def trackers(self) -> list[str]:
        """Names of those that are on."""
        return [name for name in ("wandb", "trackio", "tensorboard") if getattr(self, name) is not None]
