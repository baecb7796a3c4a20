from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_primer.autograd import numerical_gradient
from llm_primer.errors import PrimerError
from llm_primer.nn import cross_entropy
from llm_primer.transformer import (
    KVCache,
    Transformer,
    TransformerConfig,
    load_model,
    save_model,
)

TINY = TransformerConfig(vocab_size=11, context=12, width=16, layers=2, heads=2)
VARIANTS = {
    "book": TINY,
    "gpt-2": replace(TINY, positions="sinusoidal", norm="layer", feed_forward="gelu"),
    "no positions, own head": replace(TINY, positions="none", tied=False),
    "shared keys": replace(TINY, heads=4, kv_heads=2),
    "one key head": replace(TINY, heads=4, kv_heads=1),
}


def double(model):
    """The same model in float64, where finite differences and comparisons are sharp."""
    for t in model.all_tensors().values():
        t.data = t.data.astype(np.float64)
    return model


@pytest.mark.parametrize("name", VARIANTS)
def test_gradients_of_the_whole_model_are_finite_differences(name, rng):
    model = double(Transformer(VARIANTS[name], seed=1))
    ids = rng.integers(0, 11, size=(2, 6))
    targets = rng.integers(0, 11, size=(2, 6))
    cross_entropy(model(ids), targets).backward()
    for tensor in model.parameters().values():
        some = [tuple(rng.integers(0, n) for n in tensor.shape) for _ in range(3)]
        expected = numerical_gradient(
            lambda _: cross_entropy(model(ids), targets).item(), tensor.data, indices=some
        )
        for i in some:
            np.testing.assert_allclose(tensor.grad[i], expected[i], rtol=1e-5, atol=1e-8)


def torch_logits(torch, model, ids):
    """The same network written with PyTorch's own functions and layers."""
    f, c = torch.nn.functional, model.config
    w = {n: torch.tensor(a) for n, a in model.arrays().items()}

    def norm(x, name):
        if c.norm == "rms":
            return f.rms_norm(x, (c.width,), w[f"{name}.gain"], eps=1e-5)
        return f.layer_norm(x, (c.width,), w[f"{name}.gain"], w[f"{name}.bias"])

    def rotate(x):  # (B, H, T, d_h), with sines and cosines instead of complex numbers
        half = torch.arange(0, c.head_width, 2, dtype=torch.float64) / c.head_width
        angles = torch.outer(torch.arange(x.shape[2], dtype=torch.float64), 10_000.0**-half)
        even, odd, cos, sin = x[..., 0::2], x[..., 1::2], angles.cos(), angles.sin()
        return torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(-2)

    x = f.embedding(torch.tensor(ids), w["embed.weight"])
    if c.positions == "sinusoidal":
        pos = torch.arange(ids.shape[1], dtype=torch.float64)[:, None]
        angle = pos / 10_000 ** (torch.arange(0, c.width, 2, dtype=torch.float64) / c.width)
        x = x + torch.stack([angle.sin(), angle.cos()], -1).flatten(-2) / c.width**0.5
    for i in range(c.layers):
        p, y = f"blocks.{i}", norm(x, f"blocks.{i}.attn_norm")
        q, k, v = (
            (y @ w[f"{p}.attn.{n}.weight"]).unflatten(-1, (-1, c.head_width)).transpose(1, 2)
            for n in ("wq", "wk", "wv")
        )
        if c.positions == "rope":
            q, k = rotate(q), rotate(k)
        y = f.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        x = x + y.transpose(1, 2).flatten(2) @ w[f"{p}.attn.wo.weight"]
        y = norm(x, f"{p}.ff_norm")
        inner = y @ w[f"{p}.ff.w1.weight"]
        if c.feed_forward == "swiglu":
            inner = f.silu(y @ w[f"{p}.ff.w3.weight"]) * inner
        else:
            inner = f.gelu(inner, approximate="tanh")
        x = x + inner @ w[f"{p}.ff.w2.weight"]
    x = norm(x, "final_norm")
    return (x @ (w["embed.weight"].T if c.tied else w["head.weight"])).numpy()


@pytest.mark.parametrize("name", VARIANTS)
def test_the_model_equals_one_built_from_pytorch(name, require_torch, rng):
    model = double(Transformer(VARIANTS[name], seed=2))
    ids = rng.integers(0, 11, size=(3, 12))
    np.testing.assert_allclose(
        model.logits(ids), torch_logits(require_torch, model, ids), rtol=1e-8, atol=1e-8
    )


MODELS = {name: Transformer(config, seed=3) for name, config in VARIANTS.items()}


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from(sorted(VARIANTS)),
    st.lists(st.integers(0, 10), min_size=1, max_size=12),
    st.lists(st.integers(1, 4), min_size=12, max_size=12),
)
def test_the_cache_changes_nothing(name, ids, chunks):
    """Whatever pieces a text is read in, the logits are those of reading it at once."""
    model = MODELS[name]
    cache, pieces, at = KVCache(model.config), [], 0
    for size in chunks:
        if at < len(ids):
            pieces.append(model.logits(np.array(ids[at : at + size]), cache))
            at += size
    assert cache.length == len(ids)
    np.testing.assert_allclose(
        np.concatenate(pieces), model.logits(np.array(ids)), rtol=1e-4, atol=1e-5
    )


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from(sorted(VARIANTS)),
    st.lists(st.integers(0, 10), min_size=2, max_size=12),
    st.integers(0, 10),
    st.data(),
)
def test_the_future_never_leaks(name, ids, other, data):
    at = data.draw(st.integers(1, len(ids) - 1))
    changed = [*ids[:at], other, *reversed(ids[at + 1 :])]
    model = MODELS[name]
    before, after = model.logits(np.array(ids)), model.logits(np.array(changed))
    np.testing.assert_array_equal(before[:at], after[:at])


def test_a_sequence_does_not_see_its_neighbors_in_the_batch(rng):
    model, ids = MODELS["book"], rng.integers(0, 11, size=(3, 7))
    np.testing.assert_allclose(model.logits(ids)[1], model.logits(ids[1]), rtol=1e-4, atol=1e-6)


def test_cached_beams_can_be_selected_and_cut(rng):
    model, ids = MODELS["book"], rng.integers(0, 11, size=(3, 7))
    cache = KVCache(model.config, batch_size=3)
    model.logits(ids, cache)
    chosen = cache.select(np.array([2, 0]))
    chosen.truncate(6)
    np.testing.assert_allclose(
        model.logits(ids[[2, 0], 6:], chosen)[:, 0],
        model.logits(ids[[2, 0]])[:, 6],
        rtol=1e-4,
        atol=1e-6,
    )
    assert cache.length == 7


def test_an_untrained_model_is_close_to_undecided(rng):
    model = Transformer(TransformerConfig())
    ids = rng.integers(0, 512, size=(2, 65))
    loss = cross_entropy(model(ids[:, :-1]), ids[:, 1:]).item()
    assert loss == pytest.approx(np.log(512), abs=1.0)


def test_the_book_config_has_about_a_million_parameters():
    model = Transformer(TransformerConfig())
    assert 0.9e6 < model.num_parameters() < 1.1e6
    assert model.arrays()["blocks.0.attn.wq.weight"].shape == (128, 128)
    assert KVCache(model.config).nbytes == 2 * 5 * 1 * 4 * 256 * 32 * 4


def test_inner_views_agree_with_the_output(rng):
    model, ids = MODELS["shared keys"], rng.integers(0, 11, size=9)
    states = model.hidden_states(ids)
    assert states.shape == (3, 9, 16)
    from llm_primer.autograd import Tensor

    np.testing.assert_allclose(
        model.unembed(Tensor(states[-1])).data, model.logits(ids), rtol=1e-4, atol=1e-6
    )
    maps = model.attention_weights(ids)
    assert maps.shape == (2, 4, 9, 9)
    np.testing.assert_allclose(maps.sum(axis=-1), 1, rtol=1e-5)
    assert (maps[..., np.triu_indices(9, 1)[0], np.triu_indices(9, 1)[1]] == 0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_models_are_saved_and_loaded(tmp_path, rng, dtype):
    model, ids = MODELS["shared keys"], rng.integers(0, 11, size=9)
    save_model(tmp_path / "m.safetensors", model, {"note": 1}, dtype)
    loaded = load_model(tmp_path / "m.safetensors")
    assert loaded.config == model.config
    np.testing.assert_allclose(
        loaded.logits(ids), model.logits(ids), atol=0 if dtype is np.float32 else 0.02
    )


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (np.zeros((1, 13), int), "13 tokens do not fit the model's context of 12"),
        (np.zeros((1, 0), int), "table"),
        (np.zeros(3, int), "table"),
        (np.array([[0.5]]), "integers"),
        (np.array([[11]]), "between 0 and 10"),
        (np.array([[-1]]), "between 0 and 10"),
    ],
)
def test_ids_that_make_no_sense_get_one_clear_error(ids, message):
    with pytest.raises(PrimerError, match=message):
        MODELS["book"](ids)


def test_a_full_cache_gets_one_clear_error():
    model = MODELS["book"]
    cache = KVCache(model.config)
    model.logits(np.zeros(12, int), cache)
    with pytest.raises(PrimerError, match="13 tokens do not fit"):
        model.logits(np.zeros(1, int), cache)
    with pytest.raises(PrimerError, match="cannot serve 2"):
        model.logits(np.zeros((2, 1), int), cache)
    with pytest.raises(PrimerError, match="cannot be cut"):
        cache.truncate(13)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 18, "heads": 4}, "cannot share a width of 18"),
        ({"heads": 4, "kv_heads": 3}, "cannot share 3 key heads"),
        ({"positions": "learned"}, "rope, sinusoidal, none"),
        ({"layers": 0}, "layers must be at least 1"),
    ],
)
def test_shapes_that_make_no_sense_get_one_clear_error(change, message):
    with pytest.raises(PrimerError, match=message):
        replace(TINY, **change)
