"""Adapters of TIP: distillation losses with their gradient, sampling weights, and the scores of its selections."""

from __future__ import annotations

import math
import re
from typing import Any

import torch
from golden.harness import Adapter, Inputs, Record, Results, Where
from golden.layouts_tip import tip_files
from torch import Tensor

from entropostat.rl.batch import TokenBatch
from entropostat.rl.comparison import Comparison
from entropostat.rl.reduce import LOCAL
from entropostat.rl.registry import WEIGHTS
from entropostat.rl.vocab import Wanted, vocab_statistics
from entropostat.rl.vocab_teacher import Side, teacher_divergences
from entropostat.rl.vocab_tiles import Tiles
from entropostat.rl.weights.tip import Tip, draw_weight, in_range, median

TILES = Tiles(4, 3)
DRAW = re.compile(r"weights_alpha(\d+)_gamma(\d+)")
JSD = re.compile(r"jsd_(\d)(\d+)")


def entropy(logits: Tensor) -> Tensor:
    labels, eye = torch.zeros(len(logits), dtype=torch.long), torch.eye(logits.shape[1], dtype=logits.dtype)
    found = vocab_statistics(logits, eye, labels, Wanted(("entropy",)), tiles=TILES).entropy
    assert found is not None
    return found


def divergence(student: Tensor, teacher: Tensor, *asked: Comparison) -> tuple[Tensor, ...]:
    eye = torch.eye(student.shape[1], dtype=student.dtype)
    return teacher_divergences(Side(student, eye), Side(teacher, eye), asked, TILES)


def selected(h: Tensor, d: Tensor, select: str) -> Tensor:
    """Sorted places of the tokens that the term keeps at half of them."""
    term = WEIGHTS.build("tip", {"select": select, "ratio": 0.5, "scope": "micro"})
    assert isinstance(term, Tip)
    row = h.unsqueeze(0)
    key = Comparison(term.divergence).key
    batch = TokenBatch(
        logps=torch.zeros_like(row), mask=torch.ones_like(row), entropy=row, to_teacher={key: d.unsqueeze(0)}
    )
    return term.prepare(batch)["keep"][0]


def reference(student: Tensor, teacher: Tensor, top_k: int | None, names: list[str]) -> Results:
    """What the released code computes."""
    v = student.shape[1]
    h = entropy(student) / math.log(v)
    forward, reverse, jsd = divergence(
        student, teacher, Comparison("forward_kl"), Comparison("reverse_kl"), Comparison("jsd", top_k=top_k)
    )
    d = jsd / math.log(2)
    found: Results = {"norm_entropy": h, "norm_jsd": d, "teacher_norm_entropy": entropy(teacher) / math.log(v)}
    found |= {"reverse_kl": reverse.mean(), "forward_kl": forward.mean()}
    found["n_keep_50pct"] = int(selected(h.detach(), d.detach(), "entropy_topk").sum())
    for name in names:
        if match := DRAW.fullmatch(name):
            alpha, gamma = (
                float(f"{x[0]}.{x[1:]}") if x.startswith("0") and len(x) > 1 else float(x) for x in match.groups()
            )
            found[name] = draw_weight(h, alpha, d, gamma)
        elif match := JSD.fullmatch(name):
            found[name] = divergence(student, teacher, Comparison("jsd", beta=float(f"{match[1]}.{match[2]}")))[
                0
            ].mean()
    return found


def formula(student: Tensor, teacher: Tensor) -> Results:
    h, (d,) = entropy(student), divergence(student, teacher, Comparison("reverse_kl"))
    everywhere = torch.ones_like(h, dtype=torch.bool)
    near, far = (in_range(x, everywhere, LOCAL) for x in (h, d))
    term = WEIGHTS.build("tip", {"select": "q3"})
    batch = TokenBatch(logps=h[None] * 0, mask=torch.ones_like(h)[None])
    assert isinstance(term, Tip)
    # Whether a token at a median lies beside it is said nowhere.
    beside = (h != median(h, LOCAL)) & (d != median(d, LOCAL))
    score = {
        name: WEIGHTS.build("tip", {"select": name})._score(batch, h[None], d[None])[0]  # type: ignore[attr-defined]
        for name in ("q3", "soft_or")
    }
    return {
        "entropy_nats": h,
        "reverse_kl_per_token": d,
        "h_minmax": near,
        "delta_minmax": far,
        "soft_or": score["soft_or"],
        "q3_score_median": score["q3"],
        "q3_mask_median_split": Where(selected(h, d, "q3_median"), beside),
        "top50_entropy_idx": selected(h, d, "entropy_topk").nonzero()[:, 0],
        "top50_softor_idx": selected(h, d, "soft_or").nonzero()[:, 0],
    }


def tip(x: Inputs, params: dict[str, Any]) -> Results:
    results: Results = {}
    for at, how in params["settings"].items():
        if how["kind"] == "reward_weight":
            continue
        student, teacher = (x[f"{name}_logits{how['of']}"] for name in ("student", "teacher"))
        if how["kind"] == "reference":
            found = reference(student, teacher, how["top_k"], how["names"])
        else:
            found = formula(student.detach(), teacher)
        results |= {f"{name}{at}": value for name, value in found.items()}
    return results


def with_names(data: Any) -> Record:
    """What a case has recorded says at which powers and shares."""
    record = tip_files(data)
    for at, how in record.params["settings"].items():
        how["names"] = [n.removesuffix(at) for run in record.outputs.values() for n in run if n.endswith(at)]
    return record


def gradients(record: Record) -> dict[str, tuple[str, str]]:
    cases = [at for at, how in record.params["settings"].items() if how["kind"] == "reference"]
    return {f"reverse_kl_grad{at}": (f"reverse_kl{at}", f"student_logits{at}") for at in cases}


ADAPTERS = (
    Adapter(
        ("tip",),
        tip,
        with_names,
        gradients,
        out_of_scope={
            "teacher_token_prob*": "a statistic of the released trainer's log, which the project does not report",
            "weights@*": "a softmax over rewards, which weighs completions and selects no tokens; off in the release",
        },
    ),
)
