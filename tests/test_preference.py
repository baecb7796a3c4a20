"""Preferences: Bradley–Terry and DPO against PyTorch, and small runs that learn them."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from scipy.special import expit

from llm_primer import lora, preference
from llm_primer.autograd import Tensor
from llm_primer.finetune import Example, question_examples
from llm_primer.preference import Pair
from llm_primer.tokenizer import Tokenizer
from llm_primer.transformer import Transformer, TransformerConfig
from llm_primer.world import World


@pytest.fixture
def model():
    return Transformer(TransformerConfig(vocab_size=20, context=12, width=16, layers=2, heads=2))


def pairs(n=60):
    """Prefer the answer that repeats the prompt's first token."""
    rng = np.random.default_rng(1)
    made = []
    for _ in range(n):
        prompt = tuple(rng.integers(1, 8, 3).tolist())
        other = int(rng.choice([t for t in range(1, 8) if t != prompt[0]]))
        made.append(Pair(prompt, (prompt[0], 19), (other, 19)))
    return made


def test_bradley_terry_probability_is_the_logistic_of_the_difference(rng):
    a, b = rng.normal(0, 5, 50), rng.normal(0, 5, 50)
    np.testing.assert_allclose(preference.preference_probability(a, b), expit(a - b), rtol=1e-9)
    total = preference.preference_probability(a, b) + preference.preference_probability(b, a)
    np.testing.assert_allclose(total, 1)


def test_losses_and_gradients_equal_torch(require_torch, rng):
    torch = require_torch
    arrays = [rng.normal(-20, 8, 9) for _ in range(4)]
    mine = [Tensor(a.copy(), requires_grad=True) for a in arrays[:2]]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays[:2]]
    beta = 0.3
    loss = preference.dpo_loss(*mine, arrays[2], arrays[3], beta)
    # As in the authors' code: logits of the policy's ratios minus those of the reference.
    ratios = (theirs[0] - theirs[1]) - torch.tensor(arrays[2] - arrays[3])
    other = -torch.nn.functional.logsigmoid(beta * ratios).mean()
    loss.backward()
    other.backward()
    assert loss.item() == pytest.approx(other.item(), rel=1e-12)
    for m, t in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(m.grad, t.grad.numpy(), rtol=1e-10, atol=1e-15)

    mine = [Tensor(a.copy(), requires_grad=True) for a in arrays[:2]]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays[:2]]
    preference.bradley_terry_loss(*mine).backward()
    ones = torch.ones(9, dtype=torch.float64)
    torch.nn.functional.binary_cross_entropy_with_logits(theirs[0] - theirs[1], ones).backward()
    for m, t in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(m.grad, t.grad.numpy(), rtol=1e-10, atol=1e-15)


def test_dpo_starts_at_ln_2_and_its_gradient_weighs_wrong_pairs_more():
    """Section 4 of the paper: a pair's weight is σ(R_l - R_w) of the implicit rewards."""
    chosen = Tensor(np.array([-3.0, -9.0]), requires_grad=True)
    rejected = Tensor(np.array([-5.0, -1.0]), requires_grad=True)
    start = preference.dpo_loss(chosen, rejected, chosen.data, rejected.data, 0.1)
    assert start.item() == pytest.approx(np.log(2))
    reference = np.full(2, -4.0)
    preference.dpo_loss(chosen, rejected, reference, reference, 0.5).backward()
    weight = expit(0.5 * (rejected.data - chosen.data))
    np.testing.assert_allclose(chosen.grad, -0.5 * weight / 2)
    np.testing.assert_allclose(rejected.grad, 0.5 * weight / 2)


def test_dpo_teaches_a_preference_and_the_reference_stays(model):
    reference = copy.deepcopy(model)
    data = pairs()
    history = preference.train_dpo(model, data, steps=60, lr=5e-3, beta=0.1)
    assert history.loss[0] == pytest.approx(np.log(2), abs=1e-5)
    assert history.accuracy[-1] == 1
    assert history.margin[-1] > 0.1
    before = preference.pair_log_probs(reference, data)
    after = preference.pair_log_probs(model, data)
    gain = preference.implicit_reward(after, before, 0.1)
    assert (gain[:, 0] > gain[:, 1]).mean() > 0.95


def test_a_given_reference_equals_the_model_before(model):
    other, reference = copy.deepcopy(model), copy.deepcopy(model)
    one = preference.train_dpo(model, pairs(), steps=4)
    two = preference.train_dpo(other, pairs(), reference=reference, steps=4)
    assert one == two


def test_dpo_through_lora_trains_only_the_detours(model):
    before = {n: a.copy() for n, a in model.arrays().items()}
    lora.add_lora(model, rank=4)
    history = preference.train_dpo(model, pairs(), steps=60, lr=2e-2)
    assert history.margin[-1] > history.margin[0]
    lora.remove(model)
    for name, array in model.arrays().items():
        np.testing.assert_array_equal(array, before[name])


def test_a_reward_model_learns_to_rank(model):
    data = pairs(200)
    judge = preference.RewardModel(model)
    assert (judge.rewards([Example(p.prompt, p.chosen) for p in data]) == 0).all()
    losses = preference.train_reward_model(judge, data[:150], steps=150, batch_size=16, lr=5e-3)
    assert losses[0] == pytest.approx(np.log(2), abs=1e-6)
    assert judge.accuracy(data[150:]) > 0.9


def test_a_reward_reads_the_whole_answer_and_nothing_after_it(model):
    judge = preference.RewardModel(model)
    judge.head.weight.data[...] = np.random.default_rng(0).normal(size=(16, 1))
    examples = [Example((1, 2), (3,)), Example((1, 2, 3, 4), (5, 6, 7)), Example((1, 2), (4,))]
    together = judge.rewards(examples)
    alone = np.concatenate([judge.rewards([e]) for e in examples])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert together[0] != together[2]


def test_truth_pairs_set_a_false_answer_of_the_same_kind_beside_the_true_one():
    world, tokenizer = World(), Tokenizer.book()
    made = preference.truth_pairs(world, tokenizer, 20, seed=4)
    true = {e.prompt: e.answer for e in question_examples(world, tokenizer, 20, seed=4)}
    assert len(made) > 60
    for pair in made:
        assert pair.chosen == true[pair.prompt]
        assert pair.rejected != pair.chosen
        question = tokenizer.decode(pair.prompt).splitlines()[-1]
        asks_for_a_place = question.startswith("Where")
        names_a_place = " the " in tokenizer.decode(pair.rejected)
        assert asks_for_a_place == names_a_place
    assert made == preference.truth_pairs(world, tokenizer, 20, seed=4)
