"""Entropy, cross-entropy, divergence and perplexity of distributions that are written out in full.

Shannon (1948, "A Mathematical Theory of Communication") for entropy; Kullback and Leibler (1951,
"On Information and Sufficiency") for the divergence that bears their names. A distribution is an
array whose last axis sums to one; leading axes are so many distributions side by side, and results
have the leading axes' shape. Logarithms are natural, so results are in nats, unless a name ends in
`_bits`. 0 ln 0 counts as 0, its limit.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llm_primer.errors import PrimerError

Array = NDArray[np.float64]

#: One nat in bits: 1 / ln 2.
BITS_PER_NAT = 1.0 / math.log(2.0)


def _distribution(p: ArrayLike, name: str = "p") -> Array:
    values = np.asarray(p, dtype=np.float64)
    if values.ndim == 0 or values.shape[-1] == 0:
        raise PrimerError(f"{name} is not a distribution: it lists no outcomes")
    if not np.all(values >= 0):
        raise PrimerError(f"{name} is not a distribution: it holds a negative number or NaN")
    worst = float(np.abs(values.sum(axis=-1) - 1.0).max())
    if worst > 1e-6:
        raise PrimerError(f"{name} is not a distribution: its sum is off by {worst:.3g}")
    return values


def _pair(p: ArrayLike, q: ArrayLike) -> tuple[Array, Array]:
    first, second = _distribution(p, "p"), _distribution(q, "q")
    if first.shape[-1] != second.shape[-1]:
        raise PrimerError(f"p has {first.shape[-1]} outcomes and q {second.shape[-1]}")
    return first, second


def surprisal(probability: ArrayLike) -> Array:
    """-ln p of each probability, in nats: infinite for what was held impossible."""
    values = np.asarray(probability, dtype=np.float64)
    if not np.all((values >= 0) & (values <= 1)):
        raise PrimerError("a probability lies between 0 and 1")
    with np.errstate(divide="ignore"):
        return -np.log(values) + 0.0


def entropy(p: ArrayLike) -> Array:
    """H(p) = -sum_x p(x) ln p(x), in nats.

    Args:
        p: shape (..., V).

    Returns:
        Shape (...).

    Raises:
        PrimerError: `p` is not a distribution.
    """
    return cross_entropy(p, p)


def entropy_bits(p: ArrayLike) -> Array:
    """H(p) in bits."""
    return entropy(p) * BITS_PER_NAT


def cross_entropy(p: ArrayLike, q: ArrayLike) -> Array:
    """H(p, q) = -sum_x p(x) ln q(x), in nats: the mean surprise of who expects q while p is true.

    Infinite where q excludes what p allows.

    Args:
        p: the truth, shape (..., V).
        q: what is expected, shape (..., V).

    Returns:
        Shape (...).

    Raises:
        PrimerError: one of them is not a distribution, or their lengths differ.
    """
    first, second = _pair(p, q)
    first, second = np.broadcast_arrays(first, second)
    terms = np.zeros(first.shape)
    happens = first > 0
    terms[happens] = first[happens] * surprisal(np.minimum(second[happens], 1.0))
    return terms.sum(axis=-1)


def kl_divergence(p: ArrayLike, q: ArrayLike) -> Array:
    """D(p || q) = sum_x p(x) ln (p(x) / q(x)) = H(p, q) - H(p), in nats; never negative.

    Args:
        p: the truth, shape (..., V).
        q: what is expected, shape (..., V).

    Returns:
        Shape (...).

    Raises:
        PrimerError: as `cross_entropy`.
    """
    first, second = np.broadcast_arrays(*_pair(p, q))
    happens = first > 0
    terms = np.zeros(first.shape)
    with np.errstate(divide="ignore"):
        terms[happens] = first[happens] * (np.log(first[happens]) - np.log(second[happens]))
    return np.maximum(terms.sum(axis=-1), 0.0)


def jensen_shannon(p: ArrayLike, q: ArrayLike) -> Array:
    """JS(p, q) = (D(p || m) + D(q || m)) / 2 with m = (p + q) / 2, in nats: symmetric, <= ln 2.

    Lin (1991, "Divergence Measures Based on the Shannon Entropy").

    Args:
        p: shape (..., V).
        q: shape (..., V).

    Returns:
        Shape (...).
    """
    first, second = _pair(p, q)
    middle = (first + second) / 2
    return (kl_divergence(first, middle) + kl_divergence(second, middle)) / 2


def mutual_information(joint: ArrayLike) -> float:
    """I(X; Y) = D(p(x, y) || p(x) p(y)) of a joint distribution, in nats.

    Args:
        joint: shape (n_x, n_y), summing to one in all.
    """
    table = np.asarray(joint, dtype=np.float64)
    if table.ndim != 2:
        raise PrimerError(f"a joint distribution is a table, not of shape {table.shape}")
    independent = np.outer(table.sum(axis=1), table.sum(axis=0))
    return float(kl_divergence(table.ravel(), independent.ravel()))


def perplexity(log_probs: ArrayLike) -> float:
    """exp(-mean of ln p) of some tokens: the number of equally likely choices that is as hard.

    Args:
        log_probs: ln p of each token in nats, any shape.

    Raises:
        PrimerError: there are none.
    """
    values = np.asarray(log_probs, dtype=np.float64)
    if values.size == 0:
        raise PrimerError("no tokens: their perplexity is not defined")
    return float(np.exp(-values.mean()))
