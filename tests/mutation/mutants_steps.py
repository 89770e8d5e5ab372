"""Faults of the safe step radius and of Muon beside AdamW."""

from __future__ import annotations

from mutation.mutants import Mutant, stem

RADIUS = ("tests/unit/test_rl_radius.py",)
GOVERNOR = ("tests/contract/test_governor.py",)
OPTIMIZERS = ("tests/contract/test_optimizers.py",)


def fault(name: str, file: str, old: str, new: str, tests: tuple[str, ...], folder: str = "trainers") -> Mutant:
    return Mutant(f"{stem(file)} {name}", f"{file}.py", old, new, tests, folder)


SPREAD = tuple(
    fault(name, "radius", old, new, RADIUS, "rl")
    for name, old, new in (
        ("adds the logits", "change = y.sub_(x)", "change = y.add_(x)"),
        ("forgets the smallest", "return largest - smallest", "return largest"),
        ("keeps the last tile", "torch.maximum(largest[rows], change.amax(1))", "change.amax(1)"),
        ("reads half precision", "torch.promote_types(old.hidden.dtype, torch.float32)", "old.hidden.dtype"),
        ("forgets the head", "head or Head(), size", "Head(), size"),
        ("takes one head for both", "x.weight, x.bias, head", "old.weight, old.bias, head"),
        ("stays on its rank", "reducer.gather(torch.nan_to_num(spread, nan=torch.inf, posinf=torch.inf))", "torch.nan_to_num(spread, nan=torch.inf, posinf=torch.inf)"),
        ("lets NaN through", "torch.nan_to_num(reduced, nan=torch.inf, posinf=torch.inf) / math.pi", "reduced / math.pi"),
        ("forgets pi", "posinf=torch.inf) / math.pi", "posinf=torch.inf)"),
        ("always takes the largest", 'if statistic == "max" else', "if True else"),
        ("lengthens a short step", "1.0 if ratio <= target else target / ratio", "target / max(ratio, 1e-9)"),
        ("turns the ratio", "else target / ratio", "else ratio / target"),
    )
)  # fmt: skip

GOVERNED = tuple(
    fault(name, "optim/step_radius", old, new, GOVERNOR)
    for name, old, new in (
        ("measures every token", "valid & (moving != 0)", "valid"),
        ("measures padding", "valid = completion_mask(inputs).bool()", "valid = torch.ones_like(completion_mask(inputs)).bool()"),
        ("forgets the penalties", "valid if penalised else", "valid if False else"),
        ("measures nothing without advantages", "sum(chosen.sum().float())) else valid", "sum(chosen.sum().float())) else chosen"),
        ("goes back too far", "torch.lerp(old, weight, share)", "torch.lerp(weight, old, share)"),
        ("goes back from what is no number", "if share > 0 else old", "if True else old"),
        ("shortens once", "while 0 < total < 1 and rounds < ROUNDS", "while False"),
        ("never ends", "rounds < ROUNDS", "rounds < 9"),
        ("scales what it measures", "or measured else", "else"),
        ("keeps its learning rate", 'group["lr"] = rate  #', "pass  #"),
        ("forgets what it measured", "self.rate = r / (", "self.rate = 0 * r / ("),
        ("keeps a copy of nothing", "[p for p in self.trainer.model.parameters() if p.requires_grad]", "list(self.trainer.model.parameters())[1:]"),
        ("looks one token too far", "[:, :-1][:, -chosen.size(1) :]", "[:, -chosen.size(1) :]"),
        ("measures every step", "% self.settings.every == 0", "% 1 == 0"),
        ("measures every micro-batch", "or not trainer.accelerator.sync_gradients", "or False"),
        ("runs under FSDP", "if trainer.is_fsdp_enabled:", "if False:"),
        ("forgets its rate in a checkpoint", 'self.rate = kept.get("rate", self.rate)', "pass"),
    )
)  # fmt: skip

MUON = tuple(
    fault(name, "optim/muon", old, new, OPTIMIZERS)
    for name, old, new in (
        ("takes embeddings", "isinstance(module, nn.Embedding | Head)]", "isinstance(module, Head)]"),
        ("takes the head", "(model.get_input_embeddings(), model.get_output_embeddings())", "(model.get_input_embeddings(),)"),
        ("takes frozen weights", "if p.requires_grad and dimensions(p) == 2", "if dimensions(p) == 2"),
        ("takes experts", "dimensions(p) == 2", "dimensions(p) >= 2"),
        ("forgets what ZeRO-3 takes apart", 'getattr(parameter, "ds_shape", parameter.shape)', "parameter.shape"),
        ("does not share its state", "self.param_groups[start : start + count], self.state", "self.param_groups[start : start + count], part.state"),
        ("forgets what it loads", "super().__setstate__(state)\n        self._share()", "super().__setstate__(state)"),
        ("steps one half", "for part in self.parts:\n            part.step()", "for part in self.parts[:1]:\n            part.step()"),
        ("decays norms", '"weight_decay": 0.0}', '"weight_decay": trainer.args.weight_decay}'),
        ("has one learning rate", 'options = {"lr": muon.learning_rate or args.learning_rate', 'options = {"lr": args.learning_rate'),
        ("leaves out the rest", "p in rest]", "p in rest and p.dim() == 2]"),
        ("gives DeepSpeed a scale that it lacks", 'if muon.adjust != "original":', "if False:"),
        ("lets DeepSpeed clip its step", "if args.max_grad_norm > 0:", "if False:"),
        ("reduces by scattering", '["reduce_scatter"] = False', '["reduce_scatter"] = True'),
        ("trusts names", "theirs != (p in mine)", "False"),
        ("runs under FSDP", "if trainer.is_fsdp_enabled:", "if False:"),
    )
)  # fmt: skip
