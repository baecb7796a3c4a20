"""Recurrent language models: one state vector, rewritten token by token.

Three cells, from the simplest to the one that ruled language modeling before the transformer:

* the simple recurrent network of J. L. Elman ("Finding Structure in Time", Cognitive Science 14,
  1990, 179-211), whose gradient shrinks or grows by a factor at every step back in time;
* the gated recurrent unit (Cho et al., arXiv:1406.1078), which can leave its state as it is;
* the long short-term memory (Hochreiter and Schmidhuber, Neural Computation 9(8), 1997, 1735-1780)
  with the forget gate that Gers, Schmidhuber and Cummins added in 2000, whose memory cell is
  changed by additions.

Nothing special is needed to train them: the graph of T steps is an ordinary graph, and its backward
pass is "backpropagation through time".
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from llm_primer.autograd import Array, Tensor, no_grad, stack
from llm_primer.errors import PrimerError
from llm_primer.nn import Embedding, Linear, Module
from llm_primer.transformer import check_ids

GATES = {"elman": 1, "gru": 3, "lstm": 4}  # how many vectors of the state's width a cell computes


@dataclass(frozen=True)
class RecurrentConfig:
    """The shape of a recurrent model.

    Attributes:
        vocab_size: V.
        width: d, numbers in a token's vector and in the state.
        cell: "elman", "gru" or "lstm".
    """

    vocab_size: int = 512
    width: int = 128
    cell: str = "gru"

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return asdict(self)


class RecurrentLM(Module):
    """Embedding, one recurrent layer, logits.

    Each cell adds a share of the input x_t, computed for all positions at once, and a share of the
    state h_{t-1}. With i_* = x_t W_* + b_* and s_* = h_{t-1} U_* + c_* for each gate *:

    * Elman: h_t = tanh(i + s)
    * GRU: r = σ(i_r + s_r), z = σ(i_z + s_z), n = tanh(i_n + r ⊙ s_n),
      h_t = (1 - z) ⊙ n + z ⊙ h_{t-1}. The reset gate multiplies after U_n, as in PyTorch and in
      the first version of Cho et al.; their last version multiplies h_{t-1} before.
    * LSTM: i, f, o = σ(...), g = tanh(...), c_t = f ⊙ c_{t-1} + i ⊙ g, h_t = o ⊙ tanh(c_t)

    The gates stand side by side in the columns of ``w_in`` and ``w_state``, in the orders
    r, z, n and i, f, g, o.

    Args:
        config: its shape.
        seed: of the random initial weights.
    """

    kind = "recurrent"

    def __init__(self, config: RecurrentConfig, seed: int = 0) -> None:
        if config.cell not in GATES:
            raise PrimerError(f"cell must be one of {', '.join(GATES)}; not {config.cell!r}.")
        if min(config.vocab_size, config.width) < 1:
            raise PrimerError("A recurrent model's sizes must be at least 1.")
        rng = np.random.default_rng(seed)
        d, gates = config.width, GATES[config.cell]
        self.config = config
        self.embed = Embedding(config.vocab_size, d, rng, std=1.0)
        self.w_in = Linear(d, gates * d, rng)
        self.w_state = Linear(d, gates * d, rng)
        self.out = Linear(d, config.vocab_size, rng)

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """One position: the input's share x (B, gates · d) and the states h, c (B, d); new h and c.

        Only the LSTM has a memory cell c; the others hand it through.
        """
        d, s = self.config.width, self.w_state(h)
        if self.config.cell == "elman":
            return (x + s).tanh(), c
        if self.config.cell == "gru":
            gates = (x[:, : 2 * d] + s[:, : 2 * d]).sigmoid()
            reset, update = gates[:, :d], gates[:, d:]
            new = (x[:, 2 * d :] + reset * s[:, 2 * d :]).tanh()
            return new + update * (h - new), c
        total = x + s
        gates = total[:, : 2 * d].sigmoid()
        new, output = total[:, 2 * d : 3 * d].tanh(), total[:, 3 * d :].sigmoid()
        c = gates[:, d:] * c + gates[:, :d] * new
        return output * c.tanh(), c

    def states(self, ids: Array) -> Tensor:
        """The state h_t after each token of ids (B, T), from a state of zeros: (B, T, d)."""
        ids = np.asarray(ids)
        check_ids(ids, self.config.vocab_size)
        shares = self.w_in(self.embed(ids))
        h = c = Tensor(np.zeros((len(ids), self.config.width), shares.dtype))
        history = []
        for t in range(ids.shape[1]):
            h, c = self.step(shares[:, t], h, c)
            history.append(h)
        return stack(history, axis=1)

    def __call__(self, ids: Array) -> Tensor:
        """Logits (B, T, V) for the token after each position of ids (B, T)."""
        return self.out(self.states(ids))

    def logits(self, ids: Array) -> Array:
        """Logits as a plain array, without a graph: (T,) ids give (T, V), (B, T) give (B, T, V)."""
        ids = np.asarray(ids)
        with no_grad():
            out = self(ids[None] if ids.ndim == 1 else ids).data
        return out[0] if ids.ndim == 1 else out
