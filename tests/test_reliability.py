"""The arithmetic of many steps agrees with dice."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from llm_primer import PrimerError
from llm_primer.attempts import best_of_n, pass_at_n
from llm_primer.reliability import (
    pass_hat,
    run_success,
    standard_error,
    step_success,
    steps_to_success,
)


def test_steps_in_a_row_multiply():
    assert run_success(0.95, 20) == pytest.approx(0.3585, abs=1e-4)
    assert run_success(np.array([0.5, 1.0]), 2) == pytest.approx([0.25, 1.0])


@pytest.mark.parametrize(
    ("p", "tries", "accepts_wrong", "accepts_right"),
    [(0.8, 3, 0.0, 1.0), (0.6, 4, 0.3, 1.0), (0.9, 1, 0.5, 1.0), (0.7, 3, 0.4, 0.8)],
)
def test_tries_and_a_checker_that_errs_agree_with_dice(p, tries, accepts_wrong, accepts_right):
    rng = np.random.default_rng(0)
    done = 0
    for _ in range(20_000):
        for _ in range(tries):
            right = rng.random() < p
            if rng.random() < (accepts_right if right else accepts_wrong):
                done += right
                break
    found = step_success(p, tries, accepts_wrong, accepts_right)
    assert found == pytest.approx(done / 20_000, abs=0.01)


def test_a_step_sent_back_without_end_is_one_answer_picked_from_many():
    limit = step_success(0.95, 200, 0.5, 0.9)
    assert limit == pytest.approx(float(best_of_n(0.95, 200, 0.9, 0.5)))


@pytest.mark.parametrize("every", [1, 3, 7])
def test_the_work_until_all_is_right_agrees_with_dice(every):
    rng = np.random.default_rng(1)
    n, p, done, runs = 7, 0.8, 0, 4000
    for _ in range(runs):
        left = n
        while left:
            block = min(every, left)
            done += block
            if (rng.random(block) < p).all():
                left -= block
    assert steps_to_success(p, n, every) == pytest.approx(done / runs, rel=0.04)


def test_pass_hat_counts_the_groups_that_are_all_right():
    outcomes = [1, 1, 1, 0, 1, 0]
    for k in (1, 2, 3):
        groups = list(combinations(outcomes, k))
        assert pass_hat(6, 4, k) == pytest.approx(np.mean([all(g) for g in groups]))
        assert pass_at_n(6, 4, k) == pytest.approx(np.mean([any(g) for g in groups]))


def test_a_score_swings_as_far_as_the_standard_error_says():
    scores = np.random.default_rng(2).binomial(198, 0.5, 20_000) / 198
    assert standard_error(0.5, 198) == pytest.approx(scores.std(), rel=0.02)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: step_success(1.2, 2),
        lambda: step_success(0.5, 0),
        lambda: step_success(0.5, 1, 0.2, -0.1),
        lambda: steps_to_success(0, 3),
        lambda: steps_to_success(0.5, 3, 0),
        lambda: pass_hat(5, 6, 1),
        lambda: pass_hat(5, 2, 6),
    ],
)
def test_nonsense_is_one_clear_line(wrong):
    with pytest.raises(PrimerError):
        wrong()
