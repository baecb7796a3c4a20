"""The experiment of chapter 6: its exact pulls are right, and a tiny run is complete."""

from __future__ import annotations

import numpy as np
import pytest

from llm_primer.experiments import adaptation
from llm_primer.finetune import exact_match, question_examples
from llm_primer.information import kl_divergence
from llm_primer.transformer import load_book_model
from llm_primer.world import World
from llm_primer.world_words import PEOPLE, PLACES


@pytest.fixture(scope="module")
def policy() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(6))
    return p, rng.normal(size=6)


def test_the_lazy_tricks_name_what_was_named_last_and_most_often():
    story = "Mia was in the barn. Tom went to the lake. Mia went to the barn. Anna saw the hill."
    assert adaptation.last_named(story, "Where is Mia?") == "on the hill"
    assert adaptation.last_named(story, "Who has the ball?") == "Anna"
    assert adaptation.most_named(story) == "in the barn"
    assert adaptation.last_named("Nothing.", "Where is Mia?") == adaptation.most_named("") == ""
    world = World()
    for told in world.stories(20, 5):
        for question in world.questions(told):
            said = adaptation.last_named(told.text, question.text)
            named = told.text.rindex(said.split()[-1])
            names = PLACES if question.text.startswith("Where") else PEOPLE
            assert all(told.text.rfind(name) <= named for name in names)


def test_a_temperature_bends_a_distribution(policy):
    p, _ = policy
    assert adaptation.sharpened(p, temperature=1.0) == pytest.approx(p)
    assert adaptation.sharpened(p, temperature=0.5) == pytest.approx(p**2 / (p**2).sum())
    cold = adaptation.sharpened(p, temperature=0.01)
    assert cold.argmax() == p.argmax()
    assert cold.max() == pytest.approx(1, abs=1e-3)


def test_a_gain_is_as_doubtful_as_its_stories_are_few():
    rng = np.random.default_rng(3)
    p, q = rng.dirichlet(np.ones(8), 400), rng.dirichlet(np.ones(8), 400)
    right, alone = rng.integers(8, size=400), np.arange(400)
    mean, low, high = adaptation.gain(p, q, right, alone, 0)
    gained = (q - p)[alone, right]
    assert mean == pytest.approx(gained.mean(), abs=1e-4)
    half = 1.96 * gained.std() / 20  # the normal interval of 400 independent questions
    assert (low, high) == pytest.approx((mean - half, mean + half), abs=0.1 * half)
    same = np.zeros(400, np.int64)  # one story: nothing is known about others
    assert adaptation.gain(p, q, right, same, 0) == pytest.approx([mean] * 3, abs=1e-4)


def test_wrong_answers_that_a_story_names_are_counted():
    _, tokenizer = load_book_model()
    story, asked = "Mia was in the barn. Mia went to the lake.", "Where is Mia?"
    lake, barn, hill = (
        adaptation.question_example(tokenizer, story, asked, a)
        for a in ("at the lake", "in the barn", "on the hill")
    )
    pairs = [adaptation.Pair(lake.prompt, lake.answer, wrong.answer) for wrong in (barn, hill)]
    assert adaptation.wrong_named(tokenizer, pairs) == 0.5


@pytest.mark.parametrize("n", [1, 2, 5])
def test_best_of_n_is_what_drawing_gives(policy, n):
    p, rewards = policy
    drawn = np.random.default_rng(1).choice(6, size=(200_000, n), p=p)
    best = drawn[np.arange(len(drawn)), rewards[drawn].argmax(axis=1)]
    found = np.bincount(best, minlength=6) / len(drawn)
    assert adaptation.best_of_n(p, rewards, n) == pytest.approx(found, abs=0.005)


def test_equal_rewards_change_nothing(policy):
    p, _ = policy
    assert adaptation.best_of_n(p, np.zeros(6), 7) == pytest.approx(p)
    assert adaptation.leashed(p, np.zeros(6), 0.5) == pytest.approx(p)


def test_the_kl_of_best_of_n_stays_below_the_bound_and_reaches_it(policy):
    p, rewards = policy
    for n in (2, 8, 64):
        found = kl_divergence(adaptation.best_of_n(p, rewards, n), p)
        assert found <= adaptation.best_of_n_bound(n)
    many = np.full(20_000, 1 / 20_000)
    q = adaptation.best_of_n(many, np.arange(20_000.0), 4)
    assert kl_divergence(q, many) == pytest.approx(adaptation.best_of_n_bound(4), abs=1e-3)


def test_no_other_policy_beats_the_leashed_one(policy):
    p, rewards = policy
    beta = 0.7

    def worth(q: np.ndarray) -> float:
        return float(q @ rewards - beta * kl_divergence(q, p))

    best = worth(adaptation.leashed(p, rewards, beta))
    rng = np.random.default_rng(2)
    assert all(worth(rng.dirichlet(np.ones(6))) <= best for _ in range(500))
    assert best >= worth(p)


def test_many_answers_at_once_are_judged_as_one_by_one():
    model, tokenizer = load_book_model()
    asked = question_examples(World(), tokenizer, 2, 5)
    asked += [adaptation.Example((tokenizer.end_id,), tuple(tokenizer.encode("One day,")))]
    assert list(adaptation.answered(model, asked)) == list(exact_match(model, asked))


def test_a_tiny_run_is_complete():
    found = adaptation.run(
        ranks=(8,),
        amounts=(16,),
        leashes=(("random", 1.0),),
        learn_stories=5,
        test_stories=2,
        pair_stories=2,
        ask=2,
        steps=1,
        dpo_steps=2,
        judges={"few": (2, 1)},
        progress=False,
    )
    assert [row["way"] for row in found["prompts"]] == [
        "question",
        "examples",
        "dialogue",
        "sentence",
        "tuned, question",
        "tuned, sentence",
        "answerer, question",
        "answerer, sentence",
    ]
    trick = found["lazy"]
    asked = found["asked"]
    assert trick["where"] == pytest.approx(1 - trick["caught"] / asked, abs=1e-4)
    both = trick["where"] * asked + trick["who"] * (found["test"] - asked)
    assert trick["right"] == pytest.approx(both / found["test"], abs=1e-4)
    assert found["before"]["lazy"] == found["before"]["right"] == 0
    assert found["ranks"][0]["trained"] < found["full"]["trained"] == found["parameters"]
    assert found["dpo"][0]["chosen"][0] == pytest.approx(0, abs=1e-4)
    for judge in found["rewards"]:
        rewards = [row["reward"] for row in judge["best_of"]]
        assert rewards == sorted(rewards)
        assert judge["best_of"][0]["kl"] == pytest.approx(0, abs=1e-6)
