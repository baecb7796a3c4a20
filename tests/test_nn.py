import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_primer import nn
from llm_primer.autograd import Tensor
from llm_primer.errors import PrimerError
from tests.test_autograd import check_gradients

IDS = np.array([[1, 4, 1], [0, 1, 2]])
ANGLES = nn.rope_angles(np.arange(3), 4)
OPERATIONS = {
    "softmax": (lambda x: nn.softmax(x), (2, 5)),
    "softmax of columns": (lambda x: nn.softmax(x, axis=0), (3, 2)),
    "log_softmax": (lambda x: nn.log_softmax(x), (2, 5)),
    "log_sigmoid": (lambda x: nn.log_sigmoid(x * 3.0), (6,)),
    "token_log_probs": (lambda x: nn.token_log_probs(x, IDS), (2, 3, 5)),
    "token_log_probs, some ignored": (
        lambda x: nn.token_log_probs(x, np.where(IDS == 1, -1, IDS)),
        (2, 3, 5),
    ),
    "cross_entropy": (lambda x: nn.cross_entropy(x, IDS), (2, 3, 5)),
    "linear": (nn.linear, (2, 3, 4), (4, 5), (5,)),
    "linear without bias": (nn.linear, (2, 4), (4, 3)),
    "embedding": (lambda t: nn.embedding(t, IDS), (5, 2)),
    "layer_norm": (nn.layer_norm, (2, 3, 4), (4,), (4,)),
    "rms_norm": (nn.rms_norm, (2, 3, 4), (4,)),
    "gelu": (nn.gelu, (3, 4)),
    "silu": (nn.silu, (3, 4)),
    "swiglu": (nn.swiglu, (3, 4), (3, 4)),
    "rope": (lambda x: nn.rope(x, ANGLES), (2, 3, 2, 4)),
    "attention": (nn.attention, (2, 2, 3, 4), (2, 2, 3, 4), (2, 2, 3, 4)),
    "attention, all visible": (
        lambda q, k, v: nn.attention(q, k, v, causal=False),
        (1, 2, 3, 4),
        (1, 2, 5, 4),
        (1, 2, 5, 4),
    ),
    "attention, two heads to a key": (nn.attention, (2, 4, 3, 2), (2, 2, 3, 2), (2, 2, 3, 2)),
    "attention, earlier keys": (nn.attention, (1, 1, 2, 4), (1, 1, 5, 4), (1, 1, 5, 4)),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_gradient_of_every_function_is_the_finite_difference(name, rng):
    f, *shapes = OPERATIONS[name]
    check_gradients(f, *[rng.normal(size=s) for s in shapes])


# --- Against PyTorch, values and gradients, in float64 ------------------------------------------


def both(torch, ours, theirs, *arrays):
    """Runs both on the same arrays; compares outputs and gradients of a random projection."""
    mine = [Tensor(a.copy(), requires_grad=True) for a in arrays]
    other = [torch.tensor(a, requires_grad=True) for a in arrays]
    y, z = ours(*mine), theirs(*other)
    np.testing.assert_allclose(y.data, z.detach().numpy(), rtol=1e-10, atol=1e-12)
    g = np.random.default_rng(5).normal(size=y.shape)
    y.backward(g)
    z.backward(torch.tensor(g))
    for a, b in zip(mine, other, strict=True):
        np.testing.assert_allclose(a.grad, b.grad.numpy(), rtol=1e-8, atol=1e-10)


def test_cross_entropy_equals_pytorch(require_torch, rng):
    targets = np.array([3, 0, -100, 4])
    both(
        require_torch,
        lambda x: nn.cross_entropy(x, targets),
        lambda x: require_torch.nn.functional.cross_entropy(x, require_torch.tensor(targets)),
        rng.normal(size=(4, 5)) * 10,
    )


@pytest.mark.parametrize("causal", [True, False])
def test_attention_equals_pytorch(require_torch, rng, causal):
    f = require_torch.nn.functional.scaled_dot_product_attention
    both(
        require_torch,
        lambda q, k, v: nn.attention(q, k, v, causal=causal),
        lambda q, k, v: f(q, k, v, is_causal=causal),
        *rng.normal(size=(3, 2, 4, 7, 6)),
    )


def test_grouped_attention_equals_pytorch(require_torch, rng):
    f = require_torch.nn.functional.scaled_dot_product_attention
    both(
        require_torch,
        nn.attention,
        lambda q, k, v: f(q, k, v, is_causal=True, enable_gqa=True),
        rng.normal(size=(2, 6, 5, 4)),
        rng.normal(size=(2, 2, 5, 4)),
        rng.normal(size=(2, 2, 5, 4)),
    )


def test_layers_equal_pytorch(require_torch, rng):
    f = require_torch.nn.functional
    x, w, b = rng.normal(size=(2, 3, 8)), rng.normal(size=8), rng.normal(size=8)
    both(require_torch, nn.layer_norm, lambda x, w, b: f.layer_norm(x, (8,), w, b), x, w, b)
    both(require_torch, nn.rms_norm, lambda x, w: f.rms_norm(x, (8,), w, eps=1e-5), x, w)
    both(require_torch, nn.gelu, lambda x: f.gelu(x, approximate="tanh"), x)
    both(require_torch, nn.silu, f.silu, x)
    both(require_torch, nn.log_sigmoid, f.logsigmoid, x * 30)
    both(require_torch, nn.log_softmax, lambda x: f.log_softmax(x, -1), x)


def test_embedding_equals_pytorch(require_torch, rng):
    ids = rng.integers(0, 6, size=(4, 5))
    both(
        require_torch,
        lambda t: nn.embedding(t, ids),
        lambda t: require_torch.nn.functional.embedding(require_torch.tensor(ids), t),
        rng.normal(size=(6, 3)),
    )


# --- Properties ---------------------------------------------------------------------------------

FLOATS = st.floats(-1e4, 1e4, width=32)


@given(
    hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=3, max_side=6), elements=FLOATS)
)
def test_probabilities_sum_to_one(x):
    p = nn.softmax_array(x)
    assert (p >= 0).all()
    np.testing.assert_allclose(p.sum(axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.exp(nn.log_softmax_array(x)).sum(axis=-1), 1, rtol=1e-3)


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(0, 5), st.integers(0, 10))
def test_attention_rows_are_distributions_that_never_look_ahead(queries, earlier, seed):
    rng = np.random.default_rng(seed)
    q = rng.normal(size=(2, queries, 4)).astype(np.float32)
    k = rng.normal(size=(2, queries + earlier, 4)).astype(np.float32)
    a = nn.attention_weights(q, k)
    np.testing.assert_allclose(a.sum(axis=-1), 1, rtol=1e-5)
    for i in range(queries):
        assert (a[:, i, earlier + i + 1 :] == 0).all()
        assert (a[:, i, : earlier + i + 1] > 0).all()


@given(st.integers(0, 200), st.integers(0, 200), st.integers(0, 50))
def test_rotated_dot_products_depend_on_distance_only(m, n, shift):
    rng = np.random.default_rng(1)
    q, k = rng.normal(size=(2, 1, 1, 1, 8))

    def dot(i, j):
        at_i = nn.rope(Tensor(q), nn.rope_angles(np.array([i]), 8)).data
        at_j = nn.rope(Tensor(k), nn.rope_angles(np.array([j]), 8)).data
        return (at_i * at_j).sum()

    np.testing.assert_allclose(dot(m, n), dot(m + shift, n + shift), rtol=1e-9, atol=1e-9)


def test_rope_is_the_rotation_of_the_paper():
    """Pair i is turned by m · 10000^(-2i/d), by the ordinary 2-by-2 rotation matrix."""
    x, m = np.array([1.0, 2.0, 3.0, 4.0]), 3
    out = nn.rope(Tensor(x.reshape(1, 1, 1, 4)), nn.rope_angles(np.array([m]), 4)).data.ravel()
    for i in range(2):
        t = m * 10_000 ** (-2 * i / 4)
        rotation = np.array([[np.cos(t), -np.sin(t)], [np.sin(t), np.cos(t)]])
        np.testing.assert_allclose(out[2 * i : 2 * i + 2], rotation @ x[2 * i : 2 * i + 2])


def test_sinusoidal_positions_follow_the_formula():
    table = nn.sinusoidal_positions(np.arange(5), 6)
    assert table[4, 2] == pytest.approx(np.sin(4 / 10_000 ** (2 / 6)))
    assert table[4, 3] == pytest.approx(np.cos(4 / 10_000 ** (2 / 6)))


def test_the_mask_aligns_the_last_query_with_the_last_key():
    assert (nn.causal_mask(2, 4) == 0).tolist() == [[True] * 3 + [False], [True] * 4]


def test_a_uniform_guess_costs_ln_v():
    assert nn.cross_entropy(Tensor(np.zeros((3, 8))), np.zeros(3, int)).item() == pytest.approx(
        np.log(8)
    )


# --- Modules ------------------------------------------------------------------------------------


def test_modules_find_their_parameters_by_dotted_name(rng):
    layer = nn.SwiGLU(4, 6, rng, out_std=0.1)
    assert set(layer.parameters()) == {"w1.weight", "w3.weight", "w2.weight"}
    assert layer.num_parameters() == 72
    layer.w1.weight.requires_grad = False
    assert set(layer.parameters()) == {"w3.weight", "w2.weight"}
    assert layer.num_parameters() == 72


def test_a_module_can_be_swapped_by_name(rng):
    layer = nn.SwiGLU(4, 6, rng, out_std=0.1)
    new = nn.Linear(4, 6, rng)
    layer.set_module("w1", new)
    assert layer.get_module("w1") is new
    with pytest.raises(PrimerError, match=r"no module 'w9'"):
        layer.get_module("w9")


def test_loading_refuses_what_does_not_fit_and_changes_nothing(rng):
    layer = nn.Linear(2, 3, rng)
    before = layer.weight.data.copy()
    good = {"weight": np.ones((2, 3)), "bias": np.ones(3)}
    for bad, message in (
        ({"weight": good["weight"]}, "lack 'bias'"),
        ({**good, "x": np.ones(1)}, "no place for 'x'"),
        ({**good, "bias": np.ones(4)}, r"'bias' has shape \(4,\)"),
    ):
        with pytest.raises(PrimerError, match=message):
            layer.load_arrays(bad)
        assert (layer.weight.data == before).all()
    layer.load_arrays(good)
    assert (layer.weight.data == 1).all()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: nn.linear(Tensor(np.ones((2, 3))), Tensor(np.ones((4, 2)))),
        lambda: nn.token_log_probs(Tensor(np.ones((2, 3))), np.array([1, 3])),
        lambda: nn.token_log_probs(Tensor(np.ones((2, 3))), np.array([1])),
        lambda: nn.cross_entropy(Tensor(np.ones((2, 3))), np.array([-1, -1])),
        lambda: nn.attention(*[Tensor(np.ones((1, h, 2, 4))) for h in (3, 2, 2)]),
    ],
)
def test_mistakes_get_one_clear_error(wrong):
    with pytest.raises(PrimerError, match=r"\.$"):
        wrong()
