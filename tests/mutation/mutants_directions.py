"""Faults that turn the direction in which a term moves entropy: the tests of directions see them on their own."""

from __future__ import annotations

from mutation.mutants import Mutant

OWN = ("tests/theory/test_theory_directions.py", "tests/theory/test_theory_directions_chain.py")


def fault(name: str, file: str, old: str, new: str) -> Mutant:
    return Mutant(f"direction: {name}", file, old, new, OWN)


DIRECTIONS = (
    fault("clip_v drops the rewarded", "weights/clip_v.py", "beyond & (batch.token_advantages < 0)", "beyond"),
    fault("clip_v looks at the other tail", "weights/clip_v.py", "(d > self.mu * std)", "(-d > self.mu * std)"),
    fault("clip_v forgets its centre", "weights/clip_v.py", "centre - discriminator", "-discriminator"),
    fault("clip_b looks at the other tail", "weights/clip_b.py", "< -self.mu * std", "> self.mu * std"),
    fault("clip_b drops the rewarded", "weights/clip_b.py", "(batch.token_advantages < 0)", "batch.valid"),
    fault("clip_cov takes the other tail", "weights/clip_cov.py", "(cov > self.low)", "(-cov > self.low)"),
    fault("steer slows the idle", "weights/steer.py", "share).exp()", "(1 - share)).exp()"),
    fault("high_entropy keeps the decided", "weights/high_entropy.py", "(entropy >= threshold)", "(entropy < threshold)"),
    fault("the bonus is a malus", "penalties/entropy_bonus.py", "return -self.coef", "return self.coef"),
    fault("the bonus of order 2 is a malus", "penalties/renyi_bonus.py", "return -self.coef", "return self.coef"),
    fault("kl_cov holds the other tail", "penalties/kl_cov.py", "top_mask(token_cov", "top_mask(-token_cov"),
    fault("kl_cov pushes away", "penalties/kl_cov.py", "self.coef * size", "-self.coef * size"),
    fault("clip-higher does nothing", "losses/ppo_clip.py", "self.epsilon if self.epsilon_high is None else self.epsilon_high", "self.epsilon"),
    fault("cispo clips the gradient", "losses/cispo.py", "weight * batch.token_advantages", "weight * (weight == ratio) * batch.token_advantages"),
    fault("ce_gppo loses its upper handle", "losses/ce_gppo.py", "self.beta_high * top * one", "self.beta_high * top"),
    fault("ce_gppo turns its lower handle", "losses/ce_gppo.py", "self.beta_low * bottom * one", "self.beta_low * bottom / one"),
    fault("archer gives room to the facts", "losses/archer.py", "torch.where(reasoning, wide", "torch.where(~reasoning, wide"),
    fault("sapo rises with distance", "losses/sapo.py", "* gate * 4 / tau", "/ gate * 4 / tau"),
    fault("entropic tilts the other way", "advantages/entropic.py", "(1 + alpha) * a, (1 - alpha) * a", "(1 - alpha) * a, (1 + alpha) * a"),
    fault("entrocraft swaps its sides", "advantages/entrocraft.py", "above, below = entropy > self.upper, entropy < self.lower", "below, above = entropy > self.upper, entropy < self.lower"),
    fault("w_reinforce punishes the right", "advantages/w_reinforce.py", "rewards > self.threshold", "rewards <= self.threshold"),
    fault("edge slows the decided", "advantages/edge.py", "mean / entropy.clamp(min=1e-12)", "entropy / mean.clamp(min=1e-12)"),
    fault("entropy_shaped depends on the size of its bound", "advantages/entropy_shaped.py", "torch.minimum(", "torch.maximum("),
    fault("passk rewards the wrong", "advantages/passk.py", "torch.where(right, good.unsqueeze(1), bad.unsqueeze(1))", "torch.where(right, bad.unsqueeze(1), good.unsqueeze(1))"),
    fault("aepo pushes away", "penalties/aepo.py", "return -self.coef * total", "return self.coef * total"),
)  # fmt: skip
