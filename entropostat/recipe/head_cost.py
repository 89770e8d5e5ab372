"""What learns beside the policy, in words: the critic of PPO, and log Z of each prompt."""

from __future__ import annotations

from entropostat.recipe.facts import option, partition_reader
from entropostat.recipe.recipe import Recipe


def critic(recipe: Recipe) -> str | None:
    """What trainer.kind: ppo learns beside the policy."""
    block = recipe.critic
    if recipe.kind != "ppo":
        return None
    heads = "one head" if block.heads == 1 else f"{block.heads} heads, {block.combine}"
    shared = "the policy's backbone" + (", detached" if block.detach else "")
    rate = "" if block.learning_rate is None else f", learning rate {block.learning_rate:g}"
    clip = "" if block.clip is None else f", values clipped at {block.clip:g}"
    where = shared if block.trunk == "shared" else "a copy of the policy's backbone"
    return f"{heads} on {where}; {block.coef:g} * {block.loss}{clip}{rate}"


def log_z(recipe: Recipe) -> str | None:
    """What a loss of trajectory balance learns beside the policy; its reference model stands among the forwards."""
    if partition_reader(recipe) is None:
        return None
    of = {key: option(recipe.objective["loss"], "loss", key) for key in ("layers", "pool", "detach", "learning_rate")}
    reads = "mean state of the prompt" if of["pool"] == "mean" else "state of the prompt's last token"
    count = f"{of['layers']} layers" if of["layers"] != 1 else "one layer"
    detached = ", detached" if of["detach"] else ""
    rate = "" if of["learning_rate"] is None else f", learning rate {of['learning_rate']:g}"
    return f"a head of {count} on the {reads}{detached}{rate}; no forward of its own"
