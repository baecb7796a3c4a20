"""How far work of many steps gets, and how far a score can be trusted.

A step that is right with probability p, done n times in a row, is right throughout with p^n. Checks
change that sum, and where they stand decides what they cost. The same binomial arithmetic tells how
far the score of a benchmark may lie from what another set of questions would have given.
"""

from __future__ import annotations

import math

import numpy as np

from llm_primer.autograd import Array
from llm_primer.errors import PrimerError


def run_success(p: Array | float, n: Array | int) -> Array:
    """The probability p^n that n independent steps are all right."""
    return np.asarray(p, np.float64) ** n


def step_success(
    p: float, tries: int, accepts_wrong: float = 0.0, accepts_right: float = 1.0
) -> float:
    """The probability that a step is right if a checker sends it back, at most tries - 1 times.

    The first try that the checker accepts counts. If it accepts none, the step counts as a failure,
    since somebody else has to take over.

    Args:
        p: the probability that one try is right.
        tries: M, how many there are, at least 1.
        accepts_wrong: a₀, the probability that the checker accepts a wrong try.
        accepts_right: a₁, the probability that it accepts a right one.

    Returns:
        p a₁ (1 + r + … + r^(M - 1)), where r = p (1 - a₁) + (1 - p)(1 - a₀) is the chance to be
        sent back; for a checker that accepts all that is right, p (1 - r^M) / (1 - r).

    Raises:
        PrimerError: a probability outside [0, 1], or no try.
    """
    if not (all(0 <= x <= 1 for x in (p, accepts_wrong, accepts_right)) and tries >= 1):
        raise PrimerError("Three probabilities between 0 and 1 are needed, and at least one try.")
    sent_back = p * (1 - accepts_right) + (1 - p) * (1 - accepts_wrong)
    return p * accepts_right * sum(sent_back**k for k in range(tries))


def steps_to_success(p: float, n: int, every: int = 1) -> float:
    """How many steps are done on average until n are right, if a perfect checker looks at times.

    The checker looks after every block of ``every`` steps, and the block is done again until all of
    it is right. A block of m takes 1 / p^m rounds on average, and m steps each.

    Args:
        p: the probability that a step is right, above 0.
        n: how many steps the work has.
        every: how many of them are checked at once; a last, shorter block is checked too.

    Raises:
        PrimerError: p is not in (0, 1], or a block is empty.
    """
    if not 0 < p <= 1 or n < 0 or every < 1:
        raise PrimerError("p lies above 0 and at most at 1, and a block has at least one step.")
    blocks, rest = divmod(n, every)
    return blocks * every / p**every + (rest / p**rest if rest else 0.0)


def pass_hat(attempts: int, right: int, k: int) -> float:
    """Estimates the chance that k attempts at one task are all right: C(right, k) / C(attempts, k).

    The measure pass^k of τ-bench (Yao et al., arXiv:2406.12045, section 3), without bias like its
    counterpart `llm_primer.attempts.pass_at_n`, which asks for at least one.

    Args:
        attempts: how many were made.
        right: how many of them were right.
        k: how many in a row have to be right, at most ``attempts``.

    Raises:
        PrimerError: the numbers cannot be true together.
    """
    if not (0 <= right <= attempts and 1 <= k <= attempts):
        raise PrimerError(f"pass^{k} needs at least {k} attempts, and {right} of {attempts} right.")
    return math.comb(right, k) / math.comb(attempts, k)


def standard_error(score: Array | float, questions: Array | int) -> Array:
    """The standard error √(p (1 - p) / n) of a share of right answers.

    Args:
        score: the share p.
        questions: n, drawn independently from all that could have been asked.
    """
    p = np.asarray(score, np.float64)
    return np.sqrt(p * (1 - p) / questions)
