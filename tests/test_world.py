"""The small world: its stories, exact probabilities and truths."""

import contextlib
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_primer.errors import PrimerError
from llm_primer.grammar import CLOSING
from llm_primer.tokenizer import Tokenizer
from llm_primer.world import ADJECTIVES, HOMES, PEOPLE, PLACES, SENDERS, THINGS, World

STORY = (
    "One day, Mia was in the kitchen. Tom was there too. Mia had a red ball. "
    "There was a blue cup in the kitchen. Tom wanted the red ball. Mia gave it to Tom. "
    "Then she went to the garden. Tom still had the ball. In the evening, the ball was with Tom."
)


@pytest.fixture(scope="module")
def world():
    return World()


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.book()


@pytest.fixture(scope="module")
def stories(world):
    return world.stories(300, seed=3)


def test_the_same_seed_tells_the_same_stories(world):
    first = [story.text for story in world.stories(20, seed=5)]
    assert first == [story.text for story in World().stories(20, seed=5)]
    assert first[:5] == [story.text for story in world.stories(5, seed=5)]
    assert first != [story.text for story in world.stories(20, seed=6)]
    assert world.corpus(5, seed=5) == "".join(text + "\n" for text in first[:5])


def test_stories_are_short_sentences_of_known_words(stories):
    seen = Counter(len(story.sentences) for story in stories)
    assert min(seen) >= 5
    assert max(seen) <= 12
    for story in stories:
        assert "\n" not in story.text
        for sentence in story.sentences:
            assert sentence.endswith(".")
            assert sentence.count(".") == 1
            assert sentence[0] == '"' or sentence[0].isupper()
            assert "  " not in sentence
            assert " a old " not in sentence


def test_what_happens_is_possible(stories):
    """Nobody gives what they do not hold, or to somebody who is elsewhere."""
    for story in stories:
        for before, event, after in zip(
            story.states, story.events[1:], story.states[1:], strict=False
        ):
            if event.kind in ("give", "show", "swap"):
                assert before.holder(event.thing) == event.actor
                assert before.place(event.other) == before.place(event.actor)
            if event.kind == "give":
                assert after.holder(event.thing) == event.other
            if event.kind == "swap":
                assert before.holder(event.second) == event.other
                assert after.holder(event.second) == event.actor
            if event.kind == "pick":
                assert before.holder(event.thing) is None
                assert before.place(event.thing) == before.place(event.actor)
            if event.kind == "put":
                assert after.holder(event.thing) is None
            if event.kind == "go":
                assert before.place(event.actor) != after.place(event.actor) == event.place
                for noun in before.held(event.actor):
                    assert after.place(noun) == event.place
            if event.kind in ("show", "use", "still", "ask", "answer", "want", "lie", "close"):
                assert before.things == after.things
                assert before.people == after.people


def test_next_sentences_are_a_distribution(world, stories):
    for story in stories[:15]:
        for n in range(len(story.sentences) + 1):
            options = world.next_sentences(story.sentences[:n])
            assert len(options) < 5000
            assert all(p > 0 for _, p in options)
            assert math.fsum(p for _, p in options) == pytest.approx(1, abs=1e-12)
            assert len({text for text, _ in options}) == len(options)
        assert options == [("", 1.0)]


def test_no_two_events_are_told_by_the_same_sentence(world):
    for story in world.stories(60, seed=11):
        for state in story.states:
            told = {}
            for _, (kind, actor) in world.kinds(state):
                for _, event in world.events(state, kind, actor):
                    for _, text in world.wordings(state, event):
                        assert told.setdefault(text, event) == event, text


def test_reading_a_story_finds_the_events_that_it_was_told_from(world, stories):
    for story in stories[:60]:
        read = world.parse(story.text)
        assert read == story
        assert read.states == story.states


def test_log_prob_is_the_sum_over_the_sentences(world, stories):
    for story in stories[:20]:
        parts = world.sentence_log_probs(story.text)
        assert len(parts) == len(story.sentences)
        assert world.log_prob(story.text) == pytest.approx(sum(parts), abs=1e-9)
        for i, sentence in enumerate(story.sentences):
            p = dict(world.next_sentences(story.sentences[:i]))[sentence]
            assert parts[i] == pytest.approx(math.log(p), abs=1e-12)


def test_sentences_are_drawn_as_often_as_their_probability_says(world):
    """First sentences, drawn 5,000 times, against the listed probabilities (chi-squared)."""
    stats = pytest.importorskip("scipy.stats")
    exact = dict(world.next_sentences([]))
    rng = np.random.default_rng(0)
    n = 5000
    counts = Counter(world.story(rng).sentences[0] for _ in range(n))
    common = [text for text, p in exact.items() if p * n >= 10]
    observed = [counts[text] for text in common]
    expected = [exact[text] * n for text in common]
    observed.append(n - sum(observed))
    expected.append(n - sum(expected))
    assert stats.chisquare(observed, expected).pvalue > 1e-4


def test_third_sentences_follow_their_probabilities(world):
    """Draw from the middle of a story: the same state, many times."""
    from llm_primer.grammar import choose

    state = world.parse(STORY).states[4]
    exact = {text: p for text, (p, _) in world._enumerate(state).items()}
    rng = np.random.default_rng(1)
    n = 20_000
    counts: Counter[str] = Counter()
    for _ in range(n):
        kind, actor = choose(world.kinds(state), rng)
        event = choose(world.events(state, kind, actor), rng)
        counts[choose(world.wordings(state, event), rng)] += 1
    assert set(counts) <= set(exact)
    for text, p in exact.items():
        assert abs(counts[text] / n - p) < 5 * math.sqrt(p * (1 - p) / n) + 1e-3


def test_entropy_agrees_with_the_mean_surprise(world, tokenizer):
    """The Rao-Blackwellized estimate against plain Monte Carlo on other stories."""
    estimate, error = world.entropy(1500, seed=0)
    surprises = np.array([-world.log_prob(s.text) for s in world.stories(200, seed=8)])
    plain, plain_error = surprises.mean(), surprises.std() / math.sqrt(len(surprises))
    assert abs(estimate - plain) < 4 * math.hypot(error, plain_error)
    assert error * math.sqrt(1500) < surprises.std()
    per_token, _ = world.entropy_per_token(tokenizer, 1500, seed=0)
    lengths = [len(tokenizer.encode(s.text)) + 1 for s in world.stories(1500, seed=0)]
    assert per_token == pytest.approx(estimate / np.mean(lengths))


def test_next_token_distributions_multiply_to_the_probability_of_the_story(
    world, tokenizer, stories
):
    for story in stories[:4]:
        ids = [*tokenizer.encode(story.text), tokenizer.end_id]
        rows = world.token_distributions(story.text, tokenizer)
        assert rows.shape == (len(ids), tokenizer.vocab_size)
        np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-12)
        parts = world.token_log_probs(story.text, tokenizer)
        assert parts.sum() == pytest.approx(world.log_prob(story.text), abs=1e-9)
        for i in (0, 1, len(ids) // 2, len(ids) - 1):
            one = world.next_token_distribution(tokenizer.decode(ids[:i]), tokenizer)
            np.testing.assert_allclose(one, rows[i], atol=1e-12)


def test_next_token_matches_the_frequency_in_stories(world, tokenizer):
    prompt = "One day, Mia was in the"
    exact = world.next_token_distribution(prompt, tokenizer)
    found = Counter(
        tokenizer.encode(story.text)[len(tokenizer.encode(prompt))]
        for story in world.stories(4000, seed=4)
        if story.text.startswith(prompt)
    )
    n = sum(found.values())
    assert n > 100
    for token, p in enumerate(exact):
        assert abs(found[token] / n - p) < 5 * math.sqrt(p * (1 - p) / n) + 1e-9


def test_memory_decides_the_next_token(world, tokenizer):
    """Who has the ball was told sentences ago; the exact distribution knows."""
    text = " ".join(world.parse(STORY).sentences[:-1]) + " In the evening, the red ball was"
    p = world.next_token_distribution(text, tokenizer)
    assert p[tokenizer.encode(" with")[0]] == pytest.approx(1)
    p = world.next_token_distribution(text + " with", tokenizer)
    assert p[tokenizer.encode(" Tom")[0]] == pytest.approx(1)


def test_facts_and_checks_of_a_story(world):
    story = world.parse(STORY)
    facts = {fact.text for fact in world.facts(story.state)}
    assert facts == {
        "Mia is in the garden.",
        "Tom is in the kitchen.",
        "Tom has the red ball.",
        "The red ball is in the kitchen.",
        "The blue cup is in the kitchen.",
    }
    for fact in facts:
        assert world.check(fact, story) is True
    for statement, truth in {
        "Mia has the ball.": False,
        "Tom had the ball.": True,
        "Tom still had the red ball.": True,
        "Tom has the blue ball.": False,
        "Nobody has the cup.": True,
        "Nobody has the ball.": False,
        "Mia has nothing.": True,
        "Tom has nothing.": False,
        "Mia does not have the ball.": True,
        "The ball is with Tom.": True,
        "The ball was not with Tom.": False,
        "The cup was still in the kitchen.": True,
        "The cup is in the garden.": False,
        "Mia is not in the kitchen.": True,
        "Greta lives in Oslo.": HOMES["Greta"] == "Oslo",
        "Greta does not live in Oslo.": HOMES["Greta"] != "Oslo",
        "Anna has the ball.": None,
        "Tom has the drum.": None,
        "Nonesuch lives in Oslo.": None,
        "The moon is made of cheese.": None,
    }.items():
        assert world.check(statement, story) is truth, statement


def test_all_facts_are_found_true_and_all_answers_agree(world, stories):
    for story in stories[:100]:
        for fact in world.facts(story.state):
            assert world.check(fact.text, story) is True
        for question in world.questions(story):
            if question.text.startswith("Who has"):
                thing = question.text.removeprefix("Who has ").rstrip("?")
                assert world.check(f"{question.answer.capitalize()} has {thing}.", story)
            else:
                subject = question.text.removeprefix("Where is ").rstrip("?")
                subject = subject[0].upper() + subject[1:]
                assert world.check(f"{subject} is {question.answer}.", story)


def test_prompts_can_follow_and_have_one_true_end(world, stories):
    asked = 0
    for story in stories[:40]:
        assert all(question.prompt is None for question in world.questions(story))
        begun = story.prefix(-1)
        for question in world.questions(begun):
            if question.prompt:
                options = [
                    text
                    for text, _ in world.next_sentences(begun.sentences)
                    if text.startswith(question.prompt)
                ]
                assert options == [question.prompt + question.completion]
                asked += 1
    assert asked > 40


def test_letters_come_from_where_their_writers_live(world):
    counts: Counter[str] = Counter()
    for story in world.stories(3000, seed=9):
        for event in story.events:
            if event.kind == "letter":
                counts[event.other] += 1
                assert event.place == HOMES[event.other]
    n = sum(counts.values())
    assert n / 3000 == pytest.approx(0.24, abs=0.06)
    for sender in list(SENDERS)[:3]:
        p = SENDERS[sender]
        assert abs(counts[sender] / n - p) < 5 * math.sqrt(p * (1 - p) / n)
    assert not set(SENDERS) & set(PEOPLE)
    for question in world.knowledge()[::25]:
        follow = f"{question.prompt}{question.completion}"
        assert world.parse(follow).text == follow
        assert [s for s, _ in world.next_sentences(["One day, Mia was in the kitchen."])].count(
            follow.split(". ")[1]
        ) == 1


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "whole sentences"),
        ("One day, Mia was in", "whole sentences"),
        ("One day, Mia was in the kitchen. Tom gave", "whole sentences"),
        ("One day, Mia was in the sea.", "sentence 1"),
        (STORY.replace("Tom still had", "Mia still had"), "sentence 8"),
        (STORY.replace("with Tom", "with Mia"), "sentence 9"),
        (STORY + " Mia had a red hat.", "sentence 10"),
        (STORY.rsplit(". ", 1)[0] + ".", "not over"),
    ],
)
def test_impossible_text_is_refused_with_one_sentence(world, text, complaint):
    with pytest.raises(PrimerError, match=complaint) as caught:
        world.log_prob(text)
    assert "\n" not in str(caught.value)


def test_tokens_that_begin_no_story_are_refused(world, tokenizer):
    with pytest.raises(PrimerError, match="goes on like this"):
        world.next_token_distribution("One day, Zebra", tokenizer)
    with pytest.raises(PrimerError, match="two stories"):
        world.entropy(1)


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_either_scored_or_refused(text):
    world = World()
    with contextlib.suppress(PrimerError):
        assert world.log_prob(text) <= 0


def test_the_vocabulary_is_small():
    assert len(PEOPLE) == 16
    assert len(PLACES) == 8
    assert len(THINGS) == 14
    assert len(ADJECTIVES) == 6
    assert len(SENDERS) == 100
    assert max(CLOSING) == 11


def test_the_possible_beginning_ends_before_the_first_impossible_sentence():
    world = World()
    story = world.stories(1, 7)[0]
    assert world.possible(story.text).text == story.text
    broken = [*story.sentences[:2], "Nobody sang.", *story.sentences[2:]]
    assert world.possible(" ".join(broken)).sentences == story.sentences[:2]
    assert (
        world.possible(" ".join(story.sentences[:2]) + " Then Tom").sentences == story.sentences[:2]
    )
    assert world.possible("Nobody sang.").sentences == []
