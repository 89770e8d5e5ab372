"""The whole idea in one plain PyTorch loop: an objective is composed, a controller holds its entropy, and no trainer is in sight.

The policy is a table of logits: for each of 8 prompts, 4 tokens out of 12 words. It is rewarded for the share of tokens that are
the prompt's own word, and its entropy would fall to nothing; a PID loop moves the entropy bonus so that it stays at 1 nat.

    python docs/examples/plain_loop.py
"""

import torch

from entropostat.rl.batch import TokenBatch
from entropostat.rl.control import Control
from entropostat.rl.thermostat import Thermostat

PROMPTS, GROUP, LENGTH, WORDS, EPOCHS = 8, 16, 4, 12, 2
PID = {
    "pid": {
        "signal": "entropy",
        "target": 1.0,
        "effect": "raises",
        "kp": 0.5,
        "ki": 0.02,
        "smoothing": 0.5,
        "high": 1.0,
    }
}


def train(coef: object, generations: int = 150, seed: int = 0) -> list[tuple[float, float, float]]:
    """(entropy in nats, reward, bonus) of each generation. ``coef``: of the bonus, a number or a controller."""
    torch.manual_seed(seed)
    advantages, penalties = [("grpo", "grpo", {})], [("entropy_bonus", "entropy_bonus", {"coef": coef})]
    spec = {"advantages": advantages, "loss": ("ppo_clip", "ppo_clip", {}), "penalties": penalties}
    thermostat = Thermostat(Control.build(spec))
    logits = torch.zeros(PROMPTS, LENGTH, WORDS, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.05)
    prompt = torch.arange(PROMPTS).repeat_interleave(GROUP)
    uids, mask, seen = torch.arange(len(prompt)), torch.ones(len(prompt), LENGTH), []

    for generation in range(1, generations + 1):
        # Rollout phase, once per generation: sample, reward, and let the objective compute its advantages.
        with torch.no_grad():
            policy = torch.distributions.Categorical(logits=logits[prompt])
            tokens = policy.sample()
            rewards = (tokens == prompt.unsqueeze(1)).float().mean(1)
            old = policy.log_prob(tokens)
            batch = TokenBatch(old, mask, old_logps=old, rewards=rewards, groups=prompt, uids=uids)
        thermostat.note_generation(batch)
        rollout = thermostat.objective.rollout(batch)

        for epoch in range(EPOCHS):
            # Loss phase: one forward pass, the token losses averaged as one likes, and the penalties that are one number.
            objective = thermostat.objective
            policy = torch.distributions.Categorical(logits=logits[prompt])
            batch = TokenBatch(
                logps=policy.log_prob(tokens),
                mask=mask,
                advantages=rollout.advantages,
                old_logps=old,
                entropy=policy.entropy(),
                uids=uids,
                tokens=mask.sum(),
            )
            losses, metrics = objective.token_loss(batch, rollout.stats)
            loss = losses.sum() / mask.sum()
            for part in (part for part in objective.penalties if part.term.kind == "scalar"):
                value, more = objective.penalty(part, batch, rollout.stats)
                loss, metrics = loss + value, metrics | more
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            # After the step: what was measured moves the controllers.
            thermostat.window.add(batch, metrics, objective.loss.term)
            closed = thermostat.window.close()
            thermostat.update(closed, step=EPOCHS * (generation - 1) + epoch + 1, steps=EPOCHS * generations)
        bonus = thermostat.objective.penalties[0].term.coef
        seen.append((closed.signals["entropy"], float(rewards.mean()), bonus))
    return seen


if __name__ == "__main__":
    for name, coef in (("plain", 0.0), ("held at 1 nat", PID)):
        print(name)
        for generation, (entropy, reward, bonus) in enumerate(train(coef), 1):
            if generation % 15 == 0:
                print(f"  generation {generation:3}  entropy {entropy:.3f}  reward {reward:.3f}  bonus {bonus:.3f}")
