"""What stays between forwards: weights, gradients, optimizer, second models, buffers. P weights, P_t trained ones, N shards.

The split is that of ZeRO (arXiv:1910.02054, table 1), with the bytes of ``precision.py`` and what the libraries add to it.
"""

from __future__ import annotations

from entropostat.recipe.blocks import Critic
from entropostat.scaling.item import GENERATE, HEAD, LAYERS, MOMENTS, TRAINING, UPDATE, Item
from entropostat.scaling.precision import precision
from entropostat.scaling.run import Run

BUCKET = 500_000_000
"""Numbers in DeepSpeed's reduce bucket, its default; it is allocated whole, however small the model."""
TABLES = ("embed_tokens", "lm_head")
IN_4_BITS = 0.5 + 4 / 64
"""Bytes of a weight that bitsandbytes has quantised: with a float32 scale for each 64."""
LIVE = 1_000_000_000
"""DeepSpeed's stage3_max_live_parameters and stage3_max_reuse_distance: gathered weights that may stay until their next
use. Its sub-groups have as many."""


def head_weights(run: Run) -> int:
    """Of a critic (trainers/model/critic_heads.py): a linear head has H + 1 weights, a hidden layer of H / 4 is added; and a trunk.
    Of log Z (trainers/model/partition_tap.py): H + 1, and H^2 + 3 H for each layer before the last."""
    block, hidden = run.critic, run.shape.hidden
    of_log_z = (run.log_z_layers - 1) * hidden * (hidden + 3) + hidden + 1 if run.log_z_layers else 0
    if block is None:
        return of_log_z
    return value_heads(run.shape.hidden, block) + (run.shape.backbone if block.trunk == "separate" else 0)


def value_heads(hidden: int, block: Critic) -> int:
    inner = max(hidden // 4, 1)
    head = hidden * inner + 2 * inner + 1 if block.hidden else hidden + 1
    return block.heads * head + block.layer_norm * 2 * hidden


def adapters(run: Run) -> int:
    """Weights of LoRA, and those of embedding and head where they are trained whole beside it."""
    if run.peft is None:
        return 0
    tables = sum(name in TABLES for name in run.peft.modules_to_save or ())
    return run.shape.adapter(run.peft.r, run.peft.target_modules) + tables * run.shape.table


def trained(run: Run) -> int:
    """P_t: the policy, or its adapters, and the heads."""
    return (adapters(run) if run.peft else run.shape.parameters) + head_weights(run)


def states(run: Run) -> list[Item]:
    return [*weights(run), *gradients(run), *optimizer(run), *second_models(run), *generation_weights(run), buffer(run)]


def weights(run: Run) -> list[Item]:
    """P whole on each rank, or P / N with what a forward has gathered.

    ZeRO-3 keeps up to LIVE gathered weights between forward and backward. FSDP2 holds two layers and the root group (the
    embedding and a head of its own) whole.
    """
    bytes_, shape, offloaded = precision(run), run.shape, run.strategy == "zero3-offload"
    count = shape.parameters + adapters(run) + head_weights(run)
    quantised = shape.layers * shape.matrices if run.in_4_bits else 0
    size = (count - quantised) * bytes_.weight + quantised * IN_4_BITS
    items = [Item("weights", size / (run.shards if run.splits_weights else 1), host=offloaded)]
    if run.strategy.startswith("zero3"):
        items.append(Item("gathered weights", min(count, LIVE) * bytes_.weight, (HEAD, LAYERS)))
    elif run.strategy == "fsdp2":
        root = shape.table * (1 if shape.tied else 2)
        items.append(Item("gathered weights", (root + 2 * shape.layer) * bytes_.compute, (GENERATE, HEAD, LAYERS)))
    elif bytes_.autocast:
        cast = shape.table if run.in_4_bits else shape.linear
        items.append(Item("autocast's copies of weights", cast * bytes_.compute, (HEAD,)))
    return items


def gradients(run: Run) -> list[Item]:
    """Before the last micro-batch of a window they are there already; with one micro-batch, not yet in the head.

    ddp adds buckets as large as the gradients (`gradient_as_bucket_view` is off). zero1 keeps whole gradients until the end
    of the window, zero2 and zero3 their share. fsdp2 keeps whole ones where a window has several micro-batches, because
    transformers.Trainer accumulates under `no_sync`.
    """
    bytes_, count = precision(run), trained(run)
    alive = TRAINING if run.accumulation > 1 else (LAYERS, UPDATE)
    whole, share = count * bytes_.gradient, count * bytes_.gradient / run.shards
    if run.strategy == "single":
        return [Item("gradients", whole, alive)]
    if run.strategy == "ddp":
        return [Item("gradients", whole, alive), Item("DDP's buckets", whole)]
    if run.strategy == "fsdp2":
        unsharded = count * bytes_.compute if run.accumulation > 1 else share
        return [Item("gradients", unsharded, (HEAD, LAYERS) if run.accumulation > 1 else (LAYERS,)),
                Item("gradients", share, (UPDATE,))]  # fmt: skip
    offloaded, third = run.strategy == "zero3-offload", run.strategy.startswith("zero3")
    kept = Item("gradients", whole if run.strategy == "zero1" else share, MOMENTS if third else alive, host=offloaded)
    bucket = Item("DeepSpeed's reduce bucket", BUCKET * bytes_.gradient, MOMENTS if third else (HEAD, LAYERS))
    # The float32 gradients that the master copy is updated with; ZeRO-3 does it by sub-groups.
    part = min(count / run.shards, LIVE) if third else count / run.shards
    return [kept, bucket, Item("gradients in float32", 4 * part, (UPDATE,), host=offloaded)]


def optimizer(run: Run) -> list[Item]:
    """AdamW: two numbers for each trained weight. Muon: one for those of the layers' matrices. DeepSpeed: and the master."""
    bytes_, count = precision(run), trained(run)
    single_moment = 0
    if run.muon:
        single_moment = adapters(run) if run.peft else run.shape.layers * run.shape.matrices
    size = ((2 * count - single_moment) * bytes_.state + count * bytes_.master) / run.shards
    items = [Item("optimizer", size, host=run.strategy == "zero3-offload")]
    if run.radius and run.strategy in ("single", "ddp"):
        items.append(Item("weights before the step", count * bytes_.weight, (UPDATE,)))
    return items


def second_models(run: Run) -> list[Item]:
    """A frozen or moving reference, a teacher, and the initial policy that `evaluate.reference` compares with.

    The reference of a new adapter is the model without it: nothing; a moving one, or that of an adapter which training
    starts from, is a second adapter. A moving average of weights below float32 is kept in float32 beside the model
    (trainers/state/anchor.py).
    """
    bytes_, parts = precision(run), run.shards if run.splits_weights else 1
    each = bytes_.weight if run.strategy.startswith("zero") else run.dtype
    host = run.strategy == "zero3-offload"
    count = adapters(run) if run.peft else run.shape.parameters
    items = []
    if run.reference and (run.peft is None or run.moving or run.started):
        items.append(Item("reference", count * each / parts, host=host))
        if run.moving == "ema" and each < 4:
            items.append(Item("its average in float32", 4 * count / parts))
    if run.teacher is not None:
        size = run.teacher.parameters * (bytes_.weight if run.strategy.startswith("zero") else run.teacher_dtype)
        items.append(Item("teacher", size / parts, host=host))
        if run.strategy.startswith("zero3"):
            items.append(Item("gathered teacher", min(run.teacher.parameters, LIVE) * bytes_.weight, (HEAD,)))
    if run.evaluated_reference:
        items.append(Item("reference to evaluate", run.shape.parameters * run.dtype / parts, host=host))
    return items


def generation_weights(run: Run) -> list[Item]:
    """vLLM's share of the GPU, or the whole weights that ZeRO-3 gathers; one weight at a time goes over to vLLM.

    Without the GPU's size only vLLM's own weights, 16 bits over `vllm_tensor_parallel_size` GPUs, can be counted.
    """
    bytes_, items = precision(run), []
    if run.strategy.startswith("zero3"):
        whole = run.gathers and not run.vllm
        gathered = run.shape.parameters + adapters(run) if whole or (run.vllm and run.peft) else run.shape.table
        items.append(Item("weights gathered to generate", gathered * bytes_.weight, (GENERATE,)))
    if run.vllm == "colocate":
        least = 2 * run.shape.parameters / run.vllm_parallel
        size = least if run.gpu is None else run.vllm_share * run.gpu
        items.append(Item("vLLM", size, (GENERATE,) if run.vllm_sleeps else MOMENTS))
    return items


def buffer(run: Run) -> Item:
    """A generation in wait: ids and masks of 8 bytes, and float32 values of completion tokens."""
    each = 16 * run.length + 4 * run.completion * run.buffered
    return Item("buffered rollouts", run.rollouts * each)
