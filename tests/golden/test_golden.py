"""Every golden file agrees with the project, and the harness itself fails where it must."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from golden import harness
from golden.adapters import ADAPTERS

OWN = harness.files(harness.VECTORS)
SAMPLES = [
    f"{prefix}_basic_public.npz" for prefix in ("clip_cov", "clip_cov_verl", "kl_cov", "ppo_vanilla", "kl_estimators")
]
SAMPLES += [
    "advantages_0_public.npz",
    "split8020_public.npz",
    "skywork_adaptive_public.npz",
    "divergence_klest_public.npz",
]
SAMPLES += ["agg_loss_basic_public.npz", "kl_cov_zeroadv_public.npz", "ppo_nodual_farratio_public.npz"]
SAMPLES += [f"{prefix}_basic_public.npz" for prefix in ("gspo", "geo_mean", "sapo", "cispo", "gpg")]
SAMPLES += ["cegppo_public.npz", "archer_public.npz", "linear_ce_entropy_public.json"]
SAMPLES += ["steer_basic_public.npz", "steer_theorem_basic_public.npz", "clipb_mu1_public.npz"]
SAMPLES += ["psr_nsr_public.npz", "entrocraft_public.npz"]
SAMPLES += ["klctl_public.npz", "adaptive_kl_controller_public.json"]
SAMPLES += ["safe_critic_public.npz", "safe_rewardnorm_public.npz"]
SAMPLES += [
    f"{prefix}_basic_public.npz" for prefix in ("dppo_tv", "dppo_kl", "prime_dppo", "skyrl_dppo_kl", "ipo", "dro")
]
SAMPLES += [f"nemo_{kind}_basic_public.npz" for kind in ("icepop", "seq_mask_tis", "tis")] + [
    "gspo_verl091_basic_public.npz"
]
SAMPLES += [
    f"trl_{kind}_basic_public.npz"
    for kind in ("token_mask", "token_truncate", "sequence_mask", "sequence_truncate", "opsm")
]
SAMPLES += ["slime_icepop_basic_public.npz", "slime_tis_basic_public.npz", "rollout_corr_basic_public.npz"]
SAMPLES += [
    f"{prefix}_basic_public.npz" for prefix in ("maxrl_skyrl", "max_rl", "unlikely", "ar", "repo_r", "gtpo", "lopti")
]
SAMPLES += ["hicra_public.json"]
SAMPLES += ["lpreg_minp_public.npz", "lpreg_formula_fixed_public.npz"]
SAMPLES += ["vendi_public.json", "entropy_performance_law_public.json", "frontier_public.npz"]
SAMPLES += ["seed_grpo_public.json", "copo_public.json", "adora_public.json", "confucius3_public.json"]


@pytest.mark.parametrize("path", harness.files(harness.folder()), ids=lambda p: p.name)
def test_file_agrees_with_the_reference(path, record_property):
    record_property("arrays compared", harness.compare_file(path, ADAPTERS))


def test_every_adapter_has_a_vector_in_the_projects_own_copy():
    claimed = {
        prefix for a in ADAPTERS for prefix in a.prefixes if any(f"{p.stem}_".startswith(f"{prefix}_") for p in OWN)
    }
    assert claimed == {prefix for a in ADAPTERS for prefix in a.prefixes}


@pytest.mark.parametrize("name", SAMPLES)
def test_a_wrong_value_in_any_recorded_array_is_noticed(name):
    path = harness.VECTORS / name
    adapter = harness.adapter_for(path, ADAPTERS)
    clean = adapter.divide(harness.read(path))
    run = next(iter(clean.outputs))
    for key, value in clean.outputs[run].items():
        if (
            adapter.excused(key)
            or not np.size(value)
            or (np.asarray(value).dtype.kind == "f" and np.isnan(value).all())
        ):
            continue  # of what is NaN throughout only a finite result is asked

        def divide(data, key=key, value=value):
            record = adapter.divide(data)
            record.outputs = {run: {key: spoil(np.asarray(value))}}
            return record

        spoiled = harness.Adapter(
            adapter.prefixes, adapter.run, divide, lambda r, key=key: gradient_of(adapter, r, key)
        )
        with pytest.raises(harness.GoldenError, match="disagreement"):
            harness.compare_file(path, [spoiled])


def gradient_of(adapter, record, key):
    return {k: v for k, v in adapter.gradients(record).items() if k == key}


def spoil(value: np.ndarray) -> np.ndarray:
    if value.dtype.kind == "b":
        return ~value
    if value.dtype.kind in "iu":
        return value + 1
    return value * (1 + 1e-3) + 1e-4


def test_other_names_in_another_folder_are_compared_and_one_failure_hides_no_other(tmp_path):
    shutil.copy(harness.VECTORS / "clip_cov_padded_public.npz", tmp_path / "clip_cov_seed77_heldout.npz")
    shutil.copy(harness.VECTORS / "split8020_public.npz", tmp_path / "split8020_heldout.npz")
    shutil.copy(harness.VECTORS / "agg_loss_basic_public.npz", tmp_path / "unheard_of_method_heldout.npz")
    (tmp_path / "kl_cov_broken_heldout.npz").write_bytes(b"no zip file")
    (tmp_path / "README.md").write_text("documentation is no vector")
    result = suite(tmp_path)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "2 failed, 2 passed" in result.stdout
    assert "unheard_of_method_heldout.npz: no adapter claims this file" in result.stdout
    assert "kl_cov_broken_heldout.npz: cannot be read" in result.stdout
    assert re.search(r"golden: 2 files agree, \d\d arrays compared", result.stdout)


def suite(where: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    command += ["-k", "test_file_agrees_with_the_reference"]
    env = os.environ | {"ENTROPOSTAT_GOLDEN": str(where), "OMP_NUM_THREADS": "1"}
    root = Path(__file__).parents[2]
    return subprocess.run(command, check=False, cwd=root, env=env, capture_output=True, text=True, timeout=300)


def test_an_empty_folder_and_a_missing_one_fail(tmp_path):
    (tmp_path / "README.md").write_text("no vectors here")
    with pytest.raises(harness.GoldenError, match="holds no golden vectors"):
        harness.files(tmp_path)
    with pytest.raises(harness.GoldenError, match="is no folder"):
        harness.files(tmp_path / "nowhere")


def test_the_json_beside_an_array_file_is_read_with_it_and_is_no_file_of_its_own(tmp_path):
    np.savez(tmp_path / "x_heldout.npz", a=np.zeros(2))
    (tmp_path / "x_heldout.json").write_text('{"gain": 3}')
    (tmp_path / "y_heldout.json").write_text("{}")
    assert [p.name for p in harness.files(tmp_path)] == ["x_heldout.npz", "y_heldout.json"]
    assert harness.read(tmp_path / "x_heldout.npz")[harness.SIDECAR] == {"gain": 3}


def test_the_longest_prefix_claims_a_file_and_a_part_of_a_word_does_not():
    marks = [harness.Adapter((p,), None, None) for p in ("kl_cov", "kl_cov_verl")]
    assert harness.adapter_for(Path("kl_cov_verl_basic_x.npz"), marks).prefixes == ("kl_cov_verl",)
    assert harness.adapter_for(Path("kl_cov_basic_x.npz"), marks).prefixes == ("kl_cov",)
    with pytest.raises(harness.GoldenError, match="no adapter"):
        harness.adapter_for(Path("kl_covx_basic.npz"), marks)


def test_an_output_that_nothing_compares_fails_and_a_reason_excuses_it():
    path = harness.VECTORS / "advantages_0_public.npz"
    adapter = harness.adapter_for(path, ADAPTERS)
    strict = harness.Adapter(adapter.prefixes, adapter.run, adapter.divide)
    with pytest.raises(
        harness.GoldenError, match="remax__adv: recorded, but the adapter neither returns nor excuses it"
    ):
        harness.compare_file(path, [strict])
    with pytest.raises(ValueError, match="give a reason"):
        harness.Adapter(("x",), None, None, out_of_scope={"gae*": ""})


def test_an_adapter_never_sees_an_output():
    for path in OWN:
        record = harness.adapter_for(path, ADAPTERS).divide(harness.read(path))
        for run, recorded in record.outputs.items():
            given = set(record.inputs) | set(record.injected.get(run, {}))
            assert not given & set(recorded), f"{path.name}: {given & set(recorded)}"
