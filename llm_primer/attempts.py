"""Many attempts at one answer: what they cover, how to choose among them, how to learn from them.

A model that is right with probability p on one attempt can be asked n times. Whether that helps
depends on who picks the answer: a checker that knows (coverage), a checker that errs, or a vote. A
checker can also be used once and for all, to train the model on the attempts that passed
(`group_advantages`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from llm_primer.autograd import Array
from llm_primer.errors import PrimerError


def coverage(p: Array | float, n: Array | float) -> Array:
    """The probability 1 - (1 - p)^n that at least one of n independent attempts is right."""
    return 1.0 - (1.0 - np.asarray(p, np.float64)) ** n


def pass_at_n(attempts: int, right: int, n: int) -> float:
    """Estimates `coverage` from more attempts than n, of which some were right.

    The chance that n of the attempts, drawn without putting back, hold a right one: the estimator
    without bias of Chen et al. (arXiv:2107.03374, section 2.1, where it is called pass@k).

    Args:
        attempts: how many were made.
        right: how many of them were right.
        n: how many one is allowed, at most ``attempts``.

    Raises:
        PrimerError: the numbers cannot be true together.
    """
    if not (0 <= right <= attempts and 1 <= n <= attempts):
        raise PrimerError(f"pass@{n} needs at least {n} attempts, and {right} of {attempts} right.")
    wrong = attempts - right
    if wrong < n:
        return 1.0
    return float(1.0 - np.prod(1.0 - n / np.arange(wrong + 1, attempts + 1)))


def best_of_n(p: float, n: Array | float, accepts_right: float, accepts_wrong: float) -> Array:
    """The probability that the answer is right if a checker picks it, and the checker errs.

    Of n attempts the first that the checker accepts is handed in; if it accepts none, the last one.

    Args:
        p: the probability that an attempt is right.
        n: how many attempts.
        accepts_right: the probability that the checker accepts a right attempt.
        accepts_wrong: the probability that it accepts a wrong one.

    Returns:
        The probability, of the shape of n. Without end it tends to p a / (p a + (1 - p) b), the
        share of right ones among those accepted.
    """
    accepted = p * accepts_right + (1 - p) * accepts_wrong
    none = (1.0 - accepted) ** np.asarray(n, np.float64)
    kept_right = p * accepts_right / accepted if accepted > 0 else 0.0
    left_right = p * (1 - accepts_right) / (1 - accepted) if accepted < 1 else 0.0
    return (1.0 - none) * kept_right + none * left_right


def majority_vote(
    p: Sequence[float],
    n: int,
    accepts: Sequence[float] | None = None,
    draws: int = 4000,
    seed: int = 0,
) -> float:
    """The probability that the first of some answers gets the most votes of n attempts.

    Args:
        p: the probability of each possible answer; the first is the right one.
        n: how many attempts, hence votes.
        accepts: for each answer the probability that a checker lets an attempt with it vote, with
            fresh luck for every attempt; None if all may vote.
        draws: how many elections are held to estimate it.
        seed: of the elections.

    Returns:
        An estimate; a tie is decided by lot, and if no attempt may vote the last one is handed in.
    """
    heard = np.asarray(p, np.float64) * (1.0 if accepts is None else np.asarray(accepts))
    silent = max(0.0, 1.0 - float(heard.sum()))
    votes = np.random.default_rng(seed).multinomial(n, [*heard, silent], size=draws)[:, :-1]
    most = votes == votes.max(axis=1, keepdims=True)
    won = most[:, 0] / most.sum(axis=1)
    left_right = (p[0] - heard[0]) / silent if silent > 0 else 0.0
    return float(np.where(votes.any(axis=1), won, left_right).mean())


def group_advantages(rewards: Array, epsilon: float = 1e-8) -> Array:
    """How much better each attempt was than its group: (R - mean) / standard deviation.

    Group relative policy optimization (Shao et al., arXiv:2402.03300, section 4.1.2): the attempts
    at one question are each other's yardstick, and no second network has to guess what was to be
    expected.

    Args:
        rewards: (..., n), of n attempts at one question.
        epsilon: added to the deviation; if all rewards are equal, all advantages are 0.

    Returns:
        (..., n), of mean 0.
    """
    rewards = np.asarray(rewards, np.float64)
    centered = rewards - rewards.mean(axis=-1, keepdims=True)
    return centered / (rewards.std(axis=-1, keepdims=True) + epsilon)


def clipped_gain(ratio: Array | float, advantage: Array | float, reach: float = 0.2) -> Array:
    """What a token adds to GRPO's objective: min(ρ A, clip(ρ, 1 - δ, 1 + δ) A).

    Schulman et al. (arXiv:1707.06347, eq. 7) and Shao et al. (arXiv:2402.03300, eq. 3), who call
    the reach ε. Once the new model has moved a token's probability by the factor 1 ± δ in the
    direction that pays, moving it further gains nothing.

    Args:
        ratio: ρ, the token's probability under the model in training over that under the model
            that wrote it.
        advantage: A, of the attempt it belongs to.
        reach: δ.
    """
    ratio, advantage = np.asarray(ratio, np.float64), np.asarray(advantage, np.float64)
    return np.minimum(ratio * advantage, np.clip(ratio, 1 - reach, 1 + reach) * advantage)
