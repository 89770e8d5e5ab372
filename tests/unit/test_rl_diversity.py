"""Agreement of answers, likeness of texts and information of the prompt, against Python's own counts."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import pytest
import torch
from unit.rl_support import on_ranks

from entropostat.rl.answers import answer_prints
from entropostat.rl.batch import TokenBatch
from entropostat.rl.diagnostics import text
from entropostat.rl.diagnostics.consensus import consensus, information
from entropostat.rl.diagnostics.diversity import hill, rankme, vendi
from entropostat.rl.diagnostics.similarity import WIDTH, likeness, sketches
from entropostat.rl.diagnostics.spikes import spikes
from entropostat.rl.diagnostics.whole import Texts, whole_groups
from entropostat.rl.reduce import Members
from entropostat.rl.window import Window

ROWS = 24


def prints(*keys: str | None) -> torch.Tensor:
    nothing = torch.zeros(len(keys), 1)
    return answer_prints(TokenBatch(logps=nothing, mask=nothing, answers=keys))


def mean(sums: torch.Tensor) -> float:
    total, count = sums.tolist()
    return total / count if count else math.nan


def test_answers_are_counted_as_python_counts_them() -> None:
    groups = [[*"aabc"], ["x", None, "x", "y"], [None, None, "z", None], [*"pqrs"], ["a"]]
    keys = [key for group in groups for key in group]
    ids = torch.tensor([i for i, group in enumerate(groups) for _ in group])
    logps = torch.linspace(-2.0, -0.1, len(keys)).double()
    order = torch.randperm(len(keys), generator=torch.Generator().manual_seed(0))
    told = consensus(prints(*keys)[order], ids[order], logps[order])
    counts = [Counter(k for k in group if k is not None) for group in groups]
    counts = [c for c in counts if c.total() > 1]
    shares = [[n / c.total() for n in c.values()] for c in counts]
    average = lambda values: sum(values) / len(values)
    assert told["parsed"] == pytest.approx(13 / 17)
    assert told["hill0"] == pytest.approx(average([len(p) for p in shares]))
    entropies = [-sum(x * math.log(x) for x in p) for p in shares]
    assert told["entropy"] == pytest.approx(average(entropies))
    assert told["hill1"] == pytest.approx(average([math.exp(h) for h in entropies]))
    assert told["hill2"] == pytest.approx(average([1 / sum(x * x for x in p) for p in shares]))
    assert told["majority"] == pytest.approx(average([max(p) for p in shares]))
    semantic = []
    for i in (0, 1, 3):
        mass: Counter[str] = Counter()
        for key, of, logp in zip(keys, ids.tolist(), logps.tolist(), strict=True):
            if of == i and key is not None:
                mass[key] += math.exp(logp)
        semantic.append(-sum(m / mass.total() * math.log(m / mass.total()) for m in mass.values()))
    assert told["semantic_entropy"] == pytest.approx(average(semantic))
    alike = consensus(prints(*keys), ids, torch.full((len(keys),), -0.7).double())
    assert alike["semantic_entropy"] == pytest.approx(alike["entropy"])
    assert "semantic_entropy" not in consensus(prints(*keys), ids)


def test_where_nobody_gives_answers_nothing_is_said_of_them() -> None:
    silent = answer_prints(TokenBatch(logps=torch.zeros(4, 1), mask=torch.zeros(4, 1)))
    assert consensus(silent, torch.arange(4)) == information(silent, torch.arange(4)) == {}
    unparsed = prints(None, None, None)
    assert consensus(unparsed, torch.zeros(3)) == {"parsed": 0.0} and information(unparsed, torch.zeros(3)) == {}
    assert consensus(prints("a", "b"), torch.arange(2)) == {"parsed": 1.0}, "of one completion no agreement is told"


def test_information_is_what_it_is_beyond_the_mean_over_all_deals() -> None:
    groups, answers = [0, 0, 0, 1, 1, 2], "abacac"

    def plain(dealt: tuple[str, ...]) -> float:
        n = len(dealt)
        of = lambda items: -sum(c / n * math.log(c / n) for c in Counter(items).values())
        return of(groups) + of(dealt) - of(zip(groups, dealt, strict=True))

    deals = list(itertools.permutations(answers))
    expected = sum(map(plain, deals)) / len(deals)
    found = information(prints(*answers), torch.tensor(groups))
    assert found["information"] == pytest.approx(plain(tuple(answers)) - expected)
    room = min(
        -sum(p * math.log(p) for p in (1 / 2, 1 / 3, 1 / 6)), -sum(p * math.log(p) for p in (1 / 2, 1 / 6, 1 / 3))
    )
    assert found["information_share"] == pytest.approx(found["information"] / (room - expected))


def test_answers_that_ignore_their_prompt_carry_no_information_however_high_their_entropy() -> None:
    """Eight completions of each of 64 prompts: without the correction there would be a nat and more."""
    g = torch.Generator().manual_seed(3)
    groups = torch.arange(512) // 8
    template = torch.randint(0, 40, (512,), generator=g).double()
    heeding = groups.double() * 100 + torch.randint(0, 4, (512,), generator=g)
    shares = []
    for answers, entropy in ((template, 1.9), (heeding, 1.0)):
        assert consensus(answers, groups)["entropy"] > entropy
        shares.append(information(answers, groups)["information_share"])
    assert abs(shares[0]) < 0.05 and shares[1] > 0.99
    assert information(torch.ones(512), groups) == {"information": 0.0, "information_share": 0.0}
    assert information(torch.arange(512), groups) == {}, "all different: nothing can be told"
    assert information(groups.double() % 2, groups)["information_share"] == pytest.approx(1.0), (
        "yes or no, by the prompt"
    )


def texts(seed: int, rows: int = ROWS, width: int = 30, words: int = 6) -> Texts:
    g = torch.Generator().manual_seed(seed)
    valid = torch.arange(width) < torch.randint(0, width + 1, (rows, 1), generator=g)
    valid &= torch.rand(rows, width, generator=g) < 0.9  # holes, as tools leave them
    ids = torch.where(valid, torch.randint(0, words, (rows, width), generator=g), 99)
    return Texts(ids, valid, torch.randint(0, 5, (rows,), generator=g))


def counts(ids: torch.Tensor, valid: torch.Tensor) -> Counter[tuple[int, ...]]:
    """Three tokens up to each that is valid; what is not stands as None."""
    row = [None, None, *(int(t) if v else None for t, v in zip(ids, valid, strict=True))]
    return Counter(tuple(row[k - 2 : k + 1]) for k in range(2, len(row)) if row[k] is not None)


def cosine(a: Counter, b: Counter) -> float:
    size = math.sqrt(sum(x * x for x in a.values()) * sum(x * x for x in b.values()))
    return sum(x * b[gram] for gram, x in a.items()) / size if size else 0.0


def test_likeness_is_that_of_the_counts_of_grams() -> None:
    ids, valid, groups = texts(1)
    valid[0] = False  # an empty one
    grams = [counts(i, v) for i, v in zip(ids, valid, strict=True)]
    found = {name: mean(sums) for name, sums in likeness(sketches(ids, valid), Members.of(groups)).items()}
    within, across, scores = [], [], {1: [], 2: []}
    for a, b in itertools.permutations(range(ROWS), 2):
        (within if groups[a] == groups[b] else across).append(cosine(grams[a], grams[b]))
    for group in groups.unique():
        members = (groups == group).nonzero().flatten().tolist()
        if (n := len(members)) > 1:
            kernel = torch.tensor([[1.0 if a == b else cosine(grams[a], grams[b]) for b in members] for a in members])
            for q, of in scores.items():
                of.append((float(vendi(kernel.double(), torch.full((n,), 1 / n).double(), q)) - 1) / (n - 1))
    rough = 3 * WIDTH**-0.5 / math.sqrt(len(scores[1]))
    assert found["similarity"] == pytest.approx(sum(within) / len(within), abs=rough)
    assert found["similarity_across"] == pytest.approx(sum(across) / len(across), abs=rough)
    for q, of in scores.items():
        assert found[f"vendi{q}"] == pytest.approx(sum(of) / len(of), abs=rough)
    assert sum(within) / len(within) > 0.03, "a case in which texts share something"


def test_texts_that_are_all_alike_have_one_kind_and_those_that_share_nothing_as_many_as_completions() -> None:
    groups = torch.arange(8) // 4
    same, every = torch.arange(6).repeat(8, 1), torch.ones(8, 6, dtype=torch.bool)
    told = {name: mean(x) for name, x in likeness(sketches(same, every), Members.of(groups)).items()}
    assert told == pytest.approx({"vendi1": 0, "vendi2": 0, "similarity": 1, "similarity_across": 1}, abs=1e-6)
    apart = torch.arange(48).view(8, 6)
    told = {name: mean(x) for name, x in likeness(sketches(apart, every), Members.of(groups)).items()}
    assert told == pytest.approx({"vendi1": 1, "vendi2": 1, "similarity": 0, "similarity_across": 0}, abs=0.02)
    one = torch.tensor([[5, 0], [5, 1]])
    pair = likeness(sketches(one, torch.tensor([[True, False]] * 2)), Members.of(torch.zeros(2)))
    assert mean(pair["similarity"]) == pytest.approx(1.0), "one token is a text too, and padding none"
    empty = likeness(sketches(one, torch.zeros(2, 2).bool()), Members.of(torch.zeros(2)))
    assert mean(empty["vendi2"]) == pytest.approx(1.0) and mean(empty["similarity"]) == 0
    alone = likeness(sketches(apart, every), Members.of(torch.arange(8)))
    assert all(math.isnan(mean(alone[name])) for name in ("vendi1", "vendi2", "similarity"))
    template = same + 10 * (torch.arange(8) % 4).unsqueeze(1)  # four texts, the same under both prompts
    told = {name: mean(x) for name, x in likeness(sketches(template, every), Members.of(groups)).items()}
    assert told["similarity_across"] > told["similarity"] + 0.2 and told["vendi2"] > 0.9


@pytest.mark.parametrize("n", [1, 2, 4])
def test_distinct_grams_are_those_of_python_sets(n: int) -> None:
    ids, valid, groups = texts(2, words=3)
    shares = []
    for group in groups.unique():
        grams = []
        for row, mask in zip(ids[groups == group], valid[groups == group], strict=True):
            spans = [range(k, k + n) for k in range(ids.size(1) - n + 1)]
            grams += [tuple(row[list(span)].tolist()) for span in spans if all(mask[list(span)])]
        if grams:
            shares.append(len(set(grams)) / len(grams))
    total, count = text.distinct_grams(ids, valid, Members.of(groups), n).tolist()
    assert count == len(shares) and total == pytest.approx(sum(shares))
    assert text.distinct_grams(ids[:, :n], valid[:, :n], Members.of(groups), n + 1).tolist() == [0, 0]


@pytest.mark.parametrize("cut", [0, 5, 12, ROWS])
def test_groups_that_straddle_ranks_are_measured_as_on_one(cut: int) -> None:
    whole = texts(3)
    whole = whole._replace(groups=torch.arange(ROWS) // 5)
    wide = Texts(torch.nn.functional.pad(whole.ids, (0, 7)), torch.nn.functional.pad(whole.valid, (0, 7)), whole.groups)
    parts = [Texts(*(x[:cut] for x in whole)), Texts(*(x[cut:] for x in wide))]
    ranks = (torch.arange(ROWS) >= cut).double()
    widths = torch.where(ranks > 0, wide.ids.size(1), whole.ids.size(1)).double()

    def work(reducer):
        own = whole_groups(parts[reducer.rank], whole.groups.double(), ranks, widths, reducer)
        window = Window()
        for name, sums in (
            likeness(sketches(own.ids, own.valid), Members.of(own.groups)).items() if len(own.ids) else ()
        ):
            window.pool(name, sums)
        return own, window._pools

    results = on_ranks([work, work])
    rows = torch.cat([own.groups for own, _ in results])
    assert sorted(rows.tolist()) == sorted(whole.groups.tolist())
    expected = likeness(sketches(whole.ids, whole.valid), Members.of(whole.groups))
    for name in ("vendi1", "vendi2", "similarity"):
        pooled = sum(pools[name] for _, pools in results if pools)
        torch.testing.assert_close(pooled, expected[name])


def test_long_texts_that_share_nothing_are_not_alike_for_want_of_places() -> None:
    ids = torch.arange(4 * 3000).view(4, 3000)
    told = likeness(sketches(ids, torch.ones_like(ids).bool()), Members.of(torch.zeros(4)))
    assert abs(mean(told["similarity"])) < 0.05 and mean(told["vendi2"]) > 0.98


@pytest.mark.parametrize("options", [{}, {"window": 5, "k": 1.0, "least_std": 0.0, "least": 0.0, "first": 2.0}])
def test_spikes_by_running_sums_are_those_of_each_window(options: dict[str, float]) -> None:
    o = {"window": 25, "k": 4.0, "least_std": 0.5, "least": 1.8, "first": 3.0} | options
    g = torch.Generator().manual_seed(5)
    entropy = torch.rand(6, 300, generator=g).double() * 4
    entropy[:, 150:] *= 0.1
    entropy[:, 200::17] += 5
    mask = torch.rand(6, 300, generator=g) < 0.8
    expected = torch.zeros_like(mask)
    for i in range(6):
        places = mask[i].nonzero().flatten().tolist()
        values = entropy[i, places].tolist()
        for k, place in enumerate(places):
            before = torch.tensor(values[max(k - o["window"], 0) : k]).double()
            std = before.std().clamp(min=o["least_std"])
            bar = o["first"] if k < o["window"] else max(float(before.mean() + o["k"] * std), o["least"])
            expected[i, place] = values[k] > bar
    assert torch.equal(spikes(entropy, mask, **options), expected) and 20 < int(expected.sum()) < 600


def test_rankme_counts_the_directions_that_features_take() -> None:
    q, _ = torch.linalg.qr(torch.randn(32, 5, generator=torch.Generator().manual_seed(1)).double())
    assert float(rankme(q)) == pytest.approx(5.0)
    assert float(rankme(q[:, :1] @ q[:7, :1].T)) == pytest.approx(1.0)
    assert float(rankme(torch.zeros(4, 3))) == 0


@pytest.mark.parametrize("q", [0, 0.5, 1, 2, 3, math.inf])
def test_what_has_no_share_is_no_kind(q: float) -> None:
    p = torch.tensor([0.5, 0.25, 0.25, 0.0]).double()
    assert float(hill(p, q)) == pytest.approx(float(hill(p[:3], q)))
    assert float(hill(torch.full((6,), 1 / 6), q)) == pytest.approx(6)
    assert float(hill(torch.zeros(3), q)) == 0
