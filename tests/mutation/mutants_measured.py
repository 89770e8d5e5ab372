"""Faults of what is told: means of parts instead of tokens, zeros for nothing, extremes of one part or rank."""

from __future__ import annotations

from mutation.mutants import Mutant, stem

MATHS = ("tests/unit/test_rl_measured.py", "tests/unit/test_signals.py")
LIVE = (
    "tests/contract/test_nothing_measured.py",
    "tests/contract/test_seams.py",
    "tests/contract/test_terms_in_loss.py",
)
LOOPS = ("tests/unit/test_rl_controllers_loops.py",)


def fault(name: str, file: str, old: str, new: str, tests: tuple[str, ...] = MATHS, folder: str = "rl") -> Mutant:
    return Mutant(f"{stem(file)} {name}", f"{file}.py", old, new, tests, folder)


MEASURED = (
    fault("averages the means of parts", "measured", "value.total if isinstance(value, Mean) else value", "value"),
    fault("counts every part once", "measured", "value.count if isinstance(value, Mean) else value for", "value * 0 + 1 for"),
    fault("takes nothing for 0", "measured", "t / c if c else math.nan", "t / c if c else 0.0"),
    fault("forgets the mask", "measured", "torch.where(chosen, x.detach(), 0.0).sum(dtype=dtype)", "x.detach().sum(dtype=dtype)"),
    fault("takes the extreme of the padding", "measured", "x.detach().masked_fill(~chosen.bool(), torch.inf)", "x.detach()"),
    fault("turns the extremes round", "measured", "-1.0 if isinstance(value, Smallest) else 1.0", "1.0"),
    fault("writes over the first rank", "measured", "table[:, rank_of(reducer)] = values", "table[:, 0] = values"),
    fault("takes the end of one rank", "measured", "sign * max(islice(numbers, world))", "sign * [*islice(numbers, world)][0]"),
    fault("counts in half precision", "measured", "torch.promote_types(x.dtype, torch.float32)", "x.dtype"),
    fault("takes no token for 0", "reduce", "return totals[0] / totals[1]\n", "return totals[0] / totals[1].clamp(min=1)\n", LIVE),
    fault("counts masked sequences", "penalties/siren", "sequences, slope = batch.valid.any(1).sum()", "sequences, slope = batch.valid.new_tensor(batch.valid.size(0)).long()"),
    fault("asks without an entropy", "penalties/aepo", "return None if math.isnan(entropy) else", "return", LIVE),
    fault("has a side without an entropy", "penalties/ter", "torch.where(above.isnan(), above, above.sign())", "above.sign().nan_to_num(-1.0)", LIVE),
    fault("forgets that nothing came", "controllers/measure", 'state.get("missed", 0.0) + 1', 'state.get("missed", 0.0)', LOOPS),
    *(
        fault("never alarms", f"controllers/{name}", f"return missing({given})", 'return state, state["output"]', LOOPS)
        for name, given in (
            *((kind, "{**state, **remembered}") for kind in ("adaptive_kl", "step", "entropic", "pid_lagrangian")),
            *((kind, "state") for kind in ("aer", "safe_asymmetric")),
        )
    ),
    fault("takes nothing for 0", "window", "total / count if count else math.nan", "total / max(count, 1.0)"),
    fault("has a ratio of no token", "signal_sums", ".masked_fill(batch.invalid, -torch.inf)", ""),
    fault("counts masked rows", "signal_sums", "batch.valid.any(1)]", "torch.ones_like(rewards)]"),
    fault("counts unscored prompts", "signal_sums", "dim=1)[scored]", "dim=1)"),
    fault("averages micro-batches", "trl/token_means", "sum(value * n for value, n in parts) / sum(n for _, n in parts)", "sum(value for value, _ in parts) / len(parts)", LIVE, "trainers"),
    fault("hears the empty", "trl/token_means", "if key in part and n]", "if key in part]", LIVE, "trainers"),
    fault("never starts anew", "trl/token_means", "if not any(key in logged for key in self._seen[-1]):", "if False:", LIVE, "trainers"),
    fault("logs the last measurement again", "thermostat", 'told[f"{path}/signal"] = math.nan', "pass", LIVE),
    fault("reads an overflow into empty steps", "diagnose/trust_rules", "np.setdiff1d(part.steps[~np.isfinite(part.values)], empty_steps(log))", "part.steps[~np.isfinite(part.values)]", ("tests/unit/test_diagnose.py",), "entropostat"),
)  # fmt: skip
