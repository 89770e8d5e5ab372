"""From a recipe to its batch job: what the recipe leaves open is settled, and what cannot run is said before it queues."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from entropostat.recipe import Recipe
from entropostat.recipe.arithmetic import arithmetic, trainer_value
from entropostat.recipe.lint import Lint
from entropostat.recipe.machine_blocks import Slurm
from entropostat.recipe.relative_paths import in_folder
from entropostat.slurm.mounts import BIND, cache, contained, mounts, starter, unmountable
from entropostat.slurm.own_code import Code
from entropostat.slurm.render import Job


def settled(recipe: Recipe) -> list[str]:
    """Overrides for what would depend on the machine that submits, or on the folder of the recipe."""
    block, launch, overrides = recipe.slurm, recipe.launch, []
    if launch.num_processes is None and launch.strategy != "single":
        overrides.append(f"launch.num_processes={max(1, block.gpus) * launch.num_machines}")
    for term in recipe.reward:
        path = term.options.get("path")
        if term.kind == "model" and path is not None and (recipe.folder / str(path)).is_dir():
            overrides.append(f"reward.{term.name}.path={json.dumps(str(recipe.folder / str(path)))}")
    for place, terms in (("data.sources", recipe.sources), ("evaluate.sets", recipe.sets)):
        for name, term in terms.items():
            for key in ("path", "chat_template"):
                given = term.options.get(key)
                found = _in_folder(given, recipe.folder)
                if found != given:
                    # The name of a source may have a dot, so that it cannot be a part of the address.
                    overrides.append(f"{place}={json.dumps({name: {term.kind: {key: found}}})}")
    return overrides


def _in_folder(given: Any, folder: Path) -> Any:
    """The file names of a source that begin at the recipe's folder, which is another one for the job."""
    if isinstance(given, list):
        return [_in_folder(one, folder) for one in given]
    return in_folder(given, folder) if isinstance(given, str) else given


def problems(recipe: Recipe) -> Iterator[Lint]:
    """What only a batch job can have wrong."""
    block, launch, world = recipe.slurm, recipe.launch, arithmetic(recipe).world
    if block.nodes != launch.num_machines:
        yield Lint(
            "error",
            "slurm.nodes",
            f"{block.nodes} node(s) are asked for, but launch.num_machines is {launch.num_machines}",
            "give both the same number",
        )
    gpus = block.gpus * block.nodes
    if gpus and world > gpus:
        yield Lint(
            "error",
            "launch.num_processes",
            f"{world} processes have {gpus} GPUs",
            f"use {gpus}, or slurm.gpus_per_node=0 for a CPU job",
        )
    if gpus > world:
        yield Lint(
            "warning",
            "slurm.gpus_per_node",
            f"{gpus} GPUs are asked for, but {world} process(es) use one each",
            f"ask for {-(-world // block.nodes)}, or set launch.strategy and launch.num_processes",
        )
    if not gpus and launch.strategy == "fsdp2":
        yield Lint("error", "launch.strategy", "fsdp2 needs GPUs, and slurm.gpus_per_node is 0", "use ddp or zero3")
    if block.mounts and not contained(block):
        fix = "set slurm.container, or remove it"
        yield Lint("error", "slurm.mounts", "there is no container to mount into", fix)
    if block.gres is not None and "gpus_per_node" in block.model_fields_set and block.gpus != of_node(block):
        what = f"{block.gres} has {block.gpus} GPU(s), and slurm.gpus_per_node {of_node(block)}"
        yield Lint("error", "slurm.gres", what, "say it in one of them")
    yield from unmountable(recipe, Path.cwd())
    yield from _server(recipe)


def _server(recipe: Recipe) -> Iterator[Lint]:
    block = recipe.slurm
    asked = trainer_value(recipe, "use_vllm") and trainer_value(recipe, "vllm_mode") == "server"
    elsewhere = {"vllm_server_base_url", "vllm_server_host"} & set(recipe.trainer)
    if block.vllm_nodes and not asked:
        yield Lint(
            "error",
            "slurm.vllm_nodes",
            "no training asks for a server",
            "set trainer.use_vllm=true and trainer.vllm_mode=server, or slurm.vllm_nodes=0",
        )
    if block.vllm_nodes and elsewhere:
        key = min(elsewhere)
        yield Lint("error", f"trainer.{key}", "slurm.vllm_nodes starts a server of its own", "remove one of the two")
    if asked and not block.vllm_nodes and not elsewhere:
        yield Lint(
            "error",
            "slurm.vllm_nodes",
            "trainer.vllm_mode is server, and no server is started",
            "use 1, or name a running one by trainer.vllm_server_base_url",
        )
    if not block.vllm_nodes:
        return
    if recipe.model.path is None or recipe.model.peft is not None:
        why = "loads a path, and model.path is not set" if recipe.model.path is None else "is started without adapters"
        yield Lint("error", "slurm.vllm_nodes", f"the server {why}", "use trainer.vllm_mode=colocate")
    tensor = trainer_value(recipe, "vllm_tensor_parallel_size")
    used = tensor * max(1, replicas(recipe))
    if used != block.gpus:
        yield Lint(
            "error" if tensor > block.gpus else "warning",
            "trainer.vllm_tensor_parallel_size",
            f"the server runs on {used} GPU(s), and its node has {block.gpus}",
            "use a divisor of the model's attention heads, as near below the node's GPUs as there is",
        )


def job(
    recipe: Recipe,
    allow_code: bool,
    dependency: str | None,
    tasks: list[list[str]],
    code: Mapping[str, Code] = {},
) -> Job:
    """Of a recipe without problems."""
    block = recipe.slurm
    python = block.python or ("python" if contained(block) else sys.executable)
    output_dir = Path(recipe.output_dir).absolute()
    words = [python, "-m", "entropostat", "launch", *(["--allow-code"] if allow_code else [])]
    return Job(
        name=recipe.name,
        recipe=recipe.dump(),
        command=words,
        output_dir=str(output_dir),
        folder=str(output_dir / "slurm"),
        cwd=str(Path.cwd()),
        server=server(recipe, python) if block.vllm_nodes else [],
        server_gpus=trainer_value(recipe, "vllm_tensor_parallel_size") * max(1, replicas(recipe))
        if block.vllm_nodes
        else 0,
        dependency=dependency,
        tasks=tasks,
        code={name: each.files for name, each in code.items() if each.files},
        mounts=mounts(recipe, Path.cwd()) if contained(block) else [],
        bind=BIND.get(starter(block), "") if block.container is None else "",
        environment={"HF_HOME": str(cache())} if contained(block) and cache().is_dir() else {},
        replicas=replicas(recipe),
    )


def of_node(block: Slurm) -> int:
    """GPUs that ``gpus_per_node`` says."""
    return block.model_copy(update={"gres": None}).gpus


def replicas(recipe: Recipe) -> int:
    """Copies of the model on each of several nodes of the server; 0: on one node there is one, which takes no such option."""
    if recipe.slurm.vllm_nodes < 2:
        return 0
    return max(1, recipe.slurm.gpus // int(trainer_value(recipe, "vllm_tensor_parallel_size")))


def server(recipe: Recipe, python: str) -> list[str]:
    """vLLM's own server with what TRL's client relies on, see ``trl.generation.vllm_client.VLLMClient``."""
    assert recipe.model.path is not None
    words = [python, "-m", "vllm.entrypoints.cli.main", "serve", recipe.model.path]
    words += ["--weight-transfer-config", '{"backend": "nccl"}', "--logprobs-mode", "processed_logprobs"]
    words += ["--max-logprobs", "-1", "--model-impl", trainer_value(recipe, "vllm_model_impl")]
    words += ["--tensor-parallel-size", str(trainer_value(recipe, "vllm_tensor_parallel_size"))]
    if each := replicas(recipe):
        words += ["--data-parallel-size", str(each * recipe.slurm.vllm_nodes), "--data-parallel-size-local", str(each)]
    length = trainer_value(recipe, "vllm_max_model_length")
    words += [] if length is None else ["--max-model-len", str(length)]
    return words if recipe.model.revision is None else [*words, "--revision", recipe.model.revision]
