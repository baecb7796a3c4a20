"""The sums behind a release: how sure a score is, how many questions it takes, when to stop.

A table of questions with known answers gives a one or a zero for each. All functions here work on
such outcomes; where they come from is the business of whoever runs the system.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from llm_primer.autograd import Array
from llm_primer.errors import PrimerError
from llm_primer.evaluation import Interval, bootstrap

_NORMAL = NormalDist()


def at_least(right: int, n: int, p: float) -> float:
    """The probability of ``right`` or more successes in n independent tries of probability p."""
    if p in (0, 1):
        return float(right <= n * p)
    ways = math.lgamma(n + 1)
    return math.fsum(
        math.exp(  # in logarithms, since the binomial coefficients outgrow a float
            ways
            - math.lgamma(k + 1)
            - math.lgamma(n - k + 1)
            + k * math.log(p)
            + (n - k) * math.log1p(-p)
        )
        for k in range(right, n + 1)
    )


def _share_where(right: int, n: int, tail: float) -> float:
    """The p at which `right` or more successes have probability `tail`; the tail grows with p."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if at_least(right, n, middle) < tail else (low, middle)
    return (low + high) / 2


def exact_interval(right: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """All true shares that make ``right`` of n neither too high nor too low to believe.

    Clopper and Pearson (1934, doi:10.1093/biomet/26.4.404): the lower end is the share at which as
    many right answers or more have a probability of (1 - level) / 2, the upper end that at which as
    many or fewer do. Unlike ± 1.96 standard errors it holds for few questions and for shares near 0
    or 1; it covers the truth at least as often as it says.

    Args:
        right: how many answers were right.
        n: how many questions were asked, up to a few thousand.
        level: of the interval.

    Raises:
        PrimerError: the numbers cannot be true together.
    """
    if not (0 <= right <= n and n >= 1 and 0 < level < 1):
        raise PrimerError(f"There is no interval of level {level} for {right} right of {n}.")
    tail = (1 - level) / 2
    low = 0.0 if right == 0 else _share_where(right, n, tail)
    high = 1.0 if right == n else 1 - _share_where(n - right, n, tail)
    return low, high


def all_right(n: int, level: float = 0.95) -> float:
    """The least share that n right answers of n leave believable, (1 - level)^(1/n): one-sided."""
    return float((1 - level) ** (1 / n))


def questions_needed(
    difference: float, spread: float, level: float = 0.95, power: float = 0.8
) -> int:
    """How many questions make a true difference of two shares stand out.

    n = ((z₁ + z₂) · spread / difference)², rounded up, where z₁ belongs to the level (two-sided)
    and z₂ to the power.

    Args:
        difference: of the true shares.
        spread: the standard deviation of what one question contributes to it, see `spread_apart`
            and `spread_paired`.
        level: of the interval that has to leave out zero.
        power: how often it shall do so.

    Raises:
        PrimerError: there is no difference, or a level or power outside (0, 1).
    """
    if difference == 0 or not (0 < level < 1 and 0 < power < 1):
        raise PrimerError("Some difference is needed, and level and power between 0 and 1.")
    z = _NORMAL.inv_cdf((1 + level) / 2) + _NORMAL.inv_cdf(power)
    return math.ceil((z * spread / difference) ** 2)


def spread_apart(p: float, q: float) -> float:
    """The spread √(p(1-p) + q(1-q)) where each version gets questions of its own."""
    return math.sqrt(p * (1 - p) + q * (1 - q))


def spread_paired(difference: float, disagree: float) -> float:
    """The spread √(u - δ²) where both versions answer the same questions.

    Args:
        difference: δ, of the shares.
        disagree: u, the share of questions that exactly one of the two gets right.

    Raises:
        PrimerError: the difference is larger than the disagreement, which cannot be.
    """
    if not abs(difference) <= disagree <= 1:
        raise PrimerError("Two versions differ by no more than the questions they disagree on.")
    return math.sqrt(disagree - difference**2)


@dataclass(frozen=True)
class Comparison:
    """Two versions on the same questions.

    Attributes:
        difference: new minus old, in shares, with its bootstrap interval.
        won: questions that only the new version got right.
        lost: questions that only the old version got right.
        chance: the probability of a split as uneven as this or more, if neither were better: the
            exact two-sided sign test on the questions won or lost (McNemar's test, exact form).
        n: how many questions there were.
    """

    difference: Interval
    won: int
    lost: int
    chance: float
    n: int


def compare(
    old: Sequence[float] | Array, new: Sequence[float] | Array, seed: int = 0
) -> Comparison:
    """Compares outcomes (n,) of 0 and 1 of two versions, question by question.

    Raises:
        PrimerError: they have not answered the same number of questions.
    """
    a, b = np.asarray(old, np.float64), np.asarray(new, np.float64)
    if a.shape != b.shape:
        raise PrimerError("A paired comparison needs both versions on the same questions.")
    won, lost = int((b > a).sum()), int((a > b).sum())
    split = won + lost
    chance = min(1.0, 2 * at_least(max(won, lost), split, 0.5)) if split else 1.0
    return Comparison(bootstrap(b - a, seed=seed), won, lost, chance, len(a))


def true_share(passed: float, caught: float, slipped: float) -> float:
    """What a judge's verdicts say about the true share of right answers, if its mistakes are known.

    It passes a share v = p · a₁ + (1 - p) · a₀, hence p = (v - a₀) / (a₁ - a₀).

    Args:
        passed: v, the share of all answers that the judge passes.
        caught: a₁, the share of right answers that it passes.
        slipped: a₀, the share of wrong answers that it passes.

    Raises:
        PrimerError: the judge passes right and wrong answers alike.
    """
    if caught == slipped:
        raise PrimerError("This judge does not tell right from wrong.")
    return (passed - slipped) / (caught - slipped)


def true_share_error(
    passed: float, caught: float, slipped: float, n: int, n_right: int, n_wrong: int
) -> float:
    """The standard error of `true_share` when all three shares were measured (Rogan and Gladen).

    √(v(1-v)/n + p² a₁(1-a₁)/n₁ + (1-p)² a₀(1-a₀)/n₀) / |a₁ - a₀|, to first order.

    Args:
        passed: v, the share of all answers that the judge passes.
        caught: a₁, the share of right answers that it passes.
        slipped: a₀, the share of wrong answers that it passes.
        n: answers that were judged.
        n_right: n₁, right answers from which a₁ was found.
        n_wrong: n₀, wrong answers from which a₀ was found.

    Raises:
        PrimerError: as `true_share`.
    """
    p = true_share(passed, caught, slipped)
    variance = (
        passed * (1 - passed) / n
        + p**2 * caught * (1 - caught) / n_right
        + (1 - p) ** 2 * slipped * (1 - slipped) / n_wrong
    )
    return math.sqrt(variance) / abs(caught - slipped)


def gate(comparison: Comparison, allowed: float = 0.02) -> bool:
    """Whether a new version may replace the old: it is not worse by more than is allowed.

    The decision looks at the lower end of the interval and not at the difference, so that too few
    questions keep a release back as well. A resample cannot contain a loss that the table does not;
    so the table must also be long enough for losses on more than the allowed share to show at all.
    """
    enough = 1 - all_right(comparison.n) < allowed
    return enough and comparison.difference.low > -allowed


def false_alarm_rate(k: float) -> float:
    """How often a normal value lies more than k standard deviations above its mean: 1 - Φ(k)."""
    return 1 - _NORMAL.cdf(k)


@dataclass(frozen=True)
class ControlChart:
    """An upper limit for the mean of a batch, as on a Shewhart control chart.

    Attributes:
        center: the mean of single values while all was well.
        spread: their standard deviation.
        k: how many standard errors above the center the limit lies.
    """

    center: float
    spread: float
    k: float = 3.0

    def limit(self, n: int) -> float:
        """The limit center + k · spread / √n for the mean of n values."""
        return self.center + self.k * self.spread / math.sqrt(n)

    def alarms(self, batches: Sequence[Array]) -> list[bool]:
        """Whether the mean of each batch lies above its limit."""
        return [float(np.mean(batch)) > self.limit(len(batch)) for batch in batches]


def control_chart(quiet: Array, k: float = 3.0) -> ControlChart:
    """The chart that values from a quiet time give.

    Raises:
        PrimerError: there are fewer than two values.
    """
    values = np.asarray(quiet, np.float64)
    if len(values) < 2:
        raise PrimerError("A control chart needs at least two values from a quiet time.")
    return ControlChart(float(values.mean()), float(values.std(ddof=1)), k)
