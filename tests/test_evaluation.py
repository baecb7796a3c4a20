"""Evaluation: intervals against SciPy, calibration against scikit-learn, and the truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, stats
from sklearn.calibration import calibration_curve

from llm_primer import evaluation
from llm_primer.errors import PrimerError
from llm_primer.ngram import NGram
from llm_primer.tokenizer import Tokenizer
from llm_primer.training import encode_documents
from llm_primer.transformer import Transformer, TransformerConfig
from llm_primer.world import World


@pytest.fixture(scope="module")
def world():
    return World()


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.book()


@pytest.fixture(scope="module")
def model(tokenizer):
    shape = {"vocab_size": tokenizer.vocab_size, "width": 16, "layers": 1, "heads": 2}
    return Transformer(TransformerConfig(**shape))


# --- Error bars -----------------------------------------------------------------------------------


@pytest.mark.parametrize("statistic", [np.mean, np.median, np.std])
def test_bootstrap_equals_scipy(statistic):
    """The same generator draws the same resamples, so that even the random part agrees."""
    sample = np.random.default_rng(1).gamma(2, size=60)
    ours = evaluation.bootstrap(sample, statistic, 0.9, 500, seed=4)
    theirs = stats.bootstrap(
        (sample,),
        statistic,
        confidence_level=0.9,
        n_resamples=500,
        method="percentile",
        rng=np.random.default_rng(4),
    )
    assert ours.estimate == statistic(sample)
    assert ours.low == pytest.approx(theirs.confidence_interval.low, rel=1e-12)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, rel=1e-12)
    assert ours.error == pytest.approx(theirs.standard_error, rel=1e-12)


def test_a_95_percent_interval_covers_the_truth_about_95_times_in_100():
    rng = np.random.default_rng(2)
    found = [evaluation.bootstrap(rng.normal(size=50), resamples=400) for _ in range(300)]
    assert 0.89 < np.mean([i.low <= 0 <= i.high for i in found]) < 0.98


def test_rows_stay_together():
    rows = np.random.default_rng(3).normal(size=(40, 1)) * [1, 1]  # two equal columns
    difference = evaluation.bootstrap(rows, lambda r: float((r[:, 0] - r[:, 1]).mean()))
    assert difference.low == difference.high == 0


# --- Calibration ----------------------------------------------------------------------------------


@pytest.mark.parametrize("bins", [1, 5, 10, 17])
def test_reliability_equals_scikit_learn(bins):
    rng = np.random.default_rng(4)
    p = np.concatenate([rng.random(500) ** 2, [0.0, 0.1, 0.2, 0.5, 1.0]])
    y = rng.random(505) < p**1.5
    ours = evaluation.reliability(p, y, bins)
    true, stated = calibration_curve(y, p, n_bins=bins, strategy="uniform")
    np.testing.assert_allclose(ours.accuracy, true)
    np.testing.assert_allclose(ours.confidence, stated)
    assert ours.count.sum() == 505
    gaps = np.abs(true - stated)
    assert ours.ece == pytest.approx((gaps * ours.count).sum() / 505)
    assert ours.mce == pytest.approx(gaps.max())


def test_honest_probabilities_are_calibrated_and_boasting_ones_are_not():
    rng = np.random.default_rng(5)
    p = rng.random(20_000)
    came_true = rng.random(20_000) < p
    assert evaluation.reliability(p, came_true).ece < 0.02
    assert evaluation.reliability(p**0.3, came_true).ece > 0.1


def test_fit_temperature_finds_the_minimum_that_scipy_finds():
    rng = np.random.default_rng(6)
    z = rng.normal(0, 2, (400, 9))
    q = np.exp(z / 2.5)
    q /= q.sum(axis=1, keepdims=True)
    targets = np.array([rng.choice(9, p=row) for row in q])

    def loss(log_tau):
        scaled = z / np.exp(log_tau)
        log_sum = np.log(np.exp(scaled).sum(axis=1))
        return (log_sum - scaled[np.arange(400), targets]).mean()

    best = np.exp(optimize.minimize_scalar(loss, bounds=(-3, 3), options={"xatol": 1e-9}).x)
    assert evaluation.fit_temperature(z, targets) == pytest.approx(best, rel=1e-4)
    assert evaluation.fit_temperature(100 * z, targets) == pytest.approx(100 * best, rel=1e-4)
    assert 1.8 < best < 3.5


def test_calibration_of_a_model_counts_every_token(model, tokenizer, world):
    texts = [s.text for s in world.stories(3, 9)]
    found = evaluation.calibration(model, tokenizer, texts)
    tokens = sum(len(tokenizer.encode(t)) + 1 for t in texts)
    assert found.count.sum() == tokens
    every = evaluation.calibration(model, tokenizer, texts, every_token=True)
    assert every.count.sum() == tokens * tokenizer.vocab_size
    assert (every.accuracy * every.count).sum() == pytest.approx(tokens)


# --- Loss and floor -------------------------------------------------------------------------------


def test_loss_of_a_text_is_the_sum_of_its_tokens(model, tokenizer, world):
    texts = [s.text for s in world.stories(3, 5)]
    losses = evaluation.story_losses(model, tokenizer, texts)
    logits, targets = evaluation.next_token_logits(model, tokenizer, texts)
    z = logits.astype(float)
    expected = np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), targets]
    np.testing.assert_allclose(np.concatenate(losses), expected, rtol=1e-4)
    assert evaluation.perplexity(model, tokenizer, texts[0]) == pytest.approx(
        np.exp(losses[0].mean())
    )


def test_report_of_an_ngram_model_lies_above_the_floor(tokenizer, world):
    ids = encode_documents([s.text for s in world.stories(300, 1)], tokenizer)
    counted = NGram(3, vocab_size=tokenizer.vocab_size).fit(ids)
    report = evaluation.loss_report(counted, tokenizer, world, n_stories=12)
    assert 0 < report.floor.estimate < report.loss.estimate < np.log(tokenizer.vocab_size)
    assert report.gap.estimate == pytest.approx(report.loss.estimate - report.floor.estimate)
    assert report.gap.low <= report.gap.estimate <= report.gap.high
    assert report.perplexity == pytest.approx(np.exp(report.loss.estimate))
    losses = evaluation.story_losses(counted, tokenizer, [s.text for s in world.stories(12, 3)])
    assert report.tokens == sum(map(len, losses))
    assert report.loss.estimate == pytest.approx(np.concatenate(losses).mean())


# --- Truth ----------------------------------------------------------------------------------------


def test_every_story_of_the_world_is_judged_possible(world):
    forms = evaluation.known_forms(world, 300)
    for story in world.stories(5, 11):
        assert evaluation.sentences(story.text) == story.sentences
        verdict = evaluation.judge(story.text, world, forms)
        assert (verdict.mistake, verdict.possible) == (None, len(story.sentences))


def test_a_false_sentence_and_a_malformed_one_are_told_apart(world):
    forms = evaluation.known_forms(world, 2000)
    story = world.stories(1, 12)[0]
    first = story.sentences[0]
    false = evaluation.judge(f"{first} Xavier gave Mia the ball.", world, forms)
    assert false.possible == 1
    assert false.judged == 2
    assert false.mistake == "Xavier gave Mia the ball."
    assert false.grammatical
    broken = evaluation.judge(f"{first} The the gave.", world, forms)
    assert broken.mistake == "The the gave."
    assert not broken.grammatical
    cut = evaluation.judge(first, world, forms)
    assert (cut.mistake, cut.possible) == ("", 1), "the story may not end here"


def test_a_model_that_writes_the_worlds_own_stories_is_always_right(tokenizer, world, monkeypatch):
    texts = [tokenizer.encode(s.text) for s in world.stories(4, 13)]
    monkeypatch.setattr(evaluation, "generate_many", lambda *args, **kwargs: texts)
    report = evaluation.factual_accuracy(None, tokenizer, world, n_stories=4)
    assert report.sentence_accuracy.estimate == report.story_accuracy.estimate == 1
    assert not report.mistakes


def test_an_untrained_model_writes_nonsense(model, tokenizer, world):
    report = evaluation.factual_accuracy(model, tokenizer, world, n_stories=3)
    assert report.story_accuracy.estimate == 0
    assert report.mistakes == {"malformed": 3}


def test_completions_are_compared_with_the_truth(tokenizer, world):
    class Knows:
        """Goes on as it was told beforehand: an oracle for the questions of one seed."""

        def __init__(self, sure):
            self.after = {}
            asked = [("", q) for q in world.knowledge()[::2]]
            for story in world.stories(6, 3):
                begun = story.prefix(-1)
                asked += [(f"{begun.text} ", q) for q in world.questions(begun) if q.prompt]
            for before, q in asked if sure else ():
                start = tokenizer.encode(f"{before}{q.prompt}")
                whole = tokenizer.encode(f"{before}{q.prompt}{q.completion}")
                for i in range(len(start), len(whole)):
                    self.after[tuple(whole[:i])] = whole[i]

        def logits(self, ids):
            z = np.zeros((1, ids.shape[1], tokenizer.vocab_size))
            z[0, -1, self.after.get(tuple(ids[0, 1:].tolist()), 0)] = 1
            return z

    right = evaluation.completion_accuracy(Knows(True), tokenizer, world, n_stories=6)
    wrong = evaluation.completion_accuracy(Knows(False), tokenizer, world, n_stories=6)
    assert (right.estimate, wrong.estimate) == (1, 0)
    known = evaluation.knowledge(Knows(True), tokenizer, world)
    assert known[::2].all()
    assert not known[1::2].any()
    question = world.questions(world.stories(1, 3)[0])[0]
    with pytest.raises(PrimerError, match="no prompt"):
        evaluation.completes(Knows(True), tokenizer, question)


@pytest.mark.parametrize(
    "make",
    [
        lambda: evaluation.bootstrap(np.array([1.0])),
        lambda: evaluation.bootstrap(np.ones(5), level=1.0),
        lambda: evaluation.reliability(np.array([]), np.array([])),
        lambda: evaluation.reliability(np.array([0.5]), np.array([1, 0])),
        lambda: evaluation.reliability(np.array([1.5]), np.array([1])),
        lambda: evaluation.story_losses(None, Tokenizer.book(), [""]),
        lambda: evaluation.story_losses(None, Tokenizer.book(), []),
    ],
)
def test_what_makes_no_sense_is_refused(make):
    with pytest.raises(PrimerError):
        make()
