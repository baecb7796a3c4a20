"""Many attempts: formulas against simulation, hand counts and SciPy-free combinatorics."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest

from llm_primer import PrimerError
from llm_primer.attempts import (
    best_of_n,
    clipped_gain,
    coverage,
    group_advantages,
    majority_vote,
    pass_at_n,
)


def test_coverage_by_hand():
    assert coverage(0.5, 3) == pytest.approx(0.875)
    assert np.allclose(coverage(0.1, np.array([1, 2])), [0.1, 0.19])


@pytest.mark.parametrize(
    ("attempts", "right", "n"), [(10, 3, 4), (20, 1, 20), (5, 0, 2), (6, 5, 3)]
)
def test_pass_at_n_counts_choices(attempts, right, n):
    assert pass_at_n(attempts, right, n) == pytest.approx(
        1 - comb(attempts - right, n) / comb(attempts, n)
    )


def test_pass_at_n_refuses_what_cannot_be():
    with pytest.raises(PrimerError):
        pass_at_n(4, 1, 5)


def test_best_of_n_against_playing_it():
    p, a, b, n = 0.3, 0.8, 0.25, 5
    rng = np.random.default_rng(0)
    right = rng.random((200_000, n)) < p
    accepted = rng.random((200_000, n)) < np.where(right, a, b)
    chosen = np.where(accepted.any(axis=1), accepted.argmax(axis=1), n - 1)
    played = right[np.arange(len(right)), chosen].mean()
    assert best_of_n(p, n, a, b) == pytest.approx(played, abs=0.004)
    assert best_of_n(p, 1, a, b) == pytest.approx(p)
    assert best_of_n(p, 10_000, a, b) == pytest.approx(p * a / (p * a + (1 - p) * b))
    assert best_of_n(p, 7, 1, 0) == pytest.approx(coverage(p, 7))


def test_a_vote_finds_the_favorite_and_not_the_truth():
    assert majority_vote([0.4, 0.3, 0.3], 101) > 0.75
    assert majority_vote([0.4, 0.6], 101) < 0.05
    assert majority_vote([0.4, 0.6], 1) == pytest.approx(0.4, abs=0.03)


def test_a_vote_of_the_accepted_against_playing_it():
    p, accepts, n = np.array([0.3, 0.4, 0.3]), np.array([0.9, 0.3, 0.3]), 9
    rng = np.random.default_rng(1)
    answers = rng.choice(3, (20_000, n), p=p)
    accepted = rng.random(answers.shape) < accepts[answers]
    votes = np.stack([((answers == i) & accepted).sum(axis=1) for i in range(3)], axis=1)
    won = votes == votes.max(axis=1, keepdims=True)
    played = np.where(accepted.any(axis=1), won[:, 0] / won.sum(axis=1), answers[:, -1] == 0).mean()
    assert majority_vote(p, n, accepts, draws=20_000) == pytest.approx(played, abs=0.01)
    assert majority_vote(p, 1, accepts, draws=20_000) == pytest.approx(0.3, abs=0.01)
    assert majority_vote(p, 256, accepts) > 0.99
    assert majority_vote(p, 256) < 0.05


def test_advantages_by_hand():
    assert np.allclose(group_advantages(np.array([1, 0, 0, 0])), [3**0.5] + [-(3**-0.5)] * 3)
    assert not group_advantages(np.ones(4)).any()


def test_the_gain_stops_where_the_reach_ends():
    assert clipped_gain(1.1, 2) == pytest.approx(2.2)
    assert clipped_gain(1.5, 2) == pytest.approx(2.4)
    assert clipped_gain(0.5, 2) == pytest.approx(1.0)  # going the wrong way is not forgiven
    assert clipped_gain(0.5, -1) == pytest.approx(-0.8)
    assert clipped_gain(1.5, -1) == pytest.approx(-1.5)
