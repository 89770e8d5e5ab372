"""``entropostat plan``: check a recipe, resolve it, and print what will run; imports no torch."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import Any

from entropostat import gate
from entropostat.cli import arguments, in_verl
from entropostat.recipe import Recipe, evaluated, load
from entropostat.recipe.adapter import lora
from entropostat.recipe.arithmetic import Arithmetic, arithmetic, pool_of, shares, stages, steps
from entropostat.recipe.facts import extra_forwards, knobs, option, teacher_readers
from entropostat.recipe.head_cost import critic, log_z
from entropostat.recipe.named_weights import named
from entropostat.recipe.reward_sources import reward_parts
from entropostat.recipe.stream_cost import stream
from entropostat.recipe.terms import Term
from entropostat.scaling import report
from entropostat.visible import visible

ENGINES = ("trl", "verl")


def add(parser: argparse.ArgumentParser) -> None:
    arguments.recipe(parser)
    arguments.as_json(parser)
    parser.add_argument("--scaling", action="store_true", help="memory and traffic of every strategy instead")
    parser.add_argument(
        "--shape", metavar="NAME", help="sizes of the model for the estimate: a config.json, or such as llama-3-70b"
    )
    parser.add_argument("--gpu-memory", metavar="GIB", help="the same as launch.gpu_memory=GIB")
    parser.add_argument(
        "--engine", choices=ENGINES, default=ENGINES[0], help="verl: the command line there, and what does not go along"
    )
    parser.add_argument("--bandwidth", metavar="IN,BETWEEN", help="GB/s of a GPU inside a machine and between machines")


def run(args: argparse.Namespace) -> int:
    memory = [f"launch.gpu_memory={args.gpu_memory}"] if args.gpu_memory else []
    asked = report.Asked.parse(args.scaling, args.shape, args.bandwidth)
    recipe = load(arguments.one(args), [*args.overrides, *memory])
    planned = plan(recipe, asked)
    wrong = any(lint["level"] == "error" for lint in planned["lints"])
    if args.engine == "verl":
        planned["verl"] = in_verl.plan(recipe, [arguments.one(args), *args.overrides])
        wrong = wrong or bool(planned["verl"]["refused"])
    if args.json:
        print(json.dumps(planned, indent=2))
    else:
        print("\n".join(map(visible, told(recipe, planned, asked))))
    return 1 if wrong else 0


def told(recipe: Recipe, planned: dict[str, Any], asked: report.Asked) -> list[str]:
    """The part of the plan that was asked for."""
    if "verl" in planned:
        return in_verl.text(planned)
    return planned["scaling"]["text"] if asked.strategies else text(recipe, planned)


def plan(recipe: Recipe, asked: report.Asked | None = None) -> dict[str, Any]:
    """Everything that the command prints, as plain data."""
    sizes, asked = arithmetic(recipe), asked or report.Asked()
    return {
        "name": recipe.name,
        "run_dir": str(recipe.run_dir),
        "seed": recipe.seed,
        "trainer": recipe.kind,
        "model": model(recipe),
        "teacher": teacher(recipe),
        "data": data(recipe, sizes),
        "batch": batch(sizes),
        "steps": steps(recipe, sizes),
        "objective": formula(recipe),
        "critic": critic(recipe),
        "log_z": log_z(recipe),
        "optimizer": optimizer(recipe),
        "reward": [part for term in recipe.reward for part in reward_parts(recipe, term)],
        "shaping": shaping(recipe),
        "stream": stream(recipe, sizes),
        "extra_forwards": extra_forwards(recipe, sizes),
        "controllers": [
            {
                "knob": knob.key,
                "controller": knob.controller,
                "signal": knob.signal,
                "target": knob.options.get("target"),
                "clock": knob.clock,
            }
            for knob in knobs(recipe)
        ],
        "evaluate": evaluated.described(recipe, sizes),
        "launch": {
            "strategy": recipe.launch.strategy,
            "processes": sizes.world,
            "machines": recipe.launch.num_machines,
        },
        "tracking": recipe.tracking.trackers or ["metrics.jsonl"],
        "scaling": report.report(recipe, asked),
        "lints": [asdict(lint) for lint in gate.findings(recipe, asked)],
    }


def model(recipe: Recipe) -> str:
    trained = lora(recipe.model)
    peft = (", 4 bits" if recipe.model.load_in_4bit else "") + (f", LoRA rank {trained.r}" if trained else "")
    return f"{named(recipe.model)}, {recipe.model.dtype}{peft}"


def teacher(recipe: Recipe) -> str | None:
    """What distillation compares with; None where nothing does."""
    readers = teacher_readers(recipe)
    if not readers or not recipe.teacher.stated:
        return None
    cost = f"a forward for each of the policy's in training ({', '.join(readers)})"
    return f"{named(recipe.teacher)}, {recipe.teacher.dtype}; {cost}"


def data(recipe: Recipe, sizes: Arithmetic) -> list[dict[str, Any]]:
    """The stages, or all sources together."""
    planned = stages(recipe, sizes)
    if planned:
        return [{**asdict(stage), "pool": pool_of(recipe, stage.shares)} for stage in planned]
    drawn = shares(recipe.data.weights) if recipe.data.weights else {}
    return [{"source": name, "pool": pool_of(recipe, [name]), "share": drawn.get(name)} for name in recipe.sources]


def batch(sizes: Arithmetic) -> dict[str, Any]:
    updates = sizes.updates
    return {
        "processes": sizes.world,
        "sequences_per_generation": sizes.generation,
        "prompts_per_generation": sizes.prompts,
        "completions_per_prompt": sizes.group,
        "sequences_per_step": sizes.step,
        "micro_batch": sizes.micro,
        "accumulation": sizes.accumulation,
        "updates_per_generation": updates.numerator if updates.denominator == 1 else str(updates),
        "on_policy": sizes.aligned,
    }


def formula(recipe: Recipe) -> str:
    """The objective in one line."""
    chain = [(slot, term) for slot in ("rewards", "advantages") for term in recipe.objective[slot]]
    advantages = " -> ".join(_term(term, slot) for slot, term in chain)
    weights = "".join(f"{_term(term, 'weights')} * " for term in recipe.objective["weights"])
    penalties = "".join(f" + {_term(term, 'penalties')}" for term in recipe.objective["penalties"])
    inside = f" [ {advantages} ]" if advantages else ""
    return f"{weights}{_term(recipe.objective['loss'], 'loss')}{inside}{penalties}"


def shaping(recipe: Recipe) -> list[str]:
    """Where reward models come from, and what becomes of the sum of rewards."""
    built = "built here, on preferences between completions of the policy"
    models = [f"{t.name} is {t.options.get('path') or built}" for t in recipe.reward if t.kind == "model"]
    block = recipe.shaping
    steps = ["normalised by all rewards so far"] if block.normalise else []
    steps += [f"at most {block.clip:g} in size"] if block.clip is not None else []
    if block.missing_eos_penalty:
        steps.append(f"{block.missing_eos_penalty:g} less without an end token")
    return [*models, *([", then ".join(steps)] if steps else [])]


def optimizer(recipe: Recipe) -> list[str]:
    """What its block adds to the trainer's own optimizer."""
    muon, radius = recipe.optimizer.muon, recipe.optimizer.step_radius
    parts = [] if muon is None else ["Muon for the hidden matrices, AdamW for the rest"]
    if radius is not None:
        of = "largest" if radius.statistic == "max" else f"{radius.quantile:g} quantile of the"
        when = "every step" if radius.every == 1 else f"every {radius.every} steps"
        parts.append(f"the {of} change of logits over tokens at most {radius.target:g} pi, measured {when}")
    return parts


def _term(term: Term, slot: str) -> str:
    kind = option(term, slot, "type")
    shown = [str(kind)] if kind is not None and slot == "loss" else []
    for key, value in term.options.items():
        if key == "type":
            continue
        control = isinstance(value, dict)
        shown.append(f"{key}={next(iter(value))}(...)" if control and value else f"{key}={_number(value)}")
    label = term.name if term.name == term.kind else f"{term.name}:{term.kind}"
    return f"{label}({', '.join(shown)})" if shown else label


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def text(recipe: Recipe, planned: dict[str, Any]) -> list[str]:
    """The plan for people."""
    sizes = planned["batch"]
    rows: list[tuple[str, str]] = [
        ("run", f"{planned['run_dir']}  (seed {planned['seed']}, trainer {planned['trainer']})"),
        ("model", planned["model"]),
        *(("teacher", what) for what in [planned["teacher"]] if what),
    ]
    rows += [("data", _stage(stage)) for stage in planned["data"]]
    rows += [
        ("reward", " + ".join(planned["reward"])),
        *(("shaping", what) for what in planned["shaping"]),
        *(("stream", what) for what in planned["stream"]),
        ("objective", planned["objective"]),
        *((key.replace("_", " "), what) for key in ("critic", "log_z") if (what := planned[key])),
        *(("optimizer", what) for what in planned["optimizer"]),
        (
            "generation",
            f"{sizes['sequences_per_generation']} sequences = {sizes['prompts_per_generation']} prompts x "
            f"{sizes['completions_per_prompt']}, used for {sizes['updates_per_generation']} update(s)"
            + (", exactly on-policy" if sizes["on_policy"] else ""),
        ),
        (
            "step",
            (
                f"{sizes['sequences_per_step']} sequences = {sizes['processes']} process(es) x {sizes['micro_batch']} x "
                f"{sizes['accumulation']} accumulated"
            ),
        ),
        ("steps", "as many as the data gives" if planned["steps"] is None else str(planned["steps"])),
    ]
    rows += [("forward", f"one more per generation for {why}") for why in planned["extra_forwards"]]
    rows += [("control", _control(entry)) for entry in planned["controllers"]]
    rows += [("evaluate", line) for line in evaluated.lines(planned["evaluate"])]
    launch = planned["launch"]
    rows.append(
        ("launch", f"{launch['strategy']}, {launch['processes']} process(es) on {launch['machines']} machine(s)")
    )
    rows.append(("tracking", ", ".join(planned["tracking"])))
    labels = [key if index == 0 or rows[index - 1][0] != key else "" for index, (key, _) in enumerate(rows)]
    lines = [f"{label:<11} {value}" for label, (_, value) in zip(labels, rows, strict=False)]
    lints_ = [f"{x['level']}: {x['key']}: {x['message']}; {x['fix']}" for x in planned["lints"]]
    return [*lines, "", *planned["scaling"]["text"], *([""] if lints_ else []), *lints_]


def _stage(stage: dict[str, Any]) -> str:
    pool_ = "" if stage["pool"] is None else f" of at most {stage['pool']}"
    if "begin" not in stage:
        said = [f"at most {stage['pool']} prompts"] if stage["pool"] is not None else []
        said += [f"{stage['share']:.0%} of what is drawn"] if stage["share"] is not None else []
        return f"{stage['source']}{': ' if said else ''}{', '.join(said)}"
    rounded = "" if stage["end"] - stage["begin"] == stage["asked"] else f" (asked for {stage['asked']})"
    return f"{stage['source']}: steps {stage['begin']} to {stage['end']}{rounded}, {stage['prompts']} prompts{pool_}"


def _control(entry: dict[str, Any]) -> str:
    target = entry["target"]
    where = "a schedule" if isinstance(target, dict) else f"{target:g}" if target is not None else None
    aim = f" holds {entry['signal']} at {where}" if where else ""
    if not aim and entry["signal"]:
        aim = f" reads {entry['signal']}"
    return f"{entry['knob']} <- {entry['controller']}{aim}, before every {_clock(entry['clock'])}"


def _clock(clock: str) -> str:
    return "generation" if clock == "rollout" else "optimizer step"
