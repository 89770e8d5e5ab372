"""What a forward keeps for its backward, counted op by op in transformers' own Llama-like layer with SDPA or flash attention.

The accounting is that of arXiv:2205.05198 (section 4), done again for this layer: RMSNorm in float32, rotary embedding,
grouped keys, SwiGLU, no dropout. r: bytes of the residual stream, c: bytes of products' operands.
"""

from __future__ import annotations

from entropostat.scaling.item import GENERATE, HEAD, LAYERS, Item
from entropostat.scaling.precision import precision
from entropostat.scaling.run import Run

TILE_TOKENS, TILE_VOCABULARY = 4096, 32768
"""TRL's tile (kernels/chunked_logprob.py); its buffer has the full width, however small the vocabulary."""
OWN_TOKENS, OWN_VOCABULARY = 4096, 16384
"""Ours on a GPU (rl/vocab_tiles.py)."""


def layer(run: Run) -> float:
    """Bytes that one layer keeps for B (P + T) tokens.

    norm, twice    its input in float32 (4 H), the normalised states (r H), and what the products take: one tensor (c H), or
                   under autocast one cast for each of the 3 and 2 products
    attention      q and k after the rotation, v, the output: c (2 A + 2 K'); K' is K, or A where keys are repeated for each
                   query (SDPA with a padding mask); the log-sum-exp, 4 bytes a head
    qk_norm        both norms of Qwen3: 4 and c bytes for each number of q and k
    feed-forward   gate, its SiLU, up, and their product: 4 c F
    mask           SDPA takes the padding mask as floats: c B (P + T)^2 in each layer, kept
    """
    shape, bytes_ = run.shape, precision(run)
    r, c = bytes_.residual, bytes_.compute
    casts = (3 + 2) if bytes_.autocast else 2
    keys = shape.queries
    per_token = shape.hidden * (2 * 4 + 2 * r + casts * c)
    per_token += 2 * c * (shape.queries + keys) + 4 * shape.heads + 4 * c * shape.intermediate
    if shape.qk_norm:
        per_token += (4 + c) * (shape.queries + shape.keys)
    return run.tokens * per_token + c * run.tokens * run.length


def kept(run: Run) -> float:
    """Of all layers: everything, or with gradient checkpointing each layer's input (r H); and the last norm."""
    bytes_, hidden = precision(run), run.shape.hidden
    last = run.tokens * hidden * (4 + 2 * bytes_.residual)
    if run.checkpointing:
        return run.shape.layers * run.tokens * hidden * bytes_.residual + last
    return run.shape.layers * layer(run) + last


def scored_tokens(run: Run) -> int:
    """The head projects the completion's tokens on a GPU, every position without Triton."""
    return run.micro * (run.completion if run.device == "gpu" else run.length - 1)


def head(run: Run) -> float:
    """TRL's fused head in its backward pass: no [B, T, V] tensor, but one tile of logits, and both gradients in float32.

    tile        min(tokens, 4096) * 32768 * c; without Triton eight more of the width of the vocabulary in float32, the
                steps from logits to their gradient
    gradients   4 V H of the head's weight, and 4 H for each projected token with its hidden states (c H)
    Our own pass adds its tile: c, and in torch 8 more bytes, of 4096 * 16384 numbers, and the same two gradients.
    """
    shape, c, tokens = run.shape, precision(run).compute, scored_tokens(run)
    rows = min(tokens, TILE_TOKENS)
    frozen = run.peft is not None
    gradients = (0 if frozen else 4 * shape.table) + tokens * shape.hidden * (4 + c)
    tile = rows * TILE_VOCABULARY * c
    if run.device == "cpu":
        tile += 8 * rows * min(shape.vocabulary, TILE_VOCABULARY) * 4
    if run.own_pass:
        own = min(tokens, OWN_TOKENS) * min(shape.vocabulary, OWN_VOCABULARY)
        # The first pass's gradient of the weight waits for the second's.
        gradients += (0 if frozen else 4 * shape.table) + tokens * shape.hidden * 4
        tile = max(tile, own * (c + 8))
    if run.teacher is not None:
        # The pass beside it (rl/vocab_teacher.py): both tiles, three of the size of what is compared, the policy's gradients
        # once more, and both models' hidden states.
        tile = max(tile, min(tokens, OWN_TOKENS) * min(shape.vocabulary, OWN_VOCABULARY) * (2 * c + 5 * 4))
        gradients += (0 if frozen else 4 * shape.table) + tokens * (shape.hidden * 4 + run.teacher.hidden * c)
    return tile + gradients


def activations(run: Run) -> list[Item]:
    """A second trunk of a critic keeps as much again. In a layer's backward its own are alive (with checkpointing they have
    just been computed again) and the gradients of its widest step, 2 c F beyond what that has freed."""
    trunks = 2 if run.critic is not None and run.critic.trunk == "separate" else 1
    c = precision(run).compute
    inner = run.tokens * 2 * c * run.shape.intermediate + (layer(run) if run.checkpointing else 0)
    saved = trunks * kept(run)
    return [
        Item("activations", saved, (HEAD,)),
        # Without checkpointing they have mostly been freed when all gradients are there.
        Item("activations", saved if run.checkpointing else layer(run), (LAYERS,)),
        Item("logits tiles, head's gradient", head(run), (HEAD,)),
        Item("one layer's backward", inner, (LAYERS,)),
    ]


def generation(run: Run) -> list[Item]:
    """Sampling in process: all sequences of the rank's generation at once. With vLLM its share holds all this.

    KV cache   2 K L numbers for each token; one layer's is there twice while it grows. Under autocast the rotated keys come
               in r bytes and the values in c.
    sampling   the logits of one position, V for each sequence, in c bytes and four times in float32 on the way to a token
    prompt     its forward keeps no activations, but the widest step of one layer: 3 c F and 2 r H for each token; the
               cache of the completion is not there yet
    """
    if run.vllm:
        return []
    shape, bytes_ = run.shape, precision(run)
    cache = run.rollouts * run.length * shape.keys * (bytes_.residual + bytes_.compute) * (shape.layers + 1)
    sampling = run.rollouts * shape.vocabulary * (bytes_.compute + 4 * 4)
    prompt = run.rollouts * run.prompt * (3 * bytes_.compute * shape.intermediate + 2 * bytes_.residual * shape.hidden)
    not_yet = cache * run.completion / run.length
    return [
        Item("KV cache", cache, (GENERATE,)),
        Item("sampling", max(sampling, prompt - not_yet), (GENERATE,)),
    ]
