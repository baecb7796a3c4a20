"""A memory beside the weights: the nearest-neighbor language model (kNN-LM).

Khandelwal et al. (arXiv:1911.00172) write down, for every position of some texts, the vector that
the model has made of the context and the token that came next. To predict, the model looks up the
contexts nearest to the present one and mixes what followed them into its own odds. What was written
down takes effect at once, and nothing is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from llm_primer.autograd import Array, Tensor, no_grad
from llm_primer.errors import PrimerError
from llm_primer.nn import softmax_array


def knn_distribution(distances: Array, tokens: Array, vocab_size: int) -> Array:
    """The odds of the next token according to some neighbors: softmax(-distance), added by token.

    Args:
        distances: (k,) squared distances of the neighbors.
        tokens: (k,) what followed each.
        vocab_size: V.

    Returns:
        (V,), which sums to 1 (Khandelwal et al., eq. 2).
    """
    return np.bincount(tokens, softmax_array(-distances.astype(np.float64)), vocab_size)


class NeighborMemory:
    """Contexts as vectors, each with the token that came next.

    Args:
        model: with ``hidden_states(ids)`` and ``unembed(x)``, as a `Transformer` has them.
        tokenizer: the model's.
        k: how many neighbors are asked.
    """

    def __init__(self, model: Any, tokenizer: Any, k: int = 8) -> None:
        self.model, self.tokenizer, self.k = model, tokenizer, k
        self.keys = np.empty((0, model.config.width), np.float32)
        self.tokens = np.empty(0, np.int64)

    def __len__(self) -> int:
        return len(self.tokens)

    def vectors(self, ids: Sequence[int]) -> Array:
        """What the model has made of each context: (T, d), the stream after the last block."""
        return np.asarray(self.model.hidden_states(np.array(ids))[-1])

    def add(self, texts: Sequence[str], after: Sequence[str] | None = None) -> None:
        """Writes down every position of some texts.

        Args:
            texts: what is written down.
            after: for each text what is read before it and not written down; None for nothing but
                ``<|end|>``, which always comes first.
        """
        keys, tokens = [self.keys], [self.tokens]
        for text, before in zip(texts, after or [""] * len(texts), strict=True):
            begun = self.tokenizer.encode(before)
            ids = [self.tokenizer.end_id, *self.tokenizer.encode(before + text)]
            if ids[1 : len(begun) + 1] != begun:
                raise PrimerError(f"The text cannot be cut from its context before {text[:20]!r}.")
            keys.append(self.vectors(ids[:-1])[len(begun) :])
            tokens.append(np.array(ids[1 + len(begun) :]))
        self.keys, self.tokens = np.concatenate(keys), np.concatenate(tokens)

    def _nearest(self, vector: Array) -> tuple[Array, Array]:
        if not len(self):
            raise PrimerError("The memory is empty.")
        away = ((self.keys - vector) ** 2).sum(axis=1)
        nearest = np.argsort(away, kind="stable")[: self.k]
        return away[nearest], nearest

    def neighbors(self, ids: Sequence[int]) -> tuple[Array, Array]:
        """The k nearest contexts to ids: squared distances (k,) and entries (k,), nearest first.

        Raises:
            PrimerError: nothing has been written down.
        """
        return self._nearest(self.vectors(ids)[-1])

    def odds(
        self,
        ids: Sequence[int],
        share: float = 0.5,
        scale: float = 1.0,
        within: float = np.inf,
    ) -> Array:
        """The mixed odds after every position, (T, V): share · p_kNN + (1 - share) · p_θ.

        Khandelwal et al., eq. 3.

        Args:
            ids: (T,) a text.
            share: how far the memory is believed, from 0 to 1.
            scale: the distances are divided by it; the larger, the more neighbors have a say.
            within: where even the nearest entry is farther away, the memory is not asked.
        """
        vectors = self.vectors(ids)
        with no_grad():
            mixed = softmax_array(self.model.unembed(Tensor(vectors)).data.astype(np.float64))
        for row, vector in zip(mixed, vectors, strict=True):
            away, nearest = self._nearest(vector)
            if away[0] <= within:
                found = knn_distribution(away / scale, self.tokens[nearest], len(row))
                row[:] = share * found + (1 - share) * row
        return mixed

    def next_token(self, ids: Sequence[int], **settings: float) -> Array:
        """The mixed odds (V,) of the next token; settings as in `odds`."""
        return self.odds(ids, **settings)[-1]
