"""Fewer bits per weight: int8 and int4 with a scale, and what they cost in accuracy.

A group of weights w is divided by one scale s and rounded to whole numbers of b bits,
q = round(w / s). With s = max|w| / (2^(b-1) - 1), the *absmax* rule, the largest weight just fits
and no weight moves by more than s/2. Everything then depends on how many weights share a scale: a
single large one makes the steps coarse for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from llm_primer.autograd import Array
from llm_primer.errors import PrimerError


@dataclass(frozen=True)
class Quantized:
    """A matrix of whole numbers with their scales.

    Attributes:
        codes: (groups, group_size, d_out) int8, from -(2^(b-1) - 1) to 2^(b-1) - 1; rows that fill
            up the last group are 0.
        scales: (groups, 1, d_out) or (groups, 1, 1) float32, in units of the weights.
        bits: b.
        shape: of the matrix, (d_in, d_out).
    """

    codes: Array
    scales: Array
    bits: int
    shape: tuple[int, int]

    def dequantize(self) -> Array:
        """The matrix (d_in, d_out) as the model will see it, float32: codes times scales."""
        full = self.codes * self.scales
        return full.reshape(-1, self.shape[1])[: self.shape[0]].astype(np.float32)

    @property
    def nbytes(self) -> int:
        """Bytes needed: b bits per weight, packed, and four bytes per scale."""
        return -(-self.shape[0] * self.shape[1] * self.bits // 8) + self.scales.nbytes


def quantize(
    weight: Array, bits: int = 8, group_size: int | None = None, per_column: bool = True
) -> Quantized:
    """Absmax quantization of a matrix.

    Dettmers et al. (arXiv:2208.07339, section 2.1) describe the absmax rule and one scale per
    column; smaller groups are what Dettmers and Zettlemoyer (arXiv:2212.09720) found to matter at
    4 bits.

    Args:
        weight: (d_in, d_out).
        bits: b, from 2 to 8.
        group_size: how many rows of a column share a scale; None for all of them.
        per_column: False shares one scale among all columns as well.

    Returns:
        Codes and scales. No weight is off by more than half its scale.

    Raises:
        PrimerError: not a matrix of finite numbers, or bits or group size without sense.
    """
    weight = np.asarray(weight)
    if weight.ndim != 2 or weight.size == 0:
        raise PrimerError(f"Only a matrix can be quantized, not an array of shape {weight.shape}.")
    if not np.isfinite(weight).all():
        raise PrimerError("The weights hold NaN or infinity.")
    if not 2 <= bits <= 8:
        raise PrimerError(f"Weights can take 2 to 8 bits, not {bits}.")
    d_in, d_out = weight.shape
    size = d_in if group_size is None else group_size
    if size < 1:
        raise PrimerError(f"A group needs at least 1 weight, not {size}.")
    groups = -(-d_in // size)
    padded = np.zeros((groups * size, d_out), np.float32)
    padded[:d_in] = weight
    padded = padded.reshape(groups, size, d_out)
    largest = 2 ** (bits - 1) - 1
    peak = np.abs(padded).max(axis=1 if per_column else (1, 2), keepdims=True)
    # Never 0: a group of zeros, or of numbers too small for a float32 of full precision, becomes 0.
    scales = np.maximum(peak / largest, np.finfo(np.float32).tiny).astype(np.float32)
    codes = np.clip(np.rint(padded / scales), -largest, largest).astype(np.int8)
    return Quantized(codes, scales, bits, (d_in, d_out))


def pack_int4(codes: Array) -> Array:
    """Two 4-bit numbers in a byte: int8 from -8 to 7, any even count, to half as many uint8.

    Raises:
        PrimerError: an odd count, or a number outside four bits.
    """
    flat = np.asarray(codes).reshape(-1)
    if flat.size % 2 or flat.min(initial=0) < -8 or flat.max(initial=0) > 7:
        raise PrimerError("Packing needs an even count of numbers from -8 to 7.")
    nibbles = (flat & 0x0F).astype(np.uint8)
    return nibbles[0::2] | (nibbles[1::2] << 4)


def unpack_int4(packed: Array) -> Array:
    """The reverse of `pack_int4`: uint8 to twice as many int8."""
    nibbles = np.stack([packed & 0x0F, packed >> 4], axis=-1).reshape(-1).astype(np.int8)
    return np.where(nibbles > 7, nibbles - 16, nibbles).astype(np.int8)


def int8_matmul(x: Array, weight: Array, threshold: float = np.inf) -> Array:
    """The product x W with whole numbers: one scale per row of x and per column of W, int32 sums.

    The vector-wise product of LLM.int8() (Dettmers et al., arXiv:2208.07339, sections 3.1 and 3.2).
    Columns of x in which some value reaches ``threshold`` (the paper takes 6) are multiplied in
    floating point instead: there are few of them, and they would spoil the scale of every row.

    Args:
        x: (T, d_in).
        weight: (d_in, d_out).
        threshold: magnitude from which a feature counts as an outlier.

    Returns:
        (T, d_out) float32, close to ``x @ weight``.
    """
    outlier = (np.abs(x) >= threshold).any(axis=0)
    rows = quantize(x[:, ~outlier].T) if not outlier.all() else None
    exact = (x[:, outlier] @ weight[outlier]).astype(np.float32)
    if rows is None:
        return exact
    columns = quantize(weight[~outlier])
    sums = rows.codes[0].T.astype(np.int32) @ columns.codes[0].astype(np.int32)
    return exact + sums * (rows.scales[0].T * columns.scales[0])


# The projections of a block hold most weights; embeddings and norms usually stay as they are.
TARGETS = ("wq", "wk", "wv", "wo", "w1", "w2", "w3")


@dataclass(frozen=True)
class Report:
    """What quantizing a model did.

    Attributes:
        names: of the quantized matrices.
        weights: how many numbers they hold.
        bytes_before: their size as float32.
        bytes_after: with packed codes and scales.
        relative_error: ‖Ŵ - W‖ / ‖W‖ over all of them.
    """

    names: tuple[str, ...]
    weights: int
    bytes_before: int
    bytes_after: int
    relative_error: float

    @property
    def bits_per_weight(self) -> float:
        """Bits per weight, scales included."""
        return 8 * self.bytes_after / self.weights


def quantize_model(
    model: Any,
    bits: int = 8,
    group_size: int | None = None,
    per_column: bool = True,
    targets: Sequence[str] = TARGETS,
) -> Report:
    """Replaces a model's matrices, in place, by what is left of them after quantization.

    The arithmetic stays in float32 ("fake" quantization), so that the model runs as before and only
    the accuracy shows the loss.

    Args:
        model: a `Module`.
        bits: b.
        group_size: as in `quantize`.
        per_column: as in `quantize`.
        targets: last parts of the names of the layers whose ``weight`` is quantized.

    Raises:
        PrimerError: no layer has such a name.
    """
    names, weights, after, error, norm = [], 0, 0, 0.0, 0.0
    for path, module in model.named_modules():
        if path.rpartition(".")[2] in targets and hasattr(module, "weight"):
            w = module.weight.data
            q = quantize(w, bits, group_size, per_column)
            rounded = q.dequantize()
            error += float(((rounded - w) ** 2).sum())
            norm += float((w**2).sum())
            w[...] = rounded
            names.append(f"{path}.weight")
            weights += w.size
            after += q.nbytes
    if not names:
        raise PrimerError(f"The model has no layer named {', '.join(targets)}.")
    return Report(tuple(names), weights, 4 * weights, after, (error / norm) ** 0.5 if norm else 0.0)
