"""Counted language models: the next token given the last few.

An n-gram model of order n looks back over n - 1 tokens and predicts from what followed them in the
training text. Most contexts are rare, so the counts are smoothed:

* `add-k`: every count is raised by k (Lidstone; with k = 1 Laplace). See Chen and Goodman (1996,
  ACL P96-1041), who compare the methods.
* `kneser-ney`: a fixed discount is taken from every count, and what is gained goes to the model of
  the next lower order, which counts in how many different contexts a token was seen rather than how
  often (Kneser and Ney, 1995, "Improved backing-off for m-gram language modeling"). Here in its
  interpolated form (the lower order always counts, not only for the unseen), one discount an order.
* `none`: relative frequencies as they are, zeros included.

Contexts never look back beyond the start of a document: what stands before the token `<|end|>` is
replaced by more `<|end|>`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llm_primer.errors import PrimerError

Array = NDArray[np.float64]
Ids = NDArray[np.int64]

SMOOTHINGS = ("kneser-ney", "add-k", "none")


class _Table(NamedTuple):
    """The counts of one order, grouped by context."""

    tokens: Ids  # (n_ngrams,) last token of each n-gram
    counts: Ids  # (n_ngrams,)
    rows: dict[int, tuple[int, int]]  # context -> where its n-grams begin and end
    discount: float


class NGram:
    """An n-gram model over token ids.

    Args:
        order: n, at least 1. An order of 1 ignores the context.
        smoothing: one of `SMOOTHINGS`.
        vocab_size: number of ids.
        k: what add-k adds.
        end_id: the id that separates documents; the last one unless given.

    Raises:
        PrimerError: a setting makes no sense.
    """

    def __init__(
        self,
        order: int,
        smoothing: str = "kneser-ney",
        vocab_size: int = 512,
        k: float = 0.1,
        end_id: int | None = None,
    ) -> None:
        if order < 1:
            raise PrimerError(f"the order of an n-gram model is at least 1, not {order}")
        if smoothing not in SMOOTHINGS:
            raise PrimerError(f"no smoothing {smoothing!r}; there is {', '.join(SMOOTHINGS)}")
        if vocab_size**order >= 2**63:
            raise PrimerError(f"order {order} is too high for a vocabulary of {vocab_size}")
        if smoothing == "add-k" and k <= 0:
            raise PrimerError(f"add-k adds something positive, not {k}")
        self.order = order
        self.smoothing = smoothing
        self.vocab_size = vocab_size
        self.k = k if smoothing == "add-k" else 0.0
        self.end_id = vocab_size - 1 if end_id is None else end_id
        self._tables: list[_Table] = []
        self._cached = lru_cache(maxsize=8192)(self._compute)

    # ---------------------------------------------------------------- counting

    def fit(self, ids: ArrayLike) -> NGram:
        """Count the n-grams of a training text; returns the model itself.

        Args:
            ids: shape (n_tokens,), documents one after another with `end_id` between them.

        Raises:
            PrimerError: there are no ids, or one is not in the vocabulary.
        """
        text = np.asarray(ids, dtype=np.int64)
        if text.ndim != 1 or text.size == 0:
            raise PrimerError("an n-gram model is fitted to a list of token ids, which is empty")
        if text.min() < 0 or text.max() >= self.vocab_size:
            raise PrimerError(f"token ids must lie in 0 ... {self.vocab_size - 1}")
        v = self.vocab_size
        keys, counts = np.unique(self._keys(text), return_counts=True)
        tables = [self._table(keys, counts)]
        if self.smoothing == "kneser-ney":
            for length in range(self.order - 1, 0, -1):
                # Dropping the first token of each distinct longer n-gram and counting what is left
                # counts, for each shorter n-gram, the different tokens that came before it.
                keys, counts = np.unique(keys % v**length, return_counts=True)
                tables.append(self._table(keys, counts))
        self._tables = tables[::-1]
        self._cached.cache_clear()
        return self

    def _keys(self, text: Ids) -> Ids:
        """Every token with its context, as one number in base `vocab_size`."""
        key, place = text.copy(), 1
        lag, ended = text, np.zeros(len(text), dtype=bool)
        for _ in range(self.order - 1):
            place *= self.vocab_size
            lag = np.concatenate([[self.end_id], lag[:-1]])
            ended |= lag == self.end_id
            key += place * np.where(ended, self.end_id, lag)
        return key

    def _table(self, keys: Ids, counts: Ids) -> _Table:
        contexts = keys // self.vocab_size
        starts = np.flatnonzero(np.diff(contexts, prepend=-1))
        ends = np.append(starts[1:], len(keys))
        bounds = zip(starts.tolist(), ends.tolist(), strict=True)
        rows = dict(zip(contexts[starts].tolist(), bounds, strict=True))
        # Ney, Essen and Kneser (1994): D = n1 / (n1 + 2 n2), from how many n-grams occur once and
        # twice. Without any that occur once the formula would leave nothing for the unseen.
        once, twice = int((counts == 1).sum()), int((counts == 2).sum())
        discount = once / (once + 2 * twice) if once else 0.5
        return _Table(keys % self.vocab_size, counts, rows, discount)

    # ---------------------------------------------------------------- predicting

    def distribution(self, context: Sequence[int] | NDArray) -> Array:
        """Probabilities of the next token, shape (vocab_size,).

        Args:
            context: the tokens so far, of which the last `order - 1` count. At the start of a
                document it is `[end_id]`; a shorter context without `end_id` is one whose beginning
                is not known, which Kneser-Ney answers with a lower order.

        Raises:
            PrimerError: the model is not fitted, or the context is too short for the smoothing.
        """
        if not self._tables:
            raise PrimerError("the n-gram model has not been fitted yet")
        reach = self.order - 1
        recent = [int(token) for token in context[len(context) - min(reach, len(context)) :]]
        for i in range(len(recent) - 1, -1, -1):
            if recent[i] == self.end_id:
                recent = [self.end_id] * (reach - (len(recent) - i) + 1) + recent[i + 1 :]
                break
        if len(recent) < reach and self.smoothing != "kneser-ney":
            raise PrimerError(f"a context of {len(recent)} tokens is too short for this model")
        return self._cached(tuple(recent)).copy()

    def _compute(self, context: tuple[int, ...]) -> Array:
        if self.smoothing == "kneser-ney":
            return self._kneser_ney(context)
        counts = np.full(self.vocab_size, self.k)
        tokens, found, _ = self._followers(self._tables[-1], context)
        counts[tokens] += found
        total = counts.sum()
        return counts / total if total else np.full(self.vocab_size, 1.0 / self.vocab_size)

    def _kneser_ney(self, context: tuple[int, ...]) -> Array:
        """p(w | h) = max(c(h w) - D, 0) / c(h) + D N(h .) / c(h) p(w | h without its first token).

        N(h .) is the number of different tokens that followed h. Below the highest order the counts
        c are numbers of different contexts. The lowest order falls back to the uniform
        distribution.
        """
        v = self.vocab_size
        lower = self._cached(context[1:]) if context else np.full(v, 1.0 / v)
        table = self._tables[len(context)]
        tokens, counts, discount = self._followers(table, context)
        if not len(counts):
            return lower
        total = counts.sum()
        p = lower * (discount * len(counts) / total)
        p[tokens] += np.maximum(counts - discount, 0.0) / total
        return p

    def _followers(self, table: _Table, context: tuple[int, ...]) -> tuple[Ids, Ids, float]:
        key = 0
        for token in context:
            key = key * self.vocab_size + token
        start, end = table.rows.get(key, (0, 0))
        return table.tokens[start:end], table.counts[start:end], table.discount

    def log_prob(self, context: Sequence[int] | NDArray, token: int) -> float:
        """The log-probability of one token, in nats; -inf if it is impossible."""
        with np.errstate(divide="ignore"):
            return float(np.log(self.distribution(context)[token]))

    def log_probs(self, ids: Sequence[int] | NDArray) -> Array:
        """`log_prob` of each token but the first given those before it, shape (n_tokens - 1,)."""
        reach = self.order - 1
        return np.array(
            [self.log_prob(ids[max(0, i - reach) : i], ids[i]) for i in range(1, len(ids))]
        )

    def score(self, ids: Sequence[int] | NDArray) -> float:
        """The loss on a text: the mean of -ln p over its tokens but the first, in nats per token.

        Args:
            ids: a text that starts with `end_id`, documents separated by `end_id`.

        Raises:
            PrimerError: there are fewer than two ids.
        """
        if len(ids) < 2:
            raise PrimerError("a text to be scored has two tokens or more")
        return float(-self.log_probs(ids).mean())
