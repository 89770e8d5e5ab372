#!/usr/bin/env python3
"""Stands for the interpreter of a job: keeps the training's side of the agreement, without training anything.

Called as ``payload.py -m entropostat launch RECIPE [key=value ...] [--resume auto]``. PAYLOAD_STEPS, PAYLOAD_SECONDS (of a
step), PAYLOAD_SAVING (seconds) and PAYLOAD_EXIT say what to do. Asked to compare, it prints what.
"""

import json
import os
import socket
import sys
import time
from pathlib import Path

if sys.argv[2] == "vllm.entrypoints.cli.main":
    port = int(sys.argv[sys.argv.index("--port") + 1])
    with socket.create_server(("", port)) as server:
        for _ in iter(int, 1):
            with server.accept()[0] as guest:
                guest.sendall(json.dumps({"node": os.environ["SLURMD_NODENAME"], "words": sys.argv[1:]}).encode())

if sys.argv[3] == "compare":
    print(json.dumps(sys.argv[4:]))
    sys.exit(0)

overrides = dict(word.split("=", 1) for word in sys.argv[5:] if "=" in word and not word.startswith("-"))
recipe = Path(sys.argv[4])
output = next(line.split(": ", 1)[1] for line in recipe.read_text().splitlines() if line.startswith("output_dir: "))
folder = Path(output.strip("'\"")) / overrides["name"].strip("'")
rank, nodes = int(os.environ["MACHINE_RANK"]), int(os.environ["SLURM_STEP_NUM_NODES"])
place = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
stop = Path(os.environ["ENTROPOSTAT_STOP_FILE"])


def meet():
    """Ranks that meet at the head's address and port, sorted."""
    if rank == 0:
        with socket.create_server(place) as server:
            server.settimeout(20)
            ranks = [rank]
            for _ in range(nodes - 1):
                with server.accept()[0] as guest:
                    ranks.append(int(guest.recv(16)))
            return sorted(ranks)
    for _ in range(100):
        try:
            with socket.create_connection(place, timeout=5) as host:
                host.sendall(str(rank).encode())
                return [rank]
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"rank {rank} finds nobody at {place}")


folder.mkdir(parents=True, exist_ok=True)


def ask(host, port):
    """What the server says of itself."""
    for _ in range(100):
        try:
            with socket.create_connection((host.strip("'"), int(port)), timeout=5) as server:
                return json.loads(server.recv(65536))
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"no server at {host}:{port}")


facts = {
    "rank": rank,
    "met": meet(),
    "node": os.environ["SLURMD_NODENAME"],
    "address": place[0],
    "port": place[1],
    "gpus": os.environ.get("CUDA_VISIBLE_DEVICES"),
    "restart": int(os.environ.get("SLURM_RESTART_COUNT", "0")),
    "words": sys.argv[1:],
    "seed": overrides.get("seed"),
    "cwd": os.getcwd(),
}
if "trainer.vllm_server_host" in overrides:
    facts["server"] = ask(overrides["trainer.vllm_server_host"], overrides["trainer.vllm_server_port"])
with (folder / "starts.jsonl").open("a") as stream:
    stream.write(json.dumps(facts) + "\n")

steps = int(os.environ.get("PAYLOAD_STEPS", "1"))
checkpoint = folder / "checkpoint"
done = int(checkpoint.read_text()) if "--resume" in sys.argv and checkpoint.exists() else 0
(folder / "run.json").write_text(json.dumps({"steps": steps}))
for step in range(done + 1, steps + 1):
    time.sleep(float(os.environ.get("PAYLOAD_SECONDS", "0")))
    # Looked up before the row is written: whoever has seen the row is too late for this step.
    stopping = stop.exists() and step < steps
    if rank == 0:
        with (folder / "metrics.jsonl").open("a") as stream:
            stream.write(json.dumps({"step": step}) + "\n")
    if stopping:
        if rank == 0:
            checkpoint.write_text("half of it")
            (folder / "saving").touch()
            time.sleep(float(os.environ.get("PAYLOAD_SAVING", "0")))
            checkpoint.write_text(str(step))
        raise SystemExit
if rank == 0:
    stop.unlink(missing_ok=True)
code = int(os.environ.get("PAYLOAD_EXIT", "0"))
if code and rank:
    time.sleep(120)  # waits for a rank that is gone
raise SystemExit(code)
