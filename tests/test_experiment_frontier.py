"""The experiments of chapter 11: their tasks are what they say, and small runs are complete."""

from __future__ import annotations

import json
from math import comb

import numpy as np
import pytest

from llm_primer import PrimerError
from llm_primer.experiments import checked, experts, load, newcomers, thinking
from llm_primer.tokenizer import Tokenizer
from llm_primer.transformer import load_book_model
from llm_primer.world import PEOPLE, THINGS, World


def test_the_shell_game_is_played_by_the_rules():
    moves, places = thinking.games(50, np.random.default_rng(0))
    for row, where in zip(moves, places, strict=True):
        shells = ["", "", "", "", ""]
        shells[row[0]] = "pea"
        for i, move in enumerate(row[1:]):
            if move != thinking.STILL:
                a, b = thinking.SWAPS[move - thinking.SHELLS]
                shells[a], shells[b] = shells[b], shells[a]
            assert shells.index("pea") == where[i + 1]


def test_a_written_place_is_asked_for_only_after_the_question():
    moves, places = thinking.games(4, np.random.default_rng(1))
    ids, targets = thinking.tables(moves, places, "written")
    assert (targets[:, : thinking.LONGEST + 1] == -1).all()
    assert (targets[:, thinking.LONGEST + 1 :] == places[:, 1:]).all()
    assert (ids[:, thinking.LONGEST + 2 :] == places[:, 1:-1]).all()
    at_once, wanted = thinking.tables(moves, places, "at once")
    assert (wanted >= 0).sum() == 4
    assert (at_once[:, -1] == thinking.ASK).all()


def test_the_check_agrees_with_the_judge():
    world = World()
    story = world.stories(1, 7)[0]
    n, found = checked.check(story.text, world)
    assert n == len(story.sentences)
    assert found is not None
    assert checked.check(" ".join(story.sentences[:-1]), world)[1] is None
    broken = " ".join([*story.sentences[:2], "Nobody sang.", *story.sentences[2:]])
    assert checked.check(broken, world) == (2, None)


def test_goals_count_who_has_what_in_the_end():
    world = World()
    story = world.stories(1, 7)[0]
    reached = checked.goals([(len(story.sentences), story), (3, None)])
    assert reached.shape == (2, len(PEOPLE) * len(THINGS))
    pairs = [f"{who} {thing}" for who in PEOPLE for thing in THINGS]
    held = {f"{w} {t}" for t, _, w in story.state.things if story.state.holder(t)}
    assert {pair for pair, yes in zip(pairs, reached[0], strict=True) if yes} == held
    assert not reached[1].any()


def test_slips_count_the_stories_that_got_there():
    lengths, wrong = np.array([3, 3, 3, 2]), np.array([0, 2, 3, 2])
    assert np.allclose(checked.slips(lengths, wrong, 4), [0, 2 / 4, 1 / 2, 1 / 2])
    # with its own care and all lengths equal the sum gives the true share back
    lengths, wrong = np.full(8, 3), np.array([0, 0, 0, 1, 2, 2, 3, 3])
    assert checked.mixed((lengths, wrong), lengths) == pytest.approx(3 / 8)
    assert checked.mixed((lengths, wrong), np.array([1, 1])) == pytest.approx(7 / 8)


def test_a_story_goes_wrong_where_the_world_says_so():
    world, tokenizer = World(), Tokenizer.book()
    story = world.stories(1, 7)[0]
    broken = " ".join([*story.sentences[:2], "Nobody sang.", *story.sentences[2:]])
    short = " ".join(story.sentences[:-1])
    texts = [(*tokenizer.encode(t), tokenizer.end_id) for t in (story.text, broken, short)]
    found = checked.verdicts(texts, tokenizer, world)
    lengths, wrong = checked.outcomes(texts, found, tokenizer)
    n = len(story.sentences)
    assert lengths.tolist() == [n, n + 1, n - 1]
    assert wrong.tolist() == [0, 3, n - 1]


def test_the_best_of_n_is_drawn_as_often_as_counting_says():
    chances = checked.first_of(3, 10)
    assert chances.sum() == pytest.approx(1)
    assert chances[2] == pytest.approx(comb(7, 2) / comb(10, 3))
    assert chances[8:].tolist() == [0, 0]


def test_an_interval_holds_the_first_value_in_its_middle():
    rng = np.random.default_rng(0)
    values = rng.random(500) < 0.3
    shares = values[checked.again(500, 300, 1)].mean(axis=1)
    estimate, low, high = checked.interval(shares)
    assert estimate == pytest.approx(values.mean(), abs=1e-4)
    assert high - low == pytest.approx(2 * 1.96 * (0.3 * 0.7 / 500) ** 0.5, rel=0.2)


def test_the_router_is_followed_as_it_routes():
    tokenizer = Tokenizer.book()
    model = experts.build("experts", 0)
    ids = np.array([tokenizer.end_id, *tokenizer.encode("One day, Mia was in the park.")])
    went = experts.routes(model, ids)
    model(ids[None])
    for layer, block in enumerate(model.blocks):
        counted = np.bincount(went[layer].reshape(-1), minlength=experts.EXPERTS)
        assert counted / counted.sum() == pytest.approx(block.ff.load)


def test_new_writers_are_new_and_their_questions_are_fair():
    world, tokenizer = World(), Tokenizer.book()
    names = [name for lesson in newcomers.LESSONS for name in lesson]
    assert len(set(names)) == len(names)
    assert not set(names) & {q.text.split()[2] for q in world.knowledge()}
    homes = {name: newcomers.TOWN[name] for name in names[:2]}
    taught = newcomers.lesson_texts(homes, 3, np.random.default_rng(0))
    assert all(newcomers.questions([n])[0].prompt not in t for n in names[:2] for t in taught)
    assert len(tokenizer.encode(taught[0])) < 40


def tiny(name):
    if name == "thinking":
        return thinking.run([("at once", 1), ("written", 1)], steps=2, test_games=4, progress=False)
    if name == "experts":
        return experts.run(40, 2, 2, test_stories=4, seeds=(0,), progress=False)
    if name == "checked":
        return checked.run(
            pool=8, rounds=1, stories=8, steps=1, updates=1, group=4, draws=3, progress=False
        )
    return newcomers.run(
        each=1, steps=2, checks=1, replay_stories=4, test_stories=4, progress=False
    )


@pytest.mark.parametrize("name", ["thinking", "experts", "checked", "newcomers"])
def test_a_tiny_run_gives_every_number(name, tmp_path, monkeypatch):
    module = {"thinking": thinking, "experts": experts, "checked": checked, "newcomers": newcomers}
    result = tiny(name)
    assert result.keys() == load(name).keys()
    monkeypatch.setattr(module[name], "run", lambda: result)
    module[name].main(["--out", str(tmp_path / "out.json")])
    assert json.loads((tmp_path / "out.json").read_text())["experiment"] == name


def test_a_group_of_equal_rewards_teaches_nothing(monkeypatch):
    model, tokenizer = load_book_model()
    before = {k: v.copy() for k, v in model.arrays().items()}
    monkeypatch.setattr(checked, "check", lambda text, world: (1, None))
    assert checked.reinforce(model, tokenizer, World(), 1, 4, 1e-3, 0) == [0.0]
    assert all((before[k] == v).all() for k, v in model.arrays().items())


def test_stored_results_are_of_full_runs():
    assert load("thinking")["steps"] >= 500
    assert load("checked")["pool"] >= 512
    with pytest.raises(PrimerError):
        load("frontier")
