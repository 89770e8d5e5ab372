"""Faults of checkpoints: of what makes them whole, of what they hold, and of what a run may go on with."""

from __future__ import annotations

from mutation.mutants import Mutant

ATOMIC = ("tests/unit/test_atomic.py",)
FOUND = ("tests/unit/test_checkpoints.py",)
LIVE = ("tests/contract/test_saving.py",)


def fault(name: str, file: str, old: str, new: str, tests: tuple[str, ...]) -> Mutant:
    folder, _, path = file.partition("/")
    return Mutant(f"{path} {name}", f"{path}.py", old, new, tests, folder)


SAVING = (
    fault("writes under the final name", "entropostat/atomic", "folder = staging / final.name", "folder = final", ATOMIC),
    fault("syncs nothing", "entropostat/atomic", "            sync_tree(folder)\n", "            pass\n", ATOMIC),
    fault("forgets the folder above", "entropostat/atomic", "    sync_path(final.parent)\n", "", ATOMIC),
    fault("renames before all have written", "entropostat/atomic", "        yield folder\n        wait()", "        yield folder", ATOMIC),
    fault("keeps half a folder", "entropostat/atomic", "            shutil.rmtree(staging, ignore_errors=True)\n        raise", "            pass\n        raise", ATOMIC),
    fault("loses the replaced folder", "entropostat/atomic", "replaced.rename(final)\n        raise", "pass\n        raise", ATOMIC),
    fault("sweeps nothing", "entropostat/atomic", "        shutil.rmtree(left, ignore_errors=True)", "        pass", ATOMIC),
    fault("removes under the name", "entropostat/atomic", "    folder.rename(gone / folder.name)\n", "    shutil.rmtree(folder)\n", ATOMIC),
    fault("writes over a file", "entropostat/atomic", 'new = file.with_name(f".{file.name}.new")', "new = file", ATOMIC),
    fault("trusts sizes", "entropostat/checkpoints", "if file.stat().st_size != size:", "if False:", FOUND),
    fault("trusts names", "entropostat/checkpoints", 'return f"{name} is missing"', "continue", FOUND),
    fault("takes the oldest", "entropostat/checkpoints", "in reversed(oldest_first(runs))", "in oldest_first(runs)", FOUND),
    fault("goes by the folder's time", "entropostat/checkpoints", 'manifest(folder).get("saved", folder.stat().st_mtime)', "folder.stat().st_mtime", FOUND),
    fault("removes the newest", "entropostat/checkpoints", "for folder in spare[:", "for folder in spare[::-1][:", FOUND),
    fault("removes the best", "entropostat/checkpoints", "if folder.resolve() not in kept]", "]", FOUND),
    fault("takes any number of processes", "entropostat/checkpoints", "if before != world:", "if False:", FOUND),
    fault("refuses nothing", "entropostat/checkpoints", "wrong += map(str, found.refused)", "pass", FOUND),
    fault("steers in silence", "entropostat/checkpoints", "if found.steered and not wrong:", "if False:", FOUND),
    fault("compares what is said and not what is meant", "entropostat/recipe/resume", "recipe.trainer.get(f.name, f.default) for", "recipe.trainer.get(f.name) for", FOUND),
    fault("forgets the order of terms", "entropostat/recipe/resume", "for first in (ORDER, KIND):", "for first in (KIND,):", FOUND),
    fault("forgets the curriculum", "entropostat/recipe/resume", "min(stage.steps, step)", "0", FOUND),
    fault("looks beyond the step", "entropostat/recipe/resume", "        if step > 0:\n", "        if True:\n", FOUND),
    fault("uploads half a checkpoint", "trainers/saving", "trainer._push_from_checkpoint = lambda folder: None", "pass", LIVE),
    fault("leaves its paths behind", "trainers/saving", "del trainer._get_output_dir, trainer._push_from_checkpoint", "pass", LIVE),
    fault("names the best by its way", "trainers/saving", "self.state.best_model_checkpoint = str(final)", "pass", LIVE),
    fault("keeps all", "trainers/saving", "        self._rotate(final)\n", "", LIVE),
    fault("leaves one too many", "trainers/saving", "        self._rotate(checkpoint)\n", "", LIVE),
    fault("leaves a half one", "trainers/saving", "            sweep(checkpoint.parent)", "            pass", LIVE),
    fault("trains beyond the end", "trainers/saving", "if self.state.global_step >= self.state.max_steps:", "if False:", LIVE),
    fault("takes any engine", "trainers/saving", "if saved not in (None, now):", "if False:", LIVE),
    fault("forgets the loss", "trainers/checkpoint", 'trainer._tr_loss += saved["loss"]', "pass", LIVE),
    fault("counts the loss twice", "trainers/checkpoint", 'trainer._total_loss_scalar -= saved["loss"]', "pass", LIVE),
    fault("forgets the last log", "trainers/checkpoint", 'trainer._globalstep_last_logged = saved["logged"]', "pass", LIVE),
    fault("forgets the metrics", "trainers/checkpoint", "trainer._metrics[mode][key] = list(found)", "pass", LIVE),
    fault("forgets the completions", "trainers/checkpoint", "trainer._logs[name].extend(kept)", "pass", LIVE),
    fault("forgets the rewards", "trainers/checkpoint", "trainer._logs[name][key].extend(found)", "pass", LIVE),
    fault("forgets its watches", "trainers/control", "self._watches[path].restore(kept)", "pass", LIVE),
    fault("logs as an evaluation", "trainers/control", "self.model.train()  # as", "pass  # as", LIVE),
    fault("keeps later rows", "trainers/records", "os.truncate(self.file,", "(lambda *args: None)(self.file,", LIVE),
    fault("shows completions twice", "trainers/records", 'saved_state(self, state).get("seen", -1)', "-1", LIVE),
    fault("keeps rows of the same step", "trainers/records", 'saved_state(self, state).get("size")', "None", LIVE),
)  # fmt: skip
