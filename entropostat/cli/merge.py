"""``entropostat merge``: a finished run's LoRA adapter and its base as one whole model, in merged/ beside final/."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

from entropostat.faults import in_one_line
from entropostat.recipe.blocks import Dtype
from entropostat.visible import visible


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="folder of a finished run with model.peft")
    parser.add_argument(
        "--dtype", choices=get_args(Dtype), default="auto", help="of the weights; auto: as the base has them"
    )


def run(args: argparse.Namespace) -> int:
    folder = Path(args.run)
    with in_one_line(folder.name, folder):
        if not (folder / "final").is_dir():
            raise FileNotFoundError(f"{folder} has no final/; it comes when a run has finished")
        from entropostat.trainers.build.merge import merge  # torch

        print(visible(str(merge(folder, args.dtype))))
    return 0
