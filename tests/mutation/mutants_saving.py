"""Faults of checkpoints: of what makes them whole, of what they hold, and of what a run may go on with."""

from __future__ import annotations

from mutation.mutants import fault

ATOMIC = ("tests/unit/test_atomic.py",)
FOUND = ("tests/unit/test_checkpoints.py",)
SEALED = ("tests/unit/test_manifest.py",)
LOCKED = ("tests/unit/test_lock.py",)
DATA = ("tests/security/test_forged_checkpoints.py",)
LIVE = ("tests/contract/test_saving.py",)


SAVING = (
    fault("writes under the final name", "entropostat/atomic", "folder = staging / final.name", "folder = final", ATOMIC),
    fault("syncs nothing", "entropostat/atomic", "        sync_path(path)\n", "        pass\n", ATOMIC),
    fault("follows a link on its way", "entropostat/atomic", "is_symlink():\n            left.unlink()", "is_symlink():\n            pass", LOCKED),
    fault("writes through a link", "entropostat/atomic", "os.O_CREAT | os.O_EXCL)", "os.O_CREAT)", LOCKED),
    fault("follows links", "entropostat/own_files", "flags | os.O_NOFOLLOW", "flags", LOCKED),
    fault("takes any kind of file", "entropostat/own_files", "if entry.is_symlink() or not", "if not", LOCKED),
    fault("leaves the lock to children", "entropostat/lock", "        os.register_at_fork(after_in_child=self.release)\n", "", LOCKED),
    fault("locks nothing", "entropostat/lock", "    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)\n", "    pass\n", LOCKED),
    fault("trusts sizes", "entropostat/manifest", "if (size := path.stat().st_size) != saved.bytes:", "if (size := path.stat().st_size) < 0:", FOUND),
    fault("trusts names", "entropostat/manifest", "    if path is None:\n        raise Damage", "    if path is None:\n        return\n        raise Damage", SEALED),
    fault("trusts content", "entropostat/manifest", "if hashed != record.files[name].xxh3_128:", "if False:", SEALED),
    fault("trusts its manifest", "entropostat/manifest", "if _text(record) != text:", "if False:", SEALED),
    fault("takes any step", "entropostat/manifest", "if record.step != step(folder):", "if False:", SEALED),
    fault("takes what nobody saved", "entropostat/manifest", "    if saved is None:", "    if False:", SEALED),
    fault("takes another run's", "entropostat/checkpoints", "if wanted is not None and record.recipe not in", "if False and record.recipe not in", SEALED),
    fault("takes the oldest", "entropostat/checkpoints", "in reversed(oldest_first(run))", "in oldest_first(run)", FOUND),
    fault("forgets where a run went back", "entropostat/checkpoints", "(numbers[folder] or last, step(folder))", "step(folder)", FOUND),
    fault("takes the oldest run", "entropostat/checkpoints", "in reversed(runs(recipe))", "in runs(recipe)", FOUND),
    fault("takes any number of processes", "entropostat/checkpoints", "[] if record.world_size == world else", "[] if True else", FOUND),
    fault("loads code", "trainers/state/restricted", 'os.environ[FORCED] = "1"', 'os.environ[FORCED] = "0"', DATA),
    fault("unpickles", "trainers/state/saving", "for file in () if allow_code else", "for file in () if True else", DATA),
    fault("forgets the folder above", "entropostat/atomic", "    sync_path(final.parent)\n", "", ATOMIC),
    fault("renames before all have written", "entropostat/atomic", "        yield folder\n        wait()", "        yield folder", ATOMIC),
    fault("keeps half a folder", "entropostat/atomic", "            shutil.rmtree(staging, ignore_errors=True)\n        raise", "            pass\n        raise", ATOMIC),
    fault("loses the replaced folder", "entropostat/atomic", "replaced.rename(final)\n        raise", "pass\n        raise", ATOMIC),
    fault("sweeps nothing", "entropostat/atomic", "        shutil.rmtree(left, ignore_errors=True)", "        pass", ATOMIC),
    fault("removes under the name", "entropostat/atomic", "    folder.rename(gone / folder.name)\n", "    shutil.rmtree(folder)\n", ATOMIC),
    fault("writes over a file", "entropostat/atomic", "new = file.with_name(\n        NEW.format(file.name, secrets.token_hex(8))\n    )", "new = file", ATOMIC),
    fault("removes the newest", "entropostat/checkpoints", "for folder in spare[:", "for folder in spare[::-1][:", FOUND),
    fault("removes the best", "entropostat/checkpoints", "if folder.resolve() not in kept]", "]", FOUND),
    fault("refuses nothing", "entropostat/checkpoints", "wrong += map(str, change.refused)", "pass", FOUND),
    fault("steers in silence", "entropostat/checkpoints", "if change.steered and not wrong:", "if False:", FOUND),
    fault("compares what is said and not what is meant", "entropostat/recipe/resume", "recipe.trainer.get(f.name, f.default) for", "recipe.trainer.get(f.name) for", FOUND),
    fault("forgets the order of terms", "entropostat/recipe/resume", "for first in (ORDER, KIND):", "for first in (KIND,):", FOUND),
    fault("forgets the curriculum", "entropostat/recipe/resume", "min(stage.steps, step)", "0", FOUND),
    fault("looks beyond the step", "entropostat/recipe/resume", "        if step > 0:\n", "        if True:\n", FOUND),
    fault("uploads half a checkpoint", "trainers/state/saving", "trainer._push_from_checkpoint = lambda folder: None", "pass", LIVE),
    fault("leaves its paths behind", "trainers/state/saving", "del trainer._get_output_dir, trainer._push_from_checkpoint", "pass", LIVE),
    fault("names the best by its way", "trainers/state/saving", "state.best_model_checkpoint = str(final)", "pass", LIVE),
    fault("keeps all", "trainers/state/saving", "        self._rotate(final)\n", "", LIVE),
    fault("leaves one too many", "trainers/state/saving", "        self._rotate(checkpoint)\n", "", LIVE),
    fault("leaves a half one", "trainers/state/saving", "            sweep(checkpoint.parent)", "            pass", LIVE),
    fault("trains beyond the end", "trainers/run_seams", "if self.state.global_step >= self.state.max_steps:", "if False:", LIVE),
    fault("takes any engine", "trainers/state/saving", "if saved != now:", "if False:", LIVE),
    fault("forgets the loss", "trainers/state/rank_state", 'trainer._tr_loss += saved["loss"]', "pass", LIVE),
    fault("counts the loss twice", "trainers/state/rank_state", 'trainer._total_loss_scalar -= saved["loss"]', "pass", LIVE),
    fault("forgets the last log", "trainers/state/rank_state", 'trainer._globalstep_last_logged = saved["logged"]', "pass", LIVE),
    fault("forgets the metrics", "trainers/state/rank_state", "trainer._metrics[mode][key] = list(entries)", "pass", LIVE),
    fault("forgets the completions", "trainers/state/rank_state", "trainer._logs[name].extend(kept)", "pass", LIVE),
    fault("forgets the rewards", "trainers/state/rank_state", "trainer._logs[name][key].extend(entries)", "pass", LIVE),
    fault("forgets its watches", "rl/thermostat", "self.watches[path].restore(kept)", "pass", LIVE),
    fault("logs as an evaluation", "trainers/control/clock", "trainer.model.train()  # as", "pass  # as", LIVE),
    fault("keeps later rows", "trainers/records/files", "stream.truncate(", "(lambda *args: None)(", LIVE),
    fault("repeats the history", "trainers/records/files", "        state.log_history = []\n", "        pass\n", LIVE),
    fault("forgets a histogram", "trainers/records/files", 'kept.get("pending")', "None", LIVE),
    fault("shows completions twice", "trainers/records/files", 'kept.get("seen", -1)', "-1", LIVE),
    fault("keeps rows of the same step", "trainers/records/files", 'kept.get("size")', "None", LIVE),
)  # fmt: skip
