"""Faults of what stands between the policy's text and the machine: what is evaluated, what is computed, what a verifier may raise."""

from __future__ import annotations

from mutation.mutants import Mutant

POLICY = "tests/security/test_policy_text.py::test_"
TEXT = (
    f"{POLICY}boards_and_lists_are_literals",
    f"{POLICY}what_is_looked_up_called_or_computed_is_no_literal",
    f"{POLICY}sums_have_numbers_and_four_operators",
    f"{POLICY}polynomials_and_integrals_are_formulas",
    f"{POLICY}large_powers_and_unknown_functions_are_no_formulas",
)
"""Without the attacks, which take half a minute and run in a process of their own, where a fault would not be."""
LARGE = ("tests/security/test_large_numbers.py",)
HOSTILE = ("tests/security/test_hostile_verifiers.py",)


def fault(name: str, file: str, old: str, new: str, tests: tuple[str, ...]) -> Mutant:
    return Mutant(f"{file} {name}", f"{file}.py", old, new, tests, "reward")


TRUST = (
    fault("lets a call be a literal", "harmless", "isinstance(node, ast.Expression | ast.List | ast.Tuple | ast.Load)", "isinstance(node, ast.AST)", TEXT),
    fault("lets powers into a sum", "harmless", 'and "**" not in text', "", TEXT),
    fault("lets any function into a formula", "harmless", "if name in FUNCTIONS:", "if name:", TEXT),
    fault("lets a built-in be a variable", "harmless", "and not hasattr(builtins, name)", "", TEXT),
    fault("lets a tower be a formula", "harmless", "if exponent > HIGHEST:", "if False:", TEXT),
    fault("takes the size of one factor", "harmless", "_bounded(_size(left) * _size(right))", "_bounded(_size(left))", TEXT),
    fault("lets a power be any", "magnitude", "return _largest(exponent) * digits <= DIGITS", "return True", LARGE),
    fault("lets a tower be any", "magnitude", 'return float("inf") if high > 15 else', "return", LARGE),
    fault("lets a factorial be any", "magnitude", "or _largest(inside) > FACTORIAL", "", LARGE),
    fault("lets a binomial be any", "magnitude", "if COUNTING.search(text) and _largest(text) > COUNT:", "if False:", LARGE),
    fault("lets figures behind e be any", "magnitude", "any(int(match[1][:9]) > DIGITS for match in SCIENTIFIC.finditer(text))", "False", LARGE),
    fault("forbids what is fair", "magnitude", "DIGITS = 20_000", "DIGITS = 20", LARGE),
    fault("hears an interrupt from a verifier", "judge", "if interrupts and isinstance(error, KeyboardInterrupt):", "if isinstance(error, KeyboardInterrupt):", HOSTILE),
    fault("dies of what is no Exception", "judge", "except BaseException as error:  # user code may", "except Exception as error:  # user code may", HOSTILE),
    fault("dies of a text", "judge", 'except BaseException as error:  # noqa: BLE001\n        return f"(its', 'except ZeroDivisionError as error:  # noqa: BLE001\n        return f"(its', HOSTILE),
    fault("keeps what float32 cannot hold", "judge", "if abs(number) * max(1.0, abs(weight)) > LARGEST:", "if False:", HOSTILE),
    fault("forgets the weight", "judge", "max(1.0, abs(weight))", "1.0", HOSTILE),
)  # fmt: skip
