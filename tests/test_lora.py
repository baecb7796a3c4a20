"""LoRA: what is trained, what stays, and the same numbers as PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

from llm_primer import finetune, lora
from llm_primer.autograd import Tensor
from llm_primer.errors import PrimerError
from llm_primer.nn import Linear, cross_entropy
from llm_primer.tokenizer import Tokenizer
from llm_primer.transformer import Transformer, TransformerConfig
from llm_primer.world import World

IDS = np.array([[1, 2, 3, 4, 5], [5, 4, 3, 2, 1]])


@pytest.fixture
def model():
    return Transformer(TransformerConfig(vocab_size=20, context=12, width=16, layers=2, heads=2))


def examples(n=40):
    """Answer with the first token of the prompt: a task that the untrained model cannot do."""
    rng = np.random.default_rng(0)
    prompts = rng.integers(1, 8, (n, 4))
    return [finetune.Example(tuple(p), (int(p[0]), 19)) for p in prompts.tolist()]


def test_a_fresh_detour_changes_nothing(model):
    before = model.logits(IDS)
    trained = lora.add_lora(model, rank=3)
    np.testing.assert_array_equal(model.logits(IDS), before)
    assert trained == 2 * 4 * 3 * (16 + 16)
    assert len(model.parameters()) == 2 * 4 * 2
    assert all("lora" in name for name in model.parameters())


def test_only_the_detour_learns_and_merging_keeps_what_was_learned(model):
    lora.add_lora(model, rank=4, alpha=8, targets=lora.EVERYTHING)
    frozen = {n: t.data.copy() for n, t in model.all_tensors().items() if not t.requires_grad}
    losses = finetune.fine_tune(model, examples(), steps=30, lr=1e-2)
    assert losses[-1] < 0.8 * losses[0]
    for name, before in frozen.items():
        np.testing.assert_array_equal(model.all_tensors()[name].data, before)
    logits = model.logits(IDS)
    lora.merge(model)
    np.testing.assert_allclose(model.logits(IDS), logits, atol=1e-5)
    assert not lora.lora_layers(model)
    assert model.num_parameters() == sum(t.data.size for t in model.parameters().values())


def test_a_merged_update_has_the_rank_that_was_asked_for(model):
    before = model.blocks[0].attn.wq.weight.data.copy()
    lora.add_lora(model, rank=2, targets=("wq",))
    finetune.fine_tune(model, examples(), steps=5)
    lora.merge(model)
    change = model.blocks[0].attn.wq.weight.data - before
    singular = np.linalg.svd(change, compute_uv=False)
    assert (singular[:2] > 1e-5).all()
    assert (singular[2:] < 1e-5 * singular[0] + 1e-6).all()


def test_removing_and_putting_back_an_adapter(model):
    original = model.logits(IDS)
    lora.add_lora(model, rank=2)
    finetune.fine_tune(model, examples(), steps=5)
    tuned, adapter = model.logits(IDS), lora.adapter_arrays(model)
    lora.remove(model)
    np.testing.assert_array_equal(model.logits(IDS), original)
    lora.add_lora(model, rank=2, seed=9)
    lora.load_adapter(model, adapter)
    np.testing.assert_array_equal(model.logits(IDS), tuned)
    lora.remove(model)
    lora.add_lora(model, rank=3)
    with pytest.raises(PrimerError, match="another rank"):
        lora.load_adapter(model, adapter)


def test_output_and_gradients_equal_torch(require_torch, rng):
    torch = require_torch
    layer = lora.LoRALinear(Linear(7, 5, rng, bias=False), 3, 6.0, rng)
    layer.lora_out.data[...] = rng.normal(size=(3, 5))
    for t in (layer.base.weight, layer.lora_in, layer.lora_out):
        t.data = t.data.astype(np.float64)
    layer.base.weight.requires_grad = False
    x, g = rng.normal(size=(2, 4, 7)), rng.normal(size=(2, 4, 5))
    mine = Tensor(x.copy(), requires_grad=True)
    y = layer(mine)
    y.backward(g)

    tx = torch.tensor(x, requires_grad=True)
    a = torch.tensor(layer.lora_in.data.T.copy(), requires_grad=True)  # the paper's A: (r, d_in)
    b = torch.tensor(layer.lora_out.data.T.copy(), requires_grad=True)  # the paper's B: (d_out, r)
    base = torch.tensor(layer.base.weight.data.T.copy())
    ty = torch.nn.functional.linear(tx, base + (6.0 / 3) * b @ a)
    ty.backward(torch.tensor(g))
    np.testing.assert_allclose(y.data, ty.detach().numpy(), rtol=1e-10)
    np.testing.assert_allclose(mine.grad, tx.grad.numpy(), rtol=1e-10)
    np.testing.assert_allclose(layer.lora_in.grad, a.grad.numpy().T, rtol=1e-10)
    np.testing.assert_allclose(layer.lora_out.grad, b.grad.numpy().T, rtol=1e-10)
    assert layer.base.weight.grad is None


def test_only_the_answer_counts(model):
    some = [finetune.Example((1, 2, 3), (4, 5)), finetune.Example((6,), (7,))]
    ids, targets = finetune.pad(some)
    assert ids.tolist() == [[1, 2, 3, 4], [6, 0, 0, 0]]
    assert targets.tolist() == [[-1, -1, 4, 5], [7, -1, -1, -1]]
    one_by_one = [
        -cross_entropy(model(np.array([[1, 2, 3, 4]])), np.array([[-1, -1, 4, 5]])).item() * 2,
        -cross_entropy(model(np.array([[6]])), np.array([[7]])).item(),
    ]
    np.testing.assert_allclose(finetune.answer_log_probs(model, some).data, one_by_one, rtol=1e-5)
    expected = -sum(one_by_one) / 3
    assert finetune.answer_loss(model, some, batch_size=1) == pytest.approx(expected, rel=1e-5)


def test_question_examples_hold_the_worlds_own_answers():
    world, tokenizer = World(), Tokenizer.book()
    made = finetune.question_examples(world, tokenizer, 3, seed=4)
    stories = world.stories(3, 4)
    asked = [(s, q) for s in stories for q in world.questions(s)]
    assert len(made) == len(asked)
    for example, (story, question) in zip(made, asked, strict=True):
        assert example.prompt[0] == example.answer[-1] == tokenizer.end_id
        text = tokenizer.decode([*example.prompt[1:], *example.answer[:-1]])
        assert text == f"{story.text}\n{question.text} {question.answer}"


def test_a_model_can_be_taught_a_task(model):
    data = examples(300)
    assert finetune.exact_match(model, data[:20]).mean() < 0.5
    finetune.fine_tune(model, data, steps=250, lr=1e-2)
    assert finetune.exact_match(model, data[:20]).mean() == 1


def test_fine_tuning_is_reproducible(model):
    other = Transformer(model.config)
    first = finetune.fine_tune(model, examples(), steps=5, seed=3)
    assert first == finetune.fine_tune(other, examples(), steps=5, seed=3)


@pytest.mark.parametrize(
    "make",
    [
        lambda m: lora.add_lora(m, targets=("nothing",)),
        lambda m: lora.add_lora(m, rank=17),
        lambda m: lora.add_lora(m, rank=0),
        lambda m: (lora.add_lora(m), lora.add_lora(m)),
        lora.merge,
        lora.remove,
        lambda m: finetune.fine_tune(m, []),
        lambda m: finetune.fine_tune(m, [finetune.Example((), (1,))]),
    ],
)
def test_what_makes_no_sense_is_refused(model, make):
    with pytest.raises(PrimerError):
        make(model)


def test_a_rank_that_does_not_fit_leaves_the_model_as_it_was(model):
    with pytest.raises(PrimerError):
        lora.add_lora(model, rank=17)
    assert len(model.parameters()) == len(model.all_tensors())


def test_a_loss_that_is_not_a_number_stops_the_run(model):
    model.final_norm.gain.data[...] = np.nan
    with pytest.raises(PrimerError, match="step 1"):
        finetune.fine_tune(model, examples(), steps=2)
