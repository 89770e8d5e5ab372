"""Faults of the autopilot: the tilt of the weights, the two-actuator core, its forecast, followers, and the chosen tokens."""

from __future__ import annotations

from mutation.mutants import RANKS, Mutant

LOOP = ("tests/unit/test_rl_autopilot.py", "tests/unit/test_rl_forecast.py", "tests/unit/test_rl_follow.py")
TILT = (
    "tests/unit/test_rl_tilt.py",
    "tests/theory/test_theory_tilt.py",
    "tests/unit/test_rl_properties.py",
    "tests/unit/test_rl_declared.py",
)


def tilt(name: str, old: str, new: str, tests: tuple[str, ...] = TILT) -> Mutant:
    return Mutant(f"entropy_tilt {name}", "weights/entropy_tilt.py", old, new, tests)


def core(name: str, old: str, new: str) -> Mutant:
    return Mutant(f"autopilot {name}", "controllers/autopilot.py", old, new, LOOP)


def forecast(name: str, old: str, new: str) -> Mutant:
    return Mutant(f"forecast {name}", "controllers/forecast.py", old, new, LOOP)


WEIGHT = (
    tilt("turns its sign", "(gains.unsqueeze(1) * nodes)", "(-gains.unsqueeze(1) * nodes)"),
    tilt("forgets the sign of the advantage", "*sums, a.sign())", "*sums, a.abs().sign())"),
    tilt("sees padding", "torch.where(batch.valid, predicted_dh(", "(lambda _, x, y: x)(batch.valid, predicted_dh("),
    tilt("counts advantages of padding", "a = torch.where(batch.valid, a, 0.0)", "a = a + 0.0"),
    tilt("loses the sum", "torch.where(tilted > 0, total / tilted.clamp(min=1e-300), 1.0)", "1.0"),
    tilt("has no floor", ">= self.cosine_floor", ">= -1.0"),
    tilt("looks once", "for _ in range(2):", "for _ in range(1):"),
    tilt("stays on its rank", "batch.reducer.sum(on_nodes(", "(on_nodes(", RANKS),
    tilt("scales on its rank", "batch.mask, batch.reducer", "batch.mask", RANKS),
    tilt("swaps its nodes", "values * (1 - way)", "values * way"),
    tilt("reports one side", "(full[0] - full[1]) / 2", "full[0]"),
    tilt("predicts without weights", "predicted=dh * weight", "predicted=dh"),
    tilt(
        "turns the probe", 'batch.require("entropy") - stats["entropy"]', 'stats["entropy"] - batch.require("entropy")'
    ),
)

CORE = (
    core("turns its error", "(target - signal) / self._scale", "(signal - target) / self._scale"),
    core("winds up", 'max(state["integral"], high - p - bump - feed)', "integral"),
    core("winds down", 'min(state["integral"], low - p - bump - feed)', "integral"),
    core("kicks on a new target", "+ self.kp * (before - error)", ""),
    core("jumps through its gate", 'bump = state["demand"] - p - feed', "pass"),
    core("keeps its bump", 'state.get("bump", 0.0) * (1 - 1 / self.handover)', 'state.get("bump", 0.0)'),
    core("turns its bump", "self.kp * (before - error)", "self.kp * (error - before)"),
    core("never waits", 'or new["smoothed"] <= target', "or True"),
    core("has no patience", "or late or", "or"),
    core("closes its gate again", 'state.get("gate", 0.0) or late', "late"),
    core("forgets skipped updates", '(1 + state["missed"])', "1"),
    core("gives the same work twice", "(demand - output)", "demand"),
    core(
        "never hands over",
        'way = -1.0 if authority < self.authority_low * best else state["way"]',
        'way = state["way"]',
    ),
    core("has no hysteresis", "self.authority_low * best", "self.authority_high * best"),
    core("never takes back", "way = 1.0 if authority > self.authority_high * best else way", "pass"),
    core("hands over at once", "way / self.handover", "way"),
    core("hands over to nobody", " or not self.bonus_gain:\n            return {}", ":\n            return {}"),
    core("has no edge", "return over / (1 - share) if small else over", "return over"),
    core("turns its feed-forward", "cut(-self.kp * self._forecast", "cut(self.kp * self._forecast"),
    core("feeds without a bound", "/ self._scale(target), limit)", "/ self._scale(target), 1e9 * limit)"),
    core("acts on nothing", "return missing(state, self.alarm)", 'return missing(state | {"output": 0.0}, self.alarm)'),
)

LINE = (
    forecast("believes in anything", "slope - CONFIDENCE * spread > 0", "True"),
    forecast("believes too early", "n < LEAST", "n < 0"),
    forecast("has no largest slope", "min(slope, self.slope_max)", "slope"),
    forecast("turns its line", "xy / xx", "xx / xy"),
    forecast("never starts anew", 'if generation != state["line_generation"]:', 'if state["line_generation"] < 0:'),
    forecast("forgets the sum", 'new["foreseen"] + step', "step"),
    forecast("trusts a gap", 'or not state["line_whole"]', ""),
)

WIRING = (
    Mutant(
        "follow takes the old state",
        "control.py",
        "self._followed(state | reached)",
        "self._followed(reached | state)",
        LOOP,
    ),
    Mutant("follow lets NaN through", "controllers/follow.py", "not math.isfinite(value)", "False", LOOP),
    Mutant(
        "follow begins at 0",
        "control.py",
        "replace(control, template=control.objective(control.values(control.init())))",
        "control",
        LOOP,
    ),
    Mutant("follow takes any key", "controllers/follow.py", "controller.key not in leader.init()", "False", LOOP),
    Mutant(
        "follow follows followers", "controllers/follow.py", "elif isinstance(leader, Follow):", "elif False:", LOOP
    ),
    Mutant(
        "bonus takes the certain", "penalties/entropy_bonus.py", "(entropy >= threshold)", "(entropy < threshold)", TILT
    ),
    Mutant(
        "bonus takes the other share", "penalties/entropy_bonus.py", "1 - self.top_fraction", "self.top_fraction", TILT
    ),
    Mutant(
        "bonus chooses on its rank",
        "penalties/entropy_bonus.py",
        "batch.reducer.gather(entropy[batch.valid])",
        "entropy[batch.valid]",
        RANKS,
    ),
)
