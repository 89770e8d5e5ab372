"""Sequences of any lengths become the padded tensors that terms read, and back: gradients flow to each sequence's own log-probs."""

from __future__ import annotations

import logging
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from entropostat.client.sample import CARRIED, Part, Sample
from entropostat.rl.batch import TokenBatch
from entropostat.rl.info import LARGEST_REWARD
from entropostat.rl.rewarded import usable

MAY_BE_NONE = ("answers",)
"""Batch fields of which None is a value."""
MEASURED = ("old_logps", "ref_logps", "old_entropy")
"""Batch fields of which NaN is no value."""
log = logging.getLogger(__name__)


def start_of(sample: Sample, where: str) -> int:
    """The position of its first token; its length where it has none."""
    mask = _row(sample.mask, f"{where}.mask")
    if not bool(((mask == 0) | (mask == 1)).all()):
        raise ValueError(f"{where}.mask: must hold 1 where the policy wrote the token and 0 elsewhere, nothing between")
    hits = mask.nonzero()
    return int(hits[0]) if len(hits) else len(mask)


def padded(samples: Sequence[Sample], starts: Sequence[int], fields: frozenset[str], dtype: torch.dtype) -> TokenBatch:
    """The batch fields ``fields`` of the samples, each from its start on, and mask, lengths and uids."""
    width = max((len(sample.mask) - start for sample, start in zip(samples, starts, strict=True)), default=0)
    values: dict[str, Any] = {"mask": _tokens(samples, starts, "mask", "mask", max(width, 1), dtype)}
    for field in sorted(fields):
        values[field] = _field(samples, starts, field, max(width, 1), dtype)
    mask = values["mask"]
    lengths = torch.where(mask.bool(), torch.arange(1, mask.size(1) + 1), 0).amax(1)
    return TokenBatch(logps=values["old_logps"], lengths=lengths, uids=uids(samples), **values)


def policies(samples: Sequence[Sample], both: bool) -> tuple[Sample, ...]:
    """The samples with old and sampler's log-probs; where not ``both`` have been promised, one stands for the other."""
    held = [name for name in ("old_logps", "sampler_logps") if any(getattr(s, name) is not None for s in samples)]
    if both or len(held) == 2:
        return tuple(samples)
    if not held:
        raise ValueError("samples: none has old_logps or sampler_logps; give those of the policy that sampled, to each")
    other = {"old_logps": "sampler_logps", "sampler_logps": "old_logps"}[held[0]]
    return tuple(replace(sample, **{other: getattr(sample, held[0])}) for sample in samples)


def _field(samples: Sequence[Sample], starts: Sequence[int], field: str, width: int, dtype: torch.dtype) -> Any:
    name = CARRIED[field]
    column = [getattr(sample, name) for sample in samples]
    for i, one in enumerate(column):
        if one is None and field not in MAY_BE_NONE:
            raise ValueError(f"samples[{i}].{name}: missing; the objective reads it, and so every sample must have it")
    if field == "pieces":
        for i, (pieces, sample) in enumerate(zip(column, samples, strict=True)):
            _same_length(pieces, sample, f"samples[{i}].pieces")
        return tuple(tuple(pieces[start:]) for pieces, start in zip(column, starts, strict=True))
    if field == "answers":
        return tuple(column)
    if field == "groups":
        groups = [_group(one, f"samples[{i}].group") for i, one in enumerate(column)]
        places = {group: i for i, group in reversed([*enumerate(groups)])}
        return torch.tensor([places[group] for group in groups])
    if field in ("rewards", "unshaped"):
        rewards = torch.tensor([_number(one, f"samples[{i}].reward") for i, one in enumerate(column)], dtype=dtype)
        return _learnable(rewards)
    if field == "truncated":
        return torch.tensor([bool(one) for one in column])
    if field == "advantages" and all(_is_one(one) for one in column):
        numbers = [_finite(one, f"samples[{i}].advantages") for i, one in enumerate(column)]
        return torch.tensor(numbers, dtype=dtype)
    kind = {"token_ids": torch.int64, "planning": torch.bool}.get(field, dtype)
    return _tokens(samples, starts, name, field, width, kind)


def _tokens(
    samples: Sequence[Sample], starts: Sequence[int], name: str, field: str, width: int, dtype: torch.dtype
) -> Tensor:
    """(N, T), 0 in the padding and, but for the ids of tokens, where the mask is 0."""
    table = torch.zeros(len(samples), width, dtype=dtype)
    for i, (sample, start) in enumerate(zip(samples, starts, strict=True)):
        given, where = getattr(sample, name), f"samples[{i}].{name}"
        if field == "advantages" and _is_one(given):
            given = torch.full((len(sample.mask),), _finite(given, where), dtype=dtype)
        row = _row(given, where)
        _same_length(row, sample, where)
        row = row.to(dtype)
        if field != "token_ids":
            row = row.masked_fill(_row(sample.mask, where) == 0, 0)
        if (field == "advantages" and not bool(row.isfinite().all())) or (
            field in MEASURED and bool(row.isnan().any())
        ):
            raise ValueError(f"{where}: holds a number that is none, on a token of the policy")
        table[i, : len(row) - start] = row[start:]
    return table


def ragged(rows: Sequence[Tensor], part: Part, name: str, mask: Tensor) -> Tensor:
    """(T_i,) tensors with gradient, one a sample of ``part`` -> (B, T), exactly 0 and without gradient where ``mask`` is 0."""
    samples = part.generation.samples
    if len(rows) != len(part.rows):
        raise ValueError(f"{name}: {len(rows)} tensors for {len(part.rows)} samples; give one each, in the same order")
    table = []
    for i, (row, place) in enumerate(zip(rows, part.rows, strict=True)):
        want = len(samples[place].mask)
        if not isinstance(row, Tensor) or row.dim() != 1 or len(row) != want:
            found = list(row.shape) if isinstance(row, Tensor) else type(row).__name__
            raise ValueError(f"{name}[{i}]: must be a tensor of [{want}], as the mask of its sample, not {found}")
        row = row[part.generation.starts[place] :]
        table.append(torch.nn.functional.pad(row, (0, mask.size(1) - len(row))))
    stacked = torch.stack(table)
    stacked = stacked.to(torch.promote_types(stacked.dtype, torch.float32))
    return torch.where(mask.bool().to(stacked.device), stacked, 0.0)


def dtype_of(samples: Sequence[Sample]) -> torch.dtype:
    """The most precise of what is given as tensors, float32 or better."""
    given = [getattr(s, name) for s in samples for name in ("old_logps", "sampler_logps", "advantages")]
    kinds = [torch.float32, *(x.dtype for x in given if isinstance(x, Tensor) and x.is_floating_point())]
    found = torch.float32
    for kind in kinds:
        found = torch.promote_types(found, kind)
    return found


def uids(samples: Sequence[Sample]) -> Tensor:
    """(N,) int64."""
    given = [i if sample.uid is None else sample.uid for i, sample in enumerate(samples)]
    if len(set(given)) < len(given):
        raise ValueError("samples: two have the same uid; give each its own, or none to any")
    return torch.tensor(given, dtype=torch.int64)


def moved(stats: Mapping[str, Mapping[str, Tensor]], part: Part, like: Tensor) -> dict[str, dict[str, Tensor]]:
    """The statistics of a generation for the rows of ``part``, in the precision and on the device of ``like``."""
    return {name: {key: cast(part.of(value), like) for key, value in own.items()} for name, own in stats.items()}


def cast(x: Tensor, like: Tensor) -> Tensor:
    return x.to(like.device, like.dtype) if x.is_floating_point() else x.to(like.device)


def _learnable(rewards: Tensor) -> Tensor:
    """NaN, no reward, in place of what nobody can learn from: one would leave its whole group without a finite advantage."""
    kept = usable(rewards)
    if lost := int((kept.isnan() & ~rewards.isnan()).sum()):
        log.warning("%d rewards are infinite or beyond %g: those samples count as not scored", lost, LARGEST_REWARD)
    return kept


def _row(given: Any, where: str) -> Tensor:
    try:
        row = given.detach().cpu() if isinstance(given, Tensor) else torch.as_tensor(given, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{where}: must be one number a position, a 1-D tensor or a list of T") from error
    if row.dim() != 1:
        raise ValueError(f"{where}: must be one number a position, of shape (T,), not {list(row.shape)}")
    return row


def _same_length(row: Any, sample: Sample, where: str) -> None:
    if len(row) != len(sample.mask):
        raise ValueError(f"{where}: has {len(row)} positions, and the mask has {len(sample.mask)}; give one each")


def _is_one(given: Any) -> bool:
    return isinstance(given, int | float) or getattr(given, "ndim", None) == 0


def _number(given: Any, where: str) -> float:
    try:
        return float(given)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"{where}: must be one number, not {type(given).__name__}") from error


def _finite(given: Any, where: str) -> float:
    value = _number(given, where)
    if not math.isfinite(value):
        raise ValueError(f"{where}: {value} is not finite")
    return value


def _group(given: Any, where: str) -> Hashable:
    """What is equal for equal prompts: tensors and arrays of one number are equal by it, and not by their place in memory."""
    value = given.item() if getattr(given, "ndim", None) == 0 else given
    if isinstance(value, Tensor) or not isinstance(value, Hashable):
        kind = type(given).__name__
        message = f"{where}: must be a number or text, equal for the completions of a prompt, not {kind}"
        raise ValueError(message)  # noqa: TRY004  (as every wrong sample)
    return value
