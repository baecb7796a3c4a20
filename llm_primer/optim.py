"""Optimizers, the learning-rate schedule, and gradient clipping.

An optimizer lays all parameters end to end in one flat array, and likewise their gradients; each
tensor keeps a view of its piece. A step is then a dozen operations on two long arrays, all in
place, however many layers a model has.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from llm_primer.autograd import Array, Tensor
from llm_primer.errors import PrimerError


class _FlatOptimizer:
    """Parameters and gradients as flat arrays; matrices first, since only they are decayed."""

    def __init__(self, parameters: dict[str, Tensor]) -> None:
        if not parameters:
            raise PrimerError("An optimizer needs at least one parameter to train.")
        # Gains and biases (one axis) set the scale of a whole channel; decay is for matrices.
        ordered = sorted(parameters.values(), key=lambda t: t.ndim < 2)
        self.tensors = ordered
        self.decayed = sum(t.data.size for t in ordered if t.ndim >= 2)
        self.theta = np.concatenate([t.data.reshape(-1) for t in ordered])
        self.grad = np.zeros_like(self.theta)
        self._lay_out(ordered, self.grad)
        self.steps = 0

    def _lay_out(self, tensors: list[Tensor], grad: Array) -> None:
        start = 0
        for t in tensors:
            end = start + t.data.size
            t.data = self.theta[start:end].reshape(t.shape)
            t.grad = grad[start:end].reshape(t.shape)
            start = end

    def share(self, parameters: dict[str, Tensor]) -> Array:
        """Lets a copy of the model read these parameters and gather a gradient of its own.

        Args:
            parameters: the copy's, by name: of the same shapes and in the same order.

        Returns:
            The flat array, laid out like ``grad``, that the copy's backward passes add to.
        """
        grad = np.zeros_like(self.grad)
        self._lay_out(sorted(parameters.values(), key=lambda t: t.ndim < 2), grad)
        return grad

    def zero_grad(self) -> None:
        """Sets every gradient to 0, before the next backward pass adds to it."""
        self.grad.fill(0)

    def state(self) -> dict[str, Array]:
        """The arrays, besides the parameters, that a checkpoint must hold to go on exactly."""
        return {"steps": np.array([self.steps], dtype=np.int64)}

    def load_state(self, state: dict[str, Array]) -> None:
        """Puts back what `state` returned.

        Raises:
            PrimerError: an array is missing or has another shape.
        """
        own = self.state()
        for name, array in own.items():
            if name not in state or state[name].shape != array.shape:
                raise PrimerError(f"The optimizer state {name!r} does not belong to this model.")
            array[...] = state[name]
        self.steps = int(state["steps"][0])


class SGD(_FlatOptimizer):
    """Gradient descent with momentum: u ← μ u + g, θ ← θ - η u. With μ = 0 it is θ ← θ - η g."""

    def __init__(self, parameters: dict[str, Tensor], lr: float, momentum: float = 0.0) -> None:
        super().__init__(parameters)
        self.lr, self.momentum = lr, momentum
        self.velocity = np.zeros_like(self.theta)

    def step(self, lr: float | None = None) -> None:
        """One update from the gradients, with learning rate ``lr`` if given."""
        self.steps += 1
        self.velocity *= self.momentum
        self.velocity += self.grad
        self.theta -= np.multiply(self.velocity, self.lr if lr is None else lr)

    def state(self) -> dict[str, Array]:
        """Step count and velocity."""
        return {**super().state(), "velocity": self.velocity}


class AdamW(_FlatOptimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter, arXiv:1711.05101, algorithm 2).

    At step t, with gradient g::

        m ← β₁ m + (1 - β₁) g             running mean of the gradient
        v ← β₂ v + (1 - β₂) g²            running mean of its square
        m̂ = m / (1 - β₁ᵗ),  v̂ = v / (1 - β₂ᵗ)
        θ ← θ - η (m̂ / (√v̂ + ε) + λ θ)    the last term for matrices only

    As in PyTorch, η scales the decay too.

    Args:
        parameters: by name, as from ``model.parameters()``. They must stay where the optimizer puts
            them: write into ``tensor.data[...]``, never replace it.
        lr: the learning rate η.
        betas: β₁ and β₂.
        eps: ε.
        weight_decay: λ, applied to parameters with two or more axes.
    """

    def __init__(
        self,
        parameters: dict[str, Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 0.1,
    ) -> None:
        super().__init__(parameters)
        self.lr, self.betas, self.eps, self.weight_decay = lr, betas, eps, weight_decay
        self.m = np.zeros_like(self.theta)
        self.v = np.zeros_like(self.theta)
        self._scratch = np.empty_like(self.theta)

    def step(self, lr: float | None = None) -> None:
        """One update from the gradients, with learning rate ``lr`` if given."""
        self.steps += 1
        rate = self.lr if lr is None else lr
        beta1, beta2 = self.betas
        update = self._scratch

        self.m *= beta1
        np.multiply(self.grad, 1 - beta1, out=update)
        self.m += update

        self.v *= beta2
        np.multiply(self.grad, self.grad, out=update)
        update *= 1 - beta2
        self.v += update

        np.divide(self.v, 1 - beta2**self.steps, out=update)
        np.sqrt(update, out=update)
        update += self.eps
        np.divide(self.m, update, out=update)
        update *= rate / (1 - beta1**self.steps)

        self.theta[: self.decayed] *= 1 - rate * self.weight_decay
        self.theta -= update

    def state(self) -> dict[str, Array]:
        """Step count and both running means."""
        return {**super().state(), "m": self.m, "v": self.v}


def clip_grad_norm(parameters: Iterable[Tensor], max_norm: float) -> float:
    """Scales all gradients by one factor so that their joint length is at most ``max_norm``.

    The direction stays (Pascanu, Mikolov and Bengio, arXiv:1211.5063, algorithm 1).

    Returns:
        The length before scaling, ‖g‖; not finite if a gradient is not.
    """
    grads = [t.grad for t in parameters if t.grad is not None]
    norm = math.sqrt(sum(float(np.vdot(g, g)) for g in grads))
    if max_norm < norm < math.inf:
        for g in grads:
            g *= max_norm / norm
    return norm


def cosine_schedule(
    step: int, *, peak: float, total: int, warmup: int = 0, floor: float = 0.0
) -> float:
    """The learning rate of a step: a straight rise to ``peak``, then half a cosine to ``floor``.

    Half a cosine is one period of Loshchilov and Hutter's SGDR (arXiv:1608.03983, eq. 5).

    Args:
        step: counted from 0; from ``total`` on the rate stays at ``floor``.
        peak: the highest rate, reached at step ``warmup``.
        total: the number of steps of the run.
        warmup: the number of steps of the rise; step 0 already moves, at peak / warmup.
        floor: the last rate.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = min((step - warmup) / max(total - warmup, 1), 1.0)
    return floor + 0.5 * (peak - floor) * (1 + math.cos(math.pi * progress))
