"""The sums behind a release, against SciPy and against simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from llm_primer import PrimerError
from llm_primer.harness import (
    all_right,
    at_least,
    compare,
    control_chart,
    exact_interval,
    false_alarm_rate,
    gate,
    questions_needed,
    spread_apart,
    spread_paired,
    true_share,
    true_share_error,
)


@pytest.mark.parametrize(("right", "n"), [(10, 10), (0, 7), (9, 10), (271, 400), (1, 3)])
def test_the_exact_interval_is_that_of_scipy(right, n):
    low, high = exact_interval(right, n)
    known = stats.binomtest(right, n).proportion_ci(0.95, method="exact")
    assert (low, high) == pytest.approx((known.low, known.high), abs=1e-6)


def test_tails_and_all_right():
    assert at_least(7, 12, 0.4) == pytest.approx(stats.binom.sf(6, 12, 0.4))
    assert all_right(10) ** 10 == pytest.approx(0.05)
    with pytest.raises(PrimerError, match="11 right of 10"):
        exact_interval(11, 10)


@pytest.mark.parametrize("paired", [True, False])
def test_so_many_questions_show_the_difference_as_often_as_promised(paired):
    rng = np.random.default_rng(1)
    p, q, n_runs = 0.80, 0.86, 1500
    both = 0.78  # share of questions that both get right, where they share the questions
    disagree = p + q - 2 * both
    spread = spread_paired(q - p, disagree) if paired else spread_apart(p, q)
    n = questions_needed(q - p, spread)
    seen = 0
    for _ in range(n_runs):
        u = rng.random(n)
        a = u < p
        b = (u < both) | ((u >= p) & (u < p + q - both)) if paired else rng.random(n) < q
        d = b.astype(float) - a
        error = d.std() / math.sqrt(n) if paired else math.sqrt((a.var() + b.var()) / n)
        seen += abs(d.mean()) > 1.96 * error
    assert seen / n_runs == pytest.approx(0.8, abs=0.04)


def test_what_cannot_be_is_said_so():
    with pytest.raises(PrimerError, match="Some difference"):
        questions_needed(0, 1)
    with pytest.raises(PrimerError, match="disagree"):
        spread_paired(0.2, 0.1)
    with pytest.raises(PrimerError, match="same questions"):
        compare([0, 1], [1])
    with pytest.raises(PrimerError, match="at least two"):
        control_chart(np.ones(1))
    with pytest.raises(PrimerError, match="tell right from wrong"):
        true_share(0.5, 0.4, 0.4)


def test_a_comparison_counts_wins_and_losses():
    old = np.array([1] * 80 + [0] * 20)
    new = np.array([1] * 75 + [0] * 5 + [1] * 12 + [0] * 8)
    found = compare(old, new)
    assert (found.won, found.lost) == (12, 5)
    assert found.difference.estimate == pytest.approx(0.07)
    assert found.chance == pytest.approx(stats.binomtest(12, 17).pvalue)
    assert compare(old, old).chance == 1.0
    assert not gate(compare(new, old))


def test_the_gate_opens_for_a_good_version_and_not_on_a_short_table():
    old, new = np.tile([1, 1, 0, 0], 100), np.tile([1, 1, 1, 0], 100)
    assert gate(compare(old, new))
    assert not gate(compare(new, old))
    assert gate(compare(old, old))
    assert not gate(compare(old[:140], old[:140]))  # losses on 2 of 100 could have gone unseen


def test_the_judge_is_corrected_for_its_mistakes():
    p, caught, slipped = 0.7, 0.9, 0.2
    assert true_share(p * caught + (1 - p) * slipped, caught, slipped) == pytest.approx(p)


def test_the_corrected_share_scatters_as_much_as_promised():
    rng = np.random.default_rng(3)
    p, caught, slipped, n, n_right, n_wrong = 0.8, 0.95, 0.3, 400, 200, 100
    v = p * caught + (1 - p) * slipped
    found = [
        true_share(
            rng.binomial(n, v) / n,
            rng.binomial(n_right, caught) / n_right,
            rng.binomial(n_wrong, slipped) / n_wrong,
        )
        for _ in range(4000)
    ]
    error = true_share_error(v, caught, slipped, n, n_right, n_wrong)
    assert np.std(found) == pytest.approx(error, rel=0.05)
    assert error == pytest.approx(0.0378, abs=0.0001)


def test_the_control_chart_is_quiet_when_all_is_well_and_loud_when_not():
    rng = np.random.default_rng(2)
    chart = control_chart(rng.normal(1, 0.2, 4000), k=2)
    batches = rng.normal(1, 0.2, (4000, 25))
    assert np.mean(chart.alarms(list(batches))) == pytest.approx(false_alarm_rate(2), abs=0.01)
    assert all(chart.alarms(list(batches[:50] + 0.3)))
    assert false_alarm_rate(3) == pytest.approx(stats.norm.sf(3))
