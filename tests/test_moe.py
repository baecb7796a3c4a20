"""Mixture of experts: against all experts in PyTorch, by hand, and as a drop-in."""

from __future__ import annotations

import numpy as np
import pytest

from llm_primer import moe
from llm_primer.autograd import Tensor
from llm_primer.errors import PrimerError
from llm_primer.nn import SwiGLU, cross_entropy
from llm_primer.optim import AdamW
from llm_primer.transformer import Transformer, TransformerConfig


def layer(experts=4, top_k=2, width=6, seed=0):
    rng = np.random.default_rng(seed)
    made = moe.MixtureOfExperts(
        width, [SwiGLU(width, 8, rng, 0.3) for _ in range(experts)], top_k, rng
    )
    for t in made.all_tensors().values():
        t.data = t.data.astype(np.float64)
    return made


@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_output_balance_and_gradients_equal_torch(require_torch, rng, top_k):
    torch = require_torch
    functional = torch.nn.functional
    mix = layer(top_k=top_k)
    x, g = rng.normal(size=(3, 5, 6)), rng.normal(size=(3, 5, 6))
    mine = Tensor(x.copy(), requires_grad=True)
    loss = (mix(mine) * Tensor(g)).sum() + mix.balance * 0.7
    loss.backward()

    theirs = {n: torch.tensor(t.data, requires_grad=True) for n, t in mix.all_tensors().items()}
    tx = torch.tensor(x, requires_grad=True)
    flat = tx.reshape(-1, 6)
    scores = flat @ theirs["router.weight"]
    probs = functional.softmax(scores, dim=-1)
    _, chosen = torch.topk(scores, top_k)
    used = functional.one_hot(chosen, 4).sum(dim=1).bool()
    weights = probs * used
    if top_k > 1:
        weights = functional.softmax(scores.masked_fill(~used, float("-inf")), dim=-1)
    out = 0
    for i in range(4):
        w1, w3, w2 = (theirs[f"experts.{i}.{w}.weight"] for w in ("w1", "w3", "w2"))
        expert = (functional.silu(flat @ w3) * (flat @ w1)) @ w2
        out = out + weights[:, i : i + 1] * expert
    share = used.double().mean(dim=0) / top_k
    balance = 4 * (share * probs.mean(dim=0)).sum()
    other = (out.reshape(3, 5, 6) * torch.tensor(g)).sum() + 0.7 * balance
    other.backward()

    assert loss.item() == pytest.approx(other.item(), rel=1e-10)
    assert mix.balance.item() == pytest.approx(balance.item(), rel=1e-10)
    np.testing.assert_allclose(mine.grad, tx.grad.numpy(), rtol=1e-8, atol=1e-10)
    for name, t in mix.all_tensors().items():
        expected = theirs[name].grad
        if t.grad is None:  # an expert that no token chose
            assert expected is None or not expected.any()
        else:
            np.testing.assert_allclose(t.grad, expected.numpy(), rtol=1e-8, atol=1e-10)


def test_balance_by_hand():
    even = Tensor(np.full((4, 2), 0.5))
    assert moe.load_balance_loss(even, np.array([[0], [1], [0], [1]])).item() == pytest.approx(1)
    sure = Tensor(np.tile([0.9, 0.1], (4, 1)))
    assert moe.load_balance_loss(sure, np.zeros((4, 1), int)).item() == pytest.approx(2 * 0.9)


def test_one_expert_is_an_ordinary_feed_forward_layer(rng):
    mix = layer(experts=1, top_k=1)
    x = Tensor(rng.normal(size=(2, 3, 6)))
    np.testing.assert_allclose(mix(x).data, mix.experts[0](x).data)
    np.testing.assert_array_equal(mix.load, [1.0])


def test_a_transformer_with_experts_learns_and_keeps_its_load_even():
    config = TransformerConfig(vocab_size=12, context=8, width=16, layers=2, heads=2)
    model = Transformer(config)
    dense = model.num_parameters()
    moe.use_experts(model, experts=4, top_k=2)
    assert model.num_parameters() > dense
    ff = model.blocks[0].ff
    assert ff.active_parameters() == 16 * 4 + 2 * ff.experts[0].num_parameters()
    ids = np.random.default_rng(0).integers(0, 12, (16, 8))
    optimizer = AdamW(model.parameters(), lr=1e-2, weight_decay=0)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = cross_entropy(model(ids[:, :-1]), ids[:, 1:])
        (loss + moe.balance_loss(model) * 0.01).backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    assert all(m.load.max() < 0.6 for m in moe.mixtures(model))


def test_the_future_stays_hidden():
    model = Transformer(TransformerConfig(vocab_size=12, context=8, width=16, layers=1, heads=2))
    moe.use_experts(model, experts=3, top_k=1)
    a, b = model.logits(np.array([1, 2, 3, 4])), model.logits(np.array([1, 2, 3, 9]))
    np.testing.assert_allclose(a[:3], b[:3], atol=1e-6)


def test_what_makes_no_sense_is_refused():
    model = Transformer(TransformerConfig(vocab_size=12, context=8, width=16, layers=1, heads=2))
    with pytest.raises(PrimerError, match="1 to 2"):
        moe.use_experts(model, experts=2, top_k=3)
    with pytest.raises(PrimerError, match="after a call"):
        moe.balance_loss(model)
    moe.use_experts(model, experts=2, top_k=1)
    with pytest.raises(PrimerError, match="after a call"):
        moe.balance_loss(model)
    with pytest.raises(PrimerError, match="already"):
        moe.use_experts(model, experts=2, top_k=1)
