import json
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from llm_primer import training
from llm_primer.errors import PrimerError
from llm_primer.feedforward import FeedForwardConfig, FeedForwardLM
from llm_primer.optim import AdamW
from llm_primer.recurrent import RecurrentConfig, RecurrentLM
from llm_primer.training import (
    History,
    TrainConfig,
    document_log_probs,
    encode_documents,
    evaluate,
    train,
    window_starts,
    windows,
)
from llm_primer.transformer import Transformer, TransformerConfig, load_model

SHAPE = TransformerConfig(vocab_size=8, context=16, width=16, layers=1, heads=2)
RUN = TrainConfig(
    steps=12, batch_size=4, context=15, warmup=2, valid_every=4, valid_windows=8, checkpoint_every=5
)
# 7 separates; otherwise each token is the one before plus 1 or 2, modulo 7, with equal chance.
_rng = np.random.default_rng(4)
TEXT = np.concatenate([[7, *np.cumsum(_rng.integers(1, 3, size=19)) % 7] for _ in range(200)])


class Letters:
    """A stand-in for the tokenizer: a = 0, b = 1, ...; 7 separates."""

    end_id = 7

    def encode(self, text):
        return [ord(c) - 97 for c in text]


def test_every_model_learns(rng):
    """The best possible loss is ln 2 (but for the few predictions around a separator)."""
    for model, lr in (
        (Transformer(SHAPE), 1e-2),
        (FeedForwardLM(FeedForwardConfig(vocab_size=8, window=2, width=8, hidden=16)), 1e-2),
        (RecurrentLM(RecurrentConfig(vocab_size=8, width=16)), 1e-2),
    ):
        run = replace(RUN, steps=120, batch_size=16, lr=lr, document_start=7)
        history = train(model, TEXT, TEXT, run)
        assert history.loss[0] > 1.8
        assert history.valid_loss[-1] == pytest.approx(math.log(2), abs=0.08)
        assert len(history.step) == len(history.grad_norm) == len(history.lr) == 120
        assert history.tokens == 120 * 16 * 15


@pytest.mark.parametrize("workers", [2, 3])
def test_workers_that_share_a_batch_find_its_gradient(workers):
    """Five windows: the parts differ in size. The copies follow an update of the parameters."""
    x, y = windows(TEXT, np.arange(0, 50, 10), RUN.context)
    grads, losses = [], []
    for n in (1, workers):
        model = Transformer(SHAPE, seed=1)
        optimizer = AdamW(model.parameters())
        with (
            training.gradient_workers(model, optimizer, n) as copies,
            ThreadPoolExecutor(n) as pool,
        ):
            for _ in range(2):
                losses.append(training.batch_gradient(copies, pool, x, y))
                grads.append(optimizer.grad.copy())
                optimizer.step(0.01)
    assert losses[0] == pytest.approx(losses[2], abs=1e-6)
    assert losses[1] == pytest.approx(losses[3], abs=1e-5) != losses[0]
    np.testing.assert_allclose(grads[2], grads[0], rtol=1e-3, atol=1e-7)
    np.testing.assert_allclose(grads[3], grads[1], rtol=1e-3, atol=1e-5)


def test_workers_take_one_thread_each_for_matrix_products_while_they_work():
    def threads():
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    before = threads()
    model = Transformer(SHAPE)
    with training.gradient_workers(model, AdamW(model.parameters()), 2):
        assert set(threads()) <= {1}
    assert threads() == before


@pytest.mark.parametrize(("stop", "workers"), [(5, 1), (10, 1), (5, 2)])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    tmp_path, monkeypatch, stop, workers
):
    run = replace(RUN, workers=workers)
    whole = Transformer(SHAPE, seed=1)
    expected = train(whole, TEXT, TEXT, run, folder=tmp_path)

    other = tmp_path / "other"
    other.mkdir()
    store = training._store

    def crash(path, model, optimizer, config, history):
        store(path, model, optimizer, config, history)
        if len(history.step) == stop:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training, "_store", crash)
        with pytest.raises(KeyboardInterrupt):
            train(Transformer(SHAPE, seed=1), TEXT, TEXT, run, folder=other)
    resumed = Transformer(SHAPE, seed=99)  # its own weights must not matter
    history = train(resumed, TEXT, TEXT, run, folder=other, resume=True)

    assert history == expected
    for name, array in whole.arrays().items():
        np.testing.assert_array_equal(array, resumed.arrays()[name])
    for file in ("latest", "best"):
        a, b = (load_model(f / f"{file}.safetensors").arrays() for f in (tmp_path, other))
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


def test_the_same_seed_gives_the_same_run_and_another_seed_another():
    runs = [
        train(Transformer(SHAPE, seed=1), TEXT, TEXT, replace(RUN, seed=s)).loss for s in (0, 0, 1)
    ]
    assert runs[0] == runs[1] != runs[2]


def test_the_best_validation_is_kept(tmp_path, monkeypatch):
    values = iter([3.0, 1.0, 2.0])
    monkeypatch.setattr(training, "evaluate", lambda *_: next(values))
    train(Transformer(SHAPE), TEXT, TEXT, RUN, folder=tmp_path)
    _, metadata = training.load_checkpoint(tmp_path / "best.safetensors")
    assert (metadata["step"], metadata["valid_loss"]) == (8, 1.0)


def test_a_run_with_other_settings_is_not_resumed(tmp_path):
    train(Transformer(SHAPE), TEXT, TEXT, RUN, folder=tmp_path)
    with pytest.raises(PrimerError, match="other settings"):
        train(Transformer(SHAPE), TEXT, TEXT, replace(RUN, lr=1.0), folder=tmp_path, resume=True)
    (tmp_path / "latest.safetensors").write_bytes(b"x" * 20)
    with pytest.raises(PrimerError, match="not a whole"):
        train(Transformer(SHAPE), TEXT, TEXT, RUN, folder=tmp_path, resume=True)


def test_a_loss_that_is_no_number_stops_the_run_and_spares_the_weights():
    model = Transformer(SHAPE)
    model.embed.weight.data[3] = np.nan
    before = {n: a.copy() for n, a in model.arrays().items()}
    with pytest.raises(PrimerError, match=r"loss at step 1 is nan.*training stopped"):
        train(model, TEXT, TEXT, RUN)
    for name, array in model.arrays().items():
        np.testing.assert_array_equal(array, before[name])


def test_windows_start_where_documents_start():
    starts = window_starts(TEXT, 15, document_start=7)
    x, y = windows(TEXT, starts[:5], 15)
    assert (x[:, 0] == 7).all()
    np.testing.assert_array_equal(x[:, 1:], y[:, :-1])
    assert len(window_starts(TEXT, 15, None)) == len(TEXT) - 15


@pytest.mark.parametrize("text", [[], [1, 2, 3], [7] + [1] * 14])
def test_a_text_that_is_too_short_gets_one_clear_error(text):
    with pytest.raises(PrimerError, match="has no window of 16 tokens"):
        train(Transformer(SHAPE), np.array(text, int), TEXT, RUN)


def test_documents_are_scored_one_by_one():
    model, texts = Transformer(SHAPE, seed=5), ["abc", "fedcbaab", "a", "gg"]
    found = document_log_probs(model, texts, Letters(), batch_size=3)
    for text, scores in zip(texts, found, strict=True):
        ids = np.array([7, *Letters().encode(text), 7])
        z = model.logits(ids[:-1]).astype(np.float64)
        p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(scores, np.log(p[np.arange(len(p)), ids[1:]]), rtol=1e-4)
    line = encode_documents(["ab", "c"], Letters())
    assert line.tolist() == [7, 0, 1, 7, 2, 7]


def test_validation_reads_the_same_windows_every_time():
    model = Transformer(SHAPE)
    assert evaluate(model, TEXT, 15, 7) == evaluate(model, TEXT, 15, 7)
    few, all_ = evaluate(model, TEXT, 15, 7, max_windows=3), evaluate(model, TEXT, 15, 7, 10**6)
    assert few == pytest.approx(all_, abs=0.5)
    assert few != all_


def test_a_history_survives_its_file_and_shrinks(tmp_path):
    history = train(Transformer(SHAPE), TEXT, TEXT, RUN)
    history.save(tmp_path / "h.json")
    assert History.load(tmp_path / "h.json") == history
    small = history.downsample(5)
    assert small.step == [3, 6, 9, 12]
    assert small.loss[1] == pytest.approx(np.mean(history.loss[3:6]), abs=1e-6)
    assert small.valid_step == [4, 8, 12]
    assert history.downsample(9).step[-1] == 12
    (tmp_path / "h.json").write_text(json.dumps({"loss": [], "taste": 1}))
    with pytest.raises(PrimerError, match="not a training history"):
        History.load(tmp_path / "h.json")


@pytest.mark.parametrize("change", [{"steps": 0}, {"batch_size": 0}, {"lr": 0.0}, {"workers": 0}])
def test_runs_that_make_no_sense_get_one_clear_error(change):
    with pytest.raises(PrimerError, match=r"A run's .* must be"):
        replace(RUN, **change)
    with pytest.raises(PrimerError, match="5 workers cannot share a batch of 4 windows"):
        replace(RUN, workers=5)


def test_the_plot_shows_both_curves_the_floor_and_the_gradient(require_tool):
    require_tool("matplotlib").use("agg")
    history = train(Transformer(SHAPE), TEXT, TEXT, RUN)
    top, bottom = training.plot_history(history, floor=0.5)
    labels = [text.get_text() for text in top.get_legend().get_texts()]
    assert labels == ["training", "validation", "floor: the world's entropy"]
    np.testing.assert_array_equal(top.lines[0].get_ydata(), history.loss)
    np.testing.assert_array_equal(bottom.lines[0].get_ydata(), history.grad_norm)
    assert len(training.plot_history(history)[0].lines) == 2
