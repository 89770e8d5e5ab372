"""Metrics of the dashboard row 'control': what ``entropostat.rl.control.REPORTED`` names, for each knob."""

from entropostat.metrics.schema import Metric

SIGNAL, TERMS, OUTPUT, FLAGS, FORECAST = ("Signal and target", "Terms", "Output", "Flags", "Forecast")
KNOB = "control/<knob>"


def _control(name: str, unit: str, meaning: str, panel: str) -> Metric:
    return Metric(f"{KNOB}/{name}", unit, "none", meaning, "control", panel)


METRICS: tuple[Metric, ...] = (
    _control("signal", "1", "What was measured, in the signal's own unit.", SIGNAL),
    _control("smoothed", "1", "The same, averaged as the controller does.", SIGNAL),
    _control("target", "1", "What it should be: a number, or a schedule's value now.", SIGNAL),
    Metric(
        f"{KNOB}/error",
        "1",
        "target",
        "Distance to the target as the controller counts it, most often relative to the target. 0 is best.",
        "control",
        "Error",
    ),
    _control("p", "1", "Proportional part.", TERMS),
    _control("i", "1", "Integral part.", TERMS),
    _control("d", "1", "Derivative part.", TERMS),
    _control("feed", "1", "Feed-forward: the part that comes from the foreseen change of entropy.", TERMS),
    _control("penalty", "1", "Value of the penalty whose slope is the output.", TERMS),
    _control("output", "1", "The value of the knob in force.", OUTPUT),
    _control("demand", "1", "What all actuators together are asked for. Above 0 asks for more entropy.", OUTPUT),
    _control("rest", "1", "What the second actuator gets of it, as its coefficient.", OUTPUT),
    _control("share", "share", "Part of the demand that re-weighting serves; near 0 the bonus does all.", "Hand-over"),
    _control("authority", "1", "What re-weighting could do, as its term reports it.", "Authority"),
    Metric(
        f"{KNOB}/saturated",
        "flag",
        "down",
        "1: the output is at a bound, so the target is not being held.",
        "control",
        FLAGS,
    ),
    Metric(f"{KNOB}/alarm", "flag", "down", "1: nothing was measured for long, all holds.", "control", FLAGS),
    _control("gate", "1", "0: the controller waits, 1: it acts. SAFE's is a factor, larger at low entropy.", FLAGS),
    _control("active", "flag", "1: the signal is above the threshold and the controller pulls.", FLAGS),
    _control("phase", "1", "SAFE's phase: 0 warm-up, 1 climbing, 2 plateau, 3 converged.", "Phase"),
    _control("foreseen", "nats", "Change of entropy that was foreseen since the generation.", FORECAST),
    _control("realised", "nats", "Change that came, on tokens not trained on yet.", FORECAST),
    _control("slope", "1", "Realised nats for each foreseen one; 0: the forecast is not believed.", "Forecast slope"),
)
