"""Faults of the checklist for GPUs: of what it takes for sound, and of what it makes of a check that broke."""

from __future__ import annotations

from mutation.mutants import fault

RUNS = ("tests/unit/test_smoke.py",)
CHECKS = ("tests/unit/test_smoke_checks.py",)
SMOKE = "benchmarks/smoke"
ROWS = f"{SMOKE}/checks"

FAULTS = (
    fault("lets a late check live", f"{SMOKE}/runner", "os.killpg(started.pid, signal.SIGKILL)", "started.kill()", RUNS),
    fault("takes a row of a check that broke", f"{SMOKE}/runner", "if code == 0 and out.is_file():", "if out.is_file() or code:", RUNS),
    fault("shows secrets", f"{SMOKE}/anonymous", "text = redacted(text)", "text = text", RUNS),
    fault("calls a failure a success", f"{SMOKE}/record", 'any(row["status"] == "fail" for row in rows)', "False", RUNS),
    fault("calls nothing a success", f"{SMOKE}/record", 'return 0 if passed or device == "cpu" else NO_GPU', "return 0", RUNS),
    fault("believes strangers", f"{SMOKE}/page", "if row[\"name\"] not in known or", "if False and", RUNS),
    fault("takes any engine", f"{SMOKE}/training", 'trained.summary["engine"].startswith(engine)', "True", CHECKS),
    fault("takes a loss that is not finite", f"{SMOKE}/training", "require(not bad,", "require(True,", CHECKS),
    fault("takes a step without a gradient", f"{SMOKE}/training", 'row["grad_norm"] > 0', 'row["grad_norm"] >= 0', CHECKS),
    fault("takes stale weights of vLLM", f"{SMOKE}/sampler", "require(gap <= LIMIT,", "require(True,", CHECKS),
    fault("takes NaN for agreement", f"{ROWS}/kernels", "require(far <= limit,", "require(not far > limit,", CHECKS),
    fault("judges overhead by its upper end", f"{ROWS}/overhead", 'ours["low"] <= TIME_LIMIT', 'ours["high"] <= TIME_LIMIT', CHECKS),
    fault("compares the steps before the checkpoint", f"{ROWS}/resume", "zip(first[SAVED:], again[SAVED:], strict=True)", "zip(first[:SAVED], again[:SAVED], strict=True)", CHECKS),
    fault("trains on the server's GPU", f"{ROWS}/vllm_server", "*training, serving = cards(place.gpus)", "serving, *training = cards(place.gpus)", CHECKS),
)  # fmt: skip
