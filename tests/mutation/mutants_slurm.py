"""Faults of batch jobs: the script's options, what is refused before it queues, and the reading of Slurm's answers."""

from __future__ import annotations

from mutation.mutants import Mutant

SCRIPT = ("tests/slurm/test_script.py",)
TASKS = ("tests/slurm/test_tasks.py",)
STATUS = ("tests/slurm/test_status.py",)


def fault(name: str, file: str, old: str, new: str, tests: tuple[str, ...] = SCRIPT) -> Mutant:
    return Mutant(f"slurm {file} {name}", f"{file}.py", old, new, tests, "slurm")


JOBS = (
    fault("quotes no quotes", "render", """.replace('"', '\\\\"')""", ""),
    fault("quotes no backslash", "render", '''.replace("\\\\", "\\\\\\\\")''', ""),
    fault("lets a line break in", "render", "if any(ord(letter) < 32", "if False and any(ord(letter) < 32"),
    fault("joins words bare", "render", '"join_quoted": shlex.join', '"join_quoted": " ".join'),
    fault("ends the recipe early", "render", "not in lines)", "in ['END_OF_RECIPE'])"),
    fault("forgets the server's node", "render", "{block.nodes + block.vllm_nodes}", "{block.nodes}"),
    fault("waits for ever", "render", 'yield "--dependency", "--kill-on-invalid-dep=yes"', "pass"),
    fault("signals every process", "render", "--signal=B:USR1", "--signal=USR1"),
    fault("keeps its CPUs from the step", "render", 'words.append(f"--cpus-per-task={block.cpus_per_task}")', "pass"),
    fault("counts the GPUs of the one that submits", "job", "max(1, block.gpus) * launch.num_machines", "1"),
    fault("starts on too few GPUs", "job", "if gpus and world > gpus:", "if False:"),
    fault("leaves GPUs idle", "job", "if gpus > world:", "if False:"),
    fault("starts a server for nobody", "job", "if block.vllm_nodes and not asked:", "if False:"),
    fault("starts no server", "job", "if asked and not block.vllm_nodes", "if False and not block.vllm_nodes"),
    fault("leaves a reward model behind", "job", 'if term.kind == "model"', 'if term.kind == "none"'),
    fault("forgets --allow-code", "job", '["--allow-code"] if allow_code else []', "[]"),
    fault("counts lines from 1", "tasks", "enumerate(lines, 1)", "enumerate(lines, 2)", TASKS),
    fault("lets a task leave its job", "tasks", "in OF_THE_JOB:", "in ():", TASKS),
    fault("takes a task without a line", "tasks", ">= lines for part", "> lines for part", TASKS),
    fault("forgets the last line", "tasks", 'f"0-{lines - 1}"', 'f"0-{lines - 2}"', TASKS),
    fault("forgets what tasks override", "render", "tasks=job.tasks", "tasks=[]", TASKS),
    fault("takes a half line for a step", "queue", "for line in reversed(lines):", "for line in lines[-1:]:", STATUS),
    fault("reads the first step", "queue", "in reversed(lines):", "in lines:", STATUS),
    fault("shows wait's status", "queue", ">> 8", ">> 0", STATUS),
    fault("shows everybody's jobs", "queue", "if job is not None or values[-1].startswith(COMMENT)", "if True", STATUS),
    fault("takes the oldest folder", "queue", "return max(folders", "return min(folders", STATUS),
    fault("takes another job's folder", "queue", "numbered.fullmatch(", "re.match(re.escape(wanted.name), ", STATUS),
    fault("splits a comment", "queue", "split(SEPARATOR, len(ACCOUNTS) - 1)", 'replace("|", SEPARATOR).split(SEPARATOR)', STATUS),
)  # fmt: skip
