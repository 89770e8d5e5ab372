"""Batches, every registered term with every choice of its options, and simulated ranks: shared by the rl tests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from entropostat.rl.batch import Extra, Stats, TokenBatch
from entropostat.rl.needs import TEACHER
from entropostat.rl.objective import Objective
from entropostat.rl.reduce import aggregate
from entropostat.rl.registry import ADVANTAGES, LOSSES, PENALTIES, REWARDS, WEIGHTS

ROWS = ("answers", "pieces", "texts")
"""Fields of one entry a row that are no tensors."""
LEAVES = (
    "logps",
    "entropy",
    "sum_p2",
    "sum_p2_logp",
    "max_logp",
    "logit",
    "min_p_mass",
    "nucleus_entropy",
    "soft_logp",
    TEACHER,
)
"""What the model computes with gradient."""
TOKEN_FIELDS = (*LEAVES, "min_p_logp", "old_logps", "sampler_logps", "ref_logps", "old_entropy")
TOKEN_FIELDS += ("advantages",)
SLOTS = {"rewards": REWARDS, "advantages": ADVANTAGES, "weights": WEIGHTS, "loss": LOSSES, "penalties": PENALTIES}
SIZES = {"coef": 0.7, "fraction": 0.3, "low": 0.0, "dual": 1.5, "mu": 0.1, "anchor": 0.3, "rho": 0.5, "gain": 0.7}
SIZES |= {"kl_coef": 0.4, "history": 0.8, "sharpen_below": 1.3, "flatten_above": 1.7}
"""Options under which every term acts on a batch of a few tokens."""
OF_TERM = {
    "dppo": {"low": 0.02, "high": 0.02, "cap": 1.2},
    "ipo": {"threshold": 0.05, "square": 0.3},
    "icepop": {"low": 0.9, "high": 1.2},
    "sequence_mask": {"low": 0.9, "high": 1.1},
    "rejection": {"over": "token", "low": 0.9, "high": 1.1},
    "off_policy_mask": {"threshold": -0.1},
    "overlong": {"buffer": 4},
    "repetition": {"gram": 1},
    "truncated_is": {"cap": 1.1, "normalise": True},
}
"""Likewise, where a name means something else in a term."""
BESIDE = {("lp_reg", "scope"): {"estimator": "k3"}, ("kl_ref", "reference"): {"every": 10}}
"""What the choices of an option stand beside, where the default beside them is refused."""


def settings() -> list[tuple[str, str, dict[str, Any]]]:
    """(slot, kind, options): each registered term at acting sizes, once for every value of every choice."""
    triples = []
    for slot, registry in SLOTS.items():
        for kind in registry.names():
            if slot == "loss" and registry[kind].delegated:
                continue  # computed by the trainer's library, not here
            known = fields(registry[kind])
            base = {f.name: SIZES[f.name] for f in known if f.name in SIZES} | OF_TERM.get(kind, {})
            choices = [(f.name, value) for f in known for value in f.metadata.get("choices", ()) if value != f.default]
            triples += [(slot, kind, base)]
            triples += [(slot, kind, base | BESIDE.get((kind, name), {}) | {name: value}) for name, value in choices]
    return triples


def label(setting: tuple[str, str, dict[str, Any]]) -> str:
    _, kind, options = setting
    return "-".join([kind, *(str(v) for v in options.values() if isinstance(v, str))])


ALL = settings()
COMPARED = [*dict.fromkeys(
    c.key for slot, kind, options in ALL for c in getattr(SLOTS[slot].build(kind, options).wanted, "comparisons", ())
)]  # fmt: skip
"""Keys of every comparison with a teacher that they ask for."""
PENALTY = [s for s in ALL if s[0] == "penalties"]
WEIGHT = [s for s in ALL if s[0] == "weights"]
REWARD = [s for s in ALL if s[0] == "rewards"]
ADVANTAGE = [s for s in ALL if s[0] == "advantages"]
LOSS = [s for s in ALL if s[0] == "loss"]
ACTING = [*WEIGHT, *LOSS, *PENALTY]


def term_of(setting: tuple[str, str, dict[str, Any]]) -> Any:
    slot, kind, options = setting
    return SLOTS[slot].build(kind, options)


def objective(setting: tuple[str, str, dict[str, Any]]) -> Objective:
    """The term alone, beside a loss without a clip; an advantage term that reshapes follows a base estimator."""
    slot, kind, options = setting
    part = (kind, kind, options)
    spec: dict[str, Any] = {"loss": ("unclipped", "unclipped", {})}
    base = [("grpo", "grpo", {})] if slot == "advantages" and SLOTS[slot][kind].reshapes else []
    spec[slot] = part if slot == "loss" else [*base, part]
    return Objective.build(spec)


def batch_of(
    seed: int, rows: int = 6, width: int = 7, dtype: torch.dtype = torch.float64, **changes: Any
) -> TokenBatch:
    """Random tokens with holes and ragged ends; every field filled; masked entries 0, as the trainer leaves them."""
    g = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g, dtype=torch.float64).to(dtype)

    mask = (torch.rand(rows, width, generator=g) < 0.8).to(dtype)
    mask[0, 0] = mask[-1, -1] = 1.0
    logps = -normal(rows, width).abs() - 0.05
    values = {
        "logps": logps,
        "old_logps": logps + 0.3 * normal(rows, width),
        "ref_logps": logps + 0.5 * normal(rows, width),
        "entropy": normal(rows, width).abs() + 0.1,
        "old_entropy": normal(rows, width).abs() + 0.1,
        "sum_p2": torch.exp(-normal(rows, width).abs() - 0.05),
        "sum_p2_logp": -torch.exp(-normal(rows, width).abs()),
        "max_logp": -normal(rows, width).abs(),
        "logit": normal(rows, width),
        "min_p_mass": torch.exp(-normal(rows, width).abs()),
        "nucleus_entropy": normal(rows, width).abs(),
    }
    cooled = {t: normal(rows, width).abs() + 2 for t in (0.5, 0.8, 1.2, 2.0)}
    batch = TokenBatch(
        mask=mask,
        advantages=normal(rows),
        rewards=normal(rows),
        groups=torch.arange(rows) // 2,
        uids=torch.arange(rows) + 100 * seed,
        tokens=mask.sum(),
        clip=(0.8, 1.2),
        seed=seed,
        lse={t: torch.where(mask.bool(), v, 0.0) for t, v in cooled.items()},
        **{k: torch.where(mask.bool(), v, 0.0) for k, v in values.items()},
    )
    proxy = (logps + normal(rows, width).abs()).clamp(max=0)
    kept = torch.rand(rows, width, generator=g) < 0.8
    batch = batch.set(
        min_p_logp=torch.where(mask.bool(), torch.where(kept, proxy, -1e4), 0.0),
        min_p_ids=torch.arange(3).expand(rows, width, 3),
        min_p_probs=torch.where(mask.bool().unsqueeze(2), normal(rows, width, 3).softmax(-1), 0.0),
        soft_logp=torch.where(mask.bool(), -normal(rows, width).abs() - 1, 0.0),
    )
    batch = batch.set(old_values=normal(rows, width + 1), truncated=torch.arange(rows) % 3 == 1)
    batch = batch.set(planning=torch.rand(rows, width, generator=g) < 0.4)
    batch = batch.set(reward_parts=normal(rows, 2), reward_weights=(1.0, 0.5))
    ids = torch.randint(0, 4, (rows, width), generator=g)
    words = ("so", " Wait", "</think>", " x ")
    pieces = tuple(tuple(words[token] for token in row) for row in ids.tolist())
    batch = batch.set(
        unshaped=(torch.rand(rows, generator=g) < 0.6).to(dtype),
        token_ids=ids,
        pieces=pieces,
        texts=tuple(map("".join, pieces)),
        lengths=(width - torch.arange(rows) % 3).clamp(min=1),
        longest=width + 1,
        judged=torch.tensor([1.0, 0.0, 0.4, torch.nan, 1.0, 0.0])[torch.arange(rows) % 6],
        answers=tuple("ab"[row[0] % 2] if row[-1] else None for row in ids.tolist()),
    )
    sampled = batch.require("old_logps") + 0.3 * normal(rows, width)
    batch = batch.set(sampler_logps=torch.where(mask.bool(), sampled, 0.0))
    batch = put(batch, to_teacher=torch.where(mask.bool(), normal(rows, width).abs(), 0.0))
    return batch.set(log_z=normal(rows)).set(**changes)


def leaf(batch: TokenBatch, name: str) -> Tensor:
    """A field of one tensor; of the divergences from the teacher, which are all the same here, the first."""
    value = getattr(batch, name)
    return next(iter(value.values())) if name == TEACHER else value


def put(batch: TokenBatch, **values: Tensor) -> TokenBatch:
    """The inverse."""
    if TEACHER in values:
        values |= {TEACHER: {key: values[TEACHER] for key in COMPARED}}  # type: ignore[dict-item]
    return batch.set(**values)


def with_leaves(batch: TokenBatch) -> TokenBatch:
    """Fresh leaves where the loss phase has a gradient."""
    return put(batch, **{name: leaf(batch, name).detach().clone().requires_grad_() for name in LEAVES})


def with_extra(batch: TokenBatch) -> TokenBatch:
    """Every second row once more, as completions beside the ordinary ones."""
    return batch.set(extra=Extra(batch.logps, batch.mask, (batch.uids % 2 == 0).to(batch.logps.dtype), batch.tokens))


def rollout_view(batch: TokenBatch) -> TokenBatch:
    """The same tokens as the rollout phase sees them."""
    return batch.detached().set(logps=batch.old_logps, entropy=batch.old_entropy)


def prepared(o: Objective, batch: TokenBatch) -> dict[str, Stats]:
    return o.rollout(rollout_view(batch)).stats


def total(o: Objective, batch: TokenBatch, stats: dict[str, Stats] | None = None) -> tuple[Tensor, dict[str, Tensor]]:
    """Token mean of the token loss, plus the scalar penalties: what a trainer minimises on this micro-batch."""
    stats = prepared(o, batch) if stats is None else stats
    batch = with_extra(batch) if o.sampler is not None else batch
    token, metrics = o.token_loss(batch, stats)
    loss = aggregate(token, batch.mask)
    for part in o.penalties:
        if part.term.kind == "scalar":
            value, own = o.penalty(part, batch, stats)
            loss, metrics = loss + value, metrics | own
    return loss, metrics


def gradients(loss: Tensor, batch: TokenBatch) -> dict[str, Tensor]:
    names = [n for n in LEAVES if leaf(batch, n).requires_grad]
    if not loss.requires_grad:
        return {n: torch.zeros_like(leaf(batch, n)) for n in names}
    slopes = torch.autograd.grad(loss, [leaf(batch, n) for n in names], allow_unused=True, materialize_grads=True)
    return dict(zip(names, slopes, strict=True))


def rows_of(batch: TokenBatch, index: Any) -> TokenBatch:
    """The batch with these rows only."""
    changes = {f.name: pick(getattr(batch, f.name), index) for f in fields(batch) if f.name not in ("stats", *ROWS)}
    order = torch.arange(len(batch.mask))[index].tolist()
    for name in ROWS:
        value = getattr(batch, name)
        changes[name] = None if value is None else tuple(value[row] for row in order)
    return batch.set(**changes)


def pick(value: Any, index: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: pick(part, index) for key, part in value.items()}
    return value[index] if isinstance(value, Tensor) and value.dim() else value


def rows_of_stats(stats: dict[str, Stats], index: Any) -> dict[str, Stats]:
    return {name: {key: pick(value, index) for key, value in own.items()} for name, own in stats.items()}


class ThreadReducer:
    """One rank of several that run as threads: a collective waits for all of them."""

    def __init__(self, rank: int, slots: list[Any], barrier: threading.Barrier) -> None:
        self.rank, self.slots, self.barrier = rank, slots, barrier
        self.world = len(slots)

    def exchange(self, x: Tensor) -> list[Tensor]:
        self.slots[self.rank] = x
        self.barrier.wait(20)
        seen = list(self.slots)
        self.barrier.wait(20)
        return seen

    def sum(self, x: Tensor) -> Tensor:
        return torch.stack(self.exchange(x)).sum(0)

    def gather(self, x: Tensor) -> Tensor:
        return torch.cat(self.exchange(x))


def on_ranks(work: Sequence[Callable[[ThreadReducer], Any]]) -> list[Any]:
    """Run one function per rank; the first error of any of them is raised here."""
    barrier, slots = threading.Barrier(len(work)), [None] * len(work)

    def run(rank: int) -> Any:
        try:
            return work[rank](ThreadReducer(rank, slots, barrier))
        except BaseException:
            barrier.abort()  # or the other ranks would wait for this one
            raise

    with ThreadPoolExecutor(len(work)) as pool:
        futures = [pool.submit(run, rank) for rank in range(len(work))]
    failures = [f.exception() for f in futures if f.exception() is not None]
    for error in sorted(failures, key=lambda e: isinstance(e, threading.BrokenBarrierError)):
        raise error
    return [f.result() for f in futures]


def same(a: Any, b: Any, tolerance: float = 0.0) -> None:
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance, equal_nan=False)


def near(a: Any, b: Any, tolerance: float = 1e-12) -> None:
    same(a, b, tolerance)
