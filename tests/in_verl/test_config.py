"""verl's own configuration with our block in it: what is wrong is said before anything starts, by our schema and in our words."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import verl
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from verl.trainer.ppo.core_algos import get_policy_loss_fn
from verl.trainer.ppo.v1 import get_trainer_cls
from verl.utils.config import omega_conf_to_dataclass

from entropostat.verl import plugin
from entropostat.verl.config import BLOCK
from entropostat.verl.settings import Settings

ACTOR, ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"
NEEDED = (
    *(
        "trainer.v1.trainer_mode=entropostat",
        "algorithm.adv_estimator=grpo",
        f"{BLOCK}._target_=entropostat.verl.PolicyLoss",
    ),
    *("actor_rollout_ref.model.path=x", f"{ROLLOUT}.name=vllm", f"{ACTOR}.ppo_micro_batch_size_per_gpu=2"),
    *(f"{ROLLOUT}.log_prob_micro_batch_size_per_gpu=2", "actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=2"),
)
KL = "{loss: ppo_clip, advantages: [grpo], penalties: [{kl_ref: {coef: 0.1}}]}"
PLAIN = "{loss: ppo_clip, advantages: [grpo]}"


def config(objective: str | None, *overrides: str) -> DictConfig:
    folder = Path(verl.__file__).parent / "trainer" / "config"
    given = () if objective is None else (f"+{BLOCK}.objective={objective}",)
    with initialize_config_dir(config_dir=str(folder), version_base=None):
        return compose("ppo_trainer", overrides=[*NEEDED, *given, *overrides])


def refused(objective: str | None, *overrides: str) -> str:
    with pytest.raises(ValueError) as caught:
        Settings.of(config(objective, *overrides))
    return str(caught.value)


def test_a_recipe_and_the_same_block_inline_are_one() -> None:
    settings = Settings.of(config("entropostat:quickstart/plain.yaml"))
    again = Settings.of(config(PLAIN))
    assert settings.control.template.loss.term.info.name == again.control.template.loss.term.info.name == "ppo_clip"
    assert settings.estimates and settings.mode == "token-mean"


def test_what_the_objective_reads_is_switched_on_and_nothing_else() -> None:
    given = config(
        "{loss: ppo_clip, advantages: [grpo], weights: [truncated_is], penalties: [{entropy_bonus: {coef: 0.1}}]}",
        f"{ROLLOUT}.calculate_log_probs=false",
    )
    Settings.of(given).switch_on(given)
    assert given.actor_rollout_ref.actor.calculate_entropy and given.actor_rollout_ref.rollout.calculate_log_probs
    assert not given.actor_rollout_ref.actor.use_kl_loss
    other = config(KL, f"{ROLLOUT}.calculate_log_probs=false")
    Settings.of(other).switch_on(other)
    assert other.actor_rollout_ref.actor.use_kl_loss
    assert not other.actor_rollout_ref.rollout.calculate_log_probs


def test_workers_get_the_objective_and_no_file() -> None:
    given = config("entropostat:quickstart/plain.yaml")
    Settings.of(given).switch_on(given)
    actor = omega_conf_to_dataclass(given.actor_rollout_ref.actor)
    assert type(actor.policy_loss).__name__ == "PolicyLoss"
    assert OmegaConf.to_container(given.actor_rollout_ref.actor.policy_loss.objective)["loss"]["trl"] is not None


@pytest.mark.parametrize(
    ("objective", "overrides", "said"),
    [
        (None, (), f"{BLOCK}.objective: missing"),
        ("nowhere.yaml", (), "nowhere.yaml"),
        ("{loss: ppo_clop}", (), "objective.loss.ppo_clop: unknown loss 'ppo_clop'; did you mean 'ppo_clip'?"),
        ("{loss: {ppo_clip: {epsilon: -1}}}", (), "objective.loss.ppo_clip.epsilon"),
        ("{loss: ppo_clip, penalties: [aepo]}", (), "objective.penalties.aepo: reads extra"),
        ("entropostat:methods/muon.yaml", (), "optimizer.muon: verl builds its optimizer by itself"),
        ("{loss: gspo, advantages: [grpo]}", (), f"{ACTOR}.loss_agg_mode: is token-mean"),
        (PLAIN, (f"{ACTOR}.entropy_coeff=0.01",), f"{ACTOR}.entropy_coeff: is 0.01"),
        (PLAIN, (f"{ACTOR}.use_kl_loss=true",), f"{ACTOR}.use_kl_loss: is True"),
        (PLAIN, ("algorithm.use_kl_in_reward=true",), "algorithm.use_kl_in_reward"),
        (PLAIN, ("algorithm.adv_estimator=gae",), "algorithm.adv_estimator: would train a critic"),
        (PLAIN, ("algorithm.rollout_correction.bypass_mode=true",), "algorithm.rollout_correction.bypass_mode"),
        (PLAIN, ("algorithm.rollout_correction.rollout_is=token",), "state objective.weights.truncated_is"),
        (PLAIN, (f"{ACTOR}.strategy=megatron",), f"{ACTOR}.strategy: megatron"),
        ("{loss: {ppo_clip: {type: dr_grpo}}, advantages: [grpo]}", (), f"{ACTOR}.loss_scale_factor"),
        ("{loss: ppo_clip, advantages: [grpo], data: [{dynamic_sampling: {}}]}", (), "algorithm.filter_groups.enable"),
        (KL, ("actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=null",), "log_prob_micro_batch_size_per_gpu"),
        (PLAIN, (f"{BLOCK}._target_=verl.workers.config.PolicyLossConfig",), f"{BLOCK}._target_"),
    ],
)
def test_what_does_not_fit_is_named(objective: str | None, overrides: tuple[str, ...], said: str) -> None:
    message = refused(objective, *overrides)
    assert said in message, message


def test_filters_of_verl_stand_for_ours() -> None:
    on = ("algorithm.filter_groups.enable=true",)
    assert Settings.of(config("{loss: ppo_clip, advantages: [grpo], data: [{dynamic_sampling: {}}]}", *on))


def test_verls_own_advantages_stay_where_none_are_stated() -> None:
    assert not Settings.of(config("{loss: ppo_clip}", "algorithm.adv_estimator=gae")).estimates


def test_hydra_raises_what_is_wrong() -> None:
    """As verl's command does, before Ray: whatever trainer is asked for."""
    given = config("{loss: ppo_clip, penalties: [aepo]}", "trainer.v1.trainer_mode=sync")
    with pytest.raises(Exception, match="verl cannot carry all of it"):
        omega_conf_to_dataclass(given.actor_rollout_ref.actor)


def test_another_trainer_does_not_train_on_verls_loss_instead() -> None:
    actor = omega_conf_to_dataclass(config(PLAIN, "trainer.v1.trainer_mode=sync").actor_rollout_ref.actor)
    assert actor.policy_loss.loss_mode == "entropostat"
    with pytest.raises(RuntimeError, match=r"set trainer\.v1\.trainer_mode=entropostat"):
        get_policy_loss_fn(actor.policy_loss.loss_mode)()


def test_the_entry_point_registers_our_trainers() -> None:
    for name in plugin.MODES:
        assert get_trainer_cls(name).__module__ == "entropostat.verl.trainer"


def python(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **env}, capture_output=True, text=True, check=False
    )


def test_a_broken_plug_in_is_no_silent_one(tmp_path: Path) -> None:
    """verl logs only at DEBUG what a plug-in raises when it is loaded; ours raises where its trainer is made."""
    code = """
import sys
sys.modules["entropostat.verl.driver"] = None
import verl
from verl.trainer.ppo.v1 import get_trainer_cls
try:
    get_trainer_cls("entropostat")(config={})
except RuntimeError as error:
    sys.exit(f"said: {error}")
"""
    said = "said: trainer.v1.trainer_mode=entropostat: entropostat's trainers cannot be had: import of entropostat.verl.driver"
    assert said in python(code).stderr


GUARDED = """
import verl, verl.models.transformers.monkey_patch as patch
print(patch.is_trl_available())
"""


def test_verl_does_not_trip_over_a_class_that_trl_removed() -> None:
    assert python(GUARDED).stdout.split()[-1] == "False"
    assert python(GUARDED, VERL_USE_EXTERNAL_PLUGINS="none").stdout.split()[-1] == "True"
