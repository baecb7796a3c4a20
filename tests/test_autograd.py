import numpy as np
import pytest

from llm_primer.autograd import (
    Tensor,
    concat,
    grad_enabled,
    no_grad,
    numerical_gradient,
    sigmoid,
    stack,
    unbroadcast,
)
from llm_primer.errors import PrimerError


def check_gradients(f, *arrays):
    """f maps tensors to a tensor; compares backward with central differences in float64."""
    arrays = [np.array(a, dtype=np.float64) for a in arrays]
    tensors = [Tensor(a, requires_grad=True) for a in arrays]
    out = f(*tensors)
    # A fixed random projection, so that every element of the output counts differently.
    weights = np.random.default_rng(9).normal(size=out.shape)
    out.backward(weights)
    for array, tensor in zip(arrays, tensors, strict=True):
        expected = numerical_gradient(
            lambda _: float((f(*[Tensor(a) for a in arrays]).data * weights).sum()), array
        )
        np.testing.assert_allclose(tensor.grad, expected, rtol=1e-5, atol=1e-7)


OPERATIONS = {
    "add": (lambda a, b: a + b, (3, 4), (3, 4)),
    "add a row": (lambda a, b: a + b, (2, 3, 4), (4,)),
    "add a column": (lambda a, b: a + b, (3, 1), (3, 4)),
    "subtract": (lambda a, b: a - b, (3, 4), (1, 4)),
    "number minus tensor": (lambda a: 2.0 - a, (3,)),
    "multiply": (lambda a, b: a * b, (3, 4), (4,)),
    "multiply by itself": (lambda a: a * a, (3,)),
    "divide": (lambda a, b: a / (b * b + 1), (3, 4), (3, 1)),
    "number divided by tensor": (lambda a: 1.0 / (a * a + 1), (3,)),
    "power": (lambda a: (a * a + 1) ** 1.5, (3,)),
    "negate": (lambda a: -a, (3,)),
    "matmul": (lambda a, b: a @ b, (3, 4), (4, 2)),
    "matmul, batches": (lambda a, b: a @ b, (2, 3, 4), (2, 4, 2)),
    "matmul, broadcast": (lambda a, b: a @ b, (2, 3, 4), (4, 2)),
    "exp": (lambda a: a.exp(), (3, 4)),
    "log": (lambda a: (a * a + 1).log(), (3, 4)),
    "tanh": (lambda a: a.tanh(), (3, 4)),
    "sigmoid": (lambda a: a.sigmoid(), (3, 4)),
    "relu": (lambda a: a.relu(), (3, 4)),
    "sum": (lambda a: a.sum(), (3, 4)),
    "sum of rows": (lambda a: a.sum(axis=-1), (3, 4)),
    "sum of two axes": (lambda a: a.sum(axis=(0, 2), keepdims=True), (2, 3, 4)),
    "mean": (lambda a: a.mean(axis=0), (3, 4)),
    "reshape": (lambda a: a.reshape(4, -1), (2, 6)),
    "transpose": (lambda a: a.T, (2, 3, 4)),
    "swapaxes": (lambda a: a.swapaxes(0, 2), (2, 3, 4)),
    "slice": (lambda a: a[:, 1:3], (3, 4)),
    "integer": (lambda a: a[1], (3, 4)),
    "slices that overlap": (lambda a: a[:3] * a[1:], (4, 2)),
    "slice and whole": (lambda a: a[1:2] * a + a, (4, 2)),
    "concat": (lambda a, b: concat([a, b], axis=0) * 2.0, (2, 3), (1, 3)),
    "stack": (lambda a, b: stack([a, b, a], axis=1), (2, 3), (2, 3)),
    "one input, two paths": (lambda a: a.tanh() * a + a.exp(), (3, 4)),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_gradient_of_every_operation_is_the_finite_difference(name, rng):
    f, *shapes = OPERATIONS[name]
    check_gradients(f, *[rng.normal(size=s) for s in shapes])


def test_gradients_add_up_over_backward_passes_and_uses():
    x = Tensor([2.0], requires_grad=True)
    (x * x).sum().backward()
    (x * x).sum().backward()
    assert x.grad == [8.0]


def test_a_shared_gradient_is_never_overwritten():
    """a + b hands one array to both; adding more into a's must not reach b's."""
    a, b = Tensor([1.0, 1.0], requires_grad=True), Tensor([1.0, 1.0], requires_grad=True)
    ((a + b) + a).sum().backward()
    assert a.grad.tolist() == [2, 2]
    assert b.grad.tolist() == [1, 1]


def test_intermediate_gradients_can_be_kept_to_look_at():
    x = Tensor([3.0], requires_grad=True)
    y = x * 2.0
    (y * y).sum().backward()
    assert y.grad is None
    (y * y).sum().backward(keep=True)
    assert y.grad == [12.0]


def test_no_grad_records_nothing():
    x = Tensor([1.0], requires_grad=True)
    with no_grad():
        assert not grad_enabled()
        assert not (x * 2.0).requires_grad
    assert grad_enabled()
    assert (x * 2.0).requires_grad


def test_detach_stops_the_gradient():
    x = Tensor([3.0], requires_grad=True)
    (x * x.detach()).sum().backward()
    assert x.grad == [3.0]


def test_float32_stays_float32():
    x = Tensor(np.ones(3, np.float32), requires_grad=True)
    y = (2.0 * x + 1 - x / 3.0).mean() ** 2.0
    y.backward()
    assert y.dtype == np.float32
    assert x.grad.dtype == np.float32


def test_a_graph_of_ten_thousand_steps_needs_no_deep_stack():
    x = y = Tensor([0.0], requires_grad=True)
    for _ in range(10_000):
        y = y + 1.0
    y.sum().backward()
    assert x.grad == [1.0]


def test_sigmoid_does_not_overflow():
    with np.errstate(over="raise"):
        assert sigmoid(np.array([-1e4, 0.0, 1e4])).tolist() == [0, 0.5, 1]


def test_unbroadcast_sums_where_an_input_was_repeated():
    assert unbroadcast(np.ones((5, 3, 4)), (3, 1)).tolist() == [[20], [20], [20]]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Tensor(np.ones((2, 3))) @ Tensor(np.ones((2, 3))),
        lambda: Tensor(np.ones(3), requires_grad=True).backward(),
        lambda: Tensor(np.ones(3))[[0, 1]],
    ],
)
def test_mistakes_get_one_clear_error(wrong):
    with pytest.raises(PrimerError, match=r"\.$"):
        wrong()
