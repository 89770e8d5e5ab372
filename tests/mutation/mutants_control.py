"""Faults of the controllers."""

from __future__ import annotations

from mutation.mutants import CONTROLLERS, Mutant

GOLDEN = ("tests/golden",)


def fault(file: str, name: str, old: str, new: str, tests: tuple[str, ...] = CONTROLLERS) -> Mutant:
    return Mutant(f"{file} {name}", f"controllers/{file}.py", old, new, tests)


PID = (
    fault("pid", "turns its error", "self._sign * (target - signal)", "self._sign * (signal - target)"),
    fault("pid", "forgets the effect", '1.0 if self.effect == "raises" else -1.0', "1.0"),
    fault("pid", "pushes on the derivative", "d = -self.kd * self._sign", "d = self.kd * self._sign"),
    fault("pid", "winds up", "raw > high and i > 0", "False"),
    fault("pid", "winds down", "raw < low and i < 0", "False"),
    fault(
        "pid",
        "forgets what it missed",
        'dt, last = new["smoothed"], 1 + state["missed"]',
        'dt, last = new["smoothed"], 1',
    ),
    fault("pid", "skips the warm-up", 'new["count"] <= self.warmup or not', "not"),
    fault(
        "pid",
        "adds in the velocity form to what a bound cut",
        "self._value(self._offset(last) + change)",
        "self._value(change)",
    ),
    fault("pid", "forgets the last p", 'still - state.get("p", still) + i', "still + i"),
    fault("pid", "forgets the last d", 'i + d - state.get("d", d)', "i + d"),
    fault("pid", "kicks where its gate opens", "change = i if opens else still", "change = still"),
    fault("pid", "forgets that its gate was shut", "if opens and self.ki:", "if False:"),
    fault("pid", "kicks on a new target", "+ (still - p)", "+ 0.0"),
    fault("pid", "never kicks on a new target", "if self.ki else p\n", "if True else p\n"),
    fault("pid", "lets back calculation in", "integral += self.back_gain", "integral -= self.back_gain"),
    fault("pid", "takes everything out", "self.back_gain * (", "1.0 * ("),
    fault("pid", "does not smooth its derivative", "(1 - self.derivative_smoothing) * d", "d"),
    fault("pid", "forgets its dead band", "abs(error) - self.dead_band", "abs(error)"),
    fault(
        "pid",
        "leaps over its dead band",
        "max(abs(error) - self.dead_band, 0.0)",
        "(abs(error) if abs(error) > self.dead_band else 0.0)",
    ),
    fault("pid", "rises without slew", "min(self.high, self._value(u + self.slew))", "self.high"),
    fault("pid", "falls without slew", "max(self.low, self._value(u - self.slew))", "self.low"),
    fault("pid", "slews past its bound", "min(self.high, self._value(u + self.slew))", "self._value(u + self.slew)"),
    fault("pid", "clips in another unit", "self.measurement_clip * self._scale(target)", "self.measurement_clip"),
    fault("pid", "clips nothing", "cut(measured, bound)", "measured"),
    fault("pid", "hides the alarm", "missing(state, self.alarm)", "missing(state, 10**9)"),
    fault("pid", "keeps the alarm", '"missed": 0.0, "alarm": 0.0', '"missed": 0.0'),
    fault("pid", "has no gate", 'or not new.get("gate", 1.0)', ""),
    fault("pid", "acts without a target", "if math.isnan(target):", "if False:"),
)

MEASURE = (
    fault("measure", "smooths with a bias", "average / weight", "average"),
    fault("measure", "takes infinity", "if math.isfinite(x) else math.nan", "if not math.isnan(x) else math.nan"),
    fault("measure", "takes what overflows", "cut(x, HUGE) if", "x if"),
    fault("measure", "cuts one side", "min(max(x, -bound), bound)", "min(x, bound)"),
    fault("measure", "counts no gap", 'state.get("missed", 0.0) + 1', "1.0"),
    fault("measure", "opens the gate on any side", "side != first or side == 0", "True"),
    fault("measure", "shuts the gate again", ' or bool(state.get("gate", 0.0))', ""),
    fault("measure", "never opens by time", "timeout is not None and waited > timeout", "False"),
    fault("measure", "opens one too early", "waited > timeout", "waited >= timeout"),
)

OPEN_LOOP = (
    fault("schedule", "holds its lines", "(x - x0) / (x1 - x0)", "0.0"),
    fault(
        "schedule",
        "mixes its units",
        '"step" if self.unit == "steps" else "progress"',
        '"progress" if self.unit == "steps" else "step"',
    ),
    fault("schedule", "forgets the initial value", 'self._value_at(x) * state["initial"]', "self._value_at(x)"),
    fault("schedule", "takes the last for the initial value", "/ (count + 1)", "/ 1.0"),
    fault("schedule", "never settles", "if known(schedule, state) or", "if"),
    fault("schedule", "does not wait", 'state["settled"] >= schedule.settle', 'state["settled"] >= 1'),
    fault("target", "does not wait", "value if known(schedule, after) else math.nan", "value"),
    fault("target", "forgets what it measured", "state.get(PREFIX + key, value)", "value"),
    fault("target", "takes zero", "all(v > 0 for v in values)", "all(v >= 0 for v in values)"),
    fault("constant", "is zero", '{"output": self.value}, self.value', '{"output": 0.0}, 0.0'),
)

RULES = (
    fault("step", "compares the other way", "measured <= target", "measured >= target"),
    fault("step", "only rises", "else -self.delta", "else self.delta"),
    fault("step", "is always on", "coefficient if below else 0.0", "coefficient"),
    fault("step", "is not clipped", "min(max(coefficient, self.low), self.high)", "coefficient"),
    fault("adaptive_kl", "turns its error", "measured / target - 1", "1 - measured / target"),
    fault("adaptive_kl", "takes absolute errors", "measured / target - 1", "measured - target"),
    fault(
        "adaptive_kl",
        "is not clipped",
        "min(max(measured / target - 1, -self.clip), self.clip)",
        "measured / target - 1",
    ),
    fault("adaptive_kl", "counts no samples", "error * self.samples /", "error /"),
    fault("adaptive_kl", "reaches zero", "min(max(output, self.low), self.high)", "min(max(output, 0.0), self.high)"),
    fault("pid_lagrangian", "turns its error", "measured - target, state", "target - measured, state"),
    fault(
        "pid_lagrangian",
        "falls below zero",
        'max(0.0, state["integral"] + self.ki * error)',
        'state["integral"] + self.ki * error',
    ),
    fault("pid_lagrangian", "winds up", "min(integral, self.high) if self.bound_integral else integral", "integral"),
    fault("pid_lagrangian", "pushes on a fall", "max(0.0, cost - past[0])", "cost - past[0]"),
    fault("pid_lagrangian", "compares with the last cost", "cost - past[0]", "cost - past[-1]"),
    fault("pid_lagrangian", "smooths the error with a bias", "p_sum / (1 - self.smoothing**count)", "p_sum"),
    fault(
        "pid_lagrangian",
        "starts with a rise",
        "if self.debias and len(past) < self.delay",
        "if self.debias and not past",
    ),
    fault("aer", "leads the other way", "1.0 if measured < target else -1.0", "1.0 if measured > target else -1.0"),
    fault("aer", "turns its error", "(target - measured) /", "(measured - target) /"),
    fault("aer", "does not wait", "if not known(self._initial, new):", "if False:"),
    fault("aer", "has no bound", "min(max(raw, self.low), self.high)", "raw"),
    fault("history", "keeps the oldest", "[-size:]", "[:size]"),
)

SAFE = (
    fault("safe", "pulls by half of its slope", "2 * self.strength * gate", "self.strength * gate"),
    fault("safe", "pulls below its threshold", "excess = max(smooth - tau, 0.0)", "excess = abs(smooth - tau)"),
    fault("safe", "forgets the phase", '* self.phases[int(new["phase"])]', "* 1.0"),
    fault("safe", "tightens on a rise", 'self.threshold + new["pid"]', 'self.threshold - new["pid"]'),
    fault(
        "safe",
        "opens its gate at high entropy",
        'self.floor / (max(state["entropy"], 0.0) + 0.1)',
        'max(state["entropy"], 0.0) / self.floor',
    ),
    fault(
        "safe",
        "has no upper gate",
        "gate if self.gate_max is None or self.reference else min(gate, self.gate_max)",
        "gate",
    ),
    fault("safe", "has no lower gate", ", 0.5)", ", 0.0)"),
    fault("safe", "smooths with a bias", "if debias else 1.0", "if False else 1.0"),
    fault("safe", "winds up", 'cut(state["integral"] + error, 1.0)', 'state["integral"] + error', GOLDEN),
    fault("safe", "reads the integral before it moves", "self.ki * integral", 'self.ki * state["integral"]', GOLDEN),
    fault("safe", "pushes on the derivative", 'error - state["prev_error"]', 'state["prev_error"] - error', GOLDEN),
    fault("safe", "forgets its velocity", "ema - before - self.velocity", "ema - before"),
    fault("safe", "climbs on the spot", "/ self.window + self.climb", "/ self.window - self.climb"),
    fault("safe", "converges anywhere", " and mean > self.solved", ""),
    fault("safe", "classifies early", "if len(rewards) < self.window:", "if len(rewards) < self.window - 1:"),
    fault("safe", "counts a missing reward", "if not math.isnan(reward):", "if True:"),
    fault("safe", "pulls as released", "output = 0.0 if self.reference else min(", "output = min("),
    fault("safe", "begins to pull as released", '"output": 0.0 if self.reference else self.low', '"output": self.low'),
    fault("safe", "bounds the released gate", "self.gate_max is None or self.reference", "self.gate_max is None"),
    fault("safe", "corrects the released average", "self.debias and not self.reference", "self.debias"),
    fault("safe_asymmetric", "pulls as released", "output = 0.0 if self.reference else min(", "output = min("),
    fault("preview", "lengthens the step", "max(self.limit / kl, self.low)", "max(kl / self.limit, self.low)"),
    fault("preview", "shortens every step", "1.0 if kl <= self.limit else", "1.0 if kl <= 0 else"),
    fault("preview", "forgets its bound", "max(self.limit / kl, self.low)", "self.limit / kl"),
    fault("preview", "starts short", '{"output": 1.0, "active"', '{"output": 0.0, "active"'),
    fault("preview", "never calls for help", "missing(state, self.alarm)", 'state, state["output"]'),
    fault("safe_asymmetric", "brakes a fall", "max(rise, 0.0)", "max(-rise, 0.0)"),
    fault("safe_asymmetric", "pulls below its threshold", "max(kl - self.threshold, 0.0)", "kl - self.threshold"),
    fault("safe_asymmetric", "brakes early", "if len(past) == self.window else 0.0", "if past else 0.0"),
    fault("safe_asymmetric", "forgets the slope's divisor", "* brake / self.window", "* brake"),
)

OF_WATCH = ("tests/unit/test_rl_watch.py",)
WATCHES = (
    fault("watch", "warns at once", "elif self.since >= PATIENCE:", "elif self.since >= 1:", OF_WATCH),
    fault("watch", "repeats itself", "self.told |= set(problems)", "pass", OF_WATCH),
    fault("watch", "never forgets", "self.told -= {cause", "self.told -= {None", OF_WATCH),
    fault("watch", "is deaf to an alarm", 'if state.get("alarm"):', "if False:", OF_WATCH),
    fault("watch", "takes one bound for two", "if self.side and side != self.side:", "if self.side:", OF_WATCH),
    fault("watch", "counts old turns", "if turn > self.updates - PATIENCE", "if True", OF_WATCH),
    fault("watch", "counts through the middle", "            self.since = 0", "            pass", OF_WATCH),
)

RAMPS = (
    fault("target", "takes a ramp for a jump", "> RAMP * scale else target", "> 0 else target"),
    fault("target", "takes a jump for a ramp", "return before if abs", "return target if abs"),
)
