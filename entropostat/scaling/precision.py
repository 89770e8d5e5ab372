"""How many bytes a number has, by strategy: which weights a rank stores, and in what the forward computes."""

from __future__ import annotations

from dataclasses import dataclass

from entropostat.scaling.run import Run


@dataclass(frozen=True)
class Precision:
    """Bytes each."""

    weight: int
    """Of a stored weight."""
    residual: int
    """Of the hidden states between layers: those of the weights that the modules see."""
    compute: int
    """Of what matrix products take and give."""
    gradient: int
    master: int
    """Of a second copy of each trained weight, which the optimizer updates; 0: it updates the weight itself."""
    state: int
    """Of a number of the optimizer's state."""

    @property
    def autocast(self) -> bool:
        """Weights are stored in more than the products take, so that autocast casts them and their inputs."""
        return self.residual > self.compute


def precision(run: Run) -> Precision:
    """Where the strategies differ.

    single, ddp   weights as loaded; bf16 is autocast over them (transformers.Trainer). torch's AdamW keeps its state in the
                  dtype of the weight.
    zero*         with mixed precision the engine casts the module to 16 bits, gradients included; a float32 master copy is
                  made of every trained weight, also where the weights are float32 already (DeepSpeed, stage_1_and_2.py and
                  stage3.py: `.clone().float()`), and the state is float32.
    fsdp2         with mixed precision accelerate raises trained weights to float32, and FSDP gathers them in 16 bits
                  (fsdp2_prepare_model).
    """
    compute = 2 if run.mixed else run.dtype
    if run.strategy.startswith("zero"):
        stored = compute
        return Precision(stored, stored, compute, stored, master=4, state=4)
    if run.strategy == "fsdp2":
        stored = 4 if run.mixed else run.dtype
        return Precision(stored, compute, compute, stored, master=0, state=stored)
    return Precision(run.dtype, run.dtype, compute, run.dtype, master=0, state=run.dtype)
