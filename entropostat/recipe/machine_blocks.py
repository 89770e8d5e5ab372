"""The blocks of a recipe that say where it runs and what is recorded: ``launch:``, ``slurm:`` and ``tracking:``."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field

from entropostat.recipe.block import Block

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
    gpus_per_node: int = Field(8, ge=0, description="--gpus-per-node; 0: a CPU job")
    cpus_per_task: int | None = Field(None, ge=1, description="--cpus-per-task")
    time: str = Field(
        "24:00:00", pattern=r"^(\d+-)?\d+(:\d{2}){0,2}$", description="--time, [days-]hours:minutes:seconds"
    )
    constraint: str | None = Field(None, description="--constraint")
    vllm_nodes: int = Field(0, ge=0, le=1, description="a node more, for the server of trainer.vllm_mode: server")
    array: str | None = Field(
        None, pattern=r"^\d+(-\d+)?(,\d+(-\d+)?)*(%\d+)?$", description="seeds, such as 0-4 or 1,5,7%2; one run each"
    )
    signal_lead: int = Field(300, ge=30, le=65535, description="seconds before the time limit to save and go on later")
    max_restarts: int = Field(10, ge=0, description="restarts after which the job queues itself no more")
    setup: list[str] = Field([], description="shell lines run before training, such as module load")
    python: str | None = Field(None, description="interpreter; null: the one that submits, or python in a container")
    container: str | None = Field(None, description="image, for srun --container-image (pyxis)")
    mounts: list[str] = Field([], description="source:target for the container, besides the current folder")
    extra: list[str] = Field([], description="further #SBATCH options, such as --mail-type=END")


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

    @property
    def trackers(self) -> list[str]:
        """Names of those that are on."""
        return [name for name in ("wandb", "trackio", "tensorboard") if getattr(self, name) is not None]
