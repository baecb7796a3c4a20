"""A feed-forward language model with a fixed window, after Bengio et al. (2003).

The first neural language model that beat counted n-grams at scale (Y. Bengio, R. Ducharme,
P. Vincent, C. Janvin, "A Neural Probabilistic Language Model", JMLR 3, 2003, 1137-1155) looks up a
learned vector for each of the last n - 1 tokens, lays them end to end, and sends them through one
hidden layer of tanh units. Unlike a table of counts it can use what it learned of one word for
others with similar vectors; like one, it is blind to everything before its window.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from llm_primer.autograd import Array, Tensor, no_grad
from llm_primer.errors import PrimerError
from llm_primer.nn import Embedding, Linear, Module
from llm_primer.transformer import check_ids


@dataclass(frozen=True)
class FeedForwardConfig:
    """The shape of a fixed-window model.

    Attributes:
        vocab_size: V.
        window: how many tokens it sees, n - 1 in the paper.
        width: numbers in a token's vector, m in the paper.
        hidden: tanh units, h in the paper.
        direct: whether the vectors are also connected straight to the logits (W in the paper).
    """

    vocab_size: int = 512
    window: int = 4
    width: int = 32
    hidden: int = 128
    direct: bool = False

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return asdict(self)


class FeedForwardLM(Module):
    """logits = b + x W + tanh(d + x H) U with x the vectors of the window, end to end (eq. 1).

    Positions before the start of a sequence are filled with the last token of the vocabulary, the
    document separator ``<|end|>``.

    Args:
        config: its shape.
        seed: of the random initial weights.
    """

    kind = "feedforward"

    def __init__(self, config: FeedForwardConfig, seed: int = 0) -> None:
        if min(config.vocab_size, config.window, config.width, config.hidden) < 1:
            raise PrimerError("A feed-forward model's sizes must be at least 1.")
        rng = np.random.default_rng(seed)
        self.config = config
        joined = config.window * config.width
        self.embed = Embedding(config.vocab_size, config.width, rng, std=1.0)
        self.hidden = Linear(joined, config.hidden, rng)
        self.out = Linear(config.hidden, config.vocab_size, rng)
        self.direct = Linear(joined, config.vocab_size, rng, bias=False) if config.direct else None

    def windows(self, ids: Array) -> Array:
        """For every position of ids (B, T) the last ``window`` tokens up to it: (B, T, window)."""
        n = self.config.window
        padded = np.pad(ids, ((0, 0), (n - 1, 0)), constant_values=self.config.vocab_size - 1)
        return np.lib.stride_tricks.sliding_window_view(padded, n, axis=1)

    def __call__(self, ids: Array) -> Tensor:
        """Logits (B, T, V) for the token after each position of ids (B, T)."""
        ids = np.asarray(ids)
        check_ids(ids, self.config.vocab_size)
        x = self.embed(self.windows(ids)).reshape(*ids.shape, -1)
        logits = self.out(self.hidden(x).tanh())
        return logits if self.direct is None else logits + self.direct(x)

    def logits(self, ids: Array) -> Array:
        """Logits as a plain array, without a graph: (T,) ids give (T, V), (B, T) give (B, T, V)."""
        ids = np.asarray(ids)
        with no_grad():
            out = self(ids[None] if ids.ndim == 1 else ids).data
        return out[0] if ids.ndim == 1 else out
