"""The search experiment: memories keep what they should, walks find, a tiny run is whole."""

from __future__ import annotations

import json

import numpy as np
import pytest

from llm_primer.autograd import Tensor, numerical_gradient
from llm_primer.experiments import load, search
from llm_primer.retrieval import mean_embedding, reciprocal_rank_fusion
from llm_primer.transformer import load_book_model
from llm_primer.world import PEOPLE, THINGS, World


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def test_a_memory_tells_the_same_events_in_sentences_of_the_world(world):
    stories = world.stories(20, 3)
    for story, text in zip(stories, search.memories(world, stories, 0, True), strict=True):
        named = {name for name in PEOPLE if name in text.split() or f"{name}." in text}
        senders = {event.other for event in story.events}
        assert named <= {name for name, _ in story.state.people} | senders
        assert not {"She", "He"} & set(text.split())


def test_without_names_nobody_and_nothing_is_named(world):
    for text in search.memories(world, world.stories(60, 3), 0, False):
        words = set(text.replace(".", "").replace("?", "").split())
        assert not words & set(PEOPLE)
        assert not words & set(THINGS)


def test_a_nameless_memory_fits_its_own_story_and_often_others(world):
    stories = world.stories(1000, 11)
    fits = search.fitting(world, stories, search.memories(world, stories[:400], 1, False))
    assert fits.min() == 1
    assert (fits > 1).sum() == 155  # as the chapter says
    assert round(float((1 / fits).mean()), 2) == 0.73


def test_the_mean_states_are_those_of_the_module():
    model, tokenizer = load_book_model()
    texts = ["Mia had a red ball.", "Then Tom went to the kitchen and took it."]
    found = search.mean_states(model, tokenizer, texts)
    for row, text in zip(found, texts, strict=True):
        ids = [tokenizer.end_id, *tokenizer.encode(text)]
        states = model.hidden_states(np.array(ids))[:, 1:]
        np.testing.assert_allclose(row, states.mean(axis=1), rtol=1e-4, atol=1e-5)
    assert mean_embedding(model, tokenizer, texts).shape == found[:, -1].shape


def test_the_contrastive_loss_is_the_formula_and_its_gradient_the_slope():
    rng = np.random.default_rng(0)
    cosines = rng.uniform(-1, 1, (4, 4))
    p = np.exp(cosines / 0.2)
    by_row = -np.log(np.diag(p) / p.sum(axis=1)).mean()
    by_column = -np.log(np.diag(p) / p.sum(axis=0)).mean()
    table = Tensor(cosines, requires_grad=True)
    loss = search.contrastive_loss(table, 0.2)
    assert loss.item() == pytest.approx((by_row + by_column) / 2)
    loss.backward()
    slope = numerical_gradient(lambda x: search.contrastive_loss(Tensor(x), 0.2).item(), cosines)
    np.testing.assert_allclose(table.grad, slope, atol=1e-6)


def test_the_fusion_with_equal_weights_is_reciprocal_rank_fusion():
    rng = np.random.default_rng(1)
    first, second = rng.permutation(30), rng.permutation(30)
    expected = [i for i, _ in reciprocal_rank_fusion([first.tolist(), second.tolist()])]
    assert search.fused(first, second).tolist() == expected
    assert search.fused(first, second, 1.0).tolist()[:5] == first.tolist()[:5]


def test_a_walk_that_keeps_everything_finds_what_comparing_all_finds():
    rng = np.random.default_rng(2)
    units = rng.normal(size=(200, 8))
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    links = search.linked(search.neighbors(units, 6))
    query = units[7] + 0.01
    best, compared = search.walk(units, links, query, start=0, keep=200)
    assert best[:10] == search.by_score(units @ query)[:10].tolist()
    assert compared == 200
    near, fewer = search.walk(units, links, query, start=0, keep=10)
    assert near[0] == 7
    assert fewer < 200


def test_every_second_gift_is_the_one_before_it_reversed():
    first, second = search.gifts(20, np.random.default_rng(0))
    for i in range(0, 20, 2):
        giver, receiver = first[i].split()[1], first[i].split()[-1].rstrip(".")
        assert first[i + 1].split()[1] == receiver
        assert first[i + 1].endswith(f"{giver}.")
        assert second[i].startswith(f"Then {giver} gave {receiver} the ")


def test_a_tiny_run_gives_every_number(tmp_path, monkeypatch):
    tiny = search.run(collection=40, queries=8, pairs=16, steps=3, asked=6)
    assert tiny.keys() == load("search").keys()
    assert tiny["book"].keys() == load("search")["book"].keys()
    monkeypatch.setattr(search, "run", lambda: tiny)
    search.main(["--out", str(tmp_path / "search.json")])
    assert json.loads((tmp_path / "search.json").read_text())["collection"] == 40


def test_the_stored_results_are_what_the_chapter_says():
    stored = load("search")
    named, unnamed = stored["searches"]["with names"], stored["searches"]["without names"]
    assert named["BM25"]["recall_1"] > named["trained"]["recall_1"] > named["raw"]["recall_1"]
    assert all(found["hybrid"]["mrr"] > found["BM25"]["mrr"] for found in (named, unnamed))
    assert stored["gifts"]["layer 0"]["told apart"] == 0.5
    assert stored["gifts"]["layer 2"]["told apart"] > 0.9
    assert stored["book"]["right story"]["right"] > stored["book"]["hybrid"]["right"]
