"""The experiments: their questions are fair, their results are complete and readable."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from llm_primer import PrimerError
from llm_primer.experiments import load, networks
from llm_primer.tokenizer import Tokenizer
from llm_primer.world import World


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.book()


def test_an_unknown_experiment_is_one_clear_line():
    with pytest.raises(PrimerError, match=r"python -m llm_primer\.experiments\.nonsense"):
        load("nonsense")


def test_the_blanks_are_certain_for_who_remembers_the_story(tokenizer):
    world = World()
    blanks = networks.find_blanks([s.text for s in world.stories(40, 3)], tokenizer)
    assert {blank.question for blank in blanks} == {"where", "who", "which"}
    for blank in blanks[:12]:
        p = world.next_token_distribution(tokenizer.decode(list(blank.ids[1:])), tokenizer)
        assert p[blank.answer] == pytest.approx(1)
        assert blank.ids[-blank.distance] == blank.answer
        assert blank.answer not in blank.ids[len(blank.ids) - blank.distance + 1 :]


def test_the_lamp_stories_are_stories_of_the_world_with_one_answer(tokenizer):
    world = World()
    for blanks in networks.lamp_blanks(tokenizer, 3, seed=0):
        for blank in blanks:
            p = world.next_token_distribution(tokenizer.decode(list(blank.ids[1:])), tokenizer)
            assert p[blank.answer] == pytest.approx(1)


@pytest.mark.parametrize("name", ["window", "elman", "gru", "attention"])
def test_influence_is_the_gradient_that_nudging_finds(name, tokenizer):
    model = networks.build_models()[name]
    ids = tokenizer.encode("Ben left the lamp in the barn. The lamp was still in the")
    answer = tokenizer.encode(" barn")[0]
    before = model.embed.weight.data.copy()
    found = networks.influence(model, ids, answer)
    assert np.array_equal(model.embed.weight.data, before)
    assert found.shape == (len(ids),)
    # "left" stands there once, so that nudging its row in the table nudges one position.
    place = 1
    assert ids.count(ids[place]) == 1
    row = model.embed.weight.data[ids[place]]
    slope = np.zeros(len(row))
    for i in range(len(row)):
        ends = []
        for step in (0.02, -0.02):
            row[i] += step
            z = model.logits(np.array(ids))[-1].astype(float)
            row[i] -= step
            ends.append(z[answer] - np.log(np.exp(z).sum()))
        slope[i] = (ends[0] - ends[1]) / 0.04
    assert found[place] == pytest.approx(np.linalg.norm(slope), rel=0.02)


def test_the_window_ends_where_it_ends(tokenizer):
    model = networks.build_models()["window"]
    ids = tokenizer.encode("One day, Ben was in the kitchen. He had a red lamp. Ben left the lamp")
    reach = networks.influence(model, ids, ids[0])[::-1]
    assert (reach[: networks.WINDOW] > 0).all()
    assert (reach[networks.WINDOW :] == 0).all()


def test_a_tiny_run_gives_every_number(tmp_path, monkeypatch):
    tiny = networks.run(stories=60, steps=2, test_stories=40, lamp_stories=2, progress=False)
    assert tiny["models"].keys() == load("networks")["models"].keys()
    assert tiny.keys() == load("networks").keys()
    monkeypatch.setattr(networks, "run", lambda: tiny)
    networks.main(["--out", str(tmp_path / "networks.json")])
    assert json.loads((tmp_path / "networks.json").read_text())["steps"] == 2


def test_the_stored_networks_are_alike_in_size_and_above_the_floor():
    stored = load("networks")
    sizes = [m["parameters"] for m in stored["models"].values() if m["parameters"]]
    assert max(sizes) < 1.05 * min(sizes)
    assert all(m["loss"] > stored["floor"] for m in stored["models"].values())
    assert all(
        math.isfinite(a) for m in stored["models"].values() for a in m["natural"]["accuracy"]
    )
