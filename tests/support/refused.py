"""Recipes that can be read and must not run: overrides of the quickstart for every lint of level ``error``."""

from __future__ import annotations

import json
from pathlib import Path

PLAIN = "entropostat:quickstart/plain.yaml"
PPO = ("trainer.kind=ppo", "objective.advantages=[gae: {}]")
FLOWRL = "objective.loss={flowrl: {}}"
MUON = "optimizer.muon.adjust=original"
SERVER = ("trainer={use_vllm: true, vllm_mode: server}", "slurm={vllm_nodes: 1, gpus_per_node: 1}")
QLORA = ("model={load_in_4bit: true, peft: {}}",)
ADAPTER = ("model={path: adapter}",)
DISTILL = "objective.penalties=[distill: {}]"
UNREWARDED = "objective={loss: {none: {}}, advantages: []}"


def strategy(name: str, processes: int = 2, machines: int = 1) -> str:
    return f"launch={{strategy: {name}, num_processes: {processes}, num_machines: {machines}}}"


def kl_ref(options: str) -> str:
    return f"objective.penalties=[kl_ref: {{{options}}}]"


def controlled(loop: str) -> str:
    return f"objective.penalties=[entropy_bonus: {{coef: {{{loop}}}}}]"


def own(options: str) -> str:
    return f"data.sources={{own: {{file: {{{options}}}}}}}"


REFUSED: dict[str, tuple[str, ...]] = {
    # model
    "adapter on the head": ("model.peft={target_modules: [q_proj, lm_head]}",),
    "module trained in two ways": ("model.peft={target_modules: [q_proj], modules_to_save: [q_proj]}",),
    "4 bits without an adapter": ("model.load_in_4bit=true",),
    "4 bits cut by ZeRO-3": (*QLORA, strategy("zero3")),
    "4 bits cut by FSDP": (*QLORA, strategy("fsdp2")),
    "4 bits to vLLM": (*QLORA, "trainer.use_vllm=true"),
    "4 bits trained whole": (
        "model={load_in_4bit: true, peft: {target_modules: [q_proj], modules_to_save: [v_proj]}}",
    ),
    # objective
    "reshaper first": ("objective.advantages=[edge: {}]",),
    "sequence level and token weights": (
        "objective.loss={trl: {importance_sampling_level: sequence}}",
        "objective.weights=[clip_cov: {}]",
    ),
    "sequence mask and token advantages": (
        "objective.loss={trl: {off_policy_mask_threshold: 1}}",
        "objective.advantages=[otb: {}]",
    ),
    "no longest completion": ("objective.rewards=[overlong: {}]", "trainer.max_completion_length=null"),
    "lopti with one pass": ("objective.weights=[lopti: {}]",),
    "signal that nothing measures": (controlled("pid: {signal: entrpy, target: 1}"),),
    "clip fraction without a clip": (
        controlled("pid: {signal: clip_fraction, target: 0.1}"),
        "objective.loss={sapo: {}}",
    ),
    "follower of nothing": (controlled("follow: {knob: penalties.none.coef}"),),
    # evaluation
    "a set named as a source": ("evaluate.sets={easy: {chain: {length: 3, size: 10}}}",),
    # the sampler's log-probs
    "two ratios to the sampler": ("objective.weights=[icepop: {}, truncated_is: {}]",),
    "corrected twice for the sampler": (
        "objective.weights=[icepop: {}]",
        "trainer={use_vllm: true, vllm_importance_sampling_correction: true}",
    ),
    # sampling
    "temperature that something moves": ("sampler.temperature=.8", "objective.scalars=[temperature: {value: 1.2}]"),
    "moving temperature under a term with its own": (
        "objective.scalars=[temperature: {value: 1.2}]",
        "objective.advantages=[dcpo: {}]",
    ),
    "a correction of another truncation": (
        "objective.penalties=[truncated_policy: {min_p: .1}]",
        "sampler.min_p=.2",
    ),
    "temperature that vLLM refuses": ("trainer.use_vllm=true", "sampler.temperature=2.5"),
    "a sampler that vLLM lacks": ("trainer.use_vllm=true", "sampler.typical_p=.9"),
    "a sampler that continuous batching lacks": (
        "trainer.use_transformers_continuous_batching=true",
        "sampler.mirostat={}",
    ),
    # model
    "adapter without a base": ADAPTER,
    # batch
    "a backend for one process": ("trainer.ddp_backend=gloo",),
    "one completion": ("trainer.num_generations=1",),
    "two sizes of a generation": ("trainer.generation_batch_size=256", "trainer.steps_per_generation=4"),
    "no whole micro-batches": ("trainer={generation_batch_size: 72, steps_per_generation: null}",),
    "broken groups": ("trainer.num_generations=7",),
    "single with processes": (strategy("single"),),
    "processes over machines": (strategy("ddp", 3, 2), "slurm.nodes=2"),
    "nothing held out": ("data.held_out=0",),
    "best checkpoint": ("trainer.save_strategy=best",),
    # reference
    "reset that never happens": (kl_ref("reference: reset"),),
    "patience without evaluations": (kl_ref("reference: reset, patience: 2"), "evaluate.every=0"),
    "two references": ("objective.penalties=[kl_ref: {reference: ema}, kl_ref: {name: other}]",),
    "reference that two move": (kl_ref("reference: ema"), "trainer.sync_ref_model=true"),
    "moving reference under fsdp": (kl_ref("reference: ema"), strategy("fsdp2")),
    # critic
    "gae without a critic": (PPO[1],),
    "critic without ppo": ("critic={}",),
    "ppo without gae": (PPO[0],),
    "log Z beside a critic": (*PPO, FLOWRL),
    "log Z under fsdp": (FLOWRL, strategy("fsdp2")),
    "reference that TRL moves under log Z": (FLOWRL, "trainer.sync_ref_model=true"),
    "log Z under DeepSpeed's Muon": (FLOWRL, MUON, strategy("zero2")),
    "ppo without advantages": (PPO[0], UNREWARDED, kl_ref("")),
    "gae behind another": (PPO[0], "objective.advantages=[gae: {}, gae: {name: again}]"),
    "rows that are replaced": (*PPO, "objective.penalties=[aepo: {reference: true}]"),
    "ppo under fsdp": (*PPO, strategy("fsdp2")),
    "reference that TRL moves under ppo": (*PPO, "trainer.sync_ref_model=true"),
    "separate trunk of adapters": (*PPO, "model.peft={}", "critic.trunk=separate"),
    "critic under DeepSpeed's Muon": (*PPO, MUON, strategy("zero2")),
    # stream
    "two that refill": ("objective.data=[dynamic_sampling: {}, dynamic_sampling: {name: again}]",),
    "two that keep": ("objective.data=[dynamic_sampling: {oversample: 2}, rsr: {}, rsr: {name: again}]",),
    "nothing to keep": ("objective.data=[rsr: {}]",),
    "refill with a critic": (*PPO, "objective.data=[dynamic_sampling: {}]"),
    "refill of rows that are replaced": (
        "objective.data=[dynamic_sampling: {}]",
        "objective.penalties=[aepo: {reference: true}]",
    ),
    "no rate in the band": ("objective.data=[difficulty: {low: .5, high: .5}]",),
    # rewards
    "no weight": ("reward=[chain: {weight: 0}]",),
    "no weight on one source": ("reward=[chain: {weights: {hard: 0}}]",),
    "reward model built on an adapter": (*ADAPTER, "reward=[chain: {}, model: {build: {}}]"),
    "clusters of no answers": ("objective.advantages=[grpo: {}, seed: {}]", "reward=[function: {path: a:b}]"),
    "gdpo and shaping": ("objective.advantages=[gdpo: {}]", "shaping.clip=1", "reward=[chain: {}]"),
    "gdpo and a reward term": (
        "objective.advantages=[gdpo: {}]",
        "objective.rewards=[diversity: {}]",
        "reward=[chain: {}]",
    ),
    # sources
    "rows that are not there": (own("path: gone.jsonl"), "data.curriculum=null"),
    "an unknown column": (own("path: rows.jsonl, prompt: questoin"), "data.curriculum=null"),
    "a benchmark that is not there": ("evaluate.sets={own: {hub: {path: ./gone}}}",),
    "a system prompt that comes too late": (
        own('path: rows.jsonl, chat_template: "{{ messages[0].content }}"'),
        "data.system=Be brief.",
        "data.curriculum=null",
    ),
    # teacher
    "nobody teaches": (DISTILL,),
    "teacher of another tokenizer": ("model={path: policy}", "teacher={path: foreign}", DISTILL),
    "nothing to learn from": (UNREWARDED,),
    "shaping of what nothing reads": (UNREWARDED, kl_ref(""), "shaping.clip=1"),
    # prompts
    "a conversation that cannot be said": ("data.system=Be brief.",),
    # optimizer
    "radius under fsdp": ("optimizer.step_radius={}", strategy("fsdp2")),
    "two optimizers": ("optimizer.muon={}", "trainer.optim=adamw_torch"),
    "Muon under fsdp": ("optimizer.muon={}", strategy("fsdp2")),
    "Muon that DeepSpeed lacks": ("optimizer.muon={}", strategy("zero2")),
    "Muon's step cut short": (MUON, strategy("zero2")),
}
OF_A_JOB: dict[str, tuple[str, ...]] = {
    "fewer nodes than machines": (strategy("ddp", 2, 2),),
    "more processes than GPUs": (strategy("ddp", 16), "slurm.gpus_per_node=4"),
    "fsdp without GPUs": (strategy("fsdp2"), "slurm.gpus_per_node=0"),
    "mounts without a container": ("slurm.mounts=[/a:/a]", "slurm.gpus_per_node=1"),
    "server for nobody": ("slurm={vllm_nodes: 1, gpus_per_node: 1}",),
    "two servers": (*SERVER, "trainer.vllm_server_host=node1"),
    "no server": (SERVER[0], "slurm.gpus_per_node=1"),
    "server without a path": SERVER,
    "two counts of GPUs": ("slurm={gres: 'gpu:2', gpus_per_node: 4}",),
    "a path that no mount can name": ("slurm={container: image, gpus_per_node: 1}", "output_dir='../a,b'"),
    "mounts that a launcher is not told of": ("slurm={launcher: [podman, run], mounts: ['/a:/a'], gpus_per_node: 1}",),
    "server larger than its node": (*SERVER, "trainer.vllm_tensor_parallel_size=2"),
}
"""What only a batch job has wrong: `submit` refuses it, and so does `sweep --slurm`."""


def lay(folder: Path) -> None:
    """What the recipes name by a relative path."""
    (folder / "rows.jsonl").write_text('{"prompt": "1 + 1?", "answer": "2"}\n')
    (folder / "adapter").mkdir()
    adapter = {"peft_type": "LORA", "base_model_name_or_path": "../gone", "r": 4, "target_modules": ["q_proj"]}
    (folder / "adapter" / "adapter_config.json").write_text(json.dumps(adapter))
    for name, token in (("policy", "a"), ("foreign", "b")):
        (folder / name).mkdir()
        (folder / name / "tokenizer.json").write_text(json.dumps({"model": {"vocab": {token: 0}}}))
