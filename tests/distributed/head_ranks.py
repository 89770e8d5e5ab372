"""Worker: the gradient of a policy whose weights FSDP2 shards, through TRL's head with its backward pass and with ours.

python head_ranks.py OUT        (on two ranks)
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from trl.trainer import add_fused_lm_head

sys.path.insert(0, str(Path(__file__).parents[1]))

from support import tiny

from entropostat.trainers.model import head_gradient


def gradients(ours: bool, sharded: bool) -> dict[str, torch.Tensor]:
    """Of the mean over two micro-batches: one a rank, or where nothing is sharded both on each."""
    model = tiny.model()
    add_fused_lm_head(model, temperature=0.7, outputs=("log_probs", "entropy"))
    if sharded:
        mesh = init_device_mesh("cpu", (2,))
        for part in (*model.model.layers, model):
            fully_shard(part, mesh=mesh)
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(3, 28, (2, 3, 10), generator=draw)
    slopes = torch.randn(2, 2, 3, 9, generator=draw)
    slopes[..., 5:] = 0
    for row in [dist.get_rank()] if sharded else [0, 1]:
        with head_gradient.pushed_tokens(ours):
            output = model(input_ids=ids[row], labels=ids[row], fused_lm_head=True)
        loss = (output.log_probs * slopes[0, row]).sum() + (output.entropy * slopes[1, row]).sum()
        (loss if sharded else loss / 2).backward()
    return {name: p.grad.full_tensor() if sharded else p.grad for name, p in model.named_parameters()}


def main() -> None:
    dist.init_process_group("gloo")
    tokens: list[int] = []
    real = head_gradient.gradients

    def counted(pushed, *args):
        tokens.append(pushed.hidden.shape[0])
        return real(pushed, *args)

    head_gradient.gradients = counted
    found = {"whole": gradients(False, False), "TRL's": gradients(False, True), "ours": gradients(True, True)}
    torch.save({**found, "tokens": tokens}, f"{sys.argv[1]}-{dist.get_rank()}.pt")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
