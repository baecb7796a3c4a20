"""Quantization: the error bound, packing, whole-number products, and a whole model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from llm_primer import quantize as q
from llm_primer.errors import PrimerError
from llm_primer.transformer import Transformer, TransformerConfig

MATRICES = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=12),
    elements=st.floats(-100, 100, width=32),
)


def small_model():
    return Transformer(TransformerConfig(vocab_size=40, context=16, width=32, layers=2, heads=2))


@settings(deadline=None)
@given(MATRICES, st.integers(2, 8), st.sampled_from([None, 1, 3, 4, 32]), st.booleans())
def test_no_weight_moves_by_more_than_half_a_step(w, bits, group, per_column):
    packed = q.quantize(w, bits, group, per_column)
    assert np.abs(packed.codes.astype(int)).max() <= 2 ** (bits - 1) - 1
    half = np.broadcast_to(packed.scales / 2, packed.codes.shape)
    half = half.reshape(-1, w.shape[1])[: len(w)]
    error = np.abs(packed.dequantize() - w)
    assert (error <= half * (1 + 1e-5) + 1e-6 * np.abs(w)).all()


def test_int8_by_hand():
    """Two columns: the largest number becomes ±127, the others their share of it, rounded."""
    packed = q.quantize(np.array([[1.27, 0.0], [-0.5, 2.54], [0.004, -1.0]]))
    np.testing.assert_array_equal(packed.codes[0], [[127, 0], [-50, 127], [0, -50]])
    np.testing.assert_allclose(packed.scales[0, 0], [0.01, 0.02], rtol=1e-6)


def test_a_large_weight_harms_only_its_own_group():
    w = np.random.default_rng(0).normal(0, 0.02, (128, 4)).astype(np.float32)
    w[5, 1] = 3.0
    error = [np.abs(q.quantize(w, 4, g).dequantize() - w).mean() for g in (None, 64, 16)]
    assert error[0] > error[1] > error[2]


def test_size_counts_codes_and_scales():
    w = np.ones((128, 64), np.float32)
    assert q.quantize(w, 8).nbytes == 128 * 64 + 4 * 64
    assert q.quantize(w, 4, 32).nbytes == 128 * 64 // 2 + 4 * 4 * 64


@given(st.lists(st.tuples(st.integers(-8, 7), st.integers(-8, 7)), max_size=40))
def test_packing_four_bits_loses_nothing(pairs):
    codes = np.array(pairs, np.int8).reshape(-1)
    packed = q.pack_int4(codes)
    assert packed.nbytes == len(pairs)
    np.testing.assert_array_equal(q.unpack_int4(packed), codes)


def test_product_of_whole_numbers_is_close_and_outliers_are_taken_out():
    rng = np.random.default_rng(1)
    x, w = rng.normal(size=(20, 64)).astype(np.float32), rng.normal(size=(64, 8)).astype(np.float32)

    def error(got, x):
        return np.linalg.norm(got - x @ w) / np.linalg.norm(x @ w)

    assert error(q.int8_matmul(x, w), x) < 0.01
    x[:, 3] *= 60  # one feature that is much larger than the others
    assert error(q.int8_matmul(x, w), x) > 0.01
    assert error(q.int8_matmul(x, w, threshold=6.0), x) < 0.01
    np.testing.assert_allclose(q.int8_matmul(x, w, threshold=0.0), x @ w, rtol=1e-5, atol=1e-4)


def test_whole_numbers_are_multiplied_exactly_when_nothing_needs_rounding():
    rng = np.random.default_rng(2)
    x, w = (rng.integers(-127, 128, s).astype(np.float32) for s in ((5, 9), (9, 4)))
    x[:, 0], w[0] = 127, 127  # every scale is then 1
    np.testing.assert_array_equal(q.int8_matmul(x, w), x @ w)


def test_int8_agrees_with_torch(require_torch):
    torch = require_torch
    w = np.random.default_rng(3).normal(size=(32, 6)).astype(np.float32)
    scale = np.abs(w).max(axis=0) / 127
    theirs = torch.fake_quantize_per_channel_affine(
        torch.tensor(w), torch.tensor(scale), torch.zeros(6, dtype=torch.int32), 1, -127, 127
    )
    np.testing.assert_allclose(q.quantize(w).dequantize(), theirs.numpy(), atol=1e-6)


def test_a_whole_model_loses_more_with_fewer_bits():
    def loss_of_precision(bits, group):
        model = small_model()
        before = model.logits(np.arange(10))
        report = q.quantize_model(model, bits, group)
        assert len(report.names) == 2 * 7
        after = model.logits(np.arange(10))
        return report, np.abs(after - before).max()

    (r8, d8), (r4, d4) = loss_of_precision(8, None), loss_of_precision(4, 16)
    assert 0 < d8 < d4
    assert r8.relative_error < 0.01 < r4.relative_error < 0.2
    assert r4.bits_per_weight == pytest.approx(4 + 32 / 16)
    assert r8.bytes_after < 0.4 * r8.bytes_before


@pytest.mark.parametrize(
    "make",
    [
        lambda: q.quantize(np.ones(3)),
        lambda: q.quantize(np.ones((0, 3))),
        lambda: q.quantize(np.ones((2, 2)), bits=1),
        lambda: q.quantize(np.ones((2, 2)), bits=9),
        lambda: q.quantize(np.ones((2, 2)), group_size=0),
        lambda: q.quantize(np.array([[np.inf]])),
        lambda: q.pack_int4(np.array([1])),
        lambda: q.pack_int4(np.array([8, 0])),
        lambda: q.quantize_model(small_model(), targets=("w9",)),
    ],
)
def test_what_makes_no_sense_is_refused(make):
    with pytest.raises(PrimerError):
        make()
