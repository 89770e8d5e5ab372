"""Faults of what is after training: the files that others open, the card, the Hub; and of a container's mounts."""

from __future__ import annotations

from mutation.mutants import fault

FINAL = ("tests/contract/test_final.py",)
CARD = ("tests/unit/test_model_card.py",)
PUSH = ("tests/unit/test_hub_push.py",)
KEYS = ("tests/unit/test_foreign_keys.py",)
BITS = ("tests/unit/test_four_bits.py",)
MOUNTS = ("tests/slurm/test_containers.py",)


AFTER = (
    fault("keeps the pickled arguments", "trainers/state/final", "(folder / TRAINING_ARGS_NAME).unlink(missing_ok=True)", "pass", FINAL),
    fault("leaves the critic beside the policy", "trainers/state/final", "if (folder / file).exists():", "if False:", FINAL),
    fault("leaves the cache off", "trainers/state/final", 'content.pop("use_cache", None)', "pass", FINAL),
    fault("forgets an end", "trainers/state/final", "ends if len(ends) > 1 else ends[0]", "ends[0]", FINAL),
    fault("finds no critic", "trainers/head", "for folder in (start, start / APART):", "for folder in (start,):", FINAL),
    fault("merges nothing", "trainers/build/merge", ".merge_and_unload(safe_merge=True)", ".unload()", FINAL),
    fault("publishes paths", "trainers/records/model_card", "return PATH.sub(", "return re.compile('^$').sub(", CARD),
    fault("publishes the machine", "trainers/records/model_card", "if key not in OF_THE_MACHINE", "if True", CARD),
    fault("publishes who it was", "trainers/records/model_card", "or last in names", "", CARD),
    fault("calls a local base public", "trainers/records/model_card", "and not os.path.exists(named) else None", "or True else None", CARD),
    fault("shows its token", "trainers/records/hub", "print(visible(redacted(line))", "print(visible(line)", PUSH),
    fault("fails with the Hub", "trainers/records/hub", "except Exception as error:", "except KeyError as error:", PUSH),
    fault("forgets the Hub's cache", "slurm/mounts", "    if cache().is_dir():\n", "    if False:\n", MOUNTS),
    fault("forgets the adapter's base", "slurm/mounts", "if base is not None and base.is_dir():", "if False:", MOUNTS),
    fault("mounts twice", "slurm/mounts", "outer = sorted(folder for folder in missing if", "outer = sorted(folder for folder in folders if", MOUNTS),
    fault("mounts the link alone", "slurm/mounts", "for way in (each.folder, real(each.folder))", "for way in (each.folder,)", MOUNTS),
    fault("mounts what no line can name", "slurm/mounts", "if automatic and {", "if False and {", MOUNTS),
    fault("answers no stranger", "entropostat/recipe/explain", "hint = foreign(key) or (", "hint = (", KEYS),
    fault("tells all names", "entropostat/recipe/errors", "if len(options) <= NAMED:", "if True:", KEYS),
    fault("packs the wrong values", "trainers/build/policy", "bnb_4bit_quant_type=block.bnb_4bit_quant_type,", "", BITS),
    fault("passes over a module", "trainers/build/policy", "if not any(name == wanted or", "if False and not any(name == wanted or", BITS),
    fault("counts packed weights whole", "entropostat/scaling/states", "quantised * IN_4_BITS", "quantised * bytes_.weight", BITS),
    fault("starts all copies at one rank", "slurm/job", "recipe.slurm.gpus // int(", "1 // int(", MOUNTS),
)  # fmt: skip
