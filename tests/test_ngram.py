"""Counted models against the formulas, computed the slow way."""

import math
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_primer.errors import PrimerError
from llm_primer.ngram import NGram
from llm_primer.tokenizer import Tokenizer
from llm_primer.world import World

V = 6
END = V - 1
TEXT = [END, *np.random.default_rng(0).choice([0, 0, 0, 1, 1, 2, 3, END], 300).tolist()]


def grams(text, order):
    """All n-grams, with everything before the last end replaced by ends."""
    for i, token in enumerate(text):
        context = []
        for j in range(1, order):
            ended = i - j < 0 or (context and context[0] == END)
            context.insert(0, END if ended else text[i - j])
        yield (*context, token)


def slow_kneser_ney(text, order, context, word):
    counts = Counter(grams(text, order))
    tables = [counts]
    for _ in range(order - 1):
        tables.insert(0, Counter(gram[1:] for gram in tables[0]))

    def p(h, w):
        table = tables[len(h)]
        ones, twos = (sum(c == k for c in table.values()) for k in (1, 2))
        discount = ones / (ones + 2 * twos) if ones else 0.5
        followers = {gram[-1]: c for gram, c in table.items() if gram[:-1] == h}
        lower = p(h[1:], w) if h else 1 / V
        if not followers:
            return lower
        total = sum(followers.values())
        first = max(followers.get(w, 0) - discount, 0) / total
        return first + discount * len(followers) / total * lower

    return p(tuple(context), word)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_kneser_ney_is_the_formula(order):
    model = NGram(order, vocab_size=V).fit(TEXT)
    rng = np.random.default_rng(1)
    for _ in range(30):
        context = rng.integers(0, V - 1, order - 1).tolist()
        for word in range(V):
            expected = slow_kneser_ney(TEXT, order, context, word)
            assert model.log_prob(context, word) == pytest.approx(math.log(expected), abs=1e-12)


def test_add_k_is_the_formula():
    model = NGram(3, "add-k", vocab_size=V, k=0.5).fit(TEXT)
    followers = defaultdict(Counter)
    for *context, word in grams(TEXT, 3):
        followers[tuple(context)][word] += 1
    for context in [(0, 0), (0, 1), (3, 3), (END, END), (END, 0)]:
        counts = followers[context]
        for word in range(V):
            expected = (counts[word] + 0.5) / (sum(counts.values()) + 0.5 * V)
            assert model.distribution(context)[word] == pytest.approx(expected)


def test_unsmoothed_counts_by_hand():
    model = NGram(2, "none", vocab_size=4, end_id=3).fit([3, 0, 1, 0, 2, 0, 1, 3])
    np.testing.assert_allclose(model.distribution([0]), [0, 2 / 3, 1 / 3, 0])
    assert model.log_prob([0], 0) == -math.inf


def test_what_stands_before_the_end_does_not_matter():
    model = NGram(3, vocab_size=V).fit(TEXT)
    start = model.distribution([END])
    np.testing.assert_array_equal(model.distribution([END, END]), start)
    np.testing.assert_array_equal(model.distribution([2, END]), start)
    np.testing.assert_array_equal(model.distribution([0, 1, 2, END]), start)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(0, V - 1), min_size=1, max_size=40),
    st.integers(1, 4),
    st.sampled_from(["kneser-ney", "add-k", "none"]),
    st.lists(st.integers(0, V - 1), min_size=3, max_size=6),
)
def test_probabilities_sum_to_one(text, order, smoothing, context):
    p = NGram(order, smoothing, vocab_size=V).fit(text).distribution(context)
    assert p.shape == (V,)
    assert p.min() >= 0
    assert p.sum() == pytest.approx(1, abs=1e-9)
    if smoothing != "none":
        assert p.min() > 0 or smoothing == "kneser-ney"


def test_score_is_the_mean_loss_and_the_result_is_a_copy():
    model = NGram(2, vocab_size=V).fit(TEXT)
    ids = TEXT[:20]
    by_hand = -np.mean([model.log_prob(ids[i - 1 : i], ids[i]) for i in range(1, 20)])
    assert model.score(ids) == pytest.approx(by_hand)
    model.distribution([0])[:] = 0
    assert model.distribution([0]).sum() == pytest.approx(1)


def test_more_context_helps_on_stories_but_the_floor_holds():
    world, tokenizer = World(), Tokenizer.book()

    def ids(n, seed):
        out = [tokenizer.end_id]
        for story in world.stories(n, seed):
            out += [*tokenizer.encode(story.text), tokenizer.end_id]
        return out

    train, test = ids(1000, 1), ids(50, 3)
    scores = [NGram(n, vocab_size=tokenizer.vocab_size).fit(train).score(test) for n in (1, 2, 3)]
    assert scores[0] > scores[1] > scores[2]
    floor = -sum(world.log_prob(s.text) for s in world.stories(50, 3)) / (len(test) - 1)
    assert scores[2] > floor + 0.2


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: NGram(0), "at least 1"),
        (lambda: NGram(2, "magic"), "no smoothing"),
        (lambda: NGram(2, "add-k", k=0), "positive"),
        (lambda: NGram(9, vocab_size=512), "too high"),
        (lambda: NGram(2, vocab_size=V).fit([]), "empty"),
        (lambda: NGram(2, vocab_size=V).fit([V]), "must lie in"),
        (lambda: NGram(2, vocab_size=V).distribution([0]), "not been fitted"),
        (lambda: NGram(3, "add-k", vocab_size=V).fit(TEXT).distribution([0]), "too short"),
        (lambda: NGram(2, vocab_size=V).fit(TEXT).score([0]), "two tokens"),
    ],
)
def test_bad_input_is_refused(make, complaint):
    with pytest.raises(PrimerError, match=complaint):
        make()
