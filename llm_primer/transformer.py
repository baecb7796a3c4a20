"""A decoder-only transformer language model, and the cache that makes it write fast.

The architecture is the one most published models share (as of 2026): token embeddings enter a
residual stream; L blocks each add the output of causal self-attention and then of a feed-forward
layer, both fed with a normalized copy of the stream (pre-norm, Xiong et al., arXiv:2002.04745); a
last normalization and the transposed embedding matrix (weight tying, Press and Wolf,
arXiv:1608.05859) turn the stream into one score per token. Vaswani et al. (arXiv:1706.03762)
introduced attention, heads and the residual layout. `TransformerConfig` chooses between the parts
that chapters compare: rotary or sinusoidal positions, RMS or layer normalization, SwiGLU or GELU,
and how many heads share their keys and values.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_primer.autograd import Array, Tensor, no_grad
from llm_primer.checkpoint import load_checkpoint, save_checkpoint
from llm_primer.errors import PrimerError
from llm_primer.nn import (
    Embedding,
    FeedForward,
    LayerNorm,
    Linear,
    Module,
    RMSNorm,
    SwiGLU,
    attention,
    attention_weights,
    linear,
    rope,
    rope_angles,
    sinusoidal_positions,
)

if TYPE_CHECKING:
    from llm_primer.tokenizer import Tokenizer

WEIGHTS = Path(__file__).parent / "weights" / "story-model.safetensors"
CHOICES = {
    "positions": ("rope", "sinusoidal", "none"),
    "norm": ("rms", "layer"),
    "feed_forward": ("swiglu", "gelu"),
}


@dataclass(frozen=True)
class TransformerConfig:
    """The shape of a transformer. The defaults are the book's model.

    Attributes:
        vocab_size: V, the number of tokens.
        context: the longest sequence, in tokens.
        width: d, numbers in a token's vector.
        layers: L, the number of blocks.
        heads: H, query heads per block; d / H must be a whole, even number.
        kv_heads: key and value heads, a divisor of H; None for H.
        ff_width: inner width of the feed-forward layer; None for 8d/3 (SwiGLU) or 4d (GELU), which
            cost the same, the first rounded up to a multiple of 16.
        positions: "rope", "sinusoidal" or "none".
        norm: "rms" or "layer".
        feed_forward: "swiglu" or "gelu".
        tied: whether the embedding matrix also makes the logits.
        rope_base: the base of the rotary frequencies.
    """

    vocab_size: int = 512
    context: int = 256
    width: int = 128
    layers: int = 5
    heads: int = 4
    kv_heads: int | None = None
    ff_width: int | None = None
    positions: str = "rope"
    norm: str = "rms"
    feed_forward: str = "swiglu"
    tied: bool = True
    rope_base: float = 10_000.0

    def __post_init__(self) -> None:
        for name in ("vocab_size", "context", "width", "layers", "heads"):
            if getattr(self, name) < 1:
                raise PrimerError(f"A transformer's {name} must be at least 1.")
        if self.width % (2 * self.heads):
            raise PrimerError(
                f"{self.heads} heads of an even width cannot share a width of {self.width}."
            )
        if self.key_heads < 1 or self.heads % self.key_heads:
            raise PrimerError(f"{self.heads} heads cannot share {self.key_heads} key heads evenly.")
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise PrimerError(
                    f"{name} must be one of {', '.join(allowed)}; not {getattr(self, name)!r}."
                )

    @property
    def head_width(self) -> int:
        """d_h = d / H."""
        return self.width // self.heads

    @property
    def key_heads(self) -> int:
        """The number of key and value heads, H unless ``kv_heads`` says otherwise."""
        return self.heads if self.kv_heads is None else self.kv_heads

    @property
    def inner_width(self) -> int:
        """d_ff, the inner width of the feed-forward layer."""
        if self.ff_width is not None:
            return self.ff_width
        if self.feed_forward == "gelu":
            return 4 * self.width
        return -(-8 * self.width // 48) * 16

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TransformerConfig:
        """The reverse of `to_dict`.

        Raises:
            PrimerError: a field is unknown or its value makes no sense.
        """
        unknown = values.keys() - {f.name for f in fields(cls)}
        if unknown:
            raise PrimerError(f"A transformer's configuration has no field {min(unknown)!r}.")
        return cls(**values)


class KVCache:
    """The keys and values of all earlier positions, so that a new token costs one step and not T.

    Attributes:
        keys, values: arrays of shape (L, B, H_kv, context, d_h); the first ``length`` positions are
            filled. Keys are stored after their rotation, which depends on the position alone.
        length: how many tokens have been read.
    """

    def __init__(self, config: TransformerConfig, batch_size: int = 1) -> None:
        shape = (config.layers, batch_size, config.key_heads, config.context, config.head_width)
        self.keys = np.zeros(shape, np.float32)
        self.values = np.zeros(shape, np.float32)
        self.length = 0

    @property
    def batch_size(self) -> int:
        """B, the number of sequences."""
        return self.keys.shape[1]

    @property
    def nbytes(self) -> int:
        """Memory of the whole cache, in bytes: 2 · L · B · H_kv · context · d_h · 4."""
        return self.keys.nbytes + self.values.nbytes

    def extend(self, layer: int, k: Array, v: Array) -> tuple[Array, Array]:
        """Stores the keys and values (B, H_kv, T, d_h) of T new positions of one layer.

        Returns all of that layer's, old and new. ``length`` moves on only when the model has been
        through all layers.
        """
        end = self.length + k.shape[2]
        self.keys[layer, :, :, self.length : end] = k
        self.values[layer, :, :, self.length : end] = v
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]

    def truncate(self, length: int) -> None:
        """Forgets all positions from ``length`` on."""
        if not 0 <= length <= self.length:
            raise PrimerError(f"A cache of {self.length} tokens cannot be cut to {length}.")
        self.length = length

    def select(self, rows: Array) -> KVCache:
        """A new cache with these rows of the batch, in this order, for beam search."""
        chosen = object.__new__(KVCache)
        chosen.keys, chosen.values = self.keys[:, rows], self.values[:, rows]
        chosen.length = self.length
        return chosen


class Attention(Module):
    """Multi-head causal self-attention with four projections ``wq``, ``wk``, ``wv``, ``wo``.

    ``wq`` and ``wo`` are d by d; ``wk`` and ``wv`` d by H_kv · d_h. Columns h · d_h to
    (h + 1) · d_h belong to head h.
    """

    def __init__(self, config: TransformerConfig, rng: np.random.Generator, out_std: float) -> None:
        d, d_kv = config.width, config.key_heads * config.head_width
        self.wq = Linear(d, d, rng, bias=False)
        self.wk = Linear(d, d_kv, rng, bias=False)
        self.wv = Linear(d, d_kv, rng, bias=False)
        self.wo = Linear(d, d, rng, bias=False, std=out_std)
        self.config = config

    def heads(self, x: Tensor, angles: Array | None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (B, H, T, d_h), keys and values (B, H_kv, T, d_h) of x (B, T, d), rotated."""
        split = []
        for project, rotate in ((self.wq, True), (self.wk, True), (self.wv, False)):
            y = project(x)
            y = y.reshape(*x.shape[:2], -1, self.config.head_width)
            if rotate and angles is not None:
                y = rope(y, angles)
            split.append(y.swapaxes(1, 2))
        return split[0], split[1], split[2]

    def __call__(
        self, x: Tensor, angles: Array | None, cache: KVCache | None = None, layer: int = 0
    ) -> Tensor:
        """(B, T, d) to (B, T, d)."""
        q, k, v = self.heads(x, angles)
        if cache is not None:
            k, v = (Tensor(stored) for stored in cache.extend(layer, k.data, v.data))
        return self.wo(attention(q, k, v).swapaxes(1, 2).reshape(*x.shape))


class Block(Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x))."""

    def __init__(self, config: TransformerConfig, rng: np.random.Generator) -> None:
        norm = RMSNorm if config.norm == "rms" else LayerNorm
        layer = SwiGLU if config.feed_forward == "swiglu" else FeedForward
        # 2L terms are added to the stream; each starts smaller, so that the sum keeps its size.
        shrink = (2 * config.layers) ** -0.5
        self.attn_norm = norm(config.width)
        self.attn = Attention(config, rng, out_std=config.width**-0.5 * shrink)
        self.ff_norm = norm(config.width)
        self.ff: Any = layer(
            config.width, config.inner_width, rng, out_std=config.inner_width**-0.5 * shrink
        )

    def __call__(
        self, x: Tensor, angles: Array | None, cache: KVCache | None = None, layer: int = 0
    ) -> Tensor:
        """(B, T, d) to (B, T, d)."""
        x = x + self.attn(self.attn_norm(x), angles, cache, layer)
        return x + self.ff(self.ff_norm(x))


class Transformer(Module):
    """A decoder-only transformer; see the module's text for its layout.

    Args:
        config: its shape.
        seed: of the random initial weights.
    """

    kind = "transformer"

    def __init__(self, config: TransformerConfig, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.config = config
        # With tied weights this makes the first logits about as large as a standard normal number
        # over √d, so that an untrained model is close to undecided and its loss close to ln V.
        self.embed = Embedding(config.vocab_size, config.width, rng, std=config.width**-0.5)
        self.blocks = [Block(config, rng) for _ in range(config.layers)]
        self.final_norm = (RMSNorm if config.norm == "rms" else LayerNorm)(config.width)
        self.head = (
            None if config.tied else Linear(config.width, config.vocab_size, rng, bias=False)
        )
        positions = np.arange(config.context)
        self._angles = self._position_table = None
        if config.positions == "rope":
            self._angles = rope_angles(positions, config.head_width, config.rope_base)
        elif config.positions == "sinusoidal":
            self._position_table = sinusoidal_positions(positions, config.width)

    def start(self, ids: Array, offset: int = 0) -> tuple[Tensor, Array | None]:
        """What the first block is given: for models that go through the blocks on their own.

        Args:
            ids: (B, T) token numbers.
            offset: how many positions come before them.

        Returns:
            The stream (B, T, d), and the rotary angles (T, d_h / 2) or None.

        Raises:
            PrimerError: ids are not a table of token numbers, or longer than the context.
        """
        check_ids(ids, self.config.vocab_size)
        end = offset + ids.shape[1]
        if end > self.config.context:
            raise PrimerError(
                f"{end} tokens do not fit the model's context of {self.config.context}."
            )
        x = self.embed(ids)
        if self._position_table is not None:
            # Scaled like the embeddings, or fixed positions would drown the learned tokens.
            scale = self.config.width**-0.5
            x = x + (self._position_table[offset:end] * scale).astype(x.dtype)
        return x, None if self._angles is None else self._angles[offset:end]

    def __call__(self, ids: Array) -> Tensor:
        """Logits (B, T, V) for the token after each position of ids (B, T), with a graph.

        Raises:
            PrimerError: ids are not a table of token numbers, or longer than the context.
        """
        x, angles = self.start(np.asarray(ids))
        for block in self.blocks:
            x = block(x, angles)
        return self.unembed(x)

    def unembed(self, x: Tensor) -> Tensor:
        """From the residual stream (..., d) to logits (..., V): last normalization, then Eᵀ."""
        x = self.final_norm(x)
        return linear(x, self.embed.weight.T) if self.head is None else self.head(x)

    def logits(self, ids: Array, cache: KVCache | None = None) -> Array:
        """Logits as a plain array, without a graph: (T,) ids give (T, V), (B, T) give (B, T, V).

        With a cache, ``ids`` are only the new tokens, which follow the cached ones; the cache grows
        by them.
        """
        ids = np.asarray(ids)
        batch = ids[None] if ids.ndim == 1 else ids
        if cache is not None and len(batch) != cache.batch_size:
            raise PrimerError(
                f"A cache for {cache.batch_size} sequences cannot serve {len(batch)}."
            )
        with no_grad():
            x, angles = self.start(batch, cache.length if cache is not None else 0)
            for layer, block in enumerate(self.blocks):
                x = block(x, angles, cache, layer)
            out = self.unembed(x).data
        if cache is not None:
            cache.length += batch.shape[1]
        return out[0] if ids.ndim == 1 else out

    def hidden_states(self, ids: Array) -> Array:
        """The residual stream of one sequence (T,): X⁽⁰⁾ to X⁽ᴸ⁾ as an array (L + 1, T, d)."""
        with no_grad():
            x, angles = self.start(np.asarray(ids)[None])
            states = [x.data[0]]
            for block in self.blocks:
                x = block(x, angles)
                states.append(x.data[0])
        return np.stack(states)

    def attention_weights(self, ids: Array) -> Array:
        """The attention weights A of one sequence (T,): (L, H, T, T), each row summing to 1."""
        maps = []
        with no_grad():
            x, angles = self.start(np.asarray(ids)[None])
            for block in self.blocks:
                q, k, _ = block.attn.heads(block.attn_norm(x), angles)
                shared = self.config.heads // self.config.key_heads
                maps.append(attention_weights(q.data[0], np.repeat(k.data[0], shared, axis=0)))
                x = block(x, angles)
        return np.stack(maps)


def check_ids(ids: Array, vocab_size: int) -> None:
    """Refuses anything but a non-empty table (B, T) of token numbers below ``vocab_size``.

    Raises:
        PrimerError: with the reason.
    """
    if ids.ndim != 2 or ids.size == 0:
        raise PrimerError(
            f"A model reads a table (batch, tokens) of ids; this has shape {ids.shape}."
        )
    if ids.dtype.kind not in "iu":
        raise PrimerError(f"Token ids must be integers, not {ids.dtype}.")
    if ids.min() < 0 or ids.max() >= vocab_size:
        raise PrimerError(f"Token ids must lie between 0 and {vocab_size - 1}.")


def save_model(
    path: str | Path,
    model: Module,
    metadata: dict[str, Any] | None = None,
    dtype: Any = np.float32,
) -> None:
    """Writes a model's weights and configuration to one safetensors file, all or nothing.

    Args:
        path: where.
        model: a transformer, or another model with ``kind`` and ``config``.
        metadata: anything else to remember, ready for JSON.
        dtype: of the stored numbers; float16 halves the file.
    """
    described: Any = model
    head = {"kind": described.kind, "config": described.config.to_dict(), **(metadata or {})}
    save_checkpoint(path, {k: v.astype(dtype) for k, v in model.arrays().items()}, head)


def load_model(path: str | Path) -> Transformer:
    """Reads a transformer that `save_model` wrote.

    Raises:
        PrimerError: no such file, damaged, of another kind, or weights that do not fit.
    """
    arrays, metadata = load_checkpoint(path)
    if metadata.get("kind") != Transformer.kind or not isinstance(metadata.get("config"), dict):
        raise PrimerError(f"{path} does not hold a transformer.")
    model = Transformer(TransformerConfig.from_dict(metadata["config"]))
    model.load_arrays({k: v for k, v in arrays.items() if not k.startswith("optimizer.")})
    return model


def load_book_model() -> tuple[Transformer, Tokenizer]:
    """The model that ships with the book, and its tokenizer.

    Each call reads a fresh copy, so a page may change its weights.
    """
    from llm_primer.tokenizer import Tokenizer

    return load_model(WEIGHTS), Tokenizer.book()
