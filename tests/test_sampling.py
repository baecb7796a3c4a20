"""Sampling: filters against brute force, frequencies against probabilities, beams against all."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from llm_primer import sampling
from llm_primer.errors import PrimerError
from llm_primer.transformer import Transformer, TransformerConfig

LOGITS = st.lists(st.floats(-20, 20, allow_nan=False, width=32), min_size=2, max_size=12).map(
    np.array
)


def plain_softmax(z):
    e = [np.exp(x - max(z)) for x in z]
    return np.array(e) / sum(e)


class Table:
    """A language model by hand: fixed logits for every context, drawn once."""

    def __init__(self, vocabulary, seed):
        self.vocabulary, self.seed = vocabulary, seed

    def logits(self, ids):
        return np.array([[self.row(tuple(r[: t + 1])) for t in range(len(r))] for r in ids])

    def row(self, context):
        key = [self.seed, *(int(i) for i in context)]
        return np.random.default_rng(key).normal(0, 2, self.vocabulary)


@pytest.fixture(scope="module")
def tiny():
    config = TransformerConfig(vocab_size=17, context=24, width=16, layers=2, heads=2)
    return Transformer(config, seed=3)


@given(LOGITS, st.floats(0.2, 5))
def test_temperature_raises_probabilities_to_a_power(z, tau):
    expected = plain_softmax(z) ** (1 / tau)
    got = sampling.probabilities(z, temperature=tau)
    np.testing.assert_allclose(got, expected / expected.sum(), rtol=1e-9, atol=1e-12)


@given(LOGITS, st.integers(1, 15))
def test_top_k_keeps_the_k_best(z, k):
    kept = {i for _, i in sorted((-x, i) for i, x in enumerate(z))[:k]}
    got = sampling.top_k_filter(z, k)
    assert set(np.flatnonzero(np.isfinite(got))) == kept
    np.testing.assert_array_equal(got[sorted(kept)], z[sorted(kept)])


@given(LOGITS, st.floats(0.01, 1))
def test_top_p_keeps_the_smallest_set_that_reaches_p(z, p):
    q = plain_softmax(z)
    got = set(np.flatnonzero(np.isfinite(sampling.top_p_filter(z, p))))
    assert q[list(got)].sum() >= p - 1e-9
    assert got, "the nucleus is never empty"
    # No smaller set reaches p: the largest ones of one fewer do not.
    assert np.sort(q)[::-1][: len(got) - 1].sum() < p + 1e-9


@given(LOGITS, st.floats(0.01, 1))
def test_min_p_compares_with_the_most_likely_token(z, p):
    q = plain_softmax(z)
    got = np.isfinite(sampling.min_p_filter(z, p))
    clear = np.abs(q - p * q.max()) > 1e-9 * q.max()
    np.testing.assert_array_equal(got[clear], (q >= p * q.max())[clear])
    assert got[np.argmax(z)]


@given(LOGITS)
def test_any_settings_give_a_distribution(z):
    q = sampling.probabilities(
        np.stack([z, z[::-1]]), temperature=0.7, top_k=5, top_p=0.9, min_p=0.02
    )
    np.testing.assert_allclose(q.sum(axis=-1), 1, rtol=1e-12)
    assert (q >= 0).all()


def test_temperature_zero_is_greedy():
    z = np.array([0.1, 3.0, 2.9])
    np.testing.assert_array_equal(sampling.probabilities(z, temperature=0), [0, 1, 0])
    assert sampling.greedy(z) == 1


def test_draws_follow_the_distribution():
    q = sampling.probabilities(np.array([0.0, 1.0, 2.0, -1.0, -30.0, 0.5]), top_k=5)
    n = 40_000
    drawn = sampling.draw(np.tile(q, (n, 1)), np.random.default_rng(0))
    counts = np.bincount(drawn, minlength=len(q))
    possible = q > 0
    assert counts[~possible].sum() == 0
    assert stats.chisquare(counts[possible], n * q[possible]).pvalue > 1e-3


def test_a_number_drawn_just_below_one_still_finds_a_possible_token():
    class Top:
        def random(self, shape):
            return np.full(shape, np.nextafter(1.0, 0))

    q = np.array([[0.1] * 7 + [0.3, 0.0], [0.7, 0.2, 0.1, 0, 0, 0, 0, 0, 0]])
    assert sampling.draw(q, Top()).tolist() == [7, 2]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.floats(0, 2))
def test_cache_does_not_change_the_text(tiny, seed, temperature):
    how = {"seed": seed, "temperature": temperature, "top_p": 0.95}
    fast = sampling.generate(tiny, [1, 2, 3], **how)
    slow = sampling.generate(tiny, [1, 2, 3], use_cache=False, **how)
    assert fast == slow
    assert len(fast) == 24 - 3 + 1, "the last token need not be read, so one more fits"


def test_texts_written_side_by_side_are_as_probable_as_one_by_one(tiny):
    """The first token of many texts is distributed as the model says."""
    n = 5_000
    texts = sampling.generate_many(tiny, [4], n, 1, seed=1)
    q = sampling.probabilities(tiny.logits(np.array([4]))[-1])
    counts = np.bincount([t[0] for t in texts], minlength=17)
    assert stats.chisquare(counts, n * q).pvalue > 1e-3


def test_a_text_ends_before_the_stop_token():
    model = Table(3, seed=5)
    texts = sampling.generate_many(model, [0], 50, 8, seed=2, stop=2)
    assert all(2 not in t for t in texts)
    assert {len(t) for t in texts} >= {0, 1, 2}
    assert all(len(t) <= 8 for t in texts)


@pytest.mark.parametrize("seed", range(8))
def test_a_wide_beam_finds_the_best_of_all_texts(seed):
    model, stop, length = Table(3, seed), 2, 4
    everything = []
    for n in range(1, length + 1):
        for text in itertools.product(range(3), repeat=n):
            inside, last = text[:-1], text[-1]
            if stop in inside or (n < length and last != stop):
                continue
            total = 0.0
            for i, token in enumerate(text):
                total += np.log(plain_softmax(model.row((0, *text[:i]))))[token]
            everything.append((total, text))
    everything.sort(reverse=True)
    found = sampling.beam_search(model, [0], 3**3, length, stop=stop)
    for (total, text), beam in zip(everything[:5], found, strict=False):
        assert beam.ids == text
        assert beam.log_prob == pytest.approx(total)
        assert beam.ended == (text[-1] == stop)


def test_a_beam_of_one_is_greedy(tiny):
    beam = sampling.beam_search(tiny, [1, 2], 1, 10)[0]
    assert list(beam.ids) == sampling.generate(tiny, [1, 2], 10, temperature=0)


def test_a_beam_with_cache_reports_the_models_own_log_probability(tiny):
    for beam in sampling.beam_search(tiny, [5], 4, 8):
        ids = np.array([5, *beam.ids])
        z = tiny.logits(ids[:-1]).astype(float)
        expected = sum(np.log(plain_softmax(row))[i] for row, i in zip(z, ids[1:], strict=True))
        assert beam.log_prob == pytest.approx(expected, abs=1e-4)


def test_a_length_penalty_prefers_longer_texts():
    model = Table(3, seed=1)
    short = sampling.beam_search(model, [0], 27, 4, stop=2)[0]
    long = sampling.beam_search(model, [0], 27, 4, stop=2, length_penalty=5.0)[0]
    assert len(long.ids) > len(short.ids)


@pytest.mark.parametrize(
    "how",
    [
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"top_k": 0},
        {"top_p": 0.0},
        {"top_p": 1.5},
        {"min_p": 0.0},
    ],
)
def test_settings_without_sense_are_refused(tiny, how):
    with pytest.raises(PrimerError):
        sampling.generate(tiny, [1], 3, **how)


def test_prompts_that_cannot_be_continued_are_refused(tiny):
    with pytest.raises(PrimerError, match="at least one token"):
        sampling.generate(tiny, [])
    with pytest.raises(PrimerError, match="context is 24"):
        sampling.generate(tiny, [1] * 25)
    with pytest.raises(PrimerError, match="do not fit"):
        sampling.beam_search(tiny, [1] * 20, 2, 10)
    with pytest.raises(PrimerError, match="NaN"):
        sampling.probabilities(np.array([0.0, np.nan]))
    with pytest.raises(PrimerError, match="how many tokens"):
        sampling.generate(Table(3, 0), [0])
