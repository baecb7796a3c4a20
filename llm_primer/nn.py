"""The parts of neural language models: functions of tensors, and layers that hold parameters.

First come the functions. Each computes its output with plain NumPy and states its own backward
rule, because one fused rule is faster and more exact than a chain of small ones (softmax followed
by a logarithm would round twice and keep three arrays). Then come the layers, small classes with
parameters. Vectors are rows: activations have shape (..., T, d), a matrix multiplies from the
right, and `Linear` computes ``x @ W + b``.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from llm_primer.autograd import Array, Tensor, sigmoid
from llm_primer.errors import PrimerError

# --- Softmax and the loss -----------------------------------------------------------------------


def softmax_array(x: Array, axis: int = -1) -> Array:
    """e^x / Σ e^x along ``axis``, for a plain array.

    The largest element is subtracted first. That leaves the result as it is, since numerator and
    denominator shrink by the same factor, and keeps e^x from overflowing. Rows sum to 1.
    """
    y = x - x.max(axis=axis, keepdims=True)
    np.exp(y, out=y)
    y /= y.sum(axis=axis, keepdims=True)
    return y


def log_softmax_array(x: Array, axis: int = -1) -> Array:
    """The logarithm of `softmax_array`, exact also where a probability rounds to zero."""
    y = x - x.max(axis=axis, keepdims=True)
    y -= np.log(np.exp(y).sum(axis=axis, keepdims=True))
    return y


def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """e^x / Σ e^x along ``axis``. With output p, the gradient is p ⊙ (g - Σ g ⊙ p)."""
    p = softmax_array(x.data, axis)
    return Tensor.from_op(p, (x,), lambda g: (p * (g - (g * p).sum(axis=axis, keepdims=True)),))


def log_softmax(x: Tensor, axis: int = -1) -> Tensor:
    """The logarithm ln softmax(x) along ``axis``. The gradient is g - softmax(x) Σ g."""
    y = log_softmax_array(x.data, axis)
    return Tensor.from_op(y, (x,), lambda g: (g - np.exp(y) * g.sum(axis=axis, keepdims=True),))


def log_sigmoid(x: Tensor) -> Tensor:
    """The value ln σ(x) = -ln(1 + e^-x) of each element, safe for any x; gradient g σ(-x)."""
    return Tensor.from_op(
        -np.logaddexp(np.zeros_like(x.data), -x.data), (x,), lambda g: (g * sigmoid(-x.data),)
    )


def token_log_probs(logits: Tensor, targets: Array) -> Tensor:
    """The log-probability that the logits give to each target token, in nats.

    Args:
        logits: (..., V), one score per token of the vocabulary.
        targets: (...) integers. A negative target marks a position that does not count: its result
            is 0 and no gradient comes from it.

    Returns:
        (...) values of ln softmax(logits)[target]. The gradient with respect to the logits is
        (one-hot(target) - softmax(logits)) times what arrives: the famous "target minus
        prediction".
    """
    targets = np.asarray(targets)
    if targets.shape != logits.shape[:-1]:
        raise PrimerError(
            f"Targets of shape {targets.shape} do not fit logits of shape {logits.shape}."
        )
    width = logits.shape[-1]
    if targets.size and int(targets.max()) >= width:
        raise PrimerError(
            f"Target {int(targets.max())} is outside the vocabulary of {width} tokens."
        )
    flat = targets.reshape(-1)
    rows, counted = np.arange(flat.size), flat >= 0
    columns = np.where(counted, flat, 0)
    y = log_softmax_array(logits.data.reshape(-1, width))
    chosen = np.where(counted, y[rows, columns], 0).astype(y.dtype)

    def rule(g: Array) -> tuple[Array]:
        weights = (g.reshape(-1) * counted).astype(y.dtype)
        grad = np.exp(y)
        grad *= -weights[:, None]
        grad[rows, columns] += weights
        return (grad.reshape(logits.shape),)

    return Tensor.from_op(chosen.reshape(targets.shape), (logits,), rule)


def cross_entropy(logits: Tensor, targets: Array) -> Tensor:
    """The loss of a language model: the mean of -ln p(target) over all targets that count, in nats.

    Args:
        logits: (..., V).
        targets: (...) integers; negative ones are left out of the mean.

    Returns:
        One number. A model that knows nothing scores ln V.

    Raises:
        PrimerError: the shapes do not fit, a target is outside the vocabulary, or none counts.
    """
    counted = int((np.asarray(targets) >= 0).sum())
    if counted == 0:
        raise PrimerError("The cross-entropy of no target at all is not defined.")
    return token_log_probs(logits, targets).sum() * (-1.0 / counted)


# --- Linear maps, embeddings, normalization -----------------------------------------------------


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The linear map x W + b: (..., d_in) by (d_in, d_out) gives (..., d_out).

    All leading axes are laid end to end, so that forward and backward are one big matrix product
    each, which is what makes processors fast.
    """
    d_in, d_out = weight.shape
    if x.shape[-1] != d_in:
        raise PrimerError(f"A linear layer for vectors of {d_in} got an input of shape {x.shape}.")
    rows = x.data.reshape(-1, d_in)
    y = rows @ weight.data
    if bias is not None:
        y += bias.data

    def rule(g: Array) -> tuple[Array | None, ...]:
        g = g.reshape(-1, d_out)
        grads = (
            (g @ weight.data.T).reshape(x.shape) if x.requires_grad else None,
            rows.T @ g if weight.requires_grad else None,
        )
        return grads if bias is None else (*grads, g.sum(axis=0))

    parents = (x, weight) if bias is None else (x, weight, bias)
    return Tensor.from_op(y.reshape(*x.shape[:-1], d_out), parents, rule)


def embedding(table: Tensor, ids: Array) -> Tensor:
    """Row ``ids`` of ``table``: (...) integers by (V, d) gives (..., d).

    The same as one-hot vectors times the table. The gradient of a row is the sum of what arrives at
    all places where it was used, so the places are sorted by id and summed run by run.
    """
    ids = np.asarray(ids)

    def rule(g: Array) -> tuple[Array]:
        flat = ids.reshape(-1)
        grad = np.zeros_like(table.data)
        if flat.size:
            order = np.argsort(flat, kind="stable")
            used, first = np.unique(flat[order], return_index=True)
            grad[used] = np.add.reduceat(g.reshape(flat.size, -1)[order], first, axis=0)
        return (grad,)

    return Tensor.from_op(table.data[ids], (table,), rule)


def layer_norm(x: Tensor, gain: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    """Layer normalization, (x - mean) / sqrt(variance + eps) ⊙ γ + β along the last axis.

    From Ba, Kiros and Hinton (arXiv:1607.06450). Shapes: x (..., d), gain γ and bias β (d,).
    The variance divides by d, not d - 1.
    """
    centered = x.data - x.data.mean(axis=-1, keepdims=True)
    scale = 1.0 / np.sqrt((centered * centered).mean(axis=-1, keepdims=True) + x.dtype.type(eps))
    unit = centered * scale

    def rule(g: Array) -> tuple[Array, Array, Array]:
        gu = g * gain.data
        along = (gu * unit).mean(axis=-1, keepdims=True)
        grad = (gu - gu.mean(axis=-1, keepdims=True) - unit * along) * scale
        leading = tuple(range(g.ndim - 1))
        return grad, (g * unit).sum(axis=leading), g.sum(axis=leading)

    return Tensor.from_op(unit * gain.data + bias.data, (x, gain, bias), rule)


def rms_norm(x: Tensor, gain: Tensor, eps: float = 1e-5) -> Tensor:
    """Root-mean-square normalization, x / sqrt(mean(x²) + eps) ⊙ γ along the last axis.

    From Zhang and Sennrich (arXiv:1910.07467, eq. 4). Like layer normalization without the mean
    and the shift. Shapes: x (..., d), gain γ (d,).
    """
    d = x.shape[-1]
    power = np.einsum("...i,...i->...", x.data, x.data)[..., None]
    scale = 1.0 / np.sqrt(power / d + x.dtype.type(eps))
    unit = x.data * scale

    def rule(g: Array) -> tuple[Array, Array]:
        gu = g * gain.data
        along = np.einsum("...i,...i->...", gu, unit)[..., None] / d
        gu -= unit * along
        gu *= scale
        return gu, np.einsum("ni,ni->i", g.reshape(-1, d), unit.reshape(-1, d))

    return Tensor.from_op(unit * gain.data, (x, gain), rule)


# --- Activations --------------------------------------------------------------------------------


def gelu(x: Tensor) -> Tensor:
    """GELU in its tanh form (Hendrycks and Gimpel, arXiv:1606.08415, section 2), as GPT-2 uses it.

    0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³))), close to x times the probability that a standard
    normal number is below x.
    """
    c = x.dtype.type(np.sqrt(2 / np.pi))
    k = x.dtype.type(0.044715)
    squared = x.data * x.data
    t = np.tanh(c * x.data * (1 + k * squared))

    def rule(g: Array) -> tuple[Array]:
        slope = c * (1 + 3 * k * squared)
        return (g * (0.5 * (1 + t) + 0.5 * x.data * (1 - t * t) * slope),)

    return Tensor.from_op(0.5 * x.data * (1 + t), (x,), rule)


def silu(x: Tensor) -> Tensor:
    """The product x σ(x), also called swish; its derivative is σ(x) (1 + x (1 - σ(x)))."""
    s = sigmoid(x.data)
    return Tensor.from_op(x.data * s, (x,), lambda g: (g * (s * (1 + x.data * (1 - s))),))


def swiglu(x: Tensor, gate: Tensor) -> Tensor:
    """silu(gate) ⊙ x, the gated unit inside a SwiGLU layer (Shazeer, arXiv:2002.05202, eq. 6).

    Written as one operation, in few passes over memory: these are the widest activations of a
    transformer. Both inputs have shape (..., d_ff).
    """
    s = sigmoid(gate.data)
    opened = gate.data * s

    def rule(g: Array) -> tuple[Array, Array]:
        slope = 1 - s
        slope *= opened  # derivative of silu: s + s·gate·(1 - s)
        slope += s
        slope *= x.data
        slope *= g
        return g * opened, slope

    return Tensor.from_op(opened * x.data, (x, gate), rule)


# --- Attention and positions --------------------------------------------------------------------

CACHED_SCORES = 2**18  # a megabyte in float32


@lru_cache(maxsize=32)  # every layer of every step asks for the same one
def causal_mask(queries: int, keys: int, dtype: Any = np.float32) -> Array:
    """The mask M of shape (queries, keys): 0 where a token may look, -∞ where it may not.

    The last query is aligned with the last key, so with a cache of earlier keys (keys > queries)
    query i, counted from 0, sees the first keys - queries + i + 1 keys. The array is handed out
    again to whoever asks for the same, so it cannot be written to.
    """
    mask = np.triu(np.full((queries, keys), -np.inf, dtype=dtype), k=keys - queries + 1)
    mask.flags.writeable = False
    return mask


def attention_weights(q: Array, k: Array, causal: bool = True) -> Array:
    """A = softmax(Q Kᵀ / √d_h + M), row by row (Vaswani et al., arXiv:1706.03762, eq. 1).

    Args:
        q: (..., Tq, d_h) queries, a plain array.
        k: (..., Tk, d_h) keys. Leading axes broadcast.
        causal: whether a query may look only at its own place and earlier ones.

    Returns:
        (..., Tq, Tk), each row a probability distribution over the keys.
    """
    a = (q * q.dtype.type(q.shape[-1] ** -0.5)) @ k.swapaxes(-1, -2)
    if causal and q.shape[-2] > 1:  # a single query, the newest, may see every key
        a += causal_mask(q.shape[-2], k.shape[-2], a.dtype)
    a -= a.max(axis=-1, keepdims=True)
    np.exp(a, out=a)
    a /= a.sum(axis=-1, keepdims=True)
    return a


def attention(q: Tensor, k: Tensor, v: Tensor, causal: bool = True) -> Tensor:
    """Scaled dot-product attention A V for all heads at once, as one operation.

    Args:
        q: (B, H, Tq, d_h) queries.
        k: (B, H_kv, Tk, d_h) keys; H_kv divides H, and each key head serves H / H_kv query heads in
            a row (grouped-query attention, Ainslie et al., arXiv:2305.13245; usually H_kv = H).
        v: (B, H_kv, Tk, d_h) values.
        causal: whether the future is hidden.

    Returns:
        (B, H, Tq, d_h): for each query the average of the values, weighted by its row of A.

    The backward rule, for one head: dV = Aᵀ dO; dA = dO Vᵀ; each row of dS is
    a ⊙ (da - Σ a ⊙ da), where the sum equals the dot product of that row's dO and O; and
    dQ = dS K / √d_h, dK = dSᵀ Q / √d_h.

    The batch is worked off a few sequences at a time, as many as a processor's cache holds the
    scores of; fetching them from memory for each of the six passes would take longer than the
    arithmetic. (FlashAttention, Dao et al., arXiv:2205.14135, goes further down this road.)
    """
    batch, heads, _, d_h = q.shape
    kv_heads = k.shape[1]
    if heads % kv_heads or k.shape[-1] != d_h or k.shape[:3] != v.shape[:3]:
        raise PrimerError(
            f"Queries {q.shape}, keys {k.shape} and values {v.shape} do not fit together."
        )
    # One axis for the group that shares a key head; it has length 1 in ordinary attention.
    grouped = (batch, kv_heads, heads // kv_heads)
    qg = q.data.reshape(*grouped, *q.shape[2:])
    kg, vg = k.data[:, :, None], v.data[:, :, None]
    scores = heads * q.shape[2] * k.shape[2]  # of one sequence
    step = max(1, CACHED_SCORES // scores)
    parts = [slice(i, i + step) for i in range(0, batch, step)]
    weights = [attention_weights(qg[part], kg[part], causal) for part in parts]
    out = np.concatenate([a @ vg[part] for a, part in zip(weights, parts, strict=True)])

    def rule(g: Array) -> tuple[Array, Array, Array]:
        g = g.reshape(out.shape)
        dq, dk, dv = np.empty_like(qg), np.empty_like(k.data), np.empty_like(v.data)
        for a, part in zip(weights, parts, strict=True):
            go = g[part]
            dv[part] = (a.swapaxes(-1, -2) @ go).sum(axis=2)
            ds = go @ vg[part].swapaxes(-1, -2)
            ds -= np.einsum("...i,...i->...", go, out[part])[..., None]
            ds *= a
            ds *= ds.dtype.type(d_h**-0.5)
            dk[part] = (ds.swapaxes(-1, -2) @ qg[part]).sum(axis=2)
            dq[part] = ds @ kg[part]
        return dq.reshape(q.shape), dk, dv

    return Tensor.from_op(out.reshape(*q.shape[:3], v.shape[-1]), (q, k, v), rule)


def rope_angles(positions: Array, head_width: int, base: float = 10_000.0) -> Array:
    """The angles of rotary position embedding, position times frequency, in radians.

    Pair i of a head's numbers turns by base^(-2i / d_h) per position (Su et al., arXiv:2104.09864,
    section 3.2.2, with i counted from 0). Positions (T,) give (T, d_h / 2).
    """
    frequencies = base ** (-np.arange(0, head_width, 2) / head_width)
    return np.outer(positions, frequencies)


def rope(x: Tensor, angles: Array) -> Tensor:
    """Rotary position embedding: turns each pair of numbers (x₂ᵢ, x₂ᵢ₊₁) by its angle.

    A pair is read as one complex number and multiplied by e^(i·angle), which is the 2-by-2 rotation
    of Su et al. (arXiv:2104.09864, eq. 15). The dot product of a rotated query and a rotated key
    depends on their positions only through the difference.

    Args:
        x: (B, T, H, d_h), d_h even.
        angles: (T, d_h / 2) from `rope_angles`.
    """
    kind = np.complex64 if x.dtype == np.float32 else np.complex128
    turn = np.exp(1j * angles).astype(kind)[:, None, :]

    def rotate(values: Array, by: Array) -> Array:
        return (np.ascontiguousarray(values).view(kind) * by).view(x.dtype)

    return Tensor.from_op(rotate(x.data, turn), (x,), lambda g: (rotate(g, turn.conj()),))


def sinusoidal_positions(positions: Array, width: int) -> Array:
    """The position vectors of Vaswani et al. (arXiv:1706.03762, section 3.5), (T,) to (T, d).

    Even entries 2i are sin(pos / 10000^(2i/d)), odd entries 2i + 1 the cosine of the same angle.
    """
    angles = rope_angles(positions, width)  # the same geometric ladder of frequencies
    table = np.empty((len(positions), width))
    table[:, 0::2], table[:, 1::2] = np.sin(angles), np.cos(angles)
    return table


# --- Layers -------------------------------------------------------------------------------------


class Module:
    """Something with parameters: tensors, other modules, or lists of modules in its attributes.

    A parameter's name is the path of attributes that leads to it, with dots: the query projection
    of the first block is ``blocks.0.attn.wq.weight``.
    """

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module (under the name ``prefix``) and all modules inside it, depth first."""
        yield prefix, self
        dot = f"{prefix}." if prefix else ""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield from value.named_modules(dot + name)
            elif isinstance(value, list):
                for i, item in enumerate(value):
                    if isinstance(item, Module):
                        yield from item.named_modules(f"{dot}{name}.{i}")

    def all_tensors(self) -> dict[str, Tensor]:
        """Every parameter by name, frozen ones included."""
        found: dict[str, Tensor] = {}
        for path, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, Tensor):
                    found[f"{path}.{name}" if path else name] = value
        return found

    def parameters(self) -> dict[str, Tensor]:
        """The trainable parameters by name, without frozen ones (``requires_grad = False``)."""
        return {name: t for name, t in self.all_tensors().items() if t.requires_grad}

    def num_parameters(self) -> int:
        """How many numbers all parameters hold together, frozen ones included (N)."""
        return sum(t.data.size for t in self.all_tensors().values())

    def arrays(self) -> dict[str, Array]:
        """Every parameter's values by name (not copied)."""
        return {name: t.data for name, t in self.all_tensors().items()}

    def load_arrays(self, arrays: dict[str, Array]) -> None:
        """Writes values into the parameters, in place.

        Raises:
            PrimerError: a name is missing or unknown, or a shape differs; nothing is changed then.
        """
        own = self.all_tensors()
        for problem, names in (
            ("lack", own.keys() - arrays.keys()),
            ("have no place for", arrays.keys() - own.keys()),
        ):
            if names:
                subject = "The weights" if problem == "lack" else "This model's layers"
                raise PrimerError(f"{subject} {problem} {min(names)!r} ({len(names)} in all).")
        for name, t in own.items():
            if arrays[name].shape != t.shape:
                raise PrimerError(
                    f"{name!r} has shape {arrays[name].shape} in the weights, "
                    f"{t.shape} in the model."
                )
        for name, t in own.items():
            t.data[...] = arrays[name]

    def get_module(self, path: str) -> Any:
        """The module at a dotted path such as ``blocks.0.attn.wq``."""
        found: Any = self
        for part in path.split("."):
            try:
                found = found[int(part)] if isinstance(found, list) else getattr(found, part)
            except (AttributeError, IndexError, ValueError):
                raise PrimerError(f"There is no module {path!r}.") from None
        return found

    def set_module(self, path: str, module: Module) -> None:
        """Puts another module at a dotted path: a layer wrapped by LoRA, a mixture of experts."""
        self.get_module(path)
        parent, _, name = path.rpartition(".")
        owner = self.get_module(parent) if parent else self
        if isinstance(owner, list):
            owner[int(name)] = module
        else:
            setattr(owner, name, module)


def normal_parameter(rng: np.random.Generator, shape: tuple[int, ...], std: float) -> Tensor:
    """A trainable float32 tensor of normal random numbers with mean 0."""
    return Tensor(rng.normal(0.0, std, shape).astype(np.float32), requires_grad=True)


class Linear(Module):
    """The layer y = x W + b: ``weight`` W has shape (d_in, d_out), ``bias`` b (d_out,) or is None.

    Weights start as normal numbers with standard deviation ``std``, by default 1/√d_in, which
    keeps the size of activations the same from one side to the other.
    """

    def __init__(
        self,
        d_in: int,
        d_out: int,
        rng: np.random.Generator,
        bias: bool = True,
        std: float | None = None,
    ) -> None:
        self.weight = normal_parameter(rng, (d_in, d_out), d_in**-0.5 if std is None else std)
        self.bias = Tensor(np.zeros(d_out, np.float32), requires_grad=True) if bias else None

    def __call__(self, x: Tensor) -> Tensor:
        """(..., d_in) to (..., d_out)."""
        return linear(x, self.weight, self.bias)


class Embedding(Module):
    """A table with one row of d numbers per token, E of shape (V, d) in ``weight``."""

    def __init__(self, vocab_size: int, width: int, rng: np.random.Generator, std: float) -> None:
        self.weight = normal_parameter(rng, (vocab_size, width), std)

    def __call__(self, ids: Array) -> Tensor:
        """(...) integers to (..., d)."""
        return embedding(self.weight, ids)


class RMSNorm(Module):
    """`rms_norm` with a learned gain γ, which starts at 1."""

    def __init__(self, width: int) -> None:
        self.gain = Tensor(np.ones(width, np.float32), requires_grad=True)

    def __call__(self, x: Tensor) -> Tensor:
        """(..., d) to (..., d)."""
        return rms_norm(x, self.gain)


class LayerNorm(Module):
    """`layer_norm` with a learned gain γ and shift β, which start at 1 and 0."""

    def __init__(self, width: int) -> None:
        self.gain = Tensor(np.ones(width, np.float32), requires_grad=True)
        self.bias = Tensor(np.zeros(width, np.float32), requires_grad=True)

    def __call__(self, x: Tensor) -> Tensor:
        """(..., d) to (..., d)."""
        return layer_norm(x, self.gain, self.bias)


class FeedForward(Module):
    """Two linear maps with an activation between them: f(x W₁) W₂, f being GELU."""

    def __init__(self, width: int, ff_width: int, rng: np.random.Generator, out_std: float) -> None:
        self.w1 = Linear(width, ff_width, rng, bias=False)
        self.w2 = Linear(ff_width, width, rng, bias=False, std=out_std)

    def __call__(self, x: Tensor) -> Tensor:
        """(..., d) to (..., d); every position on its own."""
        return self.w2(gelu(self.w1(x)))


class SwiGLU(Module):
    """The gated feed-forward layer (silu(x W₃) ⊙ x W₁) W₂ of Shazeer (arXiv:2002.05202, eq. 6)."""

    def __init__(self, width: int, ff_width: int, rng: np.random.Generator, out_std: float) -> None:
        self.w1 = Linear(width, ff_width, rng, bias=False)
        self.w3 = Linear(width, ff_width, rng, bias=False)
        self.w2 = Linear(ff_width, width, rng, bias=False, std=out_std)

    def __call__(self, x: Tensor) -> Tensor:
        """(..., d) to (..., d); every position on its own."""
        return self.w2(swiglu(self.w1(x), self.w3(x)))
