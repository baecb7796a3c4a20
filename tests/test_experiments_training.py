"""The experiments of chapter 5: the law is fitted and solved rightly, the runs are complete."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from llm_primer import PrimerError
from llm_primer.experiments import scaling, settings


@pytest.fixture(scope="module")
def law() -> scaling.ScalingLaw:
    return scaling.ScalingLaw(e=0.6, a=20, alpha=0.5, b=5000, beta=0.7)


def test_a_known_law_is_found_again(law):
    n, d = (v.ravel() for v in np.meshgrid([1e4, 3e4, 1e5, 3e5], [1e5, 4e5, 2e6]))
    found = scaling.fit_law(n, d, law(n, d))
    assert found.e == pytest.approx(law.e, rel=1e-3)
    assert (found.alpha, found.beta) == pytest.approx((law.alpha, law.beta))
    assert found(1e6, 1e7) == pytest.approx(law(1e6, 1e7), rel=1e-3)
    assert scaling.fit_law(n, d, law(n, d), e=0.6).a == pytest.approx(law.a, rel=1e-3)


def test_too_few_runs_are_one_clear_line():
    with pytest.raises(PrimerError, match="4 runs"):
        scaling.fit_law(np.ones(4), np.ones(4), np.ones(4))


def test_the_best_split_spends_the_budget_and_has_the_lowest_loss(law):
    n, d = law.best_split(1e12)
    assert 6 * n * d == pytest.approx(1e12)
    searched = minimize_scalar(
        lambda x: law(np.exp(x), 1e12 / (6 * np.exp(x))), bounds=(5, 20), method="bounded"
    )
    assert np.log(n) == pytest.approx(searched.x, abs=1e-3)


def test_published_constants_give_the_published_ratio():
    """The refit of Besiroglu et al. agrees with 20 tokens per parameter at Chinchilla's budget."""
    refitted = scaling.ScalingLaw(e=1.8172, a=482.01, alpha=0.3478, b=2085.43, beta=0.3658)
    n, d = refitted.best_split(5.88e23)
    assert 15 < d / n < 25


def test_scaling_runs_in_small():
    results = scaling.run(
        sizes=((8, 1, 1, 1e-2),),
        tokens=(2000, 4000),
        stories=300,
        test_stories=5,
        asked=5,
        book_model=False,
        progress=False,
    )
    first, second = results["runs"]
    assert second["tokens"] > first["tokens"]
    assert second["loss"] < first["loss"]
    assert first["gap"] == pytest.approx(first["loss"] - first["floor"], abs=1e-4)


def test_settings_run_in_small():
    results = settings.run(
        batches=(2,),
        rates=(1e-2, 1e30),
        amounts=(20,),
        grid_tokens=3000,
        repeat_tokens=6000,
        test_stories=5,
        progress=False,
    )
    learned, broken = results["grid"]
    assert learned["curve"][-1] < learned["curve"][0]
    assert broken["gap"] is None or broken["gap"] > learned["gap"]
    assert results["repeats"][0]["times_read"] > 3
