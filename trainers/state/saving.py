"""Checkpoints that are complete or not there at all: the trainer's part of ``entropostat/atomic.py``.

transformers writes a checkpoint file by file under its final name, and a kill in between leaves one that looks like any
other. Here the same method writes into a folder beside it, told so by the one method that it asks where to write. Uploads
and the removal of old checkpoints wait until the new one has its name.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from entropostat import checkpoints, manifest
from entropostat.atomic import sweep, whole_folder

PICKLED = ".metadata"
"""Of FSDP's sharded form. All else is read by ``torch.load`` and safetensors."""


class Saving:
    """Where a trainer's checkpoints are written, under what seal, and which of them stay."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        self.start_number = 1
        """How often the run has been started: of the main process only."""

    @contextmanager
    def sealed(self, trial: Any, recipe: str | None) -> Iterator[Path]:
        """A folder that bears the checkpoint's name, and a seal on all that is in it, only when all is written. Afterwards
        those that are too many go, and it is uploaded where that is asked for. ``recipe``: the fingerprint of one.
        """
        trainer = self.trainer
        run = Path(trainer._get_output_dir(trial=trial))
        final = run / f"{PREFIX_CHECKPOINT_DIR}-{trainer.state.global_step}"
        facts = {"world_size": trainer.accelerator.num_processes, "engine": engine(trainer)}
        facts |= {"start": self.start_number, "recipe": recipe}
        with whole_folder(
            final,
            wait=trainer.accelerator.wait_for_everyone,
            lead=trainer.args.should_save,
            sync=trainer.accelerator.is_local_main_process,
            seal=lambda folder: manifest.seal(folder, **facts),
        ) as folder:
            yield folder
        self._rotate(final)
        if trainer.args.push_to_hub:
            trainer._push_from_checkpoint(str(final))

    @contextmanager
    def writing(self, folder: Path, trial: Any) -> Iterator[None]:
        """Inside, the trainer's own method writes its files into ``folder``."""
        final = Path(self.trainer._get_output_dir(trial=trial)) / folder.name
        with written_to(self.trainer, folder.parent):
            yield
            self._name_best(folder, final)

    def _rotate(self, newest: Path) -> None:
        """Remove the checkpoints that are too many."""
        best, args = self.trainer.state.best_model_checkpoint, self.trainer.args
        if args.should_save:
            keep = [newest, *([Path(best)] if best else [])]
            checkpoints.rotate(newest.parent, args.save_total_limit, keep)

    def tidy(self, checkpoint: Path) -> None:
        """Before a run goes on from ``checkpoint``: finish what a kill has interrupted."""
        if self.trainer.args.should_save:
            self.start_number = checkpoints.next_start(checkpoint.parent)
            sweep(checkpoint.parent)
        self._rotate(checkpoint)

    def _name_best(self, folder: Path, final: Path) -> None:
        """The trainer's state names the best checkpoint: by the name that it will bear."""
        state, args = self.trainer.state, self.trainer.args
        if state.best_model_checkpoint == str(folder):
            state.best_model_checkpoint = str(final)
            if args.should_save:
                state.save_to_json(str(folder / TRAINER_STATE_NAME))


@contextmanager
def written_to(trainer: Any, run: Path) -> Iterator[None]:
    """Inside, the trainer takes ``run`` for its run folder and uploads nothing."""
    trainer._get_output_dir = lambda trial=None: str(run)
    trainer._push_from_checkpoint = lambda folder: None
    try:
        yield
    finally:
        del trainer._get_output_dir, trainer._push_from_checkpoint


def engine(trainer: Any) -> str:
    """Whose form the optimizer's state has: DeepSpeed and FSDP cut and name it in their own ways."""
    if trainer.is_deepspeed_enabled:
        return f"zero{trainer.accelerator.state.deepspeed_plugin.zero_stage}"
    return "fsdp" if trainer.is_fsdp_enabled else "torch"


def check_engine(trainer: Any, checkpoint: Path, allow_code: bool = False) -> None:
    """Raises ValueError for a checkpoint that this run's engine cannot read, or not without ``allow_code``."""
    saved, now = manifest.manifest(checkpoint).engine, engine(trainer)
    if saved != now:
        names = {"torch": "single or ddp", "fsdp": "fsdp2", "zero3": "zero3 or zero3-offload"}
        raise ValueError(
            f"--resume {checkpoint}: launch.strategy is {names.get(now, now)} and was {names.get(saved, saved)}, whose "
            "optimizer state is cut in another way; set it back"
        )
    for file in () if allow_code else sorted(checkpoint.rglob(PICKLED)):
        raise ValueError(
            f"--resume {checkpoint}: torch unpickles {file.name} of {file.parent.name}, which can run code; "
            "add --allow-code for a checkpoint of your own, or save with fsdp_state_dict_type FULL_STATE_DICT"
        )
