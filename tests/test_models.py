"""The feed-forward and the recurrent language models."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_primer.autograd import numerical_gradient
from llm_primer.errors import PrimerError
from llm_primer.feedforward import FeedForwardConfig, FeedForwardLM
from llm_primer.nn import cross_entropy
from llm_primer.recurrent import RecurrentConfig, RecurrentLM
from tests.test_transformer import double


def build(name):
    if name in ("elman", "gru", "lstm"):
        return RecurrentLM(RecurrentConfig(vocab_size=7, width=5, cell=name), seed=1)
    return FeedForwardLM(
        FeedForwardConfig(vocab_size=7, window=3, width=4, hidden=6, direct=name == "direct"),
        seed=1,
    )


NAMES = ["feedforward", "direct", "elman", "gru", "lstm"]
MODELS = {name: build(name) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_finite_differences(name, rng):
    model = double(build(name))
    ids, targets = rng.integers(0, 7, size=(2, 2, 6))
    cross_entropy(model(ids), targets).backward()
    for tensor in model.parameters().values():
        some = [tuple(rng.integers(0, n) for n in tensor.shape) for _ in range(4)]
        expected = numerical_gradient(
            lambda _: cross_entropy(model(ids), targets).item(), tensor.data, indices=some
        )
        for i in some:
            np.testing.assert_allclose(tensor.grad[i], expected[i], rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(("cell", "theirs"), [("elman", "RNN"), ("gru", "GRU"), ("lstm", "LSTM")])
def test_recurrent_states_equal_pytorch(cell, theirs, require_torch, rng):
    torch, model = require_torch, double(build(cell))
    layer = getattr(torch.nn, theirs)(5, 5, batch_first=True, dtype=torch.float64)
    own = {
        "weight_ih_l0": model.w_in.weight.data.T,
        "weight_hh_l0": model.w_state.weight.data.T,
        "bias_ih_l0": rng.normal(size=model.w_in.bias.shape),
        "bias_hh_l0": rng.normal(size=model.w_in.bias.shape),
    }
    model.w_in.bias.data, model.w_state.bias.data = own["bias_ih_l0"], own["bias_hh_l0"]
    layer.load_state_dict({n: torch.tensor(a.copy()) for n, a in own.items()})
    ids = rng.integers(0, 7, size=(2, 9))
    expected, _ = layer(torch.tensor(model.embed.weight.data[ids]))
    np.testing.assert_allclose(model.states(ids).data, expected.detach().numpy(), rtol=1e-9)


def test_the_feed_forward_model_is_the_formula_of_the_paper(require_torch, rng):
    torch, model = require_torch, double(build("direct"))
    ids = rng.integers(0, 7, size=(1, 5))
    w = {n: torch.tensor(a) for n, a in model.arrays().items()}
    for t in range(2, 5):
        x = w["embed.weight"][ids[0, t - 2 : t + 1]].flatten()
        hidden = torch.tanh(w["hidden.bias"] + x @ w["hidden.weight"])
        y = w["out.bias"] + x @ w["direct.weight"] + hidden @ w["out.weight"]
        np.testing.assert_allclose(model.logits(ids)[0, t], y.numpy(), rtol=1e-9)


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(NAMES), st.lists(st.integers(0, 6), min_size=2, max_size=8), st.data())
def test_the_future_never_leaks(name, ids, data):
    at = data.draw(st.integers(1, len(ids) - 1))
    changed = [*ids[:at], *[(i + 1) % 7 for i in ids[at:]]]
    before, after = (MODELS[name].logits(np.array(x)) for x in (ids, changed))
    np.testing.assert_allclose(before[:at], after[:at], rtol=1e-5, atol=1e-6)


def test_the_feed_forward_model_is_blind_before_its_window():
    ids = np.array([0, 1, 2, 3, 4])
    other = np.array([5, 6, 2, 3, 4])
    model = MODELS["feedforward"]
    np.testing.assert_array_equal(model.logits(ids)[-1], model.logits(other)[-1])
    assert not np.array_equal(MODELS["gru"].logits(ids)[-1], MODELS["gru"].logits(other)[-1])


def test_the_window_starts_with_the_separator():
    assert MODELS["feedforward"].windows(np.array([[1, 2]])).tolist() == [[[6, 6, 1], [6, 1, 2]]]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: RecurrentLM(RecurrentConfig(cell="rnn")),
        lambda: RecurrentLM(RecurrentConfig(width=0)),
        lambda: FeedForwardLM(FeedForwardConfig(window=0)),
        lambda: MODELS["gru"](np.array([[7]])),
        lambda: MODELS["feedforward"](np.array([[7]])),
    ],
)
def test_mistakes_get_one_clear_error(wrong):
    with pytest.raises(PrimerError, match=r"\.$"):
        wrong()
