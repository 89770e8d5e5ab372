"""Packages that are installed only where they are wanted, and the Hub: missed before anything is loaded, in one line."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, packages_distributions, requires, version
from importlib.util import find_spec
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import LocalTokenNotFoundError
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

OPTIMIZERS: dict[str, tuple[str, ...]] = {
    "bitsandbytes": (
        *("adamw_bnb_8bit", "adamw_8bit", "ademamix", "ademamix_8bit", "lion_8bit", "lion_32bit"),
        *("paged_adamw_32bit", "paged_adamw_8bit", "paged_ademamix_32bit", "paged_ademamix_8bit"),
        *("paged_lion_32bit", "paged_lion_8bit", "rmsprop_bnb", "rmsprop_bnb_8bit", "rmsprop_bnb_32bit"),
    ),
    "torchao": ("adamw_torch_4bit", "adamw_torch_8bit"),
    "galore_torch": (
        *("galore_adamw", "galore_adamw_8bit", "galore_adafactor", "galore_adamw_layerwise"),
        *("galore_adamw_8bit_layerwise", "galore_adafactor_layerwise"),
    ),
    "apollo_torch": ("apollo_adamw", "apollo_adamw_layerwise"),
    "lomo_optim": ("lomo", "adalomo"),
    "grokadamw": ("grokadamw",),
    "schedulefree": ("schedule_free_radam", "schedule_free_adamw", "schedule_free_sgd"),
    "optimi": ("stable_adamw",),
    "torchdistx": ("adamw_anyprecision",),
    "torch_npu": ("adamw_torch_npu_fused",),
    "torch_xla": ("adamw_torch_xla",),
}
"""Module -> what of trainer.optim comes from it."""
INSTALL = {"optimi": "torch-optimi", "vllm": "'entropostat[vllm]'"}
"""Where the distribution has another name than its module."""
ON_THE_HUB = ("push_to_hub", "log_completions_hub_repo")


def asked(config: Any) -> Iterator[tuple[str, str]]:
    """(setting, module that it needs)"""
    optim = str(getattr(config.optim, "value", config.optim))
    for module, names in OPTIMIZERS.items():
        if optim in names:
            yield f"optim: {optim}", module
    for key, module in (("use_liger_kernel", "liger_kernel"), ("use_vllm", "vllm"), ("deepspeed", "deepspeed")):
        if getattr(config, key):
            yield (f"{key}: true" if key != "deepspeed" else key), module


def check_packages(config: Any) -> None:
    """Raises ImportError for the first package that ``config`` needs and that is not installed. What a recipe alone can ask for
    is looked at with it (recipe/packages.py)."""
    for setting, module in asked(config):
        if find_spec(module) is None:
            install = INSTALL.get(module, module.replace("_", "-"))
            raise ImportError(f"{setting} needs the package {module}: pip install {install}")
        if module == "vllm":
            check_vllm(setting)


def check_vllm(setting: str) -> None:
    """Raises ImportError for a release that TRL does not drive: it starts, and may sample or take weights otherwise."""
    name = next(iter(packages_distributions().get("vllm", ())), None)  # a build for other hardware has another name
    if name is None:
        return
    have, wanted = version(name), supported_vllm()
    if Version(have).base_version not in wanted:  # whose local part says what it was built for
        raise ImportError(
            f"{setting} works with vllm {wanted}, and {name} {have} is installed: pip install {INSTALL['vllm']}"
        )


def supported_vllm() -> SpecifierSet:
    """What our extra asks for; any release where this package is not installed."""
    try:
        asked = [Requirement(line) for line in requires("entropostat") or ()]
    except PackageNotFoundError:
        return SpecifierSet()
    return next((need.specifier for need in asked if need.name == "vllm"), SpecifierSet())


def check_hub(config: Any) -> None:
    """Raises ConnectionError where something shall go to the Hub, and the Hub cannot be asked who we are."""
    keys = [key for key in ON_THE_HUB if getattr(config, key)]
    if not keys or config.process_index:
        return
    try:
        HfApi(token=config.hub_token).whoami()
    except LocalTokenNotFoundError as error:
        way = "set HF_TOKEN, or run `hf auth login`"
        raise ConnectionError(f"trainer.{keys[0]}: there is no token for the Hub; {way}, or leave it out") from error
    except Exception as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise ConnectionError(
            f"trainer.{keys[0]}: the Hub cannot be asked ({said}); leave it out and run `hf upload` on final/ later"
        ) from error
