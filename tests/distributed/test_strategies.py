"""Every file of recipes/accelerate, read by accelerate's own loader and launcher, as `entropostat launch` calls it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from accelerate.commands.config import load_config_from_file
from support import ranks

from entropostat.cli.launch import command, config
from entropostat.recipe import Recipe, load
from entropostat.recipe.machine_blocks import STRATEGIES

PLAIN = "entropostat:quickstart/plain.yaml"
PLACE = {"MACHINE_RANK": "1", "MASTER_ADDR": "10.0.0.7", "MASTER_PORT": "23456"}


def recipe(strategy: str, machines: int = 1) -> Recipe:
    world = 1 if strategy == "single" else 4
    return load(PLAIN, [f"launch={{strategy: {strategy}, num_processes: {world}, num_machines: {machines}}}"])


def handed(strategy: str, gpus: int, machines: int = 1) -> tuple[dict[str, str], Any]:
    """What accelerate makes of the command of `entropostat launch`: environment and arguments of torch's launcher."""
    place = PLACE if machines > 1 else {"MASTER_PORT": PLACE["MASTER_PORT"]}
    words = command(recipe(strategy, machines), ["recipe.yaml", "seed=3"], gpus, place)
    return ranks.accelerated(words[words.index("accelerate.commands.launch") + 1 :])


def test_there_is_a_file_for_every_strategy_and_a_strategy_for_every_file() -> None:
    used = {config(recipe(strategy), gpus).name for strategy in STRATEGIES for gpus in (0, 4)}
    assert used == {file.name for file in ranks.CONFIGS.glob("*.yaml")}


@pytest.mark.parametrize("gpus", [0, 4])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_accelerate_starts_what_the_strategy_says(strategy: str, gpus: int) -> None:
    environment, args = handed(strategy, gpus)
    assert environment.get("ACCELERATE_USE_DEEPSPEED", "false") == ("true" if strategy.startswith("zero") else "false")
    assert environment.get("ACCELERATE_USE_FSDP", "false") == ("true" if strategy == "fsdp2" else "false")
    if strategy == "single":
        assert args is None
        return
    assert (args.nproc_per_node, args.training_script) == ("4", "entropostat")
    assert args.training_script_args == ["train", "recipe.yaml", "seed=3"]
    assert environment["ACCELERATE_MIXED_PRECISION"] == "no", "trainer.bf16 decides"
    if strategy.startswith("zero"):
        assert environment["ACCELERATE_DEEPSPEED_ZERO_STAGE"] == strategy[4]
        device = "cpu" if strategy.endswith("offload") else "none"
        for what in ("OPTIMIZER", "PARAM"):
            assert environment[f"ACCELERATE_DEEPSPEED_OFFLOAD_{what}_DEVICE"] == device
    if strategy == "fsdp2":
        assert environment["FSDP_VERSION"] == "2"


@pytest.mark.parametrize("strategy", [name for name in STRATEGIES if name != "single"])
def test_each_machine_starts_its_share_and_meets_the_others_where_it_is_told(strategy: str) -> None:
    _, args = handed(strategy, gpus=2, machines=2)
    assert (args.nproc_per_node, args.nnodes, args.node_rank) == ("2", "2", 1)
    assert args.rdzv_endpoint == "10.0.0.7:23456"


def test_only_ddp_needs_a_file_of_its_own_for_cpus() -> None:
    read = {file.stem: load_config_from_file(str(file)) for file in ranks.CONFIGS.glob("*.yaml")}
    assert [name for name, strategy in read.items() if strategy.use_cpu] == ["ddp-cpu"]
    assert {strategy.distributed_type.value for strategy in read.values()} == {"NO", "MULTI_GPU", "DEEPSPEED", "FSDP"}


ASKS = """
import sys
from accelerate import Accelerator
open(sys.argv[1], "a").write(f"{Accelerator(cpu=True).distributed_type.value} ")
"""


def test_on_cpus_accelerate_passes_fsdp_over(tmp_path: Path) -> None:
    """It takes the plain kind of process group instead, without a word: why `launch` refuses fsdp2 where no GPU is."""
    script, out = tmp_path / "asks.py", tmp_path / "out"
    script.write_text(ASKS)
    ranks.run(script, out, strategy="fsdp2", world=2)
    assert out.read_text().split() == ["MULTI_CPU", "MULTI_CPU"]
