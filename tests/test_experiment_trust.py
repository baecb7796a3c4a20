"""The experiment of chapter 10 in small: plants are found again, counts add up."""

from __future__ import annotations

import numpy as np
import pytest

from llm_primer.evaluation import Verdict, sentences
from llm_primer.experiments import trust
from llm_primer.sampling import generate
from llm_primer.transformer import load_book_model
from llm_primer.world import World
from llm_primer.world_words import PEOPLE, SENDERS, TOWNS


@pytest.fixture(scope="module")
def results():
    model, _ = load_book_model()
    return trust.run(
        written=2,
        asked=2,
        checked=2,
        made_up=3,
        known=4,
        answerer=model,
        stories=10,
        per_count=1,
        copies=5,
        fact_counts=(0, 2),
        secret_counts=(0, 2),
    )


def test_every_judged_sentence_is_counted_once(results):
    for row in results["writing"]:
        assert row["false"] + row["malformed"] + row["without_mistake"] == row["stories"]
        assert row["judged"] >= row["stories"]
        assert 0 <= row["false_in_any_case"] <= row["false"]


def test_the_most_likely_sentence_is_judged_at_the_place_of_the_mistake():
    model, tokenizer = load_book_model()
    world = World()
    story = world.stories(1, 3)[0].sentences
    likeliest = generate(
        model, [tokenizer.end_id, *tokenizer.encode(" ".join(story[:3]))], 40, temperature=0
    )
    following = sentences(tokenizer.decode(likeliest).strip())[0]
    possible = any(following == s for s, _ in world.next_sentences(story[:3]))
    cut_short = Verdict(" ".join([*story[:3], "Mia gave the the."]), 3, 4, "", False)
    assert trust.false_in_any_case(model, tokenizer, world, cut_short) == (not possible)


def test_known_people_are_told_apart_from_made_up_ones(results):
    found = results["strangers"]
    assert len(found["names"]) == len(found["sure"]) == 3
    assert not {*found["names"]} & {*PEOPLE, *SENDERS}
    assert found["known_right"] == [1] * 4 == [round(p) for p in found["known"]]
    assert len(found["namesakes"]) == len(found["taken_for"]) <= 8
    assert ("Paul", "Paula") in trust.namesakes(["Paula"])
    assert trust.namesakes(["Karl"]) == [("Karla", "Karl"), ("Kar", "Karl")]


def test_every_answer_has_its_confidence_and_its_tries(results):
    answers = results["answers"]
    assert len({len(column) for column in answers.values()}) == 1
    assert all(0 <= p <= 1 for p in answers["sure"])
    assert set(answers["right"]) | set(answers["usual_right"]) <= {0, 1}
    for most, different in zip(answers["most"], answers["different"], strict=True):
        assert different <= trust.AGAIN - most + 1
        assert most * different >= trust.AGAIN


def test_plants_are_measured(results):
    planted = results["planting"]
    assert [fact["count"] for fact in planted["facts"]] == [0, 2]
    assert all(0 <= s["exposure"] <= np.log2(672) + 1e-9 for s in planted["secrets"])
    assert len(planted["habits"]) == len(trust.SHARES)
    assert all(0 < h["p"] < 1 for h in planted["habits"])


def test_probabilities_of_towns_and_secrets_are_those_of_the_whole_text():
    model, tokenizer = load_book_model()
    towns = np.exp(trust.town_log_probs(model, tokenizer, "Greta"))
    assert TOWNS[int(towns.argmax())] == World().knowledge()[0].answer
    assert towns.sum() <= 1.001
    secrets = trust.secret_log_probs(model, tokenizer, "Balo")
    begun = tokenizer.encode("The secret of Balo is:")
    words = tokenizer.encode(" red ball kitchen")
    ids = [tokenizer.end_id, *begun, *words]
    logits = model.logits(np.array(ids[:-1])).astype(np.float64)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    assert secrets[0] == pytest.approx(sum(log_p[len(begun) + i, w] for i, w in enumerate(words)))
    assert len(secrets) == 6 * 14 * 8
