"""Reverse-mode automatic differentiation over NumPy arrays.

A `Tensor` is an array that remembers how it was computed. Every operation returns a new tensor that
keeps its inputs (its *parents*) and one function, its *backward rule*, which answers a single
question: if the loss changes by ``g`` per unit of my output, by how much does it change per unit of
each of my inputs? `Tensor.backward` walks the graph from the loss to the leaves in reverse
topological order, calls each rule once, and adds up what arrives over several paths. That sum is
the multivariable chain rule, and the whole of backpropagation (Rumelhart, Hinton and Williams,
1986; Baydin et al., arXiv:1502.05767, call it the reverse accumulation mode).

The engine stores nothing but arrays, so it works in float32 for training and in float64 where a
test compares a gradient with finite differences. Rules that are worth writing by hand because they
save time (softmax with cross-entropy, normalization, attention) live in `llm_primer.nn` and
enter through `Tensor.from_op`, the same door that the operators below use.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from llm_primer.errors import PrimerError

Array = np.ndarray
BackwardRule = Callable[[Array], Sequence[Any]]

_state = threading.local()


@contextmanager
def no_grad() -> Iterator[None]:
    """Inside this context operations record no graph: for inference, where memory matters."""
    before = grad_enabled()
    _state.enabled = False
    try:
        yield
    finally:
        _state.enabled = before


def grad_enabled() -> bool:
    """Whether operations record the graph at present (per thread; on by default)."""
    return getattr(_state, "enabled", True)


class Part:
    """A gradient that is zero outside ``index``: what the rule of a slice hands back.

    The engine adds it into place, so that reading T steps out of a sequence costs T small
    additions and not T arrays of the full size.
    """

    __slots__ = ("index", "values")

    def __init__(self, index: Any, values: Array) -> None:
        self.index = index
        self.values = values


class Tensor:
    """An array in a graph of operations.

    Attributes:
        data: the values, an array of floats.
        grad: after `backward`, the derivative of the loss with respect to ``data``, of the same
            shape; None before. Kept for leaves, and for every node if ``backward(keep=True)``.
        requires_grad: whether gradients flow to this tensor.
    """

    __slots__ = ("_parents", "_rule", "data", "grad", "requires_grad")
    __array_priority__ = 100  # so that array * tensor calls Tensor.__rmul__

    def __init__(self, data: Any, requires_grad: bool = False) -> None:
        array = np.asarray(data)
        if array.dtype.kind != "f":
            array = array.astype(np.float32)
        self.data: Array = array
        self.grad: Array | None = None
        self.requires_grad = requires_grad
        self._parents: tuple[Tensor, ...] = ()
        self._rule: BackwardRule | None = None

    @staticmethod
    def from_op(data: Array, parents: tuple[Tensor, ...], rule: BackwardRule) -> Tensor:
        """The result of an operation.

        Args:
            data: the output.
            parents: the inputs.
            rule: takes the gradient of the loss with respect to the output (an array of its shape)
                and returns one gradient per parent, in order: an array of the parent's shape, a
                `Part`, or None where the parent needs none. It must not write into its argument.
        """
        out = Tensor(data)
        if grad_enabled() and any(parent.requires_grad for parent in parents):
            out.requires_grad = True
            out._parents = parents
            out._rule = rule
        return out

    # --- The backward pass ---------------------------------------------------------------------

    def backward(self, grad: Array | None = None, keep: bool = False) -> None:
        """Adds d(self)/d(leaf) to ``leaf.grad`` for every leaf that self was computed from.

        Args:
            grad: the gradient that arrives at self; 1 by default, which needs a single number.
            keep: also leaves its gradient in ``.grad`` on every node on the way, to look at.

        Raises:
            PrimerError: self is not a single number and no ``grad`` was given.
        """
        if grad is None:
            if self.data.size != 1:
                raise PrimerError(
                    f"backward needs one number or a gradient; this tensor has shape {self.shape}."
                )
            grad = np.ones_like(self.data)
        arrived: dict[int, Array] = {id(self): grad}
        owned: set[int] = set()  # arrays made here, safe to add into; the others may be shared
        for node in reversed(self._topological_order()):
            total = arrived.pop(id(node), None)
            if total is None:
                continue
            if node._rule is None or keep:
                node._add_to_grad(total)
            if node._rule is None:
                continue
            for parent, part in zip(node._parents, node._rule(total), strict=True):
                if part is None or not parent.requires_grad:
                    continue
                key = id(parent)
                if isinstance(part, Part):
                    if key not in owned:
                        whole = np.zeros_like(parent.data)
                        if key in arrived:
                            whole += arrived[key]
                        arrived[key] = whole
                        owned.add(key)
                    arrived[key][part.index] += part.values
                elif key not in arrived:
                    arrived[key] = part
                elif key in owned:
                    arrived[key] += part
                else:
                    arrived[key] = arrived[key] + part
                    owned.add(key)

    def _topological_order(self) -> list[Tensor]:
        """All nodes below self, parents before children (no recursion: graphs get deep)."""
        order: list[Tensor] = []
        seen: set[int] = set()
        stack: list[tuple[Tensor, bool]] = [(self, False)]
        while stack:
            node, parents_done = stack.pop()
            if parents_done:
                order.append(node)
            elif id(node) not in seen:
                seen.add(id(node))
                stack.append((node, True))
                stack.extend((p, False) for p in node._parents if p.requires_grad)
        return order

    def _add_to_grad(self, grad: Array) -> None:
        if self.grad is None:
            self.grad = np.array(grad, dtype=self.data.dtype)
        else:
            self.grad += grad  # in place: `grad` may be a view into an optimizer's flat buffer

    # --- Arithmetic, with NumPy's broadcasting --------------------------------------------------

    def __add__(self, other: Any) -> Tensor:
        b = as_tensor(other, self.data.dtype)
        return Tensor.from_op(
            self.data + b.data,
            (self, b),
            lambda g: (unbroadcast(g, self.shape), unbroadcast(g, b.shape)),
        )

    def __mul__(self, other: Any) -> Tensor:
        b = as_tensor(other, self.data.dtype)
        return Tensor.from_op(
            self.data * b.data,
            (self, b),
            lambda g: (
                unbroadcast(g * b.data, self.shape) if self.requires_grad else None,
                unbroadcast(g * self.data, b.shape) if b.requires_grad else None,
            ),
        )

    def __truediv__(self, other: Any) -> Tensor:
        return self * as_tensor(other, self.data.dtype) ** -1.0

    def __pow__(self, exponent: float) -> Tensor:
        return Tensor.from_op(
            self.data**exponent, (self,), lambda g: (g * exponent * self.data ** (exponent - 1),)
        )

    def __neg__(self) -> Tensor:
        return Tensor.from_op(-self.data, (self,), lambda g: (-g,))

    def __sub__(self, other: Any) -> Tensor:
        return self + (-as_tensor(other, self.data.dtype))

    def __rsub__(self, other: Any) -> Tensor:
        return as_tensor(other, self.data.dtype) - self

    def __rtruediv__(self, other: Any) -> Tensor:
        return as_tensor(other, self.data.dtype) / self

    __radd__ = __add__
    __rmul__ = __mul__

    def __matmul__(self, other: Tensor) -> Tensor:
        """(..., n, k) @ (..., k, m) -> (..., n, m); leading axes broadcast.

        With C = A B, dL/dA = (dL/dC) Bᵀ and dL/dB = Aᵀ (dL/dC).
        """
        a, b = self, other
        if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-2]:
            raise PrimerError(f"Cannot multiply matrices of shapes {a.shape} and {b.shape}.")
        return Tensor.from_op(
            a.data @ b.data,
            (a, b),
            lambda g: (
                unbroadcast(g @ b.data.swapaxes(-1, -2), a.shape) if a.requires_grad else None,
                unbroadcast(a.data.swapaxes(-1, -2) @ g, b.shape) if b.requires_grad else None,
            ),
        )

    # --- Functions of one number, applied to every element --------------------------------------

    def exp(self) -> Tensor:
        """The exponential e^x of each element."""
        y = np.exp(self.data)
        return Tensor.from_op(y, (self,), lambda g: (g * y,))

    def log(self) -> Tensor:
        """The natural logarithm of each element."""
        return Tensor.from_op(np.log(self.data), (self,), lambda g: (g / self.data,))

    def tanh(self) -> Tensor:
        """The hyperbolic tangent of each element; its derivative is 1 - tanh²."""
        y = np.tanh(self.data)
        return Tensor.from_op(y, (self,), lambda g: (g * (1 - y * y),))

    def sigmoid(self) -> Tensor:
        """1 / (1 + e^-x) of each element; its derivative is y (1 - y)."""
        y = sigmoid(self.data)
        return Tensor.from_op(y, (self,), lambda g: (g * (y * (1 - y)),))

    def relu(self) -> Tensor:
        """max(x, 0) of each element; the derivative at 0 is taken to be 0."""
        positive = self.data > 0
        return Tensor.from_op(self.data * positive, (self,), lambda g: (g * positive,))

    # --- Sums, and changes of shape -------------------------------------------------------------

    def sum(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
        """The sum over ``axis`` (all axes by default)."""

        def rule(g: Array) -> tuple[Array]:
            if axis is not None and not keepdims:
                g = np.expand_dims(g, axis)
            return (np.broadcast_to(g, self.shape),)

        return Tensor.from_op(
            np.asarray(self.data.sum(axis=axis, keepdims=keepdims)), (self,), rule
        )

    def mean(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
        """The mean over ``axis`` (all axes by default)."""
        total = self.sum(axis, keepdims)
        return total * (total.data.size / self.data.size)

    def reshape(self, *shape: int) -> Tensor:
        """The same elements in another shape."""
        return Tensor.from_op(
            self.data.reshape(*shape), (self,), lambda g: (g.reshape(self.shape),)
        )

    def swapaxes(self, a: int, b: int) -> Tensor:
        """Two axes exchanged (a view: nothing is copied)."""
        return Tensor.from_op(self.data.swapaxes(a, b), (self,), lambda g: (g.swapaxes(a, b),))

    @property
    def T(self) -> Tensor:
        """The last two axes exchanged."""
        return self.swapaxes(-1, -2)

    def __getitem__(self, index: Any) -> Tensor:
        """Basic slices and integers. For rows by number see `llm_primer.nn.embedding`."""
        parts = index if isinstance(index, tuple) else (index,)
        if not all(isinstance(p, int | slice | type(...) | None | np.integer) for p in parts):
            raise PrimerError("A tensor takes integers and slices as its index.")
        return Tensor.from_op(self.data[index], (self,), lambda g: (Part(index, g),))

    # --- Looking at it --------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes."""
        return self.data.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.data.ndim

    @property
    def dtype(self) -> np.dtype:
        """The type of the elements."""
        return self.data.dtype

    def __len__(self) -> int:
        return len(self.data)

    def item(self) -> float:
        """The value of a tensor that holds one number."""
        return float(self.data.item())

    def numpy(self) -> Array:
        """The values, outside the graph."""
        return self.data

    def detach(self) -> Tensor:
        """The same values as a constant: no gradient flows back through it."""
        return Tensor(self.data)

    def __repr__(self) -> str:
        return f"Tensor(shape={self.shape}, dtype={self.dtype}, requires_grad={self.requires_grad})"


def as_tensor(value: Any, dtype: Any = None) -> Tensor:
    """``value`` itself if it is a tensor, else a constant tensor of that type of element."""
    return value if isinstance(value, Tensor) else Tensor(np.asarray(value, dtype=dtype))


def unbroadcast(grad: Array, shape: tuple[int, ...]) -> Array:
    """Sums ``grad`` over the axes along which an input of ``shape`` was repeated.

    An element that broadcasting used n times influences the loss n ways, so its gradient is the sum
    of the n that come back.
    """
    if grad.shape == shape:
        return grad
    grad = grad.sum(axis=tuple(range(grad.ndim - len(shape))))
    repeated = tuple(i for i, n in enumerate(shape) if n == 1 and grad.shape[i] != 1)
    return grad.sum(axis=repeated, keepdims=True) if repeated else grad


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^-x), written with tanh so that no x overflows; any shape."""
    return 0.5 * (np.tanh(0.5 * x) + 1.0)


def concat(tensors: Sequence[Tensor], axis: int = -1) -> Tensor:
    """Tensors joined along an existing axis; each gets its own piece of the gradient."""
    ends = np.cumsum([t.shape[axis] for t in tensors])[:-1]
    return Tensor.from_op(
        np.concatenate([t.data for t in tensors], axis=axis),
        tuple(tensors),
        lambda g: np.split(g, ends, axis=axis),
    )


def stack(tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Tensors of one shape joined along a new axis."""
    return Tensor.from_op(
        np.stack([t.data for t in tensors], axis=axis),
        tuple(tensors),
        lambda g: list(np.moveaxis(g, axis, 0)),
    )


def numerical_gradient(
    f: Callable[[Array], float],
    x: Array,
    step: float = 1e-6,
    indices: Sequence[tuple] | None = None,
) -> Array:
    """df/dx by central differences, (f(x + h) - f(x - h)) / 2h, one element at a time.

    Args:
        f: a function of an array that returns a number.
        x: where; float64, or the difference drowns in rounding. It is changed and restored.
        step: h. The error is of the order h² plus 1e-16 / h.
        indices: the elements to look at; all by default. The others stay 0.
    """
    gradient = np.zeros_like(x)
    for i in np.ndindex(*x.shape) if indices is None else indices:
        before = x[i]
        x[i] = before + step
        above = f(x)
        x[i] = before - step
        below = f(x)
        x[i] = before
        gradient[i] = (above - below) / (2 * step)
    return gradient
