"""Compare the project with recorded reference outputs, one file at a time.

A file goes to the adapter with the longest matching prefix. The adapter gets inputs and parameters only, and returns
arrays under the recorded names; the comparison, the tolerances and the rules for NaN live here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

VECTORS = Path(__file__).parent / "vectors"
DOCUMENTATION = {".md", ".txt"}
SIDECAR = "sidecar"
"""Under this name the JSON file beside an array file of the same name is read with it."""
DTYPES = {"f64": torch.float64, "f32": torch.float32}
TOLERANCE = {"f64": (1e-8, 2e-9), "f32": (1e-4, 1e-6)}
"""rtol and atol of the float64 run and of its float32 twin. The references add 1e-8 to most of their divisors."""

Arrays = dict[str, np.ndarray]
Inputs = dict[str, Any]
Results = dict[str, Any]


class GoldenError(AssertionError):
    """A file that does not agree, that nobody claims, or that cannot be read."""


@dataclass(frozen=True)
class Where:
    """Values that the reference defines only where ``mask`` is true. Ours must be finite everywhere."""

    values: Any
    mask: Any
    atol: float = 0.0


@dataclass(frozen=True)
class Rows:
    """A set of rows: the order carries no meaning."""

    values: Any


@dataclass(frozen=True)
class Share:
    """A metric that we count in float32, whose reference adds 1e-8 to a divisor."""

    value: Any


@dataclass
class Record:
    """One file, divided into what an adapter may see and what it must reproduce."""

    inputs: Arrays
    params: dict[str, Any]
    outputs: dict[str, Results]
    """Run (f64, f32) -> name -> recorded value."""
    injected: dict[str, Arrays] = field(default_factory=dict)
    """Run -> random draws and tie-breaks of the reference: inputs, although the reference recorded them."""


@dataclass(frozen=True)
class Adapter:
    """How one family of files is recomputed with the project's code."""

    prefixes: tuple[str, ...]
    run: Callable[[Inputs, dict[str, Any]], Results]
    divide: Callable[[Mapping[str, Any]], Record]
    gradients: Callable[[Record], Mapping[str, tuple[str, str]]] = lambda record: {}
    """Name of a gradient -> (scalar output, input). Compared where recorded, checked by differences elsewhere."""
    out_of_scope: Mapping[str, str] = field(default_factory=dict)
    """Recorded name, or its beginning followed by ``*`` -> why nothing compares it."""
    not_offered: str = ""
    """Why the project has nothing of what the whole file records."""

    def __post_init__(self) -> None:
        if not all(self.out_of_scope.values()):
            raise ValueError(f"{self.prefixes}: give a reason for every output that is out of scope")

    def excused(self, name: str) -> bool:
        return any(
            name == pattern or (pattern.endswith("*") and name.startswith(pattern[:-1]))
            for pattern in self.out_of_scope
        )


def folder() -> Path:
    """The vectors to compare with: ENTROPOSTAT_GOLDEN, or the project's own copy."""
    return Path(os.environ.get("ENTROPOSTAT_GOLDEN") or VECTORS)


def files(where: Path) -> list[Path]:
    """Every file but documentation. An unknown ending stays in, so that reading it fails aloud."""
    if not where.is_dir():
        raise GoldenError(f"{where} is no folder: ENTROPOSTAT_GOLDEN must name one that holds golden vectors")
    paths = sorted(p for p in where.iterdir() if p.is_file() and not p.name.startswith("."))
    paths = [p for p in paths if p.suffix not in DOCUMENTATION]
    paths = [p for p in paths if not (p.suffix == ".json" and p.with_suffix(".npz") in paths)]
    if not paths:
        raise GoldenError(f"{where} holds no golden vectors")
    return paths


def adapter_for(path: Path, adapters: Iterable[Adapter]) -> Adapter:
    """Longest prefix that ends where a word of the file name ends."""
    matching = [(len(p), a) for a in adapters for p in a.prefixes if f"{path.stem}_".startswith(f"{p}_")]
    if not matching:
        raise GoldenError(f"{path.name}: no adapter claims this file; add its prefix to tests/golden/adapters.py")
    return max(matching, key=lambda pair: pair[0])[1]


def read(path: Path) -> dict[str, Any]:
    try:
        if path.suffix == ".json":
            return dict(json.loads(path.read_text()))
        with np.load(path, allow_pickle=False) as data:
            arrays = {key: data[key] for key in data.files}
        beside = path.with_suffix(".json")
        return arrays | ({SIDECAR: json.loads(beside.read_text())} if beside.exists() else {})
    except Exception as error:
        raise GoldenError(
            f"{path.name}: cannot be read as {path.suffix or 'a file without ending'}: {error}"
        ) from error


def compare_file(path: Path, adapters: Iterable[Adapter]) -> int:
    """Number of arrays compared. Raises GoldenError with every disagreement of the file."""
    adapter = adapter_for(path, adapters)
    record = adapter.divide(read(path))
    if adapter.not_offered:
        return 0
    gradients = adapter.gradients(record)
    compared, problems = 0, []
    for run, recorded in record.outputs.items():
        inputs = tensors(record, run, {variable for _, variable in gradients.values()})
        ours = adapter.run(inputs, record.params)
        for name, (source, variable) in gradients.items():
            # A result that the graph does not reach has gradient 0: nothing was selected, nothing is valid.
            (gradient,) = torch.autograd.grad(
                ours[source], inputs[variable], retain_graph=True, allow_unused=True, materialize_grads=True
            )
            ours[name] = gradient
            if not (np.isfinite(recorded.get(name, np.nan)).all() and np.isfinite(recorded.get(source, 0.0)).all()):
                recorded = {key: value for key, value in recorded.items() if key != name}
                if run != "f64":
                    continue
                problems += differences(adapter, record, name, source, variable, gradient)
                compared += 1
        for name, theirs in recorded.items():
            if adapter.excused(name):
                continue
            if name not in ours:
                problems.append(f"{run} {name}: recorded, but the adapter neither returns nor excuses it")
                continue
            problem = disagreement(name, ours[name], theirs, run, record, recorded)
            problems += [f"{run} {name}: {problem}"] if problem else []
            compared += 1
    if not compared:
        problems.append("nothing was compared")
    if problems:
        raise GoldenError("\n".join([f"{path.name}: {len(problems)} disagreement(s)", *problems]))
    return compared


def tensors(record: Record, run: str, variables: Iterable[str] = (), **changes: np.ndarray) -> Inputs:
    """Inputs in the precision of the run; fresh leaves for the variables that get a gradient."""
    dtype = DTYPES[run]
    inputs: Inputs = {}
    for name, value in (record.inputs | record.injected.get(run, {}) | changes).items():
        x = torch.from_numpy(np.array(value))
        inputs[name] = x.to(dtype) if x.is_floating_point() else x
    for name in variables:
        inputs[name].requires_grad_()
    return inputs


def disagreement(name: str, ours: Any, theirs: Any, run: str, record: Record, recorded: Results) -> str | None:
    """What is wrong, or None."""
    rtol, atol = TOLERANCE[run]
    if isinstance(ours, Share):
        ours, rtol, atol = ours.value, max(rtol, 2e-7), max(atol, 1e-8)
    mask = None
    if isinstance(ours, Where):
        atol = max(atol, ours.atol)
        ours, mask = ours.values, array(ours.mask).astype(bool)
    if isinstance(ours, Rows):
        ours, theirs = sorted_rows(ours.values), sorted_rows(theirs)
    x, y = array(ours), np.asarray(theirs)
    if x.shape != y.shape:
        return f"shape {x.shape}, recorded {y.shape}"
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        return "not finite"
    if y.ndim == 0 and y.dtype.kind == "f" and np.isnan(y):
        y = np.asarray(mean_over_rows_with_tokens(name, record, recorded))
    if y.dtype.kind == "f" and np.isnan(y).any():
        # The reference's own 0 / 0. Ours is finite, and checked by differences where it is a gradient.
        mask = ~np.isnan(y) if mask is None else mask & ~np.isnan(y)
    if mask is not None:
        x, y = x[mask], y[mask]
    if y.dtype.kind in "biu":
        return None if np.array_equal(x, y) else f"{int((x != y).sum())} of {y.size} differ"
    wrong = ~np.isclose(x, y, rtol=rtol, atol=atol)
    if wrong.any():
        i = np.argmax(wrong)
        return f"{int(wrong.sum())} of {y.size} differ, the first by {x.flat[i] - y.flat[i]:.3e} from {y.flat[i]:.9g}"
    return None


def mean_over_rows_with_tokens(name: str, record: Record, recorded: Results) -> float:
    """What the READMEs recommend where a reference divides 0 by 0 for a fully masked row: leave the row out."""
    mode = record.params.get("loss_agg_mode", name.split(":")[-1])
    loss = recorded.get("loss_mat", record.inputs.get("loss_mat"))
    if mode != "seq-mean-token-mean" or loss is None:
        raise GoldenError(f"{name}: a NaN was recorded that no README explains: say in the harness what it should be")
    mask = record.inputs["response_mask"] > 0
    means = [row[m].mean() for row, m in zip(loss, mask, strict=True) if m.any()]
    return float(np.mean(means)) if means else 0.0


def differences(
    adapter: Adapter, record: Record, name: str, source: str, variable: str, gradient: Tensor, step: float = 1e-6
) -> list[str]:
    """Central differences of our own float64 result: a missing or superfluous detach shows up here."""
    base = record.inputs[variable].astype(np.float64)
    places = {*list(np.ndindex(base.shape))[:2], *(tuple(i) for i in np.argwhere(array(gradient) != 0)[:3])}
    problems = []
    for place in places:
        values = []
        for sign in (1, -1):
            moved = base.copy()
            moved[place] += sign * step
            values.append(float(adapter.run(tensors(record, "f64", **{variable: moved}), record.params)[source]))
        slope, ours = (values[0] - values[1]) / (2 * step), float(gradient[place])
        if not np.isclose(slope, ours, rtol=1e-4, atol=1e-7):
            problems.append(f"f64 {name}{list(map(int, place))}: {ours:.9g}, by central differences {slope:.9g}")
    return problems


def array(x: Any) -> np.ndarray:
    return x.detach().numpy() if isinstance(x, Tensor) else np.asarray(x)


def sorted_rows(x: Any) -> np.ndarray:
    rows = array(x)
    return rows[np.lexsort(rows.T[::-1])]
