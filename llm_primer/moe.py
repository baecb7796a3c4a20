"""Mixture of experts: many feed-forward layers, of which a token uses only a few.

A router gives each token one score per expert; the k experts with the highest scores process it,
and their outputs are added up with weights from a softmax over those k scores (Shazeer et al.,
arXiv:1701.06538, section 2.1, without its noise; Mixtral, arXiv:2401.04088, routes like this). With
k = 1 that softmax would always be 1 and teach the router nothing; as in Switch Transformers (Fedus
et al., arXiv:2101.03961) the weight is then the expert's probability among all experts. Parameters
grow with the number of experts E, the work per token only with k. Left alone, a router soon sends
everything to a few experts; the auxiliary loss of Switch Transformers pushes the load apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from llm_primer.autograd import Array, Tensor, stack
from llm_primer.errors import PrimerError
from llm_primer.nn import Linear, Module, embedding, softmax


def scatter_rows(parts: Sequence[Tensor], rows: Sequence[Array], n: int) -> Tensor:
    """Adds rows into a table of zeros: part i, (n_i, d), goes to the rows ``rows[i]`` (n_i,).

    The rows of one part are all different. Returns (n, d); the gradient is read back from there.
    """
    out = np.zeros((n, parts[0].shape[-1]), parts[0].dtype)
    for part, where in zip(parts, rows, strict=True):
        out[where] += part.data
    return Tensor.from_op(out, tuple(parts), lambda g: [g[where] for where in rows])


def load_balance_loss(router_probs: Tensor, chosen: Array) -> Tensor:
    """E · Σ fᵢ Pᵢ: 1 when the load is even, up to E when one expert gets everything.

    Fedus et al. (arXiv:2101.03961, section 2.2), without their factor α; for k > 1 with fᵢ counted
    over all k · n choices.

    Args:
        router_probs: (n, E), softmax over all experts.
        chosen: (n, k), the experts that were used.

    Returns:
        One number. fᵢ, the share of choices that fell on expert i, is a constant for the gradient;
        Pᵢ, the router's mean probability for it, is not.
    """
    experts = router_probs.shape[-1]
    share = np.bincount(chosen.reshape(-1), minlength=experts) / chosen.size
    return (router_probs.mean(axis=0) * share.astype(router_probs.dtype)).sum() * float(experts)


class MixtureOfExperts(Module):
    """Takes the place of a feed-forward layer: (..., d) to (..., d).

    Attributes:
        router: a linear map without bias, W_r of shape (d, E).
        experts: E feed-forward layers.
        top_k: k.
        balance: after a call, the load-balancing loss of that call (a tensor with a graph).
        load: after a call, (E,) the share of choices that fell on each expert.
    """

    def __init__(
        self, width: int, experts: list[Any], top_k: int, rng: np.random.Generator
    ) -> None:
        if not 1 <= top_k <= len(experts):
            raise PrimerError(f"A token can use 1 to {len(experts)} experts, not {top_k}.")
        self.router = Linear(width, len(experts), rng, bias=False)
        self.experts = experts
        self.top_k = top_k
        self.balance: Tensor | None = None
        self.load: Array | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """(..., d) to (..., d): Σ over the k chosen experts of weight · expert(x)."""
        flat = x.reshape(-1, x.shape[-1])
        n = len(flat)
        scores = self.router(flat)
        chosen = np.argsort(-scores.data, axis=-1, kind="stable")[:, : self.top_k]
        probs = softmax(scores)
        weights = probs
        if self.top_k > 1:
            closed = np.full(scores.shape, -np.inf, scores.dtype)
            np.put_along_axis(closed, chosen, 0, axis=-1)
            weights = softmax(scores + closed)  # 0 for the experts that were not chosen
        parts, rows = [], []
        for i, expert in enumerate(self.experts):
            where = np.flatnonzero((chosen == i).any(axis=-1))
            if len(where):
                taken = embedding(flat, where)  # row lookup; its gradient goes back to these rows
                weight = embedding(weights[:, i : i + 1], where)
                parts.append(expert(taken) * weight)
                rows.append(where)
        self.balance = load_balance_loss(probs, chosen)
        self.load = np.bincount(chosen.reshape(-1), minlength=len(self.experts)) / chosen.size
        return scatter_rows(parts, rows, n).reshape(*x.shape)

    def active_parameters(self) -> int:
        """How many numbers one token passes through: the router and k experts."""
        return self.router.num_parameters() + self.top_k * self.experts[0].num_parameters()


def use_experts(
    model: Any, experts: int, top_k: int, seed: int = 0, layers: Sequence[int] | None = None
) -> None:
    """Replaces a transformer's feed-forward layers, in place, by mixtures of fresh experts.

    Args:
        model: a `Transformer`.
        experts: E.
        top_k: k.
        seed: of the experts' and routers' weights.
        layers: which blocks; None for all.

    Raises:
        PrimerError: k is not between 1 and E, or a block already has experts.
    """
    rng = np.random.default_rng(seed)
    width = model.config.width
    for i in range(len(model.blocks)) if layers is None else layers:
        old = model.blocks[i].ff
        if isinstance(old, MixtureOfExperts):
            raise PrimerError(f"Block {i} already has experts.")
        inner = old.w1.weight.shape[1]
        out_std = (inner * 2 * len(model.blocks)) ** -0.5
        fresh = [type(old)(width, inner, rng, out_std) for _ in range(experts)]
        model.blocks[i].ff = MixtureOfExperts(width, fresh, top_k, rng)


def mixtures(model: Any) -> list[MixtureOfExperts]:
    """All mixtures of a model, in the order of its layers."""
    return [m for _, m in model.named_modules() if isinstance(m, MixtureOfExperts)]


def balance_loss(model: Any) -> Tensor:
    """The mean load-balancing loss of the last call of a model; add α times it to the loss.

    Raises:
        PrimerError: the model has no mixture, or was not called yet.
    """
    found = [m.balance for m in mixtures(model) if m.balance is not None]
    if not found:
        raise PrimerError("The load is known only after a call of a model with experts.")
    return stack(found).mean()
